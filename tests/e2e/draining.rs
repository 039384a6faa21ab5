//! Workers that are stopped, replaced, or of different versions: nothing waits for a lease, nothing is lost.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use anyhow::Result;
use redis::AsyncCommands;
use serde_json::json;
use shared::store::{
    Store,
    queue::{LEASE, Queue},
};
use syncline_tests::{ledger::sorted, process::wait_until, receiver::Answer, source::Source};

use crate::scenario::{LONG, Setup, Shop, Syncing};

const SHOP: Shop = Shop {
    orders: 800,
    per_page: 20,
    lines: 2,
};

fn slow_shop() -> Result<Source> {
    Source::json(|request| {
        std::thread::sleep(Duration::from_millis(40));
        SHOP.answer(request)
    })
}

/// Waits until the source has got so many requests.
fn asked_for(sync: &Syncing, requests: usize) -> Result<()> {
    wait_until("the source is asked", LONG, || {
        let got = sync.source.requests();
        (got.len() >= requests)
            .then_some(())
            .ok_or(format!("{got:?}"))
    })
}

fn store(sync: &Syncing) -> Result<Store> {
    Ok(Store::open(&sync.stack.redis.url(), "syncline")?)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rolling_restart_of_all_workers_waits_for_no_lease_and_sends_nothing_twice() -> Result<()>
{
    const WORKERS: usize = 3;
    let setup = Setup {
        workers: WORKERS,
        settings: &[("SYNCLINE_DRAIN_SECONDS", "10")],
        webhook: json!({"delivery": {"batch_records": 10}}),
        ..Setup::default()
    };
    let mut sync = Syncing::of(slow_shop()?, setup).await?;
    sync.receiver.answer_by(|_| {
        std::thread::sleep(Duration::from_millis(40));
        Answer::Status(200)
    });
    let run = sync.start_run().await?;
    for old in 0..WORKERS {
        let seen = sync.run(&run).await?["records_delivered"].clone();
        let seen = seen.as_u64().unwrap_or_default();
        let state = sync
            .wait(&run, "more records to be delivered", |state| {
                state["records_delivered"].as_u64() > Some(seen + 20)
            })
            .await?;
        assert_eq!(state["status"], "running", "it is in the middle: {state}");
        sync.stack.add_worker(&[])?;
        let stopped = sync.stack.workers[old].stop(LONG)?;
        assert!(stopped.success(), "{}", sync.stack.workers[old].log());
    }
    let state = sync.run(&run).await?;
    assert_eq!(
        state["status"], "running",
        "all were replaced in the middle"
    );
    let run = sync.finish(&run).await?;
    assert_eq!(run["status"], "completed", "{run}");
    assert_eq!(run["errors"], 0, "{run}");
    let ledger = sync.check(&run).await?;
    let deliveries = sync.receiver.deliveries();
    assert_eq!(ledger.records["wms/orders"], SHOP.all_orders());
    assert_eq!(ledger.sorted("wms/order-items"), sorted(SHOP.all_lines()));

    for worker in &sync.stack.workers {
        let log = worker.log();
        assert!(!log.contains("lease had expired"), "{log}");
        assert!(!log.contains("left to its lease"), "{log}");
    }
    let mut ids: Vec<_> = deliveries
        .iter()
        .map(|delivery| delivery.request.header("webhook-id").map(str::to_owned))
        .collect();
    let sent = ids.len();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), sent, "nothing was sent twice");
    let pauses = deliveries.windows(2).map(|pair| pair[1].at - pair[0].at);
    let longest = pauses.max().unwrap_or_default();
    assert!(longest < LEASE / 2, "nothing came for {longest:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_whose_drain_budget_ends_hands_its_request_back_and_another_one_makes_it()
-> Result<()> {
    /// Longer than all else in this test, and not as long as a lease.
    const STUCK: Duration = Duration::from_secs(20);
    static ANSWERS: AtomicBool = AtomicBool::new(false);
    let source = Source::json(|request| {
        if !ANSWERS.load(Ordering::Acquire) {
            std::thread::sleep(STUCK);
        }
        SHOP.answer(request)
    })?;
    let setup = Setup {
        settings: &[("SYNCLINE_DRAIN_SECONDS", "1")],
        job: json!({"resources": [{"resource": "wms/orders"}]}),
        ..Setup::default()
    };
    let mut sync = Syncing::of(source, setup).await?;
    let run = sync.start_run().await?;
    asked_for(&sync, 1)?;
    ANSWERS.store(true, Ordering::Release);
    let began = Instant::now();
    let stopped = sync.stack.workers[0].stop(LONG)?;
    assert!(stopped.success(), "{}", sync.stack.workers[0].log());
    let drained = began.elapsed();
    sync.stack.add_worker(&[])?;
    let run = sync.finish(&run).await?;
    let took = began.elapsed();
    assert_eq!(run["status"], "completed", "{run}");
    let ledger = sync.check(&run).await?;
    assert_eq!(ledger.records["wms/orders"], SHOP.all_orders());
    assert!(drained < STUCK / 2, "the worker took {drained:?} to stop");
    assert!(took < STUCK, "the request was waited for: {took:?}");
    let log = sync.stack.workers[1].log();
    assert!(!log.contains("lease had expired"), "{log}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_fetch_goes_on_elsewhere_from_its_next_page_when_its_worker_stops() -> Result<()> {
    const PAGES: usize = 3;
    static STOPPING: AtomicBool = AtomicBool::new(false);
    // The last of these pages is under way when the worker learns that it is to stop.
    let source = Source::json(|request| {
        let page = request.query("page").and_then(|page| page.parse().ok());
        let deadline = Instant::now() + LONG;
        while page == Some(PAGES) && !STOPPING.load(Ordering::Acquire) && Instant::now() < deadline
        {
            std::thread::sleep(Duration::from_millis(10));
        }
        SHOP.answer(request)
    })?;
    let setup = Setup {
        settings: &[("SYNCLINE_DRAIN_SECONDS", "60")],
        job: json!({"resources": [{"resource": "wms/orders"}]}),
        ..Setup::default()
    };
    let mut sync = Syncing::of(source, setup).await?;
    let run = sync.start_run().await?;
    asked_for(&sync, PAGES)?;
    let worker = &mut sync.stack.workers[0];
    worker.signal("TERM")?;
    wait_until("it stops", LONG, || {
        let log = worker.log();
        let stops = log.contains("tasks in work may finish");
        stops.then_some(()).ok_or(log)
    })?;
    STOPPING.store(true, Ordering::Release);
    let stopped = worker.wait(LONG)?;
    assert!(stopped.success(), "{}", worker.log());
    let fetched = sync.run(&run).await?["records_fetched"].clone();
    assert_eq!(fetched, PAGES as u64 * SHOP.per_page, "the page, no more");
    assert_eq!(sync.source.requests().len(), PAGES);
    sync.stack.add_worker(&[])?;
    let run = sync.finish(&run).await?;
    assert_eq!(run["status"], "completed", "{run}");
    let ledger = sync.check(&run).await?;
    assert_eq!(ledger.records["wms/orders"], SHOP.all_orders());
    let asked = sync.source.requests().len() as u64;
    assert_eq!(
        asked * SHOP.per_page,
        SHOP.orders,
        "each page was asked for once"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_of_a_newer_version_stays_for_newer_workers_and_nobody_waits_for_it() -> Result<()> {
    let sync = Syncing::of_shop(Shop { orders: 30, ..SHOP }, Setup::default()).await?;
    let store = store(&sync)?;
    let first = sync.start_run().await?;
    let first = sync.finish(&first).await?;
    let environment = first["environment_id"].as_str().unwrap_or_default();
    let newer = [
        (Queue::Runs, environment, "start_run.2 {}"),
        (Queue::Deliveries, &sync.webhook, "deliver.2 c"),
    ];
    for (queue, lane, body) in newer {
        // As many as the lane lets run at once, so that they would fill it.
        let tasks: Vec<_> = (0..16)
            .map(|n| (format!("of_a_newer_version.{n}"), body.to_owned()))
            .collect();
        store.push_tasks(queue, lane, lane, 8, &tasks).await?;
    }
    let began = Instant::now();
    for _ in 0..3 {
        let run = sync.start_run().await?;
        let run = sync.finish(&run).await?;
        assert_eq!(run["status"], "completed", "{run}");
        sync.check(&run).await?;
    }
    assert!(began.elapsed() < LEASE, "others waited for them");
    for (queue, _, body) in newer {
        let mut connection = store.connection();
        for n in 0..16 {
            let id = format!("of_a_newer_version.{n}");
            let key = store.keys().join(&[queue.name(), "task", &id]);
            let kept: Vec<Option<String>> = connection
                .hmget(key, &["body", "attempt", "rescues"])
                .await?;
            let counted = ["0", "0"].map(|count| Some(count.to_owned()));
            assert_eq!(kept[0].as_deref(), Some(body), "{id} is still there");
            assert_eq!(kept[1..], counted, "{id} was not tried");
            let delayed = store.keys().join(&[queue.name(), "delayed"]);
            let due: Option<f64> = connection.zscore(delayed, &id).await?;
            assert!(due.is_some(), "{id} is offered again later");
        }
    }
    let log = sync.stack.workers[0].log();
    let told = log.matches("is left to a newer worker").count();
    assert!((1..=2).contains(&told), "told {told} times:\n{log}");
    Ok(())
}
