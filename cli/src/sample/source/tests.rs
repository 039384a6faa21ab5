use std::collections::BTreeSet;

use serde_json::Value;

use super::*;

/// Status, body as text.
async fn get(source: &SampleSource, target: &str) -> (u16, String) {
    let client = reqwest::Client::builder()
        .no_proxy()
        .build()
        .expect("a client");
    let request = client
        .get(format!("{}{target}", source.base_url()))
        .header("X-Api-Key", API_KEY);
    let response = request.send().await.expect("an answer");
    (
        response.status().as_u16(),
        response.text().await.expect("a body"),
    )
}

async fn json(source: &SampleSource, target: &str) -> Value {
    let (status, text) = get(source, target).await;
    assert_eq!(status, 200, "{text}");
    serde_json::from_str(&text).expect("JSON")
}

#[tokio::test]
async fn without_the_api_key_every_answer_is_401_in_json() {
    let source = SampleSource::start().await.expect("a source");
    for path in ["/me", "/orders", "/nowhere"] {
        let response = reqwest::Client::builder()
            .no_proxy()
            .build()
            .expect("a client")
            .get(format!("{}{path}", source.base_url()))
            .header("X-Api-Key", "wrong")
            .send()
            .await
            .expect("an answer");
        assert_eq!(response.status().as_u16(), 401);
        assert_eq!(response.headers()["content-type"], "application/json");
    }
    assert!(json(&source, "/me").await["account"].is_string());
}

#[tokio::test]
async fn pages_hold_every_order_once_and_say_when_there_are_no_more() {
    let source = SampleSource::start().await.expect("a source");
    let mut ids = BTreeSet::new();
    for page in 1..=6 {
        let body = json(&source, &format!("/orders?page={page}")).await;
        assert_eq!(body["has_more"], page < 6);
        for order in body["data"].as_array().expect("orders") {
            assert!(ids.insert(order["id"].to_string()));
        }
    }
    assert_eq!(ids.len(), 300);
    assert_eq!(json(&source, "/orders?page=7").await["data"], json!([]));
    assert_eq!(
        json(&source, "/orders?limit=100").await["data"]
            .as_array()
            .map(Vec::len),
        Some(100)
    );
    assert_eq!(get(&source, "/orders?limit=101").await.0, 400);
    assert_eq!(get(&source, "/orders?page=0").await.0, 400);
    assert_eq!(
        get(&source, "/orders?updated_at[gt]=yesterday").await.0,
        400
    );
    assert_eq!(source.take_ledger().records[ORDERS].len(), 300);
}

#[tokio::test]
async fn a_changed_order_is_the_only_one_updated_since() {
    let source = SampleSource::start().await.expect("a source");
    let before = Timestamp(Timestamp::now().0 - 1);
    let shipped = source.ship(3);
    for name in ["updated_at%5Bgt%5D", "updated_after"] {
        let body = json(&source, &format!("/orders?{name}={before}")).await;
        let numbers: Vec<_> = body["data"]
            .as_array()
            .expect("orders")
            .iter()
            .map(|order| &order["number"])
            .collect();
        assert_eq!(numbers, shipped.iter().collect::<Vec<_>>());
        assert_eq!(body["has_more"], false);
    }
}

#[tokio::test]
async fn lines_fail_once_for_one_order_and_always_for_another() {
    let source = SampleSource::start().await.expect("a source");
    let flaky = format!("/orders/{FLAKY_ORDER}/lines");
    let gone = format!("/orders/{GONE_ORDER}/lines");
    assert_eq!(get(&source, &flaky).await.0, 500);
    assert_eq!(get(&source, &flaky).await.0, 200);
    assert_eq!(get(&source, &gone).await.0, 404);
    assert_eq!(get(&source, &gone).await.0, 404);
    let ledger = source.take_ledger();
    assert_eq!(ledger.statuses(&flaky), [500, 200]);
    assert_eq!(ledger.statuses(&gone), [404, 404]);
    assert_eq!(
        ledger.records[LINES].len(),
        orders::lines(FLAKY_ORDER).len()
    );
}

#[tokio::test]
async fn the_ledger_holds_the_bytes_that_were_served() {
    let source = SampleSource::start().await.expect("a source");
    let (_, page) = get(&source, "/orders?limit=1").await;
    let ledger = source.take_ledger();
    let texts = ledger.sorted(ORDERS);
    assert_eq!(texts.len(), 1);
    assert!(page.contains(texts[0]), "{page}\n{}", texts[0]);
    let (_, one) = get(&source, "/orders/1001").await;
    assert_eq!(one, texts[0]);
}

#[tokio::test]
async fn a_full_sync_finds_as_many_records_as_announced() {
    let source = SampleSource::start().await.expect("a source");
    for page in 1..=3 {
        json(&source, &format!("/orders?limit=100&page={page}")).await;
    }
    for order in orders::all() {
        let target = format!("/orders/{}/lines", order.id);
        if get(&source, &target).await.0 == 500 {
            get(&source, &target).await;
        }
    }
    assert_eq!(
        source.take_ledger().record_count() as u64,
        source.full_sync_records()
    );
}
