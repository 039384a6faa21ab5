//! What the engine promises, each sentence a test: acceptance, order, bounds.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use anyhow::Result;
use serde_json::json;
use shared::clock::Timestamp;
use syncline_tests::{http, source::Source};

use crate::scenario::{Counter, LONG, Setup, Shop, Syncing};

const SHOP: Shop = Shop {
    orders: 120,
    per_page: 20,
    lines: 2,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_run_accepted_with_no_worker_alive_is_carried_out_when_one_comes() -> Result<()> {
    let mut sync = Syncing::of_shop(
        SHOP,
        Setup {
            workers: 0,
            ..Setup::default()
        },
    )
    .await?;
    let run = sync.start_run().await?;
    assert_eq!(sync.run(&run).await?["status"], "created");
    sync.stack.add_worker(&[])?;
    let run = sync.finish(&run).await?;
    sync.check(&run).await?.expect_all(&SHOP.served());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn two_workers_share_a_run() -> Result<()> {
    let slow = Source::json(|request| {
        std::thread::sleep(Duration::from_millis(10));
        SHOP.answer(request)
    })?;
    // Few slots, so that one worker alone can't take everything.
    let settings = &[("SYNCLINE_WORKER_CONCURRENCY", "2,2")];
    let sync = Syncing::of(
        slow,
        Setup {
            workers: 2,
            settings,
            ..Setup::default()
        },
    )
    .await?;
    let run = sync.start_run().await?;
    let run = sync.finish(&run).await?;
    sync.check(&run).await?.expect_all(&SHOP.served());
    for worker in &sync.stack.workers {
        let metrics = worker.metrics()?;
        let fetched = metrics
            .lines()
            .find(|line| line.starts_with("syncline_records_fetched_total"));
        let fetched: f64 = fetched
            .and_then(|line| line.rsplit(' ').next()?.parse().ok())
            .unwrap_or(0.0);
        assert!(fetched > 0.0, "each worker fetched some: {metrics}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rate_limited_account_waits_as_asked_says_so_and_delays_no_other() -> Result<()> {
    let asked = Counter::default();
    let counter = asked.clone();
    let source = Source::start(move |request, stream| {
        use std::io::Write;
        let limited = request.header("authorization") != Some("Bearer another");
        if limited && counter.fetch_add(1, Ordering::Relaxed) == 2 {
            return stream.write_all(&http::response(429, &[("retry-after", "6")], b"slow down"));
        }
        let (status, body) = SHOP.answer(request);
        stream.write_all(&http::response(status, &[], body.as_bytes()))
    })?;
    let job = json!({"resources": [{"resource": "wms/orders"}]});
    let sync = Syncing::of(
        source,
        Setup {
            job,
            ..Setup::default()
        },
    )
    .await?;
    let run = sync.start_run().await?;
    sync.wait(&run, "the rate limit", |state| {
        state["status"] == "rate_limited"
    })
    .await?;
    let account = json!({"integration_name": "shop", "tenant_id": "another", "credentials": {"api_key": "another"}});
    let another = sync.rest.create("/integrated-account", &account).await?;
    let another = sync
        .start_run_with(&json!({"integrated_account_id": another}))
        .await?;
    let another = sync.finish(&another).await?;
    assert_eq!(another["rate_limited_ms"], 0);
    sync.check(&another).await?;
    assert_eq!(
        sync.run(&run).await?["status"],
        "rate_limited",
        "only its own account waits"
    );
    let run = sync.finish(&run).await?;
    let ledger = sync.check(&run).await?;
    assert_eq!(
        ledger.milestones(),
        [
            "sync_job_run:started",
            "sync_job_run:rate_limited",
            "sync_job_run:completed"
        ]
    );
    assert_eq!(ledger.records["wms/orders"], SHOP.all_orders());
    assert_eq!(run["errors"], 0);
    assert!(run["rate_limited_ms"].as_u64() >= Some(5_900), "{run}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_worker_starts_on_a_run_at_once_and_asks_redis_little_meanwhile() -> Result<()> {
    const RUNS: usize = 8;
    // Looks at the pace of the safety net and two maintenance passes, their scripts counted command by command: 142 were seen.
    const QUIET_COMMANDS: u64 = 400;
    let job = json!({"resources": [{"resource": "wms/orders"}]});
    let sync = Syncing::of_shop(
        Shop { orders: 1, ..SHOP },
        Setup {
            job,
            ..Setup::default()
        },
    )
    .await?;
    let mut waited = Duration::ZERO;
    for _ in 0..RUNS {
        let run = sync.start_run().await?;
        let run = sync.finish(&run).await?;
        let moment = |field: &str| -> i64 {
            let text = run[field].as_str().expect("a time");
            let time: Timestamp = text.parse().expect("a time");
            time.0
        };
        let ms = u64::try_from(moment("started_at") - moment("created_at"))?;
        waited += Duration::from_millis(ms);
        sync.check(&run).await?;
    }
    // Left to their look every 2 s they would wait 1 s for each on average.
    assert!(
        waited < Duration::from_secs(3),
        "{waited:?} for {RUNS} runs"
    );
    let mut connection = sync.stack.redis.connect().await?;
    let mut figures = async || -> Result<(u64, u64)> {
        let info: redis::InfoDict = redis::cmd("INFO").query_async(&mut connection).await?;
        let of = |name| info.get::<u64>(name).expect("a figure");
        Ok((of("uptime_in_seconds"), of("total_commands_processed")))
    };
    let (began, before) = figures().await?;
    let mut looks = 0;
    let commands = loop {
        let (now, commands) = figures().await?;
        looks += 1;
        if now >= began + 5 {
            break commands - before - looks;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    assert!(
        commands < QUIET_COMMANDS,
        "{commands} commands in 5 s of nothing to do"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_fails_once_is_tried_again() -> Result<()> {
    let failures = AtomicU64::new(0);
    let source = Source::json(move |request| {
        if request.path() == "/orders/5/lines" && failures.fetch_add(1, Ordering::Relaxed) == 0 {
            return (500, "{}".to_owned());
        }
        SHOP.answer(request)
    })?;
    let sync = Syncing::of(source, Setup::default()).await?;
    let run = sync.start_run().await?;
    let run = sync.finish(&run).await?;
    sync.check(&run).await?.expect_all(&SHOP.served());
    assert_eq!(
        (&run["errors"], &run["requests"]),
        (&json!(0), &json!(6 + 120 + 1))
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_any_size_needs_bounded_memory() -> Result<()> {
    // One page of about 100 MB; the worker's peak stays far below it.
    const RECORDS: u64 = 250_000;
    let source = Source::start(|_, stream| {
        use std::io::Write;
        let record = format!(r#"{{"id":1,"text":"{}"}}"#, "x".repeat(380));
        let length = 10 + RECORDS * (record.len() as u64 + 1);
        write!(
            stream,
            "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n"
        )?;
        stream.write_all(br#"{"data":["#)?;
        let mut batch = String::new();
        for i in 0..RECORDS {
            if i > 0 {
                batch.push(',');
            }
            batch.push_str(&record);
            if batch.len() > 1 << 20 {
                stream.write_all(batch.as_bytes())?;
                batch.clear();
            }
        }
        stream.write_all(batch.as_bytes())?;
        stream.write_all(b"]}")
    })?;
    let job = json!({"resources": [{"resource": "lines", "query": {"order_id": 1}}]});
    let sync = Syncing::of(
        source,
        Setup {
            job,
            ..Setup::default()
        },
    )
    .await?;
    let run = sync.start_run().await?;
    let run = sync.rest.wait_for_end(&run, LONG * 2).await?;
    assert_eq!(
        (&run["status"], &run["records_delivered"]),
        (&json!("completed"), &json!(RECORDS)),
        "{run}"
    );
    let peak = sync.stack.workers[0].peak_rss_bytes()?;
    assert!(
        peak < 96 * 1024 * 1024,
        "the worker's peak was {} MiB",
        peak >> 20
    );
    Ok(())
}
