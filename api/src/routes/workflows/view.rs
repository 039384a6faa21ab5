//! A workflow as the API shows it.

use serde::Serialize;
use shared::{
    clock::Timestamp,
    ids::{EnvironmentId, WorkflowId},
    model::workflow::{Workflow, WorkflowInput},
};

/// What happens by itself when an event happens.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = Workflow)]
pub struct WorkflowView {
    #[schema(value_type = String, example = "wf_01J8Z5T2V6N3Q4R7S8W9X0Y1Z2")]
    pub id: WorkflowId,
    #[serde(flatten)]
    pub input: WorkflowInput,
    #[schema(value_type = String)]
    pub environment_id: EnvironmentId,
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    pub updated_at: Timestamp,
}

impl From<&Workflow> for WorkflowView {
    fn from(workflow: &Workflow) -> Self {
        Self {
            id: workflow.id,
            input: workflow.input.clone(),
            environment_id: workflow.environment_id,
            created_at: workflow.created_at,
            updated_at: workflow.updated_at,
        }
    }
}
