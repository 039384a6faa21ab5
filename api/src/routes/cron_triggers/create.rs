//! `POST /sync-job-cron-trigger`

use actix_web::HttpResponse;
use serde_json::Value;
use shared::{
    clock::Timestamp,
    ids::{CronTriggerId, EnvironmentId},
    model::cron_trigger::{CronTrigger, CronTriggerInput},
    store::objects::Creation,
};

use super::{read, show, view::CronTriggerView};
use crate::{
    answer::Answer,
    error::ApiError,
    extract::{Caller, Write},
    state::AppState,
};

/// Makes a cron trigger; it is on from now on. Each fire makes one run, however many
/// workers there are.
#[utoipa::path(
    post, path = "/api/v1/ipaas/sync-job-cron-trigger", tag = "sync-job-cron-trigger",
    operation_id = "create_sync_job_cron_trigger", request_body = CronTriggerInput,
    responses((status = 201, description = "Made", body = CronTriggerView))
)]
pub async fn create(mut caller: Caller<Write>) -> Result<HttpResponse, ApiError> {
    caller.query(&[])?;
    let body = caller.json().await?;
    let make = |id| {
        make(
            &caller.state,
            caller.environment,
            CronTriggerId::from_bits(id),
            &body.value,
        )
    };
    caller.once(&body, make).await
}

async fn make(
    state: &AppState,
    environment: EnvironmentId,
    id: CronTriggerId,
    body: &Value,
) -> Result<Answer, ApiError> {
    let input = read(state, environment, body, None).await?;
    let now = Timestamp::now();
    let trigger = CronTrigger {
        id,
        environment_id: environment,
        input,
        created_at: now,
        updated_at: now,
        deleted_at: None,
    };
    let trigger = match state.store.objects().create(&trigger).await? {
        Creation::Existed(existing) => existing,
        Creation::Created | Creation::NameTaken(_) => trigger,
    };
    Answer::created(&show(state, &trigger).await?)
}
