//! A source that checks its API key, and repeats it in its answers as bad ones do.

use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};

use crate::support::GOOD_KEY;

/// Starts it; its URL.
pub fn start() -> String {
    let server = HttpServer::new(|| App::new().route("/me", web::get().to(me)))
        .workers(1)
        .disable_signals()
        .bind("127.0.0.1:0")
        .expect("a port");
    let address = *server.addrs().first().expect("an address");
    tokio::spawn(server.run());
    format!("http://{address}")
}

async fn me(request: HttpRequest) -> HttpResponse {
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
