//! A sync job as the API shows it.

use serde::Serialize;
use serde_json::Value;
use shared::{
    clock::Timestamp,
    ids::{EnvironmentId, SyncJobId},
    model::{
        run::ErrorHandling,
        sync_job::{JobOptions, SyncJob},
    },
};

/// Which resources are synced, and how they depend on each other.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = SyncJob)]
pub struct SyncJobView {
    #[schema(value_type = String, example = "job_01J8Z5T2V6N3Q4R7S8W9X0Y1Z2")]
    pub id: SyncJobId,
    pub integration_name: String,
    pub label: Option<String>,
    pub error_handling: ErrorHandling,
    /// As given.
    #[schema(value_type = Vec<Object>)]
    pub resources: Value,
    #[serde(flatten)]
    pub options: JobOptions,
    #[schema(value_type = String)]
    pub environment_id: EnvironmentId,
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    pub updated_at: Timestamp,
}

impl From<&SyncJob> for SyncJobView {
    fn from(job: &SyncJob) -> Self {
        Self {
            id: job.id,
            integration_name: job.integration_name.clone(),
            label: job.label.clone(),
            error_handling: job.error_handling,
            resources: job.resources.clone(),
            options: job.options.clone(),
            environment_id: job.environment_id,
            created_at: job.created_at,
            updated_at: job.updated_at,
        }
    }
}
