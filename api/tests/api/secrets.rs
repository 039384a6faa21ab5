//! A credential never comes out again: not in an answer, not in a line of the log,
//! not in a value of the store.

use std::{
    io::Write,
    sync::{Arc, Mutex},
};

use reqwest::Method;
use serde_json::json;

use crate::{
    receiver::Receiver,
    source,
    support::{GOOD_KEY, sample_account, send, start},
};

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0
            .lock()
            .expect("no panic before")
            .extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Every value under the store's keys, as text.
async fn everything(store: &shared::store::Store) -> String {
    let mut connection = store.connection();
    let pattern = format!("{}*", store.keys().base().replace('{', "\\{"));
    let keys: Vec<String> = redis::cmd("KEYS")
        .arg(pattern)
        .query_async(&mut connection)
        .await
        .expect("keys");
    let mut all = String::new();
    for key in keys {
        all.push_str(&key);
        let kind: String = redis::cmd("TYPE")
            .arg(&key)
            .query_async(&mut connection)
            .await
            .expect("a type");
        let command = match kind.as_str() {
            "hash" => redis::cmd("HGETALL"),
            "list" => redis::cmd("LRANGE"),
            "zset" => redis::cmd("ZRANGE"),
            "set" => redis::cmd("SMEMBERS"),
            _ => redis::cmd("GET"),
        };
        let mut command = command;
        command.arg(&key);
        if kind == "list" || kind == "zset" {
            command.arg(0).arg(-1);
        }
        let value: redis::Value = command.query_async(&mut connection).await.expect("a value");
        let texts: Vec<String> = redis::from_redis_value(value.clone())
            .or_else(|_| redis::from_redis_value(value).map(|text| vec![text]))
            .expect("texts");
        all.push_str(&texts.join("\n"));
    }
    all
}

#[tokio::test]
async fn a_seeded_credential_is_in_no_answer_no_log_line_and_no_value_of_the_store() {
    let log = Log::default();
    let writer = log.clone();
    tracing_subscriber::fmt()
        .with_max_level(tracing::Level::DEBUG)
        .with_writer(move || writer.clone())
        .init();
    let api = start().await;
    let source = source::start();
    let bad = "s33ded-bad-credential";
    let mut answers = String::new();

    let post = |body, key: &'static str| {
        send(
            api.client
                .request(Method::POST, "/integrated-account")
                .header("Idempotency-Key", key)
                .json(&body),
        )
    };
    for (key, credential) in [("one", GOOD_KEY), ("two", bad)] {
        for _ in 0..2 {
            answers.push_str(
                &post(sample_account(&source, credential), key)
                    .await
                    .expect(201)
                    .text,
            );
        }
    }
    // A source that can't be reached, one that isn't allowed, a body that is wrong.
    for base_url in ["http://127.0.0.1:1", "http://10.1.2.3", "nonsense"] {
        answers.push_str(
            &api.client
                .post("/integrated-account", sample_account(base_url, bad))
                .await
                .text,
        );
    }
    // A credential that is part of the target, which a message names.
    let target = "10.98.76.54";
    let integration = json!({"label": "T", "config": {
        "base_url": "http://{{credentials.api_key}}/",
        "credentials": {"format": "api_key", "config": {"fields": [{"name": "api_key", "label": "K", "type": "password"}]}},
        "authorization": {"format": "none"},
        "resources": {"orders": {"list": {"path": "/orders"}}},
        "actions": {"validation": {"steps": [{"type": "request", "config": {"path": "/me"}}]}},
    }});
    api.client
        .put("/integration/target", integration)
        .await
        .expect(201);
    let account =
        json!({"integration_name": "target", "tenant_id": "t", "credentials": {"api_key": target}});
    let refused = api
        .client
        .post("/integrated-account", account)
        .await
        .expect(201);
    assert_eq!(
        refused.json()["status"],
        "validation_error",
        "{}",
        refused.text
    );
    answers.push_str(&refused.text);
    let mut wrong = sample_account(&source, bad);
    wrong["credentials"]["surplus"] = json!(bad);
    answers.push_str(&api.client.post("/integrated-account", wrong).await.text);
    let list = api
        .client
        .get("/integrated-account?tenant_id=tenant-1")
        .await
        .expect(200);
    for row in list.json()["result"].as_array().expect("rows") {
        let path = format!("/integrated-account/{}", row["id"].as_str().expect("an id"));
        answers.push_str(&api.client.get(&path).await.text);
        answers.push_str(
            &api.client
                .post(&format!("{path}/validate"), json!({}))
                .await
                .text,
        );
        answers.push_str(
            &api.client
                .patch(&path, json!({"credentials": {"api_key": bad}}))
                .await
                .text,
        );
    }
    let webhook = send(
        api.client
            .request(Method::POST, "/webhook")
            .header("Idempotency-Key", "three")
            .json(&json!({"target_url": "https://example.com/"})),
    )
    .await;
    let secret = webhook.expect(201).json()["secret"]
        .as_str()
        .expect("a secret")
        .to_owned();
    let of_webhook = [
        "s33ded-password",
        "s33ded-header",
        "s33ded-bearer-token",
        "s33ded-second-header",
    ];
    let signing = [
        "c2VlZGVkLXNpZ25pbmctc2VjcmV0",
        "c2VlZGVkLXNlY29uZC1zZWNyZXQh",
    ];
    let basic_pair = "dTpzMzNkZWQtcGFzc3dvcmQ=";
    let whsec = |index: usize| format!("whsec_{0}{0}", signing[index]);
    let receiver = Receiver::start();
    let full = json!({
        "target_url": format!("{}/echo", receiver.origin), "secret": whsec(0), "secret_headers": {"x-api-key": of_webhook[1]},
        "authentication": {"type": "basic", "username": "u", "password": of_webhook[0]},
    });
    let full = api.client.post("/webhook", full).await.expect(201);
    assert_eq!(full.json()["secret"], whsec(0), "shown to who made it");
    let path = format!("/webhook/{}", full.id());
    let test = format!("{path}/test");
    let basic = api.client.post(&test, json!({})).await.expect(200);
    let patch = json!({
        "secret_headers": {"x-another": of_webhook[3]}, "authentication": {"type": "bearer", "token": of_webhook[2]},
    });
    let mut wrong = patch.clone();
    wrong["authentication"]["surplus"] = json!(of_webhook[2]);
    wrong["secret_headers"]["host"] = json!(of_webhook[3]);
    for (body, status) in [(patch, 200), (wrong, 422)] {
        let reply = api.client.patch(&path, body).await.expect(status);
        answers.push_str(&reply.text);
    }
    let rotate = format!("{path}/rotate-secret");
    let given = json!({"secret": whsec(1), "overlap_hours": 1});
    let rotated = api.client.post(&rotate, given).await.expect(200);
    assert_eq!(
        rotated.json()["secret"],
        whsec(1),
        "shown to who rotated it"
    );
    let bearer = api.client.post(&test, json!({})).await.expect(200);
    let attempts = api.client.get(&format!("{path}/attempt")).await.expect(200);
    for told in [&basic, &bearer, &attempts] {
        assert!(told.text.contains("[redacted]"), "{}", told.text);
        answers.push_str(&told.text);
    }
    let [first, second] = receiver.received().try_into().expect("two requests");
    assert_eq!(first.header("authorization"), format!("Basic {basic_pair}"));
    assert_eq!(second.header("x-another"), of_webhook[3], "sent, not told");
    let pair = json!({"target_url": "https://example.com/", "signature_algorithm": "ed25519"});
    let pair = api.client.post("/webhook", pair).await.expect(201);
    let pair_secret = pair.json()["secret"].as_str().expect("a secret").to_owned();
    for path in [
        path.clone(),
        format!("/webhook/{}", pair.id()),
        "/webhook".to_owned(),
    ] {
        answers.push_str(&api.client.get(&path).await.expect(200).text);
    }
    answers.push_str(&api.client.delete(&path).await.expect(200).text);
    answers.push_str(&list.text);

    let stored = everything(&api.store).await;
    let logged = String::from_utf8(log.0.lock().expect("no panic before").clone()).expect("UTF-8");
    assert!(
        logged.contains("answered 201")
            && stored.contains("tenant-1")
            && answers.contains("validation_error")
    );
    assert!(
        logged.contains("environment.id") && !logged.contains("tenant_id="),
        "no query in the log"
    );
    for secret in [GOOD_KEY, bad, target, &pair_secret, basic_pair]
        .into_iter()
        .chain(of_webhook)
        .chain(signing)
    {
        assert!(!answers.contains(secret), "an answer holds {secret}");
    }
    for secret in [
        GOOD_KEY,
        bad,
        target,
        &secret,
        &pair_secret,
        api.client.token(),
    ]
    .into_iter()
    .chain(of_webhook)
    .chain(signing)
    {
        assert!(!logged.contains(secret), "the log holds {secret}");
        assert!(!stored.contains(secret), "the store holds {secret}");
    }
}
