//! What becomes of a batch after it was sent, or given up.

use shared::{
    clock::Timestamp,
    delivery::{Attempt, Target},
    failure::FailurePoint,
    ids::EventId,
    model::{
        chunk::{single_records, split_chunk},
        dead_letter::Cause,
        event::Batch,
    },
    store::{
        StoreResult,
        deliveries::{Again, NextBatch, Outcome, RefusedRecord},
    },
};

use super::{
    Delivery, Sent, Step,
    answer::{self, Plan, problem},
    refusals::Refusal,
};
use crate::{context::LoadError, measure, tasks::patience::until_available};

/// The code of a run that its receiver stopped.
const STOPPED_BY_RECEIVER: &str = "stopped_by_receiver";

/// What follows from the attempt.
pub(super) fn plan(sent: &mut Sent) -> Plan {
    let refused = std::mem::take(&mut sent.refused);
    let accepted = sent.batch.records.saturating_sub(refused.len() as u64);
    let retry = &sent.webhook.delivery.retry;
    let (now, random) = (Timestamp::now(), rand::random());
    let plan = answer::plan(&sent.attempt, refused, &sent.batch, retry, now, random);
    measure::delivery(plan.word(), sent.attempt.elapsed, accepted);
    plan
}

/// What went wrong, for others than the webhook's owner: where a redirect leads may repeat what is secret of the target.
pub(in crate::tasks) fn shown(attempt: &Attempt) -> String {
    match &attempt.result {
        Ok(answered) => format!("the receiver answered {}", answered.status),
        Err(failed) => failed.message.clone(),
    }
}

impl Delivery<'_> {
    /// `taken`: others in flight; only what was delivered is settled beside them.
    pub(super) async fn settle(
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
            refused: _,
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
                let reason = shown(attempt);
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
                let reason = shown(attempt);
                tracing::warn!(run.id = run, webhook.id = %webhook_id, event.id = %batch.event,
                    pause_ms = pause.as_millis(), error = %reason, "the receiver asked for a pause");
                let elapsed = attempt.elapsed;
                self.again(batch, webhook, Again::Asked { pause, elapsed }, &reason)
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
                    // One that takes nothing so large still takes others.
                    failure: (attempt.status() != Some(413))
                        .then_some((&webhook.delivery.retry, rand::random())),
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

    pub(super) async fn split(
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
        if batch.is_terminal() {
            tracing::info!(run.id = run, event = batch.event_type, event.id = %batch.event, attempt, "run ended; its last event was acknowledged");
        } else {
            tracing::debug!(run.id = run, event = batch.event_type, event.id = %batch.event, records = batch.records, attempt, status, "delivered");
        }
    }

    /// Gives a batch up without sending it.
    pub(super) async fn dead(
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
            failure: None,
            ends_run,
        };
        let go_on = self.goes_on();
        Ok(Step::Next(
            self.settle_as(batch, outcome, go_on, &[]).await?,
        ))
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
        let next = self.repeated(settle, taken).await?;
        if batch.is_terminal() && next == NextBatch::None {
            FailurePoint::EndSettled.reach()?;
        }
        Ok(next)
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
