//! `GET /sync-job-run/{id}`

use actix_web::HttpResponse;
use shared::{ids::RunId, model::run::RunView};

use crate::{
    answer::Answer,
    error::ApiError,
    extract::{Caller, Read},
};

/// A run: its status, counts and progress, true while it runs.
#[utoipa::path(
    get, path = "/api/v1/ipaas/sync-job-run/{id}", tag = "sync-job-run", operation_id = "get_sync_job_run",
    responses((status = 200, description = "The run", body = RunView))
)]
pub async fn get(caller: Caller<Read>) -> Result<HttpResponse, ApiError> {
    let id: RunId = caller.id("sync job run")?;
    caller.query(&[])?;
    let run = caller
        .state
        .store
        .runs()
        .get(caller.environment, id)
        .await?;
    Ok(Answer::ok(&run.ok_or_else(|| ApiError::not_found("sync job run"))?)?.into())
}
