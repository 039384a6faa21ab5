//! Fires on a clock that the tests move, against a real Redis.

use std::{sync::Arc, time::Duration};

use serde_json::{Value, json};
use shared::{
    catalog::{Catalog, documents},
    clock::Timestamp,
    http::{Outbound, TargetPolicy},
    ids::{AccountId, CronTriggerId, EnvironmentId, RunId, SyncJobId, WebhookId},
    model::{
        account::{Account, AccountStatus},
        cron_trigger::CronTrigger,
        run::{RunStatus, RunView, Trigger},
        sync_job::SyncJob,
        webhook::Webhook,
    },
    seal::Sealer,
    store::{
        PageRequest, Store,
        attempts::attempt_log,
        cron::{CRON_LEASE, TriggerState},
        objects::Object,
        queue::{LEASE, Queue},
        runs::{RunFilter, Stopped},
    },
    testing,
};

use super::pass;
use crate::context::Context;

const HERE: EnvironmentId = EnvironmentId::from_bits(1);
const JOB: SyncJobId = SyncJobId::from_bits(2);
const ACCOUNT: AccountId = AccountId::from_bits(3);
const WEBHOOK: WebhookId = WebhookId::from_bits(4);
const TRIGGER: CronTriggerId = CronTriggerId::from_bits(5);
const MINUTE: Duration = Duration::from_mins(1);

struct Bench {
    context: Arc<Context>,
}

fn object<O: Object>(id: impl std::fmt::Display, fields: Value) -> O {
    let mut object = json!({"id": id.to_string(), "environment_id": HERE, "label": null, "created_at": Timestamp(0), "updated_at": Timestamp(0)});
    let (Some(all), Value::Object(fields)) = (object.as_object_mut(), fields) else {
        panic!("objects");
    };
    all.extend(fields);
    serde_json::from_value(object).expect("an object")
}

impl Bench {
    /// A job, an account and a webhook that fit together, and a trigger that fires every minute.
    async fn new(trigger: Value) -> Self {
        let store = testing::redis::store();
        let policy = TargetPolicy::new(&[], false).expect("a policy");
        let outbound = Outbound::new(policy).expect("a client");
        let sealer = Sealer::new(Sealer::new_master_key().expose()).expect("a sealer");
        let catalog = Catalog::new(documents(None).expect("documents")).expect("a catalog");
        let context = Context::new(
            store,
            outbound,
            sealer,
            catalog,
            attempt_log(14).0,
            14,
            tokio_util::sync::CancellationToken::new(),
        );
        let bench = Self {
            context: Arc::new(context),
        };
        // Twenty seconds into a minute, so that no minute ends in the middle of a test.
        let now = Timestamp::now().0;
        let made_at = now - now % 60_000 + 80_000;
        let ahead = u64::try_from(made_at - now).expect("ahead");
        bench.advance(Duration::from_millis(ahead)).await;
        let resources = json!([{"resource": "orders", "method": "list"}]);
        bench
            .make(object::<SyncJob>(
                JOB,
                json!({"integration_name": "sample", "error_handling": "ignore", "resources": resources}),
            ))
            .await;
        bench
            .make(object::<Account>(
                ACCOUNT,
                json!({"integration_id": "int_00000000000000000000000001", "integration_name": "sample", "integration_label": "Sample",
                    "tenant_id": "tenant", "status": "active", "authentication_method": null, "context": {}, "sealed_credentials": ""}),
            ))
            .await;
        bench
            .make(object::<Webhook>(
                WEBHOOK,
                json!({"target_url": "https://example.com/", "event_types": [], "is_active": true, "sealed_secret": "sealed"}),
            ))
            .await;
        let mut fields = json!({"sync_job_id": JOB, "integrated_account_id": ACCOUNT, "webhook_id": WEBHOOK,
            "cron_expression": "* * * * *", "timezone": "UTC", "overlap": "skip", "is_active": true, "jitter_seconds": 0,
            "args": {"shop": 1}, "error_handling": null, "events_to_send": null, "ignore_previous_run": false,
            "updated_at": Timestamp(made_at)});
        let (Some(all), Value::Object(more)) = (fields.as_object_mut(), trigger) else {
            panic!("objects");
        };
        all.extend(more);
        bench.make(object::<CronTrigger>(TRIGGER, fields)).await;
        bench
    }

    fn store(&self) -> &Store {
        &self.context.store
    }

    async fn make<O: Object + std::fmt::Debug>(&self, object: O) {
        self.store().objects().create(&object).await.expect("made");
    }

    async fn change<O: Object>(&self, id: O::Id, change: impl Fn(&mut O)) {
        let change = |object: &mut O| {
            change(object);
            Ok::<(), ()>(())
        };
        let changed = self.store().objects().update(HERE, id, change).await;
        assert!(changed.expect("an answer").is_some());
    }

    async fn advance(&self, by: Duration) {
        testing::advance_clock(self.store(), by).await;
    }

    /// Three workers look at the same moment.
    async fn passes(&self) {
        let (one, two, three) = tokio::join!(
            pass(&self.context),
            pass(&self.context),
            pass(&self.context)
        );
        one.and(two).and(three).expect("passes");
    }

    async fn runs(&self) -> Vec<RunView> {
        let page = PageRequest {
            limit: 200,
            after: None,
        };
        let filter = RunFilter::default();
        let runs = self.store().runs().list(HERE, &filter, &page).await;
        runs.expect("a page").items
    }

    async fn state(&self) -> TriggerState {
        let states = self.store().cron_states(&[TRIGGER]).await.expect("states");
        states.into_iter().next().expect("a state")
    }

    async fn stop(&self, run: RunId) {
        let stopped = self.store().runs().stop(HERE, run).await;
        assert_eq!(stopped.expect("an answer"), Stopped::Stopped);
    }

    /// Types of the events that wait for the webhook, in order.
    async fn told(&self) -> Vec<String> {
        testing::waiting_events(self.store(), WEBHOOK).await
    }
}

#[tokio::test]
async fn each_fire_makes_one_run_however_many_workers_look() {
    let bench = Bench::new(json!({"overlap": "allow"})).await;
    bench.passes().await;
    assert!(bench.runs().await.is_empty(), "it isn't due yet");
    for fires in 1..=3 {
        bench.advance(MINUTE).await;
        bench.passes().await;
        bench.passes().await;
        assert_eq!(bench.runs().await.len(), fires);
    }
    let run = &bench.runs().await[0];
    assert_eq!(
        (run.trigger, run.trigger_id.as_deref(), &run.args),
        (
            Trigger::Cron,
            Some(TRIGGER.to_string().as_str()),
            &json!({"shop": 1})
        )
    );
    let state = bench.state().await;
    assert_eq!((state.last_run_id, state.missed), (Some(run.id), 0));
    assert!(state.next_run_at > state.last_run_at, "{state:?}");
    assert_eq!(
        bench
            .store()
            .queue_gauges(Queue::Runs)
            .await
            .expect("gauges")
            .ready,
        3
    );
}

#[tokio::test]
async fn a_worker_that_dies_between_claim_and_run_leaves_the_fire_to_another_one() {
    let bench = Bench::new(json!({})).await;
    bench.advance(MINUTE).await;
    let (_, claimed) = bench.store().claim_cron(10).await.expect("a claim");
    assert_eq!(claimed.len(), 1);
    bench.passes().await;
    assert!(bench.runs().await.is_empty(), "it is claimed");
    bench.advance(CRON_LEASE).await;
    bench.passes().await;
    assert_eq!(bench.runs().await.len(), 1);
}

#[tokio::test]
async fn after_an_outage_one_fire_is_made_up_and_the_older_ones_are_counted() {
    let bench = Bench::new(json!({})).await;
    bench.advance(Duration::from_hours(24)).await;
    bench.passes().await;
    assert_eq!(bench.runs().await.len(), 1);
    assert_eq!(bench.state().await.missed, 24 * 60 - 1);
    bench.passes().await;
    assert_eq!(bench.runs().await.len(), 1);
}

#[tokio::test]
async fn a_fire_is_skipped_and_counted_while_the_last_run_is_active() {
    let bench = Bench::new(json!({"overlap": "skip"})).await;
    bench.advance(MINUTE).await;
    bench.passes().await;
    bench.advance(MINUTE).await;
    bench.passes().await;
    assert_eq!(bench.runs().await.len(), 1);
    assert_eq!(bench.state().await.skipped, 1);
    bench.stop(bench.runs().await[0].id).await;
    bench.advance(MINUTE).await;
    bench.passes().await;
    assert_eq!(bench.runs().await.len(), 2);
}

#[tokio::test]
async fn a_fire_that_waits_for_the_last_run_makes_one_run_when_that_has_ended() {
    let bench = Bench::new(json!({"overlap": "queue"})).await;
    bench.advance(MINUTE).await;
    bench.passes().await;
    for _ in 0..3 {
        bench.advance(MINUTE).await;
        bench.passes().await;
    }
    assert_eq!(bench.runs().await.len(), 1);
    bench.stop(bench.runs().await[0].id).await;
    bench.passes().await;
    let runs = bench.runs().await;
    assert_eq!(runs.len(), 2, "hastened by the end of the first");
    assert_eq!(runs[0].status, RunStatus::Created);
    assert_eq!(bench.state().await.missed, 2);
    bench.passes().await;
    assert_eq!(bench.runs().await.len(), 2);
}

#[tokio::test]
async fn a_run_that_cannot_be_made_is_told_with_its_reason_and_the_schedule_goes_on() {
    let bench = Bench::new(json!({})).await;
    bench
        .change::<Account>(ACCOUNT, |account| {
            account.status = AccountStatus::NeedsReauth;
        })
        .await;
    bench.advance(MINUTE).await;
    bench.passes().await;
    assert!(bench.runs().await.is_empty());
    assert_eq!(
        bench.told().await,
        [
            "integrated_account:authentication_error",
            "sync_job_cron_trigger:failed"
        ]
    );
    let state = bench.state().await;
    let error = state.error.expect("a reason");
    assert!(error.contains("needs_reauth"), "{error}");
    bench
        .change::<Account>(ACCOUNT, |account| account.status = AccountStatus::Active)
        .await;
    bench.advance(MINUTE).await;
    bench.passes().await;
    assert_eq!(bench.runs().await.len(), 1);
    assert_eq!(bench.state().await.error, None);
}

#[tokio::test]
async fn a_trigger_of_a_job_that_was_deleted_says_so() {
    let bench = Bench::new(json!({})).await;
    let deleted = bench
        .store()
        .objects()
        .delete::<SyncJob>(HERE, JOB, |_| {})
        .await;
    assert!(deleted.expect("an answer").is_some());
    bench.advance(MINUTE).await;
    bench.passes().await;
    let error = bench.state().await.error.expect("a reason");
    assert!(
        error.contains("there is no sync job with this id"),
        "{error}"
    );
}

#[tokio::test]
async fn a_trigger_that_is_switched_off_or_deleted_fires_no_more() {
    let bench = Bench::new(json!({})).await;
    bench
        .change::<CronTrigger>(TRIGGER, |trigger| trigger.input.is_active = false)
        .await;
    assert_eq!(
        bench.store().scheduled_triggers().await.expect("a count"),
        0
    );
    bench
        .change::<CronTrigger>(TRIGGER, |trigger| trigger.input.is_active = true)
        .await;
    assert_eq!(
        bench.store().scheduled_triggers().await.expect("a count"),
        1
    );
    let deleted = bench
        .store()
        .objects()
        .delete::<CronTrigger>(HERE, TRIGGER, |_| {})
        .await;
    assert!(deleted.expect("an answer").is_some());
    bench.advance(MINUTE).await;
    bench.passes().await;
    assert!(bench.runs().await.is_empty());
    assert_eq!(bench.state().await.next_run_at, None);
}

#[tokio::test]
async fn a_run_of_a_trigger_starts_as_any_other() {
    let bench = Bench::new(json!({})).await;
    bench.advance(MINUTE).await;
    bench.passes().await;
    let claimed = bench.store().claim(Queue::Runs, 1, LEASE, "token").await;
    let claim = claimed.expect("a claim").tasks.remove(0);
    let run = bench.runs().await[0].id;
    assert_eq!(claim.id, format!("{run}.start"));
    crate::tasks::start_run::execute(&bench.context, &claim, run)
        .await
        .expect("started");
    assert_eq!(bench.runs().await[0].status, RunStatus::Running);
}

#[tokio::test]
async fn a_fire_that_was_made_is_not_made_again_by_a_change_of_the_trigger() {
    let bench = Bench::new(json!({"overlap": "allow"})).await;
    bench.advance(MINUTE).await;
    bench.passes().await;
    assert_eq!(bench.runs().await.len(), 1);
    // A change by a clock that is behind: it takes the fire that was just made for the next one.
    bench
        .change::<CronTrigger>(TRIGGER, |trigger| trigger.input.jitter_seconds = 1)
        .await;
    bench.passes().await;
    assert_eq!(bench.runs().await.len(), 1);
    bench.advance(MINUTE + Duration::from_secs(1)).await;
    bench.passes().await;
    assert_eq!(bench.runs().await.len(), 2);
}

#[tokio::test]
async fn a_trigger_that_is_deleted_leaves_nothing_behind() {
    let bench = Bench::new(json!({})).await;
    bench.advance(MINUTE).await;
    bench.passes().await;
    bench
        .change::<CronTrigger>(TRIGGER, |trigger| trigger.input.is_active = false)
        .await;
    let objects = bench.store().objects();
    let deleted = objects.delete::<CronTrigger>(HERE, TRIGGER, |_| {}).await;
    assert!(deleted.expect("an answer").is_some());
    assert_eq!(bench.state().await, TriggerState::default());
}
