//! `/livez`, `/readyz` and `/metrics` of a worker.

use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use shared::{
    config::Settings,
    http::serve,
    store::Store,
    telemetry::{MetricsHandle, metrics_handle},
};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Probes and scrapers; more connections than this wait.
const MAX_CONNECTIONS: usize = 64;
/// A Redis that answers later than this counts as away.
const READY_DEADLINE: Duration = Duration::from_secs(2);

/// What `/readyz` looks at.
#[derive(Clone)]
pub struct Probed {
    pub store: Store,
    /// Cancelled once the worker takes tasks.
    pub claims: CancellationToken,
    /// Cancelled once it takes no more.
    pub draining: CancellationToken,
}

/// The running endpoint.
pub struct Health {
    server: JoinHandle<()>,
    /// Folds histograms, so that samples don't pile up between scrapes.
    upkeep: JoinHandle<()>,
}

/// Listens until `stop`, which comes when the worker has drained: until then somebody may want to know how far it is.
///
/// # Errors
/// The address is taken, or metrics were set up twice in a way that can't work.
pub async fn start(
    settings: &Settings,
    probed: Probed,
    stop: CancellationToken,
) -> anyhow::Result<Health> {
    let metrics = metrics_handle().context("metrics can't be collected")?;
    let (upkeep, until) = (metrics.clone(), stop.clone());
    let upkeep = tokio::spawn(async move { upkeep.keep_bounded(until).await });
    let address = settings.worker_metrics_listen();
    let listener = tokio::net::TcpListener::bind(address)
        .await
        .with_context(|| format!("can't listen on {address} (SYNCLINE_METRICS_LISTEN)"))?;
    tracing::info!(address = %listener.local_addr()?, "metrics and probes are served");
    let server = tokio::spawn(serve::serve(
        listener,
        MAX_CONNECTIONS,
        stop,
        move |request| answer(request, probed.clone(), metrics.clone()),
    ));
    Ok(Health { server, upkeep })
}

impl Health {
    /// Waits for the endpoint to be closed.
    pub async fn stopped(self) {
        for task in [self.server, self.upkeep] {
            if let Err(error) = task.await {
                tracing::warn!(error = %error, "the metrics endpoint ended badly");
            }
        }
    }
}

async fn answer(
    request: Request<Incoming>,
    probed: Probed,
    metrics: MetricsHandle,
) -> Response<Full<Bytes>> {
    if request.method() != Method::GET {
        return text(StatusCode::METHOD_NOT_ALLOWED, "only GET\n");
    }
    match request.uri().path() {
        "/livez" => text(StatusCode::OK, "ok\n"),
        "/readyz" => match obstacle(&probed).await {
            None => text(StatusCode::OK, "ok\n"),
            Some(reason) => text(StatusCode::SERVICE_UNAVAILABLE, reason),
        },
        "/metrics" => {
            let mut response = Response::new(Full::from(metrics.render()));
            let kind = header::HeaderValue::from_static(MetricsHandle::CONTENT_TYPE);
            response.headers_mut().insert(header::CONTENT_TYPE, kind);
            response
        }
        _ => text(
            StatusCode::NOT_FOUND,
            "there are /livez, /readyz and /metrics\n",
        ),
    }
}

/// Why the worker takes no tasks; `None`: it does.
async fn obstacle(probed: &Probed) -> Option<&'static str> {
    if probed.draining.is_cancelled() {
        return Some("the worker is stopping\n");
    }
    let pinged = tokio::time::timeout(READY_DEADLINE, probed.store.ping()).await;
    if !matches!(pinged, Ok(Ok(()))) {
        return Some("Redis can't be reached, or takes no steps\n");
    }
    if !probed.claims.is_cancelled() {
        return Some("the worker is starting\n");
    }
    None
}

fn text(status: StatusCode, body: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(body));
    *response.status_mut() = status;
    response
}
