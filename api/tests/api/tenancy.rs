//! The tenancy matrix: every documented operation with an id, called with an id of
//! another environment, answers as if there were no such object.

use serde_json::{Value, json};
use shared::{
    ids::{EnvironmentId, EventId, WorkflowRunId},
    model::token::Scope,
    store::{
        Store,
        queue::{Held, LEASE, Queue},
    },
};

use crate::{
    openapi::{operations, request},
    source,
    support::{BASE, Client, send},
};

/// One object of each kind; its id by the kind's path.
async fn one_of_each(client: &Client) -> Vec<(&'static str, String)> {
    let account = client.account(&source::start()).await;
    let (job, webhook) = (client.sync_job().await, client.webhook().await);
    let run = json!({"sync_job_id": job, "integrated_account_id": account, "webhook_id": webhook});
    let run = client.post("/sync-job-run", run).await.expect(201).id();
    let integration = json!({"label": "A", "config": {"base_url": "https://a.example", "authorization": {"format": "none"},
                             "resources": {"orders": {"list": {"path": "/orders"}}}}});
    let integration = client
        .put("/integration/theirs", integration)
        .await
        .expect(201)
        .id();
    let trigger = json!({"sync_job_id": job, "integrated_account_id": account, "webhook_id": webhook, "cron_expression": "0 0 1 1 *"});
    let trigger = client
        .post("/sync-job-cron-trigger", trigger)
        .await
        .expect(201)
        .id();
    let step = json!({"type": "run", "action": "run_sync_job", "config": {"sync_job_id": job, "webhook_id": webhook}});
    let workflow =
        json!({"trigger_name": "integrated_account:active", "config": {"steps": [step]}});
    let workflow = client.post("/workflow", workflow).await.expect(201).id();
    vec![
        ("webhook", webhook),
        ("integration", integration),
        ("integrated-account", account),
        ("sync-job", job),
        ("sync-job-run", run),
        ("sync-job-cron-trigger", trigger),
        ("workflow", workflow),
    ]
}

/// A body that is valid for its operation, so that nothing but the id can be wrong.
fn body(path: &str, verb: &str) -> Value {
    match (path, verb) {
        ("sync-job-run/{id}", "PATCH") => json!({"status": "stopped"}),
        (path, _) if path.ends_with("/credentials") => {
            json!({"credentials": {"api_key": "some-key"}})
        }
        _ => json!({}),
    }
}

#[tokio::test]
async fn ids_of_another_environment_answer_404_everywhere() {
    let api = crate::support::start().await;
    let other = client(&api).await;
    let mut foreign = one_of_each(&api.client).await;
    let of_a_workflow = workflow_run(&api.store, api.client.environment).await;
    foreign.push(("workflow-run", of_a_workflow));
    let mut tried = 0;
    for (verb, path, _) in operations() {
        let Some(rest) = path
            .strip_prefix(&format!("{BASE}/"))
            .filter(|rest| rest.contains('{'))
        else {
            continue;
        };
        // A PUT of an integration makes one: a name is no id, and the foreign one isn't seen.
        if rest == "integration/{name}" && verb == "PUT" {
            continue;
        }
        let kind = rest.split('/').next().expect("a kind");
        // Its keys are no ids: they are the same words in every environment (`run_states.rs`).
        if kind == "sync-job-run-state" {
            continue;
        }
        let (_, id) = foreign
            .iter()
            .find(|(known, _)| *known == kind)
            .unwrap_or_else(|| panic!("no object for {path}"));
        let call = request(&other, &verb, &path, id, "");
        let call = if verb == "GET" || verb == "DELETE" {
            call
        } else {
            call.json(&body(rest, verb.as_str()))
        };
        let foreign_answer = send(call).await;
        foreign_answer.refused(404, "not_found");
        tried += 1;
    }
    assert!(tried >= 20, "{tried} operations were tried");
    for (kind, id) in &foreign {
        api.client.get(&format!("/{kind}/{id}")).await.expect(200);
        assert!(
            !other
                .get(&format!("/{kind}?limit=200"))
                .await
                .expect(200)
                .text
                .contains(id.as_str()),
            "{kind}"
        );
    }
    // Neither in a body.
    let by_kind = |wanted: &str| {
        foreign
            .iter()
            .find(|(kind, _)| *kind == wanted)
            .map(|(_, id)| id.clone())
    };
    let run = json!({"sync_job_id": by_kind("sync-job"), "integrated_account_id": by_kind("integrated-account"),
                     "webhook_id": by_kind("webhook")});
    let pointers = other
        .post("/sync-job-run", run)
        .await
        .refused(422, "validation_failed");
    assert_eq!(
        pointers,
        ["/sync_job_id", "/integrated_account_id", "/webhook_id"]
    );
}

/// What a workflow did, as a worker writes it; its id.
async fn workflow_run(store: &Store, environment: EnvironmentId) -> String {
    let (event, id) = (EventId::generate(), WorkflowRunId::generate());
    let (task, lane) = (format!("{event}.workflow"), environment.to_string());
    let body = "start_workflows.1 x 0 {}".to_owned();
    let tasks = [(task.clone(), body)];
    let pushed = store.push_tasks(Queue::Runs, &lane, &lane, 16, &tasks);
    pushed.await.expect("pushed");
    let claimed = store.claim(Queue::Runs, 10, LEASE, "token").await;
    let claimed = claimed.expect("a claim").tasks;
    assert!(claimed.iter().any(|claim| claim.id == task), "{claimed:?}");
    let run = json!({"id": id, "environment_id": environment, "workflow_id": "wf_00000000000000000000000000", "status": "completed",
        "event": {"id": event, "event": "integrated_account:active", "created_at": "2024-05-01T12:00:00.000Z"},
        "integrated_account_id": null, "tenant_id": null, "steps": [], "error": null, "config": {"run_if": null, "steps": []},
        "created_at": "2024-05-01T12:00:00.000Z", "finished_at": null});
    let run = serde_json::from_value(run).expect("a workflow run");
    let put = store.put_workflow_run(&task, "token", &run, 1).await;
    assert_eq!(put.expect("an answer"), Held::Done);
    id.to_string()
}

async fn client(api: &crate::support::Api) -> Client {
    crate::support::client(&api.store, &api.origin, "second", Scope::Admin).await
}
