//! Serving: from a listener to a drained stop.

use std::{net::TcpListener, time::Duration};

use actix_web::{App, HttpServer, middleware::from_fn, web::Data};
use tokio_util::sync::CancellationToken;

use crate::{middleware::request::observe, router, state::AppState};

/// How long a client may take to send the head of a request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// How long an idle connection is kept.
const KEEP_ALIVE: Duration = Duration::from_secs(75);
/// Threads that answer requests; they mostly wait for the store.
const MAX_THREADS: usize = 8;

/// Answers requests on `listener` until `shutdown`; then takes no new connections,
/// finishes the requests at hand for at most `drain`, and returns.
///
/// # Errors
/// When the listener can't be used.
pub async fn serve(
    state: AppState,
    listener: TcpListener,
    drain: Duration,
    shutdown: CancellationToken,
) -> std::io::Result<()> {
    let threads = std::thread::available_parallelism()
        .map_or(1, std::num::NonZero::get)
        .min(MAX_THREADS);
    let state = Data::new(state);
    let server = HttpServer::new(move || {
        App::new()
            .app_data(state.clone())
            .configure(router::configure)
            .wrap(from_fn(observe))
    })
    .workers(threads)
    .client_request_timeout(HEAD_TIMEOUT)
    .keep_alive(KEEP_ALIVE)
    .shutdown_timeout(drain.as_secs())
    .disable_signals()
    .listen(listener)?
    .run();
    let handle = server.handle();
    let stopping = async move {
        shutdown.cancelled().await;
        handle.stop(true).await;
        // The server's own end, which follows, is the result.
        std::future::pending::<()>().await;
    };
    tokio::select! {
        served = server => served,
        () = stopping => Ok(()),
    }
}
