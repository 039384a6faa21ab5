//! `/webhook/{id}/dead-letter/redrive`

use serde_json::json;
use shared::{
    ids::{EventId, RedriveId},
    model::token::Scope,
    store::queue::Queue,
};

use crate::{
    dead_letters::dead_letter,
    support::{client, send, start},
};

#[tokio::test]
async fn a_redrive_is_queued_with_its_filter_and_the_letters_that_match() {
    let api = start().await;
    let webhook = api.client.webhook().await;
    for number in 1..=3 {
        let cause = if number == 1 { "broken" } else { "refused" };
        dead_letter(&api, &webhook, number, &[("cause", cause)], b"{}").await;
    }
    let path = format!("/webhook/{webhook}/dead-letter/redrive");
    let body = json!({"cause": "refused", "rate_per_second": 5});
    let made = api.client.post(&path, body).await.expect(201);
    let redrive = made.json();
    assert_eq!(redrive["webhook_id"], json!(webhook));
    assert_eq!(redrive["filter"], json!({"cause": "refused"}));
    assert_eq!(redrive["rate_per_second"], 5);
    assert_eq!(
        (&redrive["status"], &redrive["total"]),
        (&json!("running"), &json!(2))
    );
    assert_eq!(
        (&redrive["delivered"], &redrive["failed"]),
        (&json!(0), &json!(0))
    );
    assert!(redrive["finished_at"].is_null() && redrive["current_event_id"].is_null());
    let gauges = api
        .store
        .queue_gauges(Queue::Deliveries)
        .await
        .expect("gauges");
    assert_eq!(gauges.ready, 1, "its task is there");

    let shown = api
        .client
        .get(&format!("{path}/{}", made.id()))
        .await
        .expect(200);
    assert_eq!(shown.json(), redrive);
    let list = api.client.get(&path).await.expect(200).json();
    assert_eq!(list["result"], json!([redrive]));
}

#[tokio::test]
async fn one_redrive_of_a_webhook_runs_at_a_time_until_it_is_cancelled() {
    let api = start().await;
    let webhook = api.client.webhook().await;
    let path = format!("/webhook/{webhook}/dead-letter/redrive");
    let first = send(api.client.request(reqwest::Method::POST, &path))
        .await
        .expect(201)
        .id();
    let refused = api.client.post(&path, json!({})).await;
    refused.refused(409, "conflict");
    assert!(refused.text.contains(&first), "{}", refused.text);
    let elsewhere = format!(
        "/webhook/{}/dead-letter/redrive",
        api.client.webhook().await
    );
    api.client.post(&elsewhere, json!({})).await.expect(201);

    let cancel = format!("{path}/{first}/cancel");
    let cancelled = api.client.post(&cancel, json!({})).await.expect(200).json();
    assert_eq!(cancelled["status"], "cancelled");
    assert!(cancelled["finished_at"].is_string());
    let again = api.client.post(&cancel, json!({})).await.expect(200).json();
    assert_eq!(again, cancelled);
    let second = api.client.post(&path, json!({})).await.expect(201).id();
    let list = api
        .client
        .get(&format!("{path}?limit=1"))
        .await
        .expect(200)
        .json();
    assert_eq!(list["result"][0]["id"], json!(second));
    let cursor = list["next_cursor"].as_str().expect("a cursor");
    let list = api
        .client
        .get(&format!("{path}?next_cursor={cursor}"))
        .await
        .json();
    assert_eq!(
        (&list["result"][0]["id"], list["next_cursor"].is_null()),
        (&json!(first), true)
    );
}

#[tokio::test]
async fn a_redrive_repeated_under_its_idempotency_key_is_made_once() {
    let api = start().await;
    let webhook = api.client.webhook().await;
    let path = format!("/webhook/{webhook}/dead-letter/redrive");
    let post = || {
        let request = api.client.request(reqwest::Method::POST, &path);
        send(request.header("idempotency-key", "once").json(&json!({})))
    };
    let (first, second) = (post().await.expect(201), post().await.expect(201));
    assert_eq!(first.json(), second.json());
    assert_eq!(second.headers["idempotent-replayed"], "true");
}

#[tokio::test]
async fn every_fault_of_a_redrive_is_named_at_once() {
    let api = start().await;
    let path = format!(
        "/webhook/{}/dead-letter/redrive",
        api.client.webhook().await
    );
    let body = json!({"event_id": "x", "rate_per_second": 0, "resources": "wms/orders"});
    let pointers = api
        .client
        .post(&path, body)
        .await
        .refused(422, "validation_failed");
    assert_eq!(pointers, ["/event_id", "/rate_per_second", "/resources"]);
    let list = api.client.get(&path).await.expect(200).json();
    assert_eq!(list["result"], json!([]));
}

#[tokio::test]
async fn a_redrive_of_another_webhook_or_environment_is_not_found() {
    let api = start().await;
    let (webhook, other) = (api.client.webhook().await, api.client.webhook().await);
    let path = |webhook: &str, id: &str| format!("/webhook/{webhook}/dead-letter/redrive/{id}");
    let one = json!({"event_id": EventId::from_bits(1)});
    let made = api
        .client
        .post(&format!("/webhook/{webhook}/dead-letter/redrive"), one)
        .await;
    let made = made.expect(201);
    assert_eq!(made.json()["total"], 0);
    let stranger = client(&api.store, &api.origin, "second", Scope::Admin).await;
    let (id, unknown) = (made.id(), RedriveId::from_bits(9).to_string());
    for (client, path) in [
        (&api.client, path(&other, &id)),
        (&api.client, path(&webhook, &unknown)),
        (&api.client, path(&webhook, "nothing")),
        (&stranger, path(&webhook, &id)),
    ] {
        client.get(&path).await.refused(404, "not_found");
        let cancel = client.post(&format!("{path}/cancel"), json!({})).await;
        cancel.refused(404, "not_found");
    }
    let shown = api
        .client
        .get(&path(&webhook, &id))
        .await
        .expect(200)
        .json();
    assert_eq!(shown["status"], "running");
}
