//! A sync job run: what it was started with, its states, what `GET` shows.
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::sync_job::JobOptions;
use crate::{
    clock::Timestamp,
    ids::{AccountId, EnvironmentId, RunId, SyncJobId, WebhookId},
};

/// What happens to a run when a fetch or a delivery is given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ErrorHandling {
    /// The run goes on and counts the error.
    Ignore,
    /// The run fails at once.
    FailFast,
    /// As `ignore`; errors that come together are told in one event.
    Batch,
}

impl ErrorHandling {
    /// The word in JSON and in the store.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ignore => "ignore",
            Self::FailFast => "fail_fast",
            Self::Batch => "batch",
        }
    }
}

/// Who started the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Trigger {
    Api,
    Cron,
    Workflow,
}

/// `created → running ⇄ rate_limited → completed | failed | stopped`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RunStatus {
    Created,
    Running,
    RateLimited,
    Completed,
    Failed,
    Stopped,
}

impl RunStatus {
    pub const ALL: [Self; 6] = [
        Self::Created,
        Self::Running,
        Self::RateLimited,
        Self::Completed,
        Self::Failed,
        Self::Stopped,
    ];

    /// The word in JSON, in the store and in the terminal event's name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Running => "running",
            Self::RateLimited => "rate_limited",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Stopped => "stopped",
        }
    }

    /// The status of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == name)
    }

    /// Whether nothing more is fetched.
    #[must_use]
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Stopped)
    }
}

/// Everything a run was started with, frozen at creation; workers read it, nothing changes it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RunSpec {
    pub id: RunId,
    pub environment_id: EnvironmentId,
    pub sync_job_id: SyncJobId,
    pub integrated_account_id: AccountId,
    pub webhook_id: WebhookId,
    pub tenant_id: String,
    pub integration_name: String,
    /// Content hash of the integration document (`store::documents`).
    pub integration_hash: String,
    pub trigger: Trigger,
    /// The cron trigger or the workflow run that started it.
    #[serde(default)]
    pub trigger_id: Option<String>,
    /// Workflows in a row that led to it, each started by the end of a run of the one before.
    #[serde(default)]
    pub workflow_chain: u32,
    pub args: Value,
    pub error_handling: ErrorHandling,
    pub ignore_previous_run: bool,
    /// The job's `resources`, as given.
    pub resources: Value,
    /// What the job says besides.
    #[serde(default)]
    pub options: JobOptions,
    /// The job's `mutex_key`, its placeholders filled.
    #[serde(default)]
    pub mutex_key: Option<String>,
    /// Starts although another run with the same key is active.
    #[serde(default)]
    pub force: bool,
    /// The run whose failed parts this one fetches.
    #[serde(default)]
    pub retry_of: Option<RunId>,
    /// What it takes over from that run.
    #[serde(default)]
    pub retry: Option<Retry>,
    /// Event types that are made: those the webhook had subscribed to, narrowed by `events_to_send`. Empty: all;
    /// [`crate::model::event::NO_EVENTS`]: none.
    pub event_types: Vec<String>,
    /// Records of one event at most.
    pub batch_records: u32,
    /// Record bytes of one event at most (a single larger record goes alone).
    pub batch_bytes: u32,
    /// How long a batch that could still grow waits.
    pub linger_ms: u32,
    /// Deliveries of the webhook in flight at once.
    pub delivery_concurrency: u32,
    /// How long the run is kept once it has ended.
    pub retention_days: u32,
}

impl RunSpec {
    /// Whether events of this type are made for the run at all.
    #[must_use]
    pub fn subscribes(&self, event_type: &str) -> bool {
        self.event_types.is_empty()
            || self
                .event_types
                .iter()
                .any(|subscribed| subscribed == event_type)
    }
}

/// What a retry takes over from the run whose failed parts it fetches.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Retry {
    /// `previous_run_date` of each resource, by name, as that run had it: the retry asks for the same.
    pub previous: BTreeMap<String, Timestamp>,
    /// What becomes the `previous_run_date` of resources that are whole now: the start of the first run.
    pub watermark: Timestamp,
    /// Nodes of which something is missing that isn't fetched again, such as dead letters: their `previous_run_date` stays.
    pub undelivered: Vec<usize>,
}

/// A run as the API shows it; true while it runs.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct RunView {
    #[schema(value_type = String, example = "run_01J8Z5T2V6N3Q4R7S8W9X0Y1Z2")]
    pub id: RunId,
    pub status: RunStatus,
    #[schema(value_type = String)]
    pub environment_id: EnvironmentId,
    #[schema(value_type = String)]
    pub sync_job_id: SyncJobId,
    #[schema(value_type = String)]
    pub integrated_account_id: AccountId,
    #[schema(value_type = String)]
    pub webhook_id: WebhookId,
    pub tenant_id: String,
    pub integration_name: String,
    pub trigger: Trigger,
    /// The cron trigger or the workflow run that started it.
    pub trigger_id: Option<String>,
    #[schema(value_type = Object)]
    pub args: Value,
    pub error_handling: ErrorHandling,
    pub ignore_previous_run: bool,
    /// The job's, its placeholders filled.
    pub mutex_key: Option<String>,
    pub max_duration_minutes: Option<u32>,
    /// The run whose failed parts this one fetches.
    #[schema(value_type = Option<String>)]
    pub retry_of: Option<RunId>,
    #[schema(value_type = String)]
    pub created_at: Timestamp,
    #[schema(value_type = Option<String>)]
    pub started_at: Option<Timestamp>,
    #[schema(value_type = Option<String>)]
    pub finished_at: Option<Timestamp>,
    pub records_fetched: u64,
    pub records_delivered: u64,
    /// Records in dead letters.
    pub records_dead: u64,
    /// Fetches that were given up.
    pub errors: u64,
    /// Requests made to the source.
    pub requests: u64,
    /// How long the source made the run wait, overlapping waits counted once.
    pub rate_limited_ms: u64,
    /// What the run waits for; `null` while it waits for nothing.
    pub waiting_for: Option<WaitingFor>,
    #[schema(value_type = Option<String>)]
    pub waiting_since: Option<Timestamp>,
    /// The active run that a `waiting_for` of `mutex` is about.
    #[schema(value_type = Option<String>)]
    pub waiting_for_sync_job_run_id: Option<RunId>,
    /// Bytes committed and not yet acknowledged.
    pub undelivered_bytes: u64,
    /// `{"wms/orders":{"list":{"fetched":n,"persisted":n}}}`
    pub resource_stats: BTreeMap<String, BTreeMap<String, ResourceStats>>,
    pub progress: Vec<ResourceProgress>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<RunError>,
}

/// What keeps a run from going on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum WaitingFor {
    /// New credentials of its integrated account.
    Credentials,
    /// The end of another run with the same mutex key, before it begins.
    Mutex,
    /// The receiver: it fails, or so much waits for it that nothing more is fetched.
    Receiver,
}

/// Counts of one resource and method.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct ResourceStats {
    pub fetched: u64,
    /// Records whose delivery was acknowledged.
    pub persisted: u64,
}

/// How far one resource of a run is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct ResourceProgress {
    /// The stream's name: the resource, or its alias.
    pub name: String,
    pub resource: String,
    pub method: String,
    pub status: ResourceStatus,
    pub records: u64,
    pub records_delivered: u64,
    pub records_dead: u64,
    pub requests: u64,
    pub errors: u64,
    pub pages: u64,
    pub first_error: Option<String>,
    /// Fetches that are queued or in work.
    pub open_tasks: u64,
    /// Highest sequence number given so far.
    pub seq: u64,
}

/// Where one resource of a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ResourceStatus {
    Waiting,
    Fetching,
    Delivering,
    Done,
}

/// Why a run failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct RunError {
    pub code: String,
    pub message: String,
    pub resource: Option<String>,
}
