//! `PATCH /sync-job-cron-trigger/{id}`

use actix_web::HttpResponse;
use serde_json::Value;
use shared::{
    clock::Timestamp,
    fault::Faults,
    ids::CronTriggerId,
    model::{
        cron_trigger::{CronTrigger, CronTriggerInput},
        input::merge_fields,
    },
    store::objects::{ChangeError, UPDATE_ATTEMPTS},
};

use super::{read, show, view::CronTriggerView};
use crate::{
    answer::Answer,
    error::ApiError,
    extract::{Caller, Write},
};

/// Changes a cron trigger; what it names is looked up again when that, or what its runs are started with, changes, and
/// when it is switched on. A new expression or zone counts from now on.
#[utoipa::path(
    patch, path = "/api/v1/ipaas/sync-job-cron-trigger/{id}", tag = "sync-job-cron-trigger",
    operation_id = "update_sync_job_cron_trigger",
    request_body(content = CronTriggerInput, description = "What changes (RFC 7386)"),
    responses((status = 200, description = "Changed", body = CronTriggerView))
)]
pub async fn update(mut caller: Caller<Write>) -> Result<HttpResponse, ApiError> {
    let id: CronTriggerId = caller.id("cron trigger")?;
    caller.query(&[])?;
    let patch = caller.json().await?.value;
    let trigger = apply(&caller, id, &patch).await?;
    Ok(Answer::ok(&show(&caller.state, &trigger).await?)?.into())
}

/// Applies a patch to a trigger.
pub(super) async fn apply(
    caller: &Caller<Write>,
    id: CronTriggerId,
    patch: &Value,
) -> Result<CronTrigger, ApiError> {
    let objects = caller.state.store.objects();
    for _ in 0..UPDATE_ATTEMPTS {
        let trigger = objects.get::<CronTrigger>(caller.environment, id).await?;
        let before = trigger
            .ok_or_else(|| ApiError::not_found("cron trigger"))?
            .input;
        let mut merged = serde_json::to_value(&before).map_err(|_| ApiError::internal())?;
        merge_fields(&mut merged, patch);
        let input = read(&caller.state, caller.environment, &merged, Some(&before)).await?;
        check_fixed(&before, &input)?;
        // The check looks things up, so it can't be part of the change: that only goes through on what was checked.
        let change = |trigger: &mut CronTrigger| {
            if trigger.input != before {
                return Err(Changed);
            }
            trigger.input = input.clone();
            trigger.updated_at = Timestamp::now();
            Ok(())
        };
        match objects.update(caller.environment, id, change).await {
            Ok(Some(trigger)) => return Ok(trigger),
            Ok(None) => return Err(ApiError::not_found("cron trigger")),
            Err(ChangeError::Store(error)) => return Err(error.into()),
            Err(ChangeError::Refused(Changed) | ChangeError::Contended) => {}
        }
    }
    Err(ApiError::contended())
}

/// The trigger is no longer what was checked.
struct Changed;

/// What a trigger is of can't be changed.
fn check_fixed(before: &CronTriggerInput, after: &CronTriggerInput) -> Result<(), ApiError> {
    let mut faults = Faults::default();
    let message = "can't be changed; make another cron trigger";
    if before.sync_job_id != after.sync_job_id {
        faults.push("/sync_job_id", message);
    }
    if before.integrated_account_id != after.integrated_account_id {
        faults.push("/integrated_account_id", message);
    }
    faults
        .into_result(())
        .map_err(|faults| ApiError::validation(&faults))
}
