//! A cron trigger as the API shows it.

use serde::Serialize;
use shared::{
    clock::Timestamp,
    ids::{CronTriggerId, EnvironmentId, RunId},
    model::cron_trigger::{CronTrigger, CronTriggerInput},
    store::cron::TriggerState,
};

/// Starts runs of a sync job by a schedule.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = SyncJobCronTrigger)]
pub struct CronTriggerView {
    #[schema(value_type = String, example = "cron_01J8Z5T2V6N3Q4R7S8W9X0Y1Z2")]
    pub id: CronTriggerId,
    #[serde(flatten)]
    pub input: CronTriggerInput,
    #[schema(value_type = Option<String>, format = DateTime)]
    pub next_run_at: Option<Timestamp>,
    #[schema(value_type = Option<String>, format = DateTime)]
    pub last_run_at: Option<Timestamp>,
    #[schema(value_type = Option<String>)]
    pub last_run_id: Option<RunId>,
    /// Fires that were passed over while nothing was there to make them, but for the last one.
    pub missed_runs: u64,
    /// Fires that made no run since the run before was active.
    pub skipped_runs: u64,
    /// Fires whose run could not be made.
    pub failed_runs: u64,
    /// Why the last fire made no run; `null` when it did.
    pub last_error: Option<String>,
    #[schema(value_type = String)]
    pub environment_id: EnvironmentId,
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    pub updated_at: Timestamp,
}

impl CronTriggerView {
    pub fn new(trigger: &CronTrigger, state: TriggerState) -> Self {
        Self {
            id: trigger.id,
            input: trigger.input.clone(),
            next_run_at: state.next_run_at,
            last_run_at: state.last_run_at,
            last_run_id: state.last_run_id,
            missed_runs: state.missed,
            skipped_runs: state.skipped,
            failed_runs: state.failed,
            last_error: state.error,
            environment_id: trigger.environment_id,
            created_at: trigger.created_at,
            updated_at: trigger.updated_at,
        }
    }
}
