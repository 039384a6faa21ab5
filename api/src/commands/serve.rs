//! `syncline-api serve`

use std::net::TcpListener;

use anyhow::Context;
use shared::config::Settings;
use tokio_util::sync::CancellationToken;

/// Serves until SIGTERM or SIGINT.
///
/// # Errors
/// The address is taken, or the API can't run with these settings.
pub async fn run(settings: Settings) -> anyhow::Result<()> {
    let shutdown = CancellationToken::new();
    shared::shutdown::on_signal(shutdown.clone()).context("signals can't be caught")?;
    let address = settings.listen;
    let listener = TcpListener::bind(address)
        .with_context(|| format!("can't listen on {address} (SYNCLINE_LISTEN)"))?;
    crate::run(settings, listener, shutdown).await
}
