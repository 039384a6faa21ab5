//! The chaos run (`make chaos`): many runs over several accounts and webhooks, while whatever can die does. At the end
//! nothing may be lost, and each run must hold against the ledger.
//!
//! It prints what was lost, what came twice, gaps, and how long it took to get going again after each kind of fault. With
//! the same seed the faults are the same ones in the same order; when they strike is the clock's.

mod faults;
mod load;
mod report;

use std::{
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use clap::Parser;
use syncline_tests::{redis::PrivateRedis, stack::Stack};

use self::{faults::Chaos, load::Load};

/// Workers, of which one dies every few seconds.
const WORKERS: usize = 3;
/// After the last fault everything must have come by then.
const RECOVERY: Duration = Duration::from_mins(10);

/// Syncs while processes, connections and Redis die, and counts what is lost.
#[derive(Debug, Parser)]
#[command(name = "chaos")]
struct Arguments {
    /// How long faults go on.
    #[arg(long, default_value_t = 5.0)]
    minutes: f64,
    /// Records to sync, about, spread over that time.
    #[arg(long, default_value_t = 1_000_000)]
    records: u64,
    /// Which faults come in which order.
    #[arg(long)]
    seed: Option<u64>,
}

#[tokio::main]
async fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    let seed = arguments.seed.unwrap_or_else(rand::random);
    let during = Duration::from_secs_f64(arguments.minutes * 60.0);
    println!(
        "chaos for {:.1} min over {WORKERS} workers, {} records, --seed {seed}",
        arguments.minutes, arguments.records
    );
    // What a worker that stops is at is left to others after a second.
    let settings = [("SYNCLINE_LOG", "warn"), ("SYNCLINE_DRAIN_SECONDS", "1")];
    // With `everysec` Redis may put off writing what it answered while its disk is busy.
    let redis = PrivateRedis::start_with(&[("appendfsync", "always")])?;
    let stack = Stack::start_over(redis, WORKERS, &settings, 1)?;
    let load = Load::prepare(&stack, arguments.records).await?;
    let receivers = load.receivers();
    let ended = Arc::new(AtomicBool::new(false));
    let chaos = Chaos::new(stack, receivers, seed, during);
    let (faults, began) = (
        tokio::task::spawn_blocking(move || chaos.run()),
        Instant::now(),
    );
    let progress = tokio::spawn(report::progress(load.receivers(), began, ended.clone()));
    let runs = load.start_runs(during).await?;
    let (stack, faults) = faults.await?.context("a fault could not be made")?;
    let calm = Instant::now();
    println!(
        "no more faults; {} runs were accepted, {} faults were made",
        runs.len(),
        faults.len()
    );
    let ends = load.wait_for_ends(&runs, RECOVERY).await;
    ended.store(true, Ordering::Relaxed);
    progress.await?;
    if let Err(error) = &ends {
        println!("{error:#}");
    }
    let verdict = report::verdict(&load, &stack, &runs, &faults, [began, calm]).await?;
    print!("{verdict}");
    Ok(if verdict.holds() && ends.is_ok() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
