//! Our queues as an apalis [`Backend`]: the only file here that names apalis.
//!
//! A claim loop in a task of its own fills a bounded channel; `poll_next` drains
//! it, so that no Redis error reaches the worker as the end of its stream. When the
//! process stops, the loop hands claimed but unstarted tasks back, at once: `poll_close`,
//! which apalis calls once nothing is in work any more, only waits for that. apalis needs no
//! acknowledgement from us: a task is completed by the script of its last step.

use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use apalis_core::{
    backend::{Backend, BackendConfig, finalize::Ephemeral},
    task::{Task, task_id::RandomId},
    worker::context::WorkerContext,
};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tower::layer::util::Identity;

use super::{Arrivals, ClaimLoop, Leased};
use crate::store::queue::Queue;

/// One queue of this process, for `WorkerBuilder::backend`.
pub struct QueueBackend {
    queue: Queue,
    claimed: Arrivals,
    claim_loop: Option<JoinHandle<()>>,
    /// Ends the claim loop.
    stop: CancellationToken,
    /// That the process is to stop.
    process: CancellationToken,
    crashed: CancellationToken,
    closing: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl QueueBackend {
    /// Starts claiming at once.
    #[must_use]
    pub fn new(mut claims: ClaimLoop) -> Self {
        let queue = claims.queue;
        let (process, crashed) = (claims.stop.clone(), claims.crashed.clone());
        let stop = process.child_token();
        claims.stop = stop.clone();
        let (claimed, claim_loop) = claims.spawn();
        Self {
            queue,
            claimed,
            claim_loop: Some(claim_loop),
            stop,
            process,
            crashed,
            closing: None,
        }
    }
}

impl Drop for QueueBackend {
    /// Nobody takes tasks any more: nor does the loop, and a process that isn't to stop has lost a part.
    fn drop(&mut self) {
        self.stop.cancel();
        if !self.process.is_cancelled() {
            self.crashed.cancel();
        }
    }
}

impl Backend for QueueBackend {
    type Task = Task<Leased>;
    type Error = Infallible;

    fn poll_ready(
        &mut self,
        _: &mut Context<'_>,
        _: &WorkerContext,
    ) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn poll_next(
        &mut self,
        cx: &mut Context<'_>,
        _: &WorkerContext,
    ) -> Poll<Option<Result<Task<Leased>, Infallible>>> {
        // The end of the channel means that the process is stopping; the worker learns that from its own shutdown.
        match self.claimed.lock().poll_recv(cx) {
            Poll::Ready(Some(leased)) => Poll::Ready(Some(Ok(Task::new(leased)))),
            Poll::Ready(None) | Poll::Pending => Poll::Pending,
        }
    }

    fn poll_close(
        &mut self,
        cx: &mut Context<'_>,
        _: &WorkerContext,
    ) -> Poll<Result<(), Infallible>> {
        let closing = self.closing.get_or_insert_with(|| {
            let queue = self.queue;
            self.stop.cancel();
            let claim_loop = self.claim_loop.take();
            Box::pin(async move {
                if let Some(Err(error)) = futures::future::OptionFuture::from(claim_loop).await {
                    tracing::error!(queue = queue.name(), error = %error, "the claim loop crashed");
                }
            })
        });
        closing.as_mut().poll(cx).map(Ok)
    }
}

impl BackendConfig for QueueBackend {
    type Args = Leased;
    type Id = RandomId;
    type Kind = Ephemeral;
    type Config = ();
    type Layer = Identity;

    fn config(&self) -> &() {
        &()
    }

    fn middleware(&mut self, _: &mut WorkerContext) -> Identity {
        Identity::new()
    }
}
