//! What every task of this process shares, and the short-lived copies of objects it works from.
//!
//! Runs never change after they started and are kept while they are used; accounts
//! and webhooks are read anew every [`OBJECT_TTL`], so that new credentials or a
//! webhook switched off take effect within that time.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use moka::future::Cache;
use serde_json::{Map, Value, json};
use shared::{
    catalog::Catalog,
    clock::Timestamp,
    delivery::{Target, TargetError},
    http::Outbound,
    ids::{AccountId, EnvironmentId, RunId, WebhookId},
    integration::Integration,
    model::{
        account::{Account, AccountStatus},
        event::StreamName,
        run::{ErrorHandling, RunSpec},
        webhook::Webhook,
    },
    plan::Plan,
    seal::{SealError, Sealer},
    store::{Store, StoreError, attempts::AttemptLog, deliveries::Source},
    submit::Submitter,
};
use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore, SemaphorePermit};
use tokio_util::sync::CancellationToken;

/// How old a copy of an account or a webhook may be.
pub const OBJECT_TTL: Duration = Duration::from_secs(1);
/// Pages' bodies that are read or wait for their commit at once, each some 3 MiB at most. Requests that wait for an
/// answer need no such room, so there can be more of them.
const BODIES_AT_ONCE: usize = 64;
/// How long an unused run stays in memory.
const RUN_IDLE: Duration = Duration::from_mins(1);
/// Runs kept, by the bytes of what they were started with: one may hold a long list to loop over.
const MAX_RUN_BYTES: u64 = 16 * 1024 * 1024;
/// What a small one counts as, so that there are some thousand at most.
const LEAST_RUN_BYTES: usize = 16 * 1024;
const MAX_INTEGRATIONS: u64 = 200;
const MAX_OBJECTS: u64 = 10_000;

/// Fetches that compute over records at once: half of the processors, so that what needs no computing goes on.
fn computing_at_once() -> usize {
    let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    (processors / 2).max(1)
}

/// Shared by all tasks of the process.
pub struct Context {
    pub store: Store,
    /// Calls sources.
    pub outbound: Outbound,
    /// Calls receivers, apart from the former: names that can't be looked up, of sources, hold up no delivery.
    pub receivers: Outbound,
    /// What was tried lately.
    pub attempts: AttemptLog,
    /// Cancelled when the process is to stop: a task goes on elsewhere from the next place where that costs nothing.
    pub stop: CancellationToken,
    bodies: Arc<Semaphore>,
    computing: Semaphore,
    sealer: Sealer,
    catalog: Catalog,
    /// How long runs are kept once they have ended, in days.
    retention_days: u32,
    runs: Cache<RunId, Arc<LoadedRun>>,
    integrations: Cache<String, Arc<Integration>>,
    accounts: Cache<AccountId, Option<Arc<LoadedAccount>>>,
    webhooks: Cache<WebhookId, Option<Arc<Target>>>,
    /// When a task of an unknown kind was told of in the log.
    unknown_told: Mutex<Option<Instant>>,
}

/// A run, ready to work on.
pub struct LoadedRun {
    pub spec: RunSpec,
    pub plan: Plan,
    pub integration: Arc<Integration>,
    /// `previous_run_date` by node; empty until the run has started.
    pub previous: Vec<Option<Timestamp>>,
    /// `{{run.…}}`
    pub scope: Value,
    /// What it was started with, in bytes of JSON.
    bytes: u32,
}

/// A run, as far as its deliveries need it.
pub enum DeliveredRun {
    Compiled(Arc<LoadedRun>),
    /// A run that can't be compiled (any more) still has its events to tell; names of nodes come from its state.
    Bare {
        spec: Box<RunSpec>,
        state: HashMap<String, String>,
    },
}

/// Whose events are delivered.
pub enum DeliveredSource {
    Run(DeliveredRun),
    /// Events that belong to no run.
    Outbox {
        environment: EnvironmentId,
        webhook: WebhookId,
    },
}

/// An account, its credentials opened.
pub struct LoadedAccount {
    pub status: AccountStatus,
    pub credentials_version: u64,
    pub credentials: Value,
    pub context: Value,
    /// `{{account.…}}`
    pub scope: Value,
}

/// Why something a task needs could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("what was sealed can't be opened: {0}")]
    Sealed(#[from] SealError),
    #[error(transparent)]
    Target(#[from] TargetError),
    #[error("{0}")]
    Invalid(String),
}

impl Context {
    #[must_use]
    pub fn new(
        store: Store,
        outbound: Outbound,
        sealer: Sealer,
        catalog: Catalog,
        attempts: AttemptLog,
        retention_days: u32,
        stop: CancellationToken,
    ) -> Self {
        Self {
            store,
            receivers: outbound.for_receivers(),
            outbound,
            attempts,
            stop,
            bodies: Arc::new(Semaphore::new(BODIES_AT_ONCE)),
            computing: Semaphore::new(computing_at_once()),
            sealer,
            catalog,
            retention_days,
            runs: Cache::builder()
                .max_capacity(MAX_RUN_BYTES)
                .weigher(|_, run: &Arc<LoadedRun>| run.bytes)
                .time_to_idle(RUN_IDLE)
                .build(),
            integrations: Cache::new(MAX_INTEGRATIONS),
            accounts: Cache::builder()
                .max_capacity(MAX_OBJECTS)
                .time_to_live(OBJECT_TTL)
                .build(),
            webhooks: Cache::builder()
                .max_capacity(MAX_OBJECTS)
                .time_to_live(OBJECT_TTL)
                .build(),
            unknown_told: Mutex::new(None),
        }
    }

    /// Whether the log tells of a task of an unknown kind: of one in `every`, since there may be very many.
    #[must_use]
    pub fn tells_of_unknown(&self, every: Duration) -> bool {
        // Nothing panics while it holds the lock.
        let mut told = self
            .unknown_told
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let tells = told.is_none_or(|at| at.elapsed() >= every);
        if tells {
            *told = Some(Instant::now());
        }
        tells
    }

    /// What makes runs out of requests.
    #[must_use]
    pub fn submitter(&self) -> Submitter<'_> {
        Submitter {
            store: &self.store,
            catalog: &self.catalog,
            retention_days: self.retention_days,
        }
    }

    /// Leave to read a page's body, until the permit and the parts that carry it are dropped.
    ///
    /// # Errors
    /// Never: the semaphore is not closed.
    pub async fn body_permit(&self) -> Result<Arc<OwnedSemaphorePermit>, AcquireError> {
        self.bodies.clone().acquire_owned().await.map(Arc::new)
    }

    /// Leave to compute over records for a turn.
    ///
    /// # Errors
    /// Never: the semaphore is not closed.
    pub async fn computing_permit(&self) -> Result<SemaphorePermit<'_>, AcquireError> {
        self.computing.acquire().await
    }

    /// A run that has started; `None` when its retention is over.
    ///
    /// # Errors
    /// The store is away, or the run can't be compiled any more.
    pub async fn run(&self, run: RunId) -> Result<Option<Arc<LoadedRun>>, LoadError> {
        if let Some(loaded) = self.runs.get(&run).await {
            return Ok(Some(loaded));
        }
        let Some(loaded) = self.load_run(run).await? else {
            return Ok(None);
        };
        let loaded = Arc::new(loaded);
        if !loaded.previous.is_empty() {
            self.runs.insert(run, loaded.clone()).await;
        }
        Ok(Some(loaded))
    }

    /// A run with events to deliver; `None` when its retention is over.
    ///
    /// # Errors
    /// The store is away.
    pub async fn delivered_run(&self, run: RunId) -> Result<Option<DeliveredRun>, LoadError> {
        match self.run(run).await {
            Ok(loaded) => return Ok(loaded.map(DeliveredRun::Compiled)),
            Err(LoadError::Invalid(reason)) => {
                tracing::warn!(run.id = %run, reason, "a run that can't be compiled is delivered as it was stored");
            }
            Err(error) => return Err(error),
        }
        let runs = self.store.runs();
        let Some(spec) = runs.spec(run).await? else {
            return Ok(None);
        };
        let (spec, state) = (Box::new(spec), runs.state(run).await?);
        Ok(Some(DeliveredRun::Bare { spec, state }))
    }

    /// What a delivery task sends from; `None` when its retention is over, or nothing waits any more.
    ///
    /// # Errors
    /// The store is away.
    pub async fn delivered_source(
        &self,
        source: Source,
    ) -> Result<Option<DeliveredSource>, LoadError> {
        match source {
            Source::Run(run) => Ok(self.delivered_run(run).await?.map(DeliveredSource::Run)),
            Source::Outbox(webhook) => {
                let environment = self.store.outbox_environment(webhook).await?;
                Ok(environment.map(|environment| DeliveredSource::Outbox {
                    environment,
                    webhook,
                }))
            }
        }
    }

    async fn load_run(&self, run: RunId) -> Result<Option<LoadedRun>, LoadError> {
        let runs = self.store.runs();
        let Some(spec) = runs.spec(run).await? else {
            return Ok(None);
        };
        let integration = self.integration(&spec.integration_hash).await?;
        let plan = Plan::compile(&spec.resources, &integration)
            .map_err(|faults| LoadError::Invalid(format!("the sync job is invalid: {faults}")))?;
        let state = runs.state(run).await?;
        let time = |field: &str| {
            state
                .get(field)
                .and_then(|text| text.parse().ok())
                .map(Timestamp)
        };
        let started_at = time("started_at");
        let previous = match started_at {
            Some(_) => (0..plan.nodes.len())
                .map(|node| time(&format!("n{node}:previous")))
                .collect(),
            None => Vec::new(),
        };
        let scope = json!({"id": spec.id, "started_at": started_at});
        let bytes = serde_json::to_vec(&spec).map_or(usize::MAX, |json| json.len());
        Ok(Some(LoadedRun {
            bytes: u32::try_from(bytes.max(LEAST_RUN_BYTES)).unwrap_or(u32::MAX),
            spec,
            plan,
            integration,
            previous,
            scope,
        }))
    }

    async fn integration(&self, hash: &str) -> Result<Arc<Integration>, LoadError> {
        if let Some(integration) = self.integrations.get(hash).await {
            return Ok(integration);
        }
        let document = self.store.document(hash).await?.ok_or_else(|| {
            LoadError::Invalid("the integration document of the run is gone".to_owned())
        })?;
        let integration = Integration::compile(&document)
            .map(Arc::new)
            .map_err(|faults| {
                LoadError::Invalid(format!("the integration is invalid: {faults}"))
            })?;
        self.integrations
            .insert(hash.to_owned(), integration.clone())
            .await;
        Ok(integration)
    }

    /// The account of a run; `None` when it was deleted.
    ///
    /// # Errors
    /// The store is away, or its credentials can't be opened.
    pub async fn account(
        &self,
        environment: EnvironmentId,
        account: AccountId,
    ) -> Result<Option<Arc<LoadedAccount>>, LoadError> {
        if let Some(loaded) = self.accounts.get(&account).await {
            return Ok(loaded);
        }
        let stored = self
            .store
            .objects()
            .get::<Account>(environment, account)
            .await?;
        let loaded = stored
            .map(|stored| self.open_account(&stored))
            .transpose()?
            .map(Arc::new);
        self.accounts.insert(account, loaded.clone()).await;
        Ok(loaded)
    }

    fn open_account(&self, account: &Account) -> Result<LoadedAccount, LoadError> {
        let credentials = self
            .sealer
            .open_json(&account.id.to_string(), &account.sealed_credentials)?;
        Ok(LoadedAccount {
            status: account.status,
            credentials_version: account.credentials_version,
            credentials,
            context: Value::Object(account.context.clone()),
            scope: json!({"id": account.id, "tenant_id": account.tenant_id}),
        })
    }

    /// Drops a copy that is known to be old.
    pub async fn forget_webhook(&self, webhook: WebhookId) {
        self.webhooks.invalidate(&webhook).await;
    }

    /// The webhook of a run; `None` when it was deleted.
    ///
    /// # Errors
    /// The store is away, or its secret can't be opened.
    pub async fn webhook(
        &self,
        environment: EnvironmentId,
        webhook: WebhookId,
    ) -> Result<Option<Arc<Target>>, LoadError> {
        if let Some(loaded) = self.webhooks.get(&webhook).await {
            return Ok(loaded);
        }
        let stored = self
            .store
            .objects()
            .get::<Webhook>(environment, webhook)
            .await?;
        let loaded = stored
            .map(|stored| Target::open(&stored, &self.sealer, Timestamp::now()))
            .transpose()?
            .map(Arc::new);
        self.webhooks.insert(webhook, loaded.clone()).await;
        Ok(loaded)
    }
}

impl DeliveredSource {
    #[must_use]
    pub fn environment(&self) -> EnvironmentId {
        match self {
            Self::Run(run) => run.spec().environment_id,
            Self::Outbox { environment, .. } => *environment,
        }
    }

    #[must_use]
    pub fn webhook(&self) -> WebhookId {
        match self {
            Self::Run(run) => run.spec().webhook_id,
            Self::Outbox { webhook, .. } => *webhook,
        }
    }

    #[must_use]
    pub fn run(&self) -> Option<RunId> {
        match self {
            Self::Run(run) => Some(run.spec().id),
            Self::Outbox { .. } => None,
        }
    }

    /// For logs.
    #[must_use]
    pub fn run_id(&self) -> Option<String> {
        self.run().map(|run| run.to_string())
    }
}

impl DeliveredRun {
    #[must_use]
    pub fn spec(&self) -> &RunSpec {
        match self {
            Self::Compiled(run) => &run.spec,
            Self::Bare { spec, .. } => spec,
        }
    }

    /// Whether errors of a node are told together.
    #[must_use]
    pub fn batches_errors(&self, node: usize) -> bool {
        match self {
            Self::Compiled(run) => {
                let node = run.plan.nodes.get(node);
                node.is_some_and(|node| node.policy(&run.spec) == ErrorHandling::Batch)
            }
            Self::Bare { state, .. } => state.contains_key(&format!("n{node}:batch_errors")),
        }
    }

    /// What a node's stream is called in events.
    #[must_use]
    pub fn stream_name(&self, node: usize) -> Option<StreamName<'_>> {
        match self {
            Self::Compiled(run) => run.plan.nodes.get(node).map(|node| StreamName {
                name: &node.name,
                resource: &node.resource,
                method: &node.method,
            }),
            Self::Bare { state, .. } => {
                let field = |name: &str| state.get(&format!("n{node}:{name}")).map(String::as_str);
                Some(StreamName {
                    name: field("name")?,
                    resource: field("resource")?,
                    method: field("method")?,
                })
            }
        }
    }
}

impl LoadedRun {
    /// `args` as an object.
    #[must_use]
    pub fn args(&self) -> Value {
        match &self.spec.args {
            Value::Object(_) => self.spec.args.clone(),
            _ => Value::Object(Map::new()),
        }
    }
}
