//! Stopping on SIGTERM and SIGINT.

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Cancels `stop` when the process is asked to end; a second signal ends it at
/// once, for whoever doesn't want to wait for draining.
///
/// # Errors
/// The system refuses to install the handlers.
pub fn on_signal(stop: CancellationToken) -> std::io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::spawn(async move {
        for first in [true, false] {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            if !first {
                tracing::warn!("a second signal: ending without draining");
                std::process::abort();
            }
            stop.cancel();
        }
    });
    Ok(())
}
