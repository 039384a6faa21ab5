//! Claim and commit of empty tasks, with 100 and with 1,000,000 tasks queued: the cost of a task must not depend on
//! the length of the backlog. For each task that ends another one is pushed, which is part of the time. Now and then a
//! task of another account, and one of another environment, comes: it must not wait behind the backlog.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use shared::store::{
    Store,
    queue::{Claim, Held, LEASE, Queue},
};
use syncline_tests::redis::PrivateRedis;

use crate::{
    figures::{Table, Target, percentile},
    receivers::now_us,
};

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
/// Lanes of tasks that come now and then, with their environments: the busy one, and another.
const PROBES: [(&str, &str); 2] = [(ENVIRONMENT, "probe"), ("other", "probe-of-other")];
const PROBE_INTERVAL: Duration = Duration::from_millis(20);
/// The longest that such a task may wait.
const MOST_DELAY_MS: f64 = 1_000.0;
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
            let (rate, delays) = drain(&store, queued).await?;
            table.add(name, "tasks/s", Target::AtLeast(TARGET_PER_SECOND), rate);
            let longest = percentile(&delays, 1.0);
            let name = format!("a task of another account, {name}: longest wait");
            table.add(&name, "ms", Target::AtMost(MOST_DELAY_MS), longest);
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
/// Gives their rate, and how long in ms each of the tasks waited that came in between.
async fn drain(store: &Store, backlog: usize) -> Result<(f64, Vec<f64>)> {
    let began = Instant::now();
    let claimers = (0..CLAIMERS).map(|claimer| end_tasks(store, backlog, claimer));
    let claimers = futures::future::try_join_all(claimers);
    let delays = tokio::select! {
        delays = claimers => delays?,
        probed = probe(store) => bail!("the probes ended: {probed:?}"),
    };
    #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
    let rate = TASKS as f64 / began.elapsed().as_secs_f64();
    Ok((rate, delays.concat()))
}

/// Pushes a task of each probe's lane now and then; its id says when, in µs.
async fn probe(store: &Store) -> Result<()> {
    loop {
        tokio::time::sleep(PROBE_INTERVAL).await;
        for (environment, lane) in PROBES {
            let task = (format!("{lane}.{}", now_us()), "deliver.1 0".to_owned());
            store
                .push_tasks(Queue::Deliveries, environment, lane, 1_000, &[task])
                .await?;
        }
    }
}

/// How long a task of a probe has waited, in ms; `None` of another one.
#[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
fn delay(task: &Claim) -> Option<f64> {
    let (lane, at) = task.id.split_once('.')?;
    let probes = PROBES.iter().any(|probe| probe.1 == lane);
    let pushed: u64 = at.parse().ok().filter(|_| probes)?;
    Some(now_us().saturating_sub(pushed) as f64 / 1_000.0)
}

async fn end_tasks(store: &Store, backlog: usize, claimer: usize) -> Result<Vec<f64>> {
    let mut delays = Vec::new();
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
        delays.extend(claimed.iter().filter_map(delay));
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
    Ok(delays)
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
