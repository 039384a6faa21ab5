//! `POST /sync-job-run-state`

use actix_web::HttpResponse;
use serde_json::Value;
use shared::{
    fault::{Faults, Fields},
    ids::RunId,
    store::states::StateCreation,
};

use super::view::{StateView, read_key, read_value, state_key};
use crate::{
    answer::Answer,
    error::ApiError,
    extract::{Caller, Write},
};

/// What an entry is made of.
#[derive(Debug, utoipa::ToSchema)]
#[expect(
    dead_code,
    reason = "describes the body in the OpenAPI document; it is read field by field"
)]
pub struct StateInput {
    /// Unique among those of the same `state_key`; 1 to 255 characters.
    key: String,
    /// Any JSON value of at most 64 KiB.
    value: Value,
    /// The run it came from.
    sync_job_run_id: Option<String>,
}

struct Input {
    key: String,
    value: Value,
    run: Option<RunId>,
}

/// Keeps a value under a key of `state_key`.
#[utoipa::path(
    post, path = "/api/v1/ipaas/sync-job-run-state", tag = "sync-job-run-state", operation_id = "create_sync_job_run_state",
    params(("state_key" = String, Query, description = "Names the set that the key is in")),
    request_body = StateInput, responses((status = 201, description = "Made", body = StateView))
)]
pub async fn create(mut caller: Caller<Write>) -> Result<HttpResponse, ApiError> {
    let state_key = state_key(&caller)?;
    let body = caller.json().await?;
    let make = async |id| {
        let input = read(&body.value).map_err(|faults| ApiError::validation(&faults))?;
        let states = caller.state.store.states(caller.environment, &state_key);
        match states
            .create(id, &input.key, &input.value, input.run)
            .await?
        {
            StateCreation::Created(entry) => Answer::created(&StateView::from(entry)),
            StateCreation::Exists => Err(ApiError::conflict(
                "there is an entry of this key; PATCH it to change its value",
            )),
            StateCreation::Full => Err(ApiError::conflict(
                "there are as many entries as may be; delete some first",
            )),
        }
    };
    caller.once(&body, make).await
}

fn read(body: &Value) -> Result<Input, Faults> {
    let mut faults = Faults::default();
    let Some(mut fields) = Fields::new(body, "", &mut faults) else {
        return Err(faults);
    };
    let key = read_key(&mut fields, &mut faults);
    let value = read_value(&mut fields, &mut faults);
    let run = fields.string("sync_job_run_id", &mut faults);
    let run = run.and_then(|text| {
        let id = text.parse().ok();
        if id.is_none() {
            faults.push("/sync_job_run_id", "is not the id of a sync job run");
        }
        id
    });
    fields.finish(&mut faults);
    match key.zip(value) {
        Some((key, value)) => faults.into_result(Input { key, value, run }),
        None => Err(faults),
    }
}
