//! More than fits: pages that fan out, sources without end, budgets of sources.

use std::{
    io::Write,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::Result;
use redis::AsyncCommands;
use reqwest::Method;
use serde_json::{Value, json};
use shared::store::queue::LEASE;
use syncline_tests::{http, ledger::sorted, source::Source};

use crate::{
    lane::{BASE, Lane},
    scenario::{LONG, Setup, Shop, Syncing, integration, integration_of},
};

const MIB: u64 = 1024 * 1024;

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_many_parents_makes_each_child_once_though_its_worker_dies_in_the_middle()
-> Result<()> {
    // Some four parts of a megabyte, which is what they and their children take.
    const SHOP: Shop = Shop {
        orders: 12_000,
        per_page: 12_000,
        lines: 1,
    };
    /// Of the page; the rest comes when the worker was killed.
    const FIRST_PART: f64 = 0.7;
    let killed = Arc::new(AtomicBool::new(false));
    let go_on = killed.clone();
    let source = Source::start(move |request, stream| {
        let (status, body) = SHOP.answer(request);
        let answer = http::response(
            status,
            &[("content-type", "application/json")],
            body.as_bytes(),
        );
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "a part of a length"
        )]
        let first = (answer.len() as f64 * FIRST_PART) as usize;
        if request.path() == "/orders" {
            stream.write_all(&answer[..first])?;
            while !go_on.load(Ordering::SeqCst) {
                std::thread::sleep(Duration::from_millis(5));
            }
            return stream.write_all(&answer[first..]);
        }
        stream.write_all(&answer)
    })?;
    let mut sync = Syncing::of(source, Setup::default()).await?;
    let mut lane = Lane::of(&sync).await?;
    let run = sync.start_run().await?;
    sync.wait(&run, "the first parts of the page", |state| {
        state["records_fetched"].as_u64() > Some(3_000)
    })
    .await?;
    sync.stack.workers[0].kill()?;
    let state = sync.run(&run).await?;
    assert_eq!(state["status"], "running", "{state}");
    killed.store(true, Ordering::SeqCst);
    sync.stack.add_worker(&[])?;
    lane.advance(LEASE).await?;
    let run = sync.finish(&run).await?;
    let ledger = sync.check(&run).await?;
    assert_eq!(ledger.records["wms/orders"], SHOP.all_orders());
    assert_eq!(ledger.sorted("wms/order-items"), sorted(SHOP.all_lines()));
    let asked = sync.source.requests();
    let pages = asked.iter().filter(|path| path.starts_with("/orders?"));
    assert_eq!(pages.count(), 2, "the page was asked for again once");
    // Beside what the dead worker had asked for already.
    assert!(asked.len() <= 2 + 12_000 + 16, "{} requests", asked.len());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_had_to_be_held_whole_is_committed_in_parts_too() -> Result<()> {
    const ORDERS: u64 = 20_000;
    /// A part of a megabyte has some 4,000 orders, each with a chunk's share and three arguments for its child.
    const MOST_ARGUMENTS: usize = 15_000;
    let orders: Vec<_> = (1..=ORDERS).map(|id| format!(r#"{{"id":{id}}}"#)).collect();
    let page = format!(r#"{{"data":[{}]}}"#, orders.join(","));
    let source = Source::json(move |request| match request.path() {
        "/orders" => (200, page.clone()),
        _ => (200, r#"{"data":[]}"#.to_owned()),
    })?;
    let setup = Setup {
        job: json!({"resources": [{"resource": "orders"},
            {"resource": "lines", "depends_on": "orders", "query": {"order_id": "{{resources.orders.id}}"}}]}),
        integration: |base_url| {
            let resources = json!({
                // Where its records are isn't said.
                "orders": {"list": {"path": "/orders"}},
                "lines": {"list": {"path": "/orders/{{query.order_id}}/lines", "response_path": "data"}}
            });
            integration_of(base_url, resources)
        },
        ..Setup::default()
    };
    let sync = Syncing::of(source, setup).await?;
    let mut redis = sync.stack.redis.connect().await?;
    for (name, value) in [
        ("slowlog-max-len", "100000"),
        ("slowlog-log-slower-than", "0"),
    ] {
        redis::cmd("CONFIG")
            .arg("SET")
            .arg(name)
            .arg(value)
            .exec_async(&mut redis)
            .await?;
    }
    let run = sync.start_run().await?;
    sync.wait(&run, "the whole page", |state| {
        state["records_fetched"].as_u64() >= Some(ORDERS)
    })
    .await?;
    let path = format!("/sync-job-run/{run}/stop");
    sync.rest.post(&path, &json!({})).await?;
    let run = sync.finish(&run).await?;
    let ledger = sync.check(&run).await?;
    assert_eq!(ledger.records["orders"], orders);
    let most = most_arguments(&mut redis).await?;
    assert!(most < MOST_ARGUMENTS, "a call with {most} arguments");
    Ok(())
}

/// Of all calls that the slow log has: Redis tells how many it leaves out there.
async fn most_arguments(redis: &mut redis::aio::MultiplexedConnection) -> Result<usize> {
    let log: Vec<Vec<redis::Value>> = redis::cmd("SLOWLOG")
        .arg("GET")
        .arg(-1)
        .query_async(redis)
        .await?;
    let mut most = 0;
    for entry in log {
        let Some(arguments) = entry.into_iter().nth(3) else {
            continue;
        };
        let arguments: Vec<String> = redis::from_redis_value(arguments)?;
        let left_out = arguments.last().and_then(|last| {
            let count = last
                .strip_prefix("... (")?
                .strip_suffix(" more arguments)")?;
            count.parse::<usize>().ok()
        });
        most = most.max(arguments.len() + left_out.unwrap_or(0));
    }
    Ok(most)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_receiver_and_endless_sources_stay_within_the_marks() -> Result<()> {
    const PER_PAGE: usize = 200;
    const STREAMS: u64 = 2;
    const MARK: u64 = 16 * MIB;
    /// What one fetch may still commit once its stream is over its mark: a page, or a part of one.
    const LAST_PART: u64 = 2 * MIB;
    /// In which maintenance looks at what is parked a few times.
    const WATCHED_SECONDS: u64 = 7;
    const LONGEST_PROBE_WAIT: Duration = Duration::from_mins(5);
    let record = format!(r#"{{"id":1,"text":"{}"}}"#, "x".repeat(3_800));
    let records = vec![record; PER_PAGE].join(",");
    let source = Source::json(move |request| {
        let page = request.query("page").unwrap_or("1");
        (200, format!(r#"{{"data":[{page},{records}],"more":true}}"#))
    })?;
    let setup = Setup {
        job: json!({"resources": [{"resource": "left"}, {"resource": "right"}]}),
        integration: |base_url| {
            let list = |path: &str| {
                json!({"list": {"path": path, "response_path": "data",
                    "pagination": {"format": "page", "config": {"page_key": "page", "has_next_path": "more"}}}})
            };
            let resources = json!({"left": list("/left"), "right": list("/right")});
            integration_of(base_url, resources)
        },
        ..Setup::default()
    };
    let sync = Syncing::of(source, setup).await?;
    let mut redis = sync.stack.redis.connect().await?;
    let mut memory = async || -> Result<(u64, u64, u64)> {
        let info: redis::InfoDict = redis::cmd("INFO").query_async(&mut redis).await?;
        let number = |name: &str| info.get::<u64>(name).expect("a number in INFO");
        let undelivered: Option<u64> = redis.get(format!("{BASE}:undelivered_bytes")).await?;
        Ok((
            undelivered.unwrap_or(0),
            number("used_memory"),
            number("uptime_in_seconds"),
        ))
    };
    let (_, empty, _) = memory().await?;
    sync.receiver.down();
    let run = sync.start_run().await?;
    let parked = format!("{BASE}:flow:{}:parked", sync.webhook);
    let mut connection = sync.stack.redis.connect().await?;
    let deadline = Instant::now() + LONG;
    while connection.scard::<_, u64>(&parked).await? < STREAMS {
        let (undelivered, _, _) = memory().await?;
        anyhow::ensure!(Instant::now() < deadline, "{undelivered} bytes, not parked");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let waiting = sync.run(&run).await?;
    assert_eq!(waiting["waiting_for"], "receiver", "{waiting}");
    let asked = sync.source.requests().len();
    let (undelivered, used, since) = memory().await?;
    let rss = sync.stack.workers[0].rss_bytes()?;
    assert!(undelivered >= STREAMS * MARK, "{undelivered}");
    assert!(undelivered <= STREAMS * (MARK + LAST_PART), "{undelivered}");
    assert!(
        used - empty <= undelivered * 5 / 4,
        "{used} bytes of Redis, {empty} before"
    );
    loop {
        let (now_undelivered, now_used, at) = memory().await?;
        assert_eq!(now_undelivered, undelivered);
        assert!(
            now_used <= used + MIB,
            "{now_used} bytes of Redis, {used} before"
        );
        if at >= since + WATCHED_SECONDS {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    // Each fetch reads a page ahead, which may have been on its way.
    let more = sync.source.requests().len() - asked;
    assert!(
        more as u64 <= STREAMS,
        "{more} more pages were asked for, of sources without an end"
    );
    let now = sync.stack.workers[0].rss_bytes()?;
    assert!(
        now <= rss + 4 * MIB,
        "{now} bytes of the worker, {rss} before"
    );
    // The run is stopped: the receiver gets what was committed, and the end.
    let stop = format!("/sync-job-run/{run}/stop");
    let (status, answer) = sync
        .rest
        .call(Method::POST, &stop, Some(&json!({})))
        .await?;
    anyhow::ensure!(status.is_success(), "{status}: {answer}");
    sync.receiver.up()?;
    Lane::of(&sync).await?.advance(LONGEST_PROBE_WAIT).await?;
    let run = sync.finish(&run).await?;
    assert_eq!(run["status"], "stopped");
    assert_eq!(run["records_delivered"], run["records_fetched"], "{run}");
    sync.check(&run).await?;
    let (undelivered, _, _) = memory().await?;
    assert_eq!(undelivered, 0);
    Ok(())
}

/// A source that says how many of its requests were under way at once, at most.
fn counting(shop: Shop) -> Result<(Source, Arc<AtomicUsize>)> {
    let most = Arc::new(AtomicUsize::new(0));
    let (seen, now) = (most.clone(), AtomicUsize::new(0));
    let source = Source::json(move |request| {
        seen.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        std::thread::sleep(Duration::from_millis(20));
        now.fetch_sub(1, Ordering::SeqCst);
        shop.answer(request)
    })?;
    Ok((source, most))
}

fn with_budget(base_url: &str, budget: &Value) -> Value {
    let mut document = integration(base_url);
    document["config"]["rate_limit"] = json!({"budget": budget});
    document
}

#[tokio::test(flavor = "multi_thread")]
async fn all_workers_together_keep_the_budget_of_an_account() -> Result<()> {
    const SHOP: Shop = Shop {
        orders: 10,
        per_page: 2,
        lines: 1,
    };
    let setup = Setup {
        workers: 2,
        integration: |base_url| {
            let budget = json!({"requests": 5, "per_seconds": 1, "concurrency": 2});
            with_budget(base_url, &budget)
        },
        ..Setup::default()
    };
    let (source, most) = counting(SHOP)?;
    let sync = Syncing::of(source, setup).await?;
    let began = Instant::now();
    let run = sync.start_run().await?;
    let run = sync.finish(&run).await?;
    let ledger = sync.check(&run).await?;
    assert_eq!(ledger.records["wms/orders"], SHOP.all_orders());
    assert_eq!(ledger.sorted("wms/order-items"), sorted(SHOP.all_lines()));
    // Fifteen requests, a fifth of a second apart.
    assert_eq!(run["requests"], 15, "{run}");
    assert!(
        began.elapsed() >= Duration::from_millis(14 * 200),
        "{:?}",
        began.elapsed()
    );
    assert!(most.load(Ordering::SeqCst) <= 2);
    assert_eq!(run["errors"], 0);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn accounts_of_an_integration_share_its_budget_and_all_get_their_turn() -> Result<()> {
    const SHOP: Shop = Shop {
        orders: 20,
        per_page: 5,
        lines: 1,
    };
    let setup = Setup {
        workers: 2,
        integration: |base_url| {
            let budget = json!({"concurrency": 1, "scope": "integration"});
            with_budget(base_url, &budget)
        },
        ..Setup::default()
    };
    let (source, most) = counting(SHOP)?;
    let sync = Syncing::of(source, setup).await?;
    let account = json!({"integration_name": "shop", "tenant_id": "tenant-2", "credentials": {"api_key": "other"}});
    let other = sync.rest.create("/integrated-account", &account).await?;
    let first = sync.start_run().await?;
    let second = sync
        .start_run_with(&json!({"integrated_account_id": other}))
        .await?;
    for run in [first, second] {
        let run = sync.finish(&run).await?;
        let ledger = sync.check(&run).await?;
        assert_eq!(ledger.records["wms/orders"], SHOP.all_orders());
        assert_eq!(ledger.sorted("wms/order-items"), sorted(SHOP.all_lines()));
    }
    assert_eq!(most.load(Ordering::SeqCst), 1);
    Ok(())
}
