//! Sending what a stream has, batch by batch.
//!
//! Triggered when a stream gets something to send; there is one such task a stream
//! at most, and it has one batch in flight, or as many as the webhook's `window`
//! allows. Each batch is frozen before it is sent and settled by one script that also
//! takes the next. Sending one twice is harmless to us and told by its id to the
//! receiver. What isn't accepted is dealt with once nothing else is in flight: then it
//! is at the head of its stream. The task ends when the stream has nothing
//! that may go, is delayed after a failure, and waits with the webhook's lane while
//! the receiver is away, asked for a pause, or is switched off.

mod answer;
mod bytes;
mod refusals;
mod webhook;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use futures::{StreamExt, stream::FuturesUnordered};
use shared::{
    clock::Timestamp,
    delivery::{self, Attempt, Message, Target},
    ids::EventId,
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
    let plan = webhook.as_ref().map(|webhook| &webhook.delivery);
    let handle = DeliveryHandle {
        task: claim.id.clone(),
        token: claim.token.clone(),
        source,
        stream,
        per_second: plan.and_then(|plan| plan.rate_per_second).unwrap_or(0),
        window: plan.map_or(1, |plan| plan.window),
    };
    let delivery = Delivery {
        context,
        claim,
        slot,
        source: &delivered,
        handle: &handle,
        turn_ends: Instant::now() + TURN,
        waited: AtomicBool::new(false),
    };
    delivery.run().await
}

struct Delivery<'a> {
    context: &'a Context,
    claim: &'a Claim,
    slot: &'a Slot,
    source: &'a DeliveredSource,
    handle: &'a DeliveryHandle,
    turn_ends: Instant,
    /// Whether the slot was given to another task.
    waited: AtomicBool,
}

/// A batch that was sent, and what came of it.
struct Sent {
    batch: Batch,
    webhook: Arc<Target>,
    body: ::bytes::Bytes,
    attempt: Attempt,
}

/// What becomes of a batch before it is sent.
enum Prepared {
    Send(Arc<Target>, Message),
    Step(Step),
    /// Not while others are in flight.
    Later,
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
        let mut flight = FuturesUnordered::new();
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
                            taken.push(batch.event);
                            flight.push(self.send(batch, webhook, message));
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
            if !full && flight.len() < self.handle.window as usize && !flight.is_empty() {
                next = Some(self.take(&taken).await?);
                continue;
            }
            let step = if let Some(sent) = flight.next().await {
                let plan = self.plan(&sent);
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
                taken.clear();
                full = false;
                failed.sort_unstable_by_key(|(sent, _)| std::cmp::Reverse(sent.batch.first_seq));
                let first = failed.pop();
                failed.clear();
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

    /// Whether another batch is sent in this turn. A task that waited has no slot any more, so its turn is over.
    fn goes_on(&self) -> bool {
        !self.waited.load(Ordering::Relaxed) && Instant::now() < self.turn_ends
    }

    /// `alone`: nothing is in flight, so the batch is at the head of its stream and the task may be given back.
    async fn prepare(
        &self,
        batch: &Batch,
        rescues: u32,
        alone: bool,
    ) -> Result<Prepared, LoadError> {
        if !alone {
            return self.prepare_further(batch).await;
        }
        let step = match webhook::open(self.context, self.claim, self.source).await? {
            Opened::Ended(word) => Step::Ended(word),
            Opened::Ready(None) => {
                let reason = "the webhook was deleted";
                self.dead(batch, reason, Some("webhook_deleted")).await?
            }
            Opened::Ready(Some(_)) if rescues > MAX_RESCUES => {
                let reason = "the worker crashed each time it sent this batch";
                self.dead(batch, reason, None).await?
            }
            Opened::Ready(Some(webhook)) => {
                if let Some(parts) = parts_of(batch) {
                    self.split(batch, batch.most_bytes, &parts).await?
                } else {
                    match self.bytes(batch).await? {
                        Ok(body) => return Ok(Prepared::Send(webhook, message(batch, body))),
                        Err(reason) => self.dead(batch, &reason, None).await?,
                    }
                }
            }
        };
        Ok(Prepared::Step(step))
    }

    /// A batch beside others in flight is sent if nothing is in the way.
    async fn prepare_further(&self, batch: &Batch) -> Result<Prepared, LoadError> {
        let (environment, id) = (self.source.environment(), self.source.webhook());
        let webhook = match self.context.webhook(environment, id).await {
            Ok(Some(webhook)) if webhook.active && parts_of(batch).is_none() => webhook,
            Ok(_) => return Ok(Prepared::Later),
            Err(LoadError::Store(error)) => return Err(error.into()),
            // It is told once it stands in the way of the task.
            Err(_) => return Ok(Prepared::Later),
        };
        Ok(match self.bytes(batch).await? {
            Ok(body) => Prepared::Send(webhook, message(batch, body)),
            Err(_) => Prepared::Later,
        })
    }

    /// Sends once; while the receiver takes its time, another task gets the slot.
    async fn send(&self, batch: Batch, webhook: Arc<Target>, message: Message) -> Sent {
        let attempt = {
            let sent = delivery::send(&self.context.outbound, &webhook, &message);
            tokio::pin!(sent);
            let early = tokio::select! {
                attempt = &mut sent => Some(attempt),
                () = tokio::time::sleep(SLOT_HELD) => None,
            };
            match early {
                Some(attempt) => attempt,
                None => {
                    if !self.waited.swap(true, Ordering::Relaxed) {
                        let chunks: usize = batch.chunks.iter().map(Vec::len).sum();
                        let window = self.handle.window as usize;
                        self.slot.wait((chunks + message.body.len()) * window);
                    }
                    sent.await
                }
            }
        };
        let sent = delivery::Sent {
            webhook: self.source.webhook(),
            event: batch.event,
            event_type: &batch.event_type,
            run: self.source.run(),
            number: batch.attempts + 1,
        };
        let record = attempt.record(&sent, &webhook.secrets);
        self.context.attempts.note(record);
        Sent {
            batch,
            webhook,
            body: message.body,
            attempt,
        }
    }

    fn plan(&self, sent: &Sent) -> Plan {
        let retry = &sent.webhook.delivery.retry;
        let now = Timestamp::now();
        let plan = answer::plan(&sent.attempt, &sent.batch, retry, now, rand::random());
        measure::delivery(plan.word(), sent.attempt.elapsed, sent.batch.records);
        plan
    }

    /// `taken`: others in flight; only what was delivered is settled beside them.
    async fn settle(
        &self,
        sent: Sent,
        plan: Plan,
        go_on: bool,
        taken: &[EventId],
    ) -> Result<Step, LoadError> {
        let (run, webhook_id) = (self.source.run_id(), self.source.webhook());
        let Sent {
            batch,
            webhook,
            body,
            attempt,
        } = &sent;
        match plan {
            Plan::Delivered { status, refused } => {
                let refused = self.refused(batch, webhook, refused);
                let outcome = Outcome::Delivered {
                    status,
                    refused: &refused,
                    stops_run: None,
                };
                let next = self.settle_as(batch, outcome, go_on, taken).await?;
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
                let next = self.settle_as(batch, outcome, go_on, taken).await?;
                Ok(Step::Next(next))
            }
            Plan::Retry { delay } => {
                let reason = attempt.problem();
                tracing::warn!(run.id = run, webhook.id = %webhook_id, event.id = %batch.event,
                    attempt = batch.attempts + 1, delay_ms = delay.as_millis(), error = %problem(attempt, batch),
                    "a delivery was not accepted and will be tried again");
                let again = Again::Failed {
                    delay,
                    plan: &webhook.delivery.retry,
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
                let reason = problem(attempt, batch);
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
                Ok(Step::Next(
                    self.settle_as(batch, outcome, go_on, taken).await?,
                ))
            }
        }
    }

    /// Events of their own for records that were refused.
    fn refused(
        &self,
        batch: &Batch,
        webhook: &Target,
        refused: Vec<Refusal>,
    ) -> Vec<RefusedRecord> {
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
                reason: webhook.secrets.redact(&refusal.reason),
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
        let split = || store.split_batch(self.handle, batch, most_bytes, parts);
        Ok(Step::Next(self.repeated(split, &[]).await?))
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
        Ok(Step::Next(self.settle_as(batch, outcome, true, &[]).await?))
    }

    async fn settle_as(
        &self,
        batch: &Batch,
        outcome: Outcome<'_>,
        go_on: bool,
        taken: &[EventId],
    ) -> Result<NextBatch, LoadError> {
        let store = &self.context.store;
        let settle = || store.settle_batch(self.handle, batch.event, outcome, go_on, taken);
        self.repeated(settle, taken).await
    }

    /// Changes the batch in flight, and finds its way when an earlier answer of the store was lost.
    async fn repeated<F>(
        &self,
        mut change: impl FnMut() -> F,
        taken: &[EventId],
    ) -> Result<NextBatch, LoadError>
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
            return self.take(taken).await;
        }
        Ok(changed)
    }
}

fn message(batch: &Batch, body: ::bytes::Bytes) -> Message {
    Message {
        id: batch.event.to_string(),
        body,
    }
}

/// The parts of a batch that is known to be too large for the receiver.
fn parts_of(batch: &Batch) -> Option<Vec<(u64, Vec<u8>)>> {
    let [chunk] = &batch.chunks[..] else {
        return None;
    };
    let most = batch.most_bytes;
    if most == 0 || batch.records < 2 || chunk.len() as u64 <= most {
        return None;
    }
    // One that can't be read can't be sent either, which is told when that is tried.
    split_chunk(chunk, most).ok()
}
