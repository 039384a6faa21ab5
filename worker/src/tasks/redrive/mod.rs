//! Sending dead letters again, one by one, in the order of their events.
//!
//! Triggered by a redrive that was made; it has one task. Each letter is settled by
//! one script that also moves the cursor, so whoever takes the task up again goes on
//! with the first letter that isn't settled. Sending one twice is told by its id to
//! the receiver. Letters that were given up after the redrive was made aren't part of
//! it. The task ends when all letters are dealt with, the redrive was cancelled or
//! the webhook deleted; it is delayed after a failure, and waits with the webhook's lane
//! while the receiver is away, asked for a pause, or is switched off.

use std::time::{Duration, Instant};

use shared::{
    clock::Timestamp,
    delivery::{Attempt, Message, Sent, Target},
    failure::FailurePoint,
    ids::{EventId, RedriveId},
    model::{
        dead_letter::{Cause, DeadLetter},
        event::Batch,
        redrive::{Redrive, RedriveStatus},
    },
    queue::Slot,
    store::{
        queue::{Claim, MAX_RESCUES, Queue},
        redrives::{
            LetterOutcome, RedriveHandle, RedriveState, RedriveStep, RedriveWait, TakenLetter,
        },
        webhooks::DISABLED_AFTER,
    },
};

use super::{
    deliver::{
        answer::{self, Plan},
        refusals::{Refusal, take_refused},
        send::send_patiently,
        settle::shown,
        webhook::{self, Opened},
    },
    patience::until_available,
};
use crate::{
    context::{Context, DeliveredSource, LoadError},
    measure,
};

/// Attempts at one letter in one redrive.
const MAX_TRIES: u32 = 5;
/// After so long the task goes to the end of its lane, so that the webhook's streams get their turn.
const TURN: Duration = Duration::from_secs(2);
/// The longest pause between two letters that a worker waits for; longer ones delay the task.
const LONGEST_SLEEP: Duration = Duration::from_millis(100);

/// Runs the task; the word is its outcome in metrics and logs.
///
/// # Errors
/// What the store can't do; the task stays claimed and is rescued.
pub async fn execute(
    context: &Context,
    claim: &Claim,
    slot: &Slot,
    id: RedriveId,
) -> Result<&'static str, LoadError> {
    let store = &context.store;
    let Some(state) = until_available(|| store.redrive(id)).await? else {
        until_available(|| store.finish_task(Queue::Deliveries, &claim.id, &claim.token)).await?;
        return Ok("dropped");
    };
    let handle = RedriveHandle {
        task: claim.id.clone(),
        token: claim.token.clone(),
        redrive: id,
    };
    let source = DeliveredSource::Outbox {
        environment: state.environment,
        webhook: state.redrive.webhook_id,
    };
    let redriving = Redriving {
        context,
        claim,
        slot,
        handle,
        source,
        state,
        turn_ends: Instant::now() + TURN,
    };
    redriving.run().await
}

struct Redriving<'a> {
    context: &'a Context,
    claim: &'a Claim,
    slot: &'a Slot,
    handle: RedriveHandle,
    /// Where the letters go; to which runs they belong doesn't matter for that.
    source: DeliveredSource,
    state: RedriveState,
    turn_ends: Instant,
}

enum Step {
    Next,
    /// Others get their turn.
    Yield,
    /// The task is not ours any more, with this outcome.
    Over(&'static str),
}

/// An attempt at a letter.
struct Tried {
    batch: Batch,
    attempt: Attempt,
    /// What was taken out of the answer.
    refused: Vec<Refusal>,
    began: Instant,
    /// Whether the slot was given to another task meanwhile.
    waited: bool,
}

impl Redriving<'_> {
    async fn run(&self) -> Result<&'static str, LoadError> {
        let (store, redrive) = (&self.context.store, self.redrive());
        let mut seen = self.state.cursor.clone();
        // Leases lost count against the letter that was in work then, not against those after it.
        let mut rescues = self.claim.rescues;
        loop {
            let page = until_available(|| {
                store.dead_letters_after(redrive.webhook_id, &redrive.filter, seen.as_deref())
            })
            .await?;
            for letter in &page.items {
                if letter.dead_at > redrive.created_at {
                    continue;
                }
                match self.letter(letter, std::mem::take(&mut rescues)).await? {
                    Step::Over(word) => return Ok(word),
                    Step::Next if !self.is_turn_over() => {}
                    Step::Next | Step::Yield => return self.turn_over(None).await,
                }
            }
            seen = page.next;
            if seen.is_none() {
                return self.finish(RedriveStatus::Completed, None).await;
            }
            if self.is_turn_over() {
                return self.turn_over(seen.as_deref()).await;
            }
        }
    }

    fn redrive(&self) -> &Redrive {
        &self.state.redrive
    }

    fn is_turn_over(&self) -> bool {
        Instant::now() >= self.turn_ends || self.context.stop.is_cancelled()
    }

    async fn letter(&self, letter: &DeadLetter, rescues: u32) -> Result<Step, LoadError> {
        let (began, redrive) = (Instant::now(), self.redrive());
        let Ok(event) = letter.id.parse::<EventId>() else {
            tracing::error!(redrive.id = %redrive.id, event.id = letter.id, "a dead letter without an event's id is left out");
            return Ok(Step::Next);
        };
        let webhook = match webhook::open(self.context, self.claim, &self.source).await? {
            Opened::Ready(Some(webhook)) => webhook,
            Opened::Ready(None) => {
                let reason = Some("the webhook was deleted");
                let ended = self.finish(RedriveStatus::Cancelled, reason).await?;
                return Ok(Step::Over(ended));
            }
            Opened::Ended(word) => return Ok(Step::Over(word)),
        };
        let store = &self.context.store;
        let rate = webhook.delivery.rate_per_second.unwrap_or(0);
        let taken = until_available(|| store.take_letter(&self.handle, event, rate)).await?;
        let (tries, failing, body) = match taken {
            TakenLetter::Letter {
                tries,
                failing,
                body,
            } => (tries, failing, body),
            TakenLetter::Gone => return Ok(Step::Next),
            TakenLetter::Paced | TakenLetter::Ended => return Ok(Step::Over("done")),
            TakenLetter::Stale => return Ok(Step::Over("stale")),
        };
        let unsendable = if rescues > MAX_RESCUES {
            Some("the worker crashed each time it sent this letter")
        } else {
            let reason =
                "its bytes could not be made when it was given up; there is nothing to send";
            body.is_empty().then_some(reason)
        };
        if let Some(reason) = unsendable {
            let outcome = LetterOutcome::Failed {
                status: None,
                cause: Cause::Broken,
                reason,
                sent: false,
            };
            return self.settle(event, outcome, began, false).await;
        }
        let message = Message {
            id: letter.id.clone(),
            body,
        };
        let mut waited = false;
        let mut attempt = send_patiently(self.context, &webhook, &message, || {
            self.slot.wait(message.body.len(), 1);
            waited = true;
        })
        .await;
        FailurePoint::LetterAnswered.reach()?;
        let sent = Sent {
            webhook: redrive.webhook_id,
            event,
            event_type: &letter.event,
            run: letter
                .sync_job_run_id
                .as_deref()
                .and_then(|id| id.parse().ok()),
            number: letter.attempts.saturating_add(1),
        };
        let batch = as_batch(event, letter, tries, failing);
        let refused = take_refused(&mut attempt, &batch);
        let record = attempt.record(&sent, &webhook.secrets);
        self.context.attempts.note(record);
        let tried = Tried {
            batch,
            attempt,
            refused,
            began,
            waited,
        };
        self.answered(&webhook, tried).await
    }

    /// The plan is that of every delivery, but for when to give up; and a letter stays as it is: it is neither split, nor
    /// are records taken out of it that the receiver refused.
    async fn answered(&self, webhook: &Target, mut tried: Tried) -> Result<Step, LoadError> {
        let refused = std::mem::take(&mut tried.refused);
        let (retry, attempt, batch) = (&webhook.delivery.retry, &tried.attempt, &tried.batch);
        let (now, random) = (Timestamp::now(), rand::random());
        let plan = answer::plan(attempt, refused, batch, retry, now, random);
        let (redrive, event) = (self.redrive().id, batch.event);
        let measured = |word| measure::delivery(word, attempt.elapsed, batch.records);
        match plan {
            Plan::Delivered { status, refused } if refused.is_empty() => {
                measured("delivered");
                tracing::debug!(redrive.id = %redrive, event.id = %event, records = batch.records, status, "a dead letter was accepted");
                let outcome = LetterOutcome::Delivered { status };
                self.settle(event, outcome, tried.began, tried.waited).await
            }
            Plan::Retry { delay } if tried.batch.attempts + 1 < MAX_TRIES => {
                measured("retried");
                let reason = attempt.problem();
                tracing::warn!(redrive.id = %redrive, event.id = %event, attempt = tried.batch.attempts + 1, delay_ms = delay.as_millis(),
                    error = %reason, "a dead letter was not accepted and will be tried again");
                let wait = RedriveWait::Failed {
                    event,
                    reason: &reason,
                    delay,
                    plan: retry,
                    random: rand::random(),
                };
                let word = self.wait(wait, "retried").await?;
                self.switch_off_if_dead(webhook, &shown(attempt)).await?;
                Ok(Step::Over(word))
            }
            Plan::Pause(pause) => {
                measured("retried");
                let reason = attempt.problem();
                tracing::warn!(redrive.id = %redrive, event.id = %event, pause_ms = pause.as_millis(), error = %reason,
                    "the receiver asked for a pause");
                let reason = &reason;
                let elapsed = attempt.elapsed;
                let wait = RedriveWait::Asked {
                    pause,
                    elapsed,
                    reason,
                };
                let word = self.wait(wait, "retried").await?;
                self.switch_off_if_dead(webhook, &shown(attempt)).await?;
                Ok(Step::Over(word))
            }
            Plan::Disable => {
                measured("webhook_off");
                let reason = format!("{}: the receiver is gone", attempt.problem());
                self.switch_off(webhook, &reason).await
            }
            plan => {
                measured("dead");
                let reason = tried.problem(&plan, webhook);
                tracing::warn!(redrive.id = %redrive, event.id = %event, attempts = tried.batch.attempts + 1, error = %reason,
                    "a dead letter was given up once more");
                let outcome = LetterOutcome::Failed {
                    status: attempt.status(),
                    cause: Cause::Refused,
                    reason: &reason,
                    sent: true,
                };
                self.settle(event, outcome, tried.began, tried.waited).await
            }
        }
    }

    /// Switches the webhook off; the redrive waits with its lane.
    async fn switch_off(&self, webhook: &Target, reason: &str) -> Result<Step, LoadError> {
        let (environment, id) = (self.state.environment, self.redrive().webhook_id);
        tracing::warn!(webhook.id = %id, redrive.id = %self.redrive().id, reason, "a webhook is switched off");
        let store = &self.context.store;
        until_available(|| store.disable_webhook(environment, id, &webhook.url, reason)).await?;
        self.context.forget_webhook(id).await;
        match webhook::open(self.context, self.claim, &self.source).await? {
            Opened::Ended(word) => Ok(Step::Over(word)),
            // It was changed meanwhile: the letter is tried again, there.
            Opened::Ready(_) => Ok(Step::Yield),
        }
    }

    /// A receiver that has taken nothing for days is given up, whoever tried it.
    async fn switch_off_if_dead(&self, webhook: &Target, reason: &str) -> Result<(), LoadError> {
        let (store, id) = (&self.context.store, self.redrive().webhook_id);
        let health = until_available(|| store.webhook_health(id)).await?;
        let Some(since) = health.failing_since else {
            return Ok(());
        };
        let now = Timestamp(until_available(|| store.now_ms()).await?);
        if now.since(since) >= DISABLED_AFTER {
            webhook::switch_off_dead(self.context, &self.source, webhook, reason).await?;
        }
        Ok(())
    }

    /// Settles a letter whose attempt began at `began`, and keeps the pace.
    async fn settle(
        &self,
        event: EventId,
        outcome: LetterOutcome<'_>,
        began: Instant,
        waited: bool,
    ) -> Result<Step, LoadError> {
        let rate = self.redrive().rate_per_second;
        let spacing = rate.map(|rate| Duration::from_secs(1) / rate.max(1));
        let gap = spacing.unwrap_or_default().saturating_sub(began.elapsed());
        let pause = (gap > LONGEST_SLEEP).then_some(gap);
        let store = &self.context.store;
        let settled =
            until_available(|| store.settle_letter(&self.handle, event, outcome, pause)).await?;
        match (settled, pause) {
            (RedriveStep::Done, None) => {
                tokio::time::sleep(gap).await;
                // A task that waited has no slot any more, so its turn is over.
                Ok(if waited { Step::Yield } else { Step::Next })
            }
            (RedriveStep::Done, Some(_)) | (RedriveStep::Ended, _) => Ok(Step::Over("done")),
            (RedriveStep::Stale, _) => Ok(Step::Over("stale")),
        }
    }

    async fn turn_over(&self, cursor: Option<&str>) -> Result<&'static str, LoadError> {
        self.wait(RedriveWait::Turn { cursor }, "done").await
    }

    async fn wait(
        &self,
        wait: RedriveWait<'_>,
        word: &'static str,
    ) -> Result<&'static str, LoadError> {
        let store = &self.context.store;
        until_available(|| store.delay_redrive(&self.handle, wait)).await?;
        Ok(word)
    }

    async fn finish(
        &self,
        status: RedriveStatus,
        reason: Option<&str>,
    ) -> Result<&'static str, LoadError> {
        let (store, id) = (&self.context.store, self.redrive().id);
        until_available(|| store.finish_redrive(&self.handle, status, reason)).await?;
        tracing::info!(redrive.id = %id, status = status.as_str(), reason, "redrive ended");
        Ok("done")
    }
}

/// A letter as the plan of deliveries looks at it: a batch that can't be taken apart. `tries`: of this redrive, before this
/// one; `failing`: since the first of them.
fn as_batch(event: EventId, letter: &DeadLetter, tries: u32, failing: Duration) -> Batch {
    Batch {
        event,
        created_ms: letter.created_at.0,
        event_type: letter.event.clone(),
        first_seq: letter.first_seq.unwrap_or(0),
        records: letter.count,
        attempts: tries,
        failing,
        most_bytes: 0,
        chunks: Vec::new(),
    }
}

impl Tried {
    /// Why the letter was given up, for people.
    fn problem(&self, plan: &Plan, webhook: &Target) -> String {
        match plan {
            Plan::Delivered { refused, .. } => {
                let (refusals, records) = (refused.len(), self.batch.records);
                let reason = refused.first().map(|refusal| refusal.reason.as_str());
                let reason = webhook.secrets.redact(reason.unwrap_or_default());
                format!("the receiver refused {refusals} of {records} records: {reason}")
            }
            _ => self.attempt.problem(),
        }
    }
}

#[cfg(test)]
mod tests;
