//! Batches: order, freezing, settling.

use std::time::Duration;

use redis::AsyncCommands;
use shared::{
    model::{
        dead_letter::LetterFilter,
        run::{ErrorHandling, RunStatus},
    },
    store::{
        PageRequest,
        deliveries::{NextBatch, Outcome},
        fetches::PageCommit,
        queue::{LEASE, Queue},
    },
};

use crate::support::{Bench, GAVE_UP, asked, chunk, failed, last_page, page, spec};

#[tokio::test]
async fn no_record_goes_before_started_is_settled() {
    let bench = Bench::started(spec()).await;
    let claim = bench.claim_one(Queue::Fetches).await;
    bench
        .commit(&last_page(&bench.fetch(&claim, 0), 1, false))
        .await;
    let (handle, started) = bench.take().await.expect("started");
    assert_eq!(started.event_type, "sync_job_run:started");
    assert!(bench.take().await.is_none());
    bench.settle(&handle, &started).await;
    assert_eq!(
        bench.deliver_all().await,
        ["0 1-1", "sync_job_run:completed"]
    );
}

#[tokio::test]
async fn a_child_record_goes_only_after_its_parents_record() {
    let bench = Bench::running().await;
    let root = bench.claim_one(Queue::Fetches).await;
    bench
        .commit(&last_page(&bench.fetch(&root, 0), 1, true))
        .await;
    let child = bench.claim_one(Queue::Fetches).await;
    bench
        .commit(&last_page(&bench.fetch(&child, 1), 1, false))
        .await;
    let (handle, parents) = bench.take().await.expect("the parents' batch");
    assert_eq!(handle.stream, "0");
    assert!(bench.take().await.is_none(), "the child waits");
    bench.settle(&handle, &parents).await;
    assert_eq!(
        bench.deliver_all().await,
        ["1 1-1", "sync_job_run:completed"]
    );
}

#[tokio::test]
async fn a_batch_is_frozen_until_it_is_settled() {
    let bench = Bench::running().await;
    let claim = bench.claim_one(Queue::Fetches).await;
    let handle = bench.fetch(&claim, 0);
    bench.commit(&page(&handle, 0, 2)).await;
    let (delivery, batch) = bench.take().await.expect("a batch");
    bench.commit(&page(&handle, 1, 2)).await;
    let delay = Duration::from_secs(5);
    let again = bench
        .store
        .retry_delivery(&delivery, batch.event, failed(delay))
        .await;
    let outage = again.expect("an answer").expect("the lease is held");
    assert_eq!((outage.failures, outage.open), (1, false));
    assert!(bench.take().await.is_none(), "it waits for its retry");
    bench.advance(delay).await;
    let (delivery, again) = bench.take().await.expect("the same batch");
    assert_eq!(
        (
            again.event,
            again.created_ms,
            again.first_seq,
            again.records
        ),
        (batch.event, batch.created_ms, 1, 2)
    );
    assert_eq!((again.attempts, &again.chunks), (1, &batch.chunks));
    let NextBatch::Batch(next) = bench.settle(&delivery, &again).await else {
        panic!("the next batch")
    };
    assert_eq!((next.first_seq, next.records), (3, 2));
}

#[tokio::test]
async fn a_batch_is_settled_once() {
    let bench = Bench::running().await;
    let claim = bench.claim_one(Queue::Fetches).await;
    bench.commit(&page(&bench.fetch(&claim, 0), 0, 2)).await;
    let (delivery, batch) = bench.take().await.expect("a batch");
    assert_eq!(bench.settle(&delivery, &batch).await, NextBatch::None);
    assert_eq!(bench.settle(&delivery, &batch).await, NextBatch::Stale);
    assert_eq!(bench.view().await.records_delivered, 2);
}

#[tokio::test]
async fn a_delivery_under_a_lost_lease_settles_nothing() {
    let bench = Bench::running().await;
    let claim = bench.claim_one(Queue::Fetches).await;
    bench.commit(&page(&bench.fetch(&claim, 0), 0, 2)).await;
    let (old, batch) = bench.take().await.expect("a batch");
    bench.advance(LEASE + Duration::from_secs(1)).await;
    bench
        .store
        .rescue_expired(Queue::Deliveries)
        .await
        .expect("a pass");
    let (_, again) = bench.take().await.expect("the batch again");
    assert_eq!(again.event, batch.event, "the id is stable");
    assert_eq!(bench.settle(&old, &batch).await, NextBatch::Stale);
    assert_eq!(bench.view().await.records_delivered, 0);
}

#[tokio::test]
async fn batches_are_bounded_by_records_and_by_bytes() {
    let mut spec = spec();
    (spec.batch_records, spec.batch_bytes) = (3, 10);
    let bench = Bench::running_with(spec).await;
    let claim = bench.claim_one(Queue::Fetches).await;
    let chunks = vec![
        chunk(2, "12345"),
        chunk(1, "123"),
        chunk(1, "1"),
        chunk(1, "123456789"),
        chunk(1, "longer than ten bytes"),
    ];
    let handle = bench.fetch(&claim, 0);
    bench
        .commit(&PageCommit {
            chunks,
            ..last_page(&handle, 6, false)
        })
        .await;
    assert_eq!(
        bench.deliver_all().await,
        ["0 1-3", "0 4-5", "0 6-6", "sync_job_run:completed"]
    );
}

#[tokio::test]
async fn a_batch_that_could_grow_lingers_and_goes_at_once_when_full() {
    let mut spec = spec();
    (spec.linger_ms, spec.batch_records) = (60_000, 4);
    let bench = Bench::running_with(spec).await;
    let claim = bench.claim_one(Queue::Fetches).await;
    let handle = bench.fetch(&claim, 0);
    bench.commit(&page(&handle, 0, 2)).await;
    assert!(bench.take().await.is_none(), "it lingers");
    bench.commit(&page(&handle, 1, 2)).await;
    let (delivery, batch) = bench.take().await.expect("full");
    assert_eq!(batch.records, 4);
    bench.settle(&delivery, &batch).await;
    bench.commit(&page(&handle, 2, 1)).await;
    bench.advance(Duration::from_mins(1)).await;
    assert_eq!(
        bench.take().await.expect("lingered long enough").1.records,
        1
    );
}

#[tokio::test]
async fn the_last_records_of_a_resource_do_not_linger() {
    let mut spec = spec();
    spec.linger_ms = 60_000;
    let bench = Bench::running_with(spec).await;
    let claim = bench.claim_one(Queue::Fetches).await;
    bench
        .commit(&last_page(&bench.fetch(&claim, 0), 1, false))
        .await;
    assert_eq!(
        bench.deliver_all().await,
        ["0 1-1", "sync_job_run:completed"]
    );
}

#[tokio::test]
async fn a_given_up_batch_is_a_dead_letter_and_under_ignore_the_run_completes() {
    let bench = Bench::running().await;
    let claim = bench.claim_one(Queue::Fetches).await;
    bench
        .commit(&last_page(&bench.fetch(&claim, 0), 2, false))
        .await;
    let (delivery, batch) = bench.take().await.expect("a batch");
    bench
        .store
        .settle_batch(&delivery, batch.event, GAVE_UP, true, &[])
        .await
        .expect("an answer");
    assert_eq!(bench.deliver_all().await, ["sync_job_run:completed"]);
    let view = bench.view().await;
    assert_eq!(
        (view.status, view.records_dead, view.records_delivered),
        (RunStatus::Completed, 2, 0)
    );
    let page = PageRequest {
        limit: 10,
        after: None,
    };
    let letters = bench
        .store
        .dead_letters(bench.spec.webhook_id, &LetterFilter::default(), &page)
        .await
        .expect("a page")
        .items;
    assert_eq!(letters.len(), 1);
    assert_eq!(
        (letters[0].id.clone(), letters[0].resource.as_deref()),
        (batch.event.to_string(), Some("orders"))
    );
    assert_eq!(
        (
            letters[0].last_seq,
            letters[0].status_code,
            letters[0].reason.as_str()
        ),
        (Some(2), Some(500), "gave up")
    );
    let (account, job) = (bench.spec.integrated_account_id, bench.spec.sync_job_id);
    let watermarks = bench
        .store
        .runs()
        .watermarks(account, job)
        .await
        .expect("watermarks");
    assert_eq!(
        watermarks.get("orders"),
        None,
        "what did not arrive is asked for again"
    );
}

#[tokio::test]
async fn under_fail_fast_a_dead_letter_fails_the_run() {
    let mut spec = spec();
    spec.error_handling = ErrorHandling::FailFast;
    let bench = Bench::running_with(spec).await;
    let claim = bench.claim_one(Queue::Fetches).await;
    bench.commit(&page(&bench.fetch(&claim, 0), 0, 2)).await;
    let (delivery, batch) = bench.take().await.expect("a batch");
    bench
        .store
        .settle_batch(&delivery, batch.event, GAVE_UP, true, &[])
        .await
        .expect("an answer");
    assert_eq!(bench.view().await.status, RunStatus::Failed);
    assert_eq!(bench.deliver_all().await, ["sync_job_run:failed"]);
}

#[tokio::test]
async fn a_lease_lost_while_one_batch_was_sent_does_not_count_against_the_next() {
    let mut spec = spec();
    (spec.linger_ms, spec.batch_records) = (60_000, 2);
    let bench = Bench::running_with(spec).await;
    let fetch = bench.claim_one(Queue::Fetches).await;
    let handle = bench.fetch(&fetch, 0);
    bench.commit(&page(&handle, 0, 2)).await;
    bench.lose_delivery().await;
    let (delivery, batch) = bench.take().await.expect("the batch again");
    bench.commit(&page(&handle, 1, 1)).await;
    assert_eq!(bench.settle(&delivery, &batch).await, NextBatch::None);
    bench.advance(Duration::from_mins(1)).await;
    assert_eq!(bench.claim_one(Queue::Deliveries).await.rescues, 0);
}

#[tokio::test]
async fn an_attempt_that_was_answered_forgets_the_leases_lost_before() {
    let bench = Bench::running().await;
    let fetch = bench.claim_one(Queue::Fetches).await;
    bench.commit(&page(&bench.fetch(&fetch, 0), 0, 2)).await;
    bench.lose_delivery().await;
    let (delivery, batch) = bench.take().await.expect("the batch again");
    let (store, delay) = (&bench.store, Duration::from_secs(5));
    store
        .retry_delivery(&delivery, batch.event, failed(delay))
        .await
        .expect("delayed");
    bench.advance(delay).await;
    assert_eq!(bench.claim_one(Queue::Deliveries).await.rescues, 0);
}

#[tokio::test]
async fn the_time_until_a_batch_is_given_up_begins_with_its_first_failure() {
    let bench = Bench::started(spec()).await;
    let day = Duration::from_hours(24);
    let (handle, batch) = bench.take().await.expect("started");
    let retry = |counts| {
        let (store, handle, event) = (&bench.store, &handle, batch.event);
        async move {
            let again = if counts { failed(day) } else { asked(day) };
            let delayed = store.retry_delivery(handle, event, again).await;
            assert!(delayed.expect("an answer").is_some());
        }
    };
    // A pause that the receiver asked for isn't part of it, but for those that it asks for after that.
    retry(false).await;
    bench.advance(day).await;
    let (handle, batch) = bench.take().await.expect("the batch again");
    assert_eq!(batch.failing.as_secs() / 60, 0);
    let store = &bench.store;
    let delayed = store
        .retry_delivery(&handle, batch.event, failed(day))
        .await;
    assert!(delayed.expect("an answer").is_some());
    bench.advance(day).await;
    let (_, batch) = bench.take().await.expect("the batch again");
    assert!(
        batch.failing >= day && batch.failing < day * 2,
        "{:?}",
        batch.failing
    );
}

#[tokio::test]
async fn the_time_of_a_batch_runs_though_its_receiver_asks_for_a_pause_each_time() {
    let bench = Bench::started(spec()).await;
    let minute = Duration::from_mins(1);
    for number in 0..4 {
        let (handle, batch) = bench.take().await.expect("started");
        assert_eq!(batch.failing.as_secs() / 60, u64::max(number, 1) - 1);
        assert_eq!(batch.attempts, 0);
        let again = bench
            .store
            .retry_delivery(&handle, batch.event, asked(minute));
        assert!(again.await.expect("an answer").is_some());
        bench.advance(minute).await;
    }
}

#[tokio::test]
async fn a_success_closes_the_circuit_also_when_the_failures_are_long_forgotten() {
    let bench = Bench::started(spec()).await;
    let (store, webhook) = (&bench.store, bench.spec.webhook_id);
    let minute = Duration::from_mins(1);
    let circuit_open = async || {
        let health = store.webhook_health(webhook).await;
        health.expect("an answer").circuit_open
    };
    for failures in 1..=5 {
        let (handle, batch) = bench.take().await.expect("started");
        let outage = store
            .retry_delivery(&handle, batch.event, failed(minute))
            .await;
        assert_eq!(
            outage.expect("an answer").map(|outage| outage.open),
            Some(failures == 5)
        );
        bench.advance(minute).await;
    }
    assert!(circuit_open().await);
    // What two days without a delivery do.
    let key = store.keys().health(webhook);
    let () = store.connection().del(key).await.expect("deleted");
    assert_eq!(bench.deliver_all().await, ["sync_job_run:started"]);
    assert!(!circuit_open().await);
}

#[tokio::test]
async fn what_can_not_arrive_any_more_ends_the_run_under_ignore_too() {
    let bench = Bench::running().await;
    let root = bench.claim_one(Queue::Fetches).await;
    bench.commit(&page(&bench.fetch(&root, 0), 0, 1)).await;
    let (handle, batch) = bench.take().await.expect("a batch");
    let outcome = Outcome::Dead {
        status: None,
        cause: shared::model::dead_letter::Cause::Broken,
        reason: "the webhook was deleted",
        body: b"frozen",
        sent: false,
        failure: None,
        ends_run: Some("webhook_deleted"),
    };
    bench
        .store
        .settle_batch(&handle, batch.event, outcome, true, &[])
        .await
        .expect("an answer");
    let view = bench.view().await;
    assert_eq!(view.status, RunStatus::Failed);
    assert_eq!(view.error.expect("an error").code, "webhook_deleted");
    assert_eq!(bench.deliver_all().await, ["sync_job_run:failed"]);
}

#[tokio::test]
async fn the_list_of_dead_letters_forgets_those_that_have_expired() {
    let bench = Bench::running().await;
    let root = bench.claim_one(Queue::Fetches).await;
    let handle = bench.fetch(&root, 0);
    let index = bench.store.keys().dead_letters(bench.spec.webhook_id);
    let mut connection = bench.store.connection();
    let _: u64 = connection
        .zadd(&index, "evt_0", 0)
        .await
        .expect("an expired one");
    bench.commit(&last_page(&handle, 1, false)).await;
    let (delivery, batch) = bench.take().await.expect("a batch");
    bench
        .store
        .settle_batch(&delivery, batch.event, GAVE_UP, true, &[])
        .await
        .expect("an answer");
    let ids: Vec<String> = connection.zrange(&index, 0, -1).await.expect("ids");
    assert_eq!(ids, [batch.event.to_string()]);
    let seconds: i64 = connection.ttl(&index).await.expect("a time");
    assert!(seconds > 0, "the list expires with its last letter");
}

#[tokio::test]
async fn under_batch_errors_in_a_row_are_one_event_between_the_records_around_them() {
    let mut spec = spec();
    spec.error_handling = ErrorHandling::Batch;
    spec.batch_records = 4;
    let bench = Bench::running_with(spec).await;
    let root = bench.claim_one(Queue::Fetches).await;
    bench
        .commit(&last_page(&bench.fetch(&root, 0), 8, true))
        .await;
    assert_eq!(bench.deliver_all().await, ["0 1-8"]);
    let children = bench.claim(Queue::Fetches, 8).await;
    for (i, claim) in children.iter().enumerate() {
        let handle = bench.fetch(claim, 1);
        if i == 1 {
            bench.commit(&last_page(&handle, 1, false)).await;
        } else {
            bench.fail(&handle, ErrorHandling::Batch).await;
        }
    }
    let mut events = Vec::new();
    let (handle, mut batch) = bench.take().await.expect("a batch");
    loop {
        events.push((batch.event_type.clone(), batch.chunks.len()));
        match bench.settle(&handle, &batch).await {
            NextBatch::Batch(next) => batch = next,
            _ => break,
        }
    }
    let error = || "sync_job_run:record_error".to_owned();
    assert_eq!(
        events,
        [
            (error(), 1),
            ("sync_job_run:record".to_owned(), 1),
            (error(), 4),
            (error(), 2)
        ]
    );
    assert_eq!(bench.deliver_all().await, ["sync_job_run:completed"]);
    assert_eq!(bench.view().await.errors, 7);
}
