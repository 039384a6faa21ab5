//! What a workflow did for one event.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::workflow::WorkflowConfig;
use crate::{
    clock::Timestamp,
    fault::Fault,
    ids::{CronTriggerId, EnvironmentId, EventId, RunId, WorkflowId, WorkflowRunId},
};

/// One event's passage through one workflow.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct WorkflowRun {
    #[schema(value_type = String, example = "wfr_01J8Z5T2V6N3Q4R7S8W9X0Y1Z2")]
    pub id: WorkflowRunId,
    #[schema(value_type = String)]
    pub environment_id: EnvironmentId,
    #[schema(value_type = String)]
    pub workflow_id: WorkflowId,
    pub status: WorkflowRunStatus,
    pub event: StartEvent,
    /// The account that the event is about.
    pub integrated_account_id: Option<String>,
    pub tenant_id: Option<String>,
    /// What became of each step so far, in order.
    pub steps: Vec<StepResult>,
    /// Why it failed.
    pub error: Option<StepError>,
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    #[schema(value_type = Option<String>, format = DateTime)]
    pub finished_at: Option<Timestamp>,
}

/// A workflow run as it is stored: with the workflow as it was when the event came, which it goes on with whatever becomes
/// of the workflow.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct KeptWorkflowRun {
    #[serde(flatten)]
    pub run: WorkflowRun,
    pub config: WorkflowConfig,
    /// Whether the workflow's `run_if` said yes.
    #[serde(default)]
    pub wanted: bool,
}

/// The event that started a workflow.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct StartEvent {
    /// Webhooks get their copies under other ids.
    #[schema(value_type = String)]
    pub id: EventId,
    pub event: String,
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
}

/// How far it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum WorkflowRunStatus {
    Running,
    /// Each step was done or left out by its `run_if`.
    Completed,
    /// The workflow's `run_if` said no.
    Skipped,
    /// A step failed; those after it were not tried.
    Failed,
}

impl WorkflowRunStatus {
    pub const ALL: [(&str, Self); 4] = [
        ("running", Self::Running),
        ("completed", Self::Completed),
        ("skipped", Self::Skipped),
        ("failed", Self::Failed),
    ];
}

/// What became of one step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct StepResult {
    pub status: StepStatus,
    /// The run that it started.
    #[schema(value_type = Option<String>)]
    pub sync_job_run_id: Option<RunId>,
    /// The cron trigger that it made.
    #[schema(value_type = Option<String>)]
    pub sync_job_cron_trigger_id: Option<CronTriggerId>,
    pub error: Option<StepError>,
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
}

/// What a step did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum StepStatus {
    /// It started a run.
    Started,
    /// It made a cron trigger, or found the one it made for this account before.
    Scheduled,
    /// Its `run_if` said no.
    Skipped,
    Failed,
}

/// Why a step failed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct StepError {
    /// `expression_failed`, `validation_failed`, `run_already_active` or `conflict` of a step; `workflow_loop` or
    /// `worker_crashed` of the whole.
    pub code: String,
    pub message: String,
    #[serde(default)]
    #[schema(value_type = Vec<Object>)]
    pub details: Vec<Value>,
}

impl StepError {
    /// With the faults of a request.
    #[must_use]
    pub fn of_faults(code: &str, faults: &crate::fault::Faults) -> Self {
        let details = |fault: &Fault| serde_json::to_value(fault).unwrap_or_default();
        Self {
            code: code.to_owned(),
            message: faults.to_string(),
            details: faults.as_slice().iter().map(details).collect(),
        }
    }
}

/// Bits of an id that follow from `parts`, so that whoever does the same again finds what was made before; its time is
/// `at`, so that lists stay in order.
#[must_use]
pub fn derived_id(at: Timestamp, parts: &[&str]) -> u128 {
    const RANDOM_BITS: u32 = 80;
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part);
        hash.update([0]);
    }
    let digest = hash.finalize();
    let drawn = digest
        .iter()
        .take(16)
        .fold(0_u128, |bits, byte| (bits << 8) | u128::from(*byte));
    let time = u128::try_from(at.0).unwrap_or(0) << RANDOM_BITS;
    time | (drawn & ((1 << RANDOM_BITS) - 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_event_and_step_give_the_same_id_and_others_another() {
        let at = Timestamp(1_714_564_800_007);
        let id = derived_id(at, &["evt_1", "wf_1", "0"]);
        assert_eq!(id, derived_id(at, &["evt_1", "wf_1", "0"]));
        assert_ne!(id, derived_id(at, &["evt_1", "wf_1", "1"]));
        assert_ne!(id, derived_id(at, &["evt_1", "wf_10", ""]));
        assert_ne!(id, derived_id(at, &["evt_2", "wf_1", "0"]));
        assert_eq!(RunId::from_bits(id).timestamp_ms(), 1_714_564_800_007);
    }
}
