//! `POST /sync-job-run`

use actix_web::HttpResponse;
use serde_json::Value;
use shared::{
    failure::FailurePoint,
    ids::{EnvironmentId, RunId},
    model::{run::RunView, run_input::RunInput},
    store::runs::Created,
    submit::StartedBy,
};

use crate::{
    answer::Answer,
    error::ApiError,
    extract::{Caller, Write},
    state::AppState,
};

/// Starts a run: it is accepted and queued in one step, and carried out whatever
/// dies afterwards. The job, the account and the webhook must exist, fit together
/// and be active.
#[utoipa::path(
    post, path = "/api/v1/ipaas/sync-job-run", tag = "sync-job-run", operation_id = "create_sync_job_run",
    request_body = RunInput, responses((status = 201, description = "Accepted", body = RunView))
)]
pub async fn create(mut caller: Caller<Write>) -> Result<HttpResponse, ApiError> {
    caller.query(&[])?;
    let body = caller.json().await?;
    let start = async |id| {
        let (state, environment, id) = (&caller.state, caller.environment, RunId::from_bits(id));
        let started = start(state, environment, id, &body.value).await;
        unless_accepted(state, environment, id, started).await
    };
    caller.once(&body, start).await
}

/// A run that was accepted before, under the same idempotency key, is the answer though it would be refused by now: since
/// then the account may need new credentials, or the webhook be switched off.
pub(super) async fn unless_accepted(
    state: &AppState,
    environment: EnvironmentId,
    id: RunId,
    started: Result<Answer, ApiError>,
) -> Result<Answer, ApiError> {
    match started {
        Err(refusal) if refusal.nothing_was_made() => {
            match state.store.runs().get(environment, id).await? {
                Some(run) => Answer::created(&run),
                None => Err(refusal),
            }
        }
        started => started,
    }
}

/// Too many runs wait for one mutex key.
pub(super) fn too_many_wait(active: RunId) -> ApiError {
    let message = format!(
        "{active} has the same mutex_key and is active, and as many runs as may wait for it do; try again when some have ended, or start it past them with `force`"
    );
    ApiError::run_already_active(active, message)
}

async fn start(
    state: &AppState,
    environment: EnvironmentId,
    id: RunId,
    body: &Value,
) -> Result<Answer, ApiError> {
    let (input, faults) = RunInput::read(body, environment);
    let Some(input) = input else {
        return Err(ApiError::validation(&faults));
    };
    let submitter = state.submitter();
    let spec = submitter
        .prepare(environment, id, StartedBy::API, input, faults)
        .await?;
    FailurePoint::RunChecked.reach()?;
    if let Created::Full(active) = state.store.runs().create(&spec).await? {
        return Err(too_many_wait(active));
    }
    // `Existed`: the same request was accepted before, under the same id.
    let run = state
        .store
        .runs()
        .get(environment, id)
        .await?
        .ok_or_else(ApiError::internal)?;
    tracing::info!(run.id = %id, job.id = %spec.sync_job_id, account.id = %spec.integrated_account_id, "run accepted");
    Answer::created(&run)
}
