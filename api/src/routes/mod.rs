//! One folder a kind of object, one file a verb.
pub mod cron_triggers;
pub mod integrated_accounts;
pub mod integrations;
pub mod service;
pub mod sync_job_run_states;
pub mod sync_job_runs;
pub mod sync_jobs;
pub mod webhooks;
pub mod workflow_runs;
pub mod workflows;

use serde::Serialize;

/// What a deletion answers.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Deleted {
    /// Of what was deleted.
    pub id: String,
}
