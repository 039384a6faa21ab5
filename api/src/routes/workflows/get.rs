//! `GET /workflow/{id}`

use actix_web::HttpResponse;
use shared::{ids::WorkflowId, model::workflow::Workflow};

use super::view::WorkflowView;
use crate::{
    answer::Answer,
    error::ApiError,
    extract::{Caller, Read},
};

/// A workflow.
#[utoipa::path(
    get, path = "/api/v1/ipaas/workflow/{id}", tag = "workflow", operation_id = "get_workflow",
    responses((status = 200, description = "The workflow", body = WorkflowView))
)]
pub async fn get(caller: Caller<Read>) -> Result<HttpResponse, ApiError> {
    let id: WorkflowId = caller.id("workflow")?;
    caller.query(&[])?;
    let objects = caller.state.store.objects();
    let workflow = objects.get::<Workflow>(caller.environment, id).await?;
    let workflow = workflow.ok_or_else(|| ApiError::not_found("workflow"))?;
    Ok(Answer::ok(&WorkflowView::from(&workflow))?.into())
}
