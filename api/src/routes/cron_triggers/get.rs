//! `GET /sync-job-cron-trigger/{id}`

use actix_web::HttpResponse;
use shared::{ids::CronTriggerId, model::cron_trigger::CronTrigger};

use super::{show, view::CronTriggerView};
use crate::{
    answer::Answer,
    error::ApiError,
    extract::{Caller, Read},
};

/// A cron trigger, with its next and its last run.
#[utoipa::path(
    get, path = "/api/v1/ipaas/sync-job-cron-trigger/{id}", tag = "sync-job-cron-trigger",
    operation_id = "get_sync_job_cron_trigger",
    responses((status = 200, description = "The cron trigger", body = CronTriggerView))
)]
pub async fn get(caller: Caller<Read>) -> Result<HttpResponse, ApiError> {
    let id: CronTriggerId = caller.id("cron trigger")?;
    caller.query(&[])?;
    let objects = caller.state.store.objects();
    let trigger = objects.get::<CronTrigger>(caller.environment, id).await?;
    let trigger = trigger.ok_or_else(|| ApiError::not_found("cron trigger"))?;
    Ok(Answer::ok(&show(&caller.state, &trigger).await?)?.into())
}
