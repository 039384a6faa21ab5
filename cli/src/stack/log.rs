//! The log of a local stack goes to a file, so that the terminal shows what the
//! command has to say and nothing else.

use std::{fs::OpenOptions, path::Path, sync::Mutex};

use anyhow::Context;
use tracing_subscriber::EnvFilter;

/// What is logged: our own programs.
const FILTER: &str = "info";

/// Sends this process's log to the file, after what is in it; once a process.
pub fn init(path: &Path) -> anyhow::Result<()> {
    let file = OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)
        .with_context(|| format!("can't write {}", path.display()))?;
    let logs = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(FILTER))
        .with_ansi(false)
        .with_writer(Mutex::new(file))
        .try_init();
    logs.map_err(|error| anyhow::anyhow!("logs can't be set up: {error}"))
}
