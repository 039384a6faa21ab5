//! What things that wait or are kept cost: bytes of Redis for each, and memory of a worker beside a million of them.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::json;
use shared::{
    model::dead_letter::Cause,
    queue::task::FetchBody,
    store::{
        deliveries::{DeliveryHandle, NextBatch, Outcome, Source},
        fetches::Child,
        queue::Queue,
    },
};
use syncline_tests::process::free_address;

use crate::{
    feed::{Feed, chunk, run_of},
    figures::{Table, Target},
};

const CHILDREN: usize = 1_000_000;
/// Children of one commit, as a part of a large page has them.
const CHILDREN_AT_ONCE: usize = 3_000;
/// Redis does nothing else meanwhile.
const LONGEST_COMMIT_MS: f64 = 50.0;
const MOST_BYTES_OF_A_CHILD: f64 = 400.0;
const RUNS: usize = 2_000;
const RECORDS: usize = 200_000;
const RECORDS_OF_A_CHUNK: usize = 100;
const CHUNKS_AT_ONCE: usize = 20;
const LETTERS: usize = 1_000;
/// Records without payload beside their number, and as large as those of the other measurements.
const RECORD_BYTES: [usize; 2] = [40, 370];
/// Given to a worker to settle down, with nothing to do or at work on the children.
const SETTLING: Duration = Duration::from_secs(5);
const MIB: f64 = 1024.0 * 1024.0;

/// Once a round, each with fresh processes.
pub async fn measure(rounds: usize, table: &mut Table) -> Result<()> {
    for round in 1..=rounds {
        eprintln!("memory: round {round} of {rounds}");
        of_children(table).await?;
        of_runs(table).await?;
        for bytes in RECORD_BYTES {
            of_records(bytes, table).await?;
        }
        of_dead_letters(table).await?;
    }
    Ok(())
}

/// A million queued child requests, and the worker that begins to make them.
async fn of_children(table: &mut Table) -> Result<()> {
    let mut feed = Feed::start().await?;
    let webhook = feed.webhook(free_address()?, &json!({})).await?;
    let mut fetch = feed.begin(&[webhook], 1).await?.remove(0).remove(0);
    let before = used_memory(&feed).await?;
    let busy = feed.redis_cpu_seconds()?;
    for first in (0..CHILDREN).step_by(CHILDREN_AT_ONCE) {
        let children = (first..CHILDREN.min(first + CHILDREN_AT_ONCE)).map(child);
        fetch.commit_children(children.collect()).await?;
    }
    let busy = feed.redis_cpu_seconds()? - busy;
    #[expect(clippy::cast_precision_loss, reason = "some hundred")]
    let commits = CHILDREN.div_ceil(CHILDREN_AT_ONCE) as f64;
    table.add(
        "a commit of 3,000 child requests, cpu of redis",
        "ms",
        Target::AtMost(LONGEST_COMMIT_MS),
        busy * 1_000.0 / commits,
    );
    let used = used_memory(&feed).await? - before;
    add_bytes(
        table,
        "a queued child request",
        used,
        CHILDREN,
        Target::AtMost(MOST_BYTES_OF_A_CHILD),
    );
    feed.start_worker()?;
    tokio::time::sleep(SETTLING).await;
    let busy = feed.worker_memory_mib()?;
    table.add(
        "worker, a million child requests wait",
        "MiB",
        Target::AtMost(64.0),
        busy,
    );
    Ok(())
}

fn child(number: usize) -> Child {
    let parents = [("resources.wms.orders.id".to_owned(), json!(number))];
    let body = FetchBody {
        parents: parents.into(),
        ..FetchBody::default()
    };
    Child {
        node: 1,
        position: 1,
        body: body.to_json(),
    }
}

/// Runs that wait to be started, and runs that are over.
async fn of_runs(table: &mut Table) -> Result<()> {
    let mut feed = Feed::start().await?;
    let webhook = feed.webhook(free_address()?, &json!({})).await?;
    // The first one brings scripts and indexes along.
    feed.begin(&[webhook], 1).await?;
    let before = used_memory(&feed).await?;
    let specs = feed.accept(&[webhook], RUNS).await?;
    let used = used_memory(&feed).await? - before;
    add_bytes(table, "an accepted run", used, RUNS, Target::None);
    for fetches in feed.start_accepted(&[webhook], &specs).await? {
        for fetch in fetches {
            fetch.end().await?;
        }
    }
    let used = used_memory(&feed).await? - before;
    add_bytes(
        table,
        "a run that has ended, kept",
        used,
        RUNS,
        Target::None,
    );
    feed.start_worker()?;
    tokio::time::sleep(SETTLING).await;
    let idle = feed.worker_memory_mib()?;
    table.add("worker, idle", "MiB", Target::None, idle);
    Ok(())
}

/// Records that were committed and wait for their receiver.
async fn of_records(bytes: usize, table: &mut Table) -> Result<()> {
    let feed = Feed::start().await?;
    let webhook = feed.webhook(free_address()?, &json!({})).await?;
    let mut fetch = feed.begin(&[webhook], 1).await?.remove(0).remove(0);
    let before = used_memory(&feed).await?;
    for _ in 0..RECORDS / RECORDS_OF_A_CHUNK / CHUNKS_AT_ONCE {
        fetch
            .commit(vec![chunk(&records(bytes)); CHUNKS_AT_ONCE])
            .await?;
    }
    let used = used_memory(&feed).await? - before;
    let name = format!("an undelivered record of {bytes} B");
    add_bytes(table, &name, used, RECORDS, Target::None);
    Ok(())
}

/// Events of a hundred records that were given up.
async fn of_dead_letters(table: &mut Table) -> Result<()> {
    let feed = Feed::start().await?;
    let plan = json!({"batch_records": RECORDS_OF_A_CHUNK, "linger_ms": 0});
    let webhook = feed.webhook(free_address()?, &plan).await?;
    let mut fetch = feed.begin(&[webhook], 1).await?.remove(0).remove(0);
    let body = vec![b'x'; RECORDS_OF_A_CHUNK * RECORD_BYTES[1]];
    let before = used_memory(&feed).await?;
    for _ in 0..LETTERS / CHUNKS_AT_ONCE {
        fetch
            .commit(vec![chunk(&records(RECORD_BYTES[1])); CHUNKS_AT_ONCE])
            .await?;
    }
    let mut dead = 0;
    while let Some(claim) = feed.claim(Queue::Deliveries).await?.pop() {
        let handle = DeliveryHandle {
            source: Source::Run(run_of(&claim)?),
            stream: claim
                .body
                .rsplit(' ')
                .next()
                .context("a stream")?
                .to_owned(),
            task: claim.id,
            token: claim.token,
            per_second: 0,
            window: 1,
        };
        let mut next = feed.store.take_batch(&handle, &[]).await?;
        while let NextBatch::Batch(batch) = next {
            let outcome = given_up(&body);
            next = feed
                .store
                .settle_batch(&handle, batch.event, outcome, true, &[])
                .await?;
            dead += 1;
        }
    }
    ensure!(dead == LETTERS, "{dead} dead letters instead of {LETTERS}");
    let used = used_memory(&feed).await? - before;
    add_bytes(
        table,
        "a dead letter of 100 records of 370 B",
        used,
        LETTERS,
        Target::None,
    );
    Ok(())
}

fn given_up(body: &[u8]) -> Outcome<'_> {
    Outcome::Dead {
        status: Some(500),
        cause: Cause::Refused,
        reason: "the receiver answered 500 Internal Server Error",
        body,
        sent: true,
        failure: None,
        ends_run: None,
    }
}

fn records(bytes: usize) -> Vec<String> {
    let record = |id: usize| {
        let start = format!(r#"{{"id":{id:04},"text":""#);
        let text = "x".repeat(bytes - start.len() - 2);
        format!("{start}{text}\"}}")
    };
    (0..RECORDS_OF_A_CHUNK).map(record).collect()
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
fn add_bytes(table: &mut Table, name: &str, used: f64, count: usize, target: Target) {
    table.add(name, "bytes", target, used / count as f64);
}

/// Of Redis, in bytes.
async fn used_memory(feed: &Feed) -> Result<f64> {
    Ok(feed.redis_memory_mib().await? * MIB)
}
