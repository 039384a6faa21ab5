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
    failure::FailurePoint,
    ids::{EnvironmentId, WorkflowRunId},
    model::{
        workflow::{MAX_CHAIN, MAX_WORKFLOWS_OF_EVENT, Workflow},
        workflow_run::{
            KeptWorkflowRun, StartEvent, StepError, StepStatus, WorkflowRun, WorkflowRunStatus,
            derived_id,
        },
    },
    store::{
        PageRequest, StoreError,
        queue::{Claim, Held, MAX_RESCUES, Queue},
    },
};

use self::scope::EventScope;
use super::patience::until_available;
use crate::context::{Context, LoadError};

/// Attempts at an event that fail for a reason of ours.
const MAX_ATTEMPTS: u32 = 5;

/// Runs the task; the word is its outcome in metrics and logs.
///
/// # Errors
/// What the store can't do; the task stays claimed and is rescued.
pub async fn execute(
    context: &Context,
    claim: &Claim,
    event: StartEvent,
    payload: Value,
) -> Result<&'static str, LoadError> {
    let word = match go_through(context, claim, &event, payload).await {
        Ok(Held::Stale) => return Ok("stale"),
        Ok(Held::Done) => "done",
        Err(error @ LoadError::Store(StoreError::Unavailable(_))) => return Err(error),
        Err(error) if claim.attempt < MAX_ATTEMPTS => return Err(error),
        Err(error) => {
            tracing::error!(event.id = %event.id, event = event.event, error = %error,
                "an event could not be taken through its workflows; it was given up");
            "failed"
        }
    };
    until_available(|| {
        let store = &context.store;
        store.finish_task(Queue::Runs, &claim.id, &claim.token)
    })
    .await?;
    Ok(word)
}

async fn go_through(
    context: &Context,
    claim: &Claim,
    event: &StartEvent,
    payload: Value,
) -> Result<Held, LoadError> {
    let invalid = |_| LoadError::Invalid(format!("the lane `{}` is no environment", claim.lane));
    let environment: EnvironmentId = claim.lane.parse().map_err(invalid)?;
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
    // What was begun goes on, whatever became of the workflow since.
    let mut open = context.store.open_workflow_runs(environment, event).await?;
    if workflows.items.is_empty() && open.is_empty() {
        return Ok(Held::Done);
    }
    let scope = scope::load(context, environment, event, payload).await?;
    let through = Through {
        context,
        claim,
        environment,
        event,
        scope: &scope,
    };
    // All are written before the first is begun. In the order in which the workflows were made.
    for workflow in workflows.items.iter().rev() {
        let parts = [event.id.to_string(), workflow.id.to_string()];
        let bits = derived_id(event.created_at, &[&parts[0], &parts[1]]);
        let id = WorkflowRunId::from_bits(bits);
        if context.store.workflow_run(environment, id).await?.is_none() {
            let kept = through.new_run(id, workflow);
            if through.write(&kept).await? == Held::Stale {
                return Ok(Held::Stale);
            }
            open.push(kept);
        }
    }
    for kept in open {
        if through.go(kept).await? == Held::Stale {
            return Ok(Held::Stale);
        }
    }
    Ok(Held::Done)
}

/// One event's way through its workflows.
struct Through<'a> {
    context: &'a Context,
    claim: &'a Claim,
    environment: EnvironmentId,
    event: &'a StartEvent,
    scope: &'a EventScope,
}

impl Through<'_> {
    async fn go(&self, mut kept: KeptWorkflowRun) -> Result<Held, LoadError> {
        if self.claim.rescues > MAX_RESCUES {
            let message = "the worker crashed each time it worked on this event";
            end(&mut kept.run, Some(failure("worker_crashed", message)));
            return self.write(&kept).await;
        }
        if self.scope.chain >= MAX_CHAIN {
            let message = format!(
                "it is the end of a chain of {MAX_CHAIN} workflows, each started by a run of the one before; give them a `run_if` that ends the chain"
            );
            end(&mut kept.run, Some(failure("workflow_loop", &message)));
            return self.write(&kept).await;
        }
        if !kept.wanted {
            match self.asks(kept.config.run_if.as_deref()).await {
                Ok(true) => kept.wanted = true,
                Ok(false) => {
                    kept.run.status = WorkflowRunStatus::Skipped;
                    kept.run.finished_at = Some(Timestamp::now());
                    return self.write(&kept).await;
                }
                Err(error) => {
                    end(&mut kept.run, Some(error));
                    return self.write(&kept).await;
                }
            }
            if self.write(&kept).await? == Held::Stale {
                return Ok(Held::Stale);
            }
        }
        for index in kept.run.steps.len()..kept.config.steps.len() {
            FailurePoint::WorkflowStep.reach()?;
            let result = self.step(&kept, index).await?;
            let failed = result.status == StepStatus::Failed;
            kept.run.steps.push(result);
            if failed {
                break;
            }
            if self.write(&kept).await? == Held::Stale {
                return Ok(Held::Stale);
            }
        }
        let run = &mut kept.run;
        let error = run.steps.last().and_then(|last| last.error.clone());
        end(run, error);
        tracing::info!(workflow.id = %run.workflow_id, workflow_run.id = %run.id, event = self.event.event,
            status = ?run.status, steps = run.steps.len(), "an event went through a workflow");
        self.write(&kept).await
    }

    fn new_run(&self, id: WorkflowRunId, workflow: &Workflow) -> KeptWorkflowRun {
        let run = WorkflowRun {
            id,
            environment_id: self.environment,
            workflow_id: workflow.id,
            status: WorkflowRunStatus::Running,
            event: self.event.clone(),
            integrated_account_id: self.scope.text("/integrated_account/id"),
            tenant_id: self.scope.text("/tenant_id"),
            steps: Vec::new(),
            error: None,
            created_at: Timestamp::now(),
            finished_at: None,
        };
        KeptWorkflowRun {
            run,
            config: workflow.input.config.clone(),
            wanted: false,
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

    async fn write(&self, kept: &KeptWorkflowRun) -> Result<Held, LoadError> {
        let (store, claim) = (&self.context.store, self.claim);
        let days = self.context.submitter().retention_days;
        Ok(until_available(|| store.put_workflow_run(&claim.id, &claim.token, kept, days)).await?)
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
