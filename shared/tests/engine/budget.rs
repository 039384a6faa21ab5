//! What sources are asked for: the pace and the shared limits of `rate_limit.budget`, and what waiting fetches cost.

use std::time::Duration;

use redis::AsyncCommands;
use shared::{
    ids::{AccountId, RunId},
    integration::Pace,
    queue::task::FetchBody,
    store::{
        fetches::{After, Child, Committed, PageCommit, Retried},
        queue::{Claim, Held, LEASE, Queue},
        runs::SharedBudget,
    },
};

use crate::support::{Bench, StartWith, last_page, page, spec};

/// Longer than any two steps of a test are apart on a busy machine: time goes on by itself too, besides what a test advances.
const GAP: Duration = Duration::from_secs(10);
const PACE: Pace = Pace {
    gap_us: 10_000_000,
    slack_us: 0,
};

fn roots(count: usize) -> Vec<(usize, String)> {
    vec![(0, FetchBody::default().to_json()); count]
}

/// A running run of the same environment, of an account of its own.
async fn another(bench: &Bench) -> Bench {
    let mut spec = spec();
    (spec.id, spec.integrated_account_id) = (RunId::generate(), AccountId::generate());
    let store = bench.store.clone();
    store.runs().create(&spec).await.expect("accepted");
    Bench { store, spec }
}

#[tokio::test]
async fn an_account_with_a_pace_is_asked_so_often_and_its_lane_waits_in_between() {
    let bench = Bench::with(spec()).await;
    let with = StartWith {
        roots: roots(3),
        pace: Some(PACE),
        ..StartWith::default()
    };
    bench.start_as(with).await;
    for next in 1..=3 {
        let claimed = bench.claim(Queue::Fetches, 8).await;
        let expected = format!("{}.{next}", bench.spec.id);
        assert_eq!(
            claimed.iter().map(|task| &*task.id).collect::<Vec<_>>(),
            [expected]
        );
        let answer = bench.store.claim(Queue::Fetches, 8, LEASE, "t").await;
        let answer = answer.expect("a claim");
        assert_eq!(answer.tasks, []);
        if next < 3 {
            let wait = answer.next_timer.expect("a timer");
            assert!(wait <= GAP && wait > GAP / 2, "{wait:?}");
            let key = bench.store.keys().join(&["fetches", "turns"]);
            let turns: u64 = bench.store.connection().zcard(key).await.expect("a number");
            assert_eq!(turns, 0, "it takes no turns meanwhile");
        }
        bench.advance(GAP).await;
    }
}

#[tokio::test]
async fn at_a_pace_each_page_takes_a_claim_and_counts_no_attempt() {
    let bench = Bench::with(spec()).await;
    let with = StartWith {
        pace: Some(PACE),
        ..StartWith::default()
    };
    bench.start_as(with).await;
    let claim = bench.claim_one(Queue::Fetches).await;
    let handle = bench.fetch(&claim, 0);
    let first = PageCommit {
        after: After::NextClaim,
        body: r#"fetch.1 0 0 {"skip":1}"#.to_owned(),
        ..page(&handle, 0, 1)
    };
    assert_eq!(bench.commit(&first).await, Committed::Parked);
    assert_eq!(bench.commit(&first).await, Committed::Stale, "it was made");
    assert_eq!(bench.claim(Queue::Fetches, 8).await, []);
    bench.advance(GAP).await;
    let again = bench.claim_one(Queue::Fetches).await;
    assert_eq!(
        (again.attempt, again.rescues, &again.body),
        (0, 0, &first.body)
    );
    let handle = bench.fetch(&again, 0);
    let last = bench.commit(&last_page(&handle, 1, false)).await;
    assert_eq!(last, Committed::Done { over: false });
    assert_eq!(bench.view().await.records_fetched, 2);
}

#[tokio::test]
async fn at_a_pace_the_fetches_of_an_account_take_turns() {
    let bench = Bench::with(spec()).await;
    let with = StartWith {
        roots: roots(3),
        pace: Some(PACE),
        ..StartWith::default()
    };
    bench.start_as(with).await;
    let mut asked = Vec::new();
    for _ in 0..6 {
        let claim = bench.claim_one(Queue::Fetches).await;
        let handle = bench.fetch(&claim, 0);
        let one = PageCommit {
            after: After::NextClaim,
            ..page(&handle, 0, 1)
        };
        assert_eq!(bench.commit(&one).await, Committed::Parked);
        asked.push(claim.id);
        bench.advance(GAP).await;
    }
    let turns = [1, 2, 3, 1, 2, 3].map(|number| format!("{}.{number}", bench.spec.id));
    assert_eq!(asked, turns);
}

#[tokio::test]
async fn at_a_pace_the_deepest_fetches_end_before_others_begin() {
    let bench = Bench::with(spec()).await;
    let with = StartWith {
        pace: Some(PACE),
        ..StartWith::default()
    };
    bench.start_as(with).await;
    let root = bench.claim_one(Queue::Fetches).await;
    let handle = bench.fetch(&root, 0);
    bench.commit(&last_page(&handle, 3, true)).await;
    bench.advance(GAP).await;
    let mut asked = Vec::new();
    // A child's first page, then its second one.
    for _ in 0..2 {
        let claim = bench.claim_one(Queue::Fetches).await;
        let handle = bench.fetch(&claim, 1);
        let one = PageCommit {
            after: After::NextClaim,
            ..page(&handle, 0, 1)
        };
        bench.commit(&one).await;
        asked.push(claim.id);
        bench.advance(GAP).await;
    }
    assert_eq!(asked[0], asked[1]);
}

#[tokio::test]
async fn at_a_pace_a_run_begins_though_a_deep_fetch_of_another_one_goes_on() {
    let bench = Bench::with(spec()).await;
    let with = || StartWith {
        pace: Some(PACE),
        ..StartWith::default()
    };
    bench.start_as(with()).await;
    let root = bench.claim_one(Queue::Fetches).await;
    bench
        .commit(&last_page(&bench.fetch(&root, 0), 1, true))
        .await;
    bench.advance(GAP).await;
    let child = bench.claim_one(Queue::Fetches).await;
    let mut spec = spec();
    spec.integrated_account_id = bench.spec.integrated_account_id;
    spec.environment_id = bench.spec.environment_id;
    let store = bench.store.clone();
    store.runs().create(&spec).await.expect("accepted");
    let other = Bench { store, spec };
    other.start_as(with()).await;
    let handle = bench.fetch(&child, 1);
    let one = PageCommit {
        after: After::NextClaim,
        ..page(&handle, 0, 1)
    };
    assert_eq!(bench.commit(&one).await, Committed::Parked);
    bench.advance(GAP).await;
    let next = bench.claim_one(Queue::Fetches).await;
    assert_eq!(next.id, format!("{}.1", other.spec.id));
    bench.advance(GAP).await;
    assert_eq!(bench.claim_one(Queue::Fetches).await.id, child.id);
}

#[tokio::test]
async fn a_source_with_a_pace_is_left_alone_too_when_it_goes_on_failing() {
    let bench = Bench::with(spec()).await;
    let with = StartWith {
        roots: roots(40),
        pace: Some(PACE),
        ..StartWith::default()
    };
    bench.start_as(with).await;
    let mut pauses = 0;
    for _ in 0..25 {
        for claim in bench.claim(Queue::Fetches, 16).await {
            let handle = bench.fetch(&claim, 0);
            let retried = bench
                .store
                .retry_fetch(&handle, Duration::from_mins(1), 1, true)
                .await;
            let Ok(Retried::Step(_, pause)) = retried else {
                panic!("{} is given up", claim.id);
            };
            pauses += usize::from(pause.is_some());
            // The next one waits for the pace, which blocks the lane as a pause does.
            assert_eq!(bench.claim(Queue::Fetches, 16).await, []);
        }
        bench.advance(GAP).await;
    }
    assert!(pauses > 0, "it is asked again and again");
}

#[tokio::test]
async fn accounts_that_share_a_budget_take_turns_within_its_concurrency_and_its_pace() {
    let bench = Bench::with(spec()).await;
    let shared = SharedBudget {
        environment: bench.spec.environment_id,
        integration: "shop",
        most: Some(3),
    };
    let with = |pace| StartWith {
        roots: roots(3),
        shared_budget: Some(shared),
        pace,
    };
    bench.start_as(with(None)).await;
    let second = another(&bench).await;
    second.start_as(with(None)).await;
    let first_claim = bench.claim(Queue::Fetches, 8).await;
    assert_eq!(first_claim.len(), 3);
    assert_eq!(bench.claim(Queue::Fetches, 8).await, []);
    for done in &first_claim {
        let handle = bench.fetch(done, 0);
        bench.commit(&last_page(&handle, 0, false)).await;
    }
    // The other account had no turn yet.
    let next = bench.claim(Queue::Fetches, 8).await;
    assert_eq!(next.len(), 3);
    let run = second.spec.id.to_string();
    assert!(
        next.iter().all(|task| task.id.starts_with(&run)),
        "{next:?}"
    );
    for done in &next {
        let handle = second.fetch(done, 0);
        second.commit(&last_page(&handle, 0, false)).await;
    }
    // A pace is shared as well.
    for _ in 0..2 {
        let run = another(&bench).await;
        run.start_as(with(Some(PACE))).await;
    }
    let mut lanes = Vec::new();
    for _ in 0..4 {
        let claimed = bench.claim(Queue::Fetches, 8).await;
        assert_eq!(claimed.len(), 1, "{claimed:?}");
        lanes.push(claimed[0].lane.clone());
        let id = claimed[0].id.split('.').next().expect("a run");
        let mut handle = bench.fetch(&claimed[0], 0);
        handle.run = id.parse().expect("an id");
        bench.commit(&last_page(&handle, 0, false)).await;
        assert_eq!(bench.claim(Queue::Fetches, 8).await, []);
        bench.advance(GAP).await;
    }
    assert!(
        lanes[0] != lanes[1] && lanes[0] == lanes[2] && lanes[1] == lanes[3],
        "{lanes:?}"
    );
}

#[tokio::test]
async fn a_lane_that_goes_to_another_place_keeps_that_ones_limit_from_its_first_turn() {
    const MOST: usize = 2;
    let bench = Bench::running().await;
    let (store, environment) = (&bench.store, bench.spec.environment_id.to_string());
    let group = format!("{environment}/shop");
    let limits = store.keys().join(&["environment", &group, "limits"]);
    let mut connection = store.connection();
    let _: u64 = connection.hset(limits, "fetches", MOST).await.expect("set");
    let tasks: Vec<_> = (0..16)
        .map(|n| {
            (
                format!("{}.of_a_lane_{n}", bench.spec.id),
                "fetch.1 0 0 {}".to_owned(),
            )
        })
        .collect();
    for (place, tasks) in [(&environment, &tasks[..8]), (&group, &tasks[8..])] {
        let pushed = store
            .push_tasks(Queue::Fetches, place, "moving", 16, tasks)
            .await;
        pushed.expect("pushed");
    }
    let claimed = bench.claim(Queue::Fetches, 64).await;
    let of_lane = |claimed: &[Claim]| claimed.iter().filter(|task| task.lane == "moving").count();
    assert_eq!(of_lane(&claimed), MOST);
    for task in claimed {
        let done = store
            .finish_task(Queue::Fetches, &task.id, &task.token)
            .await;
        assert_eq!(done.expect("an answer"), Held::Done);
    }
    let next = bench.claim(Queue::Fetches, 64).await;
    assert_eq!(of_lane(&next), MOST, "and it has its turns there");
}

#[tokio::test]
async fn a_queued_child_request_takes_at_most_400_bytes() {
    const CHILDREN: u64 = 100_000;
    const AT_ONCE: u64 = 2_500;
    const MOST_BYTES: u64 = 400;
    let bench = Bench::running().await;
    let claim = bench.claim_one(Queue::Fetches).await;
    let handle = bench.fetch(&claim, 0);
    let child = |number: u64| Child {
        node: 1,
        position: 1,
        body: format!(r#"{{"parents":{{"resources.wms.orders.id":"ord_{number:012}"}}}}"#),
    };
    for part in 0..CHILDREN / AT_ONCE {
        let commit = PageCommit {
            after: After::SamePage,
            children: (part * AT_ONCE..(part + 1) * AT_ONCE).map(child).collect(),
            ..page(&handle, u32::try_from(part).expect("small"), 1)
        };
        bench.commit(&commit).await;
    }
    let queue = bench.store.keys().join(&["fetches", ""]);
    let pattern = format!("{}*", queue.replace('{', "\\{"));
    let mut connection = bench.store.connection();
    let keys: Vec<String> = connection.keys(pattern).await.expect("keys");
    let mut bytes = 0;
    for key in &keys {
        let mut usage = redis::cmd("MEMORY");
        usage.arg("USAGE").arg(key).arg("SAMPLES").arg(0);
        let used = usage.query_async::<u64>(&mut connection).await;
        bytes += used.expect("a size");
    }
    assert!(
        bytes <= CHILDREN * MOST_BYTES,
        "{} bytes each",
        bytes / CHILDREN
    );
    assert!(keys.len() < 10, "{keys:?}");
}
