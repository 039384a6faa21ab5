//! Deleted environments and accounts, with something of every kind in them.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use redis::AsyncCommands;
use serde_json::{Value, json};
use shared::{
    clock::Timestamp,
    ids::{
        AccountId, AttemptId, CronTriggerId, EnvironmentId, EventId, IntegrationId, RedriveId,
        RunId, SyncJobId, WebhookId, WorkflowId, WorkflowRunId,
    },
    model::{
        account::Account,
        attempt::{AttemptOutcome, AttemptRecord, Phases},
        cron_trigger::CronTrigger,
        dead_letter::Cause,
        integration::IntegrationRow,
        purge::{Purge, PurgeStep},
        redrive::RedriveInput,
        run::RunSpec,
        sync_job::{JobOptions, SyncJob},
        token::{Environment, Scope},
        webhook::Webhook,
        workflow::Workflow,
    },
    queue::task::{FetchBody, TaskBody},
    store::{
        Store,
        deliveries::{DeliveryHandle, NextBatch, Outcome, Source},
        fetches::{After, Child, Chunk, FetchHandle, PageCommit},
        objects::Object,
        purge::{Checkpoint, purge_task},
        queue::{Claim, CountsAs, Held, LEASE, Queue},
        redrives::NewRedrive,
        runs::{NodeLayout, RunStart},
    },
    testing,
};

use super::step::{self, Next};

const DAY: Duration = Duration::from_hours(24);

/// An environment with something of every kind.
struct Tenant {
    store: Store,
    environment: Environment,
    account: AccountId,
    webhook: WebhookId,
    job: SyncJobId,
    /// Which of several: apart from that they are the same.
    number: u128,
}

fn object<O: Object>(mut fields: Value, environment: EnvironmentId) -> O {
    fields["environment_id"] = json!(environment);
    fields["created_at"] = json!(Timestamp(0));
    fields["updated_at"] = json!(Timestamp(0));
    serde_json::from_value(fields).expect("an object")
}

fn node() -> NodeLayout {
    NodeLayout {
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
    }
}

async fn claim_of(store: &Store, queue: Queue, owner: &str) -> Claim {
    for _ in 0..50 {
        let token = ulid::Ulid::generate().to_string();
        let claimed = store.claim(queue, 1, LEASE, &token).await.expect("a claim");
        let claim = claimed.tasks.into_iter().next().expect("a ready task");
        if claim.id.starts_with(owner) {
            return claim;
        }
        let nothing = CountsAs::Nothing;
        let delayed = store.delay_task(queue, &claim.id, &claim.token, LEASE, nothing);
        delayed.await.expect("delayed");
    }
    panic!("no task of {owner} is ready in {}", queue.name());
}

impl Tenant {
    async fn new(store: &Store, number: u128) -> Self {
        let name = format!("tenant-{number}");
        let made = store.tokens().create_environment(&name).await;
        let environment = made.expect("an answer").expect("a free name");
        let tenant = Self {
            store: store.clone(),
            environment,
            account: AccountId::generate(),
            webhook: WebhookId::generate(),
            job: SyncJobId::generate(),
            number,
        };
        tenant.fill().await;
        tenant
    }

    fn id(&self) -> EnvironmentId {
        self.environment.id
    }

    async fn make<O: Object + std::fmt::Debug>(&self, fields: Value) {
        let object: O = object(fields, self.id());
        let made = self.store.objects().create(&object).await;
        made.expect("made");
    }

    async fn delete<O: Object>(&self, id: O::Id) {
        let objects = self.store.objects();
        let gone = objects.delete::<O>(self.id(), id, |_| ()).await;
        assert!(gone.expect("an answer").is_some());
    }

    fn spec(&self) -> RunSpec {
        RunSpec {
            environment_id: self.id(),
            integrated_account_id: self.account,
            webhook_id: self.webhook,
            sync_job_id: self.job,
            options: JobOptions {
                max_duration_minutes: Some(60),
                ..JobOptions::default()
            },
            ..testing::run_spec()
        }
    }

    async fn run(&self, spec: RunSpec) -> RunId {
        self.store.runs().create(&spec).await.expect("accepted");
        spec.id
    }

    async fn start(&self, run: RunId, roots: usize) {
        let claim = claim_of(&self.store, Queue::Runs, &run.to_string()).await;
        let start = RunStart {
            task: &claim.id,
            token: &claim.token,
            run,
            started: "{}".to_owned(),
            fetch_limit: 16,
            pace: None,
            shared_budget: None,
            nodes: &[node()],
            roots: vec![(0, FetchBody::default().to_json()); roots],
        };
        self.store.runs().start(&start).await.expect("started");
    }

    /// Commits the last page of a fetch, of one record, under this claim.
    async fn commit(&self, run: RunId, claim: &Claim, children: u64) {
        let child = |position| Child {
            node: 0,
            position,
            body: FetchBody::default().to_json(),
        };
        let handle = FetchHandle {
            task: claim.id.clone(),
            token: claim.token.clone(),
            run,
            node: 0,
        };
        let commit = PageCommit {
            handle: &handle,
            step: 0,
            after: After::Done,
            body: String::new(),
            requests: 1,
            pages: 1,
            records: 1,
            chunks: vec![Chunk {
                records: 1,
                bytes: "records".into(),
            }],
            children: (0..children).map(child).collect(),
            lease: LEASE,
        };
        self.store.commit_page(&commit).await.expect("committed");
    }

    /// Settles all that a run, or the outbox, has to deliver. Records, and what is in the outbox, become dead letters that
    /// tell of this account, if one is given.
    async fn settle(&self, source: Source, dead: Option<AccountId>) {
        let owner = source.to_string();
        while self.has_ready_delivery(&owner).await {
            let claim = claim_of(&self.store, Queue::Deliveries, &owner).await;
            let stream = claim.body.rsplit(' ').next().expect("a stream").to_owned();
            let handle = DeliveryHandle {
                task: claim.id,
                token: claim.token,
                source,
                stream: stream.clone(),
                per_second: 0,
                window: 1,
            };
            let mut next = self.store.take_batch(&handle, &[]).await.expect("a batch");
            while let NextBatch::Batch(batch) = next {
                let about = dead.map(|account| account.to_string()).unwrap_or_default();
                let body = format!("{{\"integrated_account_id\":\"{about}\"}}");
                let tells = stream != "c" || source == Source::Outbox(self.webhook);
                let outcome = if tells && dead.is_some() {
                    Outcome::Dead {
                        status: Some(500),
                        cause: Cause::Refused,
                        reason: "gave up",
                        body: body.as_bytes(),
                        sent: true,
                        failure: None,
                        ends_run: None,
                    }
                } else {
                    Outcome::delivered(200)
                };
                let settled = self
                    .store
                    .settle_batch(&handle, batch.event, outcome, true, &[]);
                next = settled.await.expect("settled");
            }
        }
    }

    async fn has_ready_delivery(&self, owner: &str) -> bool {
        let lane = self.webhook.to_string();
        let key = self.store.keys().join(&["deliveries", "ready", &lane]);
        let rows: Vec<String> = self
            .store
            .connection()
            .lrange(key, 0, -1)
            .await
            .expect("rows");
        rows.iter().any(|row| row.starts_with(owner))
    }

    /// A run that was told to its end, with a dead letter.
    async fn ended_run(&self) -> RunId {
        let run = self.run(self.spec()).await;
        self.start(run, 1).await;
        let claim = claim_of(&self.store, Queue::Fetches, &run.to_string()).await;
        self.commit(run, &claim, 0).await;
        self.settle(Source::Run(run), Some(self.account)).await;
        run
    }

    async fn attempt(&self, run: Option<RunId>) {
        let attempt = AttemptRecord {
            id: AttemptId::generate(),
            webhook_id: self.webhook,
            event_id: EventId::generate(),
            event: "sync_job_run:record".to_owned(),
            sync_job_run_id: run,
            attempt: 1,
            at: Timestamp(0),
            outcome: AttemptOutcome::Failed,
            status_code: Some(500),
            error: None,
            phases: Phases::default(),
            bytes_sent: 1,
            bytes_received: 1,
            answer: Some("an answer".to_owned()),
            signing_key_ids: Vec::new(),
        };
        let written = self.store.write_attempts(&[attempt], 14).await;
        written.expect("written");
    }

    async fn fill(&self) {
        let (store, id, number) = (&self.store, self.id(), self.number);
        let tokens = store.tokens();
        for secret in ["first", "second"] {
            let secret = format!("{secret}-secret-of-tenant-{number}");
            let made = tokens.create(id, Scope::Admin, None, &secret).await;
            made.expect("a token");
        }
        self.make::<Webhook>(json!({
            "id": self.webhook, "target_url": "https://example.com/", "event_types": [], "is_active": true, "label": null,
            "sealed_secret": "sealed"}))
        .await;
        let account = |id: AccountId| {
            json!({
                "id": id, "integration_id": IntegrationId::from_bits(1), "integration_name": "shop",
                "integration_label": "Shop", "tenant_id": format!("customer-{number}"), "label": null, "status": "active",
                "authentication_method": null, "context": {}, "sealed_credentials": "sealed"})
        };
        let gone = AccountId::generate();
        for one in [self.account, gone] {
            self.make::<Account>(account(one)).await;
            let outbox = Source::Outbox(self.webhook);
            self.settle(outbox, Some(one)).await;
        }
        self.delete::<Account>(gone).await;
        let purging = claim_of(store, Queue::Runs, &gone.to_string()).await;
        let held = store.finish_task(Queue::Runs, &purging.id, &purging.token);
        assert_eq!(held.await.expect("an answer"), Held::Done);

        let document = json!({"name": "shop", "of": number});
        let hash = store.put_document(&document, Some(id)).await;
        self.make::<IntegrationRow>(json!({
            "id": IntegrationId::generate(), "name": "shop", "label": "Shop", "version": 1,
            "hash": hash.expect("a hash")}))
            .await;
        self.make::<SyncJob>(json!({
            "id": self.job, "integration_name": "shop", "label": null, "error_handling": "ignore", "resources": []}))
        .await;
        let trigger = |id: CronTriggerId| {
            json!({
                "id": id, "sync_job_id": self.job, "integrated_account_id": self.account, "webhook_id": self.webhook,
                "cron_expression": "0 6 * * *", "timezone": "UTC", "overlap": "skip", "is_active": true, "label": null,
                "jitter_seconds": 0, "args": {}, "error_handling": null, "events_to_send": null,
                "ignore_previous_run": false})
        };
        self.make::<CronTrigger>(trigger(CronTriggerId::generate()))
            .await;
        let gone = CronTriggerId::generate();
        self.make::<CronTrigger>(trigger(gone)).await;
        self.delete::<CronTrigger>(gone).await;
        let workflow = WorkflowId::generate();
        self.make::<Workflow>(json!({
            "id": workflow, "label": null, "trigger_name": "integrated_account:active", "is_active": true,
            "config": {"run_if": null, "steps": []}}))
        .await;
        self.workflow_run(workflow).await;

        let ended = self.ended_run().await;
        self.attempt(Some(ended)).await;
        self.redrive().await;
        self.runs_under_way().await;

        let date = [("orders".to_owned(), Some(Timestamp(1)))];
        let runs = store.runs();
        let set = runs.set_watermarks(self.account, self.job, &date).await;
        set.expect("set");
        let states = store.states(id, "cursor of a client");
        let put = states.create(1, "key", &json!("value"), Some(ended)).await;
        put.expect("a state");
        let keys = store.idempotency();
        let reserved = keys.reserve(id, "key", "fingerprint", 7).await;
        reserved.expect("reserved");
    }

    async fn workflow_run(&self, workflow: WorkflowId) {
        let event = EventId::generate();
        let body = TaskBody::StartWorkflows {
            event_type: "integrated_account:active".to_owned(),
            at_ms: 0,
            payload: json!({}),
        };
        let lane = self.id().to_string();
        let tasks = [(format!("{event}.workflow"), body.to_string())];
        let pushed = self
            .store
            .push_tasks(Queue::Runs, &lane, &lane, 16, &tasks)
            .await;
        pushed.expect("pushed");
        let claim = claim_of(&self.store, Queue::Runs, &event.to_string()).await;
        let kept = serde_json::from_value(json!({
            "id": WorkflowRunId::generate(), "environment_id": self.id(), "workflow_id": workflow, "status": "completed",
            "event": {"id": event, "event": "integrated_account:active", "created_at": Timestamp(0)},
            "integrated_account_id": self.account, "tenant_id": "customer", "steps": [], "error": null,
            "created_at": Timestamp(0), "finished_at": null, "config": {"run_if": null, "steps": []}}))
        .expect("a workflow run");
        let put = self
            .store
            .put_workflow_run(&claim.id, &claim.token, &kept, 14);
        assert_eq!(put.await.expect("an answer"), Held::Done);
        // It stays claimed, as by a worker that is at it.
    }

    async fn redrive(&self) {
        let input = RedriveInput::default();
        let new = NewRedrive {
            id: RedriveId::generate(),
            webhook: self.webhook,
            environment: self.id(),
            input: &input,
            total: None,
            lane_limit: 8,
            retention_days: 14,
        };
        self.store.create_redrive(&new).await.expect("made");
    }

    /// One that waits to start, one that waits for it, and one in the middle with tasks in every state.
    async fn runs_under_way(&self) {
        let run = self.run(self.spec()).await;
        self.start(run, 3).await;
        let claim = claim_of(&self.store, Queue::Fetches, &run.to_string()).await;
        // Committed and not delivered; ready ones beside it.
        self.commit(run, &claim, 2).await;
        let delayed = claim_of(&self.store, Queue::Fetches, &run.to_string()).await;
        let (queue, counts) = (Queue::Fetches, CountsAs::Attempt);
        let later = self
            .store
            .delay_task(queue, &delayed.id, &delayed.token, DAY, counts);
        later.await.expect("delayed");
        claim_of(&self.store, Queue::Fetches, &run.to_string()).await;
        self.park(run).await;
        // Its first event is being sent.
        claim_of(&self.store, Queue::Deliveries, &run.to_string()).await;
        for _ in 0..2 {
            let spec = RunSpec {
                mutex_key: Some("one at a time".to_owned()),
                ..self.spec()
            };
            self.run(spec).await;
        }
    }

    /// As `park` in `lua/lib/flow.lua` leaves it.
    async fn park(&self, run: RunId) {
        let (keys, webhook) = (self.store.keys(), self.webhook.to_string());
        let (run_id, lane) = (run.to_string(), self.account.to_string());
        let list = keys.join(&["flow", &webhook, "parked", &run_id, "0"]);
        let entry = format!("{lane} 16 {run_id}.99 0 0 0 fetch.1 0 0 {{}}");
        let () = redis::pipe()
            .rpush(list, entry)
            .ignore()
            .sadd(
                keys.join(&["flow", &webhook, "parked"]),
                format!("{run_id} 0"),
            )
            .ignore()
            .sadd(keys.join(&["parked"]), &webhook)
            .ignore()
            .query_async(&mut self.store.connection())
            .await
            .expect("parked");
    }
}

/// Every key under the prefix with its content, but for marks and the tests' clock.
async fn everything(store: &Store) -> BTreeMap<String, Vec<u8>> {
    let mut connection = store.connection();
    // What is packed shows no ids.
    let plain = ["SET", "rdbcompression", "no"];
    let mut config = redis::cmd("CONFIG");
    let set = config.arg(&plain).query_async::<String>(&mut connection);
    set.await.expect("set");
    let base = format!("{}:", store.keys().base());
    let pattern = format!("{}*", base.replace('{', "\\{"));
    let keys: Vec<String> = connection.keys(pattern).await.expect("keys");
    let mut all = BTreeMap::new();
    for key in keys {
        let name = key.trim_start_matches(&base).to_owned();
        if name.ends_with(":idle") || name == "clock_shift" {
            continue;
        }
        let dump: Vec<u8> = redis::cmd("DUMP")
            .arg(&key)
            .query_async(&mut connection)
            .await
            .expect("a value");
        all.insert(name, dump);
    }
    all
}

/// What looks like an id in these keys.
fn ids_of<'a>(keys: impl Iterator<Item = &'a String>) -> BTreeSet<String> {
    let words = keys.flat_map(|key| key.split([':', '.', ' ']));
    let is_id = |word: &&str| {
        word.split_once('_')
            .is_some_and(|(_, rest)| rest.len() == 26)
    };
    words.filter(is_id).map(str::to_owned).collect()
}

/// How many tasks each queue has, in whatever state.
async fn tasks_of_all(store: &Store) -> Vec<u64> {
    let mut counts = Vec::new();
    for queue in Queue::ALL {
        let gauges = store.queue_gauges(queue).await.expect("figures");
        counts.push(gauges.ready + gauges.delayed + gauges.claimed);
    }
    counts
}

/// Goes through a purge as workers do of which each dies after its step: whatever was done is done again by the next one.
async fn carry_out(store: &Store, environment: EnvironmentId, task: &str) -> Vec<PurgeStep> {
    let mut steps = Vec::new();
    loop {
        let claim = claim_of(store, Queue::Runs, task).await;
        let Ok(TaskBody::Purge(purge)) = claim.body.parse::<TaskBody>() else {
            panic!("no purge: {}", claim.body);
        };
        if steps.last() != Some(&purge.step) {
            steps.push(purge.step);
        }
        let made = step::make(store, environment, &claim.id, &purge).await;
        made.expect("a step");
        let again = step::make(store, environment, &claim.id, &purge).await;
        let (further, then) = match again.expect("a step") {
            Next::Done => {
                let (id, token) = (&claim.id, &claim.token);
                let ended = store.finish_task(Queue::Runs, id, token).await;
                assert_eq!(ended.expect("an answer"), Held::Done);
                return steps;
            }
            Next::Further(further) => (further, Checkpoint::Turn),
            Next::Wait(further, delay) => (further, Checkpoint::Wait(delay)),
        };
        let held = store
            .checkpoint_purge(&claim.id, &claim.token, &further, then)
            .await;
        assert_eq!(held.expect("an answer"), Held::Done);
        if let Checkpoint::Wait(delay) = then {
            testing::advance_clock(store, delay).await;
        }
    }
}

#[tokio::test]
async fn nothing_is_left_of_a_deleted_environment_and_others_keep_all() {
    let store = testing::redis::store();
    let other = Tenant::new(&store, 1).await;
    let before = everything(&store).await;
    let tasks = tasks_of_all(&store).await;
    let tenant = Tenant::new(&store, 2).await;
    let others = ids_of(before.keys());
    let ids = ids_of(everything(&store).await.keys());
    let ids: Vec<_> = ids.difference(&others).collect();
    let kinds = ids.iter().filter_map(|id| id.split('_').next());
    let kinds: Vec<_> = kinds.collect::<BTreeSet<_>>().into_iter().collect();
    let all = [
        "acc", "cron", "env", "evt", "int", "job", "rdv", "run", "wf", "wfr", "wh",
    ];
    assert_eq!(kinds, all, "there is something of every kind");
    let tokens = store.tokens();
    let deleted = tokens.delete_environment(&tenant.environment).await;
    assert!(deleted.expect("deleted"));
    let found = tokens.find("first-secret-of-tenant-2").await;
    assert!(
        found.expect("an answer").is_none(),
        "its tokens work no more"
    );
    let again = tokens.delete_environment(&tenant.environment).await;
    assert!(!again.expect("an answer"));
    // Made by a command that had looked the environment up before.
    let late = tokens.create(tenant.id(), Scope::Read, None, "late").await;
    late.expect("a token");
    carry_out(&store, tenant.id(), &purge_task(tenant.id())).await;

    let after = everything(&store).await;
    for (key, value) in &after {
        let text = String::from_utf8_lossy(value);
        let named = ids
            .iter()
            .find(|id| key.contains(id.as_str()) || text.contains(id.as_str()));
        assert_eq!(named, None, "{key} names it");
    }
    let kept = |all: &BTreeMap<String, Vec<u8>>| {
        let queues = ["runs:", "fetches:", "deliveries:"];
        let mut all = all.clone();
        all.retain(|key, _| !queues.iter().any(|queue| key.starts_with(queue)));
        all
    };
    assert_eq!(kept(&after), kept(&before), "what others have");
    assert_eq!(tasks_of_all(&store).await, tasks, "tasks of others");
    let found = tokens.find("first-secret-of-tenant-1").await;
    assert_eq!(
        found.expect("an answer").map(|token| token.environment_id),
        Some(other.id())
    );
}

#[tokio::test]
async fn nothing_is_left_of_a_deleted_account_once_its_runs_were_told_to_their_end() {
    let store = testing::redis::store();
    let tenant = Tenant::new(&store, 1).await;
    let stranger = AccountId::generate();
    let kept = RunSpec {
        integrated_account_id: stranger,
        ..tenant.spec()
    };
    let kept = tenant.run(kept).await;
    let ended = ["account", &tenant.account.to_string(), "ended"];
    let ended: Vec<String> = store
        .connection()
        .zrange(store.keys().join(&ended), 0, -1)
        .await
        .expect("ids");
    assert_eq!(ended.len(), 1);
    tenant.delete::<Account>(tenant.account).await;
    let active = store.untold_runs(tenant.account).await.expect("a count");
    assert!(active > 0, "what was committed is still to be delivered");

    let task = purge_task(tenant.account);
    let claim = claim_of(&store, Queue::Runs, &task).await;
    let Ok(TaskBody::Purge(mut purge)) = claim.body.parse::<TaskBody>() else {
        panic!("no purge: {}", claim.body);
    };
    loop {
        let made = step::make(&store, tenant.id(), &claim.id, &purge).await;
        match made.expect("a step") {
            Next::Further(further) => purge = further,
            Next::Wait(further, _) if purge.within.is_none() => purge = further,
            Next::Wait(..) => break,
            Next::Done => panic!("it waits for its runs"),
        }
    }
    assert_eq!(purge.step, PurgeStep::Pause);
    let letters = store.keys().dead_letters(tenant.webhook);
    let mut connection = store.connection();
    let left: u64 = connection.zcard(&letters).await.expect("a count");
    assert_eq!(left, 1, "but that of the account that is not purged");

    // A worker had its streams, and died; another one delivers what waits.
    testing::advance_clock(&store, LEASE + Duration::from_secs(1)).await;
    let rescued = store.rescue_expired(Queue::Deliveries).await;
    rescued.expect("a pass");
    let runs: Vec<String> = connection
        .smembers(
            store
                .keys()
                .join(&["account", &tenant.account.to_string(), "run"]),
        )
        .await
        .expect("ids");
    for run in runs {
        let run = run.parse().expect("a run");
        // What was looked at before and is another run's comes back by then.
        testing::advance_clock(&store, LEASE + Duration::from_secs(1)).await;
        let timers = store.claim(Queue::Deliveries, 0, LEASE, "nothing").await;
        assert_eq!(timers.expect("a claim").tasks, []);
        tenant.settle(Source::Run(run), None).await;
    }
    let active = store.untold_runs(tenant.account).await;
    assert_eq!(active.expect("a count"), 0);
    let held = store.checkpoint_purge(&claim.id, &claim.token, &purge, Checkpoint::Turn);
    // Its lease ran out too: somebody else goes on.
    assert_eq!(held.await.expect("an answer"), Held::Done);
    carry_out(&store, tenant.id(), &task).await;

    let ids = [tenant.account.to_string(), ended[0].clone()];
    for (key, value) in everything(&store).await {
        let text = String::from_utf8_lossy(&value);
        // The event that tells of the deletion itself is still to be delivered; states are the client's own.
        let stays = key.starts_with("outbox:") || key.starts_with("state:");
        let named = ids
            .iter()
            .find(|id| key.contains(*id) || text.contains(*id));
        assert!(stays || named.is_none(), "{key} names {named:?}: {text}");
    }
    let view = store.runs().get(tenant.id(), kept).await;
    assert!(view.expect("an answer").is_some(), "others keep their runs");
    let job = store
        .objects()
        .get::<SyncJob>(tenant.id(), tenant.job)
        .await;
    assert!(job.expect("an answer").is_some());
}

#[tokio::test]
async fn a_purge_whose_lease_was_lost_writes_nothing_down() {
    let store = testing::redis::store();
    let tenant = Tenant::new(&store, 1).await;
    let deleted = store.tokens().delete_environment(&tenant.environment).await;
    assert!(deleted.expect("deleted"));
    let task = purge_task(tenant.id());
    let claim = claim_of(&store, Queue::Runs, &task).await;
    let purge = Purge::of_environment();
    let further = purge.following().expect("a step");
    let held = store
        .checkpoint_purge(&claim.id, "another token", &further, Checkpoint::Keep)
        .await;
    assert_eq!(held.expect("an answer"), Held::Stale);
    let handed = store.hand_back(Queue::Runs, &claim.id, &claim.token).await;
    assert_eq!(handed.expect("an answer"), Held::Done);
    let claim = claim_of(&store, Queue::Runs, &task).await;
    assert_eq!(claim.body, TaskBody::Purge(purge).to_string());
}
