//! Executes one claimed task and sees to every way in which that can end: done,
//! failed in the store, panicked, lease lost, or no time left to drain.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use metrics::{counter, histogram};
use shared::{
    clock::Timestamp,
    failure::FailurePoint,
    model::workflow_run::StartEvent,
    queue::{
        Leased, Slot,
        task::{TaskBody, owner_of},
    },
    store::StoreError,
    store::deliveries::Source,
    store::queue::{Claim, CountsAs, Queue},
    telemetry::metrics as names,
};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};
use tracing::Instrument;

use crate::{
    context::{Context, LoadError},
    tasks::{
        deliver, fetch, patience::until_available, purge, redrive, start_run, start_workflows,
    },
};

/// Before a task that failed for a reason of ours is tried again.
const OWN_FAULT_DELAY: Duration = Duration::from_secs(5);
/// Before a task that only missed the store is offered again; that says nothing about the task.
const STORE_DELAY: Duration = Duration::from_secs(1);
/// Before a task of a kind unknown here is offered again, to a newer worker perhaps.
const UNKNOWN_KIND_DELAY: Duration = Duration::from_secs(30);

/// Executes tasks of one queue.
#[derive(Clone)]
pub struct Executor {
    pub context: Arc<Context>,
    pub queue: Queue,
    /// Cancelled when a stopping process has no time left for what it is at.
    pub abandon: CancellationToken,
}

impl Executor {
    /// Never fails: whatever happens to the task is settled here or left to its lease.
    pub async fn run(&self, leased: Leased) {
        let began = Instant::now();
        let claim = leased.claim.clone();
        let span = tracing::info_span!("task", queue = self.queue.name(), task.id = %claim.id);
        let work = execute(
            self.context.clone(),
            self.queue,
            claim.clone(),
            leased.slot.clone(),
        )
        .instrument(span);
        // Spawned, so that tasks use all cores; aborted when this future is dropped.
        let work = AbortOnDropHandle::new(tokio::spawn(work));
        let outcome = tokio::select! {
            biased;
            // First: a task that gave itself back may be claimed again before it says so, and has lost nothing.
            outcome = self.settled(&claim, work) => outcome,
            () = leased.lease.lost() => {
                tracing::info!(queue = self.queue.name(), task.id = %claim.id, "the lease is gone; the task goes on elsewhere, or ended with a step whose answer got lost");
                "lease_lost"
            }
            () = self.abandon.cancelled() => {
                self.hand_back(&claim).await;
                "handed_back"
            }
        };
        let queue = self.queue.name();
        counter!(names::TASKS, names::QUEUE => queue, names::OUTCOME => outcome).increment(1);
        histogram!(names::TASK_DURATION, names::QUEUE => queue)
            .record(began.elapsed().as_secs_f64());
    }

    /// The end of the work, told to the store where it wasn't yet.
    async fn settled(
        &self,
        claim: &Claim,
        work: AbortOnDropHandle<Result<&'static str, LoadError>>,
    ) -> &'static str {
        let queue = self.queue.name();
        match work.await {
            Ok(Ok(word)) => word,
            // The loops say so; a line for each task would say nothing new.
            Ok(Err(LoadError::Store(error @ StoreError::Unavailable(_)))) => {
                tracing::debug!(queue, task.id = %claim.id, error = %error, "a task waits for the store");
                self.delay(claim, STORE_DELAY, CountsAs::Nothing).await;
                "store_away"
            }
            Ok(Err(error)) => {
                tracing::error!(queue, task.id = %claim.id, error = %error, "a task failed and will be tried again");
                self.delay(claim, OWN_FAULT_DELAY, CountsAs::Attempt).await;
                "error"
            }
            Err(panic) => {
                tracing::error!(queue, task.id = %claim.id, error = %panic, "a task crashed and will be tried again");
                self.delay(claim, OWN_FAULT_DELAY, CountsAs::Crash).await;
                "crashed"
            }
        }
    }

    /// As long as the store is away the lease is kept, so that the task isn't taken for one that killed its worker.
    async fn delay(&self, claim: &Claim, delay: Duration, counts: CountsAs) {
        let store = &self.context.store;
        let delayed = until_available(|| {
            store.delay_task(self.queue, &claim.id, &claim.token, delay, counts)
        });
        if let Err(error) = delayed.await {
            tracing::warn!(task.id = %claim.id, error = %error, "the task is left to its lease");
        }
    }

    async fn hand_back(&self, claim: &Claim) {
        let store = &self.context.store;
        if let Err(error) = store.hand_back(self.queue, &claim.id, &claim.token).await {
            tracing::warn!(task.id = %claim.id, error = %error, "the task is left to its lease");
        }
    }
}

async fn execute(
    context: Arc<Context>,
    queue: Queue,
    claim: Claim,
    slot: Arc<Slot>,
) -> Result<&'static str, LoadError> {
    FailurePoint::TaskClaimed.reach()?;
    let body = match claim.body.parse::<TaskBody>() {
        Ok(body) => body,
        Err(error) => return leave(&context, queue, &claim, &error.to_string()).await,
    };
    let (run, webhook) = (owner_of(&claim.id), owner_of(&claim.id));
    match (body, run, webhook) {
        (TaskBody::StartRun, Some(run), _) => start_run::execute(&context, &claim, run).await,
        (TaskBody::Fetch { node, gate, body }, Some(run), _) => {
            fetch::execute(&context, &claim, run, node, gate, body).await
        }
        (TaskBody::Deliver { stream }, Some(run), _) => {
            deliver::execute(&context, &claim, &slot, Source::Run(run), stream).await
        }
        (TaskBody::Deliver { stream }, _, Some(webhook)) => {
            deliver::execute(&context, &claim, &slot, Source::Outbox(webhook), stream).await
        }
        (TaskBody::Redrive, ..) => {
            let Some(id) = owner_of(&claim.id) else {
                return leave(&context, queue, &claim, "the task belongs to no redrive").await;
            };
            redrive::execute(&context, &claim, &slot, id).await
        }
        (
            TaskBody::StartWorkflows {
                event_type,
                at_ms,
                payload,
            },
            ..,
        ) => {
            let Some(event) = owner_of(&claim.id) else {
                return leave(&context, queue, &claim, "the task belongs to no event").await;
            };
            let event = StartEvent {
                id: event,
                event: event_type,
                created_at: Timestamp(at_ms),
            };
            start_workflows::execute(&context, &claim, event, payload).await
        }
        (TaskBody::Purge(progress), ..) => purge::execute(&context, &claim, progress).await,
        _ => {
            leave(
                &context,
                queue,
                &claim,
                "the task belongs to nothing known here",
            )
            .await
        }
    }
}

/// Leaves a task that can't be understood here to another worker: its lane goes on meanwhile, and it is looked at again
/// after [`UNKNOWN_KIND_DELAY`], however often, so that it is there when a newer worker is.
async fn leave(
    context: &Context,
    queue: Queue,
    claim: &Claim,
    reason: &str,
) -> Result<&'static str, LoadError> {
    if context.tells_of_unknown(UNKNOWN_KIND_DELAY) {
        tracing::warn!(task.id = %claim.id, reason, "a task is left to a newer worker; others like it are told at debug");
    } else {
        tracing::debug!(task.id = %claim.id, reason, "a task is left to a newer worker");
    }
    let (delay, counts) = (UNKNOWN_KIND_DELAY, CountsAs::Nothing);
    let store = &context.store;
    store
        .delay_task(queue, &claim.id, &claim.token, delay, counts)
        .await?;
    Ok("unknown_kind")
}
