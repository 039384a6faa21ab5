//! `/webhook`: signing secrets, authentication, secret headers, compression.

use serde_json::{Value, json};

use crate::support::{Api, Reply, start};

const TARGET: &str = "https://example.com/hook";
/// The secret of Standard Webhooks' example: 24 bytes.
const HMAC_SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
/// The seed of RFC 8032 section 7.1, test 1, and its public key.
const ED25519_SECRET: &str = "whsk_nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A=";
const ED25519_PUBLIC: &str = "whpk_11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=";

async fn make(api: &Api, more: Value) -> Reply {
    let mut body = json!({"target_url": TARGET});
    let (body_fields, more) = (body.as_object_mut().expect("an object"), more);
    body_fields.extend(more.as_object().expect("an object").clone());
    api.client.post("/webhook", body).await
}

async fn path(api: &Api, more: Value) -> String {
    format!("/webhook/{}", make(api, more).await.expect(201).id())
}

#[tokio::test]
async fn a_secret_may_be_given_at_the_creation_and_at_a_rotation() {
    let api = start().await;
    let made = make(&api, json!({"secret": HMAC_SECRET})).await.expect(201);
    assert_eq!(made.json()["secret"], HMAC_SECRET);
    assert_eq!(made.json()["signature_algorithm"], "hmac-sha256");
    assert!(made.json()["public_key"].is_null());
    let path = format!("/webhook/{}", made.id());
    let next = "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    let rotate = format!("{path}/rotate-secret");
    let rotated = api.client.post(&rotate, json!({"secret": next})).await;
    assert_eq!(rotated.expect(200).json()["secret"], next);
    for shown in [
        api.client.get(&path).await.expect(200),
        api.client.get("/webhook").await.expect(200),
        api.client
            .patch(&path, json!({"label": "x"}))
            .await
            .expect(200),
    ] {
        assert!(!shown.text.contains("whsec_"), "{}", shown.text);
    }
    let patched = api.client.patch(&path, json!({"secret": next})).await;
    assert_eq!(patched.refused(422, "validation_failed"), ["/secret"]);
    assert!(patched.text.contains("rotate-secret"));
}

#[tokio::test]
async fn a_secret_of_another_form_is_refused_with_the_form_and_never_repeated() {
    let api = start().await;
    let path = path(&api, json!({})).await;
    for (secret, form) in [
        ("hunter2hunter2hunter2", "24 to 64 bytes"),
        ("whsec_aHVudGVyMg==", "24 to 64 bytes"),
        ("whsec_hunter2!", "24 to 64 bytes"),
        ("whsk_aHVudGVyMg==", "32 bytes"),
    ] {
        let rotation = api
            .client
            .post(&format!("{path}/rotate-secret"), json!({"secret": secret}))
            .await;
        for reply in [make(&api, json!({"secret": secret})).await, rotation] {
            assert_eq!(reply.refused(422, "validation_failed"), ["/secret"]);
            assert!(reply.text.contains(form), "{}", reply.text);
            assert!(
                !reply.text.contains("hunter2") && !reply.text.contains("aHVudGVyMg"),
                "{}",
                reply.text
            );
        }
    }
}

#[tokio::test]
async fn a_webhook_may_sign_with_ed25519_and_always_shows_its_public_key() {
    let api = start().await;
    let made = make(&api, json!({"signature_algorithm": "ed25519"}))
        .await
        .expect(201)
        .json();
    assert!(
        made["secret"]
            .as_str()
            .is_some_and(|secret| secret.starts_with("whsk_"))
    );
    let given = make(&api, json!({"secret": ED25519_SECRET}))
        .await
        .expect(201);
    let path = format!("/webhook/{}", given.id());
    let patched = api.client.patch(&path, json!({"label": "x"})).await;
    for shown in [
        given.json(),
        api.client.get(&path).await.json(),
        patched.json(),
    ] {
        assert_eq!(shown["public_key"], ED25519_PUBLIC);
        assert_eq!(shown["signature_algorithm"], "ed25519");
    }
    let mismatch = json!({"secret": HMAC_SECRET, "signature_algorithm": "ed25519"});
    assert_eq!(
        make(&api, mismatch).await.refused(422, "validation_failed"),
        ["/secret"]
    );
}

#[tokio::test]
async fn a_rotation_keeps_the_algorithm_or_changes_it() {
    let api = start().await;
    let path = path(&api, json!({"secret": ED25519_SECRET})).await;
    let rotate = async |body| {
        let path = format!("{path}/rotate-secret");
        api.client.post(&path, body).await.expect(200).json()
    };
    let kept = rotate(json!({})).await;
    assert_eq!(kept["signature_algorithm"], "ed25519");
    assert_ne!(kept["public_key"], ED25519_PUBLIC);
    let changed = rotate(json!({"signature_algorithm": "hmac-sha256"})).await;
    assert_eq!(changed["signature_algorithm"], "hmac-sha256");
    assert!(changed["public_key"].is_null());
    let back = rotate(json!({"secret": ED25519_SECRET})).await;
    assert_eq!(back["public_key"], ED25519_PUBLIC);
}

#[tokio::test]
async fn an_authentication_is_kept_by_a_patch_without_it_and_removed_by_null() {
    let api = start().await;
    let basic = json!({"type": "basic", "username": "u", "password": "hunter2"});
    let path = path(&api, json!({"authentication": basic})).await;
    let patch = async |body: Value| {
        let reply = api.client.patch(&path, body).await.expect(200);
        assert!(!reply.text.contains("hunter"), "{}", reply.text);
        reply.json()["authentication"].clone()
    };
    let shown = |username| json!({"type": "basic", "username": username, "password": "[redacted]"});
    assert_eq!(patch(json!({"label": "x"})).await, shown("u"));
    assert_eq!(
        patch(json!({"authentication": {"username": "v"}})).await,
        shown("v")
    );
    // What was read may be sent back.
    assert_eq!(
        patch(json!({"authentication": shown("v")})).await,
        shown("v")
    );
    // A merge patch takes away what the other kind has.
    let bearer = json!({"authentication":
        {"type": "bearer", "token": "hunter3", "username": null, "password": null}});
    assert_eq!(
        patch(bearer).await,
        json!({"type": "bearer", "token": "[redacted]"})
    );
    assert_eq!(patch(json!({"authentication": null})).await, Value::Null);
    let kept = json!({"authentication": shown("v")});
    assert_eq!(
        api.client
            .patch(&path, kept)
            .await
            .refused(422, "validation_failed"),
        ["/authentication/password"]
    );
}

#[tokio::test]
async fn every_fault_of_headers_and_authentication_is_named_at_once() {
    let api = start().await;
    let body = json!({
        "headers": {"x-a": "1", "authorization": "Basic x"},
        "secret_headers": {"X-A": "hunter2", "webhook-id": "hunter2", "host": "hunter2", "x-b": 1, "authorization": "hunter2"},
        "authentication": {"type": "bearer", "token": "hunter2 hunter2", "username": "u"},
        "delivery": {"compression": "deflate"},
    });
    let reply = make(&api, body).await;
    assert_eq!(
        reply.refused(422, "validation_failed"),
        [
            "/headers/authorization",
            "/secret_headers/X-A",
            "/secret_headers/webhook-id",
            "/secret_headers/host",
            "/secret_headers/x-b",
            "/secret_headers/authorization",
            "/authentication/token",
            "/authentication/username",
            "/delivery/compression",
        ]
    );
    assert!(!reply.text.contains("hunter2"), "{}", reply.text);
    let many = |prefix: &str, count: usize| -> Value {
        (0..count)
            .map(|i| (format!("{prefix}{i}"), json!("1")))
            .collect::<serde_json::Map<_, _>>()
            .into()
    };
    let body = json!({"headers": many("a", 11), "secret_headers": many("b", 10)});
    assert_eq!(
        make(&api, body).await.refused(422, "validation_failed"),
        ["/secret_headers"]
    );
    let body = json!({"headers": many("a", 10), "secret_headers": many("b", 10)});
    make(&api, body).await.expect(201);
}

#[tokio::test]
async fn a_patch_merges_secret_headers_whose_values_are_never_shown() {
    let api = start().await;
    let headers = json!({"X-One": "hunter1", "x-two": "hunter2"});
    let path = path(
        &api,
        json!({"headers": {"x-a": "1"}, "secret_headers": headers}),
    )
    .await;
    let patch = async |body: Value| {
        let reply = api.client.patch(&path, body).await.expect(200);
        assert!(!reply.text.contains("hunter"), "{}", reply.text);
        reply.json()["secret_headers"].clone()
    };
    let merged = patch(json!({"secret_headers": {"X-Two": null, "x-three": "hunter3"}})).await;
    assert_eq!(
        merged,
        json!({"x-one": "[redacted]", "x-three": "[redacted]"})
    );
    let kept = patch(json!({"secret_headers": {"X-One": "[redacted]"}})).await;
    assert_eq!(kept, merged);
    let twice = json!({"headers": {"X-One": "open"}});
    assert_eq!(
        api.client
            .patch(&path, twice)
            .await
            .refused(422, "validation_failed"),
        ["/secret_headers/x-one"]
    );
    let moved = json!({"headers": {"X-A": null}, "secret_headers": {"x-a": "hunter4"}});
    assert_eq!(patch(moved).await["x-a"], "[redacted]");
    assert_eq!(patch(json!({"secret_headers": null})).await, json!({}));
}

#[tokio::test]
async fn compression_is_gzip_or_none() {
    let api = start().await;
    let path = path(&api, json!({"delivery": {"compression": "gzip"}})).await;
    let shown = async || api.client.get(&path).await.json()["delivery"]["compression"].clone();
    assert_eq!(shown().await, "gzip");
    api.client
        .patch(&path, json!({"delivery": {"compression": null}}))
        .await
        .expect(200);
    assert_eq!(shown().await, Value::Null);
}

#[tokio::test]
async fn deleting_a_webhook_wipes_its_secret_and_the_credentials_it_was_given() {
    use shared::{ids::WebhookId, model::webhook::Webhook};

    let api = start().await;
    let made = make(
        &api,
        json!({"secret_headers": {"x-a": "1"}, "authentication": {"type": "bearer", "token": "t"}}),
    );
    let id = made.await.expect(201).id();
    let stored = async || -> Webhook {
        let id: WebhookId = id.parse().expect("an id");
        let objects = api.store.objects();
        let stored = objects.get_with_deleted(api.client.environment, id).await;
        stored.expect("a store").expect("a webhook")
    };
    let before = stored().await;
    assert!(before.authentication.is_some() && before.secret_headers.len() == 1);
    api.client
        .delete(&format!("/webhook/{id}"))
        .await
        .expect(200);
    let after = stored().await;
    assert!(after.authentication.is_none() && after.secret_headers.is_empty());
    assert_eq!(after.sealed_secret, "");
}
