//! `syncline-api`.

use std::{path::PathBuf, process::ExitCode};

use anyhow::Context;
use api::commands::{environment, serve, token};
use clap::{Parser, Subcommand};
use shared::config::{Settings, Sources};

#[derive(Parser)]
#[command(
    name = "syncline-api",
    version,
    about = "Serves Syncline's API and manages its tokens."
)]
struct Arguments {
    /// Settings file (TOML); `SYNCLINE_CONFIG` names one too.
    #[arg(long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
    /// Overrides one setting, as in `--set log=debug`; may be repeated.
    #[arg(long = "set", value_name = "NAME=VALUE", global = true, value_parser = name_and_value)]
    overrides: Vec<(String, String)>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serves the API until told to stop (SIGTERM, SIGINT), then drains.
    Serve,
    /// API tokens.
    #[command(subcommand)]
    Token(token::Command),
    /// Environments: tenants of this installation.
    #[command(subcommand)]
    Environment(environment::Command),
    /// Prints the OpenAPI document.
    Openapi,
    /// Prints the effective settings, secrets masked.
    Config,
}

fn name_and_value(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("write NAME=VALUE")?;
    Ok((name.trim().to_owned(), value.to_owned()))
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if matches!(arguments.command, Command::Openapi) {
        return ended(api::commands::openapi::print());
    }
    let sources = Sources::from_process(arguments.config.as_deref(), arguments.overrides);
    let settings = match sources.and_then(|sources| Settings::load(&sources)) {
        Ok(settings) => settings,
        Err(faults) => {
            eprintln!("syncline-api: {faults}");
            return ExitCode::from(2);
        }
    };
    ended(run(arguments.command, settings))
}

fn ended(outcome: anyhow::Result<()>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("syncline-api: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command, settings: Settings) -> anyhow::Result<()> {
    if matches!(command, Command::Config) {
        print!("{}", settings.effective_toml());
        return Ok(());
    }
    if matches!(command, Command::Serve) {
        shared::telemetry::init(&settings).context("logging can't be set up")?;
        shared::open_files::raise_limit();
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        match command {
            Command::Serve => serve::run(settings).await,
            Command::Token(command) => token::run(command, &settings).await,
            Command::Environment(command) => environment::run(command, &settings).await,
            Command::Openapi | Command::Config => Ok(()),
        }
    })
}
