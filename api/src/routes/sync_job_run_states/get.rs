//! `GET /sync-job-run-state/{id}`

use actix_web::HttpResponse;

use super::view::{StateView, not_found, state_key};
use crate::{
    answer::Answer,
    error::ApiError,
    extract::{Caller, Read},
};

/// The value of a key.
#[utoipa::path(
    get, path = "/api/v1/ipaas/sync-job-run-state/{id}", tag = "sync-job-run-state", operation_id = "get_sync_job_run_state",
    params(("state_key" = String, Query, description = "Names the set that the key is in")),
    responses((status = 200, description = "The entry", body = StateView))
)]
pub async fn get(caller: Caller<Read>) -> Result<HttpResponse, ApiError> {
    let (state_key, key) = (state_key(&caller)?, caller.segment("id"));
    let states = caller.state.store.states(caller.environment, &state_key);
    let entry = states.get(&key).await?.ok_or_else(not_found)?;
    Ok(Answer::ok(&StateView::from(entry))?.into())
}
