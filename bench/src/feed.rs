//! Runs whose fetches this process holds: it commits records as a worker does that has fetched them, at the pace that
//! a measurement wants, so that deliveries are measured by themselves.

use std::{collections::HashMap, net::SocketAddr, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use futures::future::try_join_all;
use serde_json::{Value, json};
use shared::{
    ids::{RunId, WebhookId},
    model::{
        chunk::{close_chunk, open_chunk},
        event::RECORD,
        run::RunSpec,
    },
    queue::task::FetchBody,
    store::{
        Store,
        fetches::{After, Child, Chunk, Committed, FetchHandle, FetchStep, PageCommit},
        queue::{Claim, Queue},
        runs::{NodeLayout, RunStart},
    },
};
use syncline_tests::{rest::Rest, stack::Stack};

use crate::{machine, stack::integration};

/// Programs use it unless they are told otherwise.
const KEY_PREFIX: &str = "syncline";
/// Longer than any measurement.
const LEASE: Duration = Duration::from_hours(1);
/// So that one account's runs are all fetched at once.
const FETCH_LIMIT: u32 = 10_000;
/// Tasks claimed by one call.
const CLAIM_AT_ONCE: usize = 64;
const MIB: f64 = 1024.0 * 1024.0;

/// Redis, the API and, once it is started, a worker.
#[derive(Debug)]
pub struct Feed {
    stack: Stack,
    pub store: Store,
    rest: Rest,
    job_id: String,
    account_id: String,
}

/// A fetch that has begun and never ends.
#[derive(Debug)]
pub struct Fetch {
    store: Store,
    handle: FetchHandle,
    step: u32,
}

impl Feed {
    /// Starts Redis and the API, with a job that is never fetched by the programs themselves.
    pub async fn start() -> Result<Self> {
        let stack = Stack::start_with(0, &[("SYNCLINE_LOG", "error")])?;
        let store = Store::open(&stack.redis.url(), KEY_PREFIX)?;
        let rest = stack.rest()?;
        let source = SocketAddr::from(([127, 0, 0, 1], 9));
        rest.put("/integration/fed", &integration("fed", source))
            .await?;
        let account = json!({"integration_name": "fed", "tenant_id": "bench", "credentials": {"api_key": "secret"}});
        let account_id = rest.create("/integrated-account", &account).await?;
        let job = json!({"integration_name": "fed", "label": "fed",
                         "resources": [{"resource": "items", "method": "list"}]});
        let job_id = rest.create("/sync-job", &job).await?;
        Ok(Self {
            stack,
            store,
            rest,
            job_id,
            account_id,
        })
    }

    /// A webhook that gets records only.
    pub async fn webhook(&self, address: SocketAddr, delivery: &Value) -> Result<WebhookId> {
        let webhook = json!({"target_url": format!("http://{address}/"), "event_types": [RECORD], "delivery": delivery});
        Ok(self.rest.create("/webhook", &webhook).await?.parse()?)
    }

    /// What is committed for it waits from now on.
    pub async fn switch_off(&self, webhook: WebhookId) -> Result<()> {
        let path = format!("/webhook/{webhook}");
        let off = json!({"is_active": false});
        self.rest.patch(&path, &off).await?;
        Ok(())
    }

    /// Starts `each` runs for each of the webhooks, all of which deliver alike; gives their fetches by webhook. The
    /// worker must not have been started.
    pub async fn begin(&self, webhooks: &[WebhookId], each: usize) -> Result<Vec<Vec<Fetch>>> {
        let specs = self.accept(webhooks, each).await?;
        self.start_accepted(webhooks, &specs).await
    }

    /// Accepts `each` runs for each of the webhooks.
    pub async fn accept(&self, webhooks: &[WebhookId], each: usize) -> Result<Vec<RunSpec>> {
        let template = self.template(webhooks).await?;
        let mut specs = Vec::new();
        for webhook in webhooks {
            specs.extend((0..each).map(|_| RunSpec {
                id: RunId::generate(),
                webhook_id: *webhook,
                ..template.clone()
            }));
        }
        let runs = self.store.runs();
        try_join_all(specs.iter().map(|spec| runs.create(spec))).await?;
        Ok(specs)
    }

    /// Starts accepted runs; gives their fetches by webhook.
    pub async fn start_accepted(
        &self,
        webhooks: &[WebhookId],
        specs: &[RunSpec],
    ) -> Result<Vec<Vec<Fetch>>> {
        ensure!(self.stack.workers.is_empty(), "a worker would fetch itself");
        let owner = |spec: &RunSpec| webhooks.iter().position(|one| *one == spec.webhook_id);
        let owners: HashMap<_, _> = specs.iter().map(|spec| (spec.id, owner(spec))).collect();
        loop {
            let claims = self.claim(Queue::Runs).await?;
            if claims.is_empty() {
                break;
            }
            try_join_all(claims.iter().map(|claim| self.start_run(claim))).await?;
        }
        let mut fetches: Vec<Vec<Fetch>> = webhooks.iter().map(|_| Vec::new()).collect();
        loop {
            let claims = self.claim(Queue::Fetches).await?;
            if claims.is_empty() {
                break;
            }
            for claim in claims {
                let run = run_of(&claim)?;
                // That of the template stays as it is.
                if let Some(Some(owner)) = owners.get(&run) {
                    fetches[*owner].push(Fetch::new(&self.store, run, claim));
                }
            }
        }
        ensure!(
            fetches.iter().map(Vec::len).sum::<usize>() == specs.len(),
            "not every run was started"
        );
        Ok(fetches)
    }

    /// What a run for one of the webhooks is started with.
    async fn template(&self, webhooks: &[WebhookId]) -> Result<RunSpec> {
        let webhook = webhooks.first().context("no webhook")?;
        let run = json!({"sync_job_id": self.job_id, "integrated_account_id": self.account_id,
                         "webhook_id": webhook.to_string()});
        let run = self.rest.create("/sync-job-run", &run).await?.parse()?;
        let spec = self.store.runs().spec(run).await?;
        spec.context("the run was accepted, so it has a spec")
    }

    /// Claims what is ready, as a worker does.
    pub async fn claim(&self, queue: Queue) -> Result<Vec<Claim>> {
        let claimed = self.store.claim(queue, CLAIM_AT_ONCE, LEASE, "feed");
        Ok(claimed.await?.tasks)
    }

    async fn start_run(&self, claim: &Claim) -> Result<()> {
        let node = NodeLayout {
            name: "items".to_owned(),
            resource: "items".to_owned(),
            method: "list".to_owned(),
            parent: None,
            kids: Vec::new(),
            stored: true,
            gate: None,
            gated: Vec::new(),
            previous_run_ms: None,
            batch_errors: false,
        };
        let start = RunStart {
            task: &claim.id,
            token: &claim.token,
            run: run_of(claim)?,
            started: "{}".to_owned(),
            fetch_limit: FETCH_LIMIT,
            pace: None,
            shared_budget: None,
            nodes: &[node],
            roots: vec![(0, FetchBody::default().to_json())],
        };
        let step = self.store.runs().start(&start).await?;
        ensure!(step == FetchStep::Done, "a run was not started: {step:?}");
        Ok(())
    }

    /// Starts the worker, which delivers what was committed.
    pub fn start_worker(&mut self) -> Result<()> {
        self.stack.add_worker(&[])
    }

    fn worker(&self) -> Result<u32> {
        let worker = self.stack.workers.first();
        Ok(worker.context("the worker was not started")?.id())
    }

    /// The resident memory of the worker, in MiB.
    pub fn worker_memory_mib(&self) -> Result<f64> {
        machine::memory_mib(self.worker()?)
    }

    /// The memory that Redis uses for data and connections, in MiB.
    pub async fn redis_memory_mib(&self) -> Result<f64> {
        let info: redis::InfoDict = redis::cmd("INFO")
            .arg("memory")
            .query_async(&mut self.store.connection())
            .await?;
        let used: f64 = info.get("used_memory").context("used_memory in INFO")?;
        Ok(used / MIB)
    }

    /// The processor time that the worker and Redis have used so far, in seconds.
    pub fn cpu_seconds(&self) -> Result<[f64; 2]> {
        let worker = machine::cpu_seconds(self.worker()?)?;
        Ok([worker, self.redis_cpu_seconds()?])
    }

    /// The processor time that Redis has used so far, in seconds.
    pub fn redis_cpu_seconds(&self) -> Result<f64> {
        let redis = self.stack.redis.id();
        machine::cpu_seconds(redis.context("redis is no process of this machine")?)
    }
}

/// The run that a task is of.
pub fn run_of(claim: &Claim) -> Result<RunId> {
    let (run, _) = claim.id.split_once('.').unwrap_or((&claim.id, ""));
    run.parse()
        .with_context(|| format!("{} names no run", claim.id))
}

impl Fetch {
    fn new(store: &Store, run: RunId, claim: Claim) -> Self {
        Self {
            store: store.clone(),
            handle: FetchHandle {
                task: claim.id,
                token: claim.token,
                run,
                node: 0,
            },
            step: 0,
        }
    }

    /// Commits chunks of `records` records each, however much waits already.
    pub async fn commit(&mut self, chunks: Vec<Chunk>) -> Result<()> {
        self.commit_part(chunks, Vec::new(), After::SamePage).await
    }

    /// Commits child requests of one record.
    pub async fn commit_children(&mut self, children: Vec<Child>) -> Result<()> {
        self.commit_part(Vec::new(), children, After::SamePage)
            .await
    }

    /// The last page, without a record.
    pub async fn end(mut self) -> Result<()> {
        self.commit_part(Vec::new(), Vec::new(), After::Done).await
    }

    async fn commit_part(
        &mut self,
        chunks: Vec<Chunk>,
        children: Vec<Child>,
        after: After,
    ) -> Result<()> {
        let commit = PageCommit {
            handle: &self.handle,
            step: self.step,
            after,
            body: "fetch.1 0 0 {}".to_owned(),
            requests: 0,
            pages: 0,
            records: chunks.iter().map(|chunk| u64::from(chunk.records)).sum(),
            chunks,
            children,
            lease: LEASE,
        };
        match self.store.commit_page(&commit).await? {
            Committed::Done { .. } => {
                self.step += 1;
                Ok(())
            }
            other => bail!("records were not committed: {other:?}"),
        }
    }
}

/// A chunk of a list that depends on no other.
pub fn chunk(records: &[String]) -> Chunk {
    #[expect(clippy::cast_possible_truncation, reason = "a few hundred")]
    let count = records.len() as u32;
    let mut bytes = Vec::new();
    open_chunk(&mut bytes, "");
    bytes.extend_from_slice(records.join(",").as_bytes());
    close_chunk(&mut bytes, count);
    Chunk {
        records: count,
        bytes: bytes.into(),
    }
}
