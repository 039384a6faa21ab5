//! `DELETE /sync-job-run-state/{id}`

use actix_web::HttpResponse;

use super::view::{not_found, state_key};
use crate::{
    answer::Answer,
    error::ApiError,
    extract::{Caller, Write},
    routes::Deleted,
};

/// Removes a key.
#[utoipa::path(
    delete, path = "/api/v1/ipaas/sync-job-run-state/{id}", tag = "sync-job-run-state", operation_id = "delete_sync_job_run_state",
    params(("state_key" = String, Query, description = "Names the set that the key is in")),
    responses((status = 200, description = "Removed", body = Deleted))
)]
pub async fn delete(caller: Caller<Write>) -> Result<HttpResponse, ApiError> {
    let (state_key, key) = (state_key(&caller)?, caller.segment("id"));
    let states = caller.state.store.states(caller.environment, &state_key);
    states.delete(&key).await?.ok_or_else(not_found)?;
    Ok(Answer::deleted(key)?.into())
}
