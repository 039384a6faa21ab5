//! An event has happened: the workflows that it triggers.
//!
//! Triggered by the script that made the event, where a workflow of the environment
//! waits for it. For each active one its `run_if` is asked, then its steps are taken
//! in order; what became of them is written after each step. Running it twice is
//! harmless: runs, cron triggers and histories have ids that follow from the event,
//! the workflow and the step, so that what was made is found, and steps that are
//! written are not taken again. It ends when all workflows are through.

mod scope;
mod step;

use serde_json::Value;
use shared::{
    clock::Timestamp,
    expr::jsonata::Expression,
    ids::{EnvironmentId, EventId, WorkflowRunId},
    model::{
        workflow::{MAX_CHAIN, MAX_WORKFLOWS_OF_EVENT, Workflow},
        workflow_run::{
            StartEvent, StepError, StepStatus, WorkflowRun, WorkflowRunStatus, derived_id,
        },
    },
    store::{
        PageRequest,
        queue::{Claim, Held, MAX_RESCUES, Queue},
    },
};

use self::scope::EventScope;
use super::patience::until_available;
use crate::context::{Context, LoadError};

/// Runs the task; the word is its outcome in metrics and logs.
///
/// # Errors
/// What the store can't do; the task stays claimed and is rescued.
pub async fn execute(
    context: &Context,
    claim: &Claim,
    event: EventId,
    event_type: String,
    at: Timestamp,
    payload: Value,
) -> Result<&'static str, LoadError> {
    let Ok(environment) = claim.lane.parse::<EnvironmentId>() else {
        return Err(LoadError::Invalid(format!(
            "the lane `{}` is no environment",
            claim.lane
        )));
    };
    let event = StartEvent {
        id: event,
        event: event_type,
        created_at: at,
    };
    let page = PageRequest {
        limit: MAX_WORKFLOWS_OF_EVENT,
        after: None,
    };
    let facet = Some(("trigger_name", event.event.as_str()));
    let objects = context.store.objects();
    let active = |workflow: &Workflow| workflow.input.is_active;
    let workflows = objects.list(environment, facet, &page, active).await?;
    if workflows.next.is_some() {
        tracing::warn!(
            event = event.event,
            most = MAX_WORKFLOWS_OF_EVENT,
            "more workflows are triggered by an event than it can start; the oldest ones are left out"
        );
    }
    if !workflows.items.is_empty() {
        let scope = scope::load(context, environment, &event, payload).await?;
        // In the order in which they were made.
        for workflow in workflows.items.iter().rev() {
            let run = Through {
                context,
                claim,
                workflow,
                event: &event,
                scope: &scope,
            };
            if run.go().await? == Held::Stale {
                return Ok("stale");
            }
        }
    }
    until_available(|| {
        let store = &context.store;
        store.finish_task(Queue::Runs, &claim.id, &claim.token)
    })
    .await?;
    Ok("done")
}

/// One event's way through one workflow.
struct Through<'a> {
    context: &'a Context,
    claim: &'a Claim,
    workflow: &'a Workflow,
    event: &'a StartEvent,
    scope: &'a EventScope,
}

impl Through<'_> {
    async fn go(&self) -> Result<Held, LoadError> {
        let workflow = self.workflow;
        let environment = workflow.environment_id;
        let bits = derived_id(self.event.id, &[&workflow.id.to_string()]);
        let id = WorkflowRunId::from_bits(bits);
        let known = self.context.store.workflow_run(environment, id).await?;
        let mut run = known.unwrap_or_else(|| self.new_run(id));
        if run.status != WorkflowRunStatus::Running {
            return Ok(Held::Done);
        }
        if self.claim.rescues > MAX_RESCUES {
            let message = "the worker crashed each time it worked on this event";
            end(&mut run, Some(failure("worker_crashed", message)));
            return self.write(&run).await;
        }
        if self.scope.chain >= MAX_CHAIN {
            let message = format!(
                "it is the end of a chain of {MAX_CHAIN} workflows, each started by a run of the one before; give them a `run_if` that ends the chain"
            );
            end(&mut run, Some(failure("workflow_loop", &message)));
            return self.write(&run).await;
        }
        if run.steps.is_empty() {
            match self.asks(workflow.input.config.run_if.as_deref()).await {
                Ok(true) => {}
                Ok(false) => {
                    run.status = WorkflowRunStatus::Skipped;
                    run.finished_at = Some(Timestamp::now());
                    return self.write(&run).await;
                }
                Err(error) => {
                    end(&mut run, Some(error));
                    return self.write(&run).await;
                }
            }
        }
        for index in run.steps.len()..workflow.input.config.steps.len() {
            let result = self.step(&run, index).await?;
            let failed = result.status == StepStatus::Failed;
            run.steps.push(result);
            if failed {
                break;
            }
            if self.write(&run).await? == Held::Stale {
                return Ok(Held::Stale);
            }
        }
        let error = run.steps.last().and_then(|last| last.error.clone());
        end(&mut run, error);
        tracing::info!(workflow.id = %workflow.id, workflow_run.id = %run.id, event = self.event.event,
            status = ?run.status, steps = run.steps.len(), "an event went through a workflow");
        self.write(&run).await
    }

    fn new_run(&self, id: WorkflowRunId) -> WorkflowRun {
        WorkflowRun {
            id,
            environment_id: self.workflow.environment_id,
            workflow_id: self.workflow.id,
            status: WorkflowRunStatus::Running,
            event: self.event.clone(),
            integrated_account_id: self.scope.text("/integrated_account/id"),
            tenant_id: self.scope.text("/tenant_id"),
            steps: Vec::new(),
            error: None,
            created_at: Timestamp::now(),
            finished_at: None,
        }
    }

    /// Whether a `run_if` says yes; none does.
    async fn asks(&self, run_if: Option<&str>) -> Result<bool, StepError> {
        let Some(source) = run_if else {
            return Ok(true);
        };
        let source = source.to_owned();
        let answer = self.compute(move |value| {
            let expression = Expression::compile(&source).map_err(|fault| fault.to_string())?;
            expression.is_true(value).map_err(|error| error.to_string())
        });
        answer
            .await
            .map_err(|message| failure("expression_failed", &format!("`run_if` {message}")))
    }

    /// Computes over the event, on a thread that may be blocked.
    async fn compute<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Value) -> Result<T, String> + Send + 'static,
    ) -> Result<T, String> {
        let value = self.scope.value.clone();
        let done = tokio::task::spawn_blocking(move || work(&value)).await;
        done.unwrap_or_else(|error| Err(error.to_string()))
    }

    async fn write(&self, run: &WorkflowRun) -> Result<Held, LoadError> {
        let (store, claim) = (&self.context.store, self.claim);
        let days = self.context.submitter().retention_days;
        Ok(until_available(|| store.put_workflow_run(&claim.id, &claim.token, run, days)).await?)
    }
}

fn end(run: &mut WorkflowRun, error: Option<StepError>) {
    run.status = if error.is_some() {
        WorkflowRunStatus::Failed
    } else {
        WorkflowRunStatus::Completed
    };
    run.error = error;
    run.finished_at = Some(Timestamp::now());
}

fn failure(code: &str, message: &str) -> StepError {
    StepError {
        code: code.to_owned(),
        message: message.to_owned(),
        details: Vec::new(),
    }
}
