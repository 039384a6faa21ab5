//! `PATCH /workflow/{id}`

use actix_web::HttpResponse;
use shared::{
    clock::Timestamp,
    fault::Faults,
    ids::WorkflowId,
    model::{
        input::merge_fields,
        workflow::{Workflow, WorkflowInput},
    },
    store::objects::{ChangeError, UPDATE_ATTEMPTS},
};

use super::{read, view::WorkflowView};
use crate::{
    answer::Answer,
    error::ApiError,
    extract::{Caller, Write},
};

/// Changes a workflow; what its steps name is looked up again in those that change, and in all when it is switched on.
/// Events that are on their way
/// through it may still see it as it was.
#[utoipa::path(
    patch, path = "/api/v1/ipaas/workflow/{id}", tag = "workflow", operation_id = "update_workflow",
    request_body(content = WorkflowInput, description = "What changes (RFC 7386); `steps` are replaced as a whole"),
    responses((status = 200, description = "Changed", body = WorkflowView))
)]
pub async fn update(mut caller: Caller<Write>) -> Result<HttpResponse, ApiError> {
    let id: WorkflowId = caller.id("workflow")?;
    caller.query(&[])?;
    let patch = caller.json().await?.value;
    let objects = caller.state.store.objects();
    for _ in 0..UPDATE_ATTEMPTS {
        let workflow = objects.get::<Workflow>(caller.environment, id).await?;
        let before = workflow
            .ok_or_else(|| ApiError::not_found("workflow"))?
            .input;
        let mut merged = serde_json::to_value(&before).map_err(|_| ApiError::internal())?;
        merge_fields(&mut merged, &patch);
        let input = read(&caller.state, caller.environment, &merged, Some(&before)).await?;
        check_fixed(&before, &input)?;
        // The check looks things up, so it can't be part of the change: that only goes through on what was checked.
        let change = |workflow: &mut Workflow| {
            if workflow.input != before {
                return Err(Changed);
            }
            workflow.input = input.clone();
            workflow.updated_at = Timestamp::now();
            Ok(())
        };
        match objects.update(caller.environment, id, change).await {
            Ok(Some(workflow)) => return Ok(Answer::ok(&WorkflowView::from(&workflow))?.into()),
            Ok(None) => return Err(ApiError::not_found("workflow")),
            Err(ChangeError::Store(error)) => return Err(error.into()),
            Err(ChangeError::Refused(Changed) | ChangeError::Contended) => {}
        }
    }
    Err(ApiError::contended())
}

/// The workflow is no longer what was checked.
struct Changed;

fn check_fixed(before: &WorkflowInput, after: &WorkflowInput) -> Result<(), ApiError> {
    let mut faults = Faults::default();
    if before.trigger_name != after.trigger_name {
        faults.push("/trigger_name", "can't be changed; make another workflow");
    }
    faults
        .into_result(())
        .map_err(|faults| ApiError::validation(&faults))
}
