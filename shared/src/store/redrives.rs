//! Redrives of dead letters: making one, working through it, looking at it.
//!
//! State: the hash `redrive:<redrive>`; its cursor is the last letter dealt with.
//! Authority: that hash, under the lease of its one task; a cancel alone changes it
//! without. Failures: a worker that dies leaves the task to its lease and the letter
//! in work unsettled, so it is sent again under the same id; an answer that was lost
//! is found by calling again.

use std::time::Duration;

use bytes::Bytes;
use redis::AsyncCommands;

use super::{
    Page, PageRequest, Store, StoreError, StoreResult,
    deliveries::MAX_LISTED_EVENTS,
    queue::{Held, held, millis},
    scripts,
    scripts::unexpected,
};
use crate::{
    clock::Timestamp,
    ids::{EnvironmentId, EventId, RedriveId, WebhookId},
    model::{
        dead_letter::Cause,
        redrive::{Redrive, RedriveInput, RedriveStatus},
        webhook::Retry,
    },
};

const MS_PER_DAY: u64 = 86_400_000;

/// A redrive to be made.
#[derive(Debug, Clone)]
pub struct NewRedrive<'a> {
    pub id: RedriveId,
    pub webhook: WebhookId,
    pub environment: EnvironmentId,
    pub input: &'a RedriveInput,
    /// Letters that match, if they were counted.
    pub total: Option<u64>,
    /// Deliveries of the webhook at once.
    pub lane_limit: u32,
    /// How long it is kept once it has ended.
    pub retention_days: u32,
}

/// What became of a redrive to be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CreatedRedrive {
    Created,
    /// One of this id was made before.
    Existed,
    /// Another one of the webhook is running; nothing was made.
    Active(RedriveId),
}

/// What a cancel found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CancelledRedrive {
    Cancelled,
    /// It had ended before.
    Ended,
    NotFound,
}

/// A redrive, as its task needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedriveState {
    pub redrive: Redrive,
    pub environment: EnvironmentId,
    /// The last event that is dealt with.
    pub cursor: Option<String>,
}

/// A claimed redrive task, as its scripts need it.
#[derive(Debug, Clone)]
pub struct RedriveHandle {
    pub task: String,
    pub token: String,
    pub redrive: RedriveId,
}

/// A letter to be sent, or why not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TakenLetter {
    Letter {
        /// Attempts of this redrive that were not accepted.
        tries: u32,
        /// Since the first of them, or since the webhook was released, if that is later.
        failing: Duration,
        body: Bytes,
    },
    /// There is no such letter any more.
    Gone,
    /// The task waits for the webhook's pace.
    Paced,
    /// The redrive was cancelled; the task is gone.
    Ended,
    /// The lease was lost; nothing was changed.
    Stale,
}

/// How a letter was settled.
#[derive(Debug, Clone, Copy)]
pub enum LetterOutcome<'a> {
    Delivered {
        status: u16,
    },
    /// Given up once more; it stays.
    Failed {
        status: Option<u16>,
        cause: Cause,
        reason: &'a str,
        /// Whether an attempt was made now.
        sent: bool,
    },
}

/// Why the task of a redrive is put off.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum RedriveWait<'a> {
    /// Its turn is over. `cursor`: letters up to this one are dealt with.
    Turn { cursor: Option<&'a str> },
    /// The receiver did not take a letter, or could not be reached. `delay`: before it is tried again, unless the circuit
    /// opens; `random`: 0 to 1, for the wait of the circuit.
    Failed {
        event: EventId,
        reason: &'a str,
        delay: Duration,
        plan: &'a Retry,
        random: f64,
    },
    /// The receiver asked for a pause of the whole webhook, in its answer to a request that took `elapsed`. Not an attempt; the
    /// time after the first pause counts.
    Asked {
        pause: Duration,
        elapsed: Duration,
        reason: &'a str,
    },
}

/// Whether a redrive goes on after a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RedriveStep {
    /// The step was made, now or by an earlier call.
    Done,
    /// It was made; the redrive was cancelled meanwhile, and the task is gone.
    Ended,
    /// The lease was lost; nothing was changed.
    Stale,
}

impl Store {
    /// Makes a redrive and its task, in one step.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]: it may or may not have been made; calling again is harmless (`Existed`).
    pub async fn create_redrive(&self, new: &NewRedrive<'_>) -> StoreResult<CreatedRedrive> {
        let filter = serde_json::to_string(&new.input.filter)
            .map_err(|error| StoreError::Unexpected(error.to_string()))?;
        let text = |number: Option<u64>| number.map(|number| number.to_string());
        let mut call = self.call(&scripts::REDRIVE_CREATE);
        call.arg(new.id.to_string())
            .arg(new.webhook.to_string())
            .arg(new.environment.to_string())
            .arg(new.lane_limit)
            .arg(u64::from(new.retention_days) * MS_PER_DAY)
            .arg(filter)
            .arg(text(new.input.rate_per_second.map(u64::from)).unwrap_or_default())
            .arg(text(new.total).unwrap_or_default());
        let answer: Vec<String> = self.invoke(&call).await?;
        match answer.iter().map(String::as_str).collect::<Vec<_>>()[..] {
            ["created"] => Ok(CreatedRedrive::Created),
            ["existed"] => Ok(CreatedRedrive::Existed),
            ["active", other] => other
                .parse()
                .map(CreatedRedrive::Active)
                .map_err(|_| unexpected("redrive_create", other)),
            _ => Err(unexpected("redrive_create", answer)),
        }
    }

    /// A redrive; `None` when there is none, or its retention is over.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn redrive(&self, id: RedriveId) -> StoreResult<Option<RedriveState>> {
        let key = self.keys().redrive(id);
        let row: Vec<Option<String>> = self.connection().hmget(key, &FIELDS).await?;
        read(id, row)
    }

    /// Redrives of a webhook, newest first.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn redrives(
        &self,
        webhook: WebhookId,
        page: &PageRequest,
    ) -> StoreResult<Page<Redrive>> {
        let newest = page
            .after
            .as_ref()
            .map_or_else(|| "+".to_owned(), |seen| format!("({seen}"));
        let limit = page.limit as usize;
        let mut connection = self.connection();
        let mut ids: Vec<String> = redis::cmd("ZREVRANGEBYLEX")
            .arg(self.keys().redrives_of(webhook))
            .arg(newest)
            .arg("-")
            .arg(&["LIMIT", "0"])
            .arg(limit + 1)
            .query_async(&mut connection)
            .await?;
        let more = ids.len() > limit;
        ids.truncate(limit);
        let next = ids.last().filter(|_| more).cloned();
        let ids: Vec<RedriveId> = ids.iter().filter_map(|id| id.parse().ok()).collect();
        let mut pipeline = redis::pipe();
        for id in &ids {
            pipeline.hmget(self.keys().redrive(*id), &FIELDS);
        }
        let rows: Vec<Vec<Option<String>>> = if ids.is_empty() {
            Vec::new()
        } else {
            pipeline.query_async(&mut connection).await?
        };
        let mut items = Vec::new();
        for (id, row) in ids.into_iter().zip(rows) {
            items.extend(read(id, row)?.map(|state| state.redrive));
        }
        Ok(Page { items, next })
    }

    /// Cancels a running redrive of a webhook.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]: call again.
    pub async fn cancel_redrive(
        &self,
        webhook: WebhookId,
        id: RedriveId,
    ) -> StoreResult<CancelledRedrive> {
        let mut call = self.call(&scripts::REDRIVE_CANCEL);
        call.arg(id.to_string()).arg(webhook.to_string());
        match self.invoke::<String>(&call).await?.as_str() {
            "cancelled" => Ok(CancelledRedrive::Cancelled),
            "ended" => Ok(CancelledRedrive::Ended),
            "not_found" => Ok(CancelledRedrive::NotFound),
            other => Err(unexpected("redrive_cancel", other)),
        }
    }

    /// Begins an attempt at a letter, unless that would be more than `per_second` requests to the webhook (0: any number).
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]: call again.
    pub async fn take_letter(
        &self,
        handle: &RedriveHandle,
        event: EventId,
        per_second: u32,
    ) -> StoreResult<TakenLetter> {
        const SCRIPT: &str = "redrive_take";
        let mut call = self.call(&scripts::REDRIVE_TAKE);
        add_handle(&mut call, handle)
            .arg(event.to_string())
            .arg(per_second);
        let answer: Vec<Bytes> = self.invoke(&call).await?;
        let number = |bytes: &Bytes| {
            let text = std::str::from_utf8(bytes).ok();
            text.and_then(|text| text.parse::<u64>().ok())
                .ok_or_else(|| unexpected(SCRIPT, bytes))
        };
        match &answer[..] {
            [word] if word == "gone" => Ok(TakenLetter::Gone),
            [word] if word == "paced" => Ok(TakenLetter::Paced),
            [word] if word == "ended" => Ok(TakenLetter::Ended),
            [word] if word == "stale" => Ok(TakenLetter::Stale),
            [word, tries, since, body] if word == "letter" => Ok(TakenLetter::Letter {
                tries: u32::try_from(number(tries)?).unwrap_or(u32::MAX),
                failing: Duration::from_millis(number(since)?),
                body: body.clone(),
            }),
            _ => Err(unexpected(SCRIPT, answer.first())),
        }
    }

    /// Settles the letter in work; with `pause` the task is delayed by so long, else it goes on.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]: it may or may not have been written; calling again is harmless.
    pub async fn settle_letter(
        &self,
        handle: &RedriveHandle,
        event: EventId,
        outcome: LetterOutcome<'_>,
        pause: Option<Duration>,
    ) -> StoreResult<RedriveStep> {
        let (word, status, cause, reason, sent) = match outcome {
            LetterOutcome::Delivered { status } => ("delivered", status, "", "", true),
            LetterOutcome::Failed {
                status,
                cause,
                reason,
                sent,
            } => ("failed", status.unwrap_or(0), cause.as_str(), reason, sent),
        };
        let pause = pause.map(|pause| millis(pause).to_string());
        let mut call = self.call(&scripts::REDRIVE_SETTLE);
        add_handle(&mut call, handle)
            .arg(event.to_string())
            .arg(word)
            .arg(status)
            .arg(cause)
            .arg(reason)
            .arg(u8::from(sent))
            .arg(pause.unwrap_or_default())
            .arg(MAX_LISTED_EVENTS);
        step("redrive_settle", &self.invoke::<String>(&call).await?)
    }

    /// Puts the task of a redrive off.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]: it may or may not have been written; calling again is harmless (`Stale`).
    pub async fn delay_redrive(
        &self,
        handle: &RedriveHandle,
        wait: RedriveWait<'_>,
    ) -> StoreResult<RedriveStep> {
        let mut call = self.call(&scripts::REDRIVE_WAIT);
        add_handle(&mut call, handle);
        match wait {
            RedriveWait::Turn { cursor } => {
                let cursor = cursor.unwrap_or_default();
                call.arg("turn").arg(cursor).arg(0).arg("");
            }
            RedriveWait::Failed {
                event,
                reason,
                delay,
                plan,
                random,
            } => {
                call.arg("failed").arg("").arg(millis(delay)).arg(reason);
                call.arg(event.to_string());
                call.arg(plan.first_ms).arg(plan.max_ms).arg(random);
            }
            RedriveWait::Asked {
                pause,
                elapsed,
                reason,
            } => {
                call.arg("asked").arg("").arg(millis(pause)).arg(reason);
                call.arg(millis(elapsed));
            }
        }
        step("redrive_wait", &self.invoke::<String>(&call).await?)
    }

    /// Ends a redrive and its task.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]: it may or may not have been written; calling again is harmless (`Stale`).
    pub async fn finish_redrive(
        &self,
        handle: &RedriveHandle,
        status: RedriveStatus,
        reason: Option<&str>,
    ) -> StoreResult<Held> {
        let mut call = self.call(&scripts::REDRIVE_FINISH);
        add_handle(&mut call, handle)
            .arg(status.as_str())
            .arg(reason.unwrap_or_default());
        held("redrive_finish", &self.invoke::<String>(&call).await?)
    }
}

fn add_handle<'a, 's>(
    call: &'a mut redis::ScriptInvocation<'s>,
    handle: &RedriveHandle,
) -> &'a mut redis::ScriptInvocation<'s> {
    call.arg(&handle.task)
        .arg(&handle.token)
        .arg(handle.redrive.to_string())
}

fn step(script: &str, answer: &str) -> StoreResult<RedriveStep> {
    match answer {
        "ok" | "repeated" => Ok(RedriveStep::Done),
        "ended" => Ok(RedriveStep::Ended),
        "stale" => Ok(RedriveStep::Stale),
        other => Err(unexpected(script, other)),
    }
}

const FIELDS: [&str; 13] = [
    "webhook",
    "environment",
    "filter",
    "rate",
    "status",
    "total",
    "delivered",
    "failed",
    "cursor",
    "current",
    "last_error",
    "created_at",
    "finished_at",
];

fn read(id: RedriveId, row: Vec<Option<String>>) -> StoreResult<Option<RedriveState>> {
    let broken = || StoreError::Unexpected(format!("the redrive {id} can't be read"));
    let row: [Option<String>; FIELDS.len()] = row.try_into().map_err(|_| broken())?;
    let [
        webhook,
        environment,
        filter,
        rate,
        status,
        total,
        delivered,
        failed,
        cursor,
        current,
        last_error,
        created_at,
        finished_at,
    ] = row;
    let (Some(webhook), Some(environment), Some(filter), Some(status)) =
        (webhook, environment, filter, status)
    else {
        return Ok(None);
    };
    let number = |text: Option<String>| text.and_then(|text| text.parse::<u64>().ok());
    let time = |text: Option<String>| text.and_then(|text| text.parse().ok()).map(Timestamp);
    let status = RedriveStatus::from_name(&status).ok_or_else(broken)?;
    let current = current.filter(|_| status == RedriveStatus::Running);
    let redrive = Redrive {
        id,
        webhook_id: webhook.parse().map_err(|_| broken())?,
        filter: serde_json::from_str(&filter).map_err(|_| broken())?,
        rate_per_second: number(rate).and_then(|rate| u32::try_from(rate).ok()),
        status,
        total: number(total),
        delivered: number(delivered).unwrap_or(0),
        failed: number(failed).unwrap_or(0),
        current_event_id: current.and_then(|event| event.parse().ok()),
        last_error,
        created_at: time(created_at).unwrap_or_default(),
        finished_at: time(finished_at),
    };
    Ok(Some(RedriveState {
        redrive,
        environment: environment.parse().map_err(|_| broken())?,
        cursor: cursor.filter(|cursor| !cursor.is_empty()),
    }))
}
