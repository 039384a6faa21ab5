//! `GET /sync-job/{id}`

use actix_web::HttpResponse;
use shared::{ids::SyncJobId, model::sync_job::SyncJob};

use super::view::SyncJobView;
use crate::{
    answer::Answer,
    error::ApiError,
    extract::{Caller, Read},
};

/// A sync job.
#[utoipa::path(
    get, path = "/api/v1/ipaas/sync-job/{id}", tag = "sync-job", operation_id = "get_sync_job",
    responses((status = 200, description = "The sync job", body = SyncJobView))
)]
pub async fn get(caller: Caller<Read>) -> Result<HttpResponse, ApiError> {
    let id: SyncJobId = caller.id("sync job")?;
    caller.query(&[])?;
    let job = caller
        .state
        .store
        .objects()
        .get::<SyncJob>(caller.environment, id)
        .await?;
    let job = job.ok_or_else(|| ApiError::not_found("sync job"))?;
    Ok(Answer::ok(&SyncJobView::from(&job))?.into())
}
