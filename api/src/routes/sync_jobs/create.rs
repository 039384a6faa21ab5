//! `POST /sync-job`

use actix_web::HttpResponse;
use serde_json::Value;
use shared::{
    clock::Timestamp,
    ids::{EnvironmentId, SyncJobId},
    model::sync_job::{SyncJob, SyncJobInput},
    store::objects::Creation,
};

use super::{compile, view::SyncJobView};
use crate::{
    answer::Answer,
    error::ApiError,
    extract::{Caller, Write},
    state::AppState,
};

/// Makes a sync job, once it is checked as a whole: resources and methods of the
/// integration, dependencies, placeholders, names.
#[utoipa::path(
    post, path = "/api/v1/ipaas/sync-job", tag = "sync-job", operation_id = "create_sync_job",
    request_body = SyncJobInput, responses((status = 201, description = "Made", body = SyncJobView))
)]
pub async fn create(mut caller: Caller<Write>) -> Result<HttpResponse, ApiError> {
    caller.query(&[])?;
    let body = caller.json().await?;
    let make = |id| {
        make(
            &caller.state,
            caller.environment,
            SyncJobId::from_bits(id),
            &body.value,
        )
    };
    caller.once(&body, make).await
}

async fn make(
    state: &AppState,
    environment: EnvironmentId,
    id: SyncJobId,
    body: &Value,
) -> Result<Answer, ApiError> {
    let input = compile::read(state, environment, body, None).await?;
    let now = Timestamp::now();
    let job = SyncJob {
        id,
        environment_id: environment,
        integration_name: input.integration_name,
        label: input.label,
        error_handling: input.error_handling,
        resources: input.resources,
        options: input.options,
        created_at: now,
        updated_at: now,
        deleted_at: None,
    };
    match state.store.objects().create(&job).await? {
        Creation::Existed(existing) => Answer::created(&SyncJobView::from(&existing)),
        Creation::Created | Creation::NameTaken(_) => Answer::created(&SyncJobView::from(&job)),
    }
}
