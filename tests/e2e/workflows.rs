//! Syncs that start when something happens.

use anyhow::Result;
use reqwest::Method;
use serde_json::{Value, json};

use crate::scenario::{API_KEY, LONG, Setup, Shop, Syncing};

const SHOP: Shop = Shop {
    orders: 8,
    per_page: 5,
    lines: 1,
};

/// Accounts that connect while nobody sees to their events.
const ACCOUNTS: usize = 12;

impl Syncing {
    fn sync_step(&self, more: Value) -> Value {
        let config = json!({"sync_job_id": self.job, "webhook_id": self.webhook});
        let mut step = json!({"type": "run", "action": "run_sync_job", "config": config});
        if let (Some(step), Value::Object(more)) = (step.as_object_mut(), more) {
            step.extend(more);
        }
        step
    }

    async fn connect(&self, tenant: &str) -> Result<String> {
        let account = json!({"integration_name": "shop", "tenant_id": tenant, "credentials": {"api_key": API_KEY}});
        self.rest.create("/integrated-account", &account).await
    }

    /// Waits until that many workflow runs have ended; gives them, newest first.
    async fn workflow_runs(&self, workflow: &str, ended: usize) -> Result<Vec<Value>> {
        let path = format!("/workflow-run?workflow_id={workflow}");
        let deadline = tokio::time::Instant::now() + LONG;
        loop {
            let list = self.rest.get(&path).await?;
            let runs = list["result"].as_array().cloned().unwrap_or_default();
            let done = runs.iter().filter(|run| run["status"] != "running").count();
            if done >= ended {
                return Ok(runs);
            }
            anyhow::ensure!(
                tokio::time::Instant::now() < deadline,
                "waited for {ended} workflow runs; last seen: {list}"
            );
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn connecting_an_account_starts_one_sync_and_schedules_more() -> Result<()> {
    let setup = Setup {
        workers: 2,
        ..Setup::default()
    };
    let sync = Syncing::of_shop(SHOP, setup).await?;
    let workflow = json!({"trigger_name": "integrated_account:active", "config": {
    "run_if": "integration.name = 'shop' and $contains(tenant_id, 'big')",
    "steps": [
        sync.sync_step(json!({})),
        sync.sync_step(json!({"run_if": "tenant_id = 'nobody'"})),
        sync.sync_step(json!({"cron_expression": "0 */6 * * *", "timezone": "Europe/Berlin"})),
        {"type": "run", "action": "run_sync_job",
         "config": format!("{{'sync_job_id': '{}', 'webhook_id': '{}', 'args': {{'tenant': tenant_id}}}}", sync.job, sync.webhook)},
    ]}});
    let workflow = sync.rest.create("/workflow", &workflow).await?;
    let small = sync.connect("small").await?;
    let big = sync.connect("big").await?;
    let runs = sync.workflow_runs(&workflow, 2).await?;
    let of = |account: &str| {
        let mut found = runs
            .iter()
            .filter(|run| run["integrated_account_id"] == account);
        let run = found.next().cloned();
        assert!(found.next().is_none(), "one for each event: {runs:?}");
        run.expect("a workflow run")
    };
    assert_eq!(of(&small)["status"], "skipped", "{}", of(&small));
    let done = of(&big);
    assert_eq!(done["status"], "completed", "{done}");
    let words: Vec<_> = done["steps"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|step| step["status"].clone())
        .collect();
    assert_eq!(words, ["started", "skipped", "scheduled", "started"]);

    for (step, args) in [(0, json!({})), (3, json!({"tenant": "big"}))] {
        let id = done["steps"][step]["sync_job_run_id"]
            .as_str()
            .expect("a run");
        let run = sync.finish(id).await?;
        let expected = [json!("workflow"), done["id"].clone(), json!(big), args];
        let found = [
            &run["trigger"],
            &run["trigger_id"],
            &run["integrated_account_id"],
            &run["args"],
        ];
        assert_eq!(found.map(Clone::clone), expected, "{run}");
        sync.check(&run).await?.expect_all(&SHOP.served());
    }
    let trigger = done["steps"][2]["sync_job_cron_trigger_id"]
        .as_str()
        .expect("a trigger");
    let trigger = sync
        .rest
        .get(&format!("/sync-job-cron-trigger/{trigger}"))
        .await?;
    assert_eq!(
        (&trigger["integrated_account_id"], &trigger["timezone"]),
        (&json!(big), &json!("Europe/Berlin"))
    );
    let runs = sync
        .rest
        .get(&format!("/sync-job-run?integrated_account_id={big}"))
        .await?;
    assert_eq!(runs["result"].as_array().map(Vec::len), Some(2));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_killed_between_event_and_run_each_event_makes_one_run() -> Result<()> {
    let mut sync = Syncing::of_shop(
        SHOP,
        Setup {
            workers: 0,
            ..Setup::default()
        },
    )
    .await?;
    let workflow = json!({"trigger_name": "integrated_account:active", "config": {"steps": [sync.sync_step(json!({}))]}});
    let workflow = sync.rest.create("/workflow", &workflow).await?;
    for number in 0..ACCOUNTS {
        // Nobody is there to see the event; the API that told it is killed.
        sync.connect(&format!("tenant-{number}")).await?;
    }
    sync.stack.api.kill()?;
    sync.stack.restart_api()?;
    for _ in 0..3 {
        sync.stack.add_worker(&[])?;
        if let Some(worker) = sync.stack.workers.last_mut() {
            worker.kill()?;
        }
    }
    sync.stack.add_worker(&[])?;
    let runs = sync.workflow_runs(&workflow, ACCOUNTS).await?;
    assert!(
        runs.iter().all(|run| run["status"] == "completed"),
        "{runs:?}"
    );
    let made = sync
        .rest
        .get(&format!("/sync-job-run?sync_job_id={}&limit=200", sync.job))
        .await?;
    let made = made["result"].as_array().cloned().unwrap_or_default();
    assert_eq!(made.len(), ACCOUNTS);
    for run in &made {
        let run = sync.finish(run["id"].as_str().expect("an id")).await?;
        sync.check(&run).await?.expect_all(&SHOP.served());
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chain_of_workflows_ends_by_itself_and_says_why() -> Result<()> {
    let sync = Syncing::of_shop(SHOP, Setup::default()).await?;
    let workflow = json!({"trigger_name": "sync_job_run:completed", "config": {
        "run_if": "event.payload.records_fetched > 0", "steps": [sync.sync_step(json!({}))]}});
    let workflow = sync.rest.create("/workflow", &workflow).await?;
    sync.start_run().await?;
    let runs = sync.workflow_runs(&workflow, 6).await?;
    let (failed, completed): (Vec<_>, Vec<_>) =
        runs.iter().partition(|run| run["status"] == "failed");
    assert_eq!(failed.len(), 1, "{runs:?}");
    assert_eq!(failed[0]["error"]["code"], "workflow_loop");
    assert!(
        completed.iter().all(|run| run["status"] == "completed"),
        "{runs:?}"
    );
    assert_eq!(runs.len(), 6);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_that_fails_says_why_and_ends_the_workflow() -> Result<()> {
    let sync = Syncing::of_shop(SHOP, Setup::default()).await?;
    let failing = json!({"type": "run", "action": "run_sync_job", "config": "{'sync_job_id': $lowercase(3)}"});
    let workflow = json!({"trigger_name": "integrated_account:active", "config": {"steps": [failing, sync.sync_step(json!({}))]}});
    let workflow = sync.rest.create("/workflow", &workflow).await?;
    sync.connect("tenant-2").await?;
    let runs = sync.workflow_runs(&workflow, 1).await?;
    let run = &runs[0];
    assert_eq!(
        (&run["status"], &run["steps"].as_array().map(Vec::len)),
        (&json!("failed"), &Some(1)),
        "{run}"
    );
    assert_eq!(
        run["steps"][0]["error"]["code"], "expression_failed",
        "{run}"
    );
    let off = json!({"is_active": false});
    let path = format!("/workflow/{workflow}");
    sync.rest.call(Method::PATCH, &path, Some(&off)).await?;
    Ok(())
}
