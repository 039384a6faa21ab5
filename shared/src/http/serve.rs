//! A small HTTP/1 server: the worker's `/metrics`, `/livez`, `/readyz`, and the
//! sample source and receiver of the command line.
//!
//! Connections are bounded: past the bound new ones wait in the listener's queue.
//! When `stop` is cancelled, no connection is taken any more, kept ones close
//! after the answer they are at, and after [`GRACE`] what is left is cut.

use std::{convert::Infallible, error::Error, sync::Arc, time::Duration};

use http::{Request, Response};
use hyper::{
    body::{Body, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{net::TcpListener, sync::Semaphore, task::JoinSet};
use tokio_util::sync::CancellationToken;

/// How long answers may take after `stop`.
pub const GRACE: Duration = Duration::from_secs(5);
/// How long a client may take to send the head of a request; also how long a
/// connection is kept without one.
const HEAD_TIMEOUT: Duration = Duration::from_mins(1);
/// Wait after the system refused a connection (no file handles left, say).
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Answers requests with `handler` until `stop` is cancelled; at most
/// `max_connections` (at least one) at a time.
pub async fn serve<H, F, B>(
    listener: TcpListener,
    max_connections: usize,
    stop: CancellationToken,
    handler: H,
) where
    H: Fn(Request<Incoming>) -> F + Send + Sync + 'static,
    F: Future<Output = Response<B>> + Send + 'static,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let handler = Arc::new(handler);
    let places = Arc::new(Semaphore::new(max_connections.max(1)));
    let mut connections = JoinSet::new();
    while let Some((stream, place)) = accept(&listener, &places, &stop, &mut connections).await {
        let (handler, stop) = (handler.clone(), stop.clone());
        connections.spawn(async move {
            let _place = place;
            let service = service_fn(move |request| {
                let answer = handler(request);
                async move { Ok::<_, Infallible>(answer.await) }
            });
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD_TIMEOUT)
                .serve_connection(TokioIo::new(stream), service);
            tokio::pin!(connection);
            let ended = tokio::select! {
                ended = connection.as_mut() => ended,
                () = stop.cancelled() => {
                    connection.as_mut().graceful_shutdown();
                    connection.await
                }
            };
            if let Err(error) = ended {
                tracing::debug!(%error, "a connection ended early");
            }
        });
    }
    drop(listener);
    let all = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(GRACE, all).await.is_err() {
        connections.shutdown().await;
    }
}

type Place = tokio::sync::OwnedSemaphorePermit;

/// The next connection and its place; `None` when it is time to stop.
async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
    stop: &CancellationToken,
    connections: &mut JoinSet<()>,
) -> Option<(tokio::net::TcpStream, Place)> {
    let place = tokio::select! {
        place = places.clone().acquire_owned() => place.ok()?,
        () = stop.cancelled() => return None,
    };
    loop {
        // Ended connections must not pile up in the set.
        while connections.try_join_next().is_some() {}
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    if let Err(error) = stream.set_nodelay(true) {
                        tracing::debug!(%error, "could not switch on TCP_NODELAY");
                    }
                    return Some((stream, place));
                }
                Err(error) => {
                    tracing::warn!(%error, "could not take a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
            () = stop.cancelled() => return None,
        }
    }
}
