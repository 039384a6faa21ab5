//! `GET /workflow`

use actix_web::HttpResponse;
use shared::{ids::WorkflowId, model::workflow::Workflow};

use super::view::WorkflowView;
use crate::{
    answer::Answer,
    error::ApiError,
    extract::{Caller, Read},
};

/// Workflows, newest first.
#[utoipa::path(
    get, path = "/api/v1/ipaas/workflow", tag = "workflow", operation_id = "list_workflows",
    params(
        ("trigger_name" = Option<String>, Query, description = "Only those started by this event"),
        ("is_active" = Option<bool>, Query, description = "Only those that are, or aren't, switched on"),
    ),
    responses((status = 200, description = "A page", body = crate::openapi::List<WorkflowView>))
)]
pub async fn list(caller: Caller<Read>) -> Result<HttpResponse, ApiError> {
    let known = ["trigger_name", "is_active"];
    let query = caller.list_query(&known, |row| row.parse::<WorkflowId>().is_ok())?;
    let event = query.filters.text("trigger_name");
    let is_active = query.filters.boolean("is_active")?;
    let keep = |workflow: &Workflow| is_active.is_none_or(|on| workflow.input.is_active == on);
    let facet = event.map(|event| ("trigger_name", event));
    let objects = caller.state.store.objects();
    let page = objects
        .list(caller.environment, facet, &query.page, keep)
        .await?;
    let page = page.map(|workflow| WorkflowView::from(&workflow));
    Ok(Answer::page(&page, &query.page)?.into())
}
