//! What needs no token.

use reqwest::Method;

use crate::{
    source,
    support::{GOOD_KEY, sample_account, send, start, wait_until},
};

#[tokio::test]
async fn health_and_description_need_no_token() {
    let api = start().await;
    let http = reqwest::Client::new();
    for path in [
        "/livez",
        "/readyz",
        "/metrics",
        "/openapi.json",
        "/docs",
        "/docs/",
        "/docs/openapi.json",
    ] {
        let reply = send(http.request(Method::GET, format!("{}{path}", api.origin))).await;
        assert_eq!(reply.status, 200, "{path}: {}", reply.text);
    }
}

#[tokio::test]
async fn the_rendered_page_needs_nothing_from_another_host() {
    let api = start().await;
    let page = reqwest::get(format!("{}/docs/", api.origin))
        .await
        .expect("an answer")
        .text()
        .await
        .expect("a page");
    assert!(page.contains("swagger-ui"), "{page}");
    assert!(
        !page.contains("http://") && !page.contains("https://"),
        "{page}"
    );
}

#[tokio::test]
async fn the_rendered_page_sends_the_document_to_no_validator() {
    let api = start().await;
    let script = reqwest::get(format!("{}/docs/swagger-initializer.js", api.origin))
        .await
        .expect("an answer");
    let script = script.text().await.expect("a script");
    assert!(script.contains(r#""validatorUrl": "none""#), "{script}");
}

#[tokio::test]
async fn a_stopping_server_finishes_what_it_is_answering() {
    let api = start().await;
    let (source, gate) = source::start_gated();
    let client = api.client.clone();
    let making = tokio::spawn(async move {
        client
            .post("/integrated-account", sample_account(&source, GOOD_KEY))
            .await
    });
    gate.reached().await;
    let origin = api.origin.clone();
    api.stop();
    wait_until("no new connection is taken", async || {
        reqwest::get(format!("{origin}/livez")).await.is_err()
    })
    .await;
    gate.open();
    let reply = making.await.expect("no panic").expect(201);
    assert_eq!(reply.json()["status"], "active");
}
