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
    tasks::{deliver, fetch, redrive, start_run, start_workflows},
};

/// Before a task that failed for a reason of ours is tried again.
const OWN_FAULT_DELAY: Duration = Duration::from_secs(5);
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
        let work =
            execute(self.context.clone(), claim.clone(), leased.slot.clone()).instrument(span);
        // Spawned, so that tasks use all cores; aborted when this future is dropped.
        let mut work = AbortOnDropHandle::new(tokio::spawn(work));
        let outcome = tokio::select! {
            ended = &mut work => match ended {
                Ok(Ok(word)) => word,
                Ok(Err(error)) => self.failed(&claim, &error).await,
                Err(panic) => self.panicked(&claim, &panic).await,
            },
            () = leased.lease.lost() => {
                tracing::warn!(queue = self.queue.name(), task.id = %claim.id, "the lease was lost; the task goes on elsewhere");
                "lease_lost"
            }
            () = self.abandon.cancelled() => {
                drop(work);
                self.hand_back(&claim).await;
                "handed_back"
            }
        };
        let queue = self.queue.name();
        counter!(names::TASKS, names::QUEUE => queue, names::OUTCOME => outcome).increment(1);
        histogram!(names::TASK_DURATION, names::QUEUE => queue)
            .record(began.elapsed().as_secs_f64());
    }

    async fn failed(&self, claim: &Claim, error: &LoadError) -> &'static str {
        tracing::error!(queue = self.queue.name(), task.id = %claim.id, error = %error, "a task failed and will be tried again");
        let counts = match error {
            // Says nothing about the task.
            LoadError::Store(StoreError::Unavailable(_)) => CountsAs::Nothing,
            _ => CountsAs::Attempt,
        };
        self.retry(claim, counts).await;
        "error"
    }

    async fn panicked(&self, claim: &Claim, panic: &tokio::task::JoinError) -> &'static str {
        tracing::error!(queue = self.queue.name(), task.id = %claim.id, error = %panic, "a task crashed and will be tried again");
        self.retry(claim, CountsAs::Crash).await;
        "crashed"
    }

    async fn retry(&self, claim: &Claim, counts: CountsAs) {
        let store = &self.context.store;
        let delayed =
            store.delay_task(self.queue, &claim.id, &claim.token, OWN_FAULT_DELAY, counts);
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
    claim: Claim,
    slot: Arc<Slot>,
) -> Result<&'static str, LoadError> {
    FailurePoint::TaskClaimed.reach()?;
    let body = match claim.body.parse::<TaskBody>() {
        Ok(body) => body,
        Err(error) => return leave(&context, &claim, &error.to_string()).await,
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
                return leave(&context, &claim, "the task belongs to no redrive").await;
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
                return leave(&context, &claim, "the task belongs to no event").await;
            };
            let event = StartEvent {
                id: event,
                event: event_type,
                created_at: Timestamp(at_ms),
            };
            start_workflows::execute(&context, &claim, event, payload).await
        }
        _ => leave(&context, &claim, "the task belongs to nothing known here").await,
    }
}

/// Leaves a task that can't be understood here to another worker.
async fn leave(context: &Context, claim: &Claim, reason: &str) -> Result<&'static str, LoadError> {
    tracing::warn!(task.id = %claim.id, reason, "a task is left to a newer worker");
    for queue in Queue::ALL {
        let (delay, counts) = (UNKNOWN_KIND_DELAY, CountsAs::Nothing);
        context
            .store
            .delay_task(queue, &claim.id, &claim.token, delay, counts)
            .await?;
    }
    Ok("unknown_kind")
}
