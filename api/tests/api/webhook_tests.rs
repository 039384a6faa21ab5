//! `POST /webhook/{id}/test`, and what it leaves in the list of attempts.

use std::net::TcpListener;

use api::state::TESTS_AT_ONCE;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use shared::{
    seal::{Secret, signature::standard_webhooks},
    store::Store,
};

use crate::{
    receiver::{LONG, Receiver},
    support::{Api, client, client_in, send, start, start_on, wait_until},
};

/// A webhook with this target; its path.
async fn webhook(api: &Api, target: &str) -> String {
    webhook_with(api, json!({"target_url": target})).await.0
}

/// A webhook; its path and its secret.
async fn webhook_with(api: &Api, body: Value) -> (String, String) {
    let made = api.client.post("/webhook", body).await.expect(201);
    let secret = made.json()["secret"].as_str().expect("a secret").to_owned();
    (format!("/webhook/{}", made.id()), secret)
}

/// What a test of this target answers.
async fn tested(api: &Api, target: &str) -> Value {
    let path = webhook(api, target).await;
    let reply = api.client.post(&format!("{path}/test"), json!({})).await;
    reply.expect(200).json()
}

/// The attempts at a webhook, newest first.
async fn attempts(api: &Api, path: &str, query: &str) -> Vec<Value> {
    let list = api.client.get(&format!("{path}/attempt{query}")).await;
    let list = list.expect(200).json();
    list["result"].as_array().expect("rows").clone()
}

#[tokio::test]
async fn a_test_is_a_signed_event_like_any_other_and_shows_what_came_back() {
    let (api, receiver) = (start().await, Receiver::start());
    let target =
        json!({"target_url": format!("{}/hook", receiver.origin), "headers": {"x-own": "1"}});
    let (path, secret) = webhook_with(&api, target).await;
    let reply = send(api.client.request(Method::POST, &format!("{path}/test"))).await;
    let result = reply.expect(200).json();
    assert_eq!(result["success"], true, "{result}");
    assert_eq!(result["status_code"], 200);
    assert_eq!(result["answer"], "thanks");
    assert_eq!(result["error"], Value::Null);
    assert_eq!(result["bytes_received"], 6);
    let phases = &result["phases"];
    assert_eq!(
        (&phases["dns"], &phases["tls"]),
        (&Value::Null, &Value::Null)
    );
    for phase in ["connect", "first_byte", "total"] {
        assert!(
            phases[phase].as_f64().is_some_and(|ms| ms > 0.0),
            "{phase}: {phases}"
        );
    }
    let [received] = receiver.received().try_into().expect("one request");
    assert_eq!(result["bytes_sent"], received.body.len());
    assert_eq!(received.header("x-own"), "1");
    assert_eq!(received.header("webhook-id"), result["event_id"]);
    let seconds = received
        .header("webhook-timestamp")
        .parse()
        .expect("seconds");
    let expected = standard_webhooks(
        &Secret::new(secret),
        received.header("webhook-id"),
        seconds,
        &received.body,
    );
    assert_eq!(
        expected.as_deref(),
        Ok(received.header("webhook-signature"))
    );
    let event: Value = serde_json::from_slice(&received.body).expect("JSON");
    assert_eq!(event["event"], "test");
    assert_eq!(event["event_type"], "test");
    assert_eq!(event["id"], result["event_id"]);
    assert_eq!(
        path,
        format!("/webhook/{}", event["webhook_id"].as_str().expect("an id"))
    );
    assert!(event["payload"]["message"].is_string());
}

#[tokio::test]
async fn a_test_that_fails_says_why() {
    let (api, receiver) = (start().await, Receiver::start());
    let at = |path: &str| format!("{}{path}", receiver.origin);

    let moved = tested(&api, &at("/moved")).await;
    assert_eq!(moved["success"], false);
    assert_eq!(moved["status_code"], 302);
    assert_eq!(moved["error"]["kind"], "3xx");
    let message = "the receiver answered 302 Found to /elsewhere; redirects are not followed";
    assert_eq!(moved["error"]["message"], message);
    assert_eq!(receiver.received().len(), 1, "redirects are not followed");

    let broken = tested(&api, &at("/broken")).await;
    assert_eq!(broken["success"], false);
    assert_eq!(broken["status_code"], 500);
    assert_eq!(broken["error"]["kind"], "5xx");
    assert_eq!(broken["answer"], "no such column: orders.sku");

    let closed = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = closed.local_addr().expect("an address");
    drop(closed);
    let refused = tested(&api, &format!("http://{address}/")).await;
    assert_eq!(refused["success"], false);
    assert_eq!(refused["status_code"], Value::Null);
    assert_eq!(refused["error"]["kind"], "connect");
    assert_eq!(refused["error"]["phase"], "connect");
    assert_eq!(
        (&refused["bytes_sent"], &refused["answer"]),
        (&json!(0), &Value::Null)
    );

    let silent = json!({"target_url": at("/silent"), "delivery": {"timeout_ms": 1000}});
    let (path, _) = webhook_with(&api, silent).await;
    let silent = api.client.post(&format!("{path}/test"), json!({})).await;
    let silent = silent.expect(200).json();
    assert_eq!(silent["success"], false);
    assert_eq!(silent["error"]["kind"], "timeout");
    assert_eq!(silent["error"]["phase"], "headers");
    assert_eq!(silent["phases"]["first_byte"], Value::Null);
    assert!(
        silent["phases"]["total"]
            .as_f64()
            .is_some_and(|ms| ms >= 1000.0),
        "{silent}"
    );
}

#[tokio::test]
async fn of_a_long_answer_the_first_2_kib_are_shown() {
    let (api, receiver) = (start().await, Receiver::start());
    let long = tested(&api, &format!("{}/long", receiver.origin)).await;
    assert_eq!(long["success"], true);
    assert_eq!(long["bytes_received"], LONG);
    assert_eq!(long["answer"].as_str().map(str::len), Some(2048));
}

#[tokio::test]
async fn a_webhook_can_be_named_in_the_body() {
    let (api, receiver) = (start().await, Receiver::start());
    let (_, id) = {
        let path = webhook(&api, &receiver.origin).await;
        let id = path.rsplit('/').next().expect("an id").to_owned();
        (path, id)
    };
    let reply = api.client.post("/webhook/test", json!({"id": id})).await;
    assert_eq!(reply.expect(200).json()["success"], true);
    assert_eq!(receiver.received().len(), 1);
    let missing = api.client.post("/webhook/test", json!({"idd": id})).await;
    assert_eq!(missing.refused(422, "validation_failed"), ["/id", "/idd"]);
    for unknown in ["wh_00000000000000000000000000", "nonsense"] {
        let reply = api.client.post("/webhook/test", json!({"id": unknown}));
        reply.await.refused(404, "not_found");
    }
}

#[tokio::test]
async fn a_webhook_that_is_off_and_subscribes_to_something_else_can_be_tested() {
    let (api, receiver) = (start().await, Receiver::start());
    let body = json!({"target_url": receiver.origin, "is_active": false, "event_types": ["sync_job_run:record"]});
    let (path, _) = webhook_with(&api, body).await;
    let reply = api.client.post(&format!("{path}/test"), json!({})).await;
    assert_eq!(reply.expect(200).json()["success"], true);
    let shown = api.client.get(&path).await.expect(200).json();
    assert_eq!(shown["is_active"], false, "it stays off");
}

#[tokio::test]
async fn both_secrets_sign_during_an_overlap_and_the_attempt_names_their_keys() {
    let (api, receiver) = (start().await, Receiver::start());
    let (path, first) = webhook_with(&api, json!({"target_url": receiver.origin})).await;
    let rotated = api
        .client
        .post(&format!("{path}/rotate-secret"), json!({}))
        .await;
    let second = rotated.expect(200).json()["secret"].clone();
    let reply = api.client.post(&format!("{path}/test"), json!({})).await;
    let result = reply.expect(200).json();
    let ids = result["signing_key_ids"].as_array().expect("ids");
    assert_eq!(ids.len(), 2);
    assert_ne!(ids[0], ids[1]);
    for id in ids {
        let id = id.as_str().expect("text");
        assert!(id.starts_with("k_") && id.len() == 10, "{id}");
    }
    let attempt = &attempts(&api, &path, "").await[0];
    assert_eq!(&attempt["signing_key_ids"], &result["signing_key_ids"]);
    let text = attempt.to_string();
    assert!(!text.contains(&first) && !text.contains(second.as_str().expect("a secret")));
}

#[tokio::test]
async fn a_test_with_an_idempotency_key_is_sent_once() {
    let (api, receiver) = (start().await, Receiver::start());
    let path = format!("{}/test", webhook(&api, &receiver.origin).await);
    let test = async || {
        let request = api.client.request(Method::POST, &path);
        send(request.header("Idempotency-Key", "k1").json(&json!({}))).await
    };
    let (first, again) = (test().await.expect(200), test().await.expect(200));
    assert_eq!(first.text, again.text);
    assert_eq!(again.headers["idempotent-replayed"], "true");
    assert_eq!(receiver.received().len(), 1);
}

#[tokio::test]
async fn tests_beyond_the_bound_are_refused_until_there_is_room() {
    let (api, receiver) = (start().await, Receiver::start());
    let target = json!({"target_url": format!("{}/silent", receiver.origin), "delivery": {"timeout_ms": 60_000}});
    let (path, _) = webhook_with(&api, target).await;
    let path = format!("{path}/test");
    let mut running = tokio::task::JoinSet::new();
    for _ in 0..TESTS_AT_ONCE {
        let (client, path) = (api.client.clone(), path.clone());
        running.spawn(async move { client.post(&path, json!({})).await });
    }
    wait_until("all places are taken", async || {
        receiver.received().len() == TESTS_AT_ONCE
    })
    .await;
    let refused = api.client.post(&path, json!({})).await;
    assert!(refused.headers.contains_key("retry-after"));
    refused.refused(429, "too_many_requests");
    receiver.speak();
    while let Some(reply) = running.join_next().await {
        assert_eq!(reply.expect("an end").status, StatusCode::OK);
    }
    api.client.post(&path, json!({})).await.expect(200);
}

#[tokio::test]
async fn a_test_needs_the_scope_to_write_and_its_attempts_that_to_read() {
    let (api, receiver) = (start().await, Receiver::start());
    let path = webhook(&api, &receiver.origin).await;
    let scope = shared::model::token::Scope::Read;
    let reader = client_in(&api.store, &api.origin, api.client.environment, scope).await;
    let test = reader.post(&format!("{path}/test"), json!({})).await;
    test.refused(403, "forbidden");
    reader.get(&format!("{path}/attempt")).await.expect(200);
    assert_eq!(receiver.received().len(), 0);
}

#[tokio::test]
async fn attempts_are_listed_newest_first_with_filters_and_pages() {
    let (api, receiver) = (start().await, Receiver::start());
    let path = webhook(&api, &format!("{}/broken", receiver.origin)).await;
    let failed = api
        .client
        .post(&format!("{path}/test"), json!({}))
        .await
        .expect(200)
        .json();
    let mend = json!({"target_url": receiver.origin});
    api.client.patch(&path, mend).await.expect(200);
    let delivered = api
        .client
        .post(&format!("{path}/test"), json!({}))
        .await
        .expect(200)
        .json();

    let all = attempts(&api, &path, "").await;
    let ids: Vec<_> = all.iter().map(|attempt| &attempt["event_id"]).collect();
    assert_eq!(ids, [&delivered["event_id"], &failed["event_id"]]);
    let attempt = &all[1];
    assert!(
        attempt["id"]
            .as_str()
            .is_some_and(|id| id.starts_with("att_"))
    );
    assert_eq!(
        format!(
            "/webhook/{}",
            attempt["webhook_id"].as_str().expect("an id")
        ),
        path
    );
    assert_eq!(attempt["event"], "test");
    assert_eq!(attempt["attempt"], 1);
    assert_eq!(attempt["outcome"], "failed");
    assert_eq!(attempt["sync_job_run_id"], Value::Null);
    for field in [
        "status_code",
        "error",
        "phases",
        "bytes_sent",
        "bytes_received",
        "answer",
    ] {
        assert_eq!(attempt[field], failed[field], "{field}");
    }

    for (query, expected) in [
        ("?outcome=failed".to_owned(), vec![&all[1]]),
        ("?outcome=delivered".to_owned(), vec![&all[0]]),
        (
            format!("?event_id={}", failed["event_id"].as_str().expect("an id")),
            vec![&all[1]],
        ),
        (
            "?sync_job_run_id=run_00000000000000000000000000".to_owned(),
            vec![],
        ),
    ] {
        let found = attempts(&api, &path, &query).await;
        assert_eq!(found.iter().collect::<Vec<_>>(), expected, "{query}");
    }
    for wrong in [
        "outcome=lost",
        "event_id=x",
        "sync_job_run_id=evt_1",
        "next_cursor=abc",
        "limit=0",
    ] {
        let refused = api.client.get(&format!("{path}/attempt?{wrong}")).await;
        refused.refused(400, "invalid_parameter");
    }

    let first = api
        .client
        .get(&format!("{path}/attempt?limit=1"))
        .await
        .expect(200)
        .json();
    assert_eq!(first["result"], json!([all[0]]));
    // Added meanwhile: the second page doesn't move.
    api.client
        .post(&format!("{path}/test"), json!({}))
        .await
        .expect(200);
    let cursor = first["next_cursor"].as_str().expect("a cursor");
    let second = api
        .client
        .get(&format!("{path}/attempt?limit=1&next_cursor={cursor}"))
        .await;
    let second = second.expect(200).json();
    assert_eq!(second["result"], json!([all[1]]));
    assert_eq!(second["next_cursor"], Value::Null);
}

#[tokio::test]
async fn attempts_of_another_environment_are_not_found_and_those_of_a_deleted_webhook_are_gone() {
    let (api, receiver) = (start().await, Receiver::start());
    let path = webhook(&api, &receiver.origin).await;
    api.client
        .post(&format!("{path}/test"), json!({}))
        .await
        .expect(200);
    let scope = shared::model::token::Scope::Admin;
    let other = client(&api.store, &api.origin, "other", scope).await;
    other
        .get(&format!("{path}/attempt"))
        .await
        .refused(404, "not_found");
    other
        .post(&format!("{path}/test"), json!({}))
        .await
        .refused(404, "not_found");
    assert_eq!(attempt_keys(&api.store).await, 1);
    api.client.delete(&path).await.expect(200);
    api.client
        .get(&format!("{path}/attempt"))
        .await
        .refused(404, "not_found");
    assert_eq!(attempt_keys(&api.store).await, 0);
}

/// Logs of attempts that are in the store.
async fn attempt_keys(store: &Store) -> usize {
    let pattern = store.keys().join(&["attempts", "*"]);
    let mut call = redis::cmd("KEYS");
    let found: Vec<String> = call
        .arg(pattern)
        .query_async(&mut store.connection())
        .await
        .expect("keys");
    found.len()
}

#[tokio::test]
async fn a_test_is_answered_also_when_it_could_not_be_logged() {
    let store = shared::testing::redis::store();
    let (api, receiver) = (start_on(store.clone()).await, Receiver::start());
    let path = webhook(&api, &receiver.origin).await;
    let id = path.rsplit('/').next().expect("an id");
    // Not a stream: adding to it fails.
    let key = store.keys().join(&["attempts", id, "delivered"]);
    let mut call = redis::cmd("SET");
    let () = call
        .arg(key)
        .arg("x")
        .query_async(&mut store.connection())
        .await
        .expect("set");
    let reply = api.client.post(&format!("{path}/test"), json!({})).await;
    assert_eq!(reply.expect(200).json()["success"], true);
}
