//! Receivers that fail, ask for a pause, refuse, are switched off, or take several batches at once.

use std::time::Duration;

use redis::AsyncCommands;
use serde_json::json;
use shared::{
    ids::EventId,
    model::{
        dead_letter::{Cause, LetterFilter},
        event::Batch,
        run::{RunStatus, WaitingFor},
        webhook::{Retry, Webhook},
    },
    store::{
        PageRequest,
        deliveries::{
            Again, DeliveryHandle, NextBatch, Off, Outage, Outcome, RefusedRecord, Source,
        },
        fetches::{Committed, PageCommit},
        objects::Creation,
        queue::Queue,
        webhooks::DISABLED_AFTER,
    },
};

use crate::support::{Bench, GAVE_UP, asked, chunk, failed, last_page, page, spec};

const SECOND: Duration = Duration::from_secs(1);
const ALL: PageRequest = PageRequest {
    after: None,
    limit: 100,
};

impl Bench {
    /// A running run whose two streams both have a record to send.
    async fn with_two_streams() -> Self {
        let bench = Self::running().await;
        let claim = bench.claim_one(Queue::Fetches).await;
        let root = bench.fetch(&claim, 0);
        let children = last_page(&root, 1, true).children;
        let first = page(&root, 0, 1);
        bench.commit(&PageCommit { children, ..first }).await;
        assert_eq!(bench.deliver_all().await, ["0 1-1"]);
        bench.commit(&page(&root, 1, 1)).await;
        let claim = bench.claim_one(Queue::Fetches).await;
        let child = bench.fetch(&claim, 1);
        bench.commit(&last_page(&child, 1, false)).await;
        bench
    }

    async fn again(&self, handle: &DeliveryHandle, batch: &Batch, again: Again<'_>) -> Outage {
        let retried = self.store.retry_delivery(handle, batch.event, again).await;
        retried.expect("an answer").expect("the lease is held")
    }

    /// Fails the next delivery so often in a row; gives what the last answer said.
    async fn fail_deliveries(&self, times: u32) -> Outage {
        let mut outage = None;
        for _ in 0..times {
            let (handle, batch) = self.take().await.expect("a delivery");
            outage = Some(self.again(&handle, &batch, failed(Duration::ZERO)).await);
        }
        outage.expect("at least one")
    }

    async fn claimable(&self) -> usize {
        self.claim(Queue::Deliveries, 8).await.len()
    }

    /// Claims a delivery task without taking its batch.
    async fn handle(&self, window: u32, per_second: u32) -> DeliveryHandle {
        let claim = self.claim_one(Queue::Deliveries).await;
        DeliveryHandle {
            stream: claim.body.rsplit(' ').next().expect("a stream").to_owned(),
            task: claim.id,
            token: claim.token,
            source: Source::Run(self.spec.id),
            per_second,
            window,
        }
    }

    async fn take_more(&self, handle: &DeliveryHandle, in_flight: &[EventId]) -> NextBatch {
        let taken = self.store.take_batch(handle, in_flight).await;
        taken.expect("an answer")
    }

    /// Stores the webhook of the run.
    async fn webhook(&self, is_active: bool) -> Webhook {
        let webhook: Webhook = serde_json::from_value(json!({
            "id": self.spec.webhook_id, "environment_id": self.spec.environment_id,
            "target_url": "https://a.example/", "event_types": [], "is_active": is_active, "label": null,
            "sealed_secret": "s", "created_at": "2026-01-01T00:00:00.000Z", "updated_at": "2026-01-01T00:00:00.000Z",
        }))
        .expect("a webhook");
        let created = self.store.objects().create(&webhook).await;
        assert!(matches!(created, Ok(Creation::Created)));
        webhook
    }

    async fn change_webhook(&self, change: impl Fn(&mut Webhook)) {
        let (environment, id) = (self.spec.environment_id, self.spec.webhook_id);
        let change = |webhook: &mut Webhook| {
            change(webhook);
            Ok::<(), ()>(())
        };
        let changed = self.store.objects().update(environment, id, change).await;
        assert!(matches!(changed, Ok(Some(_))));
    }
}

fn batch_of(next: NextBatch) -> Batch {
    match next {
        NextBatch::Batch(batch) => batch,
        other => panic!("a batch is there, not {other:?}"),
    }
}

#[tokio::test]
async fn failures_in_a_row_open_the_circuit_and_one_delivery_at_a_time_probes_the_receiver() {
    let bench = Bench::with_two_streams().await;
    let fourth = bench.fail_deliveries(4).await;
    assert_eq!((fourth.failures, fourth.open), (4, false));
    assert!(bench.fail_deliveries(1).await.open);
    assert_eq!(bench.claimable().await, 0, "nothing is sent");
    let timers = bench.store.queue_gauges(Queue::Deliveries).await;
    let timers = timers.expect("gauges");
    assert_eq!((timers.blocked_lanes, timers.ready), (1, 2));

    bench.advance(2 * SECOND).await;
    let (handle, probe) = bench.take().await.expect("a probe");
    assert_eq!(bench.claimable().await, 0, "one probe at a time");
    let outage = bench.again(&handle, &probe, failed(Duration::ZERO)).await;
    assert!(outage.open);
    bench.advance(2 * SECOND).await;
    assert_eq!(bench.claimable().await, 0, "the wait is longer now");
    bench.advance(2 * SECOND).await;

    let (handle, probe) = bench.take().await.expect("a probe");
    bench.settle(&handle, &probe).await;
    assert_eq!(bench.claimable().await, 1, "the circuit is closed");
    let health = bench.store.webhook_health(bench.spec.webhook_id).await;
    let health = health.expect("its health");
    assert_eq!((health.circuit_open, health.failing_since), (false, None));
}

#[tokio::test]
async fn a_success_under_way_closes_the_circuit_at_once() {
    let bench = Bench::with_two_streams().await;
    let (handle, slow) = bench.take().await.expect("one stream");
    assert!(bench.fail_deliveries(5).await.open);
    bench.settle(&handle, &slow).await;
    assert!(bench.take().await.is_some(), "nothing waits for a timer");
}

#[tokio::test]
async fn a_pause_that_was_asked_for_holds_the_whole_webhook_and_is_no_attempt() {
    let bench = Bench::with_two_streams().await;
    let (handle, batch) = bench.take().await.expect("a delivery");
    let pause = Duration::from_hours(2);
    let outage = bench.again(&handle, &batch, asked(pause)).await;
    assert_eq!((outage.failures, outage.open), (0, false));
    bench.advance(Duration::from_mins(119)).await;
    assert_eq!(bench.claimable().await, 0);
    bench.advance(Duration::from_mins(1)).await;
    let mut seen = Vec::new();
    while let Some((_, again)) = bench.take().await {
        assert_eq!(again.attempts, 0);
        seen.push(again.event);
    }
    assert!(seen.len() == 2 && seen.contains(&batch.event), "{seen:?}");
}

#[tokio::test]
async fn an_outage_is_measured_from_its_first_failure_and_only_while_it_lasts() {
    let bench = Bench::with_two_streams().await;
    bench.fail_deliveries(1).await;
    for _ in 0..4 {
        bench.advance(Duration::from_hours(30)).await;
        bench.fail_deliveries(1).await;
    }
    bench.advance(Duration::from_hours(1)).await;
    let outage = bench.fail_deliveries(1).await;
    assert!(outage.since >= DISABLED_AFTER, "{outage:?}");
    // Three quiet days: what fails now is another outage.
    bench.advance(Duration::from_hours(72)).await;
    let outage = bench.fail_deliveries(1).await;
    assert_eq!((outage.failures, outage.since), (1, Duration::ZERO));
}

#[tokio::test]
async fn what_waits_for_a_webhook_that_is_off_goes_on_when_it_is_switched_on() {
    let bench = Bench::with_two_streams().await;
    bench.webhook(false).await;
    let claim = bench.claim_one(Queue::Deliveries).await;
    let (task, environment) = ((&*claim.id, &*claim.token), bench.spec.environment_id);
    let off = bench.store.delivery_off(task, environment).await;
    assert_eq!(off.expect("an answer"), Off::Rests);
    let again = bench.store.delivery_off(task, environment).await;
    assert_eq!(again.expect("an answer"), Off::Stale);
    bench.advance(Duration::from_mins(50)).await;
    assert_eq!(bench.claimable().await, 0);
    assert_eq!(bench.view().await.waiting_for, Some(WaitingFor::Receiver));

    bench
        .change_webhook(|webhook| webhook.is_active = true)
        .await;
    let mut sent = bench.deliver_all().await;
    sent.sort();
    assert_eq!(sent, ["0 2-2", "1 1-1"]);
    assert_eq!(bench.view().await.waiting_for, None);
}

#[tokio::test]
async fn a_webhook_that_is_on_is_not_put_to_rest_by_an_old_copy() {
    let bench = Bench::with_two_streams().await;
    bench.webhook(true).await;
    let claim = bench.claim_one(Queue::Deliveries).await;
    let off = bench
        .store
        .delivery_off((&claim.id, &claim.token), bench.spec.environment_id)
        .await;
    assert_eq!(off.expect("an answer"), Off::Changed);
    assert_eq!(bench.claimable().await, 1, "the other stream goes on");
}

#[tokio::test]
async fn a_new_target_is_tried_at_once_whatever_the_old_one_did() {
    let bench = Bench::with_two_streams().await;
    bench.webhook(true).await;
    assert!(bench.fail_deliveries(5).await.open);
    bench
        .change_webhook(|webhook| webhook.label = Some("x".to_owned()))
        .await;
    assert_eq!(bench.claimable().await, 0, "a label changes nothing");
    let target = |webhook: &mut Webhook| webhook.target_url = "https://b.example".to_owned();
    bench.change_webhook(target).await;
    assert_eq!(bench.claimable().await, 2);
}

#[tokio::test]
async fn a_pause_that_the_old_target_asked_for_does_not_hold_for_the_new_one() {
    let bench = Bench::with_two_streams().await;
    bench.webhook(true).await;
    let (one, other) = (bench.handle(1, 0).await, bench.handle(1, 0).await);
    let late = batch_of(bench.take_more(&one, &[]).await);
    let new = batch_of(bench.take_more(&other, &[]).await);
    bench.advance(10 * SECOND).await;
    let target = |webhook: &mut Webhook| webhook.target_url = "https://b.example".to_owned();
    bench.change_webhook(target).await;
    bench.advance(5 * SECOND).await;
    let asked_after = |elapsed| Again::Asked {
        pause: Duration::from_hours(24),
        elapsed,
    };
    bench.again(&one, &late, asked_after(15 * SECOND)).await;
    assert_eq!(bench.claimable().await, 0, "not within the second");
    bench.advance(SECOND).await;
    let (one, late) = bench.take().await.expect("nothing is blocked");
    // Its time runs from the first failure, not from the end of a pause that never was.
    bench.again(&one, &late, failed(SECOND)).await;
    bench.advance(Duration::from_hours(1)).await;
    let (_, late) = bench.take().await.expect("the batch again");
    assert_eq!(late.failing.as_secs() / 3600, 1);
    bench.again(&other, &new, asked_after(SECOND)).await;
    bench.advance(SECOND).await;
    assert_eq!(bench.claimable().await, 0, "the new one asked for it");
}

#[tokio::test]
async fn a_webhook_that_its_receiver_switches_off_tells_the_others_and_one_that_was_changed_is_left_on()
 {
    let bench = Bench::running().await;
    let webhook = bench.webhook(true).await;
    let disable = async |tried: &str| {
        let tried = tried.parse().expect("a URL");
        let (environment, id) = (webhook.environment_id, webhook.id);
        let off = bench
            .store
            .disable_webhook(environment, id, &tried, "410 Gone");
        off.await.expect("an answer");
        let stored = bench.store.objects().get::<Webhook>(environment, id).await;
        stored.expect("an answer").expect("the webhook")
    };
    assert!(disable("https://old.example/").await.is_active);
    let other: Webhook = Webhook {
        id: shared::ids::WebhookId::generate(),
        ..webhook.clone()
    };
    let created = bench.store.objects().create(&other).await;
    assert!(matches!(created, Ok(Creation::Created)));
    let off = disable("https://a.example/").await;
    assert_eq!(off.disabled_reason.as_deref(), Some("410 Gone"));
    let waiting = async |id: shared::ids::WebhookId| -> i64 {
        let mut connection = bench.store.connection();
        let chunks: Option<i64> = connection
            .hget(bench.store.keys().outbox(id), "chunks")
            .await
            .expect("an answer");
        chunks.unwrap_or(0)
    };
    assert_eq!((waiting(other.id).await, waiting(webhook.id).await), (1, 0));
}

#[tokio::test]
async fn a_batch_that_is_too_large_is_sent_in_smaller_ones_and_so_are_those_after_it() {
    let bench = Bench::running().await;
    let claim = bench.claim_one(Queue::Fetches).await;
    let root = bench.fetch(&claim, 0);
    let chunks = (0..4).map(|_| chunk(2, "four bytes and more")).collect();
    let first = PageCommit {
        chunks,
        records: 8,
        ..page(&root, 0, 0)
    };
    bench.commit(&first).await;
    let (handle, whole) = bench.take().await.expect("a batch");
    assert_eq!((whole.first_seq, whole.records), (1, 8));
    let most = 2 * whole.chunks[0].len() as u64;
    let split = bench.store.split_batch(&handle, &whole, most, &[]).await;
    let half = batch_of(split.expect("an answer"));
    assert_eq!(
        (half.first_seq, half.records, half.most_bytes),
        (1, 4, most)
    );
    assert_ne!(half.event, whole.event);
    let again = bench.store.split_batch(&handle, &whole, most, &[]).await;
    assert_eq!(again.expect("an answer"), NextBatch::Stale, "it is undone");

    // Half of it is a chunk of its own by now: the caller takes it apart.
    let half = batch_of(bench.settle(&handle, &half).await);
    let parts = [(1, b"a".to_vec()), (3, b"b".to_vec())];
    assert_eq!(half.chunks.len(), 2);
    let split = bench.store.split_batch(&handle, &half, 1, &[]).await;
    let quarter = batch_of(split.expect("an answer"));
    assert_eq!((quarter.first_seq, quarter.records), (5, 2));
    let split = bench.store.split_batch(&handle, &quarter, 1, &parts).await;
    let first = batch_of(split.expect("an answer"));
    assert_eq!(
        (first.first_seq, first.records, first.chunks),
        (5, 1, vec![b"a".to_vec()])
    );

    let view = bench.view().await;
    assert_eq!(view.records_delivered, 4);
    let settled = bench
        .settle(
            &handle,
            &Batch {
                chunks: Vec::new(),
                ..first
            },
        )
        .await;
    let second = batch_of(settled);
    assert_eq!((second.first_seq, second.records), (6, 3));
}

#[tokio::test]
async fn batches_grow_again_when_the_receiver_takes_the_smaller_ones() {
    const CHUNKS: u32 = 400;
    let mut spec = spec();
    spec.batch_bytes = 64;
    let bench = Bench::running_with(spec).await;
    let claim = bench.claim_one(Queue::Fetches).await;
    let root = bench.fetch(&claim, 0);
    let chunks = (0..CHUNKS).map(|_| chunk(1, "8 bytes.")).collect();
    let all = PageCommit {
        chunks,
        records: u64::from(CHUNKS),
        ..page(&root, 0, 0)
    };
    bench.commit(&all).await;
    let (handle, whole) = bench.take().await.expect("a batch");
    assert_eq!(whole.records, 8);
    let split = bench.store.split_batch(&handle, &whole, 8, &[]).await;
    let mut next = batch_of(split.expect("an answer"));
    let mut sizes = Vec::new();
    while sizes.len() < 60 {
        sizes.push(next.records);
        next = batch_of(bench.settle(&handle, &next).await);
    }
    let counts = [1, 2, 4, 8].map(|size| sizes.iter().filter(|of| **of == size).count());
    assert_eq!(counts, [16, 16, 16, 12], "{sizes:?}");
}

#[tokio::test]
async fn batches_grow_again_also_when_each_chunk_has_to_be_taken_apart_first() {
    const CHUNKS: u32 = 40;
    let mut spec = spec();
    spec.batch_bytes = 16;
    let bench = Bench::running_with(spec).await;
    let claim = bench.claim_one(Queue::Fetches).await;
    let root = bench.fetch(&claim, 0);
    let chunks = (0..CHUNKS).map(|_| chunk(2, "16 bytes in all.")).collect();
    let all = PageCommit {
        chunks,
        records: 2 * u64::from(CHUNKS),
        ..page(&root, 0, 0)
    };
    bench.commit(&all).await;
    let (handle, mut next) = bench.take().await.expect("a batch");
    let (mut most, mut sizes) = (8, Vec::new());
    while sizes.len() < 20 {
        if most > 0 && next.records > 1 {
            let parts = next.chunks[0].chunks(8).map(|part| (1, part.to_vec()));
            let parts: Vec<_> = parts.collect();
            let split = bench.store.split_batch(&handle, &next, most, &parts).await;
            next = batch_of(split.expect("an answer"));
        }
        sizes.push(next.records);
        next = batch_of(bench.settle(&handle, &next).await);
        most = next.most_bytes;
    }
    let counts = [1, 2].map(|size| sizes.iter().filter(|of| **of == size).count());
    assert_eq!(counts, [16, 4], "{sizes:?}");
}

#[tokio::test]
async fn refused_records_are_dead_letters_of_their_own() {
    let bench = Bench::running().await;
    let claim = bench.claim_one(Queue::Fetches).await;
    bench
        .commit(&last_page(&bench.fetch(&claim, 0), 3, false))
        .await;
    let (handle, batch) = bench.take().await.expect("a batch");
    let refused = [2, 3].map(|seq| RefusedRecord {
        event: EventId::generate(),
        body: format!("record {seq}").into_bytes(),
        seq,
        reason: format!("no {seq}"),
    });
    let outcome = Outcome::Delivered {
        status: 200,
        refused: &refused,
        stops_run: None,
    };
    let settled = bench
        .store
        .settle_batch(&handle, batch.event, outcome, true, &[])
        .await;
    settled.expect("an answer");
    assert_eq!(bench.deliver_all().await, ["sync_job_run:completed"]);
    let view = bench.view().await;
    assert_eq!(
        (view.status, view.records_delivered, view.records_dead),
        (RunStatus::Completed, 1, 2)
    );
    let letters = bench
        .store
        .dead_letters(bench.spec.webhook_id, &LetterFilter::default(), &ALL)
        .await;
    let letters = letters.expect("letters").items;
    let found: Vec<_> = letters
        .iter()
        .map(|letter| (letter.first_seq, letter.count, letter.reason.as_str()))
        .collect();
    assert_eq!(found.len(), 2);
    assert!(found.contains(&(Some(2), 1, "no 2")) && found.contains(&(Some(3), 1, "no 3")));
}

#[tokio::test]
async fn a_receiver_that_wants_nothing_of_a_run_stops_it() {
    let bench = Bench::started(spec()).await;
    let (handle, started) = bench.take().await.expect("started");
    let outcome = Outcome::Delivered {
        status: 400,
        refused: &[],
        stops_run: Some(("stopped_by_receiver", "the receiver answered 400")),
    };
    let settled = bench
        .store
        .settle_batch(&handle, started.event, outcome, true, &[])
        .await;
    let stopped = batch_of(settled.expect("an answer"));
    assert_eq!(stopped.event_type, "sync_job_run:stopped");
    let view = bench.view().await;
    assert_eq!(view.status, RunStatus::Stopped);
    assert_eq!(view.error.expect("why").code, "stopped_by_receiver");
    assert!(bench.claim(Queue::Fetches, 1).await.is_empty());
}

#[tokio::test]
async fn a_webhook_with_a_rate_gets_so_many_requests_a_second_over_all_its_streams() {
    let bench = Bench::with_two_streams().await;
    let (one, other) = (bench.handle(1, 1).await, bench.handle(1, 1).await);
    let first = batch_of(bench.take_more(&one, &[]).await);
    assert_eq!(bench.take_more(&other, &[]).await, NextBatch::None);
    assert_eq!(bench.claimable().await, 0, "both wait with one timer");
    let settled = bench.settle(&one, &first).await;
    assert_eq!(settled, NextBatch::None);
    bench.advance(SECOND).await;
    let next = bench.handle(1, 1).await;
    batch_of(bench.take_more(&next, &[]).await);
}

#[tokio::test]
async fn streams_of_a_webhook_with_a_rate_take_turns() {
    let mut spec = spec();
    spec.batch_records = 1;
    let bench = Bench::running_with(spec).await;
    let claim = bench.claim_one(Queue::Fetches).await;
    let root = bench.fetch(&claim, 0);
    let three = || vec![chunk(1, "a"), chunk(1, "b"), chunk(1, "c")];
    let parents = PageCommit {
        chunks: three(),
        children: last_page(&root, 1, true).children,
        ..page(&root, 0, 3)
    };
    bench.commit(&parents).await;
    assert_eq!(bench.deliver_all().await, ["0 1-1", "0 2-2", "0 3-3"]);
    let more = PageCommit {
        chunks: three(),
        ..page(&root, 1, 3)
    };
    bench.commit(&more).await;
    let claim = bench.claim_one(Queue::Fetches).await;
    let child = bench.fetch(&claim, 1);
    let lines = PageCommit {
        chunks: three(),
        ..last_page(&child, 3, false)
    };
    bench.commit(&lines).await;
    let mut streams = Vec::new();
    for _ in 0..4 {
        let handle = bench.handle(1, 1).await;
        let batch = batch_of(bench.take_more(&handle, &[]).await);
        assert_eq!(bench.settle(&handle, &batch).await, NextBatch::None);
        streams.push(handle.stream);
        bench.advance(SECOND).await;
    }
    assert_eq!(streams, ["0", "1", "0", "1"]);
}

#[tokio::test]
async fn a_pause_that_was_asked_for_ends_the_turns_of_other_streams_too() {
    let bench = Bench::with_two_streams().await;
    let (one, other) = (bench.handle(1, 0).await, bench.handle(1, 0).await);
    let first = batch_of(bench.take_more(&one, &[]).await);
    let pause = asked(5 * SECOND);
    bench.again(&one, &first, pause).await;
    assert_eq!(bench.take_more(&other, &[]).await, NextBatch::None);
    assert_eq!(bench.claimable().await, 0);
    bench.advance(6 * SECOND).await;
    assert_eq!(bench.claimable().await, 2);
}

#[tokio::test]
async fn a_window_lets_further_batches_go_and_settles_them_from_the_first_on() {
    let mut spec = spec();
    spec.batch_records = 2;
    let bench = Bench::running_with(spec).await;
    let claim = bench.claim_one(Queue::Fetches).await;
    let root = bench.fetch(&claim, 0);
    let chunks = (0..4).map(|_| chunk(2, "records")).collect();
    let commit = PageCommit {
        chunks,
        records: 8,
        ..last_page(&root, 0, false)
    };
    bench.commit(&commit).await;
    let handle = bench.handle(3, 0).await;
    let mut taken = Vec::new();
    for first_seq in [1, 3, 5] {
        let events: Vec<EventId> = taken.iter().map(|batch: &Batch| batch.event).collect();
        let batch = batch_of(bench.take_more(&handle, &events).await);
        assert_eq!(batch.first_seq, first_seq);
        taken.push(batch);
    }
    let events = [taken[0].event, taken[1].event, taken[2].event];
    assert_eq!(bench.take_more(&handle, &events).await, NextBatch::Held);

    let settle = async |batch: &Batch, in_flight: &[EventId]| {
        let outcome = Outcome::delivered(200);
        let settled = bench
            .store
            .settle_batch(&handle, batch.event, outcome, true, in_flight)
            .await;
        settled.expect("an answer")
    };
    // The last comes back first: it makes no room, since the window begins with what isn't acknowledged.
    let others = [events[0], events[1]];
    assert_eq!(settle(&taken[2], &others).await, NextBatch::Held);
    assert_eq!(bench.view().await.records_delivered, 2);
    assert_eq!(settle(&taken[2], &others).await, NextBatch::Stale);
    let last = batch_of(settle(&taken[0], &[events[1]]).await);
    assert_eq!((last.first_seq, last.records), (7, 2));

    // A worker that dies leaves two; whoever comes next sends both again, as they were.
    bench.advance(shared::store::queue::LEASE + SECOND).await;
    let rescued = bench.store.rescue_expired(Queue::Deliveries).await;
    assert_eq!(rescued.expect("a pass").len(), 1);
    assert_eq!(
        bench.deliver_all().await,
        ["0 3-4", "0 7-8", "sync_job_run:completed"]
    );
    assert_eq!(bench.view().await.records_delivered, 8);
}

#[tokio::test]
async fn a_batch_split_in_a_window_leaves_the_acknowledged_ones_after_it_alone() {
    let mut spec = spec();
    spec.batch_records = 4;
    let bench = Bench::running_with(spec).await;
    let claim = bench.claim_one(Queue::Fetches).await;
    let root = bench.fetch(&claim, 0);
    let chunks = (0..4).map(|_| chunk(2, "records")).collect();
    let commit = PageCommit {
        chunks,
        records: 8,
        ..last_page(&root, 0, false)
    };
    bench.commit(&commit).await;
    let handle = bench.handle(2, 0).await;
    let first = batch_of(bench.take_more(&handle, &[]).await);
    let second = batch_of(bench.take_more(&handle, &[first.event]).await);
    let outcome = Outcome::delivered(200);
    let settled = bench
        .store
        .settle_batch(&handle, second.event, outcome, true, &[first.event])
        .await;
    assert_eq!(settled.expect("an answer"), NextBatch::Held);
    let split = bench.store.split_batch(&handle, &first, 1, &[]).await;
    let half = batch_of(split.expect("an answer"));
    assert_eq!((half.first_seq, half.records), (1, 2));
    let half = batch_of(bench.settle(&handle, &half).await);
    assert_eq!((half.first_seq, half.records), (3, 2));
    bench.settle(&handle, &half).await;
    assert_eq!(bench.deliver_all().await, ["sync_job_run:completed"]);
    assert_eq!(bench.view().await.records_delivered, 8);
}

#[tokio::test]
async fn too_many_waiting_records_park_the_source_however_small_they_are() {
    let bench = Bench::running().await;
    let claim = bench.claim_one(Queue::Fetches).await;
    let root = bench.fetch(&claim, 0);
    let committed = bench.commit(&page(&root, 0, 200_001)).await;
    assert_eq!(committed, Committed::Parked);
    let view = bench.view().await;
    assert_eq!(view.waiting_for, Some(WaitingFor::Receiver));
    assert!(view.waiting_since.is_some());
    let health = bench.store.webhook_health(bench.spec.webhook_id).await;
    assert_eq!(health.expect("its health").undelivered_records, 200_001);

    let (handle, batch) = bench.take().await.expect("a batch");
    let given_up = bench
        .store
        .settle_batch(&handle, batch.event, GAVE_UP, true, &[])
        .await;
    given_up.expect("an answer");
    assert_eq!(bench.view().await.waiting_for, None);
    assert_eq!(bench.claim(Queue::Fetches, 1).await.len(), 1);
}

#[tokio::test]
async fn an_event_that_is_given_up_is_a_failure_of_its_receiver_too() {
    let bench = Bench::with_two_streams().await;
    bench.fail_deliveries(4).await;
    let (handle, batch) = bench.take().await.expect("a delivery");
    let plan = Retry::default();
    let outcome = Outcome::Dead {
        status: Some(500),
        cause: Cause::Refused,
        reason: "gave up",
        body: b"frozen",
        sent: true,
        failure: Some((&plan, 1.0)),
        ends_run: None,
    };
    let settled = bench
        .store
        .settle_batch(&handle, batch.event, outcome, true, &[])
        .await;
    assert_eq!(settled.expect("an answer"), NextBatch::None);
    assert_eq!(bench.claimable().await, 0, "the circuit is open");
    bench.advance(2 * SECOND).await;
    assert_eq!(bench.claimable().await, 1, "and lets a probe out");
}

#[tokio::test]
async fn a_probe_is_one_delivery_whatever_the_window() {
    let mut spec = spec();
    spec.batch_records = 2;
    let bench = Bench::running_with(spec).await;
    let claim = bench.claim_one(Queue::Fetches).await;
    let root = bench.fetch(&claim, 0);
    let commit = PageCommit {
        chunks: (0..4).map(|_| chunk(2, "records")).collect(),
        records: 8,
        ..last_page(&root, 0, false)
    };
    bench.commit(&commit).await;
    assert!(bench.fail_deliveries(5).await.open);
    bench.advance(2 * SECOND).await;
    let handle = bench.handle(4, 0).await;
    let probe = batch_of(bench.take_more(&handle, &[]).await);
    assert_eq!(
        bench.take_more(&handle, &[probe.event]).await,
        NextBatch::Held
    );
}

#[tokio::test]
async fn a_deleted_webhook_leaves_no_circuit_behind() {
    let bench = Bench::with_two_streams().await;
    bench.webhook(true).await;
    let (late, batch) = bench.take().await.expect("a delivery");
    let (environment, id) = (bench.spec.environment_id, bench.spec.webhook_id);
    let deleted = bench
        .store
        .objects()
        .delete::<Webhook>(environment, id, |_| {})
        .await;
    assert!(matches!(deleted, Ok(Some(_))));
    bench.fail_deliveries(4).await;
    assert!(
        bench
            .again(&late, &batch, failed(Duration::ZERO))
            .await
            .open
    );
    bench.advance(2 * SECOND).await;
    let gone = Outcome::Dead {
        status: None,
        cause: Cause::Broken,
        reason: "the webhook was deleted",
        body: b"",
        sent: false,
        failure: None,
        ends_run: Some("webhook_deleted"),
    };
    while let Some((handle, mut batch)) = bench.take().await {
        loop {
            let settled = bench
                .store
                .settle_batch(&handle, batch.event, gone, true, &[])
                .await;
            match settled.expect("an answer") {
                NextBatch::Batch(next) => batch = next,
                _ => break,
            }
        }
    }
    let left: Vec<String> = bench
        .store
        .connection()
        .keys(bench.store.keys().join(&["deliveries", "*"]))
        .await
        .expect("keys");
    assert!(left.iter().all(|key| key.ends_with(":idle")), "{left:?}");
}
