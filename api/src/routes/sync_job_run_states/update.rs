//! `PATCH /sync-job-run-state/{id}`

use actix_web::HttpResponse;
use serde_json::Value;
use shared::fault::{Faults, Fields};

use super::view::{StateView, not_found, read_value, state_key};
use crate::{
    answer::Answer,
    error::ApiError,
    extract::{Caller, Write},
};

/// What can be changed of an entry.
#[derive(Debug, utoipa::ToSchema)]
#[expect(
    dead_code,
    reason = "describes the body in the OpenAPI document; it is read field by field"
)]
pub struct StatePatch {
    /// Any JSON value of at most 64 KiB; replaces the one before.
    value: Value,
}

/// Replaces the value of a key.
#[utoipa::path(
    patch, path = "/api/v1/ipaas/sync-job-run-state/{id}", tag = "sync-job-run-state", operation_id = "update_sync_job_run_state",
    params(("state_key" = String, Query, description = "Names the set that the key is in")),
    request_body = StatePatch, responses((status = 200, description = "Changed", body = StateView))
)]
pub async fn update(mut caller: Caller<Write>) -> Result<HttpResponse, ApiError> {
    let (state_key, key) = (state_key(&caller)?, caller.segment("id"));
    let body = caller.json().await?.value;
    let value = read(&body).map_err(|faults| ApiError::validation(&faults))?;
    let states = caller.state.store.states(caller.environment, &state_key);
    let entry = states.update(&key, &value).await?.ok_or_else(not_found)?;
    Ok(Answer::ok(&StateView::from(entry))?.into())
}

fn read(body: &Value) -> Result<Value, Faults> {
    let mut faults = Faults::default();
    let Some(mut fields) = Fields::new(body, "", &mut faults) else {
        return Err(faults);
    };
    let value = read_value(&mut fields, &mut faults);
    fields.finish(&mut faults);
    match value {
        Some(value) => faults.into_result(value),
        None => Err(faults),
    }
}
