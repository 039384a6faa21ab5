//! Runs that start by themselves, on the real clock.

use std::time::Duration;

use anyhow::Result;
use serde_json::json;

use crate::scenario::{Setup, Shop, Syncing};

const SHOP: Shop = Shop {
    orders: 12,
    per_page: 5,
    lines: 2,
};
/// A fire comes within a minute; the machine may be slow.
const TWO_FIRES: Duration = Duration::from_mins(4);

#[tokio::test(flavor = "multi_thread")]
async fn every_minute_makes_one_run_over_three_workers_and_two_apis() -> Result<()> {
    let setup = Setup {
        workers: 3,
        ..Setup::default()
    };
    let mut sync = Syncing::of_shop(SHOP, setup).await?;
    sync.stack.add_api()?;
    let trigger = json!({"sync_job_id": sync.job, "integrated_account_id": sync.account, "webhook_id": sync.webhook,
        "cron_expression": "* * * * *"});
    let trigger = sync.rest.create("/sync-job-cron-trigger", &trigger).await?;
    let path = format!("/sync-job-cron-trigger/{trigger}");
    let runs = format!("/sync-job-run?sync_job_id={}", sync.job);
    let deadline = tokio::time::Instant::now() + TWO_FIRES;
    let (first, second) = loop {
        let list = sync.rest.get(&runs).await?;
        if let [second, first] = &list["result"].as_array().cloned().unwrap_or_default()[..] {
            break (first.clone(), second.clone());
        }
        let state = sync.rest.get(&path).await?;
        anyhow::ensure!(
            tokio::time::Instant::now() < deadline,
            "waited for two runs; the trigger is {state}, the runs are {list}"
        );
        tokio::time::sleep(Duration::from_millis(200)).await;
    };
    for run in [first, second] {
        assert_eq!(
            (&run["trigger"], &run["trigger_id"]),
            (&json!("cron"), &json!(trigger))
        );
        let run = sync.finish(run["id"].as_str().expect("an id")).await?;
        sync.check(&run).await?.expect_all(&SHOP.served());
    }
    let state = sync.rest.get(&path).await?;
    assert_eq!(
        (
            &state["missed_runs"],
            &state["skipped_runs"],
            &state["failed_runs"]
        ),
        (&json!(0), &json!(0), &json!(0)),
        "{state}"
    );
    Ok(())
}
