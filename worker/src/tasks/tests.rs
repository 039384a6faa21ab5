//! Tasks of runs that can't be worked on: each ends, and is told.

use std::{sync::Arc, time::Duration};

use shared::{
    catalog::Catalog,
    http::{Outbound, TargetPolicy},
    integration::errors::MAX_ATTEMPTS,
    model::run::{RunSpec, RunStatus, RunView},
    queue::{LeaseKeeper, Leased, Slot, task::FetchBody},
    seal::Sealer,
    store::{
        attempts::attempt_log,
        queue::{Claim, LEASE, MAX_RESCUES, Queue},
        runs::{NodeLayout, RunStart},
    },
    testing,
};

use shared::store::deliveries::Source;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::{deliver, fetch, start_run};
use crate::{
    context::{Context, LoadError},
    executor::Executor,
};

struct Bench {
    context: Arc<Context>,
    spec: RunSpec,
}

impl Bench {
    /// An accepted run whose integration document isn't there.
    async fn new() -> Self {
        let store = testing::redis::store();
        let outbound =
            Outbound::new(TargetPolicy::new(&[], false).expect("a policy")).expect("a client");
        let sealer = Sealer::new(Sealer::new_master_key().expose()).expect("a sealer");
        let spec = RunSpec {
            integration_hash: "gone".to_owned(),
            ..testing::run_spec()
        };
        store.runs().create(&spec).await.expect("accepted");
        Self {
            context: Arc::new(Context::new(
                store,
                outbound,
                sealer,
                Catalog::default(),
                attempt_log(14).0,
                14,
                CancellationToken::new(),
            )),
            spec,
        }
    }

    async fn claim(&self, queue: Queue) -> Claim {
        let token = ulid::Ulid::generate().to_string();
        let claimed = self
            .context
            .store
            .claim(queue, 1, LEASE, &token)
            .await
            .expect("a claim");
        claimed.tasks.into_iter().next().expect("a ready task")
    }

    async fn view(&self) -> RunView {
        let runs = self.context.store.runs();
        runs.get(self.spec.environment_id, self.spec.id)
            .await
            .expect("an answer")
            .expect("the run")
    }

    async fn deliver(&self, stream: &str) -> &'static str {
        let claim = self.claim(Queue::Deliveries).await;
        let slots = Arc::new(Semaphore::new(1));
        let permit = slots.clone().try_acquire_owned().expect("a slot");
        deliver::execute(
            &self.context,
            &claim,
            &Arc::new(Slot::new(permit, slots)),
            Source::Run(self.spec.id),
            stream.to_owned(),
        )
        .await
        .expect("an answer")
    }

    /// Events that were settled, by type.
    async fn settled(&self) -> Vec<String> {
        let page = shared::store::PageRequest {
            after: None,
            limit: 100,
        };
        let runs = self.context.store.runs();
        let events = runs
            .events(self.spec.environment_id, self.spec.id, &page)
            .await
            .expect("an answer");
        let text =
            |event: serde_json::Value| event["event"].as_str().unwrap_or_default().to_owned();
        events
            .expect("the run")
            .items
            .into_iter()
            .map(text)
            .collect()
    }
}

#[tokio::test]
async fn a_run_that_cannot_be_planned_fails_and_its_end_is_told() {
    let bench = Bench::new().await;
    let claim = bench.claim(Queue::Runs).await;
    assert_eq!(
        start_run::execute(&bench.context, &claim, bench.spec.id)
            .await
            .expect("an answer"),
        "failed"
    );
    assert_eq!(bench.view().await.status, RunStatus::Failed);
    // The webhook doesn't exist, so that the event is a dead letter: settled all the same.
    assert_eq!(bench.deliver("c").await, "done");
    assert_eq!(
        bench.settled().await,
        ["sync_job_run:created", "sync_job_run:failed"]
    );
}

#[tokio::test]
async fn a_stream_goes_on_elsewhere_after_the_batch_in_flight_when_its_worker_stops() {
    let bench = Bench::new().await;
    let claim = bench.claim(Queue::Runs).await;
    let started = start_run::execute(&bench.context, &claim, bench.spec.id).await;
    started.expect("an answer");
    bench.context.stop.cancel();
    bench.deliver("c").await;
    assert_eq!(bench.settled().await, ["sync_job_run:created"]);
    bench.deliver("c").await;
    assert_eq!(
        bench.settled().await,
        ["sync_job_run:created", "sync_job_run:failed"]
    );
}

#[tokio::test]
async fn a_task_of_an_unknown_kind_is_there_for_a_newer_worker_and_counts_nothing() {
    let bench = Bench::new().await;
    let store = &bench.context.store;
    let run = bench.spec.id;
    let lane = bench.spec.webhook_id.to_string();
    let newer = (
        format!("{run}.deliver.9"),
        "deliver.2 9 and more".to_owned(),
    );
    store
        .push_tasks(
            Queue::Deliveries,
            &lane,
            &lane,
            8,
            std::slice::from_ref(&newer),
        )
        .await
        .expect("pushed");
    let executor = Executor {
        context: bench.context.clone(),
        queue: Queue::Deliveries,
        abandon: CancellationToken::new(),
    };
    for _ in 0..3 {
        let token = ulid::Ulid::generate().to_string();
        let claimed = store.claim(Queue::Deliveries, 8, LEASE, &token).await;
        let mut tasks = claimed.expect("a claim").tasks.into_iter();
        let claim = tasks.find(|claim| claim.id == newer.0).expect("the task");
        assert_eq!(
            (&claim.body, claim.attempt, claim.rescues),
            (&newer.1, 0, 0)
        );
        for other in tasks {
            let back = store.hand_back(Queue::Deliveries, &other.id, &other.token);
            back.await.expect("handed back");
        }
        let slots = Arc::new(Semaphore::new(1));
        let permit = slots.clone().try_acquire_owned().expect("a slot");
        let lease = LeaseKeeper::default().hold(Queue::Deliveries, &claim.id, &claim.token);
        let slot = Arc::new(Slot::new(permit, slots));
        executor.run(Leased { claim, lease, slot }).await;
        let soon = store.claim(Queue::Deliveries, 8, LEASE, "soon").await;
        let soon = soon.expect("a claim").tasks;
        assert!(soon.iter().all(|claim| claim.id != newer.0), "not at once");
        testing::advance_clock(store, LEASE + Duration::from_secs(1)).await;
        store
            .rescue_expired(Queue::Deliveries)
            .await
            .expect("a pass");
    }
}

#[tokio::test]
async fn a_run_whose_start_crashes_workers_fails() {
    let bench = Bench::new().await;
    let mut claim = bench.claim(Queue::Runs).await;
    claim.rescues = MAX_RESCUES + 1;
    assert_eq!(
        start_run::execute(&bench.context, &claim, bench.spec.id)
            .await
            .expect("an answer"),
        "failed"
    );
    assert_eq!(
        bench.view().await.error.expect("an error").code,
        "worker_crashed"
    );
}

#[tokio::test]
async fn a_fetch_of_a_run_that_cannot_be_read_is_given_up_after_its_attempts() {
    let bench = Bench::new().await;
    let start = bench.claim(Queue::Runs).await;
    let node = NodeLayout {
        name: "orders".to_owned(),
        resource: "orders".to_owned(),
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
        task: &start.id,
        token: &start.token,
        run: bench.spec.id,
        started: "{}".to_owned(),
        fetch_limit: 1,
        pace: None,
        shared_budget: None,
        nodes: &[node],
        roots: vec![(0, FetchBody::default().to_json())],
    };
    bench
        .context
        .store
        .runs()
        .start(&start)
        .await
        .expect("started");
    let run = bench.spec.id;
    for attempt in 0..=MAX_ATTEMPTS {
        let claim = bench.claim(Queue::Fetches).await;
        assert_eq!(claim.attempt, attempt);
        let outcome = fetch::execute(&bench.context, &claim, run, 0, 0, FetchBody::default()).await;
        if attempt < MAX_ATTEMPTS {
            assert!(matches!(outcome, Err(LoadError::Invalid(_))), "{outcome:?}");
            let (store, now) = (&bench.context.store, Duration::ZERO);
            store
                .retry_task(Queue::Fetches, &claim.id, &claim.token, now)
                .await
                .expect("an answer");
        } else {
            assert_eq!(outcome.expect("an answer"), "failed");
        }
    }
    assert_eq!(bench.view().await.errors, 1);
    for stream in ["c", "0", "c"] {
        assert_eq!(bench.deliver(stream).await, "done");
    }
    assert_eq!(
        bench.settled().await,
        [
            "sync_job_run:created",
            "sync_job_run:started",
            "sync_job_run:record_error",
            // There is no webhook to deliver to.
            "sync_job_run:failed"
        ]
    );
}
