//! What a delivery task does to the store: take a batch, settle it, try it again later.

use std::time::Duration;

use redis::AsyncCommands;

use super::{
    Store, StoreResult,
    queue::{Held, held, millis},
    scripts,
    scripts::unexpected,
};
use crate::{
    ids::{EnvironmentId, EventId, RunId, WebhookId},
    model::{dead_letter::Cause, event::Batch},
};

/// Settled events listed for one run; older ones make room.
pub const MAX_LISTED_EVENTS: usize = 10_000;

/// A claimed delivery task, as its scripts need it.
#[derive(Debug, Clone)]
pub struct DeliveryHandle {
    pub task: String,
    pub token: String,
    pub source: Source,
    /// `c`, or the index of a node.
    pub stream: String,
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
    },
    /// Given up; kept with the bytes that were sent.
    Dead {
        status: Option<u16>,
        cause: Cause,
        reason: &'a str,
        body: &'a [u8],
        /// Whether this attempt was made; else it was given up unsent.
        sent: bool,
        /// Code with which the run fails whatever its `error_handling`, since nothing of it can arrive any more.
        ends_run: Option<&'a str>,
    },
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

    /// The batch in flight of a stream, or a new one, frozen from now on.
    ///
    /// # Errors
    /// [`super::StoreError::Unavailable`].
    pub async fn take_batch(&self, handle: &DeliveryHandle) -> StoreResult<NextBatch> {
        let mut call = self.call(&scripts::TAKE_BATCH);
        call.arg(&handle.task)
            .arg(&handle.token)
            .arg(handle.source.to_string())
            .arg(&handle.stream)
            .arg(EventId::generate().to_string());
        parse_batch("take_batch", self.invoke(&call).await?)
    }

    /// Settles the batch in flight and, with `go_on`, takes the next one.
    ///
    /// # Errors
    /// [`super::StoreError::Unavailable`]: it may or may not have been written; calling again is harmless (`Stale`).
    pub async fn settle_batch(
        &self,
        handle: &DeliveryHandle,
        event: EventId,
        outcome: Outcome<'_>,
        go_on: bool,
    ) -> StoreResult<NextBatch> {
        let (word, status, cause, reason, body, code, sent): (
            &str,
            u16,
            &str,
            &str,
            &[u8],
            &str,
            bool,
        ) = match outcome {
            Outcome::Delivered { status } => ("delivered", status, "", "", b"", "", true),
            Outcome::Dead {
                status,
                cause,
                reason,
                body,
                sent,
                ends_run,
            } => (
                "dead",
                status.unwrap_or(0),
                cause.as_str(),
                reason,
                body,
                ends_run.unwrap_or(""),
                sent,
            ),
        };
        let mut call = self.call(&scripts::SETTLE_BATCH);
        call.arg(&handle.task)
            .arg(&handle.token)
            .arg(handle.source.to_string())
            .arg(&handle.stream)
            .arg(event.to_string())
            .arg(word)
            .arg(status)
            .arg(reason)
            .arg(body)
            .arg(EventId::generate().to_string())
            .arg(u8::from(go_on))
            .arg(MAX_LISTED_EVENTS)
            .arg(code)
            .arg(u8::from(sent))
            .arg(cause);
        parse_batch("settle_batch", self.invoke(&call).await?)
    }

    /// Sends the batch in flight again after `delay`; blocks the webhook's lane for `block`, if given.
    ///
    /// # Errors
    /// [`super::StoreError::Unavailable`].
    pub async fn retry_delivery(
        &self,
        handle: &DeliveryHandle,
        event: EventId,
        delay: Duration,
        block: Option<Duration>,
        counts: bool,
    ) -> StoreResult<Held> {
        let mut call = self.call(&scripts::DELIVERY_RETRY);
        call.arg(&handle.task)
            .arg(&handle.token)
            .arg(handle.source.to_string())
            .arg(&handle.stream)
            .arg(event.to_string())
            .arg(millis(delay))
            .arg(block.map_or(0, millis))
            .arg(u8::from(counts));
        held("delivery_retry", &self.invoke::<String>(&call).await?)
    }
}

fn parse_batch(script: &str, answer: Vec<redis::Value>) -> StoreResult<NextBatch> {
    const HEAD: usize = 7;
    let mut values = answer.into_iter();
    let word = match values.next() {
        Some(value) => text(script, value)?,
        None => return Err(unexpected(script, "nothing")),
    };
    match word.as_str() {
        "none" => return Ok(NextBatch::None),
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
    let number = |text: &str| text.parse::<u64>().map_err(|_| unexpected(script, text));
    let batch = Batch {
        event: event.parse().map_err(|_| unexpected(script, &event))?,
        created_ms: i64::try_from(number(&created)?).unwrap_or(i64::MAX),
        event_type,
        first_seq: number(&first)?,
        records: number(&records)?,
        attempts: u32::try_from(number(&attempts)?).unwrap_or(u32::MAX),
        failing: Duration::from_millis(number(&failing)?),
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
