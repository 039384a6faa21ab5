//! Stopping a run: `POST /sync-job-run/{id}/stop`, `PATCH {"status":"stopped"}`, `DELETE`.

use actix_web::HttpResponse;
use serde_json::Value;
use shared::{
    fault::{Faults, Fields},
    ids::RunId,
    model::run::RunView,
    store::runs::{DeletedRun, Stopped},
};

use crate::{
    answer::Answer,
    error::ApiError,
    extract::{Caller, Write},
    routes::Deleted,
};

/// What can be changed of a run.
#[derive(Debug, utoipa::ToSchema)]
#[expect(
    dead_code,
    reason = "describes the body in the OpenAPI document; it is read field by field"
)]
pub struct RunPatch {
    /// `stopped`.
    #[schema(example = "stopped")]
    status: String,
}

/// Stops a run: nothing more is fetched, what was committed is still delivered.
/// Harmless when it has ended.
#[utoipa::path(
    post, path = "/api/v1/ipaas/sync-job-run/{id}/stop", tag = "sync-job-run", operation_id = "stop_sync_job_run",
    responses((status = 200, description = "Stopped, or ended before", body = RunView))
)]
pub async fn stop(mut caller: Caller<Write>) -> Result<HttpResponse, ApiError> {
    let id: RunId = caller.id("sync job run")?;
    caller.query(&[])?;
    let body = caller.optional_json().await?;
    let work = async |_| {
        let mut faults = Faults::default();
        if let Some(fields) = Fields::new(&body.value, "", &mut faults) {
            fields.finish(&mut faults);
        }
        faults
            .into_result(())
            .map_err(|faults| ApiError::validation(&faults))?;
        Answer::ok(&end(&caller, id).await?)
    };
    caller.once(&body, work).await
}

/// Stops a run by `{"status":"stopped"}`.
#[utoipa::path(
    patch, path = "/api/v1/ipaas/sync-job-run/{id}", tag = "sync-job-run", operation_id = "update_sync_job_run",
    request_body = RunPatch, responses((status = 200, description = "Stopped, or ended before", body = RunView))
)]
pub async fn update(mut caller: Caller<Write>) -> Result<HttpResponse, ApiError> {
    let id: RunId = caller.id("sync job run")?;
    caller.query(&[])?;
    let body = caller.json().await?.value;
    read_patch(&body).map_err(|faults| ApiError::validation(&faults))?;
    Ok(Answer::ok(&end(&caller, id).await?)?.into())
}

/// Stops a run that is active. Deletes one that has ended and whose last event is settled: it is gone from lists and
/// look-ups, and its errors, events and timeline with it.
#[utoipa::path(
    delete, path = "/api/v1/ipaas/sync-job-run/{id}", tag = "sync-job-run", operation_id = "delete_sync_job_run",
    responses((status = 200, description = "Stopped, or deleted when it had ended", body = Deleted))
)]
pub async fn delete(caller: Caller<Write>) -> Result<HttpResponse, ApiError> {
    let id: RunId = caller.id("sync job run")?;
    caller.query(&[])?;
    match caller
        .state
        .store
        .runs()
        .delete(caller.environment, id)
        .await?
    {
        DeletedRun::Deleted => tracing::info!(run.id = %id, "run deleted by request"),
        DeletedRun::Stopped => tracing::info!(run.id = %id, "run stopped by request"),
        DeletedRun::Ended => {}
        DeletedRun::NotFound => return Err(ApiError::not_found("sync job run")),
    }
    Ok(Answer::deleted(id)?.into())
}

fn read_patch(body: &Value) -> Result<(), Faults> {
    let mut faults = Faults::default();
    let Some(mut fields) = Fields::new(body, "", &mut faults) else {
        return Err(faults);
    };
    fields.required("status", &mut faults);
    fields.choice("status", &[("stopped", ())], &mut faults);
    fields.finish(&mut faults);
    faults.into_result(())
}

async fn end(caller: &Caller<Write>, id: RunId) -> Result<RunView, ApiError> {
    let runs = caller.state.store.runs();
    match runs.stop(caller.environment, id).await? {
        Stopped::Stopped => tracing::info!(run.id = %id, "run stopped by request"),
        Stopped::Ended => {}
        Stopped::NotFound => return Err(ApiError::not_found("sync job run")),
    }
    runs.get(caller.environment, id)
        .await?
        .ok_or_else(|| ApiError::not_found("sync job run"))
}
