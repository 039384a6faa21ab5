//! The three queues: pushing, claiming, leases, rescue.
//!
//! In a queue environments take turns, by weight, and so do the lanes of each; a
//! lane is a list of ready tasks. A claim gives a lease with a fencing token; whatever a worker does with a task it does through
//! a script that checks the token first, so a worker that was taken for dead can't
//! change anything any more.

use std::time::Duration;

use redis::AsyncCommands;

use super::{Store, StoreResult, scripts, scripts::unexpected};

/// Which queue a task is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Queue {
    /// Runs to start; lane: environment.
    Runs,
    /// Pages to fetch; lane: integrated account.
    Fetches,
    /// Batches to send; lane: webhook.
    Deliveries,
}

impl Queue {
    pub const ALL: [Self; 3] = [Self::Runs, Self::Fetches, Self::Deliveries];

    /// The name in keys, log fields and metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Runs => "runs",
            Self::Fetches => "fetches",
            Self::Deliveries => "deliveries",
        }
    }

    /// The queue of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|queue| queue.name() == name)
    }
}

/// How long a claim holds without being extended. Workers extend every third of
/// it, so a dead worker's tasks are back in work after this long at most.
pub const LEASE: Duration = Duration::from_secs(30);
/// Tasks of one lane that one turn takes, so that environments and lanes alternate.
pub const TASKS_PER_TURN: usize = 8;
/// Expired leases one rescue pass returns.
pub const RESCUES_PER_PASS: usize = 500;
/// After so many lost leases a task is failed as `worker_crashed`.
pub const MAX_RESCUES: u32 = 5;
/// Lanes, and claimed tasks, that the gauges look at.
const GAUGED_LANES: usize = 500;
/// Webhooks with parked tasks that one pass looks at, and tasks it hands back in all.
const UNPARKED_WEBHOOKS: usize = 50;
const UNPARKED_TASKS: usize = 2_000;

/// A claimed task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    pub id: String,
    pub lane: String,
    /// Attempts that failed before this one.
    pub attempt: u32,
    /// Leases lost so far.
    pub rescues: u32,
    /// When the task became ready, ms since the epoch by Redis's clock.
    pub ready_since_ms: i64,
    /// Kind with version, then what the kind needs: `fetch.1 0 0 {…}`.
    pub body: String,
    /// Fencing token of the lease.
    pub token: String,
}

/// What one claim brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claimed {
    pub tasks: Vec<Claim>,
    /// When the next delayed task or blocked lane is due; `None`: no timer is set.
    pub next_timer: Option<Duration>,
    /// The claim stopped early (it removed tasks of ended runs); call again at once.
    pub again: bool,
}

/// The state of one queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct QueueGauges {
    pub ready: u64,
    pub delayed: u64,
    pub claimed: u64,
    pub blocked_lanes: u64,
    /// How long the oldest ready task at the head of a lane has waited.
    pub oldest_ready_ms: u64,
}

/// Whether a step on a claimed task was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Held {
    Done,
    /// The lease belongs to someone else by now; nothing was changed.
    Stale,
}

/// What a delay that isn't part of a task's own steps counts as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CountsAs {
    /// An attempt that failed.
    Attempt,
    /// A crash while the task was worked on; after [`MAX_RESCUES`] it is given up, as after lost leases.
    Crash,
    /// Nothing: the task was not tried.
    Nothing,
}

pub(super) fn held(script: &str, answer: &str) -> StoreResult<Held> {
    match answer {
        "ok" => Ok(Held::Done),
        "stale" => Ok(Held::Stale),
        other => Err(unexpected(script, other)),
    }
}

impl Store {
    /// Adds ready tasks (id, body) to the end of a lane of `environment` that runs `limit` at a time.
    ///
    /// # Errors
    /// [`super::StoreError::Unavailable`].
    pub async fn push_tasks(
        &self,
        queue: Queue,
        environment: &str,
        lane: &str,
        limit: u32,
        tasks: &[(String, String)],
    ) -> StoreResult<()> {
        let mut call = self.call(&scripts::PUSH_TASKS);
        call.arg(queue.name()).arg(lane).arg(environment).arg(limit);
        for (id, body) in tasks {
            call.arg(id).arg(body);
        }
        let _pushed: u64 = self.invoke(&call).await?;
        Ok(())
    }

    /// Claims up to `wanted` ready tasks under `token`, a few of each lane in turn.
    /// With fewer than `wanted` the queue is marked idle: the next push announces
    /// itself on the wake channel.
    ///
    /// # Errors
    /// [`super::StoreError::Unavailable`].
    pub async fn claim(
        &self,
        queue: Queue,
        wanted: usize,
        lease: Duration,
        token: &str,
    ) -> StoreResult<Claimed> {
        self.claim_under(queue, wanted, lease, token, false).await
    }

    /// As [`Self::claim`], after a claim under the same token whose answer was lost: what that one claimed, if it was
    /// made, doesn't wait for its leases to end.
    ///
    /// # Errors
    /// [`super::StoreError::Unavailable`].
    pub async fn claim_again(
        &self,
        queue: Queue,
        wanted: usize,
        lease: Duration,
        token: &str,
    ) -> StoreResult<Claimed> {
        self.claim_under(queue, wanted, lease, token, true).await
    }

    async fn claim_under(
        &self,
        queue: Queue,
        wanted: usize,
        lease: Duration,
        token: &str,
        again: bool,
    ) -> StoreResult<Claimed> {
        let mut call = self.call(&scripts::CLAIM);
        call.arg(queue.name())
            .arg(wanted)
            .arg(TASKS_PER_TURN)
            .arg(millis(lease))
            .arg(token)
            .arg(u8::from(again));
        let answer: Vec<redis::Value> = self.invoke(&call).await?;
        parse_claim(answer, token)
    }

    /// Extends the leases of `tasks` (id, token); gives back the ids that are lost.
    ///
    /// # Errors
    /// [`super::StoreError::Unavailable`].
    pub async fn extend_leases(
        &self,
        queue: Queue,
        lease: Duration,
        tasks: &[(String, String)],
    ) -> StoreResult<Vec<String>> {
        let mut call = self.call(&scripts::EXTEND);
        call.arg(queue.name()).arg(millis(lease));
        for (id, token) in tasks {
            call.arg(id).arg(token);
        }
        self.invoke(&call).await
    }

    /// One pass over expired leases; gives the ids of the tasks that are ready again.
    ///
    /// # Errors
    /// [`super::StoreError::Unavailable`].
    pub async fn rescue_expired(&self, queue: Queue) -> StoreResult<Vec<String>> {
        let mut call = self.call(&scripts::RESCUE_EXPIRED);
        call.arg(queue.name()).arg(RESCUES_PER_PASS);
        self.invoke(&call).await
    }

    /// Gives a claimed task back to the front of its lane, unchanged.
    ///
    /// # Errors
    /// [`super::StoreError::Unavailable`].
    pub async fn hand_back(&self, queue: Queue, task: &str, token: &str) -> StoreResult<Held> {
        let mut call = self.call(&scripts::HAND_BACK);
        call.arg(queue.name()).arg(task).arg(token);
        held("hand_back", &self.invoke::<String>(&call).await?)
    }

    /// Ends a claimed task that changes nothing else.
    ///
    /// # Errors
    /// [`super::StoreError::Unavailable`].
    pub async fn finish_task(&self, queue: Queue, task: &str, token: &str) -> StoreResult<Held> {
        let mut call = self.call(&scripts::FINISH_TASK);
        call.arg(queue.name()).arg(task).arg(token);
        held("finish_task", &self.invoke::<String>(&call).await?)
    }

    /// Makes a claimed task ready again after `delay`, with one more attempt counted.
    ///
    /// # Errors
    /// [`super::StoreError::Unavailable`].
    pub async fn retry_task(
        &self,
        queue: Queue,
        task: &str,
        token: &str,
        delay: Duration,
    ) -> StoreResult<Held> {
        let counts = CountsAs::Attempt;
        self.delay_task(queue, task, token, delay, counts).await
    }

    /// Makes a claimed task ready again after `delay`, counted as said.
    ///
    /// # Errors
    /// [`super::StoreError::Unavailable`].
    pub async fn delay_task(
        &self,
        queue: Queue,
        task: &str,
        token: &str,
        delay: Duration,
        counts: CountsAs,
    ) -> StoreResult<Held> {
        let mut call = self.call(&scripts::RETRY_TASK);
        call.arg(queue.name())
            .arg(task)
            .arg(token)
            .arg(millis(delay))
            .arg(match counts {
                CountsAs::Attempt => "attempt",
                CountsAs::Crash => "crash",
                CountsAs::Nothing => "nothing",
            });
        held("retry_task", &self.invoke::<String>(&call).await?)
    }

    /// Measures a queue, at a cost that doesn't grow with its backlog.
    ///
    /// # Errors
    /// [`super::StoreError::Unavailable`].
    pub async fn queue_gauges(&self, queue: Queue) -> StoreResult<QueueGauges> {
        let mut call = self.call(&scripts::QUEUE_GAUGES);
        call.arg(queue.name()).arg(GAUGED_LANES);
        let (ready, delayed, claimed, blocked_lanes, oldest_ready_ms) = self.invoke(&call).await?;
        Ok(QueueGauges {
            ready,
            delayed,
            claimed,
            blocked_lanes,
            oldest_ready_ms,
        })
    }

    /// Bytes committed and not yet acknowledged or dead-lettered, over all webhooks.
    ///
    /// # Errors
    /// [`super::StoreError::Unavailable`].
    pub async fn undelivered_bytes(&self) -> StoreResult<u64> {
        let bytes: Option<i64> = self
            .connection()
            .get(self.keys().join(&["undelivered_bytes"]))
            .await?;
        Ok(bytes.unwrap_or(0).max(0).unsigned_abs())
    }

    /// Events that belong to no run and that full outboxes did not take, since the store was made.
    ///
    /// # Errors
    /// [`super::StoreError::Unavailable`].
    pub async fn dropped_events(&self) -> StoreResult<u64> {
        let key = self.keys().join(&["outbox_dropped"]);
        let count: Option<u64> = self.connection().get(key).await?;
        Ok(count.unwrap_or(0))
    }

    /// One pass over parked fetch tasks; gives how many were handed back.
    ///
    /// # Errors
    /// [`super::StoreError::Unavailable`].
    pub async fn unpark(&self) -> StoreResult<u64> {
        let mut call = self.call(&scripts::UNPARK);
        call.arg(UNPARKED_WEBHOOKS).arg(UNPARKED_TASKS);
        self.invoke(&call).await
    }
}

/// Whole milliseconds, as scripts take durations.
pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn parse_claim(answer: Vec<redis::Value>, token: &str) -> StoreResult<Claimed> {
    const FIELDS: usize = 6;
    let mut values = answer.into_iter();
    let number = |values: &mut std::vec::IntoIter<redis::Value>| -> StoreResult<i64> {
        let value = values
            .next()
            .ok_or_else(|| unexpected("claim", "too few values"))?;
        redis::from_redis_value::<i64>(value)
            .map_err(|error| unexpected("claim", error.to_string()))
    };
    let next_timer = u64::try_from(number(&mut values)?)
        .ok()
        .map(Duration::from_millis);
    let again = number(&mut values)? != 0;
    let mut tasks = Vec::with_capacity(values.len() / FIELDS);
    while values.len() >= FIELDS {
        let mut text = || -> StoreResult<String> {
            let value = values
                .next()
                .ok_or_else(|| unexpected("claim", "too few values"))?;
            redis::from_redis_value::<String>(value)
                .map_err(|error| unexpected("claim", error.to_string()))
        };
        let (id, lane, attempt, rescues, since, body) =
            (text()?, text()?, text()?, text()?, text()?, text()?);
        let parse = |text: &str| text.parse::<i64>().map_err(|_| unexpected("claim", text));
        tasks.push(Claim {
            id,
            lane,
            attempt: u32::try_from(parse(&attempt)?).unwrap_or(u32::MAX),
            rescues: u32::try_from(parse(&rescues)?).unwrap_or(u32::MAX),
            ready_since_ms: parse(&since)?,
            body,
            token: token.to_owned(),
        });
    }
    Ok(Claimed {
        tasks,
        next_timer,
        again,
    })
}
