//! `GET /sync-job-run-state`

use actix_web::HttpResponse;

use super::view::{STATE_KEY, StateView, checked};
use crate::{
    answer::Answer,
    error::ApiError,
    extract::{Caller, Read},
};

/// The entries of a `state_key`, by key.
#[utoipa::path(
    get, path = "/api/v1/ipaas/sync-job-run-state", tag = "sync-job-run-state", operation_id = "list_sync_job_run_states",
    params(("state_key" = String, Query, description = "Names the set")),
    responses((status = 200, description = "A page", body = crate::openapi::List<StateView>))
)]
pub async fn list(caller: Caller<Read>) -> Result<HttpResponse, ApiError> {
    let query = caller.list_query(&[STATE_KEY], |row| !row.is_empty())?;
    let state_key = checked(query.filters.text(STATE_KEY))?;
    let states = caller.state.store.states(caller.environment, &state_key);
    let page = states.list(&query.page).await?.map(StateView::from);
    Ok(Answer::page(&page, &query.page)?.into())
}
