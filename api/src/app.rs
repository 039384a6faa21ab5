//! Serving: from a listener to a drained stop.

use std::{net::TcpListener, time::Duration};

use actix_web::{App, HttpServer, dev::Server, middleware::from_fn, web::Data};
use tokio_util::sync::CancellationToken;

use crate::{
    middleware::request::observe,
    router::{self, Figures},
    state::AppState,
};

/// How long a client may take to send the head of a request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// How long an idle connection is kept.
const KEEP_ALIVE: Duration = Duration::from_secs(75);
/// Threads that answer requests; they mostly wait for the store.
const MAX_THREADS: usize = 8;

/// Where an API listens.
#[derive(Debug)]
pub struct Ports {
    pub api: TcpListener,
    /// Where the figures are shown; without it, beside the API.
    pub metrics: Option<TcpListener>,
}

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
    serve_ports(
        state,
        Ports {
            api: listener,
            metrics: None,
        },
        drain,
        shutdown,
    )
    .await
}

/// As [`serve`], with the figures on a port of their own when there is one.
///
/// # Errors
/// When a listener can't be used.
pub async fn serve_ports(
    state: AppState,
    ports: Ports,
    drain: Duration,
    shutdown: CancellationToken,
) -> std::io::Result<()> {
    let threads = std::thread::available_parallelism()
        .map_or(1, std::num::NonZero::get)
        .min(MAX_THREADS);
    let figures = if ports.metrics.is_some() {
        Figures::Elsewhere
    } else {
        Figures::Here
    };
    let state = Data::new(state);
    let api_state = state.clone();
    let api = HttpServer::new(move || {
        App::new()
            .app_data(api_state.clone())
            .configure(|config| router::configure(config, figures))
            .wrap(from_fn(observe))
    });
    let api = api
        .workers(threads)
        .client_request_timeout(HEAD_TIMEOUT)
        .keep_alive(KEEP_ALIVE)
        .shutdown_timeout(drain.as_secs())
        .disable_signals()
        .listen(ports.api)?
        .run();
    let api = until(api, shutdown.clone());
    let Some(listener) = ports.metrics else {
        return api.await;
    };
    let metrics = HttpServer::new(move || {
        App::new()
            .app_data(state.clone())
            .configure(router::configure_figures)
    });
    let metrics = metrics
        .workers(1)
        .client_request_timeout(HEAD_TIMEOUT)
        .disable_signals()
        .listen(listener)?
        .run();
    let (api, metrics) = tokio::join!(api, until(metrics, shutdown));
    api.and(metrics)
}

/// Runs a server until `shutdown`, then drains it.
async fn until(server: Server, shutdown: CancellationToken) -> std::io::Result<()> {
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
