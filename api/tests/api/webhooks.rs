//! `/webhook`

use serde_json::{Value, json};

use crate::support::start;

#[tokio::test]
async fn a_webhook_shows_its_secret_once_and_never_again() {
    let api = start().await;
    let body = json!({"target_url": "https://example.com/hook", "event_types": ["sync_job_run:record"], "label": "orders"});
    let made = api.client.post("/webhook", body).await.expect(201);
    let webhook = made.json();
    let secret = webhook["secret"].as_str().expect("a secret");
    assert!(secret.starts_with("whsec_") && secret.len() == 38);
    assert_eq!(webhook["delivery"]["batch_records"], 100);
    let shown = api
        .client
        .get(&format!("/webhook/{}", made.id()))
        .await
        .expect(200);
    assert!(shown.json().get("secret").is_none());
    let mut expected = webhook.clone();
    expected
        .as_object_mut()
        .expect("an object")
        .shift_remove("secret");
    expected["health"] = json!({"consecutive_failures": 0, "failing_since": null, "circuit_open": false, "blocked_until": null,
        "undelivered_bytes": 0, "undelivered_records": 0, "sources_wait": false});
    assert_eq!(shown.json(), expected);
    let list = api.client.get("/webhook").await.expect(200);
    assert!(!list.text.contains(secret));
}

#[tokio::test]
async fn every_fault_of_a_webhook_is_named_at_once() {
    let api = start().await;
    let body = json!({"event_types": ["x"], "is_active": "yes", "lable": "a", "environment_id": "env_other"});
    let pointers = api
        .client
        .post("/webhook", body)
        .await
        .refused(422, "validation_failed");
    assert_eq!(
        pointers,
        [
            "/environment_id",
            "/target_url",
            "/event_types/0",
            "/is_active",
            "/lable"
        ]
    );
}

#[tokio::test]
async fn a_target_that_may_not_be_reached_is_refused() {
    let api = start().await;
    for url in [
        "http://10.1.1.1/",
        "https://10.0.0.1/",
        "https://[::ffff:a9fe:a9fe]/",
        "ftp://example.com/",
        "no",
    ] {
        let pointers = api
            .client
            .post("/webhook", json!({"target_url": url}))
            .await
            .refused(422, "validation_failed");
        assert_eq!(pointers, ["/target_url"], "{url}");
    }
}

#[tokio::test]
async fn a_target_that_may_not_be_reached_is_named_with_the_other_faults() {
    let api = start().await;
    let faulty = json!({"target_url": "ftp://x/", "label": 5});
    let made = api.client.post("/webhook", faulty.clone()).await;
    let path = format!("/webhook/{}", api.client.webhook().await);
    let changed = api.client.patch(&path, faulty).await;
    for refused in [made, changed] {
        let mut pointers = refused.refused(422, "validation_failed");
        pointers.sort_unstable();
        assert_eq!(pointers, ["/label", "/target_url"]);
    }
}

#[tokio::test]
async fn fields_of_other_clients_without_meaning_here_are_accepted() {
    let api = start().await;
    let body = json!({
        "target_url": "https://example.com/", "meta": {"a": 1}, "environment_id": api.client.environment,
    });
    api.client.post("/webhook", body).await.expect(201);
}

#[tokio::test]
async fn a_patch_merges_and_null_goes_back_to_the_default() {
    let api = start().await;
    let made = api.client.post(
        "/webhook",
        json!({"target_url": "https://example.com/", "label": "a", "headers": {"x-a": "1", "x-b": "2"},
               "delivery": {"batch_records": 7, "linger_ms": 0}}),
    );
    let path = format!("/webhook/{}", made.await.expect(201).id());
    let patch = json!({"label": null, "headers": {"x-a": null, "x-c": "3"}, "delivery": {"batch_records": null}});
    let webhook = api.client.patch(&path, patch).await.expect(200).json();
    assert_eq!(webhook["label"], Value::Null);
    assert_eq!(webhook["headers"], json!({"x-b": "2", "x-c": "3"}));
    assert_eq!(
        (
            &webhook["delivery"]["batch_records"],
            &webhook["delivery"]["linger_ms"]
        ),
        (&json!(100), &json!(0))
    );
    let pointers = api
        .client
        .patch(&path, json!({"target_url": null, "is_actve": null}))
        .await;
    assert_eq!(
        pointers.refused(422, "validation_failed"),
        ["/target_url", "/is_actve"]
    );
}

#[tokio::test]
async fn switching_a_webhook_off_says_since_when_and_why() {
    let api = start().await;
    let path = format!("/webhook/{}", api.client.webhook().await);
    let off = api
        .client
        .patch(&path, json!({"is_active": false}))
        .await
        .expect(200)
        .json();
    assert!(off["disabled_at"].is_string() && off["disabled_reason"].is_string());
    let list = api
        .client
        .get("/webhook?is_active=true")
        .await
        .expect(200)
        .json();
    assert_eq!(list["result"], json!([]));
    let on = api
        .client
        .patch(&path, json!({"is_active": true}))
        .await
        .expect(200)
        .json();
    assert!(on["disabled_at"].is_null() && on["disabled_reason"].is_null());
}

#[tokio::test]
async fn concurrent_patches_lose_no_update() {
    let api = start().await;
    let path = format!("/webhook/{}", api.client.webhook().await);
    let patches = (0..10).map(|i| {
        let (client, path) = (api.client.clone(), path.clone());
        async move {
            client
                .patch(&path, json!({"headers": {format!("x-{i}"): "1"}}))
                .await
                .expect(200)
        }
    });
    futures::future::join_all(patches).await;
    let webhook = api.client.get(&path).await.json();
    assert_eq!(
        webhook["headers"].as_object().map(serde_json::Map::len),
        Some(10)
    );
}

#[tokio::test]
async fn a_deleted_webhook_is_gone() {
    let api = start().await;
    let id = api.client.webhook().await;
    let path = format!("/webhook/{id}");
    assert_eq!(
        api.client.delete(&path).await.expect(200).json(),
        json!({"id": id})
    );
    api.client.get(&path).await.refused(404, "not_found");
    api.client.delete(&path).await.refused(404, "not_found");
    api.client
        .patch(&path, json!({"label": "x"}))
        .await
        .refused(404, "not_found");
    assert_eq!(api.client.get("/webhook").await.json()["result"], json!([]));
}

#[tokio::test]
async fn rotating_a_secret_gives_a_new_one_and_keeps_the_old_one_for_the_overlap() {
    use shared::{clock::Timestamp, ids::WebhookId, model::webhook::Webhook};

    let api = start().await;
    let made = api
        .client
        .post("/webhook", json!({"target_url": "https://example.com/"}))
        .await
        .expect(201);
    let path = format!("/webhook/{}/rotate-secret", made.id());
    let rotated = api
        .client
        .post(&path, json!({"overlap_hours": 1}))
        .await
        .expect(200)
        .json();
    assert!(
        rotated["secret"]
            .as_str()
            .is_some_and(|secret| secret.starts_with("whsec_"))
    );
    assert_ne!(rotated["secret"], made.json()["secret"]);
    let id: WebhookId = made.id().parse().expect("an id");
    let stored: Webhook = api
        .store
        .objects()
        .get(api.client.environment, id)
        .await
        .expect("a store")
        .expect("a webhook");
    let now = Timestamp::now();
    assert_eq!(stored.signing_secrets(now).len(), 2);
    assert_eq!(
        stored.signing_secrets(Timestamp(now.0 + 3_700_000)).len(),
        1
    );
    api.client
        .post(&path, json!({"overlap_hours": 169}))
        .await
        .refused(422, "validation_failed");
    api.client
        .post(&path, json!({"overlap": 1}))
        .await
        .refused(422, "validation_failed");
}
