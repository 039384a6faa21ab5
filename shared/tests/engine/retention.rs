//! What expires leaves the lists it is in, whether or not anybody adds to them or reads them.

use std::time::Duration;

use redis::AsyncCommands;
use shared::{
    ids::EnvironmentId,
    model::run::RunSpec,
    store::{
        Store,
        fetches::{Chunk, Committed, PageCommit},
        queue::Queue,
        runs::DeletedRun,
    },
    testing,
};

use super::support::{Bench, GAVE_UP, last_page, page, spec};

const HERE: EnvironmentId = EnvironmentId::from_bits(1);
const HOUR: Duration = Duration::from_hours(1);

async fn accepted(store: &Store) -> RunSpec {
    let spec = RunSpec {
        environment_id: HERE,
        ..spec()
    };
    store.runs().create(&spec).await.expect("accepted");
    spec
}

/// As if its retention were over.
async fn expire(store: &Store, run: &RunSpec) {
    let _: u64 = store
        .connection()
        .del(store.keys().run(run.id))
        .await
        .expect("gone");
}

async fn listed(store: &Store) -> u64 {
    let index = store.keys().runs_of(HERE);
    store.connection().zcard(index).await.expect("a count")
}

#[tokio::test]
async fn expired_runs_leave_the_list_of_their_environment_though_nothing_is_added_and_nobody_reads()
{
    let store = testing::redis::store();
    // It is at the head of the list and outlasts the others.
    let active = accepted(&store).await;
    let mut runs = Vec::new();
    for _ in 0..5 {
        runs.push(accepted(&store).await);
    }
    assert_eq!(store.runs().prune().await.expect("a pass"), 0);
    for run in &runs {
        expire(&store, run).await;
    }
    assert_eq!(
        store.runs().prune().await.expect("a pass"),
        0,
        "the list was gone through within the hour"
    );
    testing::advance_clock(&store, HOUR).await;
    assert_eq!(store.runs().prune().await.expect("a pass"), 5);
    assert_eq!(store.runs().prune().await.expect("a pass"), 0);
    assert_eq!(listed(&store).await, 1);

    expire(&store, &active).await;
    testing::advance_clock(&store, HOUR).await;
    assert_eq!(store.runs().prune().await.expect("a pass"), 1);
    let looked_after = store.keys().join(&["retention"]);
    let left: bool = store
        .connection()
        .exists(looked_after)
        .await
        .expect("a word");
    assert!(!left, "an empty list is looked after no more");
}

#[tokio::test]
async fn a_long_list_is_gone_through_in_several_passes_that_workers_share() {
    let store = testing::redis::store();
    let index = store.keys().runs_of(HERE);
    accepted(&store).await;
    let many: Vec<(u8, String)> = (0..2_500)
        .map(|_| (0, shared::ids::RunId::generate().to_string()))
        .collect();
    let _: u64 = store
        .connection()
        .zadd_multiple(index, &many)
        .await
        .expect("added");
    let mut passes = tokio::task::JoinSet::new();
    for _ in 0..3 {
        let store = store.clone();
        passes.spawn(async move { store.runs().prune().await.expect("a pass") });
    }
    let removed: u64 = passes.join_all().await.into_iter().sum();
    assert_eq!(removed, 2_500);
    assert_eq!(listed(&store).await, 1);
}

#[tokio::test]
async fn a_deleted_run_is_found_by_its_account_until_its_last_event_is_settled() {
    let bench = Bench::running().await;
    let (store, spec) = (&bench.store, &bench.spec);
    store
        .runs()
        .stop(spec.environment_id, spec.id)
        .await
        .expect("stopped");
    bench.deliver_all().await;
    let untold = async || store.untold_runs(spec.integrated_account_id).await;
    assert_eq!(untold().await.expect("a count"), 0);
    let deleted = store.runs().delete(spec.environment_id, spec.id).await;
    assert_eq!(deleted.expect("an answer"), DeletedRun::Deleted);
    assert_eq!(untold().await.expect("a count"), 1);
    assert_eq!(bench.deliver_all().await, ["sync_job_run:deleted"]);
    assert_eq!(untold().await.expect("a count"), 0);
}

#[tokio::test]
async fn what_is_parked_for_a_webhook_goes_with_it_though_its_run_is_known_no_more() {
    let bench = Bench::running().await;
    let claim = bench.claim_one(Queue::Fetches).await;
    let handle = bench.fetch(&claim, 0);
    let over_the_mark = PageCommit {
        chunks: vec![Chunk {
            records: 1,
            bytes: vec![b'1'; 17 * 1024 * 1024].into(),
        }],
        ..page(&handle, 0, 1)
    };
    assert_eq!(bench.commit(&over_the_mark).await, Committed::Parked);
    let parked = || async {
        let left = bench.leftovers().await.into_iter();
        left.filter(|key| key.contains(":parked")).count()
    };
    let key = bench.store.keys().run(bench.spec.id);
    let mut connection = bench.store.connection();
    let kept: bool = connection.pexpire(&key, 60_000).await.expect("a word");
    assert!(kept);
    let spec: bool = connection
        .pexpire(key + ":spec", 60_000)
        .await
        .expect("a word");
    assert!(spec);
    assert_eq!(parked().await, 2);
    let store = &bench.store;
    while !store
        .purge_webhook(bench.spec.webhook_id)
        .await
        .expect("a step")
    {}
    assert_eq!(parked().await, 0);
}

#[tokio::test]
async fn a_dead_letter_names_the_account_it_tells_of() {
    let bench = Bench::started(spec()).await;
    let (handle, batch) = bench.take().await.expect("started");
    let settled = bench
        .store
        .settle_batch(&handle, batch.event, GAVE_UP, false, &[]);
    settled.await.expect("settled");
    let letter = bench.store.keys().dead_letter(batch.event);
    let account: String = bench
        .store
        .connection()
        .hget(letter, "account")
        .await
        .expect("a name");
    assert_eq!(account, bench.spec.integrated_account_id.to_string());
}

#[tokio::test]
async fn watermarks_of_an_account_are_found_by_it() {
    let bench = Bench::running().await;
    let claim = bench.claim_one(Queue::Fetches).await;
    let handle = bench.fetch(&claim, 0);
    bench.commit(&last_page(&handle, 1, false)).await;
    bench.deliver_all().await;
    let jobs = bench.spec.integrated_account_id.to_string();
    let jobs = bench.store.keys().join(&["watermark", &jobs]);
    let jobs: Vec<String> = bench.store.connection().smembers(jobs).await.expect("ids");
    assert_eq!(jobs, [bench.spec.sync_job_id.to_string()]);
}
