//! `DELETE /sync-job/{id}`

use actix_web::HttpResponse;
use shared::{ids::SyncJobId, model::sync_job::SyncJob};

use crate::{
    answer::Answer,
    error::ApiError,
    extract::{Caller, Write},
    routes::Deleted,
};

/// Deletes a sync job. Its runs go on and stay visible.
#[utoipa::path(
    delete, path = "/api/v1/ipaas/sync-job/{id}", tag = "sync-job", operation_id = "delete_sync_job",
    responses((status = 200, description = "Deleted", body = Deleted))
)]
pub async fn delete(caller: Caller<Write>) -> Result<HttpResponse, ApiError> {
    let id: SyncJobId = caller.id("sync job")?;
    caller.query(&[])?;
    let deleted = caller
        .state
        .store
        .objects()
        .delete::<SyncJob>(caller.environment, id, |_| {})
        .await?;
    deleted.ok_or_else(|| ApiError::not_found("sync job"))?;
    Ok(Answer::deleted(id)?.into())
}
