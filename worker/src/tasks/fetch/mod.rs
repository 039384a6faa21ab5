//! Fetching one resource, or one resource for one parent record, page by page.
//!
//! Triggered by the start of a run and by each committed parent record. A reader
//! requests pages and splits them into parts of about a megabyte; this side commits
//! the parts in order, each in one script with everything that follows from it,
//! while the reader is already at the next. Running a task twice is harmless: every
//! commit checks the lease and its own number. It ends with the last page, with an
//! error that is given up, with the end of the run, or parked at a page edge while
//! the receiver is behind. A task of a node that loops is first taken apart into one
//! for each element (`expand`); a task with a fault in it only tells that one.

mod builder;
mod credentials;
mod expand;
mod reader;
mod report;

use std::{collections::BTreeMap, time::Duration};

use serde_json::Value;
use shared::{
    expr::template::Scope,
    failure::FailurePoint,
    ids::RunId,
    integration::{
        Method,
        errors::{self, Verdict},
    },
    model::account::AccountStatus,
    plan::{LOOP_ITEM, Loop, Node},
    queue::task::{FetchBody, TaskBody},
    store::{
        fetches::{After, Committed, FetchHandle, FetchStep, PageCommit, Retried},
        queue::{Claim, LEASE, MAX_RESCUES, Queue},
    },
};
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use self::builder::is_usable;
use self::reader::{Next, Part, Progress, Read, Reader};
use super::patience::until_available;
use crate::context::{Context, LoadError, LoadedAccount, LoadedRun};
use crate::measure;

/// Parts between reader and committer: one is read while one is committed.
const PARTS_AHEAD: usize = 1;
/// How long a fetch in the middle of a page waits for a receiver that is behind
/// before it parks and has to request the page again.
const MID_PAGE_PATIENCE: Duration = Duration::from_secs(5);
const MID_PAGE_LOOK: Duration = Duration::from_millis(100);

/// Everything one fetch works with.
pub(crate) struct Fetch {
    pub run: std::sync::Arc<LoadedRun>,
    pub account: std::sync::Arc<LoadedAccount>,
    pub node: usize,
    pub gate: u64,
    pub body: FetchBody,
}

impl Fetch {
    pub fn node(&self) -> &Node {
        &self.run.plan.nodes[self.node]
    }

    pub fn method(&self) -> Result<&Method, String> {
        self.run
            .integration
            .method(&self.node().resource, &self.node().method)
    }

    /// Placeholders with a ready value: those of the ancestors' records, of the current element of a loop, and
    /// `previous_run_date`.
    pub fn exact(&self) -> BTreeMap<String, Value> {
        let node = self.node();
        let mut exact = self.body.parents.clone();
        if let Some(item) = self.body.parents.get(LOOP_ITEM) {
            for part in &node.elements {
                // As in a parent's record: what is null or empty is no value.
                if let Some(value) = part.path.get(item).filter(|value| is_usable(value)) {
                    exact.insert(part.placeholder.clone(), value.clone());
                }
            }
            let looped = node.loop_on.as_ref().filter(|_| self.body.looped);
            if let Some(placeholder) = looped.and_then(Loop::placeholder) {
                exact.insert(placeholder.to_owned(), item.clone());
            }
        }
        if let Some(previous) = self.run.previous.get(self.node).copied().flatten() {
            exact.insert(
                "previous_run_date".to_owned(),
                Value::String(previous.to_string()),
            );
        }
        exact
    }

    /// What the sync job's own placeholders see.
    pub fn scope<'a>(&'a self, args: &'a Value, exact: &'a BTreeMap<String, Value>) -> Scope<'a> {
        Scope {
            roots: vec![
                ("args", args),
                ("context", &self.account.context),
                ("account", &self.account.scope),
                ("run", &self.run.scope),
            ],
            exact: Some(exact),
            omit: &["previous_run_date"],
        }
    }
}

/// Runs the task; the word is its outcome in metrics and logs.
///
/// # Errors
/// What the store can't do; the task stays claimed and is rescued.
pub async fn execute(
    context: &std::sync::Arc<Context>,
    claim: &Claim,
    run_id: RunId,
    node: usize,
    gate: u64,
    body: FetchBody,
) -> Result<&'static str, LoadError> {
    let handle = FetchHandle {
        task: claim.id.clone(),
        token: claim.token.clone(),
        run: run_id,
        node,
    };
    let run = match context.run(run_id).await {
        Ok(Some(run)) => run,
        Ok(None) => {
            until_available(|| {
                context
                    .store
                    .finish_task(Queue::Fetches, &claim.id, &claim.token)
            })
            .await?;
            return Ok("dropped");
        }
        // A worker of another version may read it; but not for ever.
        Err(LoadError::Invalid(message)) if claim.attempt >= errors::MAX_ATTEMPTS => {
            return report::give_up_unreadable(context, &handle, &message, claim.attempt).await;
        }
        Err(error) => return Err(error),
    };
    let spec = &run.spec;
    let parents = body.parents.clone();
    let failing = report::Failing {
        context,
        run: &run,
        handle: &handle,
        parents: &parents,
    };
    if run.plan.nodes.get(node).is_none() {
        return failing
            .give_up_because(
                errors::INTERNAL,
                "the task names a node that the job lacks",
                0,
                0,
            )
            .await;
    }
    if let Some(fault) = &body.fault {
        return failing.tell(fault).await;
    }
    if claim.rescues > MAX_RESCUES {
        let message = "the worker crashed each time it worked on this request; it was given up";
        return failing
            .give_up_because("worker_crashed", message, claim.attempt, 0)
            .await;
    }
    if claim.attempt > errors::MAX_ATTEMPTS {
        let message = "each attempt failed within the worker, whose log says why; it was given up";
        return failing
            .give_up_because(errors::INTERNAL, message, claim.attempt, 0)
            .await;
    }
    let account = match context
        .account(spec.environment_id, spec.integrated_account_id)
        .await
    {
        Ok(Some(account)) if account.status == AccountStatus::Active => account,
        Ok(_) => {
            let message = "the integrated account is not active any more";
            let (environment, fail_fast) = (spec.environment_id, failing.fails_fast());
            return credentials::wait(context, &handle, environment, 0, fail_fast, message).await;
        }
        Err(LoadError::Store(error)) => return Err(error.into()),
        Err(error) => {
            return failing
                .give_up_because(
                    "credentials_unreadable",
                    &error.to_string(),
                    claim.attempt,
                    0,
                )
                .await;
        }
    };
    let fetch = std::sync::Arc::new(Fetch {
        run: run.clone(),
        account,
        node,
        gate,
        body,
    });
    if let Some(over) = fetch.node().loop_on.as_ref()
        && !fetch.body.looped
    {
        return expand::execute(context, &fetch, over, &handle, &failing, claim.attempt).await;
    }
    FailurePoint::PageAsked.reach()?;
    let (sender, parts) = mpsc::channel(PARTS_AHEAD);
    let reader = Reader::new(context.clone(), fetch.clone(), sender);
    // The reader ends with this task: its handle aborts it.
    let _reader = AbortOnDropHandle::new(tokio::spawn(reader.run()));
    commit_parts(context, &fetch, &handle, claim.attempt, parts, &failing).await
}

/// Commits what the reader brings, in order.
async fn commit_parts(
    context: &Context,
    fetch: &Fetch,
    handle: &FetchHandle,
    mut attempt: u32,
    mut parts: mpsc::Receiver<Read>,
    failing: &report::Failing<'_>,
) -> Result<&'static str, LoadError> {
    let mut step = 0;
    let mut may_park = false;
    while let Some(read) = parts.recv().await {
        let part = match read {
            Read::Part(part) => part,
            Read::Failed {
                failure,
                requests,
                url,
            } => {
                let problem = report::Problem {
                    failure: &failure,
                    requests,
                    url,
                    attempt,
                };
                return settle_failure(context, fetch, handle, &problem, failing).await;
            }
        };
        let Part {
            chunks,
            children,
            records,
            requests,
            pages,
            next,
            permit,
        } = part;
        FailurePoint::PartRead.reach()?;
        let (after, body) = match next {
            Next::Done => (After::Done, String::new()),
            Next::Page(cursor) => (
                After::NextPage,
                page_body(fetch, Some(cursor), Progress::default()),
            ),
            Next::PageElsewhere(cursor) => (
                After::NextClaim,
                page_body(fetch, Some(cursor), Progress::default()),
            ),
            Next::SamePage(cursor, progress) => {
                let after = if may_park {
                    After::NextPage
                } else {
                    After::SamePage
                };
                (after, page_body(fetch, cursor, progress))
            }
        };
        let mid_page = after == After::SamePage;
        let commit = PageCommit {
            handle,
            step,
            after,
            body,
            requests,
            pages,
            records,
            chunks,
            children,
            lease: LEASE,
        };
        let began = std::time::Instant::now();
        let committed = until_available(|| context.store.commit_page(&commit)).await?;
        measure::committed(began.elapsed(), records);
        drop(permit);
        match committed {
            Committed::Done { .. } if after == After::Done => return Ok("done"),
            Committed::Done { over } => {
                step += 1;
                attempt = 0;
                may_park = over && mid_page && !wait_for_receiver(context, fetch, handle).await?;
            }
            Committed::Parked if after == After::NextClaim => return Ok("next_page"),
            Committed::Parked => return Ok("parked"),
            Committed::Stale => return Ok("stale"),
            Committed::RunEnded => return Ok("run_ended"),
        }
    }
    // The reader went without a last word: it panicked. The task is tried again.
    let problem = report::Problem {
        failure: &reader::internal("the reader of the page crashed"),
        requests: 0,
        url: None,
        attempt,
    };
    settle_failure(context, fetch, handle, &problem, failing).await
}

/// Waits in the middle of a page for the receiver to catch up; false when it does not.
async fn wait_for_receiver(
    context: &Context,
    fetch: &Fetch,
    handle: &FetchHandle,
) -> Result<bool, LoadError> {
    let began = std::time::Instant::now();
    while began.elapsed() < MID_PAGE_PATIENCE {
        tokio::time::sleep(MID_PAGE_LOOK).await;
        let webhook = fetch.run.spec.webhook_id;
        if !until_available(|| context.store.is_over_mark(handle.run, handle.node, webhook)).await?
        {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The body of the task once it stands at a page, or in the middle of one.
fn page_body(
    fetch: &Fetch,
    cursor: Option<shared::integration::Cursor>,
    progress: Progress,
) -> String {
    let body = FetchBody {
        cursor,
        skip: progress.skip,
        skip_digest: progress.digest,
        restarts: progress.restarts,
        ..fetch.body.clone()
    };
    task_body(fetch, body)
}

fn task_body(fetch: &Fetch, body: FetchBody) -> String {
    TaskBody::Fetch {
        node: fetch.node,
        gate: fetch.gate,
        body,
    }
    .to_string()
}

/// Retries, waits or gives up, as the classification says.
async fn settle_failure(
    context: &Context,
    fetch: &Fetch,
    handle: &FetchHandle,
    problem: &report::Problem<'_>,
    failing: &report::Failing<'_>,
) -> Result<&'static str, LoadError> {
    let classified = problem.failure;
    let resource = &fetch.node().resource;
    let run = handle.run;
    match classified.verdict {
        Verdict::RateLimited { wait } => {
            tracing::info!(run.id = %run, task.id = %handle.task, resource, wait_ms = wait.as_millis(), "the source asked to wait");
            let step = until_available(|| {
                context
                    .store
                    .limit_fetch(handle, wait, problem.requests, resource)
            })
            .await?;
            Ok(outcome(step, "rate_limited"))
        }
        Verdict::Retry { after } => {
            let attempt = problem.attempt + 1;
            let delay = after.unwrap_or_else(|| errors::backoff(attempt, rand::random()));
            let (requests, of_source) = (problem.requests, classified.code != errors::INTERNAL);
            let retried = until_available(|| {
                let store = &context.store;
                store.retry_fetch(handle, delay, requests, of_source)
            });
            let (step, pause) = match retried.await? {
                Retried::Step(step, pause) => (step, pause),
                Retried::UsedUp => return failing.give_up(problem).await,
            };
            tracing::info!(
                run.id = %run, task.id = %handle.task, resource, attempt, code = classified.code,
                delay_ms = delay.as_millis(), error = %classified.message, "a request failed and will be tried again"
            );
            if let Some(pause) = pause {
                tracing::warn!(
                    run.id = %run, account.id = %fetch.run.spec.integrated_account_id, code = classified.code,
                    pause_ms = pause.as_millis(), "the source fails again and again; it is left alone for a while"
                );
            }
            Ok(outcome(step, "retried"))
        }
        Verdict::Unauthorized => {
            let spec = &fetch.run.spec;
            let (environment, account) = (spec.environment_id, spec.integrated_account_id);
            let message = &classified.message;
            credentials::refused(context, environment, account, &fetch.account, message).await?;
            let (requests, fail_fast) = (problem.requests, failing.fails_fast());
            credentials::wait(context, handle, environment, requests, fail_fast, message).await
        }
        Verdict::Fail => failing.give_up(problem).await,
    }
}

fn outcome(step: FetchStep, done: &'static str) -> &'static str {
    match step {
        FetchStep::Done => done,
        FetchStep::Stale => "stale",
        FetchStep::RunEnded => "run_ended",
    }
}
