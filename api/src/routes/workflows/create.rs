//! `POST /workflow`

use actix_web::HttpResponse;
use serde_json::Value;
use shared::{
    clock::Timestamp,
    ids::{EnvironmentId, WorkflowId},
    model::workflow::{MAX_WORKFLOWS_OF_EVENT, Workflow, WorkflowInput},
    store::{PageRequest, objects::Creation},
};

use super::{read, view::WorkflowView};
use crate::{
    answer::Answer,
    error::ApiError,
    extract::{Caller, Write},
    state::AppState,
};

/// Makes a workflow: from now on each event of the name in `trigger_name` goes
/// through it, once.
#[utoipa::path(
    post, path = "/api/v1/ipaas/workflow", tag = "workflow", operation_id = "create_workflow",
    request_body = WorkflowInput, responses((status = 201, description = "Made", body = WorkflowView))
)]
pub async fn create(mut caller: Caller<Write>) -> Result<HttpResponse, ApiError> {
    caller.query(&[])?;
    let body = caller.json().await?;
    let make = |id| {
        make(
            &caller.state,
            caller.environment,
            WorkflowId::from_bits(id),
            &body.value,
        )
    };
    caller.once(&body, make).await
}

async fn make(
    state: &AppState,
    environment: EnvironmentId,
    id: WorkflowId,
    body: &Value,
) -> Result<Answer, ApiError> {
    let input = read(state, environment, body, None).await?;
    check_room(state, environment, &input.trigger_name).await?;
    let now = Timestamp::now();
    let workflow = Workflow {
        id,
        environment_id: environment,
        input,
        created_at: now,
        updated_at: now,
        deleted_at: None,
    };
    match state.store.objects().create(&workflow).await? {
        Creation::Existed(existing) => Answer::created(&WorkflowView::from(&existing)),
        Creation::Created | Creation::NameTaken(_) => {
            Answer::created(&WorkflowView::from(&workflow))
        }
    }
}

/// Refuses more workflows than one event can start.
async fn check_room(
    state: &AppState,
    environment: EnvironmentId,
    event: &str,
) -> Result<(), ApiError> {
    let page = PageRequest {
        limit: MAX_WORKFLOWS_OF_EVENT,
        after: None,
    };
    let facet = Some(("trigger_name", event));
    let objects = state.store.objects();
    let there = objects
        .list::<Workflow>(environment, facet, &page, |_| true)
        .await?;
    if there.items.len() >= MAX_WORKFLOWS_OF_EVENT as usize {
        return Err(ApiError::conflict(format!(
            "there are {MAX_WORKFLOWS_OF_EVENT} workflows for `{event}`, as many as one event can start; delete one first"
        )));
    }
    Ok(())
}
