//! From acceptance to the terminal event.

use redis::AsyncCommands;
use shared::{
    model::run::{ErrorHandling, RunStatus},
    store::{
        PageRequest,
        fetches::{Committed, FetchStep, PageCommit},
        queue::Queue,
        runs::{Created, Stopped},
    },
};

use crate::support::{Bench, child, last_page, page, spec};

#[tokio::test]
async fn a_run_is_accepted_once_however_often_it_is_asked_for() {
    let bench = Bench::new().await;
    assert_eq!(
        bench
            .store
            .runs()
            .create(&bench.spec)
            .await
            .expect("an answer"),
        Created::Existed
    );
    assert_eq!(bench.claim(Queue::Runs, 10).await.len(), 1);
}

#[tokio::test]
async fn a_run_with_parents_and_children_completes_and_leaves_nothing_behind() {
    let bench = Bench::running().await;
    let root = bench.claim_one(Queue::Fetches).await;
    let handle = bench.fetch(&root, 0);
    assert_eq!(
        bench.commit(&last_page(&handle, 2, true)).await,
        Committed::Done { over: false }
    );
    for claim in bench.claim(Queue::Fetches, 10).await {
        let handle = bench.fetch(&claim, 1);
        bench.commit(&last_page(&handle, 3, false)).await;
    }
    let sent = bench.deliver_all().await;
    assert_eq!(sent, ["0 1-2", "1 1-6", "sync_job_run:completed"]);
    let view = bench.view().await;
    assert_eq!(view.status, RunStatus::Completed);
    assert_eq!(
        (view.records_fetched, view.records_delivered, view.errors),
        (8, 8, 0)
    );
    assert_eq!(bench.leftovers().await, Vec::<String>::new());
}

#[tokio::test]
async fn a_run_without_records_completes() {
    let bench = Bench::started(spec()).await;
    let root = bench.claim_one(Queue::Fetches).await;
    bench
        .commit(&last_page(&bench.fetch(&root, 0), 0, false))
        .await;
    assert_eq!(
        bench.deliver_all().await,
        ["sync_job_run:started", "sync_job_run:completed"]
    );
    assert_eq!(bench.leftovers().await, Vec::<String>::new());
}

#[tokio::test]
async fn a_webhook_that_wants_no_events_gets_none_and_the_run_completes() {
    let mut spec = spec();
    spec.event_types = vec!["webhook:disabled".to_owned()];
    let bench = Bench::started(spec).await;
    let root = bench.claim_one(Queue::Fetches).await;
    bench
        .commit(&last_page(&bench.fetch(&root, 0), 2, false))
        .await;
    assert_eq!(bench.deliver_all().await, Vec::<String>::new());
    let view = bench.view().await;
    assert_eq!(
        (view.status, view.records_fetched),
        (RunStatus::Completed, 2)
    );
    assert_eq!(bench.leftovers().await, Vec::<String>::new());
}

#[tokio::test]
async fn under_ignore_a_failed_fetch_is_told_and_the_run_goes_on() {
    let bench = Bench::running().await;
    let root = bench.claim_one(Queue::Fetches).await;
    bench
        .commit(&last_page(&bench.fetch(&root, 0), 2, true))
        .await;
    let children = bench.claim(Queue::Fetches, 10).await;
    assert_eq!(
        bench
            .fail(&bench.fetch(&children[0], 1), ErrorHandling::Ignore)
            .await,
        FetchStep::Done
    );
    bench
        .commit(&last_page(&bench.fetch(&children[1], 1), 1, false))
        .await;
    let sent = bench.deliver_all().await;
    assert_eq!(
        sent,
        [
            "0 1-2",
            "sync_job_run:record_error",
            "1 1-1",
            "sync_job_run:completed"
        ]
    );
    let view = bench.view().await;
    assert_eq!((view.errors, view.progress[1].errors), (1, 1));
    assert_eq!(
        view.progress[1].first_error.as_deref(),
        Some("the source answered 404")
    );
}

#[tokio::test]
async fn under_fail_fast_the_run_fails_at_once_and_what_was_committed_is_delivered() {
    let bench = Bench::running().await;
    let root = bench.claim_one(Queue::Fetches).await;
    bench
        .commit(&last_page(&bench.fetch(&root, 0), 2, true))
        .await;
    let children = bench.claim(Queue::Fetches, 10).await;
    bench
        .fail(&bench.fetch(&children[0], 1), ErrorHandling::FailFast)
        .await;
    assert_eq!(bench.view().await.status, RunStatus::Failed);
    assert_eq!(
        bench
            .commit(&last_page(&bench.fetch(&children[1], 1), 1, false))
            .await,
        Committed::RunEnded
    );
    assert_eq!(
        bench.deliver_all().await,
        ["0 1-2", "sync_job_run:record_error", "sync_job_run:failed"]
    );
    assert_eq!(
        bench.view().await.error.expect("an error").code,
        "http_error"
    );
    assert_eq!(bench.leftovers().await, Vec::<String>::new());
}

#[tokio::test]
async fn a_stopped_run_fetches_nothing_more_and_delivers_what_it_has() {
    let bench = Bench::running().await;
    let root = bench.claim_one(Queue::Fetches).await;
    bench
        .commit(&last_page(&bench.fetch(&root, 0), 2, true))
        .await;
    let (environment, run) = (bench.spec.environment_id, bench.spec.id);
    assert_eq!(
        bench
            .store
            .runs()
            .stop(environment, run)
            .await
            .expect("an answer"),
        Stopped::Stopped
    );
    assert_eq!(
        bench
            .store
            .runs()
            .stop(environment, run)
            .await
            .expect("an answer"),
        Stopped::Ended
    );
    assert_eq!(bench.claim(Queue::Fetches, 10).await, []);
    assert_eq!(bench.deliver_all().await, ["0 1-2", "sync_job_run:stopped"]);
    assert_eq!(bench.leftovers().await, Vec::<String>::new());
}

#[tokio::test]
async fn a_run_stopped_before_it_began_ends_with_one_event() {
    let bench = Bench::new().await;
    bench
        .store
        .runs()
        .stop(bench.spec.environment_id, bench.spec.id)
        .await
        .expect("an answer");
    assert_eq!(bench.deliver_all().await, ["sync_job_run:stopped"]);
    assert_eq!(bench.view().await.status, RunStatus::Stopped);
}

#[tokio::test]
async fn another_environment_can_neither_see_nor_stop_a_run() {
    let bench = Bench::running().await;
    let (foreign, run) = (shared::ids::EnvironmentId::generate(), bench.spec.id);
    assert!(
        bench
            .store
            .runs()
            .get(foreign, run)
            .await
            .expect("an answer")
            .is_none()
    );
    assert_eq!(
        bench
            .store
            .runs()
            .stop(foreign, run)
            .await
            .expect("an answer"),
        Stopped::NotFound
    );
}

#[tokio::test]
async fn the_watermark_advances_for_resources_that_came_whole() {
    let bench = Bench::running().await;
    let root = bench.claim_one(Queue::Fetches).await;
    bench
        .commit(&last_page(&bench.fetch(&root, 0), 1, true))
        .await;
    let child = bench.claim_one(Queue::Fetches).await;
    bench
        .fail(&bench.fetch(&child, 1), ErrorHandling::Ignore)
        .await;
    bench.deliver_all().await;
    let (account, job) = (bench.spec.integrated_account_id, bench.spec.sync_job_id);
    let watermarks = bench
        .store
        .runs()
        .watermarks(account, job)
        .await
        .expect("watermarks");
    assert_eq!(
        watermarks.get("orders").copied(),
        bench.view().await.started_at
    );
    assert_eq!(watermarks.get("lines"), None);
}

#[tokio::test]
async fn the_watermark_of_a_child_waits_for_parents_that_were_not_fetched() {
    let bench = Bench::running().await;
    let root = bench.claim_one(Queue::Fetches).await;
    let handle = bench.fetch(&root, 0);
    bench
        .commit(&PageCommit {
            children: vec![child(1)],
            ..page(&handle, 0, 1)
        })
        .await;
    let lines = bench.claim_one(Queue::Fetches).await;
    bench
        .commit(&last_page(&bench.fetch(&lines, 1), 1, false))
        .await;
    bench.fail(&handle, ErrorHandling::Ignore).await;
    bench.deliver_all().await;
    assert_eq!(bench.view().await.status, RunStatus::Completed);
    let (account, job) = (bench.spec.integrated_account_id, bench.spec.sync_job_id);
    let watermarks = bench.store.runs().watermarks(account, job).await;
    assert_eq!(
        watermarks.expect("watermarks").get("lines"),
        None,
        "lines of the orders that were not fetched are still to come"
    );
}

#[tokio::test]
async fn a_page_of_events_goes_on_where_the_last_one_ended_though_the_oldest_made_room() {
    let bench = Bench::running().await;
    let root = bench.claim_one(Queue::Fetches).await;
    bench
        .commit(&last_page(&bench.fetch(&root, 0), 1, false))
        .await;
    bench.deliver_all().await;
    let (store, run) = (&bench.store, bench.spec.id);
    let events = async |after: Option<String>| {
        let page = PageRequest { limit: 1, after };
        let runs = store.runs();
        let events = runs.events(bench.spec.environment_id, run, &page).await;
        events.expect("an answer").expect("the run")
    };
    let created = events(None).await;
    assert_eq!(created.items[0]["event"], "sync_job_run:created");
    let first = events(created.next).await;
    assert_eq!(first.items[0]["event"], "sync_job_run:started");
    let mut connection = store.connection();
    let _: String = connection
        .lpop(store.keys().run_events(run), None)
        .await
        .expect("the oldest");
    let _: u64 = connection
        .hincr(store.keys().run(run), "events_dropped", 1)
        .await
        .expect("counted");
    let second = events(first.next).await;
    assert_eq!(second.items[0]["event"], "sync_job_run:record");
    let third = events(second.next).await;
    assert_eq!(third.items[0]["event"], "sync_job_run:completed");
    assert_eq!(third.next, None);
}
