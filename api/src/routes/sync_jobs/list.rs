//! `GET /sync-job`

use actix_web::HttpResponse;
use shared::{ids::SyncJobId, model::sync_job::SyncJob};

use super::view::SyncJobView;
use crate::{
    answer::Answer,
    error::ApiError,
    extract::{Caller, Read},
};

/// Sync jobs, newest first.
#[utoipa::path(
    get, path = "/api/v1/ipaas/sync-job", tag = "sync-job", operation_id = "list_sync_jobs",
    params(("integration_name" = Option<String>, Query, description = "Only those of this integration")),
    responses((status = 200, description = "A page", body = crate::openapi::List<SyncJobView>))
)]
pub async fn list(caller: Caller<Read>) -> Result<HttpResponse, ApiError> {
    let query = caller.list_query(&["integration_name"], |row| {
        row.parse::<SyncJobId>().is_ok()
    })?;
    let facet = query
        .filters
        .text("integration_name")
        .map(|name| ("integration_name", name));
    let page = caller
        .state
        .store
        .objects()
        .list::<SyncJob>(caller.environment, facet, &query.page, |_| true)
        .await?;
    Ok(Answer::page(&page.map(|job| SyncJobView::from(&job)), &query.page)?.into())
}
