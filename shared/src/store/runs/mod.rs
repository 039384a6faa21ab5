//! Runs: acceptance, start, stop, and what the API shows of them.

mod list;
mod view;

use std::collections::HashMap;

use redis::AsyncCommands;
use serde_json::{Value, json};

pub use list::RunFilter;
pub use view::snapshot_view;

use super::{
    Page, PageRequest, Store, StoreError, StoreResult,
    fetches::{FetchStep, step},
    scripts,
    scripts::unexpected,
};
use crate::{
    clock::Timestamp,
    ids::{AccountId, EnvironmentId, RunId, SyncJobId},
    integration::Pace,
    model::run::{RunSpec, RunView, WaitingFor},
};

/// Runs of one environment that are started at the same time.
pub(super) const RUNS_LANE_LIMIT: u32 = 16;
const MS_PER_MINUTE: u64 = 60_000;
const MS_PER_DAY: u64 = 86_400_000;

/// How the acceptance of a run went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Created {
    Created,
    /// A run of this id was accepted before; nothing was changed.
    Existed,
    /// Too many runs wait for the mutex key already; this one is active. Nothing was changed.
    Full(RunId),
}

/// How the acceptance of a retry went; but for `Accepted`, nothing was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retried {
    /// As with any run.
    Accepted(Created),
    /// The run to retry is unknown.
    NotFound,
    /// It has not ended.
    Active,
    /// Nothing failed in it.
    Nothing,
    /// It was ended early; so many of its fetches never ended.
    Unfetched(u64),
    /// So many more fetches failed than are remembered.
    Forgotten(u64),
}

/// How a request to delete went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeletedRun {
    Deleted,
    /// It was active, and is stopped now.
    Stopped,
    /// It has ended, and its events are still being delivered.
    Ended,
    NotFound,
}

/// How a request to stop went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stopped {
    Stopped,
    /// It had ended before.
    Ended,
    NotFound,
}

/// What `start_run` lays out for one node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeLayout {
    pub name: String,
    pub resource: String,
    pub method: String,
    pub parent: Option<usize>,
    pub kids: Vec<usize>,
    /// Whether record events are made of its records.
    pub stored: bool,
    /// The nearest stored ancestor: its stream goes first.
    pub gate: Option<usize>,
    /// Nodes whose `gate` this one is.
    pub gated: Vec<usize>,
    /// `previous_run_date`, ms since the epoch.
    pub previous_run_ms: Option<i64>,
    /// Whether errors that come together are told in one event.
    pub batch_errors: bool,
}

/// A run that is about to start.
#[derive(Debug)]
pub struct RunStart<'a> {
    pub task: &'a str,
    pub token: &'a str,
    pub run: RunId,
    /// Payload of the `started` event, as JSON.
    pub started: String,
    /// Fetches of the account at once.
    pub fetch_limit: u32,
    /// The pace of requests; `None`: any.
    pub pace: Option<Pace>,
    /// What its accounts share, if the integration has one budget for all.
    pub shared_budget: Option<SharedBudget<'a>>,
    pub nodes: &'a [NodeLayout],
    /// Root tasks: node and body.
    pub roots: Vec<(usize, String)>,
}

/// A budget that all accounts of an integration in one environment share, pace included.
#[derive(Debug, Clone, Copy)]
pub struct SharedBudget<'a> {
    pub environment: EnvironmentId,
    /// Name of the integration.
    pub integration: &'a str,
    /// Fetches of all accounts at once; `None`: any number.
    pub most: Option<u32>,
}

/// Calls about runs.
#[derive(Debug, Clone)]
pub struct Runs {
    store: Store,
}

impl Store {
    #[must_use]
    pub fn runs(&self) -> Runs {
        Runs {
            store: self.clone(),
        }
    }
}

impl Runs {
    /// Accepts a run: state and first task in one script.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]: it may or may not have been accepted; call again with the same id.
    pub async fn create(&self, spec: &RunSpec) -> StoreResult<Created> {
        let mut call = self.store.call(&scripts::CREATE_RUN);
        add_acceptance(&mut call, spec, None)?;
        let answer: Vec<String> = self.store.invoke(&call).await?;
        created(&answer).ok_or_else(|| unexpected("create_run", &answer))
    }

    /// Accepts a run that fetches what failed in the run it retries (`retry_of`).
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]: it may or may not have been accepted; call again with the same id.
    pub async fn retry(&self, spec: &RunSpec, of: RunId) -> StoreResult<Retried> {
        let mut call = self.store.call(&scripts::RETRY_RUN);
        add_acceptance(&mut call, spec, Some(of))?;
        let answer: Vec<String> = self.store.invoke(&call).await?;
        let count = || {
            answer
                .get(1)
                .and_then(|count| count.parse().ok())
                .unwrap_or(1)
        };
        Ok(match answer.first().map_or("", String::as_str) {
            "not_found" => Retried::NotFound,
            "active" => Retried::Active,
            "nothing" => Retried::Nothing,
            "unfetched" => Retried::Unfetched(count()),
            "forgotten" => Retried::Forgotten(count()),
            _ => {
                Retried::Accepted(created(&answer).ok_or_else(|| unexpected("retry_run", &answer))?)
            }
        })
    }

    /// Starts a run under the claim of its `StartRun` task.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn start(&self, start: &RunStart<'_>) -> StoreResult<FetchStep> {
        let mut call = self.store.call(&scripts::START_RUN);
        call.arg(start.task)
            .arg(start.token)
            .arg(start.run.to_string())
            .arg(&start.started)
            .arg(start.fetch_limit)
            .arg(start.roots.len());
        for (node, body) in &start.roots {
            call.arg(*node).arg(body);
        }
        call.arg("nodes").arg(start.nodes.len());
        if let Some(pace) = start.pace {
            call.arg("fetch_gap").arg(pace.gap_us);
            call.arg("fetch_slack").arg(pace.slack_us);
        }
        if let Some(shared) = start.shared_budget {
            let place = format!("{}/{}", shared.environment, shared.integration);
            call.arg("fetch_place").arg(place);
            if let Some(most) = shared.most {
                call.arg("fetch_most").arg(most);
            }
        }
        for (i, node) in start.nodes.iter().enumerate() {
            let mut field = |name: &str, value: String| {
                call.arg(format!("n{i}:{name}")).arg(value);
            };
            let list = |nodes: &[usize]| {
                nodes
                    .iter()
                    .map(ToString::to_string)
                    .collect::<Vec<_>>()
                    .join(",")
            };
            let index = |node: Option<usize>| node.map(|node| node.to_string()).unwrap_or_default();
            field("name", node.name.clone());
            field("resource", node.resource.clone());
            field("method", node.method.clone());
            field("parent", index(node.parent));
            field("kids", list(&node.kids));
            field("stored", u8::from(node.stored).to_string());
            field("gate", index(node.gate));
            field("gated", list(&node.gated));
            if node.batch_errors {
                field("batch_errors", "1".to_owned());
            }
            if let Some(previous) = node.previous_run_ms {
                field("previous", previous.to_string());
            }
        }
        step("start_run", &self.store.invoke::<String>(&call).await?)
    }

    /// Fails a run that can't be started, under the claim of its `StartRun` task.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn fail_start(
        &self,
        task: &str,
        token: &str,
        run: RunId,
        code: &str,
        message: &str,
    ) -> StoreResult<FetchStep> {
        let mut call = self.store.call(&scripts::FAIL_START);
        call.arg(task)
            .arg(token)
            .arg(run.to_string())
            .arg(code)
            .arg(message);
        step("fail_start", &self.store.invoke::<String>(&call).await?)
    }

    /// Stops a run: nothing more is fetched, what was committed is still delivered. Harmless when it has ended.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn stop(&self, environment: EnvironmentId, run: RunId) -> StoreResult<Stopped> {
        let mut call = self.store.call(&scripts::STOP_RUN);
        call.arg(run.to_string()).arg(environment.to_string());
        match self.store.invoke::<String>(&call).await?.as_str() {
            "stopped" => Ok(Stopped::Stopped),
            "ended" => Ok(Stopped::Ended),
            "not_found" => Ok(Stopped::NotFound),
            other => Err(unexpected("stop_run", other)),
        }
    }

    /// Stops a run that is active, deletes one whose last event is settled.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn delete(&self, environment: EnvironmentId, run: RunId) -> StoreResult<DeletedRun> {
        let mut call = self.store.call(&scripts::DELETE_RUN);
        call.arg(run.to_string()).arg(environment.to_string());
        match self.store.invoke::<String>(&call).await?.as_str() {
            "deleted" => Ok(DeletedRun::Deleted),
            "stopped" => Ok(DeletedRun::Stopped),
            "ended" => Ok(DeletedRun::Ended),
            "not_found" => Ok(DeletedRun::NotFound),
            other => Err(unexpected("delete_run", other)),
        }
    }

    /// Fails runs that last longer than they may, at most `most`; gives those that were failed.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn fail_overdue(&self, most: usize) -> StoreResult<Vec<String>> {
        let mut call = self.store.call(&scripts::FAIL_OVERDUE);
        call.arg(most);
        self.store.invoke(&call).await
    }

    /// What the run was started with; `None` when it is unknown or past its retention.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], or a spec that can't be read.
    pub async fn spec(&self, run: RunId) -> StoreResult<Option<RunSpec>> {
        let json: Option<String> = self
            .store
            .connection()
            .get(self.store.keys().run_spec(run))
            .await?;
        json.map(|json| {
            serde_json::from_str(&json)
                .map_err(|error| StoreError::Unexpected(format!("the spec of {run}: {error}")))
        })
        .transpose()
    }

    /// The run's state as it stands, by field.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn state(&self, run: RunId) -> StoreResult<HashMap<String, String>> {
        Ok(self
            .store
            .connection()
            .hgetall(self.store.keys().run(run))
            .await?)
    }

    /// A run as the API shows it; `None` for one that is unknown or of another environment.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn get(
        &self,
        environment: EnvironmentId,
        run: RunId,
    ) -> StoreResult<Option<RunView>> {
        let Some(spec) = self.spec(run).await? else {
            return Ok(None);
        };
        if spec.environment_id != environment {
            return Ok(None);
        }
        let state = self.state(run).await?;
        if state.is_empty() || state.contains_key(view::DELETED_AT) {
            return Ok(None);
        }
        let mut views = [Some(view::run_view(&spec, &state))];
        self.name_obstacles(&mut views).await?;
        let [view] = views;
        Ok(view)
    }

    /// Adds what keeps runs waiting that isn't in their own state: a run that holds their mutex, a receiver that fails.
    async fn name_obstacles(&self, views: &mut [Option<RunView>]) -> StoreResult<()> {
        let mut failing = HashMap::new();
        for view in views.iter_mut().flatten() {
            if view.waiting_for == Some(WaitingFor::Mutex)
                && let Some(key) = &view.mutex_key
            {
                let key = self.store.keys().mutex(view.environment_id, key);
                let holder: Option<String> = self.store.connection().srandmember(key).await?;
                view.waiting_for_sync_job_run_id = holder.and_then(|id| id.parse().ok());
            }
            if view.undelivered_bytes == 0 || view.waiting_for.is_some() {
                continue;
            }
            let since = match failing.get(&view.webhook_id) {
                Some(since) => *since,
                None => self.store.failing_since(view.webhook_id).await?,
            };
            failing.insert(view.webhook_id, since);
            if let Some(since) = since {
                view.waiting_for = Some(WaitingFor::Receiver);
                view.waiting_since = Some(since.max(view.created_at));
            }
        }
        Ok(())
    }

    /// Errors of a run, oldest first.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn errors(
        &self,
        environment: EnvironmentId,
        run: RunId,
        page: &PageRequest,
    ) -> StoreResult<Option<Page<Value>>> {
        if !self.belongs(environment, run).await? {
            return Ok(None);
        }
        let rows = self
            .rows(&self.store.keys().run_errors(run), 0, page)
            .await?;
        Ok(Some(rows.map(|row| {
            serde_json::from_str(&row).unwrap_or_else(|_| json!({"message": row}))
        })))
    }

    /// Settled events of a run, in the order in which they were settled.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn events(
        &self,
        environment: EnvironmentId,
        run: RunId,
        page: &PageRequest,
    ) -> StoreResult<Option<Page<Value>>> {
        if !self.belongs(environment, run).await? {
            return Ok(None);
        }
        let state = self.state(run).await?;
        let dropped = state
            .get("events_dropped")
            .and_then(|count| count.parse().ok())
            .unwrap_or(0);
        let rows = self
            .rows(&self.store.keys().run_events(run), dropped, page)
            .await?;
        Ok(Some(rows.map(|row| view::event_view(&row, &state))))
    }

    /// What happened to a run, oldest first.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn timeline(
        &self,
        environment: EnvironmentId,
        run: RunId,
        page: &PageRequest,
    ) -> StoreResult<Option<Page<Value>>> {
        if !self.belongs(environment, run).await? {
            return Ok(None);
        }
        let rows = self
            .rows(&self.store.keys().run_timeline(run), 0, page)
            .await?;
        Ok(Some(rows.map(|row| view::timeline_view(&row))))
    }

    /// Sets `previous_run_date` of resources; `None` removes it.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn set_watermarks(
        &self,
        account: AccountId,
        job: SyncJobId,
        watermarks: &[(String, Option<Timestamp>)],
    ) -> StoreResult<()> {
        let mut call = self.store.call(&scripts::SET_WATERMARKS);
        call.arg(account.to_string()).arg(job.to_string());
        for (resource, at) in watermarks {
            call.arg(resource)
                .arg(at.map(|at| at.0.to_string()).unwrap_or_default());
        }
        self.store.invoke::<String>(&call).await.map(drop)
    }

    /// `previous_run_date` of each resource of a job for an account.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn watermarks(
        &self,
        account: AccountId,
        job: SyncJobId,
    ) -> StoreResult<HashMap<String, Timestamp>> {
        let stored: HashMap<String, i64> = self
            .store
            .connection()
            .hgetall(self.store.keys().watermarks(account, job))
            .await?;
        Ok(stored
            .into_iter()
            .map(|(resource, ms)| (resource, Timestamp(ms)))
            .collect())
    }

    async fn belongs(&self, environment: EnvironmentId, run: RunId) -> StoreResult<bool> {
        let (owner, deleted_at): (Option<String>, Option<String>) = self
            .store
            .connection()
            .hmget(
                self.store.keys().run(run),
                &["environment", view::DELETED_AT],
            )
            .await?;
        Ok(owner == Some(environment.to_string()) && deleted_at.is_none())
    }

    /// A page of a list that only grows, but for the `dropped` rows at its beginning; `after` is the position of the
    /// last row seen, those included.
    async fn rows(
        &self,
        key: &str,
        dropped: isize,
        page: &PageRequest,
    ) -> StoreResult<Page<String>> {
        let start = page
            .after
            .as_deref()
            .and_then(|after| after.parse::<isize>().ok())
            .map_or(0, |seen| (seen + 1 - dropped).max(0));
        let limit = isize::try_from(page.limit).unwrap_or(isize::MAX);
        let mut items: Vec<String> = self
            .store
            .connection()
            .lrange(key, start, start + limit)
            .await?;
        let more = items.len() > page.limit as usize;
        items.truncate(page.limit as usize);
        Ok(Page {
            items,
            next: more.then(|| (dropped + start + limit - 1).to_string()),
        })
    }
}

fn created(answer: &[String]) -> Option<Created> {
    match answer.first()?.as_str() {
        "created" => Some(Created::Created),
        "existed" => Some(Created::Existed),
        "full" => Some(Created::Full(answer.get(1)?.parse().ok()?)),
        _ => None,
    }
}

/// What a script needs to accept a run: run, environment, spec, limit of the lane, the run it retries if it does, then the
/// fields of its state.
pub(super) fn add_acceptance(
    call: &mut redis::ScriptInvocation<'_>,
    spec: &RunSpec,
    retry_of: Option<RunId>,
) -> StoreResult<()> {
    let json =
        serde_json::to_string(spec).map_err(|error| StoreError::Unexpected(error.to_string()))?;
    let events = if spec.event_types.is_empty() {
        "*".to_owned()
    } else {
        format!(",{},", spec.event_types.join(","))
    };
    call.arg(spec.id.to_string())
        .arg(spec.environment_id.to_string())
        .arg(json)
        .arg(RUNS_LANE_LIMIT);
    if let Some(of) = retry_of {
        call.arg(of.to_string());
    }
    if let Some(key) = &spec.mutex_key {
        call.arg("mutex").arg(key);
        if spec.force {
            call.arg("force").arg(1);
        }
    }
    if let Some(minutes) = spec.options.max_duration_minutes {
        call.arg("max_duration_ms")
            .arg(u64::from(minutes) * MS_PER_MINUTE);
    }
    if let Some(retry) = &spec.retry {
        call.arg("watermark").arg(retry.watermark.0);
        let nodes: Vec<String> = retry.undelivered.iter().map(ToString::to_string).collect();
        call.arg("undelivered")
            .arg(format!(",{},", nodes.join(",")));
    }
    call.arg("account")
        .arg(spec.integrated_account_id.to_string());
    call.arg("job").arg(spec.sync_job_id.to_string());
    call.arg("webhook").arg(spec.webhook_id.to_string());
    call.arg("events").arg(events);
    call.arg("error_handling").arg(spec.error_handling.as_str());
    call.arg("batch_records").arg(spec.batch_records);
    call.arg("batch_bytes").arg(spec.batch_bytes);
    call.arg("linger_ms").arg(spec.linger_ms);
    call.arg("delivery_limit").arg(spec.delivery_concurrency);
    if spec.workflow_chain > 0 {
        call.arg("workflow_chain").arg(spec.workflow_chain);
    }
    call.arg("retention_ms")
        .arg(u64::from(spec.retention_days) * MS_PER_DAY);
    Ok(())
}

impl<T> Page<T> {
    /// The page with every row changed.
    pub fn map<U>(self, change: impl FnMut(T) -> U) -> Page<U> {
        Page {
            items: self.items.into_iter().map(change).collect(),
            next: self.next,
        }
    }
}
