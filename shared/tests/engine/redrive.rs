//! Dead letters: looking for them, deleting them, sending them again.

use std::time::Duration;

use redis::AsyncCommands;
use shared::{
    ids::{EventId, RedriveId, RunId, WebhookId},
    model::{
        dead_letter::{Cause, LetterFilter},
        redrive::{Redrive, RedriveInput, RedriveStatus},
        run::RunStatus,
        webhook::Retry,
    },
    store::{
        PageRequest,
        fetches::PageCommit,
        queue::{Held, LEASE, Queue},
        redrives::{
            CancelledRedrive, CreatedRedrive, LetterOutcome, NewRedrive, RedriveHandle,
            RedriveStep, RedriveWait, TakenLetter,
        },
    },
};

use crate::support::{Bench, GAVE_UP, chunk, last_page, spec};

const ID: RedriveId = RedriveId::from_bits(1);
const ACCEPTED: LetterOutcome<'static> = LetterOutcome::Delivered { status: 204 };
const REFUSED: LetterOutcome<'static> = LetterOutcome::Failed {
    status: Some(418),
    cause: Cause::Refused,
    reason: "still no",
    sent: true,
};

/// A completed run of which all `records` are dead letters of one record each; their events, in order.
async fn dead(records: u32) -> (Bench, Vec<EventId>) {
    let mut spec = spec();
    spec.batch_records = 1;
    let bench = Bench::running_with(spec).await;
    let claim = bench.claim_one(Queue::Fetches).await;
    let handle = bench.fetch(&claim, 0);
    let page = PageCommit {
        chunks: (0..records).map(|_| chunk(1, "records")).collect(),
        ..last_page(&handle, records, false)
    };
    bench.commit(&page).await;
    let mut events = Vec::new();
    while events.len() < records as usize {
        let (delivery, batch) = bench.take().await.expect("a batch");
        let settled = bench
            .store
            .settle_batch(&delivery, batch.event, GAVE_UP, false, &[]);
        settled.await.expect("an answer");
        events.push(batch.event);
    }
    assert_eq!(bench.deliver_all().await, ["sync_job_run:completed"]);
    // Ids of one millisecond have no order but their own.
    events.sort();
    (bench, events)
}

impl Bench {
    async fn create_redrive(&self, id: RedriveId, input: &RedriveInput) -> CreatedRedrive {
        let new = NewRedrive {
            id,
            webhook: self.spec.webhook_id,
            environment: self.spec.environment_id,
            input,
            total: Some(7),
            lane_limit: 8,
            retention_days: 1,
        };
        self.store.create_redrive(&new).await.expect("an answer")
    }

    /// A redrive of all letters, its task claimed.
    async fn redriving(&self) -> RedriveHandle {
        let made = self.create_redrive(ID, &RedriveInput::default()).await;
        assert_eq!(made, CreatedRedrive::Created);
        self.claim_redrive().await
    }

    async fn claim_redrive(&self) -> RedriveHandle {
        let claim = self.claim_one(Queue::Deliveries).await;
        assert_eq!(claim.body, "redrive.1");
        RedriveHandle {
            task: claim.id,
            token: claim.token,
            redrive: ID,
        }
    }

    async fn redrive(&self) -> Redrive {
        let state = self.store.redrive(ID).await.expect("an answer");
        state.expect("a redrive").redrive
    }

    async fn take_letter(&self, handle: &RedriveHandle, event: EventId) -> TakenLetter {
        self.take_letter_since(handle, event).await.0
    }

    /// The letter, and whole minutes since the first attempt at it.
    async fn take_letter_since(
        &self,
        handle: &RedriveHandle,
        event: EventId,
    ) -> (TakenLetter, u64) {
        let taken = self.store.take_letter(handle, event, 0).await;
        let mut taken = taken.expect("an answer");
        let mut minutes = 0;
        if let TakenLetter::Letter { failing, .. } = &mut taken {
            minutes = std::mem::take(failing).as_secs() / 60;
        }
        (taken, minutes)
    }

    async fn settle_letter(
        &self,
        handle: &RedriveHandle,
        event: EventId,
        outcome: LetterOutcome<'_>,
        pause: Option<Duration>,
    ) -> RedriveStep {
        let settled = self
            .store
            .settle_letter(handle, event, outcome, pause)
            .await;
        settled.expect("an answer")
    }

    /// Ids of the dead letters that match, oldest first.
    async fn letters(&self, filter: &LetterFilter) -> Vec<String> {
        let page = self
            .store
            .dead_letters_after(self.spec.webhook_id, filter, None);
        let items = page.await.expect("a page").items;
        items.into_iter().map(|letter| letter.id).collect()
    }
}

const TURN: RedriveWait<'static> = RedriveWait::Turn { cursor: None };

/// An attempt that was not accepted, after which the letter alone waits for `delay`.
fn failed(event: EventId, delay: Duration) -> RedriveWait<'static> {
    static PLAN: Retry = Retry {
        first_ms: 1000,
        max_ms: 3_600_000,
        give_up_after_hours: 24,
    };
    RedriveWait::Failed {
        event,
        reason: "the receiver answered 500",
        delay,
        plan: &PLAN,
        random: 1.0,
    }
}

fn letter(tries: u32) -> TakenLetter {
    TakenLetter::Letter {
        tries,
        failing: Duration::ZERO,
        body: "frozen".into(),
    }
}

#[tokio::test]
async fn a_letter_that_is_accepted_is_none_any_more_and_its_run_counts_it_as_delivered() {
    let (bench, events) = dead(2).await;
    let handle = bench.redriving().await;
    for event in &events {
        assert_eq!(bench.take_letter(&handle, *event).await, letter(0));
        let current = bench.redrive().await.current_event_id;
        assert_eq!(current, Some(*event));
        let settled = bench.settle_letter(&handle, *event, ACCEPTED, None).await;
        assert_eq!(settled, RedriveStep::Done);
    }
    let finished = bench
        .store
        .finish_redrive(&handle, RedriveStatus::Completed, None);
    assert_eq!(finished.await.expect("an answer"), Held::Done);

    let redrive = bench.redrive().await;
    assert_eq!(redrive.status, RedriveStatus::Completed);
    assert_eq!(
        (redrive.total, redrive.delivered, redrive.failed),
        (Some(7), 2, 0)
    );
    assert!(redrive.finished_at.is_some() && redrive.current_event_id.is_none());
    assert!(bench.letters(&LetterFilter::default()).await.is_empty());
    let view = bench.view().await;
    assert_eq!(
        (view.status, view.records_dead, view.records_delivered),
        (RunStatus::Completed, 0, 2)
    );
    let page = PageRequest {
        limit: 10,
        after: None,
    };
    let runs = bench.store.runs();
    let listed = runs.events(bench.spec.environment_id, bench.spec.id, &page);
    let listed = listed.await.expect("an answer").expect("the run").items;
    let listed = serde_json::to_value(listed).expect("JSON");
    let last = listed
        .as_array()
        .and_then(|rows| rows.last())
        .expect("a row");
    assert_eq!(
        (&last["id"], &last["outcome"]),
        (&events[1].to_string().into(), &"delivered".into()),
        "{listed}"
    );

    let mut connection = bench.store.connection();
    let keys = bench.store.keys();
    for key in [keys.redrive(ID), keys.redrives_of(bench.spec.webhook_id)] {
        let seconds: i64 = connection.ttl(&key).await.expect("a time");
        assert!(seconds > 0, "{key} expires");
    }
    let active = keys.join(&["redriving", &bench.spec.webhook_id.to_string()]);
    assert!(
        !connection
            .exists::<_, bool>(active)
            .await
            .expect("an answer")
    );
    assert_eq!(bench.leftovers().await, Vec::<String>::new());
}

#[tokio::test]
async fn a_letter_that_is_refused_again_stays_with_its_new_reason_and_the_cursor_goes_on() {
    let (bench, events) = dead(2).await;
    let handle = bench.redriving().await;
    bench.take_letter(&handle, events[0]).await;
    let settled = bench.settle_letter(&handle, events[0], REFUSED, None).await;
    assert_eq!(settled, RedriveStep::Done);
    let kept = bench
        .store
        .dead_letter(bench.spec.webhook_id, events[0])
        .await;
    let kept = kept.expect("an answer").expect("the letter");
    assert_eq!(kept.body, b"frozen");
    let found = (
        &*kept.letter.reason,
        kept.letter.status_code,
        kept.letter.attempts,
    );
    assert_eq!(found, ("still no", Some(418), 2));
    let state = bench
        .store
        .redrive(ID)
        .await
        .expect("an answer")
        .expect("a redrive");
    assert_eq!(state.cursor, Some(events[0].to_string()));
    assert_eq!((state.redrive.delivered, state.redrive.failed), (0, 1));
    assert_eq!(state.redrive.last_error.as_deref(), Some("still no"));
    assert_eq!(bench.view().await.records_dead, 2);
}

#[tokio::test]
async fn a_settled_letter_that_is_settled_again_after_a_lost_answer_counts_once() {
    let (bench, events) = dead(2).await;
    let handle = bench.redriving().await;
    bench.take_letter(&handle, events[0]).await;
    for _ in 0..2 {
        let settled = bench
            .settle_letter(&handle, events[0], ACCEPTED, None)
            .await;
        assert_eq!(settled, RedriveStep::Done);
    }
    assert_eq!(bench.take_letter(&handle, events[1]).await, letter(0));
    let pause = Some(Duration::from_mins(1));
    let settled = bench
        .settle_letter(&handle, events[1], ACCEPTED, pause)
        .await;
    assert_eq!(settled, RedriveStep::Done);
    let again = bench
        .settle_letter(&handle, events[1], ACCEPTED, pause)
        .await;
    assert_eq!(again, RedriveStep::Stale, "the task waits for its time");
    assert_eq!(bench.redrive().await.delivered, 2);
    let view = bench.view().await;
    assert_eq!((view.records_dead, view.records_delivered), (0, 2));
    assert!(bench.claim(Queue::Deliveries, 1).await.is_empty());
    bench.advance(Duration::from_mins(1)).await;
    bench.claim_redrive().await;
}

#[tokio::test]
async fn a_redrive_whose_worker_died_goes_on_at_the_letter_it_was_at_and_the_old_lease_changes_nothing()
 {
    let (bench, events) = dead(2).await;
    let old = bench.redriving().await;
    bench.take_letter(&old, events[0]).await;
    bench.settle_letter(&old, events[0], ACCEPTED, None).await;
    bench.take_letter(&old, events[1]).await;
    bench.advance(LEASE + Duration::from_secs(1)).await;
    let rescued = bench.store.rescue_expired(Queue::Deliveries).await;
    assert_eq!(rescued.expect("a pass"), std::slice::from_ref(&old.task));
    let new = bench.claim_redrive().await;

    assert_eq!(bench.take_letter(&old, events[1]).await, TakenLetter::Stale);
    let settled = bench.settle_letter(&old, events[1], ACCEPTED, None).await;
    assert_eq!(settled, RedriveStep::Stale);
    let waited = bench.store.delay_redrive(&old, TURN).await;
    assert_eq!(waited.expect("an answer"), RedriveStep::Stale);
    let finished = bench
        .store
        .finish_redrive(&old, RedriveStatus::Completed, None);
    assert_eq!(finished.await.expect("an answer"), Held::Stale);
    let redrive = bench.redrive().await;
    assert_eq!(
        (redrive.status, redrive.delivered),
        (RedriveStatus::Running, 1)
    );

    let state = bench
        .store
        .redrive(ID)
        .await
        .expect("an answer")
        .expect("a redrive");
    assert_eq!(state.cursor, Some(events[0].to_string()));
    assert_eq!(bench.take_letter(&new, events[1]).await, letter(0));
}

#[tokio::test]
async fn an_attempt_that_was_not_accepted_is_counted_and_delays_the_task_not_a_worker() {
    let (bench, events) = dead(1).await;
    let handle = bench.redriving().await;
    bench.take_letter(&handle, events[0]).await;
    let minute = Duration::from_mins(1);
    let refused = failed(events[0], minute);
    for expected in [RedriveStep::Done, RedriveStep::Stale] {
        let waited = bench.store.delay_redrive(&handle, refused).await;
        assert_eq!(waited.expect("an answer"), expected);
    }
    assert!(bench.claim(Queue::Deliveries, 1).await.is_empty());
    bench.advance(minute).await;
    let handle = bench.claim_redrive().await;
    assert_eq!(bench.take_letter(&handle, events[0]).await, letter(1));

    // What the receiver asked for counts no try, and holds for the whole lane.
    let asked = RedriveWait::Asked {
        pause: minute,
        elapsed: Duration::ZERO,
        reason: "the receiver answered 429",
    };
    let mut handle = handle;
    for minutes in 0..3 {
        bench
            .store
            .delay_redrive(&handle, asked)
            .await
            .expect("an answer");
        let gauges = bench.store.queue_gauges(Queue::Deliveries).await;
        assert_eq!(gauges.expect("gauges").blocked_lanes, 1);
        bench.advance(minute).await;
        handle = bench.claim_redrive().await;
        // The time after the first pause counts, for when to give up.
        let taken = bench.take_letter_since(&handle, events[0]).await;
        assert_eq!(taken, (letter(1), minutes));
    }
    let redrive = bench.redrive().await;
    assert_eq!(
        redrive.last_error.as_deref(),
        Some("the receiver answered 429")
    );
    assert_eq!((redrive.delivered, redrive.failed), (0, 0));
}

#[tokio::test]
async fn a_redrive_is_made_once_and_one_of_a_webhook_at_a_time() {
    let (bench, _) = dead(1).await;
    let input = RedriveInput::default();
    assert_eq!(
        bench.create_redrive(ID, &input).await,
        CreatedRedrive::Created
    );
    assert_eq!(
        bench.create_redrive(ID, &input).await,
        CreatedRedrive::Existed
    );
    let second = RedriveId::from_bits(2);
    assert_eq!(
        bench.create_redrive(second, &input).await,
        CreatedRedrive::Active(ID)
    );
    assert_eq!(
        bench.claim(Queue::Deliveries, 9).await.len(),
        1,
        "it has one task"
    );
    let cancelled = bench.store.cancel_redrive(bench.spec.webhook_id, ID).await;
    assert_eq!(cancelled.expect("an answer"), CancelledRedrive::Cancelled);
    assert_eq!(
        bench.create_redrive(second, &input).await,
        CreatedRedrive::Created
    );
    let page = PageRequest {
        limit: 1,
        after: None,
    };
    let list = bench
        .store
        .redrives(bench.spec.webhook_id, &page)
        .await
        .expect("a page");
    assert_eq!(
        (list.items[0].id, list.next.as_deref()),
        (second, Some(second.to_string().as_str()))
    );
}

#[tokio::test]
async fn a_cancel_keeps_the_letters_and_still_counts_the_one_that_is_being_sent() {
    let (bench, events) = dead(2).await;
    let handle = bench.redriving().await;
    bench.take_letter(&handle, events[0]).await;
    let webhook = bench.spec.webhook_id;
    let cancel = async |webhook| {
        bench
            .store
            .cancel_redrive(webhook, ID)
            .await
            .expect("an answer")
    };
    assert_eq!(
        cancel(WebhookId::from_bits(9)).await,
        CancelledRedrive::NotFound
    );
    assert_eq!(cancel(webhook).await, CancelledRedrive::Cancelled);
    assert_eq!(cancel(webhook).await, CancelledRedrive::Ended);
    let settled = bench
        .settle_letter(&handle, events[0], ACCEPTED, None)
        .await;
    assert_eq!(settled, RedriveStep::Ended);
    assert_eq!(
        bench.take_letter(&handle, events[1]).await,
        TakenLetter::Stale,
        "its task is gone"
    );
    let redrive = bench.redrive().await;
    assert_eq!(
        (redrive.status, redrive.delivered),
        (RedriveStatus::Cancelled, 1)
    );
    assert_eq!(
        bench.letters(&LetterFilter::default()).await,
        [events[1].to_string()]
    );
    assert_eq!(bench.leftovers().await, Vec::<String>::new());
}

#[tokio::test]
async fn a_letter_that_went_while_it_was_being_sent_is_not_counted_again() {
    let (bench, events) = dead(2).await;
    let handle = bench.redriving().await;
    let webhook = bench.spec.webhook_id;
    for (event, outcome) in [(events[0], ACCEPTED), (events[1], REFUSED)] {
        bench.take_letter(&handle, event).await;
        // As one that a cancelled redrive was still sending, and that was accepted there.
        let gone = bench.store.delete_dead_letter(webhook, event).await;
        assert!(gone.expect("an answer"));
        let settled = bench.settle_letter(&handle, event, outcome, None).await;
        assert_eq!(settled, RedriveStep::Done);
    }
    let redrive = bench.redrive().await;
    assert_eq!((redrive.delivered, redrive.failed), (0, 0));
}

#[tokio::test]
async fn a_cancelled_redrive_that_waited_leaves_no_task() {
    let (bench, events) = dead(2).await;
    let handle = bench.redriving().await;
    bench.take_letter(&handle, events[0]).await;
    let pause = Some(Duration::from_hours(1));
    bench
        .settle_letter(&handle, events[0], ACCEPTED, pause)
        .await;
    let cancelled = bench.store.cancel_redrive(bench.spec.webhook_id, ID).await;
    assert_eq!(cancelled.expect("an answer"), CancelledRedrive::Cancelled);
    assert_eq!(bench.leftovers().await, Vec::<String>::new());
}

#[tokio::test]
async fn a_cancelled_redrive_that_was_ready_ends_when_it_is_met() {
    let (bench, events) = dead(1).await;
    bench.create_redrive(ID, &RedriveInput::default()).await;
    let cancelled = bench.store.cancel_redrive(bench.spec.webhook_id, ID).await;
    assert_eq!(cancelled.expect("an answer"), CancelledRedrive::Cancelled);
    let handle = bench.claim_redrive().await;
    assert_eq!(
        bench.take_letter(&handle, events[0]).await,
        TakenLetter::Ended
    );
    assert_eq!(bench.leftovers().await, Vec::<String>::new());
}

#[tokio::test]
async fn a_letter_whose_run_has_expired_is_redriven_without_making_the_run_again() {
    let (bench, events) = dead(1).await;
    let run_key = bench.store.keys().run(bench.spec.id);
    let _: u64 = bench
        .store
        .connection()
        .del(&run_key)
        .await
        .expect("deleted");
    let handle = bench.redriving().await;
    bench.take_letter(&handle, events[0]).await;
    bench
        .settle_letter(&handle, events[0], ACCEPTED, None)
        .await;
    assert!(bench.letters(&LetterFilter::default()).await.is_empty());
    let exists: bool = bench
        .store
        .connection()
        .exists(run_key)
        .await
        .expect("an answer");
    assert!(!exists);
}

#[tokio::test]
async fn a_deleted_letter_is_gone_once_and_its_run_still_counts_it_as_dead() {
    let (bench, events) = dead(2).await;
    let (webhook, store) = (bench.spec.webhook_id, &bench.store);
    let delete = async |webhook, event| {
        store
            .delete_dead_letter(webhook, event)
            .await
            .expect("an answer")
    };
    assert!(
        !delete(WebhookId::from_bits(9), events[0]).await,
        "it is another webhook's"
    );
    assert!(delete(webhook, events[0]).await);
    assert!(!delete(webhook, events[0]).await);
    assert_eq!(
        bench.letters(&LetterFilter::default()).await,
        [events[1].to_string()]
    );
    assert_eq!(bench.view().await.records_dead, 2);
    // A redrive that was at it goes on with the next one.
    let handle = bench.redriving().await;
    assert_eq!(
        bench.take_letter(&handle, events[0]).await,
        TakenLetter::Gone
    );
    assert_eq!(bench.take_letter(&handle, events[1]).await, letter(0));
}

#[tokio::test]
async fn letters_are_listed_by_what_a_filter_names_page_by_page() {
    let (bench, events) = dead(3).await;
    let webhook = bench.spec.webhook_id;
    let filters = [
        (LetterFilter::default(), 3),
        (
            LetterFilter {
                sync_job_run_id: Some(bench.spec.id),
                ..LetterFilter::default()
            },
            3,
        ),
        (
            LetterFilter {
                sync_job_run_id: Some(RunId::from_bits(9)),
                ..LetterFilter::default()
            },
            0,
        ),
        (
            LetterFilter {
                event_id: Some(events[1]),
                ..LetterFilter::default()
            },
            1,
        ),
        (
            LetterFilter {
                reason: Some("GAVE".to_owned()),
                ..LetterFilter::default()
            },
            3,
        ),
        (
            LetterFilter {
                cause: Some(Cause::Broken),
                ..LetterFilter::default()
            },
            0,
        ),
    ];
    for (filter, expected) in filters {
        let count = bench.store.count_dead_letters(webhook, &filter).await;
        assert_eq!(count.expect("a count"), Some(expected), "{filter:?}");
    }
    let filter = LetterFilter {
        resource: Some("orders".to_owned()),
        ..LetterFilter::default()
    };
    let first = PageRequest {
        limit: 2,
        after: None,
    };
    let first = bench
        .store
        .dead_letters(webhook, &filter, &first)
        .await
        .expect("a page");
    let ids = |items: &[shared::model::dead_letter::DeadLetter]| -> Vec<String> {
        items.iter().map(|letter| letter.id.clone()).collect()
    };
    assert_eq!(
        ids(&first.items),
        [events[2].to_string(), events[1].to_string()]
    );
    let second = PageRequest {
        limit: 2,
        after: first.next,
    };
    let second = bench
        .store
        .dead_letters(webhook, &filter, &second)
        .await
        .expect("a page");
    assert_eq!(
        (ids(&second.items), second.next),
        (vec![events[0].to_string()], None)
    );
    // Another webhook's letter is not found under this one.
    let other = bench
        .store
        .dead_letter(WebhookId::from_bits(9), events[0])
        .await;
    assert_eq!(other.expect("an answer"), None);
}

#[tokio::test]
async fn a_redrive_whose_turn_is_over_goes_behind_the_streams_of_its_webhook() {
    let (bench, _) = dead(1).await;
    let handle = bench.redriving().await;
    let environment = bench.spec.environment_id.to_string();
    let lane = bench.spec.webhook_id.to_string();
    let stream = [("other".to_owned(), "deliver.1 c".to_owned())];
    let store = &bench.store;
    let pushed = store.push_tasks(Queue::Deliveries, &environment, &lane, 8, &stream);
    pushed.await.expect("pushed");
    let waited = bench.store.delay_redrive(&handle, TURN);
    assert_eq!(waited.await.expect("an answer"), RedriveStep::Done);
    let claimed = bench.claim(Queue::Deliveries, 8).await;
    let ids: Vec<_> = claimed.iter().map(|claim| &*claim.id).collect();
    assert_eq!(ids, ["other", &handle.task]);
}

#[tokio::test]
async fn a_pause_that_a_stream_was_asked_for_ends_the_turn_of_a_redrive_too() {
    let (bench, events) = dead(2).await;
    let handle = bench.redriving().await;
    assert_eq!(bench.take_letter(&handle, events[0]).await, letter(0));
    let lane = bench.spec.webhook_id.to_string();
    let key = bench.store.keys().join(&["deliveries", "lane", &lane]);
    // As a stream of the webhook leaves it.
    let until = shared::clock::Timestamp::now().0 + 3_600_000;
    let mut connection = bench.store.connection();
    let _: () = connection
        .hset(key, "blocked_until", until)
        .await
        .expect("set");
    bench
        .settle_letter(&handle, events[0], ACCEPTED, None)
        .await;
    let taken = bench.take_letter(&handle, events[1]).await;
    assert_eq!(taken, TakenLetter::Paced);
    let after = bench.take_letter(&handle, events[1]).await;
    assert_eq!(after, TakenLetter::Stale, "it waits with its lane");
}

#[tokio::test]
async fn redrives_open_the_circuit_of_a_webhook_and_close_it() {
    let (bench, events) = dead(1).await;
    let mut handle = bench.redriving().await;
    let health = async || {
        let health = bench.store.webhook_health(bench.spec.webhook_id).await;
        health.expect("an answer")
    };
    for _ in 0..5 {
        bench.take_letter(&handle, events[0]).await;
        let wait = failed(events[0], Duration::ZERO);
        let waited = bench.store.delay_redrive(&handle, wait).await;
        assert_eq!(waited.expect("an answer"), RedriveStep::Done);
        bench.advance(Duration::from_millis(1)).await;
        if !health().await.circuit_open {
            handle = bench.claim_redrive().await;
        }
    }
    assert_eq!(health().await.consecutive_failures, 5);
    assert!(
        bench.claim(Queue::Deliveries, 1).await.is_empty(),
        "the lane waits"
    );
    bench.advance(Duration::from_mins(5)).await;
    let handle = bench.claim_redrive().await;
    bench.take_letter(&handle, events[0]).await;
    bench
        .settle_letter(&handle, events[0], ACCEPTED, None)
        .await;
    let health = health().await;
    assert!(!health.circuit_open && health.consecutive_failures == 0);
}

#[tokio::test]
async fn a_redrive_keeps_the_pace_of_its_webhook() {
    let (bench, events) = dead(2).await;
    let handle = bench.redriving().await;
    let take = async |handle: &RedriveHandle, event| {
        let taken = bench.store.take_letter(handle, event, 1).await;
        let mut taken = taken.expect("an answer");
        if let TakenLetter::Letter { failing, .. } = &mut taken {
            *failing = Duration::ZERO;
        }
        taken
    };
    assert_eq!(take(&handle, events[0]).await, letter(0));
    bench
        .settle_letter(&handle, events[0], ACCEPTED, None)
        .await;
    assert_eq!(take(&handle, events[1]).await, TakenLetter::Paced);
    assert!(bench.claim(Queue::Deliveries, 1).await.is_empty());
    bench.advance(Duration::from_secs(1)).await;
    let handle = bench.claim_redrive().await;
    assert_eq!(take(&handle, events[1]).await, letter(0));
}
