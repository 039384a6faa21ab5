//! `POST /sync-job-cron-trigger/{id}/schedule`

use actix_web::HttpResponse;
use serde_json::json;
use shared::{
    fault::{Faults, Fields},
    ids::CronTriggerId,
};

use super::{show, update::apply, view::CronTriggerView};
use crate::{
    answer::Answer,
    error::ApiError,
    extract::{Caller, Write},
};

/// Switches a cron trigger on; harmless when it is on. A new one is on by itself.
#[utoipa::path(
    post, path = "/api/v1/ipaas/sync-job-cron-trigger/{id}/schedule", tag = "sync-job-cron-trigger",
    operation_id = "schedule_sync_job_cron_trigger",
    responses((status = 200, description = "Scheduled", body = CronTriggerView))
)]
pub async fn schedule(mut caller: Caller<Write>) -> Result<HttpResponse, ApiError> {
    let id: CronTriggerId = caller.id("cron trigger")?;
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
        let trigger = apply(&caller, id, &json!({"is_active": true})).await?;
        Answer::ok(&show(&caller.state, &trigger).await?)
    };
    caller.once(&body, work).await
}
