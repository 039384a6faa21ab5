//! `syncline-worker`.

use std::process::ExitCode;

use anyhow::Context;
use clap::{Parser, Subcommand};
use shared::config::{Settings, Sources};
use tokio_util::sync::CancellationToken;

#[derive(Parser)]
#[command(
    name = "syncline-worker",
    version,
    about = "Fetches records from source APIs and delivers them to webhooks."
)]
struct Arguments {
    /// Settings file (TOML); `SYNCLINE_CONFIG` names one too.
    #[arg(long, value_name = "FILE", global = true)]
    config: Option<std::path::PathBuf>,
    /// Overrides one setting, as in `--set log=debug`; may be repeated.
    #[arg(long = "set", value_name = "NAME=VALUE", global = true)]
    overrides: Vec<String>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Works until it is told to stop (SIGTERM, SIGINT), then drains.
    Run,
    /// Prints the effective settings, secrets masked.
    Config,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let settings = match load(&arguments) {
        Ok(settings) => settings,
        Err(error) => {
            eprintln!("{error:#}");
            return ExitCode::from(2);
        }
    };
    let ended = match arguments.command {
        Command::Config => {
            print!("{}", settings.effective_toml());
            Ok(())
        }
        Command::Run => run(settings),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("syncline-worker: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn load(arguments: &Arguments) -> anyhow::Result<Settings> {
    let overrides = arguments
        .overrides
        .iter()
        .map(|text| {
            let (name, value) = text
                .split_once('=')
                .with_context(|| format!("--set {text}: give NAME=VALUE"))?;
            Ok((name.to_owned(), value.to_owned()))
        })
        .collect::<anyhow::Result<_>>()?;
    let sources = Sources::from_process(arguments.config.as_deref(), overrides)?;
    Ok(Settings::load(&sources)?)
}

fn run(settings: Settings) -> anyhow::Result<()> {
    shared::telemetry::init(&settings).context("logging can't be set up")?;
    shared::open_files::raise_limit();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let shutdown = CancellationToken::new();
        shared::shutdown::on_signal(shutdown.clone())?;
        worker::run(settings, shutdown).await
    })
}
