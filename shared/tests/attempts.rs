//! The log of delivery attempts, against a real Redis.

use std::time::{Duration, Instant};

use redis::AsyncCommands;
use shared::{
    clock::Timestamp,
    ids::{AttemptId, EventId, RunId, WebhookId},
    model::attempt::{
        AttemptError, AttemptErrorKind, AttemptOutcome, AttemptRecord, Phase, Phases,
    },
    store::{
        PageRequest, Store,
        attempts::{AttemptFilter, KEPT_DELIVERED, QUEUED, attempt_log, is_attempt_cursor},
    },
    testing,
};
use tokio_util::sync::CancellationToken;

const RETENTION_DAYS: u32 = 14;
/// How long anything may take to come true.
const PATIENCE: Duration = Duration::from_secs(20);

fn attempt(webhook: WebhookId, outcome: AttemptOutcome, number: u32) -> AttemptRecord {
    let failed = outcome == AttemptOutcome::Failed;
    AttemptRecord {
        id: AttemptId::generate(),
        webhook_id: webhook,
        event_id: EventId::from_bits(7),
        event: "test".to_owned(),
        sync_job_run_id: None,
        attempt: number,
        at: Timestamp(1_714_564_800_007),
        outcome,
        status_code: (!failed).then_some(200),
        error: failed.then(|| AttemptError {
            kind: AttemptErrorKind::Timeout,
            phase: Some(Phase::Headers),
            message: "no complete answer within 1000 ms".to_owned(),
        }),
        phases: Phases {
            connect: Some(0.214),
            total: 3.5,
            ..Phases::default()
        },
        bytes_sent: 2,
        bytes_received: 0,
        answer: None,
        signing_key_ids: vec!["k_00000000".to_owned()],
    }
}

/// By turns a success and two failures, numbered in order.
fn mixed(webhook: WebhookId, count: u32) -> Vec<AttemptRecord> {
    let outcome = |number| {
        if number % 3 == 0 {
            AttemptOutcome::Delivered
        } else {
            AttemptOutcome::Failed
        }
    };
    (1..=count)
        .map(|number| attempt(webhook, outcome(number), number))
        .collect()
}

async fn write(store: &Store, attempts: &[AttemptRecord]) {
    store
        .write_attempts(attempts, RETENTION_DAYS)
        .await
        .expect("written");
}

fn page(limit: u32, after: Option<String>) -> PageRequest {
    PageRequest { limit, after }
}

/// The whole list, read page by page, and the number of pages.
async fn all(
    store: &Store,
    webhook: WebhookId,
    filter: &AttemptFilter,
    limit: u32,
) -> (Vec<AttemptRecord>, usize) {
    let (mut found, mut after, mut pages) = (Vec::new(), None, 0);
    loop {
        let asked = page(limit, after);
        let got = store
            .attempts(webhook, filter, &asked)
            .await
            .expect("a page");
        pages += 1;
        assert!(got.items.len() <= limit as usize);
        found.extend(got.items);
        let Some(next) = got.next else {
            return (found, pages);
        };
        assert!(is_attempt_cursor(&next), "{next}");
        after = Some(next);
    }
}

fn numbers(attempts: &[AttemptRecord]) -> Vec<u32> {
    attempts.iter().map(|attempt| attempt.attempt).collect()
}

#[tokio::test]
async fn attempts_come_back_as_they_were_newest_first_whatever_their_outcome() {
    let store = testing::redis::store();
    let webhook = WebhookId::generate();
    let written = mixed(webhook, 500);
    // One at a time, so that their order is known.
    for attempt in &written {
        write(&store, std::slice::from_ref(attempt)).await;
    }
    write(&store, &mixed(WebhookId::generate(), 3)).await;
    for limit in [7, 50, 200] {
        let (found, _) = all(&store, webhook, &AttemptFilter::default(), limit).await;
        let mut in_order = found.clone();
        // Within one millisecond successes are listed before failures, so the order of those may differ.
        in_order.sort_by_key(|attempt| std::cmp::Reverse(attempt.attempt));
        let newest_first: Vec<_> = written.iter().rev().cloned().collect();
        assert_eq!(in_order, newest_first, "limit {limit}");
        for outcome in [AttemptOutcome::Delivered, AttemptOutcome::Failed] {
            let of_one: Vec<_> = found
                .iter()
                .filter(|a| a.outcome == outcome)
                .cloned()
                .collect();
            assert!(numbers(&of_one).is_sorted_by(|newer, older| newer > older));
        }
    }
}

#[tokio::test]
async fn a_page_goes_on_where_the_last_one_ended_while_attempts_are_added() {
    let store = testing::redis::store();
    let webhook = WebhookId::generate();
    write(&store, &mixed(webhook, 30)).await;
    let filter = AttemptFilter::default();
    let first = store.attempts(webhook, &filter, &page(10, None)).await;
    let first = first.expect("a page");
    write(&store, &mixed(webhook, 30)).await;
    let rest = store
        .attempts(webhook, &filter, &page(200, first.next))
        .await;
    let rest = rest.expect("a page");
    let mut seen = [numbers(&first.items), numbers(&rest.items)].concat();
    seen.sort_unstable();
    assert_eq!(seen, (1..=30).collect::<Vec<_>>());
    assert_eq!(rest.next, None);
}

#[tokio::test]
async fn attempts_are_found_by_event_run_and_outcome() {
    let store = testing::redis::store();
    let webhook = WebhookId::generate();
    let (event, run) = (EventId::generate(), RunId::generate());
    let mut written = mixed(webhook, 900);
    written[4].event_id = event;
    written[5].event_id = event;
    written[5].sync_job_run_id = Some(run);
    for some in written.chunks(100) {
        write(&store, some).await;
    }
    let found = async |filter: AttemptFilter| {
        let (found, pages) = all(&store, webhook, &filter, 50).await;
        let mut found = numbers(&found);
        found.sort_unstable();
        (found, pages)
    };
    let of_event = AttemptFilter {
        event: Some(event),
        ..AttemptFilter::default()
    };
    assert_eq!(found(of_event.clone()).await, (vec![5, 6], 1));
    let of_run = AttemptFilter {
        run: Some(run),
        ..AttemptFilter::default()
    };
    assert_eq!(found(of_run).await.0, [6]);
    let delivered = AttemptFilter {
        outcome: Some(AttemptOutcome::Delivered),
        ..of_event
    };
    assert_eq!(found(delivered).await.0, [6]);
}

#[tokio::test]
async fn a_filtered_list_looks_at_a_bounded_number_of_attempts_for_one_page() {
    let store = testing::redis::store();
    let webhook = WebhookId::generate();
    let event = EventId::generate();
    let mut written = mixed(webhook, 1_500);
    written[0].event_id = event;
    for some in written.chunks(100) {
        write(&store, some).await;
    }
    let filter = AttemptFilter {
        event: Some(event),
        ..AttemptFilter::default()
    };
    let (found, pages) = all(&store, webhook, &filter, 50).await;
    assert_eq!(numbers(&found), [1]);
    assert_eq!(pages, 2, "an empty page with a cursor, then the rest");
}

#[tokio::test]
async fn successes_are_bounded_and_do_not_push_failures_out() {
    let store = testing::redis::store();
    let webhook = WebhookId::generate();
    write(&store, &[attempt(webhook, AttemptOutcome::Failed, 1)]).await;
    let successes = KEPT_DELIVERED * 2;
    let many: Vec<_> = (0..successes)
        .map(|_| attempt(webhook, AttemptOutcome::Delivered, 1))
        .collect();
    for some in many.chunks(100) {
        write(&store, some).await;
    }
    let mut connection = store.connection();
    let kept = |outcome| store.keys().attempts(webhook, outcome);
    let delivered: usize = connection
        .xlen(kept(AttemptOutcome::Delivered))
        .await
        .expect("a length");
    let failed: usize = connection
        .xlen(kept(AttemptOutcome::Failed))
        .await
        .expect("a length");
    assert!(
        (KEPT_DELIVERED..KEPT_DELIVERED + 200).contains(&delivered),
        "{delivered}"
    );
    assert_eq!(failed, 1);
}

#[tokio::test]
async fn a_log_expires_with_the_retention_and_can_be_forgotten() {
    let store = testing::redis::store();
    let webhook = WebhookId::generate();
    write(&store, &mixed(webhook, 3)).await;
    let mut connection = store.connection();
    let key = store.keys().attempts(webhook, AttemptOutcome::Failed);
    let left: i64 = connection.ttl(&key).await.expect("a time");
    let whole = i64::from(RETENTION_DAYS) * 24 * 3600;
    assert!((whole - 60..=whole).contains(&left), "{left}");
    store.forget_attempts(webhook).await.expect("forgotten");
    let (found, _) = all(&store, webhook, &AttemptFilter::default(), 50).await;
    assert_eq!(found, []);
}

#[tokio::test]
async fn attempts_past_the_retention_go_when_the_next_one_of_their_webhook_is_written() {
    let store = testing::redis::store();
    let webhook = WebhookId::generate();
    let mut connection = store.connection();
    let of = |outcome| store.keys().attempts(webhook, outcome);
    let days_ago = |days: i64| Timestamp::now().0 - days * 24 * 3600 * 1000;
    let retention = i64::from(RETENTION_DAYS);
    // Entries are named after their time.
    for (outcome, days) in [
        (AttemptOutcome::Failed, retention + 1),
        (AttemptOutcome::Failed, retention - 1),
        (AttemptOutcome::Delivered, retention + 1),
    ] {
        let json = serde_json::to_string(&attempt(webhook, outcome, 1)).expect("JSON");
        let id = format!("{}-0", days_ago(days));
        let added: String = connection
            .xadd(of(outcome), id, &[("attempt", json)])
            .await
            .expect("added");
        assert!(!added.is_empty());
    }
    write(&store, &[attempt(webhook, AttemptOutcome::Delivered, 2)]).await;
    let (found, _) = all(&store, webhook, &AttemptFilter::default(), 50).await;
    assert_eq!(numbers(&found), [2, 1]);
}

#[tokio::test]
async fn what_was_noted_is_written_before_the_writer_stops() {
    let store = testing::redis::store();
    let webhook = WebhookId::generate();
    let (log, writer) = attempt_log(RETENTION_DAYS);
    let noted = mixed(webhook, 300);
    for attempt in &noted {
        log.note(attempt.clone());
    }
    let stop = CancellationToken::new();
    stop.cancel();
    writer.run(&store, stop).await;
    let (found, _) = all(&store, webhook, &AttemptFilter::default(), 200).await;
    assert_eq!(found.len(), noted.len());
}

#[tokio::test]
async fn an_attempt_is_readable_soon_after_it_was_noted() {
    let store = testing::redis::store();
    let webhook = WebhookId::generate();
    let (log, writer) = attempt_log(RETENTION_DAYS);
    let (writing, stop) = (store.clone(), CancellationToken::new());
    let stopping = stop.clone();
    let writer = tokio::spawn(async move { writer.run(&writing, stopping).await });
    log.note(attempt(webhook, AttemptOutcome::Delivered, 1));
    let began = Instant::now();
    while all(&store, webhook, &AttemptFilter::default(), 50)
        .await
        .0
        .is_empty()
    {
        assert!(began.elapsed() < PATIENCE, "the attempt is not written");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    stop.cancel();
    writer.await.expect("an end");
}

#[tokio::test]
async fn without_redis_attempts_are_counted_as_lost_and_nobody_waits() {
    let metrics = shared::telemetry::metrics_handle().expect("a recorder");
    let store = Store::open("redis://127.0.0.1:1", "nowhere").expect("a store");
    let webhook = WebhookId::generate();
    let (log, writer) = attempt_log(RETENTION_DAYS);
    let began = Instant::now();
    let beyond = 10;
    for _ in 0..QUEUED + beyond {
        log.note(attempt(webhook, AttemptOutcome::Failed, 1));
    }
    assert!(began.elapsed() < PATIENCE / 4, "noting waits for nothing");
    let lost = || {
        let text = metrics.render();
        let value = text
            .lines()
            .find_map(|line| line.strip_prefix("syncline_lost_attempts_total "));
        value.and_then(|value| value.parse::<usize>().ok())
    };
    assert_eq!(lost(), Some(beyond), "those beyond the bound");
    let stop = CancellationToken::new();
    stop.cancel();
    tokio::time::timeout(PATIENCE, writer.run(&store, stop))
        .await
        .expect("the writer gives up at the first failure");
    assert_eq!(lost(), Some(QUEUED + beyond), "and those that were waiting");
}
