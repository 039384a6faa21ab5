//! Events that belong to no run, and what else follows from a change of an account.

use std::time::Duration;

use redis::AsyncCommands;
use serde_json::{Value, json};
use shared::{
    clock::Timestamp,
    ids::{AccountId, EnvironmentId, WebhookId},
    model::{
        account::{Account, AccountStatus},
        dead_letter::LetterFilter,
        event::{Batch, environment_event},
        run::{RunStatus, WaitingFor},
        webhook::Webhook,
    },
    store::{
        Store,
        deliveries::{DeliveryHandle, NextBatch, Outcome, Source},
        fetches::{AccountWait, FetchHandle, FetchStep, PageCommit, Retried},
        queue::{LEASE, Queue},
    },
    testing,
};

use super::support::{Bench, GAVE_UP, child, failed, last_page, page, spec};

const HERE: EnvironmentId = EnvironmentId::from_bits(1);
const DAY: Duration = Duration::from_hours(24);

fn webhook(id: u128, event_types: &[&str], is_active: bool) -> Webhook {
    serde_json::from_value(json!({
        "id": WebhookId::from_bits(id), "environment_id": HERE, "target_url": "https://example.com/",
        "event_types": event_types, "is_active": is_active, "label": null, "sealed_secret": "sealed",
        "created_at": Timestamp(0), "updated_at": Timestamp(0),
    }))
    .expect("a webhook")
}

fn account(environment: EnvironmentId, id: AccountId, status: AccountStatus) -> Account {
    serde_json::from_value(json!({
        "id": id, "environment_id": environment, "integration_id": "int_00000000000000000000000001",
        "integration_name": "sample", "integration_label": "Sample", "tenant_id": "tenant", "label": null,
        "status": status, "authentication_method": null, "context": {}, "sealed_credentials": "",
        "created_at": Timestamp(0), "updated_at": Timestamp(0),
    }))
    .expect("an account")
}

async fn take(store: &Store) -> Option<(DeliveryHandle, Batch)> {
    let token = ulid::Ulid::generate().to_string();
    let claimed = store.claim(Queue::Deliveries, 1, LEASE, &token).await;
    let claim = claimed.expect("a claim").tasks.pop()?;
    let webhook: WebhookId = claim.lane.parse().expect("a webhook's lane");
    let handle = DeliveryHandle {
        task: claim.id,
        token: claim.token,
        source: Source::Outbox(webhook),
        stream: "c".to_owned(),
        per_second: 0,
        window: 1,
    };
    match store.take_batch(&handle, &[]).await.expect("an answer") {
        NextBatch::Batch(batch) => Some((handle, batch)),
        other => panic!("a batch is there, not {other:?}"),
    }
}

async fn settle(store: &Store, handle: &DeliveryHandle, batch: &Batch) -> NextBatch {
    let outcome = Outcome::delivered(200);
    let settled = store
        .settle_batch(handle, batch.event, outcome, true, &[])
        .await;
    settled.expect("an answer")
}

/// Delivers all that is ready: webhook and type of each event, in order.
async fn deliver_all(store: &Store) -> Vec<(String, String)> {
    let mut sent = Vec::new();
    while let Some((handle, mut batch)) = take(store).await {
        loop {
            sent.push((handle.source.to_string(), batch.event_type.clone()));
            match settle(store, &handle, &batch).await {
                NextBatch::Batch(next) => batch = next,
                NextBatch::None => break,
                NextBatch::Held => panic!("nothing else is in flight"),
                NextBatch::Stale => panic!("the lease is ours"),
            }
        }
    }
    sent
}

async fn set_status(store: &Store, id: AccountId, environment: EnvironmentId, to: AccountStatus) {
    let change = |account: &mut Account| {
        account.status = to;
        Ok::<(), ()>(())
    };
    let updated = store.objects().update(environment, id, change).await;
    assert!(updated.expect("an answer").is_some());
}

#[tokio::test]
async fn an_event_goes_in_order_to_each_active_webhook_that_subscribes_and_leaves_nothing_behind() {
    let store = testing::redis::store();
    for webhook in [
        webhook(1, &[], true),
        webhook(2, &["integrated_account:active"], true),
        webhook(3, &["sync_job_run:record"], true),
        webhook(4, &[], false),
    ] {
        store.objects().create(&webhook).await.expect("made");
    }
    let id = AccountId::from_bits(9);
    let made = account(HERE, id, AccountStatus::Connecting);
    store.objects().create(&made).await.expect("made");
    store.objects().create(&made).await.expect("made before");
    set_status(&store, id, HERE, AccountStatus::Active).await;

    let mut sent = deliver_all(&store).await;
    sent.sort_by(|one, other| one.0.cmp(&other.0));
    let (first, second) = (WebhookId::from_bits(1), WebhookId::from_bits(2));
    let expected = [
        (first, "integrated_account:created"),
        (first, "integrated_account:active"),
        (second, "integrated_account:active"),
    ];
    assert_eq!(
        sent,
        expected.map(|(webhook, name)| (webhook.to_string(), name.to_owned()))
    );
    let mut connection = store.connection();
    let pattern = format!("{}:outbox*", store.keys().base().replace('{', "\\{"));
    let left: Vec<String> = redis::AsyncCommands::keys(&mut connection, pattern)
        .await
        .expect("keys");
    assert!(left.is_empty(), "{left:?}");
    assert_eq!(store.undelivered_bytes().await.expect("a number"), 0);
}

#[tokio::test]
async fn an_event_of_another_environment_is_not_told() {
    let store = testing::redis::store();
    let objects = store.objects();
    objects.create(&webhook(1, &[], true)).await.expect("made");
    let elsewhere = EnvironmentId::from_bits(2);
    let account = account(elsewhere, AccountId::from_bits(9), AccountStatus::Active);
    objects.create(&account).await.expect("made");
    assert!(take(&store).await.is_none());
}

#[tokio::test]
async fn an_event_is_sent_again_with_the_same_bytes_and_is_a_dead_letter_when_given_up() {
    let store = testing::redis::store();
    let webhook = webhook(1, &[], true);
    store.objects().create(&webhook).await.expect("made");
    let made = account(HERE, AccountId::from_bits(9), AccountStatus::Active);
    store.objects().create(&made).await.expect("made");
    let (handle, batch) = take(&store).await.expect("an event");
    let bytes = |batch: &Batch| {
        let chunk = String::from_utf8_lossy(&batch.chunks[0]).into_owned();
        environment_event(HERE, webhook.id, batch, &chunk).expect("bytes")
    };
    let first = bytes(&batch);
    let event: Value = serde_json::from_slice(&first).expect("JSON");
    assert_eq!(event["id"], batch.event.to_string());
    assert_eq!(event["payload"]["integrated_account"]["status"], "active");
    let retried = store
        .retry_delivery(&handle, batch.event, failed(Duration::ZERO))
        .await;
    retried.expect("an answer");

    let (handle, batch) = take(&store).await.expect("the event again");
    assert_eq!((bytes(&batch), batch.attempts), (first, 1));
    let given_up = store
        .settle_batch(&handle, batch.event, GAVE_UP, true, &[])
        .await;
    assert_eq!(given_up.expect("an answer"), NextBatch::None);
    let page = shared::store::PageRequest {
        limit: 10,
        after: None,
    };
    let letters = store
        .dead_letters(webhook.id, &LetterFilter::default(), &page)
        .await
        .expect("a page");
    let letter = &letters.items[0];
    assert_eq!(
        (letter.event.as_str(), letter.sync_job_run_id.as_deref()),
        ("integrated_account:created", None)
    );
}

/// A running run of an account that is in the store, with its first fetch claimed.
async fn fetching(status: AccountStatus) -> (Bench, FetchHandle) {
    let bench = Bench::running_with(spec()).await;
    let (environment, id) = (bench.spec.environment_id, bench.spec.integrated_account_id);
    let account = account(environment, id, status);
    bench.store.objects().create(&account).await.expect("made");
    let claim = bench.claim_one(Queue::Fetches).await;
    let handle = bench.fetch(&claim, 0);
    (bench, handle)
}

async fn wait(bench: &Bench, handle: &FetchHandle) -> FetchStep {
    wait_by(bench, handle, false).await
}

async fn wait_by(bench: &Bench, handle: &FetchHandle, fail_fast: bool) -> FetchStep {
    let wait = AccountWait {
        environment: bench.spec.environment_id,
        requests: 1,
        longest: DAY,
        if_active: Duration::from_secs(1),
        fail_fast,
        message: "not active",
        too_long: "no new credentials came",
    };
    let step = bench.store.await_account(handle, &wait).await;
    step.expect("an answer")
}

#[tokio::test]
async fn a_fetch_waits_for_its_account_and_goes_on_when_it_is_active_again() {
    let (bench, handle) = fetching(AccountStatus::NeedsReauth).await;
    assert_eq!(wait(&bench, &handle).await, FetchStep::Done);
    assert_eq!(wait(&bench, &handle).await, FetchStep::Stale);
    assert!(bench.claim(Queue::Fetches, 1).await.is_empty());
    let (environment, id) = (bench.spec.environment_id, bench.spec.integrated_account_id);
    set_status(&bench.store, id, environment, AccountStatus::Active).await;
    let claim = bench.claim_one(Queue::Fetches).await;
    assert_eq!((claim.id, claim.attempt), (handle.task, 0));
}

#[tokio::test]
async fn a_rate_limit_beside_a_wait_for_credentials_ends_when_the_source_says() {
    let (bench, handle) = fetching(AccountStatus::NeedsReauth).await;
    let two = PageCommit {
        children: vec![child(1), child(2), child(3)],
        ..page(&handle, 0, 3)
    };
    bench.commit(&two).await;
    let claims = bench.claim(Queue::Fetches, 3).await;
    let limited = bench.fetch(&claims[0], 1);
    assert_eq!(wait(&bench, &handle).await, FetchStep::Done);
    // What was answered before says nothing about the credentials.
    let before = bench.fetch(&claims[2], 1);
    bench.commit(&last_page(&before, 0, false)).await;
    let view = bench.view().await;
    assert_eq!(view.waiting_for, Some(WaitingFor::Credentials));
    let pause = Duration::from_secs(10);
    let step = bench.store.limit_fetch(&limited, pause, 1, "lines").await;
    step.expect("an answer");
    assert_eq!(bench.view().await.rate_limited_ms, 10_000);
    let (environment, id) = (bench.spec.environment_id, bench.spec.integrated_account_id);
    set_status(&bench.store, id, environment, AccountStatus::Active).await;
    bench.advance(pause).await;
    let other = bench.fetch(&claims[1], 1);
    bench.commit(&last_page(&other, 0, false)).await;
    assert_eq!(bench.view().await.status, RunStatus::Running);
}

#[tokio::test]
async fn a_wait_for_credentials_that_is_over_does_not_count_in_the_next_one() {
    let (bench, handle) = fetching(AccountStatus::NeedsReauth).await;
    assert_eq!(wait(&bench, &handle).await, FetchStep::Done);
    let (environment, id) = (bench.spec.environment_id, bench.spec.integrated_account_id);
    let key = bench.store.keys().run(bench.spec.id);
    let mut connection = bench.store.connection();
    let since: redis::RedisResult<String> = connection.hget(&key, "awaits_account_since").await;
    let since = since.expect("since when");
    set_status(&bench.store, id, environment, AccountStatus::Active).await;
    // As with more runs than a renewal looks at.
    let set: redis::RedisResult<()> = connection.hset(&key, "awaits_account_since", since).await;
    set.expect("set");
    bench.advance(DAY + Duration::from_secs(1)).await;
    set_status(&bench.store, id, environment, AccountStatus::NeedsReauth).await;
    let claim = bench.claim_one(Queue::Fetches).await;
    let handle = bench.fetch(&claim, 0);
    assert_eq!(wait(&bench, &handle).await, FetchStep::Done);
    assert_eq!(bench.view().await.status, RunStatus::Running);
}

#[tokio::test]
async fn an_account_that_became_active_meanwhile_delays_the_fetch_only_shortly() {
    let (bench, handle) = fetching(AccountStatus::Active).await;
    assert_eq!(wait(&bench, &handle).await, FetchStep::Done);
    assert!(bench.claim(Queue::Fetches, 1).await.is_empty());
    bench.advance(Duration::from_secs(2)).await;
    assert_eq!(bench.claim_one(Queue::Fetches).await.id, handle.task);
}

#[tokio::test]
async fn a_run_that_waited_too_long_for_credentials_fails_once() {
    let (bench, handle) = fetching(AccountStatus::NeedsReauth).await;
    wait(&bench, &handle).await;
    bench.advance(DAY + Duration::from_secs(1)).await;
    let claim = bench.claim_one(Queue::Fetches).await;
    let handle = bench.fetch(&claim, 0);
    assert_eq!(wait(&bench, &handle).await, FetchStep::RunEnded);
    let view = bench.view().await;
    assert_eq!(view.status, RunStatus::Failed);
    assert_eq!(view.error.expect("a reason").code, "needs_reauth");
    assert_eq!(bench.deliver_all().await, ["sync_job_run:failed"]);
    assert!(bench.claim(Queue::Fetches, 1).await.is_empty());
}

/// The deletion of the account has queued the task that takes away what is left of it; its tests are those of the worker.
async fn end_purge(bench: &Bench) {
    let claim = bench.claim_one(Queue::Runs).await;
    let purge = format!("{}.purge", bench.spec.integrated_account_id);
    assert_eq!(claim.id, purge);
    let store = &bench.store;
    let ended = store
        .finish_task(Queue::Runs, &claim.id, &claim.token)
        .await;
    ended.expect("ended");
}

#[tokio::test]
async fn deleting_an_account_fails_its_runs_in_the_same_step() {
    let (bench, handle) = fetching(AccountStatus::Active).await;
    let (environment, id) = (bench.spec.environment_id, bench.spec.integrated_account_id);
    let deleted = bench
        .store
        .objects()
        .delete::<Account>(environment, id, |_| {})
        .await;
    assert!(deleted.expect("an answer").is_some());
    let view = bench.view().await;
    assert_eq!(view.error.expect("a reason").code, "account_deleted");
    let retried = bench
        .store
        .retry_fetch(&handle, Duration::ZERO, 1, false)
        .await;
    assert_eq!(
        retried.expect("an answer"),
        Retried::Step(FetchStep::RunEnded, None)
    );
    assert_eq!(bench.deliver_all().await, ["sync_job_run:failed"]);
    end_purge(&bench).await;
    assert_eq!(bench.leftovers().await, Vec::<String>::new());
}

#[tokio::test]
async fn under_fail_fast_what_the_account_is_now_decides() {
    let (bench, handle) = fetching(AccountStatus::Active).await;
    assert_eq!(wait_by(&bench, &handle, true).await, FetchStep::Done);
    assert_eq!(bench.view().await.status, RunStatus::Running);

    let (bench, handle) = fetching(AccountStatus::NeedsReauth).await;
    assert_eq!(wait_by(&bench, &handle, true).await, FetchStep::RunEnded);
    assert_eq!(
        bench.view().await.error.expect("a reason").code,
        "needs_reauth"
    );

    let (bench, handle) = fetching(AccountStatus::Disabled).await;
    assert_eq!(wait(&bench, &handle).await, FetchStep::RunEnded);
    assert_eq!(
        bench.view().await.error.expect("a reason").code,
        "account_disabled"
    );
}

#[tokio::test]
async fn what_the_source_asked_for_holds_when_the_account_is_active_again() {
    let (bench, handle) = fetching(AccountStatus::NeedsReauth).await;
    let hour = Duration::from_hours(1);
    let limited = bench.store.limit_fetch(&handle, hour, 1, "orders").await;
    assert_eq!(limited.expect("an answer"), FetchStep::Done);
    bench.advance(Duration::from_mins(59)).await;
    // As a fetch that was under way finds it.
    let key = bench.store.keys().join(&[
        "fetches",
        "lane",
        &bench.spec.integrated_account_id.to_string(),
    ]);
    let set: Result<(), _> =
        redis::AsyncCommands::hset(&mut bench.store.connection(), key, "awaits_account", 1).await;
    set.expect("set");
    let (environment, id) = (bench.spec.environment_id, bench.spec.integrated_account_id);
    set_status(&bench.store, id, environment, AccountStatus::Active).await;
    assert!(bench.claim(Queue::Fetches, 1).await.is_empty());
    bench.advance(Duration::from_secs(61)).await;
    assert_eq!(bench.claim_one(Queue::Fetches).await.id, handle.task);
}

#[tokio::test]
async fn tasks_of_an_account_that_waited_and_was_deleted_do_not_stay() {
    let (bench, handle) = fetching(AccountStatus::NeedsReauth).await;
    wait(&bench, &handle).await;
    let (environment, id) = (bench.spec.environment_id, bench.spec.integrated_account_id);
    let objects = bench.store.objects();
    let deleted = objects.delete::<Account>(environment, id, |_| {}).await;
    assert!(deleted.expect("an answer").is_some());
    assert!(bench.claim(Queue::Fetches, 1).await.is_empty());
    assert_eq!(bench.deliver_all().await, ["sync_job_run:failed"]);
    end_purge(&bench).await;
    assert_eq!(bench.leftovers().await, Vec::<String>::new());
}
