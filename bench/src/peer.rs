//! The same empty tasks through `apalis-redis`, whose storage ours stands in for (ADR 1), in the same run.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Instant,
};

use anyhow::{Context, Result, ensure};
use apalis::{
    layers::WorkerBuilderExt,
    prelude::{Data, TaskSink, WorkerBuilder, WorkerContext},
};
use apalis_redis::{Config, RedisStorage};
use syncline_tests::redis::PrivateRedis;

use crate::figures::{Table, Target};

/// Tasks of one measurement. With some 8,000 queued at once its fetch script fails for good.
const TASKS: usize = 6_000;
/// The fastest of the settings that were tried.
const BATCH: usize = 200;
const SLOTS: usize = 64;

/// Measures it once for each of our rates, and sets those against it.
pub async fn measure(ours: &[f64], table: &mut Table) -> Result<()> {
    for ours in ours {
        let redis = PrivateRedis::start()?;
        let rate = drain(&redis.url()).await?;
        let name = "apalis-redis: fetch + end, 6,000 queued";
        table.add(name, "tasks/s", Target::None, rate);
        table.add(
            "claim + commit, beside apalis-redis",
            "times",
            Target::None,
            ours / rate,
        );
    }
    Ok(())
}

async fn drain(url: &str) -> Result<f64> {
    let connection = apalis_redis::connect(url).await?;
    let config = Config::default().queue("bench").batch_size(BATCH);
    let mut storage = RedisStorage::<usize>::new(connection).with_config(config);
    storage
        .push_bulk((0..TASKS).collect())
        .await
        .map_err(|error| anyhow::anyhow!("{error:?}"))?;
    let ended = Arc::new(AtomicUsize::new(0));
    let worker = WorkerBuilder::new("peer")
        .backend(storage)
        .data(ended.clone())
        .concurrency(SLOTS)
        .build(end);
    let began = Instant::now();
    worker.run().await.context("the peer's worker")?;
    let seconds = began.elapsed().as_secs_f64();
    ensure!(
        ended.load(Ordering::Relaxed) >= TASKS,
        "the peer left tasks"
    );
    #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
    Ok(TASKS as f64 / seconds)
}

async fn end(_task: usize, ended: Data<Arc<AtomicUsize>>, worker: WorkerContext) {
    if ended.fetch_add(1, Ordering::Relaxed) + 1 == TASKS {
        // It only fails when the worker has stopped already.
        worker.stop().ok();
    }
}
