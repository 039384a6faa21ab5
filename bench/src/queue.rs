//! Claim and commit of empty tasks, with 100 and with 1,000,000 tasks queued: the cost of a task must not depend on
//! the length of the backlog. For each task that ends another one is pushed, which is part of the time.

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
/// Tasks claimed at once by each of the claim loops; so many more than the backlog there are, which are in work.
const AT_ONCE: usize = 25;
/// Claim loops side by side.
const CLAIMERS: usize = 4;
/// Lanes the tasks are spread over.
const LANES: usize = 10;
/// They are all of one environment, as those of a single tenant.
const ENVIRONMENT: &str = "bench";
const PUSHED_AT_ONCE: usize = 1_000;
const BACKLOGS: [(usize, &str); 2] = [
    (100, "claim + commit, 100 queued"),
    (1_000_000, "claim + commit, 1,000,000 queued"),
];
const TARGET_PER_SECOND: f64 = 20_000.0;

/// Measures with each backlog; gives the rates with the short one.
pub async fn measure(rounds: usize, table: &mut Table) -> Result<Vec<f64>> {
    let mut rates = Vec::new();
    for (backlog, name) in BACKLOGS {
        for _ in 0..rounds {
            let redis = PrivateRedis::start()?;
            let store = Store::open(&redis.url(), "bench")?;
            let queued = backlog + CLAIMERS * AT_ONCE;
            push_backlog(&store, queued).await?;
            let rate = drain(&store, queued).await?;
            table.add(name, "tasks/s", Target::AtLeast(TARGET_PER_SECOND), rate);
            if backlog > TASKS {
                let bytes = memory_per_task(&store, backlog).await?;
                table.add("memory of a queued task", "bytes", Target::None, bytes);
            } else {
                rates.push(rate);
            }
        }
    }
    Ok(rates)
}

/// Ends tasks, adding as many as are ended, so that the backlog stays as long as it is.
async fn drain(store: &Store, backlog: usize) -> Result<f64> {
    let began = Instant::now();
    let claimers = (0..CLAIMERS).map(|claimer| end_tasks(store, backlog, claimer));
    futures::future::try_join_all(claimers).await?;
    #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
    Ok(TASKS as f64 / began.elapsed().as_secs_f64())
}

async fn end_tasks(store: &Store, backlog: usize, claimer: usize) -> Result<()> {
    let share = TASKS / CLAIMERS;
    let first = backlog + claimer * share;
    let mut ended = 0;
    while ended < share {
        let token = format!("claimer-{claimer}");
        let wanted = AT_ONCE.min(share - ended);
        let claimed = store
            .claim(Queue::Deliveries, wanted, LEASE, &token)
            .await?
            .tasks;
        let finish = claimed.iter().map(|task| async {
            let held = store
                .finish_task(Queue::Deliveries, &task.id, &token)
                .await?;
            ensure!(held == Held::Done, "a claim was lost");
            anyhow::Ok(())
        });
        let finish = futures::future::try_join_all(finish);
        futures::future::try_join(
            finish,
            push(
                store,
                (ended / AT_ONCE + claimer) % LANES,
                first + ended,
                claimed.len(),
            ),
        )
        .await?;
        ended += claimed.len();
    }
    Ok(())
}

/// Queues a backlog, in turn over all lanes.
async fn push_backlog(store: &Store, backlog: usize) -> Result<()> {
    let at_once = PUSHED_AT_ONCE.min(backlog / LANES);
    for (part, first) in (0..backlog).step_by(at_once).enumerate() {
        push(store, part % LANES, first, at_once.min(backlog - first)).await?;
    }
    Ok(())
}

async fn push(store: &Store, lane: usize, first: usize, count: usize) -> Result<()> {
    let task = |id: usize| {
        (
            format!("run_01M86CF0NEDFCJ1W2HF19EY017.{id}"),
            "deliver.1 0".to_owned(),
        )
    };
    let tasks: Vec<_> = (first..first + count).map(task).collect();
    if !tasks.is_empty() {
        let lane = format!("lane-{lane}");
        store
            .push_tasks(Queue::Deliveries, ENVIRONMENT, &lane, 1_000, &tasks)
            .await?;
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
