//! Sending what a stream has, batch by batch.
//!
//! Triggered when a stream gets something to send; there is one such task a stream
//! at most, so one batch in flight. Each batch is frozen before it is sent and
//! settled by one script that also takes the next. Sending one twice is harmless to
//! us and told by its id to the receiver. The task ends when the stream has nothing
//! that may go, or is delayed while the receiver fails.

mod answer;
mod bytes;

use std::time::{Duration, Instant};

use shared::{
    delivery::{self, Attempt, Message, Target},
    model::{
        dead_letter::Cause,
        event::{self, Batch},
    },
    store::{
        deliveries::{DeliveryHandle, NextBatch, Outcome, Source},
        queue::{Claim, MAX_RESCUES, Queue},
    },
};

use self::answer::Plan;
use super::patience::until_available;
use crate::context::{Context, DeliveredSource, LoadError};
use crate::measure;

/// After so long the task goes to the end of its lane, so that a webhook's streams take turns.
const TURN: Duration = Duration::from_secs(2);
/// How long the streams of a webhook that is switched off rest before the next look.
const DISABLED_LOOK: Duration = Duration::from_secs(15);
/// Before the next try when a batch can't be sent for a reason of ours.
const OWN_FAULT_DELAY: Duration = Duration::from_secs(30);

/// Runs the task; the word is its outcome in metrics and logs.
///
/// # Errors
/// What the store can't do; the task stays claimed and is rescued.
pub async fn execute(
    context: &Context,
    claim: &Claim,
    source: Source,
    stream: String,
) -> Result<&'static str, LoadError> {
    let handle = DeliveryHandle {
        task: claim.id.clone(),
        token: claim.token.clone(),
        source,
        stream,
    };
    let Some(source) = context.delivered_source(source).await? else {
        until_available(|| {
            context
                .store
                .finish_task(Queue::Deliveries, &claim.id, &claim.token)
        })
        .await?;
        return Ok("dropped");
    };
    let delivery = Delivery {
        context,
        source: &source,
        handle: &handle,
    };
    // Leases lost count against the batch that was in flight then, not against those after it.
    let mut rescues = claim.rescues;
    let turn_ends = Instant::now() + TURN;
    let mut next = until_available(|| context.store.take_batch(&handle)).await?;
    loop {
        let batch = match next {
            NextBatch::Batch(batch) => batch,
            NextBatch::None => return Ok("done"),
            NextBatch::Stale => return Ok("stale"),
        };
        next = match delivery
            .deliver(
                &batch,
                std::mem::take(&mut rescues),
                Instant::now() < turn_ends,
            )
            .await?
        {
            Step::Settled(next) => next,
            Step::Delayed(word) => return Ok(word),
        };
    }
}

struct Delivery<'a> {
    context: &'a Context,
    source: &'a DeliveredSource,
    handle: &'a DeliveryHandle,
}

enum Step {
    Settled(NextBatch),
    Delayed(&'static str),
}

impl Delivery<'_> {
    async fn deliver(&self, batch: &Batch, rescues: u32, go_on: bool) -> Result<Step, LoadError> {
        let (environment, webhook_id) = (self.source.environment(), self.source.webhook());
        let webhook = match self.context.webhook(environment, webhook_id).await {
            Ok(Some(webhook)) => webhook,
            Ok(None) => {
                let reason = "the webhook was deleted";
                return self
                    .dead(batch, reason, Some("webhook_deleted"), go_on)
                    .await;
            }
            Err(LoadError::Store(error)) => return Err(error.into()),
            Err(error) => {
                tracing::error!(run.id = self.source.run_id(), webhook.id = %webhook_id, error = %error,
                    "a delivery can't be prepared; it is tried again");
                return self
                    .delay(batch, OWN_FAULT_DELAY, None, false, "retried")
                    .await;
            }
        };
        if rescues > MAX_RESCUES {
            let reason = "the worker crashed each time it sent this batch";
            return self.dead(batch, reason, None, go_on).await;
        }
        if !webhook.active {
            return self
                .delay(
                    batch,
                    DISABLED_LOOK,
                    Some(DISABLED_LOOK),
                    false,
                    "webhook_off",
                )
                .await;
        }
        let body = match self.bytes(batch).await? {
            Ok(body) => body,
            Err(reason) => return self.dead(batch, &reason, None, go_on).await,
        };
        let message = Message {
            id: batch.event.to_string(),
            body,
        };
        let attempt = delivery::send(&self.context.outbound, &webhook, &message).await;
        self.settle(batch, &webhook, &message.body, attempt, go_on)
            .await
    }

    async fn settle(
        &self,
        batch: &Batch,
        webhook: &Target,
        body: &[u8],
        attempt: Attempt,
        go_on: bool,
    ) -> Result<Step, LoadError> {
        let (run, webhook_id) = (self.source.run_id(), self.source.webhook());
        let plan = answer::plan(
            &attempt,
            &webhook.delivery.retry,
            batch.attempts,
            batch.failing,
            rand::random(),
        );
        measure::delivery(plan.word(), attempt.elapsed, batch.records);
        match plan {
            Plan::Delivered { status } => {
                let next = self
                    .settle_as(batch, Outcome::Delivered { status }, go_on)
                    .await?;
                self.log_delivered(batch, status);
                Ok(Step::Settled(next))
            }
            Plan::Retry { delay, block } => {
                tracing::warn!(run.id = run, webhook.id = %webhook_id, event.id = %batch.event,
                    attempt = batch.attempts + 1, delay_ms = delay.as_millis(), error = %attempt.problem(),
                    "a delivery was not accepted and will be tried again");
                self.delay(batch, delay, block, block.is_none(), "retried")
                    .await
            }
            Plan::GiveUp => {
                let reason = attempt.problem();
                tracing::warn!(run.id = run, webhook.id = %webhook_id, event.id = %batch.event,
                    attempts = batch.attempts + 1, error = %reason, "a delivery was given up; it is a dead letter now");
                let outcome = Outcome::Dead {
                    status: attempt.status(),
                    cause: Cause::Refused,
                    reason: &reason,
                    body,
                    sent: true,
                    ends_run: None,
                };
                Ok(Step::Settled(self.settle_as(batch, outcome, go_on).await?))
            }
        }
    }

    /// The end of a run is worth a line; its records are told by metrics and `/event`.
    fn log_delivered(&self, batch: &Batch, status: u16) {
        let (run, attempt) = (self.source.run_id(), batch.attempts + 1);
        if event::TERMINAL.contains(&batch.event_type.as_str()) {
            tracing::info!(run.id = run, event = batch.event_type, event.id = %batch.event, attempt, "run ended; its last event was acknowledged");
        } else {
            tracing::debug!(run.id = run, event = batch.event_type, event.id = %batch.event, records = batch.records, attempt, status, "delivered");
        }
    }

    /// Gives a batch up without sending it.
    async fn dead(
        &self,
        batch: &Batch,
        reason: &str,
        ends_run: Option<&str>,
        go_on: bool,
    ) -> Result<Step, LoadError> {
        let body = self.bytes(batch).await?.unwrap_or_default();
        measure::given_up();
        tracing::warn!(run.id = self.source.run_id(), event.id = %batch.event, reason, "a batch is a dead letter now");
        let outcome = Outcome::Dead {
            status: None,
            cause: Cause::Broken,
            reason,
            body: &body,
            sent: false,
            ends_run,
        };
        Ok(Step::Settled(self.settle_as(batch, outcome, go_on).await?))
    }

    /// Settles, and finds its way when an earlier answer of the store was lost.
    async fn settle_as(
        &self,
        batch: &Batch,
        outcome: Outcome<'_>,
        go_on: bool,
    ) -> Result<NextBatch, LoadError> {
        let store = &self.context.store;
        let mut calls = 0_u32;
        let settled = until_available(|| {
            calls += 1;
            store.settle_batch(self.handle, batch.event, outcome, go_on)
        })
        .await?;
        if calls > 1 && settled == NextBatch::Stale {
            // Perhaps the first call did it: then the next batch is ours to take.
            return Ok(until_available(|| store.take_batch(self.handle)).await?);
        }
        Ok(settled)
    }

    async fn delay(
        &self,
        batch: &Batch,
        delay: Duration,
        block: Option<Duration>,
        counts: bool,
        word: &'static str,
    ) -> Result<Step, LoadError> {
        let store = &self.context.store;
        until_available(|| store.retry_delivery(self.handle, batch.event, delay, block, counts))
            .await?;
        Ok(Step::Delayed(word))
    }
}
