//! Runs that wait for each other, last too long, are retried and deleted.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use anyhow::Result;
use redis::AsyncCommands;
use serde_json::{Value, json};
use syncline_tests::{ledger::Terms, source::Source};

use crate::scenario::{LONG, Setup, Shop, Syncing};

const SHOP: Shop = Shop {
    orders: 30,
    per_page: 10,
    lines: 2,
};

/// A source whose orders wait while `shut` is set.
fn gated_shop(shut: &Arc<AtomicBool>) -> Result<Source> {
    let shut = shut.clone();
    Source::json(move |request| {
        while shut.load(Ordering::Relaxed) {
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        SHOP.answer(request)
    })
}

async fn requested(sync: &Syncing, run: &str) -> Result<Value> {
    sync.wait(run, "the run to be under way", |state| {
        state["status"] == "running" && state["progress"][0]["open_tasks"] == 1
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_of_one_mutex_key_follow_each_other_though_the_worker_of_the_first_is_killed()
-> Result<()> {
    let shut = Arc::new(AtomicBool::new(true));
    let setup = Setup {
        job: json!({"mutex_key": "{{account.id}}"}),
        ..Setup::default()
    };
    let mut sync = Syncing::of(gated_shop(&shut)?, setup).await?;
    let mut runs = Vec::new();
    for _ in 0..3 {
        runs.push(sync.start_run().await?);
    }
    requested(&sync, &runs[0]).await?;
    sync.stack.workers[0].kill()?;
    shut.store(false, Ordering::Relaxed);
    sync.stack.add_worker(&[])?;
    let mut ends = Vec::new();
    for run in &runs {
        let run = sync.finish(run).await?;
        assert_eq!(run["status"], "completed", "{run}");
        sync.check(&run).await?.expect_all(&SHOP.served());
        ends.push((text(&run["started_at"]), text(&run["finished_at"])));
    }
    for pair in ends.windows(2) {
        assert!(pair[0].1 <= pair[1].0, "they overlap: {ends:?}");
    }
    Ok(())
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_lasts_too_long_fails_once_though_all_workers_were_down_meanwhile() -> Result<()>
{
    let shut = Arc::new(AtomicBool::new(false));
    let setup = Setup {
        job: json!({"max_duration_minutes": 10}),
        ..Setup::default()
    };
    let mut sync = Syncing::of(gated_shop(&shut)?, setup).await?;
    shut.store(true, Ordering::Relaxed);
    let run = sync.start_run().await?;
    requested(&sync, &run).await?;
    sync.stack.workers[0].kill()?;
    // The clock of all leases and deadlines.
    let mut connection = sync.stack.redis.connect().await?;
    let _: i64 = connection
        .incr("syncline:{p0}:clock_shift", 11 * 60_000)
        .await?;
    for _ in 0..2 {
        sync.stack.add_worker(&[])?;
    }
    let ended = sync.finish(&run).await?;
    assert_eq!(ended["error"]["code"], "max_duration_exceeded", "{ended}");
    shut.store(false, Ordering::Relaxed);
    let ledger = sync.check(&ended).await?;
    assert_eq!(
        ledger.milestones(),
        ["sync_job_run:started", "sync_job_run:failed"]
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_brings_exactly_what_failed_and_then_the_run_can_be_deleted() -> Result<()> {
    let broken = Arc::new(AtomicBool::new(true));
    let source = {
        let broken = broken.clone();
        Source::json(move |request| {
            if broken.load(Ordering::Relaxed) && request.path() == "/orders/7/lines" {
                return (404, r#"{"message":"no such order"}"#.to_owned());
            }
            SHOP.answer(request)
        })?
    };
    let sync = Syncing::of(source, Setup::default()).await?;
    let run = sync.start_run().await?;
    let first = sync.finish(&run).await?;
    assert_eq!(first["errors"], 1, "{first}");
    sync.check(&first).await?;
    broken.store(false, Ordering::Relaxed);
    sync.receiver.clear();
    let before = sync.source.requests().len();
    let retry = sync
        .rest
        .create(&format!("/sync-job-run/{run}/retry"), &json!({}))
        .await?;
    let retried = sync.finish(&retry).await?;
    assert_eq!(retried["status"], "completed", "{retried}");
    assert_eq!(retried["retry_of"], json!(run));
    // The parents of its children came with the run before.
    let part = Terms {
        partial: true,
        ..Terms::default()
    };
    let ledger = sync.check_at(&sync.receiver, &retried, part).await?;
    assert_eq!(
        ledger.sorted("wms/order-items"),
        [Shop::line(7, 1), Shop::line(7, 2)]
    );
    assert!(!ledger.records.contains_key("wms/orders"));
    assert_eq!(sync.source.requests().len(), before + 1);

    sync.rest
        .call(
            reqwest::Method::DELETE,
            &format!("/sync-job-run/{run}"),
            None,
        )
        .await?;
    let (status, _) = sync
        .rest
        .call(reqwest::Method::GET, &format!("/sync-job-run/{run}"), None)
        .await?;
    assert_eq!(status.as_u16(), 404);
    let receiver = sync.receiver.clone();
    let deleted =
        tokio::task::spawn_blocking(move || receiver.wait_for("sync_job_run:deleted", LONG))
            .await??;
    let payload = deleted.event()["payload"].clone();
    assert_eq!(
        (&payload["sync_job_run_id"], &payload["status"]),
        (&json!(run), &json!("completed"))
    );
    Ok(())
}
