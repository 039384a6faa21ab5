//! `/sync-job-run`

use reqwest::Method;
use serde_json::{Value, json};
use shared::ids::RunId;

use crate::{
    source,
    support::{Api, sample_account, send, start},
};

/// A body that starts a run, and the ids in it.
async fn run_body(api: &Api) -> Value {
    json!({
        "sync_job_id": api.client.sync_job().await,
        "integrated_account_id": api.client.account(&source::start()).await,
        "webhook_id": api.client.webhook().await,
    })
}

#[tokio::test]
async fn an_accepted_run_is_queued_with_everything_it_needs() {
    let api = start().await;
    let mut body = run_body(&api).await;
    body["args"] = json!({"warehouse": 9_007_199_254_740_993_u64});
    body["status"] = json!("created");
    body["default_runtime_version"] = json!(3);
    let reply = api
        .client
        .post("/sync-job-run", body.clone())
        .await
        .expect(201);
    let run = reply.json();
    assert_eq!(
        (&run["status"], &run["trigger"], &run["error_handling"]),
        (&json!("created"), &json!("api"), &json!("ignore"))
    );
    assert_eq!(
        (&run["args"], &run["sync_job_id"]),
        (&body["args"], &body["sync_job_id"])
    );
    let id: RunId = reply.id().parse().expect("an id");
    let spec = api
        .store
        .runs()
        .spec(id)
        .await
        .expect("a store")
        .expect("a spec");
    assert!(
        api.store
            .document(&spec.integration_hash)
            .await
            .expect("a store")
            .is_some(),
        "workers find the document"
    );
    assert_eq!(
        api.client
            .get(&format!("/sync-job-run/{id}"))
            .await
            .expect(200)
            .json(),
        run
    );
}

#[tokio::test]
async fn everything_that_does_not_fit_is_named_at_once() {
    let api = start().await;
    let body = json!({"sync_job_id": "job_00000000000000000000000000", "integrated_account_id": "acc_x", "resources": [], "arg": {}});
    let pointers = api
        .client
        .post("/sync-job-run", body)
        .await
        .refused(422, "validation_failed");
    for pointer in [
        "/sync_job_id",
        "/integrated_account_id",
        "/webhook_id",
        "/resources",
        "/arg",
    ] {
        assert!(
            pointers.contains(&pointer.to_owned()),
            "{pointer} is not in {pointers:?}"
        );
    }
}

#[tokio::test]
async fn account_and_webhook_must_be_active_and_fit_the_job() {
    let api = start().await;
    let mut body = run_body(&api).await;
    let bad = api
        .client
        .post(
            "/integrated-account",
            sample_account(&source::start(), "bad-key-1234"),
        )
        .await
        .expect(201);
    body["integrated_account_id"] = json!(bad.id());
    let webhook = body["webhook_id"].as_str().expect("an id").to_owned();
    api.client
        .patch(&format!("/webhook/{webhook}"), json!({"is_active": false}))
        .await
        .expect(200);
    let pointers = api
        .client
        .post("/sync-job-run", body.clone())
        .await
        .refused(422, "validation_failed");
    assert_eq!(pointers, ["/integrated_account_id", "/webhook_id"]);

    let other = json!({"label": "O", "config": {"base_url": "https://o.example", "authorization": {"format": "none"},
                       "resources": {"orders": {"list": {"path": "/orders"}}}}});
    api.client
        .put("/integration/other", other)
        .await
        .expect(201);
    let account = json!({"integration_name": "other", "tenant_id": "t"});
    body["integrated_account_id"] = json!(
        api.client
            .post("/integrated-account", account)
            .await
            .expect(201)
            .id()
    );
    let reply = api.client.post("/sync-job-run", body).await;
    assert!(
        reply
            .refused(422, "validation_failed")
            .contains(&"/integrated_account_id".to_owned())
    );
    assert!(reply.text.contains("`other`"), "{}", reply.text);
}

#[tokio::test]
async fn the_same_idempotency_key_starts_one_run() {
    let api = start().await;
    let body = run_body(&api).await;
    let post = || {
        send(
            api.client
                .request(Method::POST, "/sync-job-run")
                .header("Idempotency-Key", "run-1")
                .json(&body),
        )
    };
    let first = post().await.expect(201);
    assert_eq!(post().await.expect(201).text, first.text);
    let list = api.client.get("/sync-job-run").await.expect(200).json();
    assert_eq!(list["result"].as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn runs_are_listed_by_what_they_belong_to() {
    let api = start().await;
    let body = run_body(&api).await;
    let first = api
        .client
        .post("/sync-job-run", body.clone())
        .await
        .expect(201)
        .id();
    let second = api
        .client
        .post("/sync-job-run", body.clone())
        .await
        .expect(201)
        .id();
    let ids = |list: &Value| -> Vec<String> {
        list["result"]
            .as_array()
            .expect("rows")
            .iter()
            .map(|row| row["id"].as_str().expect("an id").to_owned())
            .collect()
    };
    let webhook = body["webhook_id"].as_str().expect("an id");
    let list = api
        .client
        .get(&format!(
            "/sync-job-run?webhook_id={webhook}&status=created&limit=1"
        ))
        .await
        .expect(200)
        .json();
    assert_eq!(ids(&list), [second]);
    let cursor = list["next_cursor"].as_str().expect("a second page");
    let list = api
        .client
        .get(&format!(
            "/sync-job-run?webhook_id={webhook}&limit=1&next_cursor={cursor}"
        ))
        .await
        .json();
    assert_eq!(ids(&list), [first]);
    let other = api
        .client
        .get("/sync-job-run?webhook_id=wh_00000000000000000000000000")
        .await
        .expect(200)
        .json();
    assert_eq!(other["result"], json!([]));
    assert_eq!(
        api.client.get("/sync-job-run?status=failed").await.json()["result"],
        json!([])
    );
}

#[tokio::test]
async fn a_run_is_stopped_in_three_ways_and_stopping_again_changes_nothing() {
    let api = start().await;
    let body = run_body(&api).await;
    for way in ["post", "patch", "delete"] {
        let id = api
            .client
            .post("/sync-job-run", body.clone())
            .await
            .expect(201)
            .id();
        let path = format!("/sync-job-run/{id}");
        for _ in 0..2 {
            match way {
                "post" => send(api.client.request(Method::POST, &format!("{path}/stop")))
                    .await
                    .expect(200),
                "patch" => api
                    .client
                    .patch(&path, json!({"status": "stopped"}))
                    .await
                    .expect(200),
                _ => api.client.delete(&path).await.expect(200),
            };
            assert_eq!(
                api.client.get(&path).await.expect(200).json()["status"],
                "stopped",
                "{way}"
            );
        }
    }
    let id = api
        .client
        .post("/sync-job-run", body)
        .await
        .expect(201)
        .id();
    let pointers = api
        .client
        .patch(&format!("/sync-job-run/{id}"), json!({"status": "running"}))
        .await;
    assert_eq!(pointers.refused(422, "validation_failed"), ["/status"]);
}

#[tokio::test]
async fn errors_and_events_of_a_new_run_are_empty_pages() {
    let api = start().await;
    let id = api
        .client
        .post("/sync-job-run", run_body(&api).await)
        .await
        .expect(201)
        .id();
    for what in ["error", "event"] {
        let list = api
            .client
            .get(&format!("/sync-job-run/{id}/{what}"))
            .await
            .expect(200)
            .json();
        assert_eq!(
            list,
            json!({"result": [], "next_cursor": null, "limit": 50})
        );
    }
}
