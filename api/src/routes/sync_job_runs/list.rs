//! `GET /sync-job-run`

use actix_web::HttpResponse;
use shared::{
    ids::RunId,
    model::run::{RunStatus, RunView},
    store::runs::RunFilter,
};

use crate::{
    answer::Answer,
    error::ApiError,
    extract::{Caller, Read},
};

/// Runs, newest first.
#[utoipa::path(
    get, path = "/api/v1/ipaas/sync-job-run", tag = "sync-job-run", operation_id = "list_sync_job_runs",
    params(
        ("sync_job_id" = Option<String>, Query, description = "Only those of this sync job"),
        ("integrated_account_id" = Option<String>, Query, description = "Only those of this account"),
        ("webhook_id" = Option<String>, Query, description = "Only those that send to this webhook"),
        ("status" = Option<RunStatus>, Query, description = "Only those in this status"),
    ),
    responses((status = 200, description = "A page", body = crate::openapi::List<RunView>))
)]
pub async fn list(caller: Caller<Read>) -> Result<HttpResponse, ApiError> {
    let known = [
        "sync_job_id",
        "integrated_account_id",
        "webhook_id",
        "status",
    ];
    let query = caller.list_query(&known, |row| row.parse::<RunId>().is_ok())?;
    let statuses = RunStatus::ALL.map(|status| (status.as_str(), status));
    let filter = RunFilter {
        sync_job_id: query.filters.parsed("sync_job_id")?,
        integrated_account_id: query.filters.parsed("integrated_account_id")?,
        webhook_id: query.filters.parsed("webhook_id")?,
        status: query.filters.choice("status", &statuses)?,
    };
    let page = caller
        .state
        .store
        .runs()
        .list(caller.environment, &filter, &query.page)
        .await?;
    Ok(Answer::page(&page, &query.page)?.into())
}
