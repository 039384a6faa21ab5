//! `/workflow`: what happens by itself when an event happens.
pub mod create;
pub mod delete;
pub mod get;
pub mod list;
pub mod update;
pub mod view;

use serde_json::Value;
use shared::{
    fault::{Faults, child},
    ids::EnvironmentId,
    model::{
        cron_trigger::CronTriggerInput,
        run_input::RunInput,
        workflow::{Step, WorkflowInput},
    },
    submit::Readiness,
};

use crate::{error::ApiError, state::AppState};

/// Reads a workflow and looks up what its steps name: every fault of both at once. `before`: what it was, when it is
/// changed.
async fn read(
    state: &AppState,
    environment: EnvironmentId,
    body: &Value,
    before: Option<&WorkflowInput>,
) -> Result<WorkflowInput, ApiError> {
    let (input, steps, mut faults) = WorkflowInput::read(body, environment);
    // What a step names may be gone by now: only a change of the step, or switching the workflow on, needs it to be there.
    let stays = before
        .filter(|before| before.is_active || input.as_ref().is_some_and(|after| !after.is_active));
    for (index, step) in &steps {
        if stays.is_some_and(|before| before.config.steps.contains(step)) {
            continue;
        }
        let pointer = format!("/config/steps/{index}/config");
        for fault in check_step(state, environment, step).await?.as_slice() {
            faults.push(format!("{pointer}{}", fault.pointer), &fault.message);
        }
    }
    match input {
        Some(input) if faults.is_empty() => Ok(input),
        _ => Err(ApiError::validation(&faults)),
    }
}

/// The faults of a config that is given and not computed; pointers begin in it.
async fn check_step(
    state: &AppState,
    environment: EnvironmentId,
    step: &Step,
) -> Result<Faults, ApiError> {
    let Value::Object(config) = &step.config else {
        return Ok(Faults::default());
    };
    let mut config = config.clone();
    // Where it is absent it is the event's account.
    let any_account = !config.contains_key("integrated_account_id");
    let (request, mut found) = if let Some(expression) = &step.cron_expression {
        config.insert("cron_expression".to_owned(), expression.as_str().into());
        if let Some(timezone) = &step.timezone {
            config.insert("timezone".to_owned(), timezone.as_str().into());
        }
        let (request, _, found) = CronTriggerInput::read(&Value::Object(config), environment);
        (request, found)
    } else {
        let (request, found) = RunInput::read(&Value::Object(config), environment);
        (request.unwrap_or_default(), found)
    };
    let submitter = state.submitter();
    submitter
        .check(environment, &request, Readiness::Exists, &mut found)
        .await?;
    let mut faults = Faults::default();
    for fault in found.as_slice() {
        let of_the_event = any_account && fault.pointer == child("", "integrated_account_id");
        // The step itself has these; its reader has named their faults.
        let of_the_step = matches!(fault.pointer.as_str(), "/cron_expression" | "/timezone");
        if !of_the_event && !of_the_step {
            faults.push(&fault.pointer, &fault.message);
        }
    }
    Ok(faults)
}
