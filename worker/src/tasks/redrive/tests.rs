//! Redrives, most of them to a receiver that may not be called: no attempt is accepted.

use std::{
    io::{BufRead, BufReader, Write},
    net::TcpListener,
    sync::Arc,
    time::Duration,
};

use serde_json::json;
use shared::{
    catalog::Catalog,
    clock::Timestamp,
    http::{Outbound, TargetPolicy},
    ids::{AccountId, EnvironmentId, RedriveId, WebhookId},
    model::{
        account::Account,
        dead_letter::{Cause, DeadLetter, LetterFilter},
        redrive::{Redrive, RedriveInput, RedriveStatus},
        webhook::Webhook,
    },
    queue::Slot,
    seal::{Sealer, token::new_webhook_secret},
    store::{
        PageRequest, Store,
        attempts::attempt_log,
        deliveries::{DeliveryHandle, NextBatch, Outcome, Source},
        queue::{Claim, LEASE, MAX_RESCUES, Queue},
        redrives::{CreatedRedrive, NewRedrive},
    },
    testing,
};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::{MAX_TRIES, execute};
use crate::context::Context;

const HERE: EnvironmentId = EnvironmentId::from_bits(1);
const WEBHOOK: WebhookId = WebhookId::from_bits(2);
const ID: RedriveId = RedriveId::from_bits(3);
/// Longer than any wait between two tries.
const LONG: Duration = Duration::from_hours(2);

struct Bench {
    store: Store,
    sealer: Sealer,
    /// Of the workers.
    stop: CancellationToken,
}

impl Bench {
    /// A webhook whose target may not be called.
    async fn new() -> Self {
        Self::of("https://10.0.0.1/").await
    }

    async fn of(target_url: &str) -> Self {
        let sealer = Sealer::new(Sealer::new_master_key().expose()).expect("a sealer");
        let secret = new_webhook_secret();
        let sealed = sealer.seal(&WEBHOOK.to_string(), secret.expose().as_bytes());
        let webhook: Webhook = serde_json::from_value(json!({
            "id": WEBHOOK, "environment_id": HERE, "target_url": target_url, "event_types": [], "is_active": true,
            "label": null, "sealed_secret": sealed, "created_at": Timestamp(0), "updated_at": Timestamp(0),
        }))
        .expect("a webhook");
        let store = testing::redis::store();
        store.objects().create(&webhook).await.expect("made");
        Self {
            store,
            sealer,
            stop: CancellationToken::new(),
        }
    }

    /// One more dead letter.
    async fn letter(&self, number: u128, body: &[u8]) {
        let account: Account = serde_json::from_value(json!({
            "id": AccountId::from_bits(number), "environment_id": HERE, "integration_id": "int_00000000000000000000000001",
            "integration_name": "sample", "integration_label": "Sample", "tenant_id": "tenant", "label": null,
            "status": "connecting", "authentication_method": null, "context": {}, "sealed_credentials": "",
            "created_at": Timestamp(0), "updated_at": Timestamp(0),
        }))
        .expect("an account");
        self.store.objects().create(&account).await.expect("made");
        let claim = self.claim().await;
        let handle = DeliveryHandle {
            task: claim.id,
            token: claim.token,
            source: Source::Outbox(WEBHOOK),
            stream: "c".to_owned(),
            per_second: 0,
            window: 1,
        };
        let taken = self
            .store
            .take_batch(&handle, &[])
            .await
            .expect("an answer");
        let NextBatch::Batch(batch) = taken else {
            panic!("a batch is there, not {taken:?}");
        };
        let outcome = Outcome::Dead {
            status: Some(500),
            cause: Cause::Refused,
            reason: "gave up",
            body,
            sent: true,
            failure: None,
            ends_run: None,
        };
        let settled = self
            .store
            .settle_batch(&handle, batch.event, outcome, false, &[]);
        settled.await.expect("an answer");
    }

    async fn claim(&self) -> Claim {
        let token = ulid::Ulid::generate().to_string();
        let claimed = self.store.claim(Queue::Deliveries, 1, LEASE, &token).await;
        let mut tasks = claimed.expect("a claim").tasks;
        tasks.pop().expect("a ready task")
    }

    async fn redrive(&self) {
        let input = RedriveInput::default();
        let new = NewRedrive {
            id: ID,
            webhook: WEBHOOK,
            environment: HERE,
            input: &input,
            total: None,
            lane_limit: 8,
            retention_days: 1,
        };
        let made = self.store.create_redrive(&new).await;
        assert_eq!(made.expect("an answer"), CreatedRedrive::Created);
    }

    /// Executes a claimed task in a worker that has just started.
    async fn execute(&self, claim: &Claim) -> &'static str {
        let policy = TargetPolicy::new(&["127.0.0.0/8".to_owned()], true).expect("a policy");
        let outbound = Outbound::new(policy).expect("a client");
        let (sealer, catalog) = (self.sealer.clone(), Catalog::default());
        let store = self.store.clone();
        let attempts = attempt_log(14).0;
        let context = Context::new(
            store,
            outbound,
            sealer,
            catalog,
            attempts,
            14,
            self.stop.clone(),
        );
        let slots = Arc::new(Semaphore::new(1));
        let permit = slots.clone().try_acquire_owned().expect("a slot");
        let outcome = execute(&context, claim, &Slot::new(permit, slots), ID).await;
        outcome.expect("an outcome")
    }

    async fn state(&self) -> Redrive {
        let state = self.store.redrive(ID).await.expect("an answer");
        state.expect("a redrive").redrive
    }

    async fn letters(&self) -> Vec<DeadLetter> {
        let page = PageRequest {
            limit: 10,
            after: None,
        };
        let filter = LetterFilter::default();
        let letters = self.store.dead_letters(WEBHOOK, &filter, &page).await;
        letters.expect("a page").items
    }

    async fn advance(&self, by: Duration) {
        testing::advance_clock(&self.store, by).await;
    }
}

#[tokio::test]
async fn a_letter_that_is_refused_again_and_again_stays_and_the_next_one_is_tried() {
    let bench = Bench::new().await;
    bench.letter(1, b"{}").await;
    bench.letter(2, b"{}").await;
    bench.redrive().await;
    let mut tries = 0;
    while bench.state().await.status == RedriveStatus::Running {
        bench.execute(&bench.claim().await).await;
        bench.advance(LONG).await;
        tries += 1;
        assert!(tries <= 2 * MAX_TRIES, "{:?}", bench.state().await);
    }
    let redrive = bench.state().await;
    assert_eq!(redrive.status, RedriveStatus::Completed);
    assert_eq!((redrive.delivered, redrive.failed), (0, 2));
    let reason = redrive.last_error.expect("a reason");
    for letter in bench.letters().await {
        assert_eq!((letter.attempts, &letter.reason), (1 + MAX_TRIES, &reason));
        assert_eq!((letter.cause, letter.status_code), (Cause::Refused, None));
    }
}

#[tokio::test]
async fn a_letter_without_bytes_is_given_up_without_an_attempt() {
    let bench = Bench::new().await;
    bench.letter(1, b"").await;
    bench.redrive().await;
    assert_eq!(bench.execute(&bench.claim().await).await, "done");
    let redrive = bench.state().await;
    assert_eq!(
        (redrive.status, redrive.failed),
        (RedriveStatus::Completed, 1)
    );
    let letters = bench.letters().await;
    assert_eq!((letters[0].attempts, letters[0].cause), (1, Cause::Broken));
}

#[tokio::test]
async fn a_letter_that_crashes_its_worker_each_time_is_given_up_and_not_the_one_after_it() {
    let bench = Bench::new().await;
    bench.letter(1, b"{}").await;
    bench.letter(2, b"{}").await;
    bench.redrive().await;
    let claim = Claim {
        rescues: MAX_RESCUES + 1,
        ..bench.claim().await
    };
    assert_eq!(
        bench.execute(&claim).await,
        "retried",
        "the second one was tried"
    );
    let redrive = bench.state().await;
    assert_eq!(
        (redrive.status, redrive.failed),
        (RedriveStatus::Running, 1)
    );
    let letters = bench.letters().await;
    let crashed = letters
        .iter()
        .filter(|letter| letter.reason.contains("crashed"));
    assert_eq!(crashed.count(), 1);
}

#[tokio::test]
async fn a_redrive_waits_while_its_webhook_is_off_and_is_cancelled_when_that_is_deleted() {
    let bench = Bench::new().await;
    bench.letter(1, b"{}").await;
    bench.redrive().await;
    let objects = bench.store.objects();
    let off = |webhook: &mut Webhook| {
        webhook.is_active = false;
        Ok::<(), ()>(())
    };
    let updated = objects.update::<Webhook, ()>(HERE, WEBHOOK, off).await;
    assert!(updated.expect("an answer").is_some());
    assert_eq!(bench.execute(&bench.claim().await).await, "webhook_off");
    let deleted = objects.delete::<Webhook>(HERE, WEBHOOK, |_| {}).await;
    assert!(deleted.expect("an answer").is_some());
    assert_eq!(bench.execute(&bench.claim().await).await, "done");
    let redrive = bench.state().await;
    assert_eq!(redrive.status, RedriveStatus::Cancelled);
    assert_eq!(
        redrive.last_error.as_deref(),
        Some("the webhook was deleted")
    );
    let gauges = bench
        .store
        .queue_gauges(Queue::Deliveries)
        .await
        .expect("gauges");
    assert_eq!((gauges.ready, gauges.delayed, gauges.claimed), (0, 0, 0));
}

#[tokio::test]
async fn letters_that_were_given_up_after_a_redrive_was_made_are_none_of_it() {
    let bench = Bench::new().await;
    bench.redrive().await;
    let claim = bench.claim().await;
    bench.advance(Duration::from_secs(1)).await;
    bench.letter(1, b"{}").await;
    assert_eq!(bench.execute(&claim).await, "done");
    let redrive = bench.state().await;
    assert_eq!(
        (redrive.status, redrive.failed),
        (RedriveStatus::Completed, 0)
    );
    assert_eq!(bench.letters().await[0].reason, "gave up");
}

/// Answers one request; its URL, and the head of that request.
fn receiver(answer: &'static str) -> (String, tokio::task::JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let received = tokio::task::spawn_blocking(move || {
        let (mut stream, _) = listener.accept().expect("a connection");
        let lines = BufReader::new(stream.try_clone().expect("a stream")).lines();
        let head: Vec<String> = lines
            .map_while(Result::ok)
            .take_while(|line| !line.is_empty())
            .collect();
        let answer = format!("HTTP/1.1 {answer}\r\nconnection: close\r\n\r\n");
        stream.write_all(answer.as_bytes()).expect("answered");
        head
    });
    (format!("http://{address}/"), received)
}

#[tokio::test]
async fn an_event_that_belongs_to_no_run_is_redriven_under_its_id() {
    let (url, received) = receiver("204 No Content");
    let bench = Bench::of(&url).await;
    bench.letter(1, b"{}").await;
    let id = bench.letters().await.remove(0).id;
    bench.redrive().await;
    assert_eq!(bench.execute(&bench.claim().await).await, "done");
    let redrive = bench.state().await;
    assert_eq!(
        (redrive.status, redrive.delivered),
        (RedriveStatus::Completed, 1)
    );
    assert!(bench.letters().await.is_empty());
    let head = received.await.expect("a request");
    assert!(head.contains(&format!("webhook-id: {id}")), "{head:?}");
}

#[tokio::test]
async fn a_redrive_goes_on_elsewhere_from_the_next_letter_when_its_worker_stops() {
    let (url, received) = receiver("204 No Content");
    let bench = Bench::of(&url).await;
    bench.letter(1, b"{}").await;
    bench.letter(2, b"{}").await;
    bench.redrive().await;
    let claim = bench.claim().await;
    bench.stop.cancel();
    bench.execute(&claim).await;
    received.await.expect("a request");
    let redrive = bench.state().await;
    assert_eq!(
        (redrive.status, redrive.delivered, redrive.failed),
        (RedriveStatus::Running, 1, 0)
    );
    assert_eq!(bench.letters().await.len(), 1);
    assert_eq!(bench.claim().await.id, claim.id, "the task is ready");
}

#[tokio::test]
async fn retry_after_blocks_the_lane_and_counts_no_try() {
    let (url, _received) =
        receiver("429 Too Many Requests\r\nretry-after: 60\r\ncontent-length: 0");
    let bench = Bench::of(&url).await;
    bench.letter(1, b"{}").await;
    bench.redrive().await;
    assert_eq!(bench.execute(&bench.claim().await).await, "retried");
    let gauges = bench.store.queue_gauges(Queue::Deliveries).await;
    assert_eq!(gauges.expect("gauges").blocked_lanes, 1);
    assert_eq!(bench.letters().await[0].attempts, 1);
    bench.advance(Duration::from_mins(1)).await;
    assert_eq!(bench.claim().await.body, "redrive.1");
}

#[tokio::test]
async fn a_receiver_that_is_gone_switches_its_webhook_off_and_the_letter_waits() {
    let (url, _received) = receiver("410 Gone\r\ncontent-length: 0");
    let bench = Bench::of(&url).await;
    bench.letter(1, b"{}").await;
    bench.redrive().await;
    assert_eq!(bench.execute(&bench.claim().await).await, "webhook_off");
    let webhook = bench.store.objects().get::<Webhook>(HERE, WEBHOOK).await;
    let webhook = webhook.expect("an answer").expect("the webhook");
    assert!(!webhook.is_active && webhook.disabled_reason.is_some());
    let redrive = bench.state().await;
    assert_eq!(
        (redrive.status, redrive.failed),
        (RedriveStatus::Running, 0)
    );
}

#[tokio::test]
async fn a_letter_that_can_only_be_refused_is_given_up_at_once() {
    let (url, _received) = receiver("413 Content Too Large\r\ncontent-length: 0");
    let bench = Bench::of(&url).await;
    bench.letter(1, b"{}").await;
    bench.redrive().await;
    assert_eq!(bench.execute(&bench.claim().await).await, "done");
    let redrive = bench.state().await;
    assert_eq!(
        (redrive.status, redrive.failed),
        (RedriveStatus::Completed, 1)
    );
    let letters = bench.letters().await;
    assert_eq!(
        (letters[0].status_code, letters[0].attempts),
        (Some(413), 2)
    );
}
