//! Sending what a stream has, batch by batch.
//!
//! Triggered when a stream gets something to send; there is one such task a stream
//! at most, so one batch in flight. Each batch is frozen before it is sent and
//! settled by one script that also takes the next. Sending one twice is harmless to
//! us and told by its id to the receiver. The task ends when the stream has nothing
//! that may go, is delayed after a failure, and waits with the webhook's lane while
//! the receiver is away, asked for a pause, or is switched off.

mod answer;
mod bytes;
mod refusals;
mod webhook;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use shared::{
    clock::Timestamp,
    delivery::{self, Attempt, Message, Sent, Target},
    model::{
        dead_letter::Cause,
        event::{self, Batch, single_records, split_chunk},
    },
    queue::Slot,
    store::{
        StoreResult,
        deliveries::{Again, DeliveryHandle, NextBatch, Outcome, RefusedRecord, Source},
        queue::{Claim, MAX_RESCUES, Queue},
    },
};

use self::{
    answer::{Plan, problem},
    refusals::Refusal,
    webhook::Opened,
};
use super::patience::until_available;
use crate::context::{Context, DeliveredSource, LoadError};
use crate::measure;

/// After so long the task goes to the end of its lane, so that a webhook's streams take turns.
const TURN: Duration = Duration::from_secs(2);
/// After so long a delivery that waits for the receiver makes room for another one.
const SLOT_HELD: Duration = Duration::from_millis(100);
/// The code of a run that its receiver stopped.
const STOPPED_BY_RECEIVER: &str = "stopped_by_receiver";

/// Runs the task; the word is its outcome in metrics and logs.
///
/// # Errors
/// What the store can't do; the task stays claimed and is rescued.
pub async fn execute(
    context: &Context,
    claim: &Claim,
    slot: &Slot,
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
    let rate = webhook
        .as_ref()
        .and_then(|webhook| webhook.delivery.rate_per_second);
    let handle = DeliveryHandle {
        task: claim.id.clone(),
        token: claim.token.clone(),
        source,
        stream,
        per_second: rate.unwrap_or(0),
    };
    let mut delivery = Delivery {
        context,
        claim,
        slot,
        source: &delivered,
        handle: &handle,
        webhook,
        waited: false,
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
        match webhook::open(context, claim, &delivered).await? {
            Opened::Ready(webhook) => delivery.webhook = webhook,
            Opened::Ended(word) => return Ok(word),
        }
        let step = delivery
            .deliver(&batch, std::mem::take(&mut rescues), turn_ends)
            .await?;
        next = match step {
            Step::Next(next) => next,
            Step::Ended(word) => return Ok(word),
        };
    }
}

struct Delivery<'a> {
    context: &'a Context,
    claim: &'a Claim,
    slot: &'a Slot,
    source: &'a DeliveredSource,
    handle: &'a DeliveryHandle,
    /// `None`: it was deleted.
    webhook: Option<Arc<Target>>,
    /// Whether the slot was given to another task.
    waited: bool,
}

enum Step {
    Next(NextBatch),
    /// The task is no longer ours.
    Ended(&'static str),
}

impl Delivery<'_> {
    async fn deliver(
        &mut self,
        batch: &Batch,
        rescues: u32,
        turn_ends: Instant,
    ) -> Result<Step, LoadError> {
        let Some(webhook) = self.webhook.clone() else {
            let reason = "the webhook was deleted";
            return self.dead(batch, reason, Some("webhook_deleted")).await;
        };
        if rescues > MAX_RESCUES {
            let reason = "the worker crashed each time it sent this batch";
            return self.dead(batch, reason, None).await;
        }
        if let Some(parts) = self.too_large(batch) {
            return self.split(batch, batch.most_bytes, &parts).await;
        }
        let body = match self.bytes(batch).await? {
            Ok(body) => body,
            Err(reason) => return self.dead(batch, &reason, None).await,
        };
        let message = Message {
            id: batch.event.to_string(),
            body,
        };
        let attempt = self.send(batch, &webhook, &message).await;
        self.context.attempts.note(attempt.record(&Sent {
            webhook: self.source.webhook(),
            event: batch.event,
            event_type: &batch.event_type,
            run: self.source.run(),
            number: batch.attempts + 1,
        }));
        // A task that waited has no slot any more, so its turn is over.
        let go_on = !self.waited && Instant::now() < turn_ends;
        self.settle(batch, &webhook, &message.body, attempt, go_on)
            .await
    }

    /// Sends once; while the receiver takes its time, another task gets the slot.
    async fn send(&mut self, batch: &Batch, webhook: &Target, message: &Message) -> Attempt {
        let sent = delivery::send(&self.context.outbound, webhook, message);
        tokio::pin!(sent);
        if !self.waited {
            tokio::select! {
                attempt = &mut sent => return attempt,
                () = tokio::time::sleep(SLOT_HELD) => {}
            }
            let held: usize = batch.chunks.iter().map(Vec::len).sum();
            self.slot.wait(held + message.body.len());
            self.waited = true;
        }
        sent.await
    }

    /// The parts of a batch that is known to be too large for the receiver.
    fn too_large(&self, batch: &Batch) -> Option<Vec<(u64, Vec<u8>)>> {
        let [chunk] = &batch.chunks[..] else {
            return None;
        };
        let most = batch.most_bytes;
        if most == 0 || batch.records < 2 || chunk.len() as u64 <= most {
            return None;
        }
        split_chunk(chunk, most).ok()
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
        let retry = &webhook.delivery.retry;
        let plan = answer::plan(&attempt, batch, retry, Timestamp::now(), rand::random());
        measure::delivery(plan.word(), attempt.elapsed, batch.records);
        match plan {
            Plan::Delivered { status, refused } => {
                let refused = self.refused(batch, refused);
                let outcome = Outcome::Delivered {
                    status,
                    refused: &refused,
                    stops_run: None,
                };
                let next = self.settle_as(batch, outcome, go_on).await?;
                self.log_delivered(batch, status);
                Ok(Step::Next(next))
            }
            Plan::StopRun { status } => {
                let reason = attempt.problem();
                tracing::info!(run.id = run, webhook.id = %webhook_id, event.id = %batch.event, "the receiver stopped the run");
                let outcome = Outcome::Delivered {
                    status,
                    refused: &[],
                    stops_run: Some((STOPPED_BY_RECEIVER, &reason)),
                };
                let next = self.settle_as(batch, outcome, go_on).await?;
                Ok(Step::Next(next))
            }
            Plan::Retry { delay } => {
                let reason = attempt.problem();
                tracing::warn!(run.id = run, webhook.id = %webhook_id, event.id = %batch.event,
                    attempt = batch.attempts + 1, delay_ms = delay.as_millis(), error = %problem(&attempt, batch),
                    "a delivery was not accepted and will be tried again");
                let again = Again::Failed {
                    delay,
                    plan: retry,
                    random: rand::random(),
                };
                self.again(batch, webhook, again, &reason).await
            }
            Plan::Pause(pause) => {
                let reason = attempt.problem();
                tracing::warn!(run.id = run, webhook.id = %webhook_id, event.id = %batch.event,
                    pause_ms = pause.as_millis(), error = %reason, "the receiver asked for a pause");
                self.again(batch, webhook, Again::Asked(pause), &reason)
                    .await
            }
            Plan::Split => {
                let bytes: usize = batch.chunks.iter().map(Vec::len).sum();
                let most = (bytes as u64 / 2).max(1);
                tracing::info!(run.id = run, webhook.id = %webhook_id, event.id = %batch.event,
                    records = batch.records, bytes, "an event is too large for the receiver; smaller ones are sent");
                let parts = match &batch.chunks[..] {
                    [chunk] => split_chunk(chunk, most),
                    _ => Ok(Vec::new()),
                };
                match parts {
                    Ok(parts) => self.split(batch, most, &parts).await,
                    Err(error) => self.dead(batch, &error.to_string(), None).await,
                }
            }
            Plan::Disable => {
                let reason = format!("{}: the receiver is gone", attempt.problem());
                tracing::warn!(webhook.id = %webhook_id, event.id = %batch.event, reason, "a webhook is switched off");
                self.disable(webhook, &reason).await
            }
            Plan::GiveUp => {
                let reason = problem(&attempt, batch);
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
                Ok(Step::Next(self.settle_as(batch, outcome, go_on).await?))
            }
        }
    }

    /// Events of their own for records that were refused.
    fn refused(&self, batch: &Batch, refused: Vec<Refusal>) -> Vec<RefusedRecord> {
        if refused.is_empty() {
            return Vec::new();
        }
        tracing::warn!(run.id = self.source.run_id(), event.id = %batch.event, records = refused.len(),
            "the receiver refused records; they are dead letters now");
        let singles = single_records(batch, |seq| {
            refused
                .binary_search_by_key(&seq, |refusal| refusal.seq)
                .is_ok()
        });
        // A chunk that can't be read was never sent.
        let singles = singles.unwrap_or_default();
        let letters = singles.into_iter().zip(refused);
        letters
            .map(|(single, refusal)| RefusedRecord {
                event: single.event,
                body: self.record_bytes(&single).unwrap_or_default(),
                seq: refusal.seq,
                reason: refusal.reason,
            })
            .collect()
    }

    async fn again(
        &self,
        batch: &Batch,
        webhook: &Target,
        again: Again<'_>,
        reason: &str,
    ) -> Result<Step, LoadError> {
        let store = &self.context.store;
        let outage =
            until_available(|| store.retry_delivery(self.handle, batch.event, again)).await?;
        if let Some(outage) = outage {
            self.told(webhook, outage, reason).await?;
        }
        Ok(Step::Ended("retried"))
    }

    async fn split(
        &self,
        batch: &Batch,
        most_bytes: u64,
        parts: &[(u64, Vec<u8>)],
    ) -> Result<Step, LoadError> {
        let store = &self.context.store;
        let split = || store.split_batch(self.handle, batch.event, most_bytes, parts);
        Ok(Step::Next(self.repeated(split).await?))
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
        Ok(Step::Next(self.settle_as(batch, outcome, true).await?))
    }

    async fn settle_as(
        &self,
        batch: &Batch,
        outcome: Outcome<'_>,
        go_on: bool,
    ) -> Result<NextBatch, LoadError> {
        let store = &self.context.store;
        self.repeated(|| store.settle_batch(self.handle, batch.event, outcome, go_on))
            .await
    }

    /// Changes the batch in flight, and finds its way when an earlier answer of the store was lost.
    async fn repeated<F>(&self, mut change: impl FnMut() -> F) -> Result<NextBatch, LoadError>
    where
        F: Future<Output = StoreResult<NextBatch>>,
    {
        let mut calls = 0_u32;
        let changed = until_available(|| {
            calls += 1;
            change()
        })
        .await?;
        if calls > 1 && changed == NextBatch::Stale {
            // Perhaps the first call did it: then the next batch is ours to take.
            return Ok(until_available(|| self.context.store.take_batch(self.handle)).await?);
        }
        Ok(changed)
    }
}
