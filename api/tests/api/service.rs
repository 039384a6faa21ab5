//! What needs no token.

use reqwest::Method;

use crate::support::{send, start};

#[tokio::test]
async fn health_and_description_need_no_token() {
    let api = start().await;
    let http = reqwest::Client::new();
    for path in ["/livez", "/readyz", "/metrics", "/openapi.json", "/docs", "/docs/", "/docs/openapi.json"] {
        let reply = send(http.request(Method::GET, format!("{}{path}", api.origin))).await;
        assert_eq!(reply.status, 200, "{path}: {}", reply.text);
    }
}

#[tokio::test]
async fn the_rendered_page_needs_nothing_from_another_host() {
    let api = start().await;
    let page = reqwest::get(format!("{}/docs/", api.origin)).await.expect("an answer").text().await.expect("a page");
    assert!(page.contains("swagger-ui"), "{page}");
    assert!(!page.contains("http://") && !page.contains("https://"), "{page}");
}
