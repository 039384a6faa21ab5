//! Sending what a stream has, batch by batch.
//!
//! Triggered when a stream gets something to send; there is one such task a stream
//! at most, and it has one batch in flight, or as many as the webhook's `window`
//! allows. Each batch is frozen before it is sent and settled by one script that also
//! takes the next. Sending one twice is harmless to us and told by its id to the
//! receiver. What isn't accepted is dealt with once nothing else is in flight: then it
//! is at the head of its stream. The task ends when the stream has nothing
//! that may go, is delayed after a failure, and waits with the webhook's lane while
//! the receiver is away, asked for a pause, or is switched off; it goes to the end of its
//! lane once its turn is over or the process stops.

pub(super) mod answer;
mod bytes;
mod prepare;
pub(super) mod refusals;
pub(super) mod send;
pub(super) mod settle;
pub(super) mod webhook;

use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use shared::{
    failure::FailurePoint,
    ids::EventId,
    model::event::{Batch, STARTED},
    queue::Slot,
    store::{
        deliveries::{DeliveryHandle, NextBatch, Source},
        queue::{Claim, Queue},
    },
};
use tokio::task::JoinSet;

use self::{
    answer::Plan,
    prepare::Prepared,
    send::{Sender, Sent},
    webhook::Opened,
};
use super::patience::until_available;
use crate::context::{Context, DeliveredSource, LoadError};

/// After so long the task goes to the end of its lane, so that a webhook's streams take turns.
const TURN: Duration = Duration::from_secs(2);

/// Runs the task; the word is its outcome in metrics and logs.
///
/// # Errors
/// What the store can't do; the task stays claimed and is rescued.
pub async fn execute(
    context: &Arc<Context>,
    claim: &Claim,
    slot: &Arc<Slot>,
    source: Source,
    stream: String,
) -> Result<&'static str, LoadError> {
    let Some(delivered) = context.delivered_source(source).await? else {
        until_available(|| {
            context
                .store
                .finish_task(Queue::Deliveries, &claim.id, &claim.token)
        })
        .await?;
        return Ok("dropped");
    };
    let webhook = match webhook::open(context, claim, &delivered).await? {
        Opened::Ready(webhook) => webhook,
        Opened::Ended(word) => return Ok(word),
    };
    let plan = webhook.as_ref().map(|webhook| &webhook.delivery);
    let handle = DeliveryHandle {
        task: claim.id.clone(),
        token: claim.token.clone(),
        source,
        stream,
        per_second: plan.and_then(|plan| plan.rate_per_second).unwrap_or(0),
        // After a crash one at a time, so that it is told which batch it was.
        window: plan
            .filter(|_| claim.rescues == 0)
            .map_or(1, |plan| plan.window),
    };
    let delivery = Delivery {
        context,
        claim,
        sender: Sender {
            context: context.clone(),
            slot: slot.clone(),
            webhook_id: delivered.webhook(),
            run: delivered.run(),
            window: handle.window,
            waited: Arc::default(),
        },
        source: &delivered,
        handle: &handle,
        turn_ends: Instant::now() + TURN,
    };
    delivery.run().await
}

struct Delivery<'a> {
    context: &'a Context,
    claim: &'a Claim,
    sender: Sender,
    source: &'a DeliveredSource,
    handle: &'a DeliveryHandle,
    turn_ends: Instant,
}

enum Step {
    Next(NextBatch),
    /// The task is no longer ours.
    Ended(&'static str),
}

impl Delivery<'_> {
    async fn run(&self) -> Result<&'static str, LoadError> {
        // Leases lost count against the batch that was in flight then, not against those after it.
        let mut rescues = self.claim.rescues;
        let mut flight = JoinSet::new();
        // What is in flight and what failed meanwhile.
        let mut taken: Vec<EventId> = Vec::new();
        let mut failed: Vec<(Sent, Plan)> = Vec::new();
        let mut next = Some(self.take(&taken).await?);
        let mut full = false;
        loop {
            match next.take() {
                Some(NextBatch::None) => return Ok("done"),
                Some(NextBatch::Stale) => return Ok("stale"),
                Some(NextBatch::Held) => full = true,
                Some(NextBatch::Batch(batch)) => {
                    let alone = taken.is_empty();
                    match self
                        .prepare(&batch, std::mem::take(&mut rescues), alone)
                        .await?
                    {
                        Prepared::Send(webhook, message) => {
                            FailurePoint::BatchPrepared.reach()?;
                            taken.push(batch.event);
                            flight.spawn(self.sender.clone().send(batch, webhook, message));
                        }
                        Prepared::Step(Step::Next(following)) => next = Some(following),
                        Prepared::Step(Step::Ended(word)) => return Ok(word),
                        Prepared::Later => full = true,
                    }
                }
                None => {}
            }
            if next.is_some() {
                continue;
            }
            let room = !full && flight.len() < self.handle.window as usize;
            if room && !flight.is_empty() && self.goes_on() {
                next = Some(self.take(&taken).await?);
                continue;
            }
            let step = if let Some(sent) = flight.join_next().await {
                let mut sent =
                    sent.unwrap_or_else(|crash| std::panic::resume_unwind(crash.into_panic()));
                answered(&sent.batch).reach()?;
                let plan = settle::plan(&mut sent);
                if matches!(plan, Plan::Delivered { .. }) || taken.len() == 1 {
                    taken.retain(|event| *event != sent.batch.event);
                    let go_on = failed.is_empty() && self.goes_on();
                    full = !go_on;
                    self.settle(sent, plan, go_on, &taken).await?
                } else {
                    failed.push((sent, plan));
                    full = true;
                    continue;
                }
            } else {
                // All others are settled, so the first of these is at the head of its stream.
                let place = |sent: &Sent| taken.iter().position(|event| *event == sent.batch.event);
                failed.sort_by_key(|(sent, _)| std::cmp::Reverse(place(sent)));
                let first = failed.pop();
                failed.clear();
                taken.clear();
                full = false;
                match first {
                    Some((sent, plan)) => self.settle(sent, plan, self.goes_on(), &taken).await?,
                    None => Step::Next(self.take(&taken).await?),
                }
            };
            match step {
                Step::Next(following) => next = Some(following),
                Step::Ended(word) => return Ok(word),
            }
        }
    }

    async fn take(&self, taken: &[EventId]) -> Result<NextBatch, LoadError> {
        let store = &self.context.store;
        Ok(until_available(|| store.take_batch(self.handle, taken)).await?)
    }

    /// Whether another batch is sent in this turn. A task that gave its slot away has room for what it has in flight, and for
    /// nothing more.
    fn goes_on(&self) -> bool {
        let waited = self.sender.waited.load(Ordering::Relaxed);
        Instant::now() < self.turn_ends && !waited && !self.context.stop.is_cancelled()
    }
}

/// Where the batch is between its receiver's answer and its settling.
fn answered(batch: &Batch) -> FailurePoint {
    if batch.is_terminal() {
        FailurePoint::EndAnswered
    } else if batch.event_type == STARTED {
        FailurePoint::StartedAnswered
    } else {
        FailurePoint::BatchAnswered
    }
}
