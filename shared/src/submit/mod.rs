//! From a request to start a run to what the run is started with.
//!
//! The API, cron triggers and workflows all go through [`Submitter::prepare`]: the
//! job, the account and the webhook must exist, fit together and be active, and the
//! job must still fit its integration. Every fault is named at once. Nothing is
//! written but the integration's document; the run itself is made by a script
//! ([`crate::store::runs::Runs::create`]).

pub mod args_schema;
pub mod args_validation;
pub mod mutex_key;
mod retry;

pub use retry::ToRetry;

use serde_json::{Map, Value};

use self::args_schema::ArgsSchema;

use crate::{
    catalog::{Catalog, Entry},
    fault::Faults,
    ids::{EnvironmentId, RunId},
    model::{
        account::{Account, AccountStatus},
        run::{RunSpec, Trigger},
        run_control::narrowed,
        run_input::RunInput,
        sync_job::{JobOptions, SyncJob},
        webhook::Webhook,
    },
    plan::Plan,
    store::{Store, StoreError, StoreResult, objects::Object},
};

/// Makes runs' specs out of requests.
#[derive(Debug, Clone, Copy)]
pub struct Submitter<'a> {
    pub store: &'a Store,
    pub catalog: &'a Catalog,
    /// How long runs are kept once they have ended, in days.
    pub retention_days: u32,
}

/// Who starts a run.
#[derive(Debug, Clone)]
pub struct StartedBy {
    pub trigger: Trigger,
    /// Id of the cron trigger or the workflow run; `None` for the API.
    pub id: Option<String>,
    /// Workflows in a row that led to the run.
    pub workflow_chain: u32,
}

/// Why no run can be started.
#[derive(Debug, thiserror::Error)]
pub enum SubmitError {
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Every fault, with pointers into the request.
    #[error("{0}")]
    Invalid(Faults),
}

/// What is asked of the account and the webhook of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readiness {
    /// That they are there.
    Exists,
    /// That they are active too.
    Active,
}

/// What a request is about; `None` where a fault says why.
#[derive(Debug)]
pub struct Found {
    job: Option<SyncJob>,
    account: Option<Account>,
    webhook: Option<Webhook>,
    integration: Option<Entry>,
}

impl StartedBy {
    /// A client of the API.
    pub const API: Self = Self {
        trigger: Trigger::Api,
        id: None,
        workflow_chain: 0,
    };
}

impl Submitter<'_> {
    /// Checks a request and gathers all that the run needs. `faults`: what reading the request found already.
    ///
    /// # Errors
    /// [`SubmitError`].
    pub async fn prepare(
        &self,
        environment: EnvironmentId,
        id: RunId,
        started_by: StartedBy,
        input: RunInput,
        mut faults: Faults,
    ) -> Result<RunSpec, SubmitError> {
        let found = self
            .check(environment, &input, Readiness::Active, &mut faults)
            .await?;
        let mutex_key = match (&found.job, &found.account) {
            (Some(job), Some(account)) => mutex_key_of(job, account, id, &input, &mut faults),
            _ => None,
        };
        let (Some(job), Some(account), Some(webhook), Some(integration), true) = (
            found.job,
            found.account,
            found.webhook,
            found.integration,
            faults.is_empty(),
        ) else {
            return Err(SubmitError::Invalid(faults));
        };
        // The document first: a run never points to one that isn't there.
        self.catalog.publish(self.store, &integration.hash).await?;
        Ok(RunSpec {
            id,
            environment_id: environment,
            sync_job_id: job.id,
            integrated_account_id: account.id,
            webhook_id: webhook.id,
            tenant_id: account.tenant_id,
            integration_name: job.integration_name,
            integration_hash: integration.hash,
            trigger: started_by.trigger,
            trigger_id: started_by.id,
            workflow_chain: started_by.workflow_chain,
            args: Value::Object(input.args),
            event_types: narrowed(
                webhook.event_types,
                input
                    .events_to_send
                    .as_deref()
                    .or(job.options.events_to_send.as_deref()),
            ),
            error_handling: input.error_handling.unwrap_or(job.error_handling),
            ignore_previous_run: input.ignore_previous_run,
            resources: job.resources,
            options: job.options,
            mutex_key,
            force: input.force,
            retry_of: None,
            retry: None,
            batch_records: webhook.delivery.batch_records,
            batch_bytes: webhook.delivery.batch_bytes,
            linger_ms: webhook.delivery.linger_ms,
            delivery_concurrency: webhook.delivery.concurrency,
            retention_days: self.retention_days,
        })
    }

    /// Looks up and checks what a request is about: every fault is added to `faults`.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn check(
        &self,
        environment: EnvironmentId,
        input: &RunInput,
        readiness: Readiness,
        faults: &mut Faults,
    ) -> StoreResult<Found> {
        let (job, account, webhook) = tokio::try_join!(
            self.find::<SyncJob>(environment, input.sync_job_id),
            self.find::<Account>(environment, input.integrated_account_id),
            self.find::<Webhook>(environment, input.webhook_id),
        )?;
        let mut known = |given: bool, found: bool, pointer: &str, what: &str| {
            if given && !found {
                faults.push(pointer, format!("there is no {what} with this id"));
            }
        };
        known(
            input.sync_job_id.is_some(),
            job.is_some(),
            "/sync_job_id",
            "sync job",
        );
        known(
            input.integrated_account_id.is_some(),
            account.is_some(),
            "/integrated_account_id",
            "integrated account",
        );
        known(
            input.webhook_id.is_some(),
            webhook.is_some(),
            "/webhook_id",
            "webhook",
        );
        check_states(
            job.as_ref(),
            account.as_ref(),
            webhook.as_ref(),
            readiness,
            faults,
        );
        let integration = match &job {
            Some(job) => self.check_plan(environment, job, faults).await?,
            None => None,
        };
        if let Some(job) = &job {
            check_args(&job.options, &input.args, faults).await;
        }
        Ok(Found {
            job,
            account,
            webhook,
            integration,
        })
    }

    /// The object with this id, where one was given.
    async fn find<O: Object>(
        &self,
        environment: EnvironmentId,
        id: Option<O::Id>,
    ) -> StoreResult<Option<O>> {
        match id {
            Some(id) => self.store.objects().get(environment, id).await,
            None => Ok(None),
        }
    }

    /// Whether the job still fits the integration as it is now.
    async fn check_plan(
        &self,
        environment: EnvironmentId,
        job: &SyncJob,
        faults: &mut Faults,
    ) -> StoreResult<Option<Entry>> {
        let entry = self
            .catalog
            .by_name(self.store, environment, &job.integration_name)
            .await?;
        let Some(entry) = entry else {
            faults.push(
                "/sync_job_id",
                format!("its integration `{}` was deleted", job.integration_name),
            );
            return Ok(None);
        };
        let compiled = self.catalog.compiled(self.store, &entry.hash).await?;
        if let Err(found) = Plan::compile(&job.resources, &compiled.integration) {
            faults.push(
                "/sync_job_id",
                format!("no longer fits its integration: {found}"),
            );
        }
        Ok(Some(entry))
    }
}

/// Whether the arguments are what the job wants.
async fn check_args(options: &JobOptions, args: &Map<String, Value>, faults: &mut Faults) {
    if options.args_schema.is_none() && options.args_validation.is_none() {
        return;
    }
    let (options, args) = (options.clone(), args.clone());
    // Both may compute for a while; the caller's thread has other requests.
    match tokio::task::spawn_blocking(move || faults_of_args(&options, args)).await {
        Ok(found) => {
            for fault in found.as_slice() {
                faults.push(&fault.pointer, &fault.message);
            }
        }
        Err(error) => {
            tracing::error!(%error, "the check of a run's arguments crashed");
            faults.push("/args", "can't be checked: the check crashed");
        }
    }
}

fn faults_of_args(options: &JobOptions, args: Map<String, Value>) -> Faults {
    let mut faults = Faults::default();
    if let Some(source) = &options.args_schema {
        // It was checked with the job; should this version read it otherwise, that is told as its fault.
        if let Some(schema) = ArgsSchema::compile(source, "/sync_job_id", &mut faults) {
            schema.check(&Value::Object(args.clone()), "/args", &mut faults);
        }
    }
    // Only arguments of the right shape come to the expression, so that it may rely on it.
    if let Some(source) = &options.args_validation
        && faults.is_empty()
        && let Some(message) = args_validation::refusal(source, args)
    {
        faults.push("/args", message);
    }
    faults
}

/// The job's mutex key for this run.
fn mutex_key_of(
    job: &SyncJob,
    account: &Account,
    run: RunId,
    input: &RunInput,
    faults: &mut Faults,
) -> Option<String> {
    let key = job.options.mutex_key.as_ref()?;
    match mutex_key::render(key, &input.args, account, run) {
        Ok(key) => Some(key),
        Err(problem) => {
            faults.push("/args", problem.to_string());
            None
        }
    }
}

fn check_states(
    job: Option<&SyncJob>,
    account: Option<&Account>,
    webhook: Option<&Webhook>,
    readiness: Readiness,
    faults: &mut Faults,
) {
    if let (Some(job), Some(account)) = (job, account)
        && job.integration_name != account.integration_name
    {
        faults.push(
            "/integrated_account_id",
            format!(
                "is an account of `{}`, and the sync job is one of `{}`",
                account.integration_name, job.integration_name
            ),
        );
    }
    if readiness == Readiness::Exists {
        return;
    }
    if let Some(account) = account.filter(|account| account.status != AccountStatus::Active) {
        let status = account.status.as_str();
        faults.push(
            "/integrated_account_id",
            format!("is not active: its status is `{status}`"),
        );
    }
    if webhook.is_some_and(|webhook| !webhook.is_active) {
        faults.push(
            "/webhook_id",
            "is not active; PATCH its `is_active` to true first",
        );
    }
}
