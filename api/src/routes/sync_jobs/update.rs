//! `PATCH /sync-job/{id}`

use actix_web::HttpResponse;
use shared::{
    clock::Timestamp,
    fault::Faults,
    ids::SyncJobId,
    model::{
        input::merge_fields,
        sync_job::{SyncJob, SyncJobInput},
    },
    store::objects::{ChangeError, UPDATE_ATTEMPTS},
};

use super::{compile, view::SyncJobView};
use crate::{
    answer::Answer,
    error::ApiError,
    extract::{Caller, Write},
};

/// Changes a sync job; new `resources` are checked against the integration. Runs go on with what they started with.
#[utoipa::path(
    patch, path = "/api/v1/ipaas/sync-job/{id}", tag = "sync-job", operation_id = "update_sync_job",
    request_body(content = SyncJobInput, description = "What changes (RFC 7386); `resources` is replaced as a whole"),
    responses((status = 200, description = "Changed", body = SyncJobView))
)]
pub async fn update(mut caller: Caller<Write>) -> Result<HttpResponse, ApiError> {
    let id: SyncJobId = caller.id("sync job")?;
    caller.query(&[])?;
    let patch = caller.json().await?.value;
    let objects = caller.state.store.objects();
    for _ in 0..UPDATE_ATTEMPTS {
        let job = objects.get::<SyncJob>(caller.environment, id).await?;
        let job = job.ok_or_else(|| ApiError::not_found("sync job"))?;
        let before = job.input();
        let mut merged = serde_json::to_value(&before).map_err(|_| ApiError::internal())?;
        merge_fields(&mut merged, &patch);
        let input =
            compile::read(&caller.state, caller.environment, &merged, Some(&before)).await?;
        if input.integration_name != before.integration_name {
            let mut faults = Faults::default();
            faults.push(
                "/integration_name",
                "can't be changed; make another sync job",
            );
            return Err(ApiError::validation(&faults));
        }
        // The check looks things up, so it can't be part of the change: that only goes through on what was checked.
        let change = |job: &mut SyncJob| {
            if job.input() != before {
                return Err(Changed);
            }
            take(job, &input);
            Ok(())
        };
        match objects.update(caller.environment, id, change).await {
            Ok(Some(job)) => return Ok(Answer::ok(&SyncJobView::from(&job))?.into()),
            Ok(None) => return Err(ApiError::not_found("sync job")),
            Err(ChangeError::Store(error)) => return Err(error.into()),
            Err(_) => {}
        }
    }
    Err(ApiError::contended())
}

/// The job is no longer what was checked.
struct Changed;

fn take(job: &mut SyncJob, input: &SyncJobInput) {
    job.label.clone_from(&input.label);
    job.error_handling = input.error_handling;
    job.resources.clone_from(&input.resources);
    job.options.clone_from(&input.options);
    job.updated_at = Timestamp::now();
}
