//! A receiver of webhooks whose paths each answer in their own way.

use std::sync::{Arc, Mutex};

use actix_web::{
    App, HttpRequest, HttpResponse, HttpServer,
    http::header::{self, HeaderMap},
    web::{self, Bytes, Data},
};
use tokio::sync::Semaphore;

/// What `/long` answers with, longer than what is kept of it.
pub const LONG: usize = 5_000;

/// One request, as it came.
#[derive(Debug, Clone)]
pub struct Received {
    pub headers: HeaderMapText,
    pub body: Bytes,
}

/// Names and values.
pub type HeaderMapText = Vec<(String, String)>;

impl Received {
    #[track_caller]
    pub fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().find(|(own, _)| own == name);
        found.map_or_else(|| panic!("no {name}"), |(_, value)| value)
    }
}

/// A running receiver.
#[derive(Clone)]
pub struct Receiver {
    pub origin: String,
    log: Log,
}

#[derive(Clone)]
struct Log {
    received: Arc<Mutex<Vec<Received>>>,
    silence: Arc<Semaphore>,
}

impl Receiver {
    pub fn start() -> Self {
        let log = Log {
            received: Arc::default(),
            silence: Arc::new(Semaphore::new(0)),
        };
        let shared = log.clone();
        let server = HttpServer::new(move || {
            App::new()
                .app_data(Data::new(shared.clone()))
                .default_service(web::to(answer))
        })
        .workers(1)
        .disable_signals()
        .bind("127.0.0.1:0")
        .expect("a port");
        let address = *server.addrs().first().expect("an address");
        tokio::spawn(server.run());
        Self {
            origin: format!("http://{address}"),
            log,
        }
    }

    /// All requests so far.
    pub fn received(&self) -> Vec<Received> {
        self.log.received.lock().expect("not poisoned").clone()
    }

    /// Lets what `/silent` holds back be answered.
    pub fn speak(&self) {
        self.log.silence.add_permits(Semaphore::MAX_PERMITS / 2);
    }
}

async fn answer(request: HttpRequest, body: Bytes, log: Data<Log>) -> HttpResponse {
    let headers = text(request.headers());
    let repeated = format!("{headers:?}");
    log.received
        .lock()
        .expect("not poisoned")
        .push(Received { headers, body });
    match request.path() {
        // Tells whoever sends what it got, credentials included, as pages for debugging do.
        "/echo" => HttpResponse::Ok().body(repeated),
        "/moved" => HttpResponse::Found()
            .insert_header((header::LOCATION, "/elsewhere?token=abc"))
            .finish(),
        "/broken" => HttpResponse::InternalServerError().body("no such column: orders.sku"),
        "/long" => HttpResponse::Ok().body("x".repeat(LONG)),
        "/silent" => {
            let _permit = log.silence.acquire().await.expect("never closed");
            HttpResponse::NoContent().finish()
        }
        _ => HttpResponse::Ok().body("thanks"),
    }
}

fn text(headers: &HeaderMap) -> HeaderMapText {
    headers
        .iter()
        .map(|(name, value)| {
            let value = value.to_str().unwrap_or_default().to_owned();
            (name.as_str().to_owned(), value)
        })
        .collect()
}
