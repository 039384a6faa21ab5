//! Workflows: what happens by itself when an event happens.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{
    event::{EVENT_TYPES, TERMINAL},
    input::{accept_common, label, refuse_read_only},
};
use crate::{
    clock::Timestamp,
    cron::Schedule,
    expr::jsonata::Expression,
    fault::{Faults, Fields, child, kind_of, shown, suggestion},
    ids::{EnvironmentId, WorkflowId},
};

/// Steps of one workflow at most.
pub const MAX_STEPS: usize = 20;
/// Workflows that one event can start.
pub const MAX_WORKFLOWS_OF_EVENT: u32 = 100;
/// Workflows in a row, each started by a run of the one before.
pub const MAX_CHAIN: u32 = 5;

/// A workflow as it is stored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Workflow {
    pub id: WorkflowId,
    pub environment_id: EnvironmentId,
    #[serde(flatten)]
    pub input: WorkflowInput,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    #[serde(default)]
    pub deleted_at: Option<Timestamp>,
}

/// What a client sets of a workflow.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct WorkflowInput {
    pub label: Option<String>,
    /// The event that starts it.
    #[schema(example = "integrated_account:active")]
    pub trigger_name: String,
    #[schema(required = false, default = true)]
    pub is_active: bool,
    pub config: WorkflowConfig,
}

/// What a workflow does.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct WorkflowConfig {
    /// JSONata over `event`, `integrated_account`, `integration`, `tenant_id` and `environment_id`: whether it runs.
    pub run_if: Option<String>,
    /// In order.
    #[schema(min_items = 1, max_items = 20)]
    pub steps: Vec<Step>,
}

/// One step of a workflow.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Step {
    /// `run`.
    #[serde(rename = "type")]
    pub kind: StepKind,
    pub action: Action,
    /// As that of the workflow.
    pub run_if: Option<String>,
    /// `sync_job_id`, `webhook_id` and what else a run is started with; or JSONata, in one string, that gives it.
    /// `integrated_account_id` is the event's account when absent.
    #[schema(value_type = Object)]
    pub config: Value,
    /// Makes a cron trigger for the account instead of a run.
    pub cron_expression: Option<String>,
    /// Of the cron expression.
    pub timezone: Option<String>,
}

/// What kind of step it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum StepKind {
    Run,
}

/// What a step does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Starts a run of a sync job, or schedules such runs.
    RunSyncJob,
}

const READ_ONLY: &[&str] = &["id", "created_at", "updated_at"];

/// Events that can start a workflow: all but those that come many times a run.
#[must_use]
pub fn is_trigger(event: &str) -> bool {
    let of_a_run = event.starts_with("sync_job_run:");
    let made = EVENT_TYPES.contains(&event) && event != "test" && event != "webhook:disabled";
    made && (!of_a_run || TERMINAL.contains(&event))
}

impl WorkflowInput {
    /// Reads a body, except for what its steps' configs name: the steps that could be read come with their positions, so
    /// that those are looked up and all faults told at once.
    #[must_use]
    pub fn read(
        body: &Value,
        environment: EnvironmentId,
    ) -> (Option<Self>, Vec<(usize, Step)>, Faults) {
        let mut faults = Faults::default();
        let Some(mut fields) = Fields::new(body, "", &mut faults) else {
            return (None, Vec::new(), faults);
        };
        accept_common(&mut fields, environment, &mut faults);
        refuse_read_only(&mut fields, READ_ONLY, &mut faults);
        let label = label(&mut fields, "label", &mut faults);
        let trigger_name = read_trigger(&mut fields, &mut faults);
        let is_active = fields.boolean("is_active", &mut faults).unwrap_or(true);
        let pointer = fields.pointer("config");
        let (config, steps) = fields
            .required("config", &mut faults)
            .map(|config| WorkflowConfig::read(config, &pointer, &mut faults))
            .unwrap_or_default();
        fields.finish(&mut faults);
        let input = trigger_name.zip(config).map(|(trigger_name, config)| Self {
            label,
            trigger_name,
            is_active,
            config,
        });
        if let Some(input) = &input {
            input.check_loop(&mut faults);
        }
        (input, steps, faults)
    }

    /// A run that ends starts a workflow that starts a run: without a condition that goes on for ever.
    fn check_loop(&self, faults: &mut Faults) {
        if !self.trigger_name.starts_with("sync_job_run:") || self.config.run_if.is_some() {
            return;
        }
        for (index, step) in self.config.steps.iter().enumerate() {
            if step.run_if.is_none() && step.cron_expression.is_none() && step.config.is_object() {
                faults.push(
                    child("/config/steps", index),
                    format!(
                        "would start itself: its run ends with an event that starts this workflow again; give the \
                         workflow or the step a `run_if`, such as `event.payload.sync_job_id = \"job_…\"` (chains end \
                         after {MAX_CHAIN} workflows)"
                    ),
                );
            }
        }
    }
}

fn read_trigger(fields: &mut Fields<'_>, faults: &mut Faults) -> Option<String> {
    let name = fields.required_string("trigger_name", faults)?;
    if !is_trigger(name) {
        let known = || EVENT_TYPES.iter().copied().filter(|name| is_trigger(name));
        let mut hint = suggestion(name, known());
        if hint.is_empty() {
            hint = format!("; there are {}", known().collect::<Vec<_>>().join(", "));
        }
        faults.push(
            fields.pointer("trigger_name"),
            format!("`{}` is no event that starts workflows{hint}", shown(name)),
        );
        return None;
    }
    Some(name.to_owned())
}

impl WorkflowConfig {
    fn read(
        value: &Value,
        pointer: &str,
        faults: &mut Faults,
    ) -> (Option<Self>, Vec<(usize, Step)>) {
        let Some(mut fields) = Fields::new(value, pointer, faults) else {
            return (None, Vec::new());
        };
        let run_if = read_expression(&mut fields, "run_if", faults);
        let at = fields.pointer("steps");
        let steps = fields.required("steps", faults);
        let steps = steps.and_then(|steps| match steps {
            Value::Array(steps) => Some(steps),
            other => {
                faults.push(&at, format!("must be an array, is {}", kind_of(other)));
                None
            }
        });
        fields.finish(faults);
        let Some(given) = steps else {
            return (None, Vec::new());
        };
        if given.is_empty() || given.len() > MAX_STEPS {
            faults.push(&at, format!("must have 1 to {MAX_STEPS} steps"));
            return (None, Vec::new());
        }
        let read: Vec<(usize, Step)> = given
            .iter()
            .enumerate()
            .filter_map(|(index, step)| {
                Some((index, Step::read(step, &child(&at, index), faults)?))
            })
            .collect();
        let steps: Vec<Step> = read.iter().map(|(_, step)| step.clone()).collect();
        let config = (steps.len() == given.len()).then_some(Self { run_if, steps });
        (config, read)
    }
}

impl Step {
    fn read(value: &Value, pointer: &str, faults: &mut Faults) -> Option<Self> {
        let mut fields = Fields::new(value, pointer, faults)?;
        fields.required("type", faults);
        let kind = fields.choice("type", &[("run", StepKind::Run)], faults);
        fields.required("action", faults);
        let actions = [("run_sync_job", Action::RunSyncJob)];
        let action = fields.choice("action", &actions, faults);
        let run_if = read_expression(&mut fields, "run_if", faults);
        let at = fields.pointer("config");
        let config = match fields.required("config", faults) {
            Some(config @ Value::Object(_)) => Some(config.clone()),
            Some(Value::String(source)) => {
                if let Err(fault) = Expression::compile(source) {
                    faults.push(&at, fault.to_string());
                }
                Some(Value::String(source.clone()))
            }
            Some(other) => {
                faults.push(
                    &at,
                    format!(
                        "must be an object or JSONata in a string, is {}",
                        kind_of(other)
                    ),
                );
                None
            }
            None => None,
        };
        let cron_expression = fields.string("cron_expression", faults).map(str::to_owned);
        let timezone = fields.string("timezone", faults).map(str::to_owned);
        if let Some(expression) = &cron_expression {
            Schedule::parse(
                expression,
                timezone.as_deref().unwrap_or("UTC"),
                pointer,
                faults,
            );
        } else if timezone.is_some() {
            faults.push(
                fields.pointer("timezone"),
                "is that of a `cron_expression`; leave it out, or give one",
            );
        }
        fields.finish(faults);
        Some(Self {
            kind: kind?,
            action: action?,
            run_if,
            config: config?,
            cron_expression,
            timezone,
        })
    }
}

fn read_expression(
    fields: &mut Fields<'_>,
    name: &'static str,
    faults: &mut Faults,
) -> Option<String> {
    let source = fields.string(name, faults)?;
    if let Err(fault) = Expression::compile(source) {
        faults.push(fields.pointer(name), fault.to_string());
    }
    Some(source.to_owned())
}

/// The fields of a step's config that a run has, out of all that a cron trigger has too.
#[must_use]
pub fn with_account(config: &Map<String, Value>, account: Option<&Value>) -> Map<String, Value> {
    let mut config = config.clone();
    if !config.contains_key("integrated_account_id")
        && let Some(account) = account
    {
        config.insert("integrated_account_id".to_owned(), account.clone());
    }
    config
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn faults(body: &Value) -> Vec<(String, String)> {
        let (_, _, faults) = WorkflowInput::read(body, EnvironmentId::from_bits(1));
        let pairs = faults.as_slice().iter();
        pairs
            .map(|fault| (fault.pointer.clone(), fault.message.clone()))
            .collect()
    }

    fn step(more: Value) -> Value {
        let mut step = json!({"type": "run", "action": "run_sync_job", "config": {}});
        if let (Some(all), Value::Object(more)) = (step.as_object_mut(), more) {
            all.extend(more);
        }
        step
    }

    #[test]
    fn every_fault_of_a_workflow_is_named_at_once() {
        let body = json!({"trigger_name": "integrated_account:actve", "config": {"run_if": "(1", "steps": [
            step(json!({"type": "wait", "run_if": "$foo(", "config": 3})),
            step(json!({"config": "{", "cron_expression": "61 * * * *"})),
            step(json!({"timezone": "UTC", "conf": 1})),
        ]}});
        let mut pointers: Vec<_> = faults(&body)
            .into_iter()
            .map(|(pointer, _)| pointer)
            .collect();
        pointers.sort_unstable();
        assert_eq!(
            pointers,
            [
                "/config/run_if",
                "/config/steps/0/config",
                "/config/steps/0/run_if",
                "/config/steps/0/type",
                "/config/steps/1/config",
                "/config/steps/1/cron_expression",
                "/config/steps/2/conf",
                "/config/steps/2/timezone",
                "/trigger_name",
            ]
        );
    }

    #[test]
    fn a_fault_of_an_expression_says_where() {
        let body = json!({"trigger_name": "integrated_account:active", "config": {"run_if": "event.(", "steps": [step(json!({}))]}});
        let (_, message) = faults(&body).remove(0);
        assert!(message.contains("at position"), "{message}");
    }

    #[test]
    fn a_workflow_that_would_start_itself_is_refused_unless_it_has_a_condition() {
        let body = |run_if: Value| json!({"trigger_name": "sync_job_run:completed", "config": {"run_if": run_if, "steps": [step(json!({}))]}});
        let found = faults(&body(Value::Null));
        assert_eq!(found[0].0, "/config/steps/0");
        assert!(found[0].1.contains("would start itself"), "{}", found[0].1);
        assert!(faults(&body(json!("event.payload.x = 1"))).is_empty());
    }

    #[test]
    fn events_that_come_many_times_a_run_start_no_workflow() {
        assert!(is_trigger("integrated_account:active") && is_trigger("sync_job_run:failed"));
        assert!(!is_trigger("sync_job_run:record") && !is_trigger("nothing"));
    }
}
