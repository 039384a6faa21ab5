//! `GET /workflow-run`

use actix_web::HttpResponse;
use shared::{
    ids::WorkflowRunId,
    model::workflow_run::{WorkflowRun, WorkflowRunStatus},
    store::workflow_runs::WorkflowRunFilter,
};

use crate::{
    answer::Answer,
    error::ApiError,
    extract::{Caller, Read},
};

/// What workflows did, newest event first.
#[utoipa::path(
    get, path = "/api/v1/ipaas/workflow-run", tag = "workflow-run", operation_id = "list_workflow_runs",
    params(
        ("workflow_id" = Option<String>, Query, description = "Only those of this workflow"),
        ("status" = Option<WorkflowRunStatus>, Query, description = "Only those in this status"),
    ),
    responses((status = 200, description = "A page", body = crate::openapi::List<WorkflowRun>))
)]
pub async fn list(caller: Caller<Read>) -> Result<HttpResponse, ApiError> {
    let known = ["workflow_id", "status"];
    let query = caller.list_query(&known, |row| row.parse::<WorkflowRunId>().is_ok())?;
    let filter = WorkflowRunFilter {
        workflow_id: query.filters.parsed("workflow_id")?,
        status: query.filters.choice("status", &WorkflowRunStatus::ALL)?,
    };
    let store = &caller.state.store;
    let page = store
        .workflow_runs(caller.environment, filter, &query.page)
        .await?;
    Ok(Answer::page(&page, &query.page)?.into())
}
