//! What `make bench` runs: measures the programs as users start them (release build, separate processes, a Redis with
//! its append-only file on) and prints each figure beside its target. A figure is the median of several rounds, each
//! with fresh programs and an empty store.

mod backlog;
mod delivery;
mod feed;
mod figures;
mod isolation;
mod machine;
mod memory;
mod peer;
mod queue;
mod receiver;
mod receivers;
mod source;
mod stack;
mod steady;
mod submit;
mod sync;

use std::process::ExitCode;

use anyhow::{Result, ensure};
use clap::{Parser, Subcommand};

use figures::Table;
use sync::Shape;

/// Measures Syncline.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    /// Rounds of each measurement; the median is printed.
    #[arg(long, global = true, default_value_t = 3)]
    rounds: usize,
}

#[derive(Debug, Clone, Copy, Subcommand)]
enum Command {
    /// Everything below, one after the other (the default).
    All,
    /// 100,000 records in 1,000 pages.
    Flat,
    /// 2,000 parents with a child request each.
    Children,
    /// One page of 200,000 records.
    Big,
    /// How fast runs are accepted, and picked up by an idle worker.
    Submit,
    /// Claim and commit of empty tasks, with a short and a long backlog.
    Queue,
    /// How fast a worker delivers to 100 receivers, one record and 100 at once.
    Delivery,
    /// What receivers that hang do to the deliveries of others.
    Isolation,
    /// What a million records for a dead receiver do to the deliveries of others.
    Backlog,
    /// Bytes of Redis for what waits or is kept, and memory of a worker.
    Memory,
    /// The source that is synced; prints its address and serves until it is killed.
    Source,
    /// The receiver that is delivered to; prints its address and serves until it is killed.
    Receiver,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<()> {
    match arguments.command.unwrap_or(Command::All) {
        Command::Source => source::serve(),
        Command::Receiver => receiver::serve(),
        measured => measure(measured, arguments.rounds),
    }
}

fn measure(command: Command, rounds: usize) -> Result<()> {
    ensure!(rounds > 0, "--rounds must be at least 1");
    println!("{}", machine::describe()?);
    let mut table = Table::default();
    let all = matches!(command, Command::All);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        if all || matches!(command, Command::Flat) {
            sync::measure(Shape::Flat, rounds, &mut table).await?;
        }
        if all || matches!(command, Command::Children) {
            sync::measure(Shape::Children, rounds, &mut table).await?;
        }
        if all || matches!(command, Command::Big) {
            sync::measure(Shape::Big, rounds, &mut table).await?;
        }
        if all || matches!(command, Command::Submit) {
            submit::measure(rounds, &mut table).await?;
        }
        if all || matches!(command, Command::Queue) {
            let ours = queue::measure(rounds, &mut table).await?;
            peer::measure(&ours, &mut table).await?;
        }
        if all || matches!(command, Command::Delivery) {
            delivery::measure(rounds, &mut table).await?;
        }
        if all || matches!(command, Command::Isolation) {
            isolation::measure(rounds, &mut table).await?;
        }
        if all || matches!(command, Command::Backlog) {
            backlog::measure(rounds, &mut table).await?;
        }
        if all || matches!(command, Command::Memory) {
            memory::measure(rounds, &mut table).await?;
        }
        anyhow::Ok(())
    })?;
    print!("{table}");
    println!("load average at the end: {}", machine::load_average()?);
    Ok(())
}
