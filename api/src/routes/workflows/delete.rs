//! `DELETE /workflow/{id}`

use actix_web::HttpResponse;
use shared::{ids::WorkflowId, model::workflow::Workflow};

use crate::{
    answer::Answer,
    error::ApiError,
    extract::{Caller, Write},
    routes::Deleted,
};

/// Deletes a workflow. What it started goes on, cron triggers that it made too.
#[utoipa::path(
    delete, path = "/api/v1/ipaas/workflow/{id}", tag = "workflow", operation_id = "delete_workflow",
    responses((status = 200, description = "Deleted", body = Deleted))
)]
pub async fn delete(caller: Caller<Write>) -> Result<HttpResponse, ApiError> {
    let id: WorkflowId = caller.id("workflow")?;
    caller.query(&[])?;
    let objects = caller.state.store.objects();
    let deleted = objects
        .delete::<Workflow>(caller.environment, id, |_| {})
        .await?;
    deleted.ok_or_else(|| ApiError::not_found("workflow"))?;
    Ok(Answer::deleted(id)?.into())
}
