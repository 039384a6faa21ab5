//! Claim and commit of empty tasks, with 100 and with 1,000,000 tasks queued: the cost of a task must not depend on
//! the length of the backlog.

use std::time::Instant;

use anyhow::{Context, Result, ensure};
use shared::store::{
    Store,
    queue::{Held, LEASE, Queue},
};
use syncline_tests::redis::PrivateRedis;

use crate::figures::{Table, Target};

/// Tasks claimed and ended in one measurement.
const TASKS: usize = 60_000;
/// Claims of one call, as a worker with 64 slots makes them.
const AT_ONCE: usize = 64;
/// Claim loops side by side.
const CLAIMERS: usize = 4;
/// Lanes the tasks are spread over.
const LANES: usize = 10;
const PUSHED_AT_ONCE: usize = 5_000;
const BACKLOGS: [(usize, &str); 2] = [
    (100, "claim + commit, 100 queued"),
    (1_000_000, "claim + commit, 1,000,000 queued"),
];
const TARGET_PER_SECOND: f64 = 20_000.0;

/// Measures with each backlog.
pub async fn measure(rounds: usize, table: &mut Table) -> Result<()> {
    for (backlog, name) in BACKLOGS {
        for _ in 0..rounds {
            let redis = PrivateRedis::start()?;
            let store = Store::open(&redis.url(), "bench")?;
            push(&store, 0, backlog).await?;
            let rate = drain(&store, backlog).await?;
            table.add(name, "tasks/s", Target::AtLeast(TARGET_PER_SECOND), rate);
            if backlog > TASKS {
                let bytes = memory_per_task(&store, backlog).await?;
                table.add("memory of a queued task", "bytes", Target::None, bytes);
            }
        }
    }
    Ok(())
}

/// Ends tasks, adding as many as are ended, so that the backlog stays as long as it is.
async fn drain(store: &Store, backlog: usize) -> Result<f64> {
    let began = Instant::now();
    let mut pushing = 0.0;
    let mut ended = 0;
    while ended < TASKS {
        let share = (TASKS - ended).min(backlog);
        let claimers = (0..CLAIMERS).map(|claimer| end_tasks(store, share / CLAIMERS, claimer));
        futures::future::try_join_all(claimers).await?;
        ended += share / CLAIMERS * CLAIMERS;
        let refill = Instant::now();
        push(store, backlog + ended, share / CLAIMERS * CLAIMERS).await?;
        pushing += refill.elapsed().as_secs_f64();
    }
    #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
    Ok(ended as f64 / (began.elapsed().as_secs_f64() - pushing))
}

async fn end_tasks(store: &Store, count: usize, claimer: usize) -> Result<()> {
    let mut ended = 0;
    while ended < count {
        let token = format!("claimer-{claimer}");
        let claimed = store
            .claim(Queue::Deliveries, AT_ONCE.min(count - ended), LEASE, &token)
            .await?;
        ensure!(!claimed.tasks.is_empty(), "the queue ran dry");
        ended += claimed.tasks.len();
        let finish = claimed
            .tasks
            .iter()
            .map(|task| store.finish_task(Queue::Deliveries, &task.id, &token));
        for held in futures::future::try_join_all(finish).await? {
            ensure!(held == Held::Done, "a claim was lost");
        }
    }
    Ok(())
}

async fn push(store: &Store, first: usize, count: usize) -> Result<()> {
    let ids: Vec<usize> = (first..first + count).collect();
    for (part, ids) in ids.chunks(PUSHED_AT_ONCE).enumerate() {
        for lane in 0..LANES {
            let tasks: Vec<_> = ids
                .iter()
                .filter(|id| *id % LANES == lane)
                .map(|id| {
                    (
                        format!("run_01M86CF0NEDFCJ1W2HF19EY017.{id}"),
                        "deliver.1 0".to_owned(),
                    )
                })
                .collect();
            if !tasks.is_empty() {
                let pushed = store
                    .push_tasks(Queue::Deliveries, &format!("lane-{lane}"), 1_000, &tasks)
                    .await;
                pushed.with_context(|| format!("part {part}"))?;
            }
        }
    }
    Ok(())
}

async fn memory_per_task(store: &Store, backlog: usize) -> Result<f64> {
    let info: redis::InfoDict = redis::cmd("INFO")
        .arg("memory")
        .query_async(&mut store.connection())
        .await?;
    let used: f64 = info.get("used_memory").context("used_memory in INFO")?;
    #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
    Ok(used / backlog as f64)
}
