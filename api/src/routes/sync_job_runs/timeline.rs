//! `GET /sync-job-run/{id}/timeline`

use actix_web::HttpResponse;
use shared::ids::RunId;

use crate::{
    answer::Answer,
    error::ApiError,
    extract::{Caller, Read},
};

/// What happened to a run and when, oldest first: its states, what it waited for, its first errors, its end.
#[utoipa::path(
    get, path = "/api/v1/ipaas/sync-job-run/{id}/timeline", tag = "sync-job-run", operation_id = "list_sync_job_run_timeline",
    responses((status = 200, description = "A page", body = crate::openapi::List<Object>))
)]
pub async fn timeline(caller: Caller<Read>) -> Result<HttpResponse, ApiError> {
    let id: RunId = caller.id("sync job run")?;
    // The cursor is a position in the run's own list.
    let query = caller.list_query(&[], |row| row.parse::<u64>().is_ok())?;
    let page = caller
        .state
        .store
        .runs()
        .timeline(caller.environment, id, &query.page)
        .await?;
    let page = page.ok_or_else(|| ApiError::not_found("sync job run"))?;
    Ok(Answer::page(&page, &query.page)?.into())
}
