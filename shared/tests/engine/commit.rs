//! The atomic step of a fetch.

use std::time::Duration;

use redis::AsyncCommands;
use shared::{
    ids::EnvironmentId,
    model::{
        run::{ErrorHandling, RunSpec, RunStatus},
        token::EnvironmentLimits,
    },
    store::{
        PageRequest,
        fetches::{Child, Chunk, Committed, FetchHandle, FetchStep, PageCommit, Retried},
        queue::{Claim, LEASE, Queue},
        runs::Stopped,
    },
};

use crate::support::{Bench, child, chunk, last_page, page, spec};

#[tokio::test]
async fn a_commit_that_is_repeated_changes_state_once() {
    let bench = Bench::running().await;
    let claim = bench.claim_one(Queue::Fetches).await;
    let handle = bench.fetch(&claim, 0);
    assert_eq!(
        bench.commit(&page(&handle, 0, 2)).await,
        Committed::Done { over: false }
    );
    assert_eq!(
        bench.commit(&page(&handle, 0, 2)).await,
        Committed::Done { over: false }
    );
    assert_eq!(
        bench.commit(&page(&handle, 1, 3)).await,
        Committed::Done { over: false }
    );
    assert_eq!(bench.view().await.records_fetched, 5);
    assert_eq!(bench.deliver_all().await, ["0 1-5"]);
}

#[tokio::test]
async fn a_commit_under_a_lost_lease_changes_nothing() {
    let bench = Bench::running().await;
    let old = bench.claim_one(Queue::Fetches).await;
    bench.advance(LEASE + Duration::from_secs(1)).await;
    assert_eq!(
        bench
            .store
            .rescue_expired(Queue::Fetches)
            .await
            .expect("a pass"),
        std::slice::from_ref(&old.id)
    );
    let new = bench.claim_one(Queue::Fetches).await;
    assert_eq!((new.id.as_str(), new.rescues), (old.id.as_str(), 1));
    assert_eq!(
        bench
            .commit(&last_page(&bench.fetch(&old, 0), 2, true))
            .await,
        Committed::Stale
    );
    assert_eq!(bench.view().await.records_fetched, 0);
    assert_eq!(
        bench
            .commit(&last_page(&bench.fetch(&new, 0), 2, false))
            .await,
        Committed::Done { over: false }
    );
    assert_eq!(
        bench
            .commit(&last_page(&bench.fetch(&new, 0), 2, false))
            .await,
        Committed::Stale
    );
    assert_eq!(bench.view().await.records_fetched, 2);
}

#[tokio::test]
async fn a_rescued_fetch_goes_on_from_its_checkpoint() {
    let bench = Bench::running().await;
    let claim = bench.claim_one(Queue::Fetches).await;
    let handle = bench.fetch(&claim, 0);
    let commit = PageCommit {
        body: r#"fetch.1 0 0 {"skip":7}"#.to_owned(),
        ..page(&handle, 0, 2)
    };
    bench.commit(&commit).await;
    bench.advance(LEASE + Duration::from_secs(1)).await;
    bench
        .store
        .rescue_expired(Queue::Fetches)
        .await
        .expect("a pass");
    assert_eq!(
        bench.claim_one(Queue::Fetches).await.body,
        r#"fetch.1 0 0 {"skip":7}"#
    );
}

#[tokio::test]
async fn a_retry_waits_for_its_time_and_counts_an_attempt() {
    let bench = Bench::running().await;
    let claim = bench.claim_one(Queue::Fetches).await;
    let delay = Duration::from_mins(1);
    let step = bench
        .store
        .retry_fetch(&bench.fetch(&claim, 0), delay, 1, true)
        .await
        .expect("an answer");
    assert_eq!(step, Retried::Step(FetchStep::Done, None));
    assert_eq!(bench.claim(Queue::Fetches, 1).await, []);
    bench.advance(delay).await;
    assert_eq!(bench.claim_one(Queue::Fetches).await.attempt, 1);
    assert_eq!(bench.view().await.requests, 1);
}

/// A run with so many children to fetch.
async fn with_children(count: u32) -> Bench {
    let bench = Bench::running().await;
    let root = bench.claim_one(Queue::Fetches).await;
    let handle = bench.fetch(&root, 0);
    bench.commit(&last_page(&handle, count, true)).await;
    bench
}

/// The source failed, once more.
async fn retry_at_once(bench: &Bench, claim: &Claim) -> Retried {
    let handle = bench.fetch(claim, 1);
    let retried = bench.store.retry_fetch(&handle, Duration::ZERO, 1, true);
    retried.await.expect("an answer")
}

/// Fails all fetches that may be claimed, once.
async fn fail_all(bench: &Bench) -> (usize, Option<Duration>) {
    let claims = bench.claim(Queue::Fetches, 16).await;
    let mut begun = None;
    for claim in &claims {
        let Retried::Step(FetchStep::Done, pause) = retry_at_once(bench, claim).await else {
            panic!("{} is given up", claim.id);
        };
        begun = begun.or(pause);
    }
    (claims.len(), begun)
}

#[tokio::test]
async fn a_source_that_goes_on_failing_is_left_alone_and_uses_no_attempt_up() {
    const SECOND: Duration = Duration::from_secs(1);
    let bench = with_children(40).await;
    assert_eq!(fail_all(&bench).await, (16, None));
    assert_eq!(fail_all(&bench).await, (16, Some(2 * SECOND)));
    assert_eq!(fail_all(&bench).await, (0, None), "it is left alone");
    for pause in [4, 8, 16, 32, 60, 60] {
        bench.advance(60 * SECOND).await;
        assert_eq!(fail_all(&bench).await, (16, Some(pause * SECOND)));
    }
    bench.advance(60 * SECOND).await;
    let claims = bench.claim(Queue::Fetches, 16).await;
    assert!(claims.iter().all(|claim| claim.attempt <= 2), "{claims:?}");
    let (environment, run) = (bench.spec.environment_id, bench.spec.id);
    let all = PageRequest {
        after: None,
        limit: 100,
    };
    let noted = bench.store.runs().timeline(environment, run, &all).await;
    let noted = noted.expect("an answer").expect("a timeline").items;
    let paused = noted.iter().filter(|entry| entry["what"] == "source_fails");
    assert_eq!(paused.count(), 7);

    // One answer, and the next failures count as ever.
    bench
        .commit(&last_page(&bench.fetch(&claims[0], 1), 0, false))
        .await;
    assert_eq!(
        retry_at_once(&bench, &claims[1]).await,
        Retried::Step(FetchStep::Done, None)
    );
    let again = bench.claim_one(Queue::Fetches).await;
    assert_eq!(again.attempt, claims[1].attempt + 1);
}

#[tokio::test]
async fn attempts_count_again_when_a_source_is_gone_for_long() {
    let bench = with_children(40).await;
    fail_all(&bench).await;
    let (_, pause) = fail_all(&bench).await;
    assert!(pause.is_some());
    bench.advance(Duration::from_mins(31)).await;
    let before = bench.claim_one(Queue::Fetches).await;
    assert_eq!(
        retry_at_once(&bench, &before).await,
        Retried::Step(FetchStep::Done, None)
    );
    let again = bench.claim_one(Queue::Fetches).await;
    assert_eq!((again.id, again.attempt), (before.id, before.attempt + 1));
}

#[tokio::test]
async fn a_fetch_has_five_attempts_unless_its_source_is_left_alone() {
    for is_left_alone in [false, true] {
        let bench = with_children(5).await;
        let at_once = if is_left_alone { 5 } else { 1 };
        for _ in 0..4 {
            for claim in bench.claim(Queue::Fetches, at_once).await {
                let retried = retry_at_once(&bench, &claim).await;
                assert!(matches!(retried, Retried::Step(FetchStep::Done, _)));
            }
        }
        // Past the pause that the last of twenty failures began.
        bench.advance(Duration::from_secs(3)).await;
        let last = bench.claim(Queue::Fetches, at_once).await;
        assert_eq!(last.len(), at_once);
        assert_eq!(last.iter().map(|claim| claim.attempt).max(), Some(4));
        for claim in &last {
            let used_up = retry_at_once(&bench, claim).await == Retried::UsedUp;
            assert_eq!(used_up, !is_left_alone, "{claim:?}");
        }
    }
}

#[tokio::test]
async fn any_answer_of_a_source_ends_its_failures() {
    let bench = with_children(40).await;
    assert_eq!(fail_all(&bench).await, (16, None));
    let claim = bench.claim_one(Queue::Fetches).await;
    // A 404, say.
    bench
        .fail(&bench.fetch(&claim, 1), ErrorHandling::Ignore)
        .await;
    assert_eq!(fail_all(&bench).await, (16, None));
}

#[tokio::test]
async fn a_request_that_was_answered_forgets_the_leases_lost_before() {
    let bench = Bench::running().await;
    for retry in [true, false] {
        bench.claim_one(Queue::Fetches).await;
        bench.advance(LEASE + Duration::from_secs(1)).await;
        let rescued = bench.store.rescue_expired(Queue::Fetches).await;
        assert_eq!(rescued.expect("a pass").len(), 1);
        let claim = bench.claim_one(Queue::Fetches).await;
        let (handle, wait) = (bench.fetch(&claim, 0), Duration::from_secs(9));
        if retry {
            let retried = bench.store.retry_fetch(&handle, wait, 1, true).await;
            retried.expect("an answer");
        } else {
            let limited = bench.store.limit_fetch(&handle, wait, 1, "orders").await;
            limited.expect("an answer");
        }
        bench.advance(wait).await;
        let claim = bench.claim_one(Queue::Fetches).await;
        assert_eq!(claim.rescues, 0);
        let queue = Queue::Fetches;
        let back = bench.store.hand_back(queue, &claim.id, &claim.token).await;
        back.expect("handed back");
    }
}

#[tokio::test]
async fn a_rate_limit_blocks_the_lane_and_shows_in_the_run_until_it_is_free() {
    let bench = Bench::running().await;
    let claim = bench.claim_one(Queue::Fetches).await;
    let wait = Duration::from_secs(30);
    bench
        .store
        .limit_fetch(&bench.fetch(&claim, 0), wait, 1, "orders")
        .await
        .expect("an answer");
    assert_eq!(bench.view().await.status, RunStatus::RateLimited);
    assert_eq!(bench.claim(Queue::Fetches, 1).await, []);
    let told = ["sync_job_run:rate_limited", "sync_job_run:updated"];
    assert_eq!(bench.deliver_all().await, told);
    bench.advance(wait).await;
    let claim = bench.claim_one(Queue::Fetches).await;
    assert_eq!(claim.attempt, 0, "waiting uses up no attempt");
    bench
        .commit(&last_page(&bench.fetch(&claim, 0), 1, false))
        .await;
    bench.deliver_all().await;
    let view = bench.view().await;
    assert_eq!(
        (view.status, view.rate_limited_ms),
        (RunStatus::Completed, 30_000)
    );
}

#[tokio::test]
async fn answers_under_way_when_a_rate_limit_comes_do_not_end_it() {
    let bench = Bench::running().await;
    let root = bench.claim_one(Queue::Fetches).await;
    bench
        .commit(&last_page(&bench.fetch(&root, 0), 4, true))
        .await;
    let claims = bench.claim(Queue::Fetches, 3).await;
    let wait = Duration::from_hours(1);
    for (claim, limited) in claims.iter().zip([true, false, true]) {
        let handle = bench.fetch(claim, 1);
        if limited {
            let step = bench.store.limit_fetch(&handle, wait, 1, "lines").await;
            step.expect("an answer");
        } else {
            bench.commit(&last_page(&handle, 0, false)).await;
        }
        assert_eq!(bench.view().await.status, RunStatus::RateLimited);
    }
    let sent = bench.deliver_all().await;
    let told = sent.iter().filter(|event| event.ends_with("rate_limited"));
    assert_eq!(told.count(), 1, "one wait is told once: {sent:?}");
    bench.advance(wait).await;
    let claim = bench.claim_one(Queue::Fetches).await;
    bench
        .commit(&last_page(&bench.fetch(&claim, 1), 0, false))
        .await;
    assert_eq!(bench.view().await.status, RunStatus::Running);
}

#[tokio::test]
async fn a_fetch_parks_while_its_stream_is_over_the_mark_and_goes_on_below_it() {
    const MARK: usize = 16 * 1024 * 1024;
    let bench = Bench::running().await;
    let claim = bench.claim_one(Queue::Fetches).await;
    let handle = bench.fetch(&claim, 0);
    let mut big = chunk(1, "");
    big.bytes = vec![b'1'; MARK + 1].into();
    let commit = PageCommit {
        chunks: vec![big],
        ..page(&handle, 0, 1)
    };
    assert_eq!(bench.commit(&commit).await, Committed::Parked);
    assert_eq!(bench.claim(Queue::Fetches, 1).await, []);
    assert_eq!(bench.deliver_all().await, ["0 1-1"]);
    let claim = bench.claim_one(Queue::Fetches).await;
    assert_eq!(claim.id, handle.task);
    bench
        .commit(&last_page(&bench.fetch(&claim, 0), 0, false))
        .await;
    assert_eq!(bench.deliver_all().await, ["sync_job_run:completed"]);
    assert_eq!(bench.leftovers().await, Vec::<String>::new());
}

/// As [`page`], with so many children.
fn parents(handle: &FetchHandle, step: u32, records: u32) -> PageCommit<'_> {
    PageCommit {
        children: (1..=u64::from(records)).map(child).collect(),
        ..page(handle, step, records)
    }
}

/// A chunk of that size.
fn mebibytes(size: usize, records: u32) -> Chunk {
    Chunk {
        records,
        bytes: vec![b'x'; size * 1024 * 1024].into(),
    }
}

async fn mark_full(bench: &Bench) {
    let key = bench.store.keys().join(&["full"]);
    let _: () = bench.store.connection().set(key, 1).await.expect("set");
}

#[tokio::test]
async fn a_fetch_lets_its_children_go_first_when_many_of_them_wait() {
    const MANY: u32 = 10_001;
    let bench = Bench::running().await;
    let root = bench.claim_one(Queue::Fetches).await;
    let handle = bench.fetch(&root, 0);
    assert_eq!(
        bench.commit(&parents(&handle, 0, 10)).await,
        Committed::Done { over: false }
    );
    assert_eq!(
        bench.commit(&parents(&handle, 1, MANY)).await,
        Committed::Parked
    );
    let next = bench.claim(Queue::Fetches, 16).await;
    assert!(next.iter().all(|claim| claim.id != root.id));
    assert_eq!(next.len(), 16);
}

/// Numbers of tasks in a run.
fn numbers(claims: &[Claim]) -> Vec<&str> {
    let ids = claims.iter().map(|claim| claim.id.split_once('.'));
    ids.map(|id| id.map_or("", |(_, number)| number)).collect()
}

#[tokio::test]
async fn children_of_children_go_before_all_others_and_those_of_first_tasks_after_them() {
    let bench = Bench::running().await;
    let root = bench.claim_one(Queue::Fetches).await;
    bench.commit(&parents(&bench.fetch(&root, 0), 0, 3)).await;
    let first = bench.claim_one(Queue::Fetches).await;
    assert_eq!(numbers(std::slice::from_ref(&first)), ["2"]);
    // As an element of a loop, or a level of recursion, has them.
    let handle = bench.fetch(&first, 1);
    let level_below = PageCommit {
        children: (1..=2).map(child).collect(),
        ..last_page(&handle, 2, false)
    };
    bench.commit(&level_below).await;
    bench.commit(&parents(&bench.fetch(&root, 0), 1, 1)).await;
    let next = bench.claim(Queue::Fetches, 8).await;
    assert_eq!(numbers(&next), ["5", "6", "3", "4", "7"]);
}

#[tokio::test]
async fn a_run_begins_though_another_one_of_its_account_has_much_to_fetch() {
    let large = Bench::running().await;
    let root = large.claim_one(Queue::Fetches).await;
    large.commit(&parents(&large.fetch(&root, 0), 0, 100)).await;
    let (small, next) = (of_the_same_account(&large), of_the_same_account(&large));
    for run in [&small, &next] {
        let created = large.store.runs().create(&run.spec).await;
        created.expect("accepted");
        run.start().await;
    }
    for first in [&small, &next, &large] {
        let claim = first.claim_one(Queue::Fetches).await;
        assert!(
            claim.id.starts_with(&first.spec.id.to_string()),
            "{claim:?}"
        );
    }
}

#[tokio::test]
async fn the_first_fetches_of_a_run_stay_before_what_others_go_into_more_deeply() {
    let large = Bench::running().await;
    let root = large.claim_one(Queue::Fetches).await;
    large.commit(&parents(&large.fetch(&root, 0), 0, 3)).await;
    let child = large.claim_one(Queue::Fetches).await;
    let (small, next) = (of_the_same_account(&large), of_the_same_account(&large));
    let runs = large.store.runs();
    for run in [&small, &next] {
        runs.create(&run.spec).await.expect("accepted");
    }
    small.start().await;
    let handle = large.fetch(&child, 1);
    let level_below = PageCommit {
        children: (1..=2).map(crate::support::child).collect(),
        ..last_page(&handle, 2, false)
    };
    large.commit(&level_below).await;
    next.start().await;
    let claimed = large.claim(Queue::Fetches, 8).await;
    let of = |bench: &Bench, number: u32| format!("{}.{number}", bench.spec.id);
    let ids: Vec<_> = claimed.into_iter().map(|claim| claim.id).collect();
    let large = [5, 6, 3, 4].map(|number| of(&large, number));
    let expected: Vec<_> = [of(&small, 1), of(&next, 1)]
        .into_iter()
        .chain(large)
        .collect();
    assert_eq!(ids, expected);
}

#[tokio::test]
async fn what_comes_back_to_its_lane_waits_behind_the_first_fetches_of_runs() {
    let large = Bench::running().await;
    let root = large.claim_one(Queue::Fetches).await;
    large.commit(&parents(&large.fetch(&root, 0), 0, 2)).await;
    large.claim_one(Queue::Fetches).await;
    let small = of_the_same_account(&large);
    let created = large.store.runs().create(&small.spec).await;
    created.expect("accepted");
    small.start().await;
    large.advance(LEASE + Duration::from_secs(1)).await;
    let rescued = large.store.rescue_expired(Queue::Fetches).await;
    assert_eq!(rescued.expect("an answer").len(), 2);
    let claimed = large.claim(Queue::Fetches, 8).await;
    let ids: Vec<_> = claimed.into_iter().map(|claim| claim.id).collect();
    let of = |bench: &Bench, number: u32| format!("{}.{number}", bench.spec.id);
    let expected = [of(&large, 1), of(&small, 1), of(&large, 2), of(&large, 3)];
    assert_eq!(ids, expected);
}

/// A run of the same account, not accepted yet.
fn of_the_same_account(other: &Bench) -> Bench {
    let spec = RunSpec {
        integrated_account_id: other.spec.integrated_account_id,
        environment_id: other.spec.environment_id,
        ..spec()
    };
    Bench {
        store: other.store.clone(),
        spec,
    }
}

#[tokio::test]
async fn in_a_full_redis_fetches_wait_only_while_deliveries_can_make_room() {
    let bench = Bench::running().await;
    mark_full(&bench).await;
    let root = bench.claim_one(Queue::Fetches).await;
    let handle = bench.fetch(&root, 0);
    bench.commit(&parents(&handle, 0, 3)).await;
    let big = PageCommit {
        chunks: vec![mebibytes(2, 1)],
        ..page(&handle, 1, 1)
    };
    assert_eq!(bench.commit(&big).await, Committed::Parked);
    assert_eq!(bench.claim(Queue::Fetches, 8).await, []);
    assert_eq!(bench.deliver_all().await, ["0 1-3", "0 4-4"]);
    assert_eq!(bench.claim(Queue::Fetches, 8).await.len(), 4);
}

#[tokio::test]
async fn a_full_redis_forgets_the_tasks_of_runs_that_have_ended() {
    let bench = Bench::running().await;
    let root = bench.claim_one(Queue::Fetches).await;
    let handle = bench.fetch(&root, 0);
    let big = PageCommit {
        chunks: vec![mebibytes(2, 30)],
        ..last_page(&handle, 30, true)
    };
    bench.commit(&big).await;
    mark_full(&bench).await;
    let (runs, store) = (bench.store.runs(), &bench.store);
    let stopped = runs.stop(bench.spec.environment_id, bench.spec.id).await;
    assert_eq!(stopped.expect("an answer"), Stopped::Stopped);
    while store
        .claim(Queue::Fetches, 8, LEASE, "t")
        .await
        .expect("a claim")
        .again
    {}
    let gauges = store.queue_gauges(Queue::Fetches).await.expect("gauges");
    assert_eq!(gauges.ready, 0);
}

#[tokio::test]
async fn in_a_full_redis_one_look_is_at_all_environments_whatever_their_weights() {
    let bench = Bench::running().await;
    let store = &bench.store;
    let limits = EnvironmentLimits {
        weight: 100,
        max_fetches: None,
    };
    let set = store
        .tokens()
        .set_limits(bench.spec.environment_id, limits)
        .await;
    set.expect("set");
    let root = bench.claim_one(Queue::Fetches).await;
    let handle = bench.fetch(&root, 0);
    let big = PageCommit {
        chunks: vec![mebibytes(2, 30)],
        ..parents(&handle, 0, 30)
    };
    bench.commit(&big).await;
    let body = "fetch.1 0 0 {}".to_owned();
    let of_ended_runs: Vec<_> = (0..8)
        .map(|n| (format!("gone.{n}"), body.clone()))
        .collect();
    let (environment, lane) = (EnvironmentId::generate().to_string(), "of_another");
    let pushed = store.push_tasks(Queue::Fetches, &environment, lane, 16, &of_ended_runs);
    pushed.await.expect("pushed");
    mark_full(&bench).await;
    assert_eq!(bench.claim(Queue::Fetches, 64).await, []);
    let ready = store.keys().join(&["fetches", "ready", lane]);
    let left: u64 = store.connection().llen(ready).await.expect("a number");
    assert_eq!(left, 0, "tasks of ended runs are forgotten in each of them");
    bench.deliver_all().await;
    assert_eq!(bench.claim(Queue::Fetches, 64).await.len(), 15);
}

#[tokio::test]
async fn a_fetch_whose_stream_has_room_does_not_wait_behind_one_whose_stream_has_none() {
    let bench = Bench::running().await;
    let root = bench.claim_one(Queue::Fetches).await;
    let handle = bench.fetch(&root, 0);
    let full = PageCommit {
        chunks: vec![mebibytes(17, 600)],
        ..parents(&handle, 0, 600)
    };
    assert_eq!(bench.commit(&full).await, Committed::Parked);
    // Its children feed a stream of their own.
    let children = bench.claim(Queue::Fetches, 4).await;
    assert_eq!(children.len(), 4);
    bench.store.unpark().await.expect("a pass");
    let key = bench.store.keys().join(&["parked"]);
    let waiting: u64 = bench.store.connection().scard(key).await.expect("a count");
    assert_eq!(waiting, 1, "the page waits for its own stream");
    assert_eq!(bench.deliver_all().await, ["0 1-600"]);
    for claim in children {
        bench
            .commit(&last_page(&bench.fetch(&claim, 1), 0, false))
            .await;
    }
    for _ in 0..300 {
        for claim in bench.claim(Queue::Fetches, 8).await {
            if claim.id == root.id {
                return;
            }
            bench
                .commit(&last_page(&bench.fetch(&claim, 1), 0, false))
                .await;
        }
    }
    panic!("the page never came back");
}

#[tokio::test]
async fn a_task_of_the_same_node_waits_for_what_its_maker_waits_for() {
    let bench = Bench::running().await;
    let root = bench.claim_one(Queue::Fetches).await;
    let handle = bench.fetch(&root, 0);
    let mut commit = last_page(&handle, 3, true);
    commit.children.push(Child {
        node: 0,
        ..child(2)
    });
    bench.commit(&commit).await;
    let mut bodies = Vec::new();
    for claim in bench.claim(Queue::Fetches, 8).await {
        bodies.push(claim.body.clone());
        let node = claim.body[8..9].parse().expect("a node");
        let handle = bench.fetch(&claim, node);
        let mut commit = last_page(&handle, 0, false);
        if claim.body == "fetch.1 1 2 {}" {
            // One level more: the gate is the parent's record, not one of this page.
            commit = last_page(&handle, 1, false);
            commit.children.push(child(1));
        }
        bench.commit(&commit).await;
    }
    assert_eq!(
        bodies,
        [
            "fetch.1 1 1 {}",
            "fetch.1 1 2 {}",
            "fetch.1 1 3 {}",
            "fetch.1 0 0 {}"
        ]
    );
    assert_eq!(bench.view().await.progress[1].open_tasks, 1);
    let claim = bench.claim_one(Queue::Fetches).await;
    assert_eq!(claim.body, "fetch.1 1 2 {}");
    bench
        .commit(&last_page(&bench.fetch(&claim, 1), 0, false))
        .await;
    assert_eq!(
        bench.deliver_all().await,
        ["0 1-3", "1 1-1", "sync_job_run:completed"]
    );
}
