//! `syncline-api serve`

use std::net::TcpListener;

use anyhow::Context;
use shared::config::Settings;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Serves until SIGTERM or SIGINT.
///
/// # Errors
/// The address is taken, or the API can't run with these settings.
pub async fn run(settings: Settings) -> anyhow::Result<()> {
    let shutdown = CancellationToken::new();
    cancel_on_signal(shutdown.clone())?;
    let address = settings.listen;
    let listener =
        TcpListener::bind(address).with_context(|| format!("can't listen on {address} (SYNCLINE_LISTEN)"))?;
    crate::run(settings, listener, shutdown).await
}

fn cancel_on_signal(shutdown: CancellationToken) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        shutdown.cancel();
    });
    Ok(())
}
