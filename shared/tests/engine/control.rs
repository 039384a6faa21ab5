//! What decides whether, when and how long a run goes: mutex keys, its longest duration, retries, deletion; and what is
//! told of it.

use std::time::Duration;

use redis::AsyncCommands;
use serde_json::Value;
use shared::{
    clock::Timestamp,
    ids::RunId,
    model::{
        event,
        run::{ErrorHandling, Retry, RunSpec, RunStatus, WaitingFor},
    },
    queue::task::FetchBody,
    store::{
        PageRequest,
        fetches::{Committed, PageCommit},
        queue::{LEASE, Queue},
        runs::{Created, DeletedRun, Retried, Stopped, snapshot_view},
    },
};

use crate::support::{Bench, GAVE_UP, child, last_page, page, spec};

/// A run that makes no events, so that it ends when it is fetched.
fn quiet(spec: RunSpec) -> RunSpec {
    RunSpec {
        event_types: vec![event::NO_EVENTS.to_owned()],
        ..spec
    }
}

fn with_key(of: &RunSpec, key: &str) -> RunSpec {
    RunSpec {
        id: RunId::generate(),
        mutex_key: Some(key.to_owned()),
        ..quiet(of.clone())
    }
}

/// Accepts another run in the store of `bench`.
async fn also(bench: &Bench, spec: RunSpec) -> (Bench, Created) {
    let made = bench.store.runs().create(&spec).await.expect("an answer");
    let store = bench.store.clone();
    (Bench { store, spec }, made)
}

async fn finish(bench: &Bench) {
    let root = bench.claim_one(Queue::Fetches).await;
    bench
        .commit(&last_page(&bench.fetch(&root, 0), 0, false))
        .await;
    assert_eq!(bench.view().await.status, RunStatus::Completed);
}

async fn stop(bench: &Bench) {
    let stopped = bench
        .store
        .runs()
        .stop(bench.spec.environment_id, bench.spec.id)
        .await;
    assert_eq!(stopped.expect("an answer"), Stopped::Stopped);
}

async fn timeline(bench: &Bench) -> Vec<Value> {
    let page = PageRequest {
        limit: 200,
        after: None,
    };
    let runs = bench.store.runs();
    let page = runs
        .timeline(bench.spec.environment_id, bench.spec.id, &page)
        .await;
    page.expect("an answer").expect("the run").items
}

async fn whats(bench: &Bench) -> Vec<String> {
    let text = |entry: &Value| entry["what"].as_str().expect("a word").to_owned();
    timeline(bench).await.iter().map(text).collect()
}

#[tokio::test]
async fn runs_of_one_key_go_one_after_the_other_in_the_order_in_which_they_came() {
    let first = Bench::with(with_key(&spec(), "a")).await;
    let (second, _) = also(&first, with_key(&first.spec, "a")).await;
    let (third, _) = also(&first, with_key(&first.spec, "a")).await;
    let (other, _) = also(&first, with_key(&first.spec, "b")).await;
    let view = second.view().await;
    assert_eq!(
        (
            view.status,
            view.waiting_for,
            view.waiting_for_sync_job_run_id
        ),
        (
            RunStatus::Created,
            Some(WaitingFor::Mutex),
            Some(first.spec.id)
        )
    );
    first.start().await;
    other.start().await;
    assert_eq!(
        first.claim(Queue::Runs, 10).await,
        [],
        "the others have no task"
    );
    finish(&first).await;
    assert_eq!(second.view().await.waiting_for, None);
    second.start().await;
    assert_eq!(first.claim(Queue::Runs, 10).await, []);
    let root = second.claim(Queue::Fetches, 10).await;
    let own = root
        .iter()
        .find(|claim| claim.id.starts_with(&second.spec.id.to_string()));
    let handle = second.fetch(own.expect("its root"), 0);
    second.commit(&last_page(&handle, 0, false)).await;
    third.start().await;
    assert_eq!(
        whats(&second).await,
        [
            "created",
            "waiting_for_mutex",
            "mutex_free",
            "running",
            "finished"
        ]
    );
}

#[tokio::test]
async fn a_run_whose_holder_fails_or_is_stopped_in_any_state_gets_its_turn() {
    for way in [
        "stopped before it began",
        "stopped",
        "failed",
        "cannot start",
        "crashes and fails",
    ] {
        let first = Bench::with(with_key(&spec(), "a")).await;
        let (second, _) = also(&first, with_key(&first.spec, "a")).await;
        match way {
            "stopped before it began" => {
                stop(&first).await;
                // Its first task is there still, and ends without effect.
                let claim = first.claim(Queue::Runs, 1).await.remove(0);
                assert!(claim.id.starts_with(&first.spec.id.to_string()));
                let finished = first
                    .store
                    .finish_task(Queue::Runs, &claim.id, &claim.token)
                    .await;
                finished.expect("an answer");
            }
            "stopped" => {
                first.start().await;
                stop(&first).await;
            }
            "failed" => {
                first.start().await;
                let root = first.claim_one(Queue::Fetches).await;
                first
                    .fail(&first.fetch(&root, 0), ErrorHandling::FailFast)
                    .await;
            }
            "cannot start" => {
                let claim = first.claim_one(Queue::Runs).await;
                let runs = first.store.runs();
                let failed = runs
                    .fail_start(&claim.id, &claim.token, first.spec.id, "code", "why")
                    .await;
                failed.expect("an answer");
            }
            _ => {
                // Its worker dies with the task; another one takes it over.
                first.claim_one(Queue::Runs).await;
                first.advance(LEASE + Duration::from_secs(1)).await;
                first
                    .store
                    .rescue_expired(Queue::Runs)
                    .await
                    .expect("a pass");
                assert_eq!(
                    second.view().await.waiting_for,
                    Some(WaitingFor::Mutex),
                    "it holds on"
                );
                first.start().await;
                stop(&first).await;
            }
        }
        assert_eq!(second.view().await.waiting_for, None, "{way}");
        second.start().await;
    }
}

#[tokio::test]
async fn a_run_is_active_until_all_it_committed_is_settled() {
    let mut own = with_key(&spec(), "a");
    own.event_types = vec!["sync_job_run:record".to_owned()];
    let first = Bench::with(own).await;
    let (second, _) = also(&first, with_key(&first.spec, "a")).await;
    first.start().await;
    let root = first.claim_one(Queue::Fetches).await;
    first
        .commit(&last_page(&first.fetch(&root, 0), 1, false))
        .await;
    stop(&first).await;
    assert_eq!(
        second.view().await.waiting_for,
        Some(WaitingFor::Mutex),
        "a record is undelivered"
    );
    assert_eq!(first.deliver_all().await, ["0 1-1"]);
    assert_eq!(second.view().await.waiting_for, None);
}

#[tokio::test]
async fn a_stopped_run_waits_no_more_and_the_next_one_is_not_held_up() {
    let first = Bench::with(with_key(&spec(), "a")).await;
    let (second, _) = also(&first, with_key(&first.spec, "a")).await;
    let (third, _) = also(&first, with_key(&first.spec, "a")).await;
    stop(&second).await;
    let view = second.view().await;
    assert_eq!((view.status, view.waiting_for), (RunStatus::Stopped, None));
    assert!(view.finished_at.is_some());
    assert_eq!(third.view().await.waiting_for, Some(WaitingFor::Mutex));
    first.start().await;
    finish(&first).await;
    third.start().await;
}

#[tokio::test]
async fn a_forced_run_starts_at_once_and_others_wait_for_it_too() {
    let first = Bench::with(with_key(&spec(), "a")).await;
    let forced = RunSpec {
        force: true,
        ..with_key(&first.spec, "a")
    };
    let (forced, _) = also(&first, forced).await;
    let (waits, _) = also(&first, with_key(&first.spec, "a")).await;
    first.start().await;
    forced.start().await;
    stop(&first).await;
    assert_eq!(
        waits.view().await.waiting_for_sync_job_run_id,
        Some(forced.spec.id)
    );
    stop(&forced).await;
    waits.start().await;
}

#[tokio::test]
async fn runs_that_wait_for_one_key_are_bounded_and_the_refused_one_leaves_nothing() {
    const WAITING: usize = 100;
    let first = Bench::with(with_key(&spec(), "a")).await;
    for _ in 0..WAITING {
        assert_eq!(
            also(&first, with_key(&first.spec, "a")).await.1,
            Created::Created
        );
    }
    let (refused, made) = also(&first, with_key(&first.spec, "a")).await;
    assert_eq!(made, Created::Full(first.spec.id));
    let runs = first.store.runs();
    let gone = runs.get(first.spec.environment_id, refused.spec.id).await;
    assert!(gone.expect("an answer").is_none());
    let (_, made) = also(&first, with_key(&first.spec, "b")).await;
    assert_eq!(made, Created::Created);
}

#[tokio::test]
async fn a_run_that_lasts_too_long_fails_once_and_delivers_what_it_has() {
    let mut own = spec();
    own.options.max_duration_minutes = Some(10);
    let bench = Bench::running_with(own).await;
    let root = bench.claim_one(Queue::Fetches).await;
    let handle = bench.fetch(&root, 0);
    bench.commit(&page(&handle, 0, 2)).await;
    let overdue = async || bench.store.runs().fail_overdue(10).await.expect("a pass");
    bench.advance(Duration::from_mins(9)).await;
    assert_eq!(overdue().await, Vec::<String>::new());
    bench.advance(Duration::from_mins(2)).await;
    assert_eq!(overdue().await, [bench.spec.id.to_string()]);
    assert_eq!(overdue().await, Vec::<String>::new());
    assert_eq!(
        bench.commit(&page(&handle, 1, 2)).await,
        Committed::RunEnded
    );
    assert_eq!(bench.deliver_all().await, ["0 1-2", "sync_job_run:failed"]);
    let view = bench.view().await;
    assert_eq!(view.error.expect("an error").code, "max_duration_exceeded");
    assert_eq!(bench.leftovers().await, Vec::<String>::new());
}

#[tokio::test]
async fn the_time_that_a_run_waits_for_others_does_not_count_and_a_run_that_ends_in_time_is_left_alone()
 {
    let first = Bench::with(with_key(&spec(), "a")).await;
    let mut limited = with_key(&first.spec, "a");
    limited.options.max_duration_minutes = Some(1);
    let (second, _) = also(&first, limited).await;
    first.advance(Duration::from_mins(5)).await;
    let overdue = async || first.store.runs().fail_overdue(10).await.expect("a pass");
    assert_eq!(overdue().await, Vec::<String>::new());
    first.start().await;
    finish(&first).await;
    second.start().await;
    finish(&second).await;
    first.advance(Duration::from_mins(5)).await;
    assert_eq!(overdue().await, Vec::<String>::new());
    assert_eq!(second.view().await.status, RunStatus::Completed);
}

/// A retry of the run of `bench`.
fn retry_of(bench: &Bench, previous: &[(&str, i64)]) -> RunSpec {
    let previous = previous
        .iter()
        .map(|(name, ms)| ((*name).to_owned(), Timestamp(*ms)));
    RunSpec {
        id: RunId::generate(),
        retry_of: Some(bench.spec.id),
        retry: Some(Retry {
            previous: previous.collect(),
            watermark: Timestamp(1_000),
            undelivered: Vec::new(),
        }),
        ..bench.spec.clone()
    }
}

/// Orders of which the lines of the second failed; ended and told.
async fn with_a_failed_child() -> Bench {
    let bench = Bench::running().await;
    let root = bench.claim_one(Queue::Fetches).await;
    bench
        .commit(&last_page(&bench.fetch(&root, 0), 2, true))
        .await;
    let children = bench.claim(Queue::Fetches, 10).await;
    bench
        .commit(&last_page(&bench.fetch(&children[0], 1), 1, false))
        .await;
    bench
        .fail(&bench.fetch(&children[1], 1), ErrorHandling::Ignore)
        .await;
    bench.deliver_all().await;
    bench
}

#[tokio::test]
async fn the_fetches_that_a_retry_begins_with_are_its_first_ones() {
    let bench = with_a_failed_child().await;
    let retry = retry_of(&bench, &[]);
    let accepted = bench.store.runs().retry(&retry, bench.spec.id).await;
    accepted.expect("accepted");
    let retry = Bench {
        store: bench.store.clone(),
        spec: retry,
    };
    retry.start_with(Vec::new()).await;
    let first = retry.claim_one(Queue::Fetches).await;
    let mut spec = spec();
    spec.integrated_account_id = bench.spec.integrated_account_id;
    spec.environment_id = bench.spec.environment_id;
    bench.store.runs().create(&spec).await.expect("accepted");
    let other = Bench {
        store: bench.store.clone(),
        spec,
    };
    other
        .start_with(vec![(0, FetchBody::default().to_json()); 2])
        .await;
    let handle = retry.fetch(&first, 1);
    let level_below = PageCommit {
        children: vec![child(1)],
        ..last_page(&handle, 1, false)
    };
    retry.commit(&level_below).await;
    let claimed = retry.claim(Queue::Fetches, 8).await;
    let ids: Vec<_> = claimed.into_iter().map(|claim| claim.id).collect();
    let expected = [
        format!("{}.1", other.spec.id),
        format!("{}.2", other.spec.id),
        format!("{}.2", retry.spec.id),
    ];
    assert_eq!(ids, expected, "its children go to the end");
}

#[tokio::test]
async fn a_retry_fetches_what_failed_and_nothing_else() {
    let bench = with_a_failed_child().await;
    let retry = retry_of(&bench, &[]);
    let retried = bench
        .store
        .runs()
        .retry(&retry, bench.spec.id)
        .await
        .expect("an answer");
    assert_eq!(retried, Retried::Accepted(Created::Created));
    let again = bench
        .store
        .runs()
        .retry(&retry, bench.spec.id)
        .await
        .expect("an answer");
    assert_eq!(again, Retried::Accepted(Created::Existed));
    let retry = Bench {
        store: bench.store.clone(),
        spec: retry,
    };
    retry.start_with(Vec::new()).await;
    let mut fetches = retry.claim(Queue::Fetches, 10).await;
    assert_eq!(fetches.len(), 1);
    let fetch = fetches.remove(0);
    assert_eq!(
        fetch.body, "fetch.1 1 0 {}",
        "the lines, which wait for no order"
    );
    assert_eq!(retry.view().await.progress[1].open_tasks, 1);
    retry
        .commit(&last_page(&retry.fetch(&fetch, 1), 3, false))
        .await;
    assert_eq!(
        retry.deliver_all().await,
        [
            "sync_job_run:created",
            "sync_job_run:started",
            "1 1-3",
            "sync_job_run:completed"
        ]
    );
    assert_eq!(retry.view().await.retry_of, Some(bench.spec.id));
    assert_eq!(retry.leftovers_but(&bench.spec).await, Vec::<String>::new());
}

#[tokio::test]
async fn a_retry_that_goes_well_moves_the_watermark_to_the_start_of_the_run_it_mends() {
    for (fails, undelivered, expected) in [
        (false, vec![], Some(Timestamp(1_000))),
        (true, vec![], None),
        (false, vec![1], None),
    ] {
        let bench = with_a_failed_child().await;
        let mut retry = retry_of(&bench, &[]);
        retry.retry.as_mut().expect("a retry").undelivered = undelivered;
        bench
            .store
            .runs()
            .retry(&retry, bench.spec.id)
            .await
            .expect("an answer");
        let retry = Bench {
            store: bench.store.clone(),
            spec: retry,
        };
        retry.start_with(Vec::new()).await;
        let fetch = retry.claim_one(Queue::Fetches).await;
        let handle = retry.fetch(&fetch, 1);
        if fails {
            retry.fail(&handle, ErrorHandling::Ignore).await;
        } else {
            retry.commit(&last_page(&handle, 1, false)).await;
        }
        retry.deliver_all().await;
        let (account, job) = (bench.spec.integrated_account_id, bench.spec.sync_job_id);
        let watermarks = bench
            .store
            .runs()
            .watermarks(account, job)
            .await
            .expect("watermarks");
        assert_eq!(watermarks.get("lines").copied(), expected);
        assert_eq!(
            watermarks.get("orders").copied(),
            bench.view().await.started_at,
            "that of the orders isn't set back"
        );
    }
}

#[tokio::test]
async fn children_of_a_failed_parent_are_fetched_with_it() {
    let bench = Bench::running().await;
    let root = bench.claim_one(Queue::Fetches).await;
    let handle = bench.fetch(&root, 0);
    bench.commit(&page(&handle, 0, 1)).await;
    bench.fail(&handle, ErrorHandling::FailFast).await;
    bench.deliver_all().await;
    assert_eq!(bench.view().await.status, RunStatus::Failed);
    let retry = retry_of(&bench, &[]);
    let retried = bench
        .store
        .runs()
        .retry(&retry, bench.spec.id)
        .await
        .expect("an answer");
    assert_eq!(
        retried,
        Retried::Accepted(Created::Created),
        "all that is missing failed"
    );
    let retry = Bench {
        store: bench.store.clone(),
        spec: retry,
    };
    retry.start_with(Vec::new()).await;
    let root = retry.claim_one(Queue::Fetches).await;
    retry
        .commit(&last_page(&retry.fetch(&root, 0), 1, true))
        .await;
    let lines = retry.claim_one(Queue::Fetches).await;
    retry
        .commit(&last_page(&retry.fetch(&lines, 1), 1, false))
        .await;
    let sent = retry.deliver_all().await;
    assert_eq!(sent[2..], ["0 1-1", "1 1-1", "sync_job_run:completed"]);
}

#[tokio::test]
async fn a_run_can_be_retried_only_if_what_failed_is_all_that_is_missing() {
    let bench = Bench::running().await;
    let ask = async |bench: &Bench| {
        let retry = retry_of(bench, &[]);
        bench
            .store
            .runs()
            .retry(&retry, bench.spec.id)
            .await
            .expect("an answer")
    };
    assert_eq!(ask(&bench).await, Retried::Active);
    let foreign = RunSpec {
        environment_id: shared::ids::EnvironmentId::generate(),
        ..retry_of(&bench, &[])
    };
    let foreign = bench.store.runs().retry(&foreign, bench.spec.id).await;
    assert_eq!(foreign.expect("an answer"), Retried::NotFound);
    let root = bench.claim_one(Queue::Fetches).await;
    bench
        .commit(&last_page(&bench.fetch(&root, 0), 2, true))
        .await;
    let children = bench.claim(Queue::Fetches, 10).await;
    bench
        .fail(&bench.fetch(&children[0], 1), ErrorHandling::FailFast)
        .await;
    bench.deliver_all().await;
    assert_eq!(
        ask(&bench).await,
        Retried::Unfetched(1),
        "the other lines were never fetched"
    );

    let whole = Bench::running().await;
    let root = whole.claim_one(Queue::Fetches).await;
    whole
        .commit(&last_page(&whole.fetch(&root, 0), 0, false))
        .await;
    whole.deliver_all().await;
    assert_eq!(ask(&whole).await, Retried::Nothing);

    let many = with_a_failed_child().await;
    let key = many.store.keys().run(many.spec.id);
    let _: u64 = many
        .store
        .connection()
        .hincr(key, "failed_dropped", 3)
        .await
        .expect("set");
    assert_eq!(ask(&many).await, Retried::Forgotten(3));
}

#[tokio::test]
async fn a_retry_that_is_stopped_before_it_begins_leaves_nothing_behind() {
    let bench = with_a_failed_child().await;
    let retry = quiet(retry_of(&bench, &[]));
    bench
        .store
        .runs()
        .retry(&retry, bench.spec.id)
        .await
        .expect("an answer");
    let retry = Bench {
        store: bench.store.clone(),
        spec: retry,
    };
    stop(&retry).await;
    let list = retry.store.keys().run(retry.spec.id) + ":retry";
    let seconds: i64 = retry.store.connection().ttl(list).await.expect("a time");
    assert!(seconds > 0, "it expires with the run");
}

#[tokio::test]
async fn a_run_is_stopped_by_its_deletion_while_it_is_active_and_deleted_when_it_was_told_to_its_end()
 {
    let bench = Bench::running().await;
    let (environment, run) = (bench.spec.environment_id, bench.spec.id);
    let delete = async || {
        bench
            .store
            .runs()
            .delete(environment, run)
            .await
            .expect("an answer")
    };
    assert_eq!(delete().await, DeletedRun::Stopped);
    assert_eq!(
        delete().await,
        DeletedRun::Ended,
        "its last event is undelivered"
    );
    assert_eq!(bench.deliver_all().await, ["sync_job_run:stopped"]);
    let foreign = shared::ids::EnvironmentId::generate();
    let foreign = bench.store.runs().delete(foreign, run).await;
    assert_eq!(foreign.expect("an answer"), DeletedRun::NotFound);
    assert_eq!(delete().await, DeletedRun::Deleted);
    assert_eq!(delete().await, DeletedRun::NotFound);
    let runs = bench.store.runs();
    assert!(
        runs.get(environment, run)
            .await
            .expect("an answer")
            .is_none()
    );
    assert_eq!(
        runs.stop(environment, run).await.expect("an answer"),
        Stopped::NotFound
    );
    let page = PageRequest {
        limit: 10,
        after: None,
    };
    assert!(
        runs.errors(environment, run, &page)
            .await
            .expect("an answer")
            .is_none()
    );
    let listed = runs
        .list(
            environment,
            &shared::store::runs::RunFilter::default(),
            &page,
        )
        .await;
    assert!(listed.expect("a page").items.is_empty());
    // However long the webhook is away, its event is told, and then nothing is left.
    let key = bench.store.keys().run(run);
    let seconds: i64 = bench.store.connection().ttl(&key).await.expect("a time");
    assert_eq!(seconds, -1, "it does not expire before");
    assert_eq!(bench.deliver_all().await, ["sync_job_run:deleted"]);
    let left: Vec<String> = bench.store.connection().keys("*").await.expect("keys");
    let left: Vec<_> = left
        .iter()
        .filter(|key| key.contains(&run.to_string()))
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

#[tokio::test]
async fn a_deleted_run_of_which_nothing_is_told_is_gone_at_once() {
    let bench = Bench::with(quiet(spec())).await;
    stop(&bench).await;
    let deleted = bench
        .store
        .runs()
        .delete(bench.spec.environment_id, bench.spec.id)
        .await;
    assert_eq!(deleted.expect("an answer"), DeletedRun::Deleted);
    let exists: bool = bench
        .store
        .connection()
        .exists(bench.store.keys().run(bench.spec.id))
        .await
        .expect("an answer");
    assert!(!exists);
}

#[tokio::test]
async fn events_of_the_run_itself_show_it_as_it_was_then() {
    let bench = Bench::running().await;
    let root = bench.claim_one(Queue::Fetches).await;
    let handle = bench.fetch(&root, 0);
    let wait = Duration::from_secs(5);
    bench
        .store
        .limit_fetch(&handle, wait, 1, "orders")
        .await
        .expect("an answer");
    let limited = bench.view().await;
    bench.advance(Duration::from_secs(6)).await;
    let root = bench.claim_one(Queue::Fetches).await;
    bench
        .commit(&last_page(&bench.fetch(&root, 0), 2, false))
        .await;
    let mut told = Vec::new();
    while let Some((handle, batch)) = bench.take().await {
        if batch.event_type == event::UPDATED {
            let chunk = String::from_utf8(batch.chunks[0].clone()).expect("text");
            let view = snapshot_view(&bench.spec, &chunk).expect("a snapshot");
            told.push((view.status, view.requests));
            assert!(event::run_details(&view).contains_key("progress"));
        }
        bench
            .store
            .settle_batch(
                &handle,
                batch.event,
                shared::store::deliveries::Outcome::delivered(200),
                false,
                &[],
            )
            .await
            .expect("an answer");
    }
    assert_eq!(limited.status, RunStatus::RateLimited);
    assert_eq!(told, [(RunStatus::RateLimited, 1), (RunStatus::Running, 1)]);
    assert_eq!(
        whats(&bench).await,
        ["created", "running", "rate_limited", "running", "finished"]
    );
    let entries = timeline(&bench).await;
    assert_eq!(entries[2]["resource"], "orders");
    assert!(
        entries[2]["retry_at"]
            .as_str()
            .is_some_and(|at| at.ends_with('Z')),
        "{}",
        entries[2]
    );
    assert_eq!(entries[4]["status"], "completed");
}

#[tokio::test]
async fn a_timeline_is_bounded_and_keeps_its_end() {
    const MOST: usize = 1_000;
    let bench = Bench::running().await;
    let key = bench.store.keys().run_timeline(bench.spec.id);
    let filler = vec!["0 running {}"; MOST];
    let _: u64 = bench
        .store
        .connection()
        .rpush(&key, filler)
        .await
        .expect("filled");
    let root = bench.claim_one(Queue::Fetches).await;
    bench
        .fail(&bench.fetch(&root, 0), ErrorHandling::FailFast)
        .await;
    bench.deliver_all().await;
    let length: usize = bench.store.connection().llen(&key).await.expect("a length");
    assert_eq!(
        length,
        2 + MOST + 2,
        "not the error, but that it failed and finished"
    );
    let last: String = bench
        .store
        .connection()
        .lindex(&key, -1)
        .await
        .expect("the last");
    assert!(last.contains(" finished "), "{last}");
}

#[tokio::test]
async fn the_first_errors_are_in_the_timeline_and_those_after_them_in_the_list_of_errors_only() {
    let bench = Bench::running().await;
    let root = bench.claim_one(Queue::Fetches).await;
    bench
        .commit(&last_page(&bench.fetch(&root, 0), 12, true))
        .await;
    for _ in 0..12 {
        let claim = bench.claim_one(Queue::Fetches).await;
        bench
            .fail(&bench.fetch(&claim, 1), ErrorHandling::Ignore)
            .await;
    }
    let errors = whats(&bench)
        .await
        .into_iter()
        .filter(|what| what == "error");
    assert_eq!(errors.count(), 10);
    let page = PageRequest {
        limit: 50,
        after: None,
    };
    let runs = bench.store.runs();
    let errors = runs
        .errors(bench.spec.environment_id, bench.spec.id, &page)
        .await;
    assert_eq!(errors.expect("an answer").expect("the run").items.len(), 12);
}

#[tokio::test]
async fn a_watermark_that_is_set_stays_unless_a_run_brings_a_later_one() {
    let bench = Bench::running().await;
    let (account, job) = (bench.spec.integrated_account_id, bench.spec.sync_job_id);
    let runs = bench.store.runs();
    let old = Timestamp(5);
    let set = [
        ("orders".to_owned(), Some(old)),
        ("lines".to_owned(), Some(old)),
    ];
    runs.set_watermarks(account, job, &set).await.expect("set");
    runs.set_watermarks(account, job, &[("lines".to_owned(), None)])
        .await
        .expect("removed");
    let watermarks = runs.watermarks(account, job).await.expect("watermarks");
    assert_eq!(
        (watermarks.get("orders"), watermarks.get("lines")),
        (Some(&old), None)
    );
    let root = bench.claim_one(Queue::Fetches).await;
    bench
        .commit(&last_page(&bench.fetch(&root, 0), 0, false))
        .await;
    bench.deliver_all().await;
    let watermarks = runs.watermarks(account, job).await.expect("watermarks");
    assert_eq!(
        watermarks.get("orders").copied(),
        bench.view().await.started_at
    );
}

#[tokio::test]
async fn a_dead_created_event_does_not_keep_a_run_from_starting() {
    let own = spec();
    let bench = Bench {
        store: shared::testing::redis::store(),
        spec: own,
    };
    bench
        .store
        .runs()
        .create(&bench.spec)
        .await
        .expect("accepted");
    let (handle, batch) = bench.take().await.expect("created");
    assert_eq!(batch.event_type, event::CREATED);
    bench
        .store
        .settle_batch(&handle, batch.event, GAVE_UP, true, &[])
        .await
        .expect("an answer");
    bench.start().await;
    assert_eq!(bench.deliver_all().await, ["sync_job_run:started"]);
}
