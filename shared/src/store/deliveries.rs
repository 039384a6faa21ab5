//! What a delivery task does to the store: take a batch, settle it, try it again later.

use std::time::Duration;

use redis::AsyncCommands;

use super::{Store, StoreResult, queue::millis, scripts, scripts::unexpected};
use crate::{
    ids::{EnvironmentId, EventId, RunId, WebhookId},
    model::{dead_letter::Cause, event::Batch, webhook::Retry},
};

/// Settled events listed for one run; older ones make room.
pub const MAX_LISTED_EVENTS: usize = 10_000;
/// Looks at a webhook that is switched off, should its switching on have been missed.
const OFF_LOOK: Duration = Duration::from_hours(1);

/// A claimed delivery task, as its scripts need it.
#[derive(Debug, Clone)]
pub struct DeliveryHandle {
    pub task: String,
    pub token: String,
    pub source: Source,
    /// `c`, or the index of a node.
    pub stream: String,
    /// Requests a second that the webhook takes; 0: any number.
    pub per_second: u32,
    /// Batches of the stream in flight at most.
    pub window: u32,
}

/// Whose events a delivery task sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    Run(RunId),
    /// Events that belong to no run, waiting for this webhook.
    Outbox(WebhookId),
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Run(run) => run.fmt(f),
            Self::Outbox(webhook) => webhook.fmt(f),
        }
    }
}

/// What a delivery task has to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NextBatch {
    Batch(Batch),
    /// Nothing more to send now beside what the task has in flight.
    Held,
    /// Nothing to send now; the task is gone or delayed.
    None,
    /// The lease was lost; nothing was changed.
    Stale,
}

/// How a batch ended.
#[derive(Debug, Clone, Copy)]
pub enum Outcome<'a> {
    Delivered {
        status: u16,
        /// Records that the receiver took the event without.
        refused: &'a [RefusedRecord],
        /// Code and reason with which the run is stopped, since the receiver wants no more of it.
        stops_run: Option<(&'a str, &'a str)>,
    },
    /// Given up; kept with the bytes that were sent.
    Dead {
        status: Option<u16>,
        cause: Cause,
        reason: &'a str,
        body: &'a [u8],
        /// Whether this attempt was made; else it was given up unsent.
        sent: bool,
        /// The attempt says that the receiver fails: the webhook's retry plan, and 0 to 1 at random, as in [`Again::Failed`].
        failure: Option<(&'a Retry, f64)>,
        /// Code with which the run fails whatever its `error_handling`, since nothing of it can arrive any more.
        ends_run: Option<&'a str>,
    },
}

impl Outcome<'static> {
    /// Accepted whole.
    #[must_use]
    pub fn delivered(status: u16) -> Self {
        Self::Delivered {
            status,
            refused: &[],
            stops_run: None,
        }
    }
}

/// A record that becomes a dead letter of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedRecord {
    /// Id of an event with this record alone: the receiver has seen the one it came with.
    pub event: EventId,
    /// That event's bytes.
    pub body: Vec<u8>,
    pub seq: u64,
    pub reason: String,
}

/// Why a batch is sent again.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Again<'a> {
    /// The receiver failed, or could not be reached. `delay`: before this batch is tried again, unless the circuit opens;
    /// `random`: 0 to 1, for the wait of the circuit.
    Failed {
        delay: Duration,
        plan: &'a Retry,
        random: f64,
    },
    /// The receiver asked for a pause of the whole webhook, in its answer to a request that took `elapsed`. Not an attempt; the
    /// time after the first pause counts.
    Asked { pause: Duration, elapsed: Duration },
    /// For a reason of ours. Not an attempt.
    Own(Duration),
}

/// How a receiver is doing after a batch that it did not take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outage {
    /// Failures in a row.
    pub failures: u64,
    /// Time since the first of them.
    pub since: Duration,
    /// Whether the circuit is open: nothing is sent but one probe after another.
    pub open: bool,
    /// Whether it opened with this failure.
    pub opened: bool,
}

/// What [`Store::delivery_off`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Off {
    /// The webhook's lane rests until it is switched on.
    Rests,
    /// The webhook is on, or gone: read it again.
    Changed,
    /// The lease was lost.
    Stale,
}

impl Store {
    /// The environment of a webhook that has events waiting which belong to no run.
    ///
    /// # Errors
    /// [`super::StoreError::Unavailable`].
    pub async fn outbox_environment(
        &self,
        webhook: WebhookId,
    ) -> StoreResult<Option<EnvironmentId>> {
        let key = self.keys().outbox(webhook);
        let environment: Option<String> = self.connection().hget(key, "environment").await?;
        environment
            .map(|text| text.parse().map_err(|_| unexpected("an outbox", &text)))
            .transpose()
    }

    /// A frozen batch of a stream, or a new one, frozen from now on; `in_flight`: those that the caller has already.
    ///
    /// # Errors
    /// [`super::StoreError::Unavailable`].
    pub async fn take_batch(
        &self,
        handle: &DeliveryHandle,
        in_flight: &[EventId],
    ) -> StoreResult<NextBatch> {
        let mut call = self.call(&scripts::TAKE_BATCH);
        add_handle(&mut call, handle);
        call.arg(EventId::generate().to_string())
            .arg(handle.per_second)
            .arg(handle.window)
            .arg(each_with_comma(in_flight));
        parse_batch("take_batch", self.invoke(&call).await?)
    }

    /// Settles a batch in flight and, with `go_on`, takes the next one; `in_flight`: the others of the caller.
    ///
    /// # Errors
    /// [`super::StoreError::Unavailable`]: it may or may not have been written; calling again is harmless (`Stale`).
    pub async fn settle_batch(
        &self,
        handle: &DeliveryHandle,
        event: EventId,
        outcome: Outcome<'_>,
        go_on: bool,
        in_flight: &[EventId],
    ) -> StoreResult<NextBatch> {
        let mut call = self.call(&scripts::SETTLE_BATCH);
        add_handle(&mut call, handle);
        call.arg(event.to_string());
        let next = EventId::generate().to_string();
        match outcome {
            Outcome::Delivered {
                status,
                refused,
                stops_run,
            } => {
                let (code, reason) = stops_run.unwrap_or(("", ""));
                call.arg("delivered").arg(status).arg(reason).arg("");
                call.arg(next).arg(u8::from(go_on)).arg(MAX_LISTED_EVENTS);
                call.arg(code).arg(1).arg("").arg(handle.per_second);
                call.arg(handle.window).arg(each_with_comma(in_flight));
                call.arg(0).arg(0).arg(0).arg(0);
                for record in refused {
                    call.arg(record.event.to_string())
                        .arg(record.body.as_slice())
                        .arg(record.seq)
                        .arg(&record.reason);
                }
            }
            Outcome::Dead {
                status,
                cause,
                reason,
                body,
                sent,
                failure,
                ends_run,
            } => {
                call.arg("dead").arg(status.unwrap_or(0)).arg(reason);
                call.arg(body).arg(next).arg(u8::from(go_on));
                call.arg(MAX_LISTED_EVENTS).arg(ends_run.unwrap_or(""));
                call.arg(u8::from(sent)).arg(cause.as_str());
                call.arg(handle.per_second).arg(handle.window);
                call.arg(each_with_comma(in_flight));
                call.arg(u8::from(failure.is_some()));
                match failure {
                    Some((plan, random)) => {
                        call.arg(plan.first_ms).arg(plan.max_ms).arg(random);
                    }
                    None => {
                        call.arg(0).arg(0).arg(0);
                    }
                }
            }
        }
        parse_batch("settle_batch", self.invoke(&call).await?)
    }

    /// Gives up sending the batch at the head of a stream as it is, which the receiver finds too large, and takes a smaller
    /// one; nothing else is in flight. `most_bytes`: of the stream's batches from now on; `parts`: of a batch of one chunk,
    /// what it falls into, each with its number of records.
    ///
    /// # Errors
    /// [`super::StoreError::Unavailable`]: as [`Store::settle_batch`].
    pub async fn split_batch(
        &self,
        handle: &DeliveryHandle,
        batch: &Batch,
        most_bytes: u64,
        parts: &[(u64, Vec<u8>)],
    ) -> StoreResult<NextBatch> {
        let mut call = self.call(&scripts::SPLIT_BATCH);
        add_handle(&mut call, handle);
        let smaller = batch.chunks.len().max(parts.len());
        let first = EventId::generate();
        call.arg(batch.event.to_string())
            .arg(most_bytes)
            .arg(handle.per_second)
            .arg(smaller);
        for index in 0..smaller {
            call.arg(first.following(index).to_string());
        }
        for (records, bytes) in parts {
            call.arg(*records).arg(bytes.as_slice());
        }
        parse_batch("split_batch", self.invoke(&call).await?)
    }

    /// Sends the batch in flight again later. `None`: the lease was lost, or the batch settled.
    ///
    /// # Errors
    /// [`super::StoreError::Unavailable`].
    pub async fn retry_delivery(
        &self,
        handle: &DeliveryHandle,
        event: EventId,
        again: Again<'_>,
    ) -> StoreResult<Option<Outage>> {
        let mut call = self.call(&scripts::DELIVERY_RETRY);
        add_handle(&mut call, handle);
        call.arg(event.to_string());
        match again {
            Again::Failed {
                delay,
                plan,
                random,
            } => {
                call.arg("failed").arg(millis(delay));
                call.arg(plan.first_ms).arg(plan.max_ms).arg(random);
            }
            Again::Asked { pause, elapsed } => {
                call.arg("asked").arg(millis(pause)).arg(millis(elapsed));
            }
            Again::Own(delay) => {
                call.arg("own").arg(millis(delay));
            }
        }
        let answer: Vec<redis::Value> = self.invoke(&call).await?;
        let texts = answer
            .into_iter()
            .map(|value| text("delivery_retry", value))
            .collect::<StoreResult<Vec<_>>>()?;
        let number = |text: &str| {
            text.parse::<u64>()
                .map_err(|_| unexpected("delivery_retry", text))
        };
        match &texts[..] {
            [word] if word == "stale" => Ok(None),
            [word, failures, since, open] if word == "ok" => Ok(Some(Outage {
                failures: number(failures)?,
                since: Duration::from_millis(number(since)?),
                open: open != "0",
                opened: open == "2",
            })),
            other => Err(unexpected("delivery_retry", other)),
        }
    }

    /// Lets the lane of a webhook that is switched off rest, the claimed task with it.
    ///
    /// # Errors
    /// [`super::StoreError::Unavailable`].
    pub async fn delivery_off(
        &self,
        queue_task: (&str, &str),
        environment: EnvironmentId,
    ) -> StoreResult<Off> {
        let (task, token) = queue_task;
        let mut call = self.call(&scripts::DELIVERY_OFF);
        call.arg(task)
            .arg(token)
            .arg(environment.to_string())
            .arg(millis(OFF_LOOK));
        match self.invoke::<String>(&call).await?.as_str() {
            "ok" => Ok(Off::Rests),
            "active" => Ok(Off::Changed),
            "stale" => Ok(Off::Stale),
            other => Err(unexpected("delivery_off", other)),
        }
    }
}

/// The first arguments of the scripts that work on a stream.
fn add_handle(call: &mut redis::ScriptInvocation<'_>, handle: &DeliveryHandle) {
    call.arg(&handle.task)
        .arg(&handle.token)
        .arg(handle.source.to_string())
        .arg(&handle.stream);
}

fn each_with_comma(events: &[EventId]) -> String {
    let mut text = String::new();
    for event in events {
        text.push_str(&event.to_string());
        text.push(',');
    }
    text
}

fn parse_batch(script: &str, answer: Vec<redis::Value>) -> StoreResult<NextBatch> {
    const HEAD: usize = 8;
    let mut values = answer.into_iter();
    let word = match values.next() {
        Some(value) => text(script, value)?,
        None => return Err(unexpected(script, "nothing")),
    };
    match word.as_str() {
        "none" => return Ok(NextBatch::None),
        "held" => return Ok(NextBatch::Held),
        "stale" => return Ok(NextBatch::Stale),
        "batch" if values.len() >= HEAD => {}
        other => return Err(unexpected(script, other)),
    }
    let mut next = || -> StoreResult<String> {
        values.next().map_or_else(
            || Err(unexpected(script, "too few values")),
            |value| text(script, value),
        )
    };
    let (event, created, event_type) = (next()?, next()?, next()?);
    let (first, records, attempts, failing) = (next()?, next()?, next()?, next()?);
    let most_bytes = next()?;
    let number = |text: &str| text.parse::<u64>().map_err(|_| unexpected(script, text));
    let batch = Batch {
        event: event.parse().map_err(|_| unexpected(script, &event))?,
        created_ms: i64::try_from(number(&created)?).unwrap_or(i64::MAX),
        event_type,
        first_seq: number(&first)?,
        records: number(&records)?,
        attempts: u32::try_from(number(&attempts)?).unwrap_or(u32::MAX),
        failing: Duration::from_millis(number(&failing)?),
        most_bytes: number(&most_bytes)?,
        chunks: values
            .map(|value| match value {
                redis::Value::BulkString(bytes) => Ok(bytes),
                other => Err(unexpected(script, other)),
            })
            .collect::<StoreResult<_>>()?,
    };
    Ok(NextBatch::Batch(batch))
}

/// Text, or a number as text: Lua gives whichever it computed.
fn text(script: &str, value: redis::Value) -> StoreResult<String> {
    redis::from_redis_value::<String>(value).map_err(|error| unexpected(script, error.to_string()))
}
