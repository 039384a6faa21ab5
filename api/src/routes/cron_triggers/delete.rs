//! `DELETE /sync-job-cron-trigger/{id}`

use actix_web::HttpResponse;
use shared::{ids::CronTriggerId, model::cron_trigger::CronTrigger};

use crate::{
    answer::Answer,
    error::ApiError,
    extract::{Caller, Write},
    routes::Deleted,
};

/// Deletes a cron trigger; it makes no further run. Runs that it made go on.
#[utoipa::path(
    delete, path = "/api/v1/ipaas/sync-job-cron-trigger/{id}", tag = "sync-job-cron-trigger",
    operation_id = "delete_sync_job_cron_trigger", responses((status = 200, description = "Deleted", body = Deleted))
)]
pub async fn delete(caller: Caller<Write>) -> Result<HttpResponse, ApiError> {
    let id: CronTriggerId = caller.id("cron trigger")?;
    caller.query(&[])?;
    let objects = caller.state.store.objects();
    let deleted = objects
        .delete::<CronTrigger>(caller.environment, id, |_| {})
        .await?;
    deleted.ok_or_else(|| ApiError::not_found("cron trigger"))?;
    Ok(Answer::deleted(id)?.into())
}
