//! Lanes, claims, leases: the queue's scripts against a real Redis.

use std::{sync::Arc, time::Duration};

use redis::AsyncCommands;
use shared::{
    ids::EnvironmentId,
    model::token::EnvironmentLimits,
    queue::{ClaimLoop, LeaseKeeper},
    store::{
        Store,
        queue::{Claim, CountsAs, Held, LEASE, Queue},
    },
    testing,
};
use tokio_util::sync::CancellationToken;

const QUEUE: Queue = Queue::Deliveries;

async fn push(store: &Store, lane: &str, limit: u32, ids: &[&str]) {
    push_of(store, "env", lane, limit, ids).await;
}

async fn push_of(store: &Store, environment: &str, lane: &str, limit: u32, ids: &[&str]) {
    let tasks: Vec<_> = ids
        .iter()
        .map(|id| ((*id).to_owned(), format!("body of {id}")))
        .collect();
    store
        .push_tasks(QUEUE, environment, lane, limit, &tasks)
        .await
        .expect("pushed");
}

async fn claim(store: &Store, wanted: usize) -> Vec<Claim> {
    let token = ulid::Ulid::generate().to_string();
    store
        .claim(QUEUE, wanted, LEASE, &token)
        .await
        .expect("a claim")
        .tasks
}

fn ids(claims: &[Claim]) -> Vec<&str> {
    claims.iter().map(|claim| claim.id.as_str()).collect()
}

async fn advance(store: &Store, by: Duration) {
    let ms = i64::try_from(by.as_millis()).expect("a duration");
    let _: i64 = store
        .connection()
        .incr(store.keys().clock_shift(), ms)
        .await
        .expect("shifted");
}

#[tokio::test]
async fn a_task_is_claimed_once_with_its_body() {
    let store = testing::redis::store();
    push(&store, "a", 8, &["1"]).await;
    let claimed = claim(&store, 8).await;
    assert_eq!(ids(&claimed), ["1"]);
    assert_eq!(
        (claimed[0].lane.as_str(), claimed[0].body.as_str()),
        ("a", "body of 1")
    );
    assert_eq!(claim(&store, 8).await, []);
}

#[tokio::test]
async fn lanes_take_turns_however_long_one_of_them_is() {
    let store = testing::redis::store();
    let long: Vec<String> = (0..100).map(|i| format!("long-{i}")).collect();
    push(
        &store,
        "long",
        100,
        &long.iter().map(String::as_str).collect::<Vec<_>>(),
    )
    .await;
    push(&store, "short", 100, &["short-0"]).await;
    let claimed = claim(&store, 10).await;
    assert!(ids(&claimed).contains(&"short-0"), "{:?}", ids(&claimed));
}

#[tokio::test]
async fn an_environment_of_many_accounts_gets_no_more_turns_than_one_of_a_single_account() {
    let store = testing::redis::store();
    for lane in 0..50 {
        let (lane, id) = (format!("many-{lane}"), format!("many-{lane}-task"));
        push_of(&store, "many", &lane, 8, &[&id]).await;
    }
    let single: Vec<String> = (0..10).map(|i| format!("single-{i}")).collect();
    let single: Vec<&str> = single.iter().map(String::as_str).collect();
    // One of its tasks takes a turn at a time.
    push_of(&store, "single", "single", 1, &single).await;
    let mut claims = 0;
    for next in &single {
        let mut ids_of_claim = Vec::new();
        while !ids_of_claim.iter().any(|id: &String| id == next) {
            let claimed = claim(&store, 1).await;
            claims += claimed.len();
            ids_of_claim.extend(claimed.iter().map(|task| task.id.clone()));
            assert!(
                ids_of_claim.len() <= 3,
                "{next} waits behind {ids_of_claim:?}"
            );
            if let Some(done) = claimed.iter().find(|task| task.id == *next) {
                let done = store.finish_task(QUEUE, &done.id, &done.token).await;
                assert_eq!(done.expect("an answer"), Held::Done);
            }
        }
    }
    assert!(claims <= 30, "{claims} tasks were claimed");
}

#[tokio::test]
async fn an_environment_that_comes_and_goes_keeps_no_other_one_from_its_turn() {
    let backlog: Vec<String> = (0..200).map(|i| format!("backlog-{i}")).collect();
    let backlog: Vec<&str> = backlog.iter().map(String::as_str).collect();
    for environment in ["before", "zealous"] {
        let store = testing::redis::store();
        push_of(&store, "steady", "steady", 200, &backlog).await;
        let mut steady = 0;
        for round in 0..20 {
            let id = format!("{environment}-{round}");
            push_of(&store, environment, environment, 200, &[&id]).await;
            for task in claim(&store, 1).await {
                steady += usize::from(task.lane == "steady");
                let done = store.finish_task(QUEUE, &task.id, &task.token).await;
                assert_eq!(done.expect("an answer"), Held::Done);
            }
        }
        assert!(steady >= 9, "{steady} of 20 turns beside {environment}");
    }
}

#[tokio::test]
async fn the_weight_of_an_environment_multiplies_its_turns_and_can_be_changed_under_way() {
    let store = testing::redis::store();
    let (light, heavy) = (EnvironmentId::generate(), EnvironmentId::generate());
    let tasks: Vec<(String, String)> = (0..800)
        .map(|i| (format!("task-{i}"), String::new()))
        .collect();
    for environment in [light, heavy] {
        let environment = environment.to_string();
        let pushed = store.push_tasks(QUEUE, &environment, &environment, 1_000, &tasks);
        pushed.await.expect("pushed");
    }
    let shares = async || {
        let claimed = claim(&store, 160).await;
        let of = |environment: EnvironmentId| {
            let lane = environment.to_string();
            claimed.iter().filter(|task| task.lane == lane).count()
        };
        assert_eq!(of(light) + of(heavy), 160);
        of(heavy)
    };
    // Give or take a turn, of eight tasks.
    assert!((72..=88).contains(&shares().await));
    let tokens = store.tokens();
    let limits = EnvironmentLimits {
        weight: 4,
        ..EnvironmentLimits::default()
    };
    tokens.set_limits(heavy, limits).await.expect("set");
    assert_eq!(tokens.limits(heavy).await.expect("limits"), limits);
    assert!((120..=136).contains(&shares().await));
    let default = EnvironmentLimits::default();
    tokens.set_limits(heavy, default).await.expect("set");
    assert!((72..=88).contains(&shares().await));
}

#[tokio::test]
async fn fetches_of_an_environment_keep_its_limit_and_wait_without_being_looked_at() {
    const FETCHES: Queue = Queue::Fetches;
    let store = testing::redis::store();
    let (limited, other) = (EnvironmentId::generate(), EnvironmentId::generate());
    let tokens = store.tokens();
    let most = |max_fetches| EnvironmentLimits {
        max_fetches,
        ..EnvironmentLimits::default()
    };
    tokens
        .set_limits(limited, most(Some(3)))
        .await
        .expect("set");
    let run = store.keys().join(&["run", "r"]);
    let _: () = store
        .connection()
        .hset_multiple(run, &[("status", "running"), ("webhook", "wh")])
        .await
        .expect("a run");
    for (environment, lanes) in [(limited, ["a", "b"]), (other, ["c", "d"])] {
        for lane in lanes {
            let tasks: Vec<_> = (0..4)
                .map(|i| (format!("r.{lane}{i}"), "fetch.1 0 0 {}".to_owned()))
                .collect();
            let environment = environment.to_string();
            let pushed = store.push_tasks(FETCHES, &environment, lane, 16, &tasks);
            pushed.await.expect("pushed");
        }
    }
    let claim = async || {
        let token = ulid::Ulid::generate().to_string();
        let claimed = store.claim(FETCHES, 50, LEASE, &token).await;
        claimed.expect("a claim").tasks
    };
    let first = claim().await;
    let of_limited = |tasks: &[Claim]| {
        let of = |task: &&Claim| ["a", "b"].contains(&task.lane.as_str());
        tasks.iter().filter(of).cloned().collect::<Vec<_>>()
    };
    assert_eq!((of_limited(&first).len(), first.len()), (3, 3 + 8));
    assert_eq!(claim().await, []);
    let waiting: Vec<String> = store
        .connection()
        .zrange(store.keys().join(&["fetches", "turns"]), 0, -1)
        .await
        .expect("environments");
    assert_eq!(waiting, Vec::<String>::new(), "it takes no turns meanwhile");
    let gauges = store.queue_gauges(FETCHES).await.expect("gauges");
    assert_eq!((gauges.ready, gauges.claimed), (5, 11));
    // One ends: there is room for one.
    let done = &of_limited(&first)[0];
    let finished = store.finish_task(FETCHES, &done.id, &done.token).await;
    assert_eq!(finished.expect("an answer"), Held::Done);
    assert_eq!(claim().await.len(), 1);
    // A higher limit holds at once, none at all too.
    tokens
        .set_limits(limited, most(Some(5)))
        .await
        .expect("set");
    assert_eq!(claim().await.len(), 2);
    tokens.set_limits(limited, most(None)).await.expect("set");
    assert_eq!(claim().await.len(), 2);
    // Leases that are lost give their room back.
    tokens
        .set_limits(limited, most(Some(3)))
        .await
        .expect("set");
    advance(&store, LEASE + Duration::from_millis(1)).await;
    assert_eq!(
        store.rescue_expired(FETCHES).await.expect("a pass").len(),
        15
    );
    assert_eq!(of_limited(&claim().await).len(), 3);
}

#[tokio::test]
async fn what_an_earlier_version_queued_is_claimed_too() {
    let store = testing::redis::store();
    let key = |parts: &[&str]| store.keys().join(&[&[QUEUE.name()], parts].concat());
    let mut connection = store.connection();
    let old = redis::pipe()
        .rpush(key(&["ready", "old"]), &["1 0 0 0 body", "2 0 0 0 body"])
        .hset_multiple(key(&["lane", "old"]), &[("limit", 8), ("in_rotation", 1)])
        .rpush(key(&["rotation"]), "old")
        .hset_multiple(
            key(&["task", "3"]),
            &[
                ("lane", "late"),
                ("limit", "1"),
                ("attempt", "1"),
                ("rescues", "0"),
                ("body", "x"),
            ],
        )
        .zadd(key(&["delayed"]), "3", 0)
        .exec_async(&mut connection)
        .await;
    old.expect("written");
    push(&store, "new", 1, &["4"]).await;
    let claimed = claim(&store, 8).await;
    let mut all = ids(&claimed);
    all.sort_unstable();
    assert_eq!(all, ["1", "2", "3", "4"]);
    for task in &claimed {
        let done = store.finish_task(QUEUE, &task.id, &task.token).await;
        assert_eq!(done.expect("an answer"), Held::Done);
    }
    let pattern = format!("{}*", store.keys().base().replace('{', "\\{"));
    let mut keys: Vec<String> = connection.keys(pattern).await.expect("keys");
    keys.retain(|key| !key.ends_with(":idle"));
    assert_eq!(keys, Vec::<String>::new());
}

#[tokio::test]
async fn a_million_queued_tasks_of_one_account_let_the_next_one_of_another_go_at_once() {
    const CHILDREN: usize = 1_000_000;
    const AT_ONCE: usize = 10_000;
    /// Tasks that a worker has room for at a time.
    const ROOM: usize = 8;
    let store = testing::redis::store();
    for first in (0..CHILDREN).step_by(AT_ONCE) {
        let tasks: Vec<_> = (first..first + AT_ONCE)
            .map(|i| (format!("huge.{i}"), "{}".to_owned()))
            .collect();
        let pushed = store.push_tasks(QUEUE, "huge", "huge", 64, &tasks);
        pushed.await.expect("pushed");
    }
    // Workers are busy with it all the time.
    let mut busy = Vec::new();
    for _ in 0..4 {
        busy.extend(claim(&store, ROOM).await);
    }
    for environment in ["huge", "other"] {
        let id = format!("small-{environment}");
        let lane = format!("lane-{environment}");
        push_of(&store, environment, &lane, 16, &[&id]).await;
        let mut claims = 0;
        while !busy.iter().any(|task| task.lane == lane) {
            for task in busy.drain(..ROOM.min(busy.len())) {
                let done = store.finish_task(QUEUE, &task.id, &task.token).await;
                assert_eq!(done.expect("an answer"), Held::Done);
            }
            busy.extend(claim(&store, ROOM).await);
            claims += 1;
            assert!(claims <= 2, "{id} waits");
        }
    }
}

#[tokio::test]
async fn a_lane_never_runs_more_than_its_limit() {
    let store = testing::redis::store();
    push(&store, "a", 2, &["1", "2", "3"]).await;
    let claimed = claim(&store, 8).await;
    assert_eq!(ids(&claimed), ["1", "2"]);
    assert_eq!(claim(&store, 8).await, []);
    store
        .finish_task(QUEUE, "1", &claimed[0].token)
        .await
        .expect("finished");
    assert_eq!(ids(&claim(&store, 8).await), ["3"]);
}

#[tokio::test]
async fn an_expired_lease_returns_the_task_to_the_front_of_its_lane() {
    let store = testing::redis::store();
    push(&store, "a", 1, &["1", "2"]).await;
    assert_eq!(ids(&claim(&store, 1).await), ["1"]);
    assert_eq!(
        store.rescue_expired(QUEUE).await.expect("a pass"),
        Vec::<String>::new()
    );
    advance(&store, LEASE + Duration::from_millis(1)).await;
    assert_eq!(store.rescue_expired(QUEUE).await.expect("a pass"), ["1"]);
    assert_eq!(
        store.rescue_expired(QUEUE).await.expect("a pass"),
        Vec::<String>::new()
    );
    let claimed = claim(&store, 8).await;
    assert_eq!((ids(&claimed), claimed[0].rescues), (vec!["1"], 1));
}

#[tokio::test]
async fn what_a_claim_took_whose_answer_was_lost_is_claimed_again_at_once() {
    let store = testing::redis::store();
    push(&store, "a", 2, &["1", "2", "3"]).await;
    let others = claim(&store, 1).await;
    assert_eq!(ids(&others), ["1"]);
    let lost = store.claim(QUEUE, 8, LEASE, "mine").await.expect("a claim");
    assert_eq!(ids(&lost.tasks), ["2"]);
    let again = store
        .claim_again(QUEUE, 8, LEASE, "mine")
        .await
        .expect("a claim");
    assert_eq!(
        again.tasks,
        lost.tasks
            .iter()
            .map(|task| Claim {
                ready_since_ms: again.tasks[0].ready_since_ms,
                ..task.clone()
            })
            .collect::<Vec<_>>()
    );
    let none = store
        .claim_again(QUEUE, 8, LEASE, "another")
        .await
        .expect("a claim");
    assert_eq!(none.tasks, []);
}

#[tokio::test]
async fn an_extended_lease_does_not_expire() {
    let store = testing::redis::store();
    push(&store, "a", 1, &["1"]).await;
    let claimed = claim(&store, 1).await;
    advance(&store, LEASE / 2).await;
    let tasks = [
        ("1".to_owned(), claimed[0].token.clone()),
        ("2".to_owned(), "x".to_owned()),
    ];
    assert_eq!(
        store
            .extend_leases(QUEUE, LEASE, &tasks)
            .await
            .expect("extended"),
        ["2"]
    );
    advance(&store, LEASE / 2 + Duration::from_millis(1)).await;
    assert_eq!(
        store.rescue_expired(QUEUE).await.expect("a pass"),
        Vec::<String>::new()
    );
}

#[tokio::test]
async fn a_wrong_token_changes_nothing() {
    let store = testing::redis::store();
    push(&store, "a", 1, &["1"]).await;
    claim(&store, 1).await;
    assert_eq!(
        store
            .finish_task(QUEUE, "1", "wrong")
            .await
            .expect("an answer"),
        Held::Stale
    );
    assert_eq!(
        store
            .hand_back(QUEUE, "1", "wrong")
            .await
            .expect("an answer"),
        Held::Stale
    );
    assert_eq!(
        store
            .retry_task(QUEUE, "1", "wrong", LEASE)
            .await
            .expect("an answer"),
        Held::Stale
    );
    assert_eq!(store.queue_gauges(QUEUE).await.expect("gauges").claimed, 1);
}

#[tokio::test]
async fn a_finished_task_leaves_no_key_behind() {
    let store = testing::redis::store();
    push(&store, "a", 1, &["1"]).await;
    let claimed = claim(&store, 1).await;
    assert_eq!(
        store
            .finish_task(QUEUE, "1", &claimed[0].token)
            .await
            .expect("an answer"),
        Held::Done
    );
    assert_eq!(
        store
            .finish_task(QUEUE, "1", &claimed[0].token)
            .await
            .expect("an answer"),
        Held::Stale
    );
    let pattern = format!("{}*", store.keys().base().replace('{', "\\{"));
    let keys: Vec<String> = store.connection().keys(pattern).await.expect("keys");
    assert_eq!(keys, Vec::<String>::new());
}

#[tokio::test]
async fn a_task_handed_back_is_next_and_counts_nothing() {
    let store = testing::redis::store();
    push(&store, "a", 1, &["1", "2"]).await;
    let claimed = claim(&store, 1).await;
    store
        .hand_back(QUEUE, "1", &claimed[0].token)
        .await
        .expect("handed back");
    let claimed = claim(&store, 1).await;
    assert_eq!(
        (
            claimed[0].id.as_str(),
            claimed[0].attempt,
            claimed[0].rescues
        ),
        ("1", 0, 0)
    );
}

#[tokio::test]
async fn a_retried_task_comes_back_when_it_is_due_and_tells_when_that_is() {
    let store = testing::redis::store();
    push(&store, "a", 1, &["1"]).await;
    let claimed = claim(&store, 1).await;
    store
        .retry_task(QUEUE, "1", &claimed[0].token, Duration::from_secs(10))
        .await
        .expect("delayed");
    let answer = store.claim(QUEUE, 1, LEASE, "t").await.expect("a claim");
    assert_eq!(answer.tasks, []);
    let wait = answer.next_timer.expect("a timer");
    assert!(
        wait <= Duration::from_secs(10) && wait > Duration::from_secs(9),
        "{wait:?}"
    );
    advance(&store, Duration::from_secs(10)).await;
    assert_eq!(claim(&store, 1).await[0].attempt, 1);
}

#[tokio::test]
async fn a_delay_counts_as_an_attempt_a_crash_or_nothing() {
    let store = testing::redis::store();
    push(&store, "a", 1, &["1"]).await;
    for (counts, expected) in [
        (CountsAs::Attempt, (1, 0)),
        (CountsAs::Crash, (1, 1)),
        (CountsAs::Nothing, (1, 1)),
    ] {
        let token = claim(&store, 1).await.remove(0).token;
        let delayed = store.delay_task(QUEUE, "1", &token, LEASE, counts).await;
        assert_eq!(delayed.expect("an answer"), Held::Done);
        advance(&store, LEASE).await;
        let claimed = claim(&store, 1).await.remove(0);
        assert_eq!((claimed.attempt, claimed.rescues), expected, "{counts:?}");
        let back = store.hand_back(QUEUE, "1", &claimed.token).await;
        assert_eq!(back.expect("an answer"), Held::Done);
    }
}

#[tokio::test]
async fn a_stream_that_lingers_again_and_again_goes_behind_those_that_came_meanwhile() {
    let store = testing::redis::store();
    push(&store, "a", 8, &["1"]).await;
    for other in ["2", "3"] {
        let lingering = claim(&store, 1).await.remove(0);
        assert_eq!(lingering.id, "1");
        let (token, counts) = (&lingering.token, CountsAs::Nothing);
        let delayed = store.delay_task(QUEUE, "1", token, LEASE, counts).await;
        assert_eq!(delayed.expect("an answer"), Held::Done);
        push(&store, "a", 8, &[other]).await;
        advance(&store, LEASE).await;
        assert_eq!(ids(&claim(&store, 1).await), [other]);
    }
}

#[tokio::test]
async fn an_idle_worker_is_woken_by_the_next_push() {
    use futures::StreamExt;
    let store = testing::redis::store();
    let mut messages = store.subscribe_wake().await.expect("a subscription");
    assert_eq!(claim(&store, 1).await, []);
    push(&store, "a", 1, &["1"]).await;
    let woken = tokio::time::timeout(Duration::from_secs(10), messages.next())
        .await
        .expect("a message in time");
    assert_eq!(woken.as_deref(), Some("deliveries"));
    // Nobody waits now: a push says nothing, until a claim finds too little again.
    push(&store, "a", 1, &["2"]).await;
    claim(&store, 8).await;
    push(&store, "b", 1, &["3"]).await;
    let again = tokio::time::timeout(Duration::from_secs(10), messages.next()).await;
    assert_eq!(again.expect("a message").as_deref(), Some("deliveries"));
    let more = futures::FutureExt::now_or_never(messages.next());
    assert_eq!(more, None, "one message for one idle queue");
}

#[tokio::test]
async fn what_a_stopping_process_has_claimed_and_not_begun_is_ready_again_while_it_finishes_something_else()
 {
    let store = testing::redis::store();
    push(&store, "a", 8, &["1", "2", "3"]).await;
    let stop = CancellationToken::new();
    let claims = ClaimLoop {
        store: store.clone(),
        queue: QUEUE,
        slots: 8,
        keeper: LeaseKeeper::default(),
        wake: Arc::default(),
        stop: stop.clone(),
        crashed: CancellationToken::new(),
    };
    let (arrivals, ended) = claims.spawn();
    // It begins the first one, which takes for ever.
    let first = std::future::poll_fn(|cx| arrivals.lock().poll_recv(cx)).await;
    let first = first.expect("a task");
    stop.cancel();
    ended.await.expect("the loop ends");
    let claimed = claim(&store, 8).await;
    assert_eq!(ids(&claimed), ["2", "3"]);
    assert_eq!(first.claim.id, "1");
}

#[tokio::test]
async fn tasks_at_the_limit_of_their_lane_and_in_blocked_lanes_are_in_the_gauges() {
    let store = testing::redis::store();
    push(&store, "a", 1, &["1", "2", "3"]).await;
    claim(&store, 8).await;
    advance(&store, Duration::from_secs(7)).await;
    let gauges = store.queue_gauges(QUEUE).await.expect("gauges");
    assert_eq!((gauges.ready, gauges.claimed), (2, 1));
    assert!(gauges.oldest_ready_ms >= 7_000, "{gauges:?}");
}

#[tokio::test]
async fn gauges_show_what_is_where() {
    let store = testing::redis::store();
    push(&store, "a", 2, &["1", "2", "3"]).await;
    let claimed = claim(&store, 1).await;
    store
        .retry_task(QUEUE, "1", &claimed[0].token, LEASE)
        .await
        .expect("delayed");
    claim(&store, 1).await;
    advance(&store, Duration::from_secs(7)).await;
    let gauges = store.queue_gauges(QUEUE).await.expect("gauges");
    assert_eq!((gauges.ready, gauges.delayed, gauges.claimed), (1, 1, 1));
    assert!(gauges.oldest_ready_ms >= 7_000, "{gauges:?}");
}
