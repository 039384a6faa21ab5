//! `Idempotency-Key`.

use reqwest::{Method, header};
use serde_json::{Value, json};
use shared::{
    ids::WebhookId,
    store::idempotency::{Reserved, Settlement, fingerprint},
};

use crate::{
    source,
    support::{Api, BASE, Reply, client, send, start},
};

async fn post(api: &Api, key: &str, body: &Value) -> Reply {
    send(
        api.client
            .request(Method::POST, "/webhook")
            .header("Idempotency-Key", key)
            .json(body),
    )
    .await
}

#[tokio::test]
async fn the_same_key_and_body_replays_the_first_answer_and_makes_nothing() {
    let api = start().await;
    let body = json!({"target_url": "https://example.com/"});
    let first = post(&api, "k1", &body).await.expect(201);
    let again = post(&api, "k1", &body).await.expect(201);
    assert_eq!(first.text, again.text);
    assert!(first.headers.get("idempotent-replayed").is_none());
    assert_eq!(again.headers["idempotent-replayed"], "true");
    let list = api.client.get("/webhook").await.json();
    assert_eq!(list["result"].as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn the_same_key_with_another_body_or_path_is_409() {
    let api = start().await;
    post(&api, "k1", &json!({"target_url": "https://example.com/"}))
        .await
        .expect(201);
    post(&api, "k1", &json!({"target_url": "https://example.org/"}))
        .await
        .refused(409, "idempotency_key_reused");
    let other = api
        .client
        .request(Method::POST, "/sync-job")
        .header("Idempotency-Key", "k1");
    send(other.json(&json!({"target_url": "https://example.com/"})))
        .await
        .refused(409, "idempotency_key_reused");
}

#[tokio::test]
async fn the_same_key_with_another_query_is_409() {
    let api = start().await;
    let post = async |state_key: &str| {
        let path = format!("/sync-job-run-state?state_key={state_key}");
        let request = api.client.request(Method::POST, &path);
        let body = json!({"key": "last_id", "value": 1});
        send(request.header("Idempotency-Key", "k1").json(&body)).await
    };
    post("a").await.expect(201);
    post("b").await.refused(409, "idempotency_key_reused");
    assert_eq!(
        post("a").await.expect(201).headers["idempotent-replayed"],
        "true"
    );
}

#[tokio::test]
async fn a_refused_request_frees_its_key() {
    let api = start().await;
    post(&api, "k1", &json!({"target_url": "no"}))
        .await
        .refused(422, "validation_failed");
    post(&api, "k1", &json!({"target_url": "https://example.com/"}))
        .await
        .expect(201);
}

#[tokio::test]
async fn keys_of_two_environments_have_nothing_to_do_with_each_other() {
    let api = start().await;
    let other = client(
        &api.store,
        &api.origin,
        "second",
        shared::model::token::Scope::Admin,
    )
    .await;
    post(&api, "k1", &json!({"target_url": "https://example.com/"}))
        .await
        .expect(201);
    let request = other
        .request(Method::POST, "/webhook")
        .header("Idempotency-Key", "k1");
    let reply = send(request.json(&json!({"target_url": "https://example.org/"})))
        .await
        .expect(201);
    assert!(reply.headers.get("idempotent-replayed").is_none());
}

#[tokio::test]
async fn a_key_that_is_being_worked_on_is_409_with_retry_after() {
    let api = start().await;
    let body = json!({"target_url": "https://example.com/"});
    let print = fingerprint(
        "POST",
        &format!("{BASE}/webhook"),
        body.to_string().as_bytes(),
    );
    let reserved = api
        .store
        .idempotency()
        .reserve(api.client.environment, "k1", &print, 7)
        .await
        .expect("a store");
    assert!(matches!(reserved, Reserved::Yours(_)));
    let reply = post(&api, "k1", &body).await;
    reply.refused(409, "conflict");
    let wait: u64 = reply.headers[header::RETRY_AFTER]
        .to_str()
        .expect("text")
        .parse()
        .expect("seconds");
    assert!((1..=60).contains(&wait));
}

#[tokio::test]
async fn a_crash_between_making_and_answering_cannot_make_two() {
    let api = start().await;
    let body = json!({"target_url": "https://example.com/"});
    let print = fingerprint(
        "POST",
        &format!("{BASE}/webhook"),
        body.to_string().as_bytes(),
    );
    let idempotency = api.store.idempotency();
    // A process reserves the key, makes the webhook, and dies before it keeps the answer.
    let Reserved::Yours(dead) = idempotency
        .reserve(api.client.environment, "k1", &print, 7)
        .await
        .expect("a store")
    else {
        panic!("the key is free")
    };
    idempotency
        .settle(&dead, &Settlement::HandBack)
        .await
        .expect("a store");
    let made = post(&api, "k1", &body).await.expect(201);
    assert_eq!(made.id(), WebhookId::from_bits(dead.object).to_string());

    let Reserved::Answered { .. } = idempotency
        .reserve(api.client.environment, "k1", &print, 7)
        .await
        .expect("a store")
    else {
        panic!("the answer was kept")
    };
    let list = api.client.get("/webhook").await.json();
    assert_eq!(list["result"].as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn a_run_whose_answer_got_lost_is_the_answer_though_it_would_be_refused_by_now() {
    let api = start().await;
    let webhook = api.client.webhook().await;
    let body = json!({
        "sync_job_id": api.client.sync_job().await,
        "integrated_account_id": api.client.account(&source::start()).await,
        "webhook_id": webhook,
    });
    let run = post_run(&api, &body).await.expect(201).id();
    lose_answer(&api).await;
    let webhook = format!("/webhook/{webhook}");
    api.client
        .patch(&webhook, json!({"is_active": false}))
        .await
        .expect(200);
    assert_eq!(post_run(&api, &body).await.expect(201).id(), run);
}

#[tokio::test]
async fn a_key_whose_first_answer_got_lost_stays_bound_to_its_object_though_it_is_refused() {
    let api = start().await;
    let body = json!({
        "sync_job_id": api.client.sync_job().await,
        "integrated_account_id": api.client.account(&source::start()).await,
        "webhook_id": "wh_00000000000000000000000000",
    });
    let print = fingerprint(
        "POST",
        &format!("{BASE}/sync-job-run"),
        body.to_string().as_bytes(),
    );
    let idempotency = api.store.idempotency();
    let reserve = async |object| {
        idempotency
            .reserve(api.client.environment, "k1", &print, object)
            .await
            .expect("a store")
    };
    // A process that died before it said what it made, and may yet make it: what it sent can be under way.
    let Reserved::Yours(dead) = reserve(7).await else {
        panic!("the key is free")
    };
    idempotency
        .settle(&dead, &Settlement::HandBack)
        .await
        .expect("a store");
    post_run(&api, &body)
        .await
        .refused(422, "validation_failed");
    let Reserved::Yours(next) = reserve(8).await else {
        panic!("nobody is at it")
    };
    assert_eq!(next.object, dead.object);
}

#[tokio::test]
async fn a_key_whose_webhook_was_deleted_before_its_first_answer_came_says_so() {
    let api = start().await;
    let body = json!({"target_url": "https://example.com/"});
    let made = post(&api, "k1", &body).await.expect(201);
    lose_answer(&api).await;
    let path = format!("/webhook/{}", made.id());
    api.client.delete(&path).await.expect(200);
    post(&api, "k1", &body).await.refused(409, "conflict");
}

async fn post_run(api: &Api, body: &Value) -> Reply {
    let request = api
        .client
        .request(Method::POST, "/sync-job-run")
        .header("Idempotency-Key", "k1");
    send(request.json(body)).await
}

/// Leaves the one key there is as when a process dies before it keeps the answer.
async fn lose_answer(api: &Api) {
    let mut connection = api.store.connection();
    let keys: Vec<String> = redis::cmd("KEYS")
        .arg(api.store.keys().join(&["idempotency", "*"]))
        .query_async(&mut connection)
        .await
        .expect("keys");
    let [key] = &keys[..] else {
        panic!("one key: {keys:?}")
    };
    let removed: u32 = redis::cmd("HDEL")
        .arg(key)
        .arg("answer")
        .query_async(&mut connection)
        .await
        .expect("an answer");
    assert_eq!(removed, 1);
}

#[tokio::test]
async fn a_key_is_one_to_255_characters() {
    let api = start().await;
    let body = json!({"target_url": "https://example.com/"});
    for key in ["", &"k".repeat(256)] {
        let pointers = post(&api, key, &body)
            .await
            .refused(400, "invalid_parameter");
        assert_eq!(pointers, ["Idempotency-Key"]);
    }
    post(&api, &"k".repeat(255), &body).await.expect(201);
}
