//! A sync job run: what it was started with, its states, what `GET` shows.
use serde::{Deserialize, Serialize};
use serde_json::Value;
use crate::ids::{AccountId, EnvironmentId, RunId, SyncJobId, WebhookId};

/// What happens to a run when a fetch or a delivery is given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ErrorHandling {
    /// The run goes on and counts the error.
    Ignore,
    /// The run fails at once.
    FailFast,
}

/// Who started the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Trigger { Api, Cron, Workflow }

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RunStatus { Created, Running, RateLimited, Completed, Failed, Stopped }

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
    pub args: Value,
    pub error_handling: ErrorHandling,
    pub ignore_previous_run: bool,
    /// The job's `resources`, as given.
    pub resources: Value,
    /// Event types the webhook had subscribed to; empty: all.
    pub event_types: Vec<String>,
    pub batch_records: u32,
    pub batch_bytes: u32,
    pub linger_ms: u32,
}
