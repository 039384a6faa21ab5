//! Values that clients keep between runs.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{client, send, start};
use shared::model::token::Scope;

const PATH: &str = "/sync-job-run-state";

#[tokio::test]
async fn a_value_is_kept_changed_and_removed() {
    let api = start().await;
    let body = json!({"key": "last/id", "value": {"id": 9_007_199_254_740_993_u64}});
    let made = api
        .client
        .post(&format!("{PATH}?state_key=job 1"), body.clone())
        .await
        .expect(201)
        .json();
    assert_eq!(
        (&made["key"], &made["value"]),
        (&body["key"], &body["value"])
    );
    assert_eq!(
        (&made["created_at"], &made["sync_job_run_id"]),
        (&made["updated_at"], &Value::Null)
    );
    let one = format!("{PATH}/last%2Fid?state_key=job%201");
    assert_eq!(api.client.get(&one).await.expect(200).json(), made);
    let changed = api
        .client
        .patch(&one, json!({"value": null}))
        .await
        .expect(200)
        .json();
    assert_eq!(
        (&changed["value"], &changed["created_at"]),
        (&Value::Null, &made["created_at"])
    );
    let again = api
        .client
        .post(&format!("{PATH}?state_key=job 1"), body)
        .await;
    again.refused(409, "conflict");
    api.client.delete(&one).await.expect(200);
    api.client.get(&one).await.refused(404, "not_found");
    api.client.delete(&one).await.refused(404, "not_found");
    api.client
        .patch(&one, json!({"value": 1}))
        .await
        .refused(404, "not_found");
}

#[tokio::test]
async fn values_are_listed_by_key_within_their_state_key_and_environment() {
    let api = start().await;
    let path = format!("{PATH}?state_key=a");
    for key in ["k3", "k1", "k2"] {
        api.client
            .post(&path, json!({"key": key, "value": key}))
            .await
            .expect(201);
    }
    api.client
        .post(
            &format!("{PATH}?state_key=b"),
            json!({"key": "other", "value": 1}),
        )
        .await
        .expect(201);
    let keys = |page: &Value| -> Vec<String> {
        let rows = page["result"].as_array().expect("rows").iter();
        rows.map(|row| row["key"].as_str().expect("a key").to_owned())
            .collect()
    };
    let page = api
        .client
        .get(&format!("{path}&limit=2"))
        .await
        .expect(200)
        .json();
    assert_eq!(keys(&page), ["k1", "k2"]);
    let cursor = page["next_cursor"].as_str().expect("a second page");
    let page = api
        .client
        .get(&format!("{path}&limit=2&next_cursor={cursor}"))
        .await
        .expect(200)
        .json();
    assert_eq!(
        (keys(&page), &page["next_cursor"]),
        (vec!["k3".to_owned()], &Value::Null)
    );
    let other = client(&api.store, &api.origin, "second", Scope::Admin).await;
    let page = other.get(&path).await.expect(200).json();
    assert_eq!(page["result"], json!([]));
    other
        .get(&format!("{PATH}/k1?state_key=a"))
        .await
        .refused(404, "not_found");
}

#[tokio::test]
async fn a_repeated_creation_is_made_once_and_bad_ones_are_refused() {
    let api = start().await;
    let path = format!("{PATH}?state_key=a");
    let post = || {
        let request = api
            .client
            .request(Method::POST, &path)
            .header("Idempotency-Key", "1");
        send(request.json(&json!({"key": "k", "value": 1})))
    };
    let first = post().await.expect(201);
    assert_eq!(post().await.expect(201).text, first.text);
    let bad = json!({"key": "", "valeu": 1, "sync_job_run_id": "x"});
    let mut pointers = api
        .client
        .post(&path, bad)
        .await
        .refused(422, "validation_failed");
    pointers.sort();
    assert_eq!(pointers, ["/key", "/sync_job_run_id", "/valeu", "/value"]);
    let large = json!({"key": "large", "value": "x".repeat(65_537)});
    let reply = api.client.post(&path, large).await;
    assert_eq!(reply.refused(422, "validation_failed"), ["/value"]);
    api.client.get(PATH).await.refused(400, "invalid_parameter");
}
