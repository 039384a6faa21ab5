//! A run whose worker is the test itself.

use std::time::Duration;

use bytes::Bytes;
use redis::AsyncCommands;
use shared::{
    integration::Pace,
    model::event::Batch,
    model::run::{ErrorHandling, RunSpec, RunView},
    model::webhook::Retry,
    queue::task::FetchBody,
    store::{
        Store,
        deliveries::{Again, DeliveryHandle, NextBatch, Outcome, Source},
        fetches::{
            After, Child, Chunk, Committed, FetchFailure, FetchHandle, FetchStep, PageCommit,
        },
        queue::{Claim, LEASE, Queue},
        runs::{NodeLayout, RunStart, SharedBudget},
    },
    testing,
};

pub struct Bench {
    pub store: Store,
    pub spec: RunSpec,
}

pub fn spec() -> RunSpec {
    testing::run_spec()
}

/// `orders` and, for each of its records, `lines`.
pub fn parent_and_child(spec: &RunSpec) -> Vec<NodeLayout> {
    let stored = spec.subscribes("sync_job_run:record");
    let node = |name: &str| NodeLayout {
        name: name.to_owned(),
        resource: name.to_owned(),
        method: "list".to_owned(),
        parent: None,
        kids: Vec::new(),
        stored,
        gate: None,
        gated: Vec::new(),
        previous_run_ms: None,
        batch_errors: spec.error_handling == ErrorHandling::Batch,
    };
    vec![
        NodeLayout {
            kids: vec![1],
            gated: vec![1],
            ..node("orders")
        },
        NodeLayout {
            parent: Some(0),
            gate: Some(0),
            ..node("lines")
        },
    ]
}

/// How the run is started.
pub struct StartWith<'a> {
    pub roots: Vec<(usize, String)>,
    pub pace: Option<Pace>,
    pub shared_budget: Option<SharedBudget<'a>>,
}

impl Default for StartWith<'_> {
    fn default() -> Self {
        Self {
            roots: vec![(0, FetchBody::default().to_json())],
            pace: None,
            shared_budget: None,
        }
    }
}

impl Bench {
    pub async fn new() -> Self {
        Self::with(spec()).await
    }

    /// An accepted run whose `created` event, if it makes one, was acknowledged.
    pub async fn with(spec: RunSpec) -> Self {
        let store = testing::redis::store();
        store.runs().create(&spec).await.expect("accepted");
        let bench = Self { store, spec };
        if bench.spec.subscribes("sync_job_run:created") {
            assert_eq!(bench.deliver_all().await, ["sync_job_run:created"]);
        }
        bench
    }

    /// A run that has started, with its `started` event still to be sent.
    pub async fn started(spec: RunSpec) -> Self {
        let bench = Self::with(spec).await;
        bench.start().await;
        bench
    }

    /// A run whose `started` event was acknowledged.
    pub async fn running() -> Self {
        Self::running_with(spec()).await
    }

    pub async fn running_with(spec: RunSpec) -> Self {
        let bench = Self::started(spec).await;
        assert_eq!(bench.deliver_all().await, ["sync_job_run:started"]);
        bench
    }

    pub async fn start(&self) {
        self.start_as(StartWith::default()).await;
    }

    /// Starts the run with these root tasks.
    pub async fn start_with(&self, roots: Vec<(usize, String)>) {
        self.start_as(StartWith {
            roots,
            ..StartWith::default()
        })
        .await;
    }

    pub async fn start_as(&self, with: StartWith<'_>) {
        let claim = self.claim_one(Queue::Runs).await;
        let start = RunStart {
            task: &claim.id,
            token: &claim.token,
            run: self.spec.id,
            started: "{}".to_owned(),
            fetch_limit: 16,
            pace: with.pace,
            shared_budget: with.shared_budget,
            nodes: &parent_and_child(&self.spec),
            roots: with.roots,
        };
        assert!(
            claim.id.starts_with(&self.spec.id.to_string()),
            "the task is of another run: {}",
            claim.id
        );
        assert_eq!(
            self.store.runs().start(&start).await.expect("started"),
            FetchStep::Done
        );
    }

    pub async fn claim(&self, queue: Queue, wanted: usize) -> Vec<Claim> {
        let token = ulid::Ulid::generate().to_string();
        self.store
            .claim(queue, wanted, LEASE, &token)
            .await
            .expect("a claim")
            .tasks
    }

    pub async fn claim_one(&self, queue: Queue) -> Claim {
        let mut tasks = self.claim(queue, 1).await;
        assert_eq!(tasks.len(), 1, "one task of {} is ready", queue.name());
        tasks.remove(0)
    }

    pub fn fetch(&self, claim: &Claim, node: usize) -> FetchHandle {
        FetchHandle {
            task: claim.id.clone(),
            token: claim.token.clone(),
            run: self.spec.id,
            node,
        }
    }

    pub async fn commit(&self, commit: &PageCommit<'_>) -> Committed {
        self.store.commit_page(commit).await.expect("an answer")
    }

    pub async fn fail(&self, handle: &FetchHandle, policy: ErrorHandling) -> FetchStep {
        let failure = FetchFailure {
            requests: 1,
            error: r#"{"code":"http_error"}"#.to_owned(),
            policy,
            code: "http_error",
            message: "the source answered 404",
            resource: "orders",
            again: true,
            answered: true,
        };
        self.store
            .fail_fetch(handle, &failure)
            .await
            .expect("an answer")
    }

    /// Claims one delivery task and takes its batch.
    pub async fn take(&self) -> Option<(DeliveryHandle, Batch)> {
        let claim = self.claim(Queue::Deliveries, 1).await.pop()?;
        let stream = claim.body.rsplit(' ').next().expect("a stream").to_owned();
        let handle = DeliveryHandle {
            task: claim.id,
            token: claim.token,
            source: Source::Run(self.spec.id),
            stream,
            per_second: 0,
            window: 1,
        };
        match self
            .store
            .take_batch(&handle, &[])
            .await
            .expect("an answer")
        {
            NextBatch::Batch(batch) => Some((handle, batch)),
            other => panic!("a batch is there, not {other:?}"),
        }
    }

    /// Claims one delivery task and loses its lease, as a worker that dies does.
    pub async fn lose_delivery(&self) {
        self.claim_one(Queue::Deliveries).await;
        self.advance(LEASE + Duration::from_secs(1)).await;
        let rescued = self.store.rescue_expired(Queue::Deliveries).await;
        assert_eq!(rescued.expect("a pass").len(), 1);
    }

    pub async fn settle(&self, handle: &DeliveryHandle, batch: &Batch) -> NextBatch {
        let outcome = Outcome::delivered(200);
        self.store
            .settle_batch(handle, batch.event, outcome, true, &[])
            .await
            .expect("an answer")
    }

    /// Delivers until nothing is ready; gives what was sent, in order: `type` or `stream first-last`.
    pub async fn deliver_all(&self) -> Vec<String> {
        let mut sent = Vec::new();
        while let Some((handle, mut batch)) = self.take().await {
            loop {
                sent.push(if batch.records == 0 {
                    batch.event_type.clone()
                } else {
                    format!(
                        "{} {}-{}",
                        handle.stream,
                        batch.first_seq,
                        batch.first_seq + batch.records - 1
                    )
                });
                match self.settle(&handle, &batch).await {
                    NextBatch::Batch(next) => batch = next,
                    NextBatch::None => break,
                    NextBatch::Held => panic!("nothing else is in flight"),
                    NextBatch::Stale => panic!("the lease is ours"),
                }
            }
        }
        sent
    }

    pub async fn view(&self) -> RunView {
        let runs = self.store.runs();
        runs.get(self.spec.environment_id, self.spec.id)
            .await
            .expect("an answer")
            .expect("the run")
    }

    /// Moves Redis's clock, as the scripts see it.
    pub async fn advance(&self, by: Duration) {
        testing::advance_clock(&self.store, by).await;
    }

    /// As [`Self::leftovers`], without what is kept of another run.
    pub async fn leftovers_but(&self, other: &RunSpec) -> Vec<String> {
        let id = other.id.to_string();
        let all = self.leftovers().await.into_iter();
        all.filter(|key| !key.contains(&id)).collect()
    }

    /// Keys under the test's prefix, except those that stay for the retention time and expire with it.
    pub async fn leftovers(&self) -> Vec<String> {
        let mut connection = self.store.connection();
        let retained = [
            self.store.keys().run(self.spec.id),
            self.store.keys().run(self.spec.id) + ":spec",
        ];
        for key in retained {
            let seconds: i64 = connection.ttl(&key).await.expect("a time");
            assert!(seconds > 0, "{key} of a run that has ended expires");
        }
        // How the receiver is doing outlasts the run: failures expire, an open circuit waits for the webhook's next success.
        let (keys, webhook) = (self.store.keys(), self.spec.webhook_id);
        let lane = keys.join(&["deliveries", "lane", &webhook.to_string()]);
        let health: i64 = connection.ttl(keys.health(webhook)).await.expect("a time");
        assert_ne!(health, -1, "failures of a receiver expire");
        let circuit: bool = connection.hexists(lane, "circuit").await.expect("a word");
        let of_the_receiver = [
            format!("health:{webhook}"),
            format!("deliveries:lane:{webhook}"),
            "deliveries:blocked".to_owned(),
        ];
        let of_the_receiver = &of_the_receiver[..if circuit { 3 } else { 1 }];
        let pattern = format!("{}*", self.store.keys().base().replace('{', "\\{"));
        let keys: Vec<String> = connection.keys(pattern).await.expect("keys");
        let base = format!("{}:", self.store.keys().base());
        let run = format!("run:{}", self.spec.id);
        keys.into_iter()
            .map(|key| key.trim_start_matches(&base).to_owned())
            .filter(|key| {
                let kept = [
                    run.clone(),
                    format!("{run}:spec"),
                    format!("{run}:error"),
                    format!("{run}:event"),
                    format!("{run}:timeline"),
                    format!("{run}:failed"),
                ];
                !kept.contains(key)
                    && !of_the_receiver.contains(key)
                    && !key.starts_with("environment:")
                    && !key.starts_with("watermark:")
                    && !key.starts_with("object:")
                    && !key.starts_with("dead")
                    && ![":ended", ":dead", ":webhook"]
                        .iter()
                        .any(|list| key.ends_with(list))
                    && !key.starts_with("source:")
                    && !key.starts_with("redrive")
                    && !key.starts_with("retention")
                    && !key.ends_with(":idle")
                    && key != "clock_shift"
                    && key != "undelivered_bytes"
            })
            .collect()
    }
}

pub fn chunk(records: u32, bytes: &'static str) -> Chunk {
    Chunk {
        records,
        bytes: Bytes::from_static(bytes.as_bytes()),
    }
}

pub fn child(position: u64) -> Child {
    Child {
        node: 1,
        position,
        body: FetchBody::default().to_json(),
    }
}

/// The last page of a fetch: `records` in one chunk, with a child for each.
pub fn last_page(handle: &FetchHandle, records: u32, children: bool) -> PageCommit<'_> {
    PageCommit {
        handle,
        step: 0,
        after: After::Done,
        body: String::new(),
        requests: 1,
        pages: 1,
        records: u64::from(records),
        chunks: if records > 0 {
            vec![chunk(records, "records")]
        } else {
            Vec::new()
        },
        children: if children {
            (1..=u64::from(records)).map(child).collect()
        } else {
            Vec::new()
        },
        lease: LEASE,
    }
}

/// A page that is followed by another one.
pub fn page(handle: &FetchHandle, step: u32, records: u32) -> PageCommit<'_> {
    PageCommit {
        step,
        after: After::NextPage,
        body: format!("fetch.1 {} 0 {{}}", handle.node),
        ..last_page(handle, records, false)
    }
}

/// A pause that the receiver asked for at once.
pub fn asked(pause: Duration) -> Again<'static> {
    Again::Asked {
        pause,
        elapsed: Duration::ZERO,
    }
}

/// A failure after which the batch alone waits for `delay`.
pub fn failed(delay: Duration) -> Again<'static> {
    static PLAN: Retry = Retry {
        first_ms: 1000,
        max_ms: 3_600_000,
        give_up_after_hours: 24,
    };
    Again::Failed {
        delay,
        plan: &PLAN,
        random: 1.0,
    }
}

/// A batch that was sent and is given up.
pub const GAVE_UP: Outcome<'static> = Outcome::Dead {
    status: Some(500),
    cause: shared::model::dead_letter::Cause::Refused,
    reason: "gave up",
    body: b"frozen",
    sent: true,
    failure: None,
    ends_run: None,
};
