//! How fast a worker delivers what waits: 100 webhooks with a receiver and a stream each, one batch of a stream in
//! flight, every request signed. The receivers are part of this process.

use std::time::Duration;

use anyhow::Result;
use futures::future::try_join_all;
use serde_json::json;

use crate::{
    feed::{Feed, Fetch, chunk},
    figures::{Table, Target},
    machine,
    receivers::Receivers,
    source::record,
};

const WEBHOOKS: usize = 100;
/// Chunks of one commit.
const CHUNKS_AT_ONCE: usize = 50;
/// Everything must have come by then.
const TIMEOUT: Duration = Duration::from_mins(2);

/// Deliveries of one size.
struct Load {
    name: &'static str,
    records_of_a_batch: usize,
    batches_of_a_webhook: usize,
    unit: &'static str,
    target: f64,
}

const LOADS: [Load; 2] = [
    Load {
        name: "deliveries of 1 record",
        records_of_a_batch: 1,
        batches_of_a_webhook: 400,
        unit: "requests/s",
        target: 5_000.0,
    },
    Load {
        name: "deliveries of 100 records",
        records_of_a_batch: 100,
        batches_of_a_webhook: 50,
        unit: "records/s",
        target: 100_000.0,
    },
];

/// Delivers each load once a round, with fresh processes.
pub async fn measure(rounds: usize, table: &mut Table) -> Result<()> {
    for load in LOADS {
        for round in 1..=rounds {
            eprintln!("{}: round {round} of {rounds}", load.name);
            deliver(&load, table).await?;
        }
    }
    Ok(())
}

async fn deliver(load: &Load, table: &mut Table) -> Result<()> {
    let receivers = Receivers::start(WEBHOOKS, WEBHOOKS)?;
    let mut feed = Feed::start().await?;
    let plan = json!({"batch_records": load.records_of_a_batch});
    let webhooks = receivers
        .addresses
        .iter()
        .map(|address| feed.webhook(*address, &plan));
    let webhooks = try_join_all(webhooks).await?;
    let fetches = feed.begin(&webhooks, 1).await?;
    try_join_all(fetches.into_iter().flatten().map(|fetch| fill(fetch, load))).await?;

    let mine = machine::cpu_seconds(std::process::id())?;
    let [_, redis] = {
        feed.start_worker()?;
        feed.cpu_seconds()?
    };
    let records = (WEBHOOKS * load.batches_of_a_webhook * load.records_of_a_batch) as u64;
    receivers.wait_for(0..WEBHOOKS, records, TIMEOUT).await?;
    let [worker_now, redis_now] = feed.cpu_seconds()?;
    table.add(
        load.name,
        load.unit,
        Target::AtLeast(load.target),
        records as f64 / receivers.seconds(),
    );
    let mine = machine::cpu_seconds(std::process::id())? - mine;
    for (process, seconds) in [
        ("receivers", mine),
        ("redis", redis_now - redis),
        ("worker", worker_now),
    ] {
        let name = format!("{}: cpu of {process}", load.name);
        table.add(&name, "s", Target::None, seconds);
    }
    Ok(())
}

/// Commits all of a webhook's records.
async fn fill(mut fetch: Fetch, load: &Load) -> Result<()> {
    let mut left = load.batches_of_a_webhook;
    let records: Vec<String> = (0..load.records_of_a_batch)
        .map(|id| record(id, None))
        .collect();
    let chunk = chunk(&records);
    while left > 0 {
        let chunks = left.min(CHUNKS_AT_ONCE);
        fetch.commit(vec![chunk.clone(); chunks]).await?;
        left -= chunks;
    }
    Ok(())
}
