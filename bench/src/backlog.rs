//! What a million records that wait for a dead receiver do to other webhooks, to the worker and to the timers.

use std::time::Duration;

use anyhow::{Result, ensure};
use futures::future::try_join_all;
use redis::AsyncCommands;
use serde_json::json;
use syncline_tests::process::free_address;

use crate::{
    feed::{Feed, Fetch, chunk},
    figures::{Table, Target},
    receivers::{Receivers, now_us},
    steady,
};

/// Webhooks beside the dead one, each with one run.
const OTHERS: usize = 20;
/// Of the dead webhook; so many deliveries wait.
const RUNS: usize = 500;
const RECORDS_OF_A_RUN: usize = 2_000;
const RECORDS_OF_A_CHUNK: usize = 100;
const WARM_UP: Duration = Duration::from_secs(1);
const MEASURED: Duration = Duration::from_secs(5);
/// Everything for the others must have come, and the dead webhook's circuit must be open, by then.
const PATIENCE: Duration = Duration::from_secs(30);
/// Between two looks at the circuit.
const POLL_INTERVAL: Duration = Duration::from_millis(20);
const TARGET_RATIO: f64 = 1.1;

/// Without and with the backlog, once a round, each with fresh processes.
pub async fn measure(rounds: usize, table: &mut Table) -> Result<()> {
    for round in 1..=rounds {
        eprintln!("backlog: round {round} of {rounds}");
        beside_a_dead_webhook(table).await?;
    }
    Ok(())
}

async fn beside_a_dead_webhook(table: &mut Table) -> Result<()> {
    let receivers = Receivers::start(OTHERS, OTHERS)?;
    let mut feed = Feed::start().await?;
    let plan = json!({"batch_records": 1});
    let others = receivers
        .addresses
        .iter()
        .map(|address| feed.webhook(*address, &plan));
    let others = try_join_all(others).await?;
    let dead = feed
        .webhook(free_address()?, &json!({"batch_records": 100}))
        .await?;
    let mut fetches = feed.begin(&others, 1).await?;
    let dead_fetches = feed.begin(&[dead], RUNS).await?;
    feed.start_worker()?;

    let mut fed = steady::feed(&mut fetches, WARM_UP).await?;
    let before = deliver(&mut fetches, &receivers, &mut fed).await?;
    let (worker, redis) = (feed.worker_memory_mib()?, feed.redis_memory_mib().await?);
    try_join_all(dead_fetches.into_iter().flatten().map(fill)).await?;
    wait_for_circuit(&feed, &dead.to_string()).await?;
    let after = deliver(&mut fetches, &receivers, &mut fed).await?;

    for (name, value) in [
        ("pick-up of a delivery, nothing waits: p50", before[0]),
        ("pick-up, 1,000,000 records wait: p50", after[0]),
        ("pick-up of a delivery, nothing waits: p99", before[1]),
        ("pick-up, 1,000,000 records wait: p99", after[1]),
    ] {
        table.add(name, "ms", Target::None, value);
    }
    table.add(
        "pick-up, 1,000,000 wait: p50 beside none",
        "times",
        Target::AtMost(TARGET_RATIO),
        after[0] / before[0],
    );
    table.add(
        "timers of 1,000,000 records",
        "timers",
        Target::AtMost(1.0),
        timers(&feed).await?,
    );
    table.add(
        "memory of the worker, nothing waits",
        "MiB",
        Target::None,
        worker,
    );
    table.add(
        "memory of the worker, 1,000,000 records wait",
        "MiB",
        Target::AtMost(64.0),
        feed.worker_memory_mib()?,
    );
    table.add(
        "memory of Redis for 1,000,000 records",
        "MiB",
        Target::None,
        feed.redis_memory_mib().await? - redis,
    );
    Ok(())
}

/// p50 and p99 of the others' deliveries.
async fn deliver(
    fetches: &mut [Vec<Fetch>],
    receivers: &Receivers,
    fed: &mut u64,
) -> Result<[f64; 2]> {
    let from = now_us();
    *fed += steady::feed(fetches, MEASURED).await?;
    receivers
        .wait_for(0..OTHERS, *fed * OTHERS as u64, PATIENCE)
        .await?;
    let mut arrivals = receivers.arrivals(0..OTHERS);
    arrivals.retain(|arrival| arrival.committed_us >= from);
    Ok(steady::latencies(&arrivals))
}

/// Commits all records of a run at once.
async fn fill(mut fetch: Fetch) -> Result<()> {
    let record = |id: usize| format!(r#"{{"id":{id},"name":"a record that waits, {id}"}}"#);
    let records: Vec<String> = (0..RECORDS_OF_A_CHUNK).map(record).collect();
    let chunks = RECORDS_OF_A_RUN / RECORDS_OF_A_CHUNK;
    fetch.commit(vec![chunk(&records); chunks]).await
}

/// Waits until the webhook's circuit is open and its lane blocked, with no delivery that waits by itself.
async fn wait_for_circuit(feed: &Feed, webhook: &str) -> Result<()> {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    let lane = feed.store.keys().join(&["deliveries", "lane", webhook]);
    loop {
        let circuit: bool = feed.store.connection().hexists(&lane, "circuit").await?;
        let delayed = count(feed, "delayed").await?;
        if circuit && delayed == 0 {
            return Ok(());
        }
        ensure!(
            tokio::time::Instant::now() < deadline,
            "circuit open: {circuit}, deliveries that wait by themselves: {delayed}"
        );
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
async fn timers(feed: &Feed) -> Result<f64> {
    Ok((count(feed, "delayed").await? + count(feed, "blocked").await?) as f64)
}

async fn count(feed: &Feed, set: &str) -> Result<u64> {
    let key = feed.store.keys().join(&["deliveries", set]);
    Ok(feed.store.connection().zcard(key).await?)
}
