//! What the engine promises of records and their effects, each sentence a test. The crash suite (`tests/crash`) asks the
//! same at every step.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::Result;
use redis::AsyncCommands;
use serde_json::{Value, json};
use shared::store::queue::LEASE;
use syncline_tests::{ledger::leftovers, receiver::Answer, source::Source};

use crate::{
    lane::BASE,
    scenario::{LONG, Setup, Shop, Syncing},
};

const SHOP: Shop = Shop {
    orders: 80,
    per_page: 10,
    lines: 2,
};
/// Sequence numbers of orders that the receiver doesn't want.
const REFUSED: [u64; 3] = [3, 17, 64];

/// Slow enough that a run is caught in the middle.
fn slow_shop() -> Result<Source> {
    Source::json(|request| {
        std::thread::sleep(Duration::from_millis(15));
        SHOP.answer(request)
    })
}

fn two_workers() -> Setup {
    Setup {
        workers: 2,
        webhook: json!({"delivery": {"batch_records": 10, "retry": {"first_ms": 100, "max_ms": 1000}}}),
        ..Setup::default()
    }
}

async fn in_the_middle(sync: &Syncing, run: &str) -> Result<()> {
    sync.wait(run, "the middle of the run", |state| {
        state["records_delivered"].as_u64() > Some(30)
    })
    .await?;
    Ok(())
}

/// The clock of all leases jumps past their end.
async fn expire_leases(sync: &Syncing) -> Result<()> {
    let ms = i64::try_from(LEASE.as_millis())? + 1_000;
    let _: i64 = sync
        .stack
        .redis
        .connect()
        .await?
        .incr(format!("{BASE}:clock_shift"), ms)
        .await?;
    Ok(())
}

/// Once all has ended, nothing of it is left in the store.
async fn nothing_is_left(sync: &Syncing) -> Result<()> {
    let mut connection = sync.stack.redis.connect().await?;
    let deadline = tokio::time::Instant::now() + LONG;
    loop {
        let left = leftovers(&mut connection, BASE).await?;
        if left.is_empty() {
            return Ok(());
        }
        anyhow::ensure!(tokio::time::Instant::now() < deadline, "left are {left:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_record_that_the_source_returned_reaches_the_webhook_or_is_a_dead_letter()
-> Result<()> {
    let mut sync = Syncing::of(slow_shop()?, two_workers()).await?;
    sync.receiver.answer_by(|request| {
        let event: Value = serde_json::from_slice(&request.body).unwrap_or_default();
        let meta = &event["payload"]["meta"];
        if event["payload"]["resource"] != "wms/orders" || meta.is_null() {
            return Answer::Status(200);
        }
        let seqs = meta["first_seq"].as_u64().unwrap_or(0)..=meta["last_seq"].as_u64().unwrap_or(0);
        let failed: Vec<_> = REFUSED
            .iter()
            .filter(|seq| seqs.contains(seq))
            .map(|seq| json!({"seq": seq, "reason": "unknown SKU"}))
            .collect();
        Answer::Full {
            status: 200,
            headers: vec![("content-type".to_owned(), "application/json".to_owned())],
            body: json!({"failed": failed}).to_string().into_bytes(),
        }
    });
    let run = sync.start_run().await?;
    in_the_middle(&sync, &run).await?;
    sync.stack.workers[0].kill()?;
    expire_leases(&sync).await?;
    let run = sync.finish(&run).await?;
    let ledger = sync.check(&run).await?;
    assert_eq!(ledger.dead["wms/orders"].len(), REFUSED.len());
    ledger.expect_all(&SHOP.served());
    nothing_is_left(&sync).await
}

/// Two workers are at the same page in turn, and both have a page to commit: the worst moment to go on.
#[tokio::test(flavor = "multi_thread")]
async fn effects_count_once_though_a_worker_that_was_taken_for_dead_goes_on() -> Result<()> {
    let shut = Arc::new(AtomicBool::new(false));
    let door = shut.clone();
    let source = Source::json(move |request| {
        while request.query("page") == Some("3") && door.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(10));
        }
        SHOP.answer(request)
    })?;
    let setup = Setup {
        workers: 0,
        job: json!({"resources": [{"resource": "wms/orders"}]}),
        ..Setup::default()
    };
    let mut sync = Syncing::of(source, setup).await?;
    let folder = tempfile::tempdir()?;
    let trace = folder.path().join("trace");
    std::fs::write(trace.with_added_extension("armed"), "")?;
    let trace = trace.display().to_string();
    // It hangs with the second page in hand.
    sync.stack.add_worker(&[
        ("TEST_FAILURE", "commit_page:before@2=stop"),
        ("TEST_FAILURE_TRACE", &trace),
    ])?;
    let run = sync.start_run().await?;
    sync.wait(&run, "the worker to hang", |_| {
        sync.stack.workers[0].is_stopped()
    })
    .await?;
    shut.store(true, Ordering::Relaxed);
    sync.stack.add_worker(&[])?;
    expire_leases(&sync).await?;
    // The first one may have asked for it too, since it reads ahead; the second one asks for its second page first.
    sync.wait(&run, "the other worker to commit the second page", |run| {
        run["records_fetched"] == 2 * SHOP.per_page
    })
    .await?;
    sync.stack.workers[0].signal("CONT")?;
    // It ends once it has tried to commit what it has in hand.
    sync.stack.workers[0].stop(LONG)?;
    shut.store(false, Ordering::Relaxed);
    let run = sync.finish(&run).await?;
    let ledger = sync.check(&run).await?;
    assert_eq!(ledger.records["wms/orders"], SHOP.all_orders());
    assert_eq!(
        (&run["records_fetched"], &run["errors"]),
        (&json!(SHOP.orders), &json!(0)),
        "{run}"
    );
    nothing_is_left(&sync).await
}

#[tokio::test(flavor = "multi_thread")]
async fn order_holds_whatever_the_receiver_answers_and_whoever_dies() -> Result<()> {
    let mut sync = Syncing::of(slow_shop()?, two_workers()).await?;
    let came = AtomicU64::new(0);
    // Every third one isn't taken, `started` and the terminal event among them perhaps.
    sync.receiver
        .answer_by(move |_| match came.fetch_add(1, Ordering::Relaxed) % 3 {
            0 => Answer::Status(500),
            _ => Answer::Status(200),
        });
    let run = sync.start_run().await?;
    in_the_middle(&sync, &run).await?;
    sync.stack.workers[0].kill()?;
    expire_leases(&sync).await?;
    let run = sync.finish(&run).await?;
    let ledger = sync.check(&run).await?;
    ledger.expect_all(&SHOP.served());
    assert_eq!(
        ledger.milestones(),
        ["sync_job_run:started", "sync_job_run:completed"]
    );
    nothing_is_left(&sync).await
}
