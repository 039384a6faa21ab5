//! Processes that die in the middle of a run.

use std::time::Duration;

use anyhow::Result;
use serde_json::json;
use shared::store::queue::LEASE;
use syncline_tests::{ledger::sorted, source::Source};

use crate::scenario::{Setup, Shop, Syncing};

const SHOP: Shop = Shop {
    orders: 200,
    per_page: 10,
    lines: 2,
};

/// Slow enough that a run is caught in the middle.
fn slow_shop() -> Result<Source> {
    Source::json(|request| {
        std::thread::sleep(Duration::from_millis(15));
        SHOP.answer(request)
    })
}

async fn in_the_middle(sync: &Syncing, run: &str) -> Result<()> {
    sync.wait(run, "the middle of the run", |state| {
        state["records_delivered"].as_u64() > Some(60)
    })
    .await?;
    Ok(())
}

async fn complete(sync: &Syncing, run: &str) -> Result<()> {
    let run = sync.finish(run).await?;
    assert_eq!(run["status"], "completed", "{run}");
    let ledger = sync.check(&run).await?;
    assert_eq!(ledger.records["wms/orders"], SHOP.all_orders());
    assert_eq!(ledger.sorted("wms/order-items"), sorted(SHOP.all_lines()));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_worker_loses_nothing_and_another_one_goes_on() -> Result<()> {
    let mut sync = Syncing::of(
        slow_shop()?,
        Setup {
            workers: 2,
            ..Setup::default()
        },
    )
    .await?;
    let run = sync.start_run().await?;
    in_the_middle(&sync, &run).await?;
    sync.stack.workers[0].kill()?;
    complete(&sync, &run).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_api_loses_no_run_it_accepted() -> Result<()> {
    let mut sync = Syncing::of(slow_shop()?, Setup::default()).await?;
    let run = sync.start_run().await?;
    sync.stack.api.kill()?;
    sync.stack.restart_api()?;
    complete(&sync, &run).await
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_that_were_accepted_while_the_api_was_killed_are_carried_out() -> Result<()> {
    const RUNS: usize = 40;
    let setup = Setup {
        workers: 0,
        ..Setup::default()
    };
    let small = Shop { orders: 3, ..SHOP };
    let mut sync = Syncing::of_shop(small, setup).await?;
    let (accepted, done) = tokio::sync::mpsc::channel::<String>(RUNS);
    let starting: tokio::task::JoinSet<()> = (0..RUNS)
        .map(|_| {
            let (rest, accepted) = (sync.rest.clone(), accepted.clone());
            let run = json!({"sync_job_id": sync.job, "integrated_account_id": sync.account, "webhook_id": sync.webhook});
            async move {
                // Many are cut off by the kill.
                if let Ok(id) = rest.create("/sync-job-run", &run).await {
                    accepted.send(id).await.ok();
                }
            }
        })
        .collect();
    drop(accepted);
    let mut done = done;
    let first = done.recv().await.expect("one is accepted before the kill");
    sync.stack.api.kill()?;
    starting.join_all().await;
    let mut told = vec![first];
    while let Some(id) = done.recv().await {
        told.push(id);
    }
    sync.stack.restart_api()?;
    sync.stack.add_worker(&[])?;
    let list = sync.rest.get("/sync-job-run?limit=100").await?;
    let listed: Vec<String> = list["result"]
        .as_array()
        .expect("rows")
        .iter()
        .map(|run| run["id"].as_str().expect("an id").to_owned())
        .collect();
    for id in &told {
        assert!(listed.contains(id), "{id} was accepted and is unknown");
    }
    for id in &listed {
        let run = sync.finish(id).await?;
        sync.check(&run).await?.expect_all(&small.served());
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_takes_longer_than_a_lease_is_made_once() -> Result<()> {
    let longer = LEASE + Duration::from_secs(3);
    let source = Source::json(move |request| {
        std::thread::sleep(longer);
        (200, SHOP.answer(request).1)
    })?;
    let mut document = crate::scenario::integration(&source.url());
    let method = &mut document["config"]["resources"]["orders"]["list"];
    method["timeout_ms"] = json!(120_000);
    method["pagination"] = json!(null);
    let setup = Setup {
        workers: 2,
        job: json!({"resources": [{"resource": "wms/orders"}]}),
        ..Setup::default()
    };
    let sync = Syncing::of(source, setup).await?;
    sync.rest.put("/integration/shop", &document).await?;
    let run = sync.start_run().await?;
    let run = sync.finish(&run).await?;
    assert_eq!(
        (&run["requests"], &run["errors"]),
        (&json!(1), &json!(0)),
        "{run}"
    );
    assert_eq!(sync.source.requests().len(), 1);
    sync.check(&run).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_worker_hands_its_tasks_over_without_waiting_for_leases() -> Result<()> {
    let settings = &[("SYNCLINE_DRAIN_SECONDS", "5")];
    let mut sync = Syncing::of(
        slow_shop()?,
        Setup {
            settings,
            workers: 2,
            ..Setup::default()
        },
    )
    .await?;
    let run = sync.start_run().await?;
    in_the_middle(&sync, &run).await?;
    let status = sync.stack.workers[0].stop(Duration::from_secs(30))?;
    assert!(
        status.success(),
        "{status}: {}",
        sync.stack.workers[0].log()
    );
    complete(&sync, &run).await?;
    assert!(
        !sync.stack.workers[1].log().contains("lease had expired"),
        "something was left to its lease:\n{}\n{}",
        sync.stack.workers[0].log(),
        sync.stack.workers[1].log()
    );
    let ids: Vec<_> = sync
        .receiver
        .deliveries()
        .iter()
        .map(|d| d.request.header("webhook-id").map(str::to_owned))
        .collect();
    let unique: std::collections::BTreeSet<_> = ids.iter().collect();
    assert_eq!(ids.len(), unique.len(), "nothing was sent twice");
    Ok(())
}
