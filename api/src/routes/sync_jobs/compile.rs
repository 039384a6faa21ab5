//! Checking a sync job as a whole, against its integration.

use serde_json::Value;
use shared::{ids::EnvironmentId, model::sync_job::SyncJobInput, plan::Plan};

use crate::{error::ApiError, state::AppState};

/// Reads a sync job and compiles its resources: every fault of both at once. `before`: what it was, when it is changed.
pub async fn read(
    state: &AppState,
    environment: EnvironmentId,
    body: &Value,
    before: Option<&SyncJobInput>,
) -> Result<SyncJobInput, ApiError> {
    let (input, mut faults) = SyncJobInput::read(body, environment);
    let Some(input) = input else {
        // Without an integration there are still the faults that resources have whatever it is.
        if let Some(resources) = body.get("resources").filter(|given| !given.is_null()) {
            Plan::check(resources, &mut faults);
        }
        return Err(ApiError::validation(&faults));
    };
    // The integration may be gone, or another version by now: only a change of the resources needs it to fit them.
    let unchanged = before.is_some_and(|before| {
        (&before.integration_name, &before.resources) == (&input.integration_name, &input.resources)
    });
    if unchanged {
        return faults
            .into_result(input)
            .map_err(|faults| ApiError::validation(&faults));
    }
    let entry = state
        .catalog
        .by_name(&state.store, environment, &input.integration_name)
        .await?;
    if let Some(entry) = entry {
        let compiled = state.catalog.compiled(&state.store, &entry.hash).await?;
        if let Err(found) = Plan::compile(&input.resources, &compiled.integration) {
            for fault in found.as_slice() {
                faults.push(&fault.pointer, &fault.message);
            }
        }
    } else {
        faults.push(
            "/integration_name",
            "names no integration; `GET /integration` lists them",
        );
        Plan::check(&input.resources, &mut faults);
    }
    faults
        .into_result(input)
        .map_err(|faults| ApiError::validation(&faults))
}
