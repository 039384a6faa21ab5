//! The program `syncline`. Exit codes: 0 fine, 1 failed, 2 wrong use.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use cli::{demo, dev, validate};

/// Syncs records out of business systems to your webhooks.
#[derive(Debug, Parser)]
#[command(name = "syncline", version, about, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show one whole sync, from a sample source to a sample webhook receiver
    Demo(demo::DemoArgs),
    /// Run Redis, the API and a worker in this terminal, for work
    Dev(dev::DevArgs),
    /// Check an integration or a sync job, offline
    Validate(validate::ValidateArgs),
}

#[tokio::main]
async fn main() -> ExitCode {
    let ended = match Arguments::parse().command {
        Command::Validate(args) => return validate::run(&args),
        Command::Demo(args) => demo::run(&args).await,
        Command::Dev(args) => dev::run(&args).await.map(|()| true),
    };
    match ended {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
