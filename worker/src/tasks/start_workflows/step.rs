//! One step: a run of a sync job, or a cron trigger that makes such runs.

use serde_json::{Map, Value};
use shared::{
    clock::Timestamp,
    expr::jsonata::Expression,
    fault::kind_of,
    ids::{CronTriggerId, RunId},
    model::{
        cron_trigger::{CronTrigger, CronTriggerInput},
        run::Trigger,
        run_input::RunInput,
        workflow::{Step, with_account},
        workflow_run::{
            KeptWorkflowRun, StepError, StepResult, StepStatus, WorkflowRun, derived_id,
        },
    },
    store::{objects::Creation, runs::Created},
    submit::{Readiness, StartedBy, SubmitError},
};

use super::{Through, failure};
use crate::context::LoadError;

/// What a step made.
enum Made {
    Nothing,
    Run(RunId),
    CronTrigger(CronTriggerId),
}

/// Why it made nothing.
enum Failed {
    Step(StepError),
    Load(LoadError),
}

impl From<StepError> for Failed {
    fn from(error: StepError) -> Self {
        Self::Step(error)
    }
}

impl<E: Into<LoadError>> From<E> for Failed {
    fn from(error: E) -> Self {
        Self::Load(error.into())
    }
}

impl Through<'_> {
    /// Takes a step; its result says what became of it.
    pub(super) async fn step(
        &self,
        kept: &KeptWorkflowRun,
        index: usize,
    ) -> Result<StepResult, LoadError> {
        let (run, step) = (&kept.run, &kept.config.steps[index]);
        let mut result = StepResult {
            status: StepStatus::Skipped,
            sync_job_run_id: None,
            sync_job_cron_trigger_id: None,
            error: None,
            at: Timestamp::now(),
        };
        let made = match self.asks(step.run_if.as_deref()).await {
            Ok(false) => return Ok(result),
            Ok(true) => self.make(run, index, step).await,
            Err(error) => Err(error.into()),
        };
        match made {
            Ok(Made::Nothing) => {}
            Ok(Made::Run(id)) => {
                result.status = StepStatus::Started;
                result.sync_job_run_id = Some(id);
            }
            Ok(Made::CronTrigger(id)) => {
                result.status = StepStatus::Scheduled;
                result.sync_job_cron_trigger_id = Some(id);
            }
            Err(Failed::Step(error)) => {
                tracing::warn!(workflow.id = %run.workflow_id, workflow_run.id = %run.id, step = index, code = error.code,
                    error = error.message, "a step of a workflow failed");
                result.status = StepStatus::Failed;
                result.error = Some(error);
            }
            Err(Failed::Load(error)) => return Err(error),
        }
        Ok(result)
    }

    async fn make(&self, run: &WorkflowRun, index: usize, step: &Step) -> Result<Made, Failed> {
        let config = self.config(step).await?;
        match &step.cron_expression {
            None => self.start_run(run, index, config).await.map(Made::Run),
            Some(expression) => {
                self.make_trigger(run, index, step, expression, config)
                    .await
            }
        }
    }

    /// The step's config, computed where it is an expression.
    async fn config(&self, step: &Step) -> Result<Map<String, Value>, StepError> {
        let computed = match &step.config {
            Value::String(source) => {
                let source = source.clone();
                let computed = self.compute(move |value| {
                    let expression =
                        Expression::compile(&source).map_err(|fault| fault.to_string())?;
                    expression
                        .evaluate(value)
                        .map_err(|error| error.to_string())
                });
                let computed = computed.await.map_err(|message| {
                    failure("expression_failed", &format!("`config` {message}"))
                })?;
                computed.unwrap_or(Value::Null)
            }
            given => given.clone(),
        };
        match computed {
            Value::Object(config) => {
                let account = self.scope.value.pointer("/integrated_account/id");
                Ok(with_account(&config, account))
            }
            other => Err(failure(
                "expression_failed",
                &format!("`config` must give an object, gave {}", kind_of(&other)),
            )),
        }
    }

    async fn start_run(
        &self,
        run: &WorkflowRun,
        index: usize,
        config: Map<String, Value>,
    ) -> Result<RunId, Failed> {
        let environment = self.environment;
        let (input, faults) = RunInput::read(&Value::Object(config), environment);
        let Some(input) = input else {
            return Err(StepError::of_faults("validation_failed", &faults).into());
        };
        let parts = [
            self.event.id.to_string(),
            run.workflow_id.to_string(),
            index.to_string(),
        ];
        let parts = [&parts[0], &parts[1], &parts[2], "run"];
        let id = RunId::from_bits(derived_id(self.event.created_at, &parts));
        let started_by = StartedBy {
            trigger: Trigger::Workflow,
            id: Some(run.id.to_string()),
            workflow_chain: self.scope.chain + 1,
        };
        if self.context.store.runs().spec(id).await?.is_some() {
            // Made before; by now perhaps it could not be made any more.
            return Ok(id);
        }
        let submitter = self.context.submitter();
        let prepared = submitter
            .prepare(environment, id, started_by, input, faults)
            .await;
        let spec = match prepared {
            Ok(spec) => spec,
            Err(SubmitError::Store(error)) => return Err(error.into()),
            Err(SubmitError::Invalid(faults)) => {
                return Err(StepError::of_faults("validation_failed", &faults).into());
            }
        };
        let runs = self.context.store.runs();
        // Not waited for here: a Redis that is full refuses it for long, and what would make room needs the slot.
        match runs.create(&spec).await? {
            Created::Created | Created::Existed => Ok(id),
            Created::Full(active) => {
                let message = format!(
                    "too many runs wait for the mutex key of the sync job already; {active} has it now"
                );
                Err(failure("run_already_active", &message).into())
            }
        }
    }

    /// One trigger for each workflow, step and account, whichever event asks for it first.
    async fn make_trigger(
        &self,
        run: &WorkflowRun,
        index: usize,
        step: &Step,
        expression: &str,
        mut config: Map<String, Value>,
    ) -> Result<Made, Failed> {
        let environment = self.environment;
        config.insert("cron_expression".to_owned(), expression.into());
        if let Some(timezone) = &step.timezone {
            config.insert("timezone".to_owned(), timezone.as_str().into());
        }
        let account = config.get("integrated_account_id").and_then(Value::as_str);
        let account = account.unwrap_or_default().to_owned();
        let (request, input, mut faults) =
            CronTriggerInput::read(&Value::Object(config), environment);
        let submitter = self.context.submitter();
        submitter
            .check(environment, &request, Readiness::Exists, &mut faults)
            .await?;
        let Some(input) = input.filter(|_| faults.is_empty()) else {
            return Err(StepError::of_faults("validation_failed", &faults).into());
        };
        let parts = [run.workflow_id.to_string(), index.to_string()];
        let made = Timestamp(i64::try_from(run.workflow_id.timestamp_ms()).unwrap_or(0));
        let bits = derived_id(made, &[&parts[0], &parts[1], &account]);
        let now = Timestamp::now();
        let trigger = CronTrigger {
            id: CronTriggerId::from_bits(bits),
            environment_id: environment,
            input,
            created_at: now,
            updated_at: now,
            deleted_at: None,
        };
        let objects = self.context.store.objects();
        match objects.create(&trigger).await? {
            Creation::Created | Creation::NameTaken(_) => {
                tracing::info!(cron_trigger.id = %trigger.id, workflow.id = %run.workflow_id, "a workflow made a cron trigger");
            }
            // One that was deleted stays so.
            Creation::Existed(there) if there.deleted_at.is_some() => return Ok(Made::Nothing),
            Creation::Existed(there) if there.input.sync_job_id != trigger.input.sync_job_id => {
                let message = format!(
                    "this step has made the cron trigger {} for another sync job before; delete it, and make another workflow",
                    there.id
                );
                return Err(failure("conflict", &message).into());
            }
            Creation::Existed(_) => {}
        }
        Ok(Made::CronTrigger(trigger.id))
    }
}
