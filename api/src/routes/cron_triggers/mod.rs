//! `/sync-job-cron-trigger`: runs that start by themselves.
pub mod create;
pub mod delete;
pub mod get;
pub mod list;
pub mod schedule;
pub mod update;
pub mod view;

use serde_json::Value;
use shared::{
    ids::EnvironmentId,
    model::cron_trigger::{CronTrigger, CronTriggerInput},
    submit::Readiness,
};

use self::view::CronTriggerView;
use crate::{error::ApiError, state::AppState};

/// Reads a trigger and checks what its runs would be started with: every fault of both at once. `before`: what it
/// was, when it is changed.
async fn read(
    state: &AppState,
    environment: EnvironmentId,
    body: &Value,
    before: Option<&CronTriggerInput>,
) -> Result<CronTriggerInput, ApiError> {
    let (run, input, mut faults) = CronTriggerInput::read(body, environment);
    // What it names may be gone by now: only a change of that, or switching it on, needs it to be there.
    let unchanged = before.is_some_and(|before| {
        let switched_on = !before.is_active && input.as_ref().is_none_or(|after| after.is_active);
        before.run_input() == run && !switched_on
    });
    if !unchanged {
        // An account that isn't active yet, or a webhook that is off for a while, may be when the trigger fires.
        state
            .submitter()
            .check(environment, &run, Readiness::Exists, &mut faults)
            .await?;
    }
    match input {
        Some(input) if faults.is_empty() => Ok(input),
        _ => Err(ApiError::validation(&faults)),
    }
}

/// A trigger with where it stands.
async fn show(state: &AppState, trigger: &CronTrigger) -> Result<CronTriggerView, ApiError> {
    let states = state.store.cron_states(&[trigger.id]).await?;
    let standing = states.into_iter().next().unwrap_or_default();
    Ok(CronTriggerView::new(trigger, standing))
}
