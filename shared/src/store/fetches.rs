//! What a fetch task does to the store: commit a page, wait, give up.

use std::time::Duration;

use bytes::Bytes;

use super::{
    Store, StoreResult,
    accounts::{DELETED_MESSAGE, DISABLED_MESSAGE},
    queue::millis,
    scripts,
    scripts::unexpected,
};
use crate::{
    ids::{EnvironmentId, RunId, WebhookId},
    integration::errors::MAX_ATTEMPTS,
    model::run::ErrorHandling,
};

/// Errors listed for one run; the count goes on beyond.
pub const MAX_LISTED_ERRORS: usize = 10_000;

/// A claimed fetch task, as its scripts need it.
#[derive(Debug, Clone)]
pub struct FetchHandle {
    pub task: String,
    pub token: String,
    pub run: RunId,
    /// Index of the node in the plan.
    pub node: usize,
}

/// What follows a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum After {
    /// That was the last page: the task ends.
    Done,
    /// The next page; the task may be parked here.
    NextPage,
    /// The next page, under another claim: at a pace, the pace decides when; and another process may go on.
    NextClaim,
    /// The same page goes on: a large page is committed in parts.
    SamePage,
}

/// Records of one stream that are stored and delivered as a unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunk {
    pub records: u32,
    /// Parent values as compact JSON (empty for root nodes), a newline, the records' bytes joined by commas.
    pub bytes: Bytes,
}

/// A fetch task for one parent record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Child {
    pub node: usize,
    /// Position of the parent record in this commit, from 1.
    pub position: u64,
    /// [`crate::queue::task::FetchBody`] as JSON.
    pub body: String,
}

/// One atomic step of a fetch.
#[derive(Debug)]
pub struct PageCommit<'a> {
    pub handle: &'a FetchHandle,
    /// Commits made under this claim before.
    pub step: u32,
    pub after: After,
    /// Body of the task from here on.
    pub body: String,
    pub requests: u32,
    pub pages: u32,
    pub records: u64,
    pub chunks: Vec<Chunk>,
    pub children: Vec<Child>,
    pub lease: Duration,
}

/// What a commit led to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Committed {
    /// Written, now or by an earlier call whose answer was lost. `over`: undelivered bytes are over a mark.
    Done { over: bool },
    /// Written, and the task waits for the receiver or lets its children go first: someone claims it again later.
    Parked,
    /// The lease was lost; nothing was written.
    Stale,
    /// The run has ended; nothing was written and the task is gone.
    RunEnded,
}

/// How a step that ends or delays a fetch went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FetchStep {
    Done,
    Stale,
    RunEnded,
}

/// What became of a fetch that failed and may be tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retried {
    /// How long its source is left alone, if this failure begins that.
    Step(FetchStep, Option<Duration>),
    /// It has had its attempts; the task is as it was.
    UsedUp,
}

/// A fetch that is given up.
#[derive(Debug)]
pub struct FetchFailure<'a> {
    pub requests: u32,
    /// As listed by `GET /sync-job-run/{id}/error` and sent in `record_error`.
    pub error: String,
    pub policy: ErrorHandling,
    pub code: &'a str,
    pub message: &'a str,
    pub resource: &'a str,
    /// Whether a retry of the run makes the fetch again; not where no request can help.
    pub again: bool,
    /// Whether the source has answered, though not what was asked for: then it isn't the source that fails.
    pub answered: bool,
}

/// A fetch that waits for its account.
#[derive(Debug)]
pub struct AccountWait<'a> {
    pub environment: EnvironmentId,
    /// Requests made since the last commit.
    pub requests: u32,
    /// How long a run waits at most; then it fails.
    pub longest: Duration,
    /// The delay when the account is active by now.
    pub if_active: Duration,
    /// Whether the run fails at once, with `message`.
    pub fail_fast: bool,
    pub message: &'a str,
    /// Why a run fails that waited too long.
    pub too_long: &'a str,
}

pub(super) fn step(script: &str, answer: &str) -> StoreResult<FetchStep> {
    match answer {
        "ok" => Ok(FetchStep::Done),
        "stale" => Ok(FetchStep::Stale),
        "run_ended" => Ok(FetchStep::RunEnded),
        other => Err(unexpected(script, other)),
    }
}

impl Store {
    /// Commits a page or a part of one, with all that follows from it.
    ///
    /// # Errors
    /// [`super::StoreError::Unavailable`]: it may or may not have been written; call again with the same step.
    pub async fn commit_page(&self, commit: &PageCommit<'_>) -> StoreResult<Committed> {
        let handle = commit.handle;
        let mut call = self.call(&scripts::COMMIT_PAGE);
        call.arg(&handle.task)
            .arg(&handle.token)
            .arg(commit.step)
            .arg(handle.run.to_string())
            .arg(handle.node)
            .arg(match commit.after {
                After::Done => "done",
                After::NextPage => "next",
                After::NextClaim => "again",
                After::SamePage => "part",
            })
            .arg(&commit.body)
            .arg(commit.requests)
            .arg(commit.pages)
            .arg(commit.records)
            .arg(millis(commit.lease))
            .arg(commit.chunks.len());
        for chunk in &commit.chunks {
            call.arg(chunk.records).arg(&chunk.bytes[..]);
        }
        for child in &commit.children {
            call.arg(child.node).arg(child.position).arg(&child.body);
        }
        let answer: Vec<redis::Value> = self.invoke(&call).await?;
        let mut answer = answer.into_iter();
        let word = match answer.next() {
            Some(value) => redis::from_redis_value::<String>(value)
                .map_err(|error| unexpected("commit_page", error.to_string()))?,
            None => return Err(unexpected("commit_page", "nothing")),
        };
        let over = answer
            .next()
            .is_some_and(|value| matches!(value, redis::Value::Int(1)));
        match word.as_str() {
            "ok" => Ok(Committed::Done { over }),
            "repeated" => Ok(Committed::Done { over: false }),
            "parked" => Ok(Committed::Parked),
            "stale" => Ok(Committed::Stale),
            "run_ended" => Ok(Committed::RunEnded),
            other => Err(unexpected("commit_page", other)),
        }
    }

    /// Whether undelivered bytes of the stream or of the webhook are over their mark, or Redis is nearly full.
    ///
    /// # Errors
    /// [`super::StoreError::Unavailable`].
    pub async fn is_over_mark(
        &self,
        run: RunId,
        node: usize,
        webhook: WebhookId,
    ) -> StoreResult<bool> {
        let mut call = self.call(&scripts::IS_OVER);
        call.arg(run.to_string()).arg(node).arg(webhook.to_string());
        self.invoke(&call).await
    }

    /// Makes a failed fetch ready again after `delay`, with one more attempt counted. `of_source`: it is the source that
    /// failed; one that goes on failing is left alone meanwhile, and attempts don't count.
    ///
    /// # Errors
    /// [`super::StoreError::Unavailable`].
    pub async fn retry_fetch(
        &self,
        handle: &FetchHandle,
        delay: Duration,
        requests: u32,
        of_source: bool,
    ) -> StoreResult<Retried> {
        let mut call = self.call(&scripts::FETCH_RETRY);
        call.arg(&handle.task)
            .arg(&handle.token)
            .arg(handle.run.to_string())
            .arg(handle.node)
            .arg(millis(delay))
            .arg(requests)
            .arg(u8::from(of_source))
            .arg(MAX_ATTEMPTS);
        let (word, pause): (String, u64) = self.invoke(&call).await?;
        if word == "used_up" {
            return Ok(Retried::UsedUp);
        }
        let pause = Some(pause).filter(|ms| *ms > 0).map(Duration::from_millis);
        Ok(Retried::Step(step("fetch_retry", &word)?, pause))
    }

    /// Blocks the account's lane for `wait`, as the source asked; the task goes back without using up an attempt.
    ///
    /// # Errors
    /// [`super::StoreError::Unavailable`].
    pub async fn limit_fetch(
        &self,
        handle: &FetchHandle,
        wait: Duration,
        requests: u32,
        resource: &str,
    ) -> StoreResult<FetchStep> {
        let mut call = self.call(&scripts::FETCH_LIMITED);
        call.arg(&handle.task)
            .arg(&handle.token)
            .arg(handle.run.to_string())
            .arg(millis(wait))
            .arg(requests)
            .arg(handle.node)
            .arg(resource);
        let answer: Vec<String> = self.invoke(&call).await?;
        step("fetch_limited", answer.first().map_or("", String::as_str))
    }

    /// Lets a fetch wait until its account is active again; the task goes back without using up an attempt. Or fails the
    /// run, where that is its policy or the account is gone.
    ///
    /// # Errors
    /// [`super::StoreError::Unavailable`].
    pub async fn await_account(
        &self,
        handle: &FetchHandle,
        wait: &AccountWait<'_>,
    ) -> StoreResult<FetchStep> {
        let mut call = self.call(&scripts::AWAIT_ACCOUNT);
        call.arg(&handle.task)
            .arg(&handle.token)
            .arg(handle.run.to_string())
            .arg(handle.node)
            .arg(wait.requests)
            .arg(wait.environment.to_string())
            .arg(millis(wait.longest))
            .arg(millis(wait.if_active))
            .arg(u8::from(wait.fail_fast))
            .arg(wait.message)
            .arg(wait.too_long)
            .arg(DELETED_MESSAGE)
            .arg(DISABLED_MESSAGE);
        step("await_account", &self.invoke::<String>(&call).await?)
    }

    /// Ends a fetch that is given up: counted, listed, told, and the run goes on or fails by `policy`.
    ///
    /// # Errors
    /// [`super::StoreError::Unavailable`].
    pub async fn fail_fetch(
        &self,
        handle: &FetchHandle,
        failure: &FetchFailure<'_>,
    ) -> StoreResult<FetchStep> {
        let mut call = self.call(&scripts::FETCH_FAILED);
        call.arg(&handle.task)
            .arg(&handle.token)
            .arg(handle.run.to_string())
            .arg(handle.node)
            .arg(failure.requests)
            .arg(&failure.error)
            .arg(failure.policy.as_str())
            .arg(failure.code)
            .arg(failure.message)
            .arg(failure.resource)
            .arg(MAX_LISTED_ERRORS)
            .arg(u8::from(failure.again))
            .arg(u8::from(failure.answered));
        step("fetch_failed", &self.invoke::<String>(&call).await?)
    }
}
