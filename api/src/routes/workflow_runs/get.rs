//! `GET /workflow-run/{id}`

use actix_web::HttpResponse;
use shared::{ids::WorkflowRunId, model::workflow_run::WorkflowRun};

use crate::{
    answer::Answer,
    error::ApiError,
    extract::{Caller, Read},
};

/// What a workflow did for one event, step by step. Kept as long as ended runs are.
#[utoipa::path(
    get, path = "/api/v1/ipaas/workflow-run/{id}", tag = "workflow-run", operation_id = "get_workflow_run",
    responses((status = 200, description = "The workflow run", body = WorkflowRun))
)]
pub async fn get(caller: Caller<Read>) -> Result<HttpResponse, ApiError> {
    let id: WorkflowRunId = caller.id("workflow run")?;
    caller.query(&[])?;
    let run = caller.state.store.workflow_run(caller.environment, id);
    let run = run
        .await?
        .ok_or_else(|| ApiError::not_found("workflow run"))?;
    Ok(Answer::ok(&run)?.into())
}
