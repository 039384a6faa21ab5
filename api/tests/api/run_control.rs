//! What a job and a request say about whether, when and how a run goes; watermarks; deletion and retries.

use serde_json::{Value, json};

use crate::{
    source,
    support::{Api, reference_job, start},
};

async fn job(api: &Api, more: Value) -> String {
    let mut job = reference_job();
    for (name, value) in more.as_object().expect("fields") {
        job[name] = value.clone();
    }
    api.client.post("/sync-job", job).await.expect(201).id()
}

async fn run_of(api: &Api, job: &str) -> Value {
    json!({
        "sync_job_id": job,
        "integrated_account_id": api.client.account(&source::start()).await,
        "webhook_id": api.client.webhook().await,
    })
}

fn with(mut run: Value, name: &str, value: Value) -> Value {
    run[name] = value;
    run
}

#[tokio::test]
async fn a_job_keeps_its_run_control_and_a_patch_changes_it() {
    let api = start().await;
    let fields = json!({"args_schema": {"warehouse": {"type": "integer"}}, "mutex_key": "{{account.id}}",
                        "max_duration_minutes": 30, "events_to_send": ["sync_job_run:record"]});
    let id = job(&api, fields.clone()).await;
    let path = format!("/sync-job/{id}");
    let shown = api.client.get(&path).await.expect(200).json();
    for (name, value) in fields.as_object().expect("fields") {
        assert_eq!(shown[name], *value, "{name}");
    }
    let patch = json!({"mutex_key": null, "max_duration_minutes": 60});
    let shown = api.client.patch(&path, patch).await.expect(200).json();
    assert_eq!(
        (&shown["mutex_key"], &shown["max_duration_minutes"]),
        (&Value::Null, &json!(60))
    );
    assert_eq!(shown["args_schema"], fields["args_schema"]);
}

#[tokio::test]
async fn what_cannot_be_meant_is_refused_with_the_place() {
    let api = start().await;
    let mut body = reference_job();
    body["args_schema"] = json!({"type": "object", "properties": {"a": {"type": "strin"}}});
    body["mutex_key"] = json!("{{resources.wms.orders.id}}");
    body["max_duration_minutes"] = json!(0);
    body["events_to_send"] = json!(["sync_job_run:recrod"]);
    let reply = api.client.post("/sync-job", body).await;
    let pointers = reply.refused(422, "validation_failed");
    for pointer in [
        "/args_schema/properties/a/type",
        "/mutex_key",
        "/max_duration_minutes",
        "/events_to_send/0",
    ] {
        assert!(
            pointers.contains(&pointer.to_owned()),
            "{pointer} is not in {pointers:?}"
        );
    }
    assert!(
        reply.text.contains("did you mean `sync_job_run:record`?"),
        "{}",
        reply.text
    );
}

#[tokio::test]
async fn arguments_must_be_what_the_job_wants_and_the_fault_points_at_them() {
    let api = start().await;
    let schema =
        json!({"warehouse": {"type": "integer", "required": true}, "since": {"type": "string"}});
    let run = run_of(&api, &job(&api, json!({"args_schema": schema})).await).await;
    let reply = api.client.post("/sync-job-run", run.clone()).await;
    assert_eq!(reply.refused(422, "validation_failed"), ["/args/warehouse"]);
    let args = json!({"warehouse": "x", "since": 7});
    let reply = api
        .client
        .post("/sync-job-run", with(run.clone(), "args", args))
        .await;
    let mut pointers = reply.refused(422, "validation_failed");
    pointers.sort();
    assert_eq!(pointers, ["/args/since", "/args/warehouse"]);
    let args = json!({"warehouse": 7});
    api.client
        .post("/sync-job-run", with(run, "args", args))
        .await
        .expect(201);
}

#[tokio::test]
async fn an_expression_may_refuse_arguments_with_its_own_words() {
    let api = start().await;
    let mut bad = reference_job();
    bad["args_validation"] = json!("args.from >");
    let reply = api.client.post("/sync-job", bad).await;
    assert_eq!(
        reply.refused(422, "validation_failed"),
        ["/args_validation"]
    );
    assert!(reply.text.contains("at position"), "{}", reply.text);
    let check = json!(r#"args.from > args.to ? {"message": "from is after to"}"#);
    let run = run_of(&api, &job(&api, json!({"args_validation": check})).await).await;
    let args = json!({"from": 2, "to": 1});
    let reply = api
        .client
        .post("/sync-job-run", with(run.clone(), "args", args))
        .await;
    assert_eq!(reply.refused(422, "validation_failed"), ["/args"]);
    assert!(reply.text.contains("from is after to"), "{}", reply.text);
    let args = json!({"from": 1, "to": 2});
    api.client
        .post("/sync-job-run", with(run, "args", args))
        .await
        .expect(201);
}

#[tokio::test]
async fn a_second_run_of_a_key_waits_and_a_forced_one_does_not() {
    let api = start().await;
    let run = run_of(
        &api,
        &job(
            &api,
            json!({"mutex_key": "{{account.id}}:{{args.warehouse}}"}),
        )
        .await,
    )
    .await;
    let missing = api.client.post("/sync-job-run", run.clone()).await;
    assert_eq!(missing.refused(422, "validation_failed"), ["/args"]);
    let run = with(run, "args", json!({"warehouse": 7}));
    let first = api
        .client
        .post("/sync-job-run", run.clone())
        .await
        .expect(201);
    let key = format!(
        "{}:7",
        run["integrated_account_id"].as_str().expect("an id")
    );
    assert_eq!(first.json()["mutex_key"], json!(key));
    let second = api
        .client
        .post("/sync-job-run", run.clone())
        .await
        .expect(201)
        .json();
    assert_eq!(
        (
            &second["status"],
            &second["waiting_for"],
            &second["waiting_for_sync_job_run_id"]
        ),
        (&json!("created"), &json!("mutex"), &json!(first.id()))
    );
    assert!(second["waiting_since"].is_string());
    let other = with(run.clone(), "args", json!({"warehouse": 8}));
    let other = api
        .client
        .post("/sync-job-run", other)
        .await
        .expect(201)
        .json();
    assert_eq!(other["waiting_for"], Value::Null);
    let forced = with(run, "force", json!(true));
    let forced = api
        .client
        .post("/sync-job-run", forced)
        .await
        .expect(201)
        .json();
    assert_eq!(forced["waiting_for"], Value::Null);
    let listed = api.client.get("/sync-job-run").await.expect(200).json();
    assert!(
        listed["result"][2]["waiting_for_sync_job_run_id"].is_string(),
        "{listed}"
    );
    let timeline = format!(
        "/sync-job-run/{}/timeline",
        second["id"].as_str().expect("an id")
    );
    let timeline = api.client.get(&timeline).await.expect(200).json();
    let whats: Vec<_> = timeline["result"]
        .as_array()
        .expect("rows")
        .iter()
        .map(|entry| &entry["what"])
        .collect();
    assert_eq!(whats, ["created", "waiting_for_mutex"]);
    assert_eq!(timeline["result"][1]["mutex_key"], json!(key));
}

#[tokio::test]
async fn when_too_many_wait_the_answer_names_the_active_run() {
    let api = start().await;
    let run = run_of(&api, &job(&api, json!({"mutex_key": "one"})).await).await;
    let first = api
        .client
        .post("/sync-job-run", run.clone())
        .await
        .expect(201)
        .id();
    for _ in 0..100 {
        api.client
            .post("/sync-job-run", run.clone())
            .await
            .expect(201);
    }
    let reply = api.client.post("/sync-job-run", run).await;
    reply.refused(409, "run_already_active");
    assert_eq!(reply.json()["error"]["sync_job_run_id"], json!(first));
}

#[tokio::test]
async fn a_run_sends_only_the_events_that_were_asked_for() {
    let api = start().await;
    let job = job(
        &api,
        json!({"events_to_send": ["sync_job_run:record", "sync_job_run:completed"]}),
    )
    .await;
    let mut run = run_of(&api, &job).await;
    let hook = json!({"target_url": "https://example.com/hook", "event_types": ["sync_job_run:record", "sync_job_run:failed"]});
    run["webhook_id"] = json!(api.client.post("/webhook", hook).await.expect(201).id());
    let types = async |run: Value| {
        let id = api.client.post("/sync-job-run", run).await.expect(201).id();
        let spec = api.store.runs().spec(id.parse().expect("an id")).await;
        spec.expect("a store").expect("a spec").event_types
    };
    assert_eq!(types(run.clone()).await, ["sync_job_run:record"]);
    let own = with(
        run.clone(),
        "events_to_send",
        json!(["sync_job_run:failed"]),
    );
    assert_eq!(
        types(own).await,
        ["sync_job_run:failed"],
        "the run's own count instead of the job's"
    );
    let none = with(
        run.clone(),
        "events_to_send",
        json!(["sync_job_run:completed"]),
    );
    assert_eq!(types(none).await, ["none"]);
    let wrong = with(run, "events_to_send", json!(["record"]));
    let reply = api.client.post("/sync-job-run", wrong).await;
    assert_eq!(
        reply.refused(422, "validation_failed"),
        ["/events_to_send/0"]
    );
}

#[tokio::test]
async fn a_run_that_was_never_told_to_its_end_is_stopped_and_not_deleted() {
    let api = start().await;
    let run = run_of(&api, &api.client.sync_job().await).await;
    let id = api
        .client
        .post("/sync-job-run", run.clone())
        .await
        .expect(201)
        .id();
    let path = format!("/sync-job-run/{id}");
    for _ in 0..2 {
        api.client.delete(&path).await.expect(200);
        assert_eq!(
            api.client.get(&path).await.expect(200).json()["status"],
            "stopped"
        );
    }
    // Without events there is nothing to wait for.
    let hook = json!({"target_url": "https://example.com/hook", "event_types": ["test"]});
    let hook = api.client.post("/webhook", hook).await.expect(201).id();
    let run = with(run, "webhook_id", json!(hook));
    let id = api.client.post("/sync-job-run", run).await.expect(201).id();
    let path = format!("/sync-job-run/{id}");
    api.client.delete(&path).await.expect(200);
    assert_eq!(
        api.client.get(&path).await.expect(200).json()["status"],
        "stopped"
    );
    assert_eq!(
        api.client.delete(&path).await.expect(200).json(),
        json!({"id": id})
    );
    for path in [
        path.clone(),
        format!("{path}/error"),
        format!("{path}/event"),
        format!("{path}/timeline"),
    ] {
        api.client.get(&path).await.refused(404, "not_found");
    }
    api.client.delete(&path).await.refused(404, "not_found");
}

#[tokio::test]
async fn a_retry_is_refused_while_the_run_is_active_and_when_nothing_can_be_mended() {
    let api = start().await;
    let run = run_of(&api, &api.client.sync_job().await).await;
    let id = api.client.post("/sync-job-run", run).await.expect(201).id();
    let retry = format!("/sync-job-run/{id}/retry");
    let reply = api.client.post(&retry, json!({})).await;
    reply.refused(409, "run_already_active");
    assert_eq!(reply.json()["error"]["sync_job_run_id"], json!(id));
    api.client
        .post(&retry, json!({"x": 1}))
        .await
        .refused(422, "validation_failed");
    api.client
        .post(
            "/sync-job-run/run_00000000000000000000000000/retry",
            json!({}),
        )
        .await
        .refused(404, "not_found");
}

#[tokio::test]
async fn watermarks_are_shown_and_set_by_resource() {
    let api = start().await;
    let id = api.client.sync_job().await;
    let account = api.client.account(&source::start()).await;
    let path = format!("/sync-job/{id}/watermark?integrated_account_id={account}");
    let none = json!({"wms/orders": null, "wms/order-items": null});
    assert_eq!(api.client.get(&path).await.expect(200).json(), none);
    let patch = json!({"wms/orders": "2024-05-01T14:00:00+02:00"});
    let set = json!({"wms/orders": "2024-05-01T12:00:00.000Z", "wms/order-items": null});
    assert_eq!(api.client.patch(&path, patch).await.expect(200).json(), set);
    let patch = json!({"wms/order-items": "2024-05-02T00:00:00Z"});
    api.client.patch(&path, patch).await.expect(200);
    let patched = api
        .client
        .patch(&path, json!({"wms/orders": null}))
        .await
        .expect(200)
        .json();
    assert_eq!(
        patched,
        json!({"wms/orders": null, "wms/order-items": "2024-05-02T00:00:00.000Z"})
    );
    let wrong = json!({"wms/order": null, "wms/orders": "yesterday", "wms/order-items": "2999-01-01T00:00:00Z"});
    let reply = api.client.patch(&path, wrong).await;
    assert_eq!(
        reply.refused(422, "validation_failed"),
        ["/wms~1order", "/wms~1orders", "/wms~1order-items"]
    );
    assert!(
        reply.text.contains("did you mean `wms/orders`?"),
        "{}",
        reply.text
    );
    let path = format!("/sync-job/{id}/watermark");
    let reply = api.client.get(&path).await;
    assert_eq!(
        reply.refused(400, "invalid_parameter"),
        ["integrated_account_id"]
    );
    let path = format!("{path}?integrated_account_id=acc_00000000000000000000000000");
    api.client.get(&path).await.refused(404, "not_found");
}
