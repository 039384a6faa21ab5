//! `/workflow` and `/workflow-run`

use serde_json::{Value, json};

use crate::support::{Api, start};

async fn body(api: &Api) -> Value {
    let config = json!({"sync_job_id": api.client.sync_job().await, "webhook_id": api.client.webhook().await});
    json!({"label": "first sync", "trigger_name": "integrated_account:active", "config": {
        "run_if": "integration.name = 'sample'",
        "steps": [{"type": "run", "action": "run_sync_job", "config": config},
                  {"type": "run", "action": "run_sync_job", "config": config, "cron_expression": "0 */6 * * *"}]}})
}

#[tokio::test]
async fn a_workflow_is_made_shown_changed_and_deleted() {
    let api = start().await;
    let body = body(&api).await;
    let made = api.client.post("/workflow", body.clone()).await.expect(201);
    let path = format!("/workflow/{}", made.id());
    assert_eq!(made.json()["is_active"], true);
    assert_eq!(made.json()["config"]["run_if"], body["config"]["run_if"]);
    let off = json!({"is_active": false});
    let changed = api.client.patch(&path, off).await.expect(200).json();
    assert_eq!(changed["is_active"], false);
    assert_eq!(changed["config"]["steps"].as_array().map(Vec::len), Some(2));
    let other = json!({"trigger_name": "integrated_account:created"});
    let refused = api.client.patch(&path, other).await;
    assert_eq!(refused.refused(422, "validation_failed"), ["/trigger_name"]);
    let list = api
        .client
        .get("/workflow?trigger_name=integrated_account:active")
        .await;
    assert_eq!(list.json()["result"].as_array().map(Vec::len), Some(1));
    let none = api.client.get("/workflow?is_active=true").await.json();
    assert_eq!(none["result"], json!([]));
    let runs = api.client.get("/workflow-run").await.expect(200).json();
    assert_eq!(
        runs,
        json!({"result": [], "next_cursor": null, "limit": 50})
    );
    api.client.delete(&path).await.expect(200);
    api.client.get(&path).await.refused(404, "not_found");
}

#[tokio::test]
async fn a_workflow_of_what_is_gone_can_be_named_and_switched_off_but_not_on() {
    let api = start().await;
    let body = body(&api).await;
    let made = api.client.post("/workflow", body.clone()).await;
    let path = format!("/workflow/{}", made.expect(201).id());
    let webhook = &body["config"]["steps"][0]["config"]["webhook_id"];
    let webhook = format!("/webhook/{}", webhook.as_str().expect("an id"));
    api.client.delete(&webhook).await.expect(200);
    for patch in [json!({"label": "old"}), json!({"is_active": false})] {
        api.client.patch(&path, patch).await.expect(200);
    }
    let refused = api.client.patch(&path, json!({"is_active": true})).await;
    assert_eq!(
        refused.refused(422, "validation_failed"),
        [
            "/config/steps/0/config/webhook_id",
            "/config/steps/1/config/webhook_id"
        ]
    );
}

#[tokio::test]
async fn everything_that_is_wrong_with_a_workflow_is_named_at_once() {
    let api = start().await;
    let mut body = body(&api).await;
    body["trigger_name"] = json!("integrated_account:activ");
    let steps = &mut body["config"]["steps"];
    steps[0]["config"] = json!({"sync_job_id": "job_00000000000000000000000000", "webhook": 1});
    steps[1]["config"]["args"] = json!(3);
    steps[1]["cron_expression"] = json!("61 * * * *");
    steps[1]["run_if"] = json!("$count(");
    let mut found = api
        .client
        .post("/workflow", body)
        .await
        .refused(422, "validation_failed");
    found.sort_unstable();
    assert_eq!(
        found,
        [
            "/config/steps/0/config/sync_job_id",
            "/config/steps/0/config/webhook",
            "/config/steps/0/config/webhook_id",
            "/config/steps/1/config/args",
            "/config/steps/1/cron_expression",
            "/config/steps/1/run_if",
            "/trigger_name",
        ]
    );
}

#[tokio::test]
async fn a_workflow_that_would_start_itself_is_refused() {
    let api = start().await;
    let mut body = body(&api).await;
    body["trigger_name"] = json!("sync_job_run:completed");
    body["config"]["run_if"] = Value::Null;
    let refused = api.client.post("/workflow", body).await;
    assert_eq!(
        refused.refused(422, "validation_failed"),
        ["/config/steps/0"]
    );
}
