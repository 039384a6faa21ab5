//! The log of delivery attempts: what was tried lately, for people who look for the
//! cause of a failure.
//!
//! State: two streams a webhook, the newest [`KEPT_DELIVERED`] attempts that
//! succeeded and the newest [`KEPT_FAILED`] that didn't, so that successes don't push
//! failures out. An entry is one [`AttemptRecord`] as JSON. Entries past the retention
//! time go when the next attempt of their webhook is written, and a stream to which
//! nothing was written for that long goes by itself. Both go with their webhook; what a
//! worker still writes then, about a delivery that was under way, expires too.
//!
//! The log proves nothing and holds up nothing: [`AttemptLog::note`] never waits, and
//! an attempt that can't be written (the queue to the writer is full, Redis is away or
//! full) is counted in `syncline_lost_attempts_total` and forgotten.

use std::{collections::BTreeSet, time::Duration};

use metrics::counter;
use redis::{
    AsyncCommands,
    streams::{StreamId, StreamMaxlen, StreamRangeReply},
};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{Outage, Page, PageRequest, Store, StoreError, StoreResult, queue::millis};
use crate::{
    clock::Timestamp,
    failure::FailurePoint,
    ids::{EventId, RunId, WebhookId},
    model::attempt::{AttemptOutcome, AttemptRecord},
    telemetry::metrics::LOST_ATTEMPTS,
};

/// Successes kept of one webhook; Redis trims in blocks, so there may be some more.
pub const KEPT_DELIVERED: usize = 1_000;
/// Failures kept of one webhook, as above.
pub const KEPT_FAILED: usize = 1_000;
/// Attempts that wait to be written in one process; each some 3 KiB, 7 KiB at most.
pub const QUEUED: usize = 2_048;
/// Attempts written in one round trip.
const WRITTEN_AT_ONCE: usize = 128;
/// Entries of a stream that are read at once for a filtered list.
const CHUNK: usize = 200;
/// Entries looked at for one page of a filtered list; then the page ends short, with a cursor.
const MAX_SCANNED: usize = 1_000;
/// The one field of an entry.
const FIELD: &str = "attempt";
const DAY: Duration = Duration::from_hours(24);

/// Which attempts are listed; `None`: all.
#[derive(Debug, Clone, Default)]
pub struct AttemptFilter {
    pub event: Option<EventId>,
    pub run: Option<RunId>,
    pub outcome: Option<AttemptOutcome>,
}

impl AttemptFilter {
    /// Whether it leaves nothing out of the streams that are read.
    fn keeps_all(&self) -> bool {
        self.event.is_none() && self.run.is_none()
    }

    fn keeps(&self, attempt: &AttemptRecord) -> bool {
        self.event.is_none_or(|event| attempt.event_id == event)
            && self
                .run
                .is_none_or(|run| attempt.sync_job_run_id == Some(run))
    }
}

/// Takes attempts for the writer; cheap to clone.
#[derive(Debug, Clone)]
pub struct AttemptLog(mpsc::Sender<AttemptRecord>);

/// Writes what the log took, many at once.
#[derive(Debug)]
pub struct AttemptWriter {
    queue: mpsc::Receiver<AttemptRecord>,
    retention_days: u32,
}

/// A log and its writer, which must be run.
#[must_use]
pub fn attempt_log(retention_days: u32) -> (AttemptLog, AttemptWriter) {
    let (sender, queue) = mpsc::channel(QUEUED);
    let writer = AttemptWriter {
        queue,
        retention_days,
    };
    (AttemptLog(sender), writer)
}

impl AttemptLog {
    /// Takes an attempt for writing; counts it as lost when the writer is behind.
    pub fn note(&self, attempt: AttemptRecord) {
        if self.0.try_send(attempt).is_err() {
            lost(1);
        }
    }
}

impl AttemptWriter {
    /// Writes until `stop`, then what is left, up to the first failure.
    pub async fn run(mut self, store: &Store, stop: CancellationToken) {
        let mut taken = Vec::with_capacity(WRITTEN_AT_ONCE);
        let mut outage = Outage::of("logging attempts at delivering");
        loop {
            let next = self.queue.recv_many(&mut taken, WRITTEN_AT_ONCE);
            if stop
                .run_until_cancelled(next)
                .await
                .is_none_or(|got| got == 0)
            {
                break;
            }
            match self.write(store, &mut taken).await {
                Ok(()) => {
                    outage.over();
                }
                Err(error) => outage.goes_on(&error),
            }
        }
        self.queue.close();
        while self.queue.recv_many(&mut taken, WRITTEN_AT_ONCE).await > 0 {
            if let Err(error) = self.write(store, &mut taken).await {
                let left = self.queue.len();
                lost(left);
                tracing::warn!(%error, left, "the last attempts at delivering could not be logged");
                return;
            }
        }
    }

    /// Leaves `taken` empty.
    async fn write(&self, store: &Store, taken: &mut Vec<AttemptRecord>) -> StoreResult<()> {
        let written = store.write_attempts(taken, self.retention_days).await;
        taken.clear();
        written
    }
}

fn lost(attempts: usize) {
    counter!(LOST_ATTEMPTS).increment(attempts as u64);
}

impl Store {
    /// Adds attempts to the logs of their webhooks, in one round trip. They are not
    /// tried again: when this fails, they are counted as lost.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn write_attempts(
        &self,
        attempts: &[AttemptRecord],
        retention_days: u32,
    ) -> StoreResult<()> {
        let written = self.add_attempts(attempts, retention_days).await;
        if written.is_err() {
            lost(attempts.len());
        }
        written
    }

    async fn add_attempts(
        &self,
        attempts: &[AttemptRecord],
        retention_days: u32,
    ) -> StoreResult<()> {
        let retention_ms = millis(DAY * retention_days);
        let oldest = Timestamp::now().0.saturating_sub_unsigned(retention_ms);
        let webhooks: BTreeSet<_> = attempts.iter().map(|attempt| attempt.webhook_id).collect();
        let mut pipeline = redis::pipe();
        for attempt in attempts {
            let key = self.keys().attempts(attempt.webhook_id, attempt.outcome);
            let json = serde_json::to_string(attempt)
                .map_err(|error| StoreError::Unexpected(error.to_string()))?;
            let kept = StreamMaxlen::Approx(kept(attempt.outcome));
            pipeline
                .xadd_maxlen(&key, kept, "*", &[(FIELD, json)])
                .ignore()
                .cmd("PEXPIRE")
                .arg(&key)
                .arg(retention_ms)
                .ignore();
        }
        // Entries are named after the time at which they were written, in ms.
        for webhook in webhooks {
            for outcome in [AttemptOutcome::Delivered, AttemptOutcome::Failed] {
                pipeline
                    .cmd("XTRIM")
                    .arg(self.keys().attempts(webhook, outcome))
                    .arg("MINID")
                    .arg(oldest)
                    .ignore();
            }
        }
        FailurePoint::AttemptsLogged.reach()?;
        let () = pipeline.query_async(&mut self.connection()).await?;
        Ok(())
    }

    /// Attempts at a webhook, newest first, of both outcomes in the order in which they
    /// were written.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn attempts(
        &self,
        webhook: WebhookId,
        filter: &AttemptFilter,
        page: &PageRequest,
    ) -> StoreResult<Page<AttemptRecord>> {
        let limit = page.limit as usize;
        let at_once = if filter.keeps_all() { limit + 1 } else { CHUNK };
        let mut after = page.after.as_deref().and_then(Place::read);
        let mut items = Vec::new();
        let mut scanned = 0;
        loop {
            let (rows, more) = self
                .attempts_after(webhook, filter.outcome, after, at_once)
                .await?;
            for (place, entry) in rows {
                if items.len() == limit || scanned == MAX_SCANNED {
                    let next = after.map(|place| place.to_string());
                    return Ok(Page { items, next });
                }
                scanned += 1;
                after = Some(place);
                let attempt = attempt_of(&entry)?;
                if filter.keeps(&attempt) {
                    items.push(attempt);
                }
            }
            if !more {
                return Ok(Page { items, next: None });
            }
        }
    }

    /// The entries after a place, newest first, and whether there may be more of them.
    async fn attempts_after(
        &self,
        webhook: WebhookId,
        outcome: Option<AttemptOutcome>,
        after: Option<Place>,
        at_once: usize,
    ) -> StoreResult<(Vec<(Place, StreamId)>, bool)> {
        let outcomes = match outcome {
            Some(outcome) => vec![outcome],
            None => vec![AttemptOutcome::Delivered, AttemptOutcome::Failed],
        };
        let mut pipeline = redis::pipe();
        for outcome in &outcomes {
            let key = self.keys().attempts(webhook, *outcome);
            let newest = after.map_or_else(|| "+".to_owned(), |place| place.newest_of(*outcome));
            pipeline.xrevrange_count(key, newest, "-", at_once);
        }
        let replies: Vec<StreamRangeReply> = pipeline.query_async(&mut self.connection()).await?;
        let mut rows = Vec::new();
        let mut more = false;
        // Below the last entry of a chunk that was cut there may be some that were not read.
        let mut known_down_to = None;
        for (outcome, reply) in outcomes.into_iter().zip(replies) {
            let cut = reply.ids.len() == at_once;
            for entry in reply.ids {
                let place = Place::of(&entry.id, outcome).ok_or_else(|| {
                    StoreError::Unexpected(format!("no id of a stream: {}", entry.id))
                })?;
                rows.push((place, entry));
            }
            if cut {
                more = true;
                known_down_to = known_down_to.max(rows.last().map(|(place, _)| *place));
            }
        }
        rows.sort_unstable_by_key(|(place, _)| std::cmp::Reverse(*place));
        rows.retain(|(place, _)| known_down_to.is_none_or(|known| *place >= known));
        Ok((rows, more))
    }

    /// Forgets the attempts at a webhook.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn forget_attempts(&self, webhook: WebhookId) -> StoreResult<()> {
        let keys = [AttemptOutcome::Delivered, AttemptOutcome::Failed]
            .map(|outcome| self.keys().attempts(webhook, outcome));
        let _removed: u64 = self.connection().unlink(&keys).await?;
        Ok(())
    }
}

fn kept(outcome: AttemptOutcome) -> usize {
    match outcome {
        AttemptOutcome::Delivered => KEPT_DELIVERED,
        AttemptOutcome::Failed => KEPT_FAILED,
    }
}

/// The attempt of an entry.
pub(super) fn attempt_of(entry: &StreamId) -> StoreResult<AttemptRecord> {
    let json: String = entry.get(FIELD).unwrap_or_default();
    serde_json::from_str(&json)
        .map_err(|error| StoreError::Unexpected(format!("the attempt {}: {error}", entry.id)))
}

/// Where an entry stands among those of both streams: `<ms>-<number>-<outcome>`. Both
/// streams get their ids from Redis's clock; where they are the same, the successes are newer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    ms: u64,
    number: u64,
    delivered: bool,
}

/// Whether `row` is where a page of attempts may end.
#[must_use]
pub fn is_attempt_cursor(row: &str) -> bool {
    Place::read(row).is_some()
}

impl Place {
    fn of(id: &str, outcome: AttemptOutcome) -> Option<Self> {
        let (ms, number) = id.split_once('-')?;
        Some(Self {
            ms: ms.parse().ok()?,
            number: number.parse().ok()?,
            delivered: outcome == AttemptOutcome::Delivered,
        })
    }

    fn read(text: &str) -> Option<Self> {
        let (id, outcome) = text.rsplit_once('-')?;
        let outcome = match outcome {
            "d" => AttemptOutcome::Delivered,
            "f" => AttemptOutcome::Failed,
            _ => return None,
        };
        Self::of(id, outcome)
    }

    /// From where on entries of an outcome are older than this, for `XREVRANGE`.
    fn newest_of(self, outcome: AttemptOutcome) -> String {
        let (ms, number) = (self.ms, self.number);
        if self.delivered && outcome == AttemptOutcome::Failed {
            format!("{ms}-{number}")
        } else {
            format!("({ms}-{number}")
        }
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let outcome = if self.delivered { 'd' } else { 'f' };
        write!(f, "{}-{}-{outcome}", self.ms, self.number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_a_place_in_both_streams() {
        let place = Place::read("5-2-d").expect("a place");
        assert_eq!(place.to_string(), "5-2-d");
        assert_eq!(place.newest_of(AttemptOutcome::Delivered), "(5-2");
        assert_eq!(place.newest_of(AttemptOutcome::Failed), "5-2");
        let place = Place::read("5-2-f").expect("a place");
        assert_eq!(place.newest_of(AttemptOutcome::Delivered), "(5-2");
        assert_eq!(place.newest_of(AttemptOutcome::Failed), "(5-2");
        for text in ["", "5-2", "5-2-x", "-d", "a-b-d", "5-2-1-d"] {
            assert!(!is_attempt_cursor(text), "{text}");
        }
    }
}
