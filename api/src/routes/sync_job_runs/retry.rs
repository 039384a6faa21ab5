//! `POST /sync-job-run/{id}/retry`

use actix_web::HttpResponse;
use shared::{
    fault::{Faults, Fields},
    ids::RunId,
    model::run::RunView,
    store::runs::{Created, Retried},
    submit::ToRetry,
};

use super::create::{too_many_wait, unless_accepted};
use crate::{
    answer::Answer,
    error::ApiError,
    extract::{Caller, Write},
};

/// Starts a run that fetches again what failed in one that has ended, and what depends on that, and nothing else. Its
/// `retry_of` is that run.
#[utoipa::path(
    post, path = "/api/v1/ipaas/sync-job-run/{id}/retry", tag = "sync-job-run", operation_id = "retry_sync_job_run",
    responses((status = 201, description = "Accepted", body = RunView))
)]
pub async fn retry(mut caller: Caller<Write>) -> Result<HttpResponse, ApiError> {
    let of: RunId = caller.id("sync job run")?;
    caller.query(&[])?;
    let body = caller.optional_json().await?;
    let work = async |id| {
        let mut faults = Faults::default();
        if let Some(fields) = Fields::new(&body.value, "", &mut faults) {
            fields.finish(&mut faults);
        }
        faults
            .into_result(())
            .map_err(|faults| ApiError::validation(&faults))?;
        let id = RunId::from_bits(id);
        let made = make(&caller, of, id).await;
        unless_accepted(&caller.state, caller.environment, id, made).await
    };
    caller.once(&body, work).await
}

async fn make(caller: &Caller<Write>, of: RunId, id: RunId) -> Result<Answer, ApiError> {
    let not_found = || ApiError::not_found("sync job run");
    let submitter = caller.state.submitter();
    let active = || {
        let message = "this run has not ended; it can be retried when it has `finished_at`";
        ApiError::run_already_active(of, message)
    };
    let spec = match submitter.prepare_retry(caller.environment, id, of).await? {
        ToRetry::Ended(spec) => spec,
        ToRetry::Active => return Err(active()),
        ToRetry::NotFound => return Err(not_found()),
    };
    let runs = caller.state.store.runs();
    let refused = |message: String| {
        let mut faults = Faults::default();
        faults.push("", message);
        ApiError::validation(&faults)
    };
    match runs.retry(&spec, of).await? {
        Retried::Accepted(Created::Created | Created::Existed) => {}
        Retried::Accepted(Created::Full(active)) => return Err(too_many_wait(active)),
        Retried::NotFound => return Err(not_found()),
        Retried::Active => return Err(active()),
        Retried::Nothing => {
            return Err(refused(
                "can't be retried: none of its fetches failed, or none that a request can mend"
                    .to_owned(),
            ));
        }
        Retried::Unfetched(count) => {
            return Err(refused(format!(
                "can't be retried: it was ended early, and {count} of its fetches never ended; start a new run, which fetches what is missing"
            )));
        }
        Retried::Forgotten(count) => {
            return Err(refused(format!(
                "can't be retried: {count} more fetches failed than are remembered; start a new run, which fetches what is missing"
            )));
        }
    }
    let run = runs.get(caller.environment, id).await?;
    tracing::info!(run.id = %id, retry_of = %of, "retry accepted");
    Answer::created(&run.ok_or_else(ApiError::internal)?)
}
