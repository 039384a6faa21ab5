//! A source that checks its API key, and repeats it in its answers as bad ones do.

use std::sync::Arc;

use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};

use tokio::sync::Semaphore;

use crate::support::GOOD_KEY;

/// Holds answers back until it is opened.
#[derive(Clone)]
pub struct Gate {
    reached: Arc<Semaphore>,
    open: Arc<Semaphore>,
}

impl Gate {
    fn new(permits: usize) -> Self {
        Self {
            reached: Arc::new(Semaphore::new(0)),
            open: Arc::new(Semaphore::new(permits)),
        }
    }

    /// Waits for a request that waits for the gate.
    pub async fn reached(&self) {
        let _permit = self.reached.acquire().await.expect("never closed");
    }

    /// Lets all requests pass.
    pub fn open(&self) {
        self.open.add_permits(1);
    }
}

/// Starts it; its URL.
pub fn start() -> String {
    serve(Gate::new(1))
}

/// Starts one that answers when its gate is opened.
pub fn start_gated() -> (String, Gate) {
    let gate = Gate::new(0);
    (serve(gate.clone()), gate)
}

fn serve(gate: Gate) -> String {
    let server = HttpServer::new(move || {
        App::new()
            .app_data(web::Data::new(gate.clone()))
            .route("/me", web::get().to(me))
    })
    .workers(1)
    .disable_signals()
    .bind("127.0.0.1:0")
    .expect("a port");
    let address = *server.addrs().first().expect("an address");
    tokio::spawn(server.run());
    format!("http://{address}")
}

async fn me(request: HttpRequest, gate: web::Data<Gate>) -> HttpResponse {
    gate.reached.add_permits(1);
    let _permit = gate.open.acquire().await.expect("never closed");
    let key = request
        .headers()
        .get("x-api-key")
        .and_then(|key| key.to_str().ok())
        .unwrap_or_default()
        .to_owned();
    if key == GOOD_KEY {
        HttpResponse::Ok().json(serde_json::json!({"key": key}))
    } else {
        HttpResponse::Unauthorized().body(format!("the key {key} is wrong"))
    }
}
