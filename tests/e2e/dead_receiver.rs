//! Receivers that take nothing for hours, for days, or ever again; and what that costs the others.

use std::time::Duration;

use anyhow::{Context, Result};
use reqwest::Method;
use serde_json::{Value, json};
use syncline_tests::{
    ledger::Terms,
    receiver::{Answer, Receiver},
};

use crate::{
    lane::Lane,
    scenario::{LONG, Setup, Shop, Syncing},
};

const SHOP: Shop = Shop {
    orders: 50,
    per_page: 10,
    lines: 2,
};
const RECORDS: u64 = 150;
const HOUR: Duration = Duration::from_hours(1);

fn with_delivery(delivery: &Value) -> Setup {
    Setup {
        webhook: json!({"delivery": delivery}),
        ..Setup::default()
    }
}

async fn fetched(sync: &Syncing, run: &str) -> Result<Value> {
    let all = |state: &Value| state["records_fetched"] == RECORDS;
    sync.wait(run, "everything to be fetched", all).await
}

async fn webhook(sync: &Syncing) -> Result<Value> {
    sync.rest.get(&format!("/webhook/{}", sync.webhook)).await
}

/// Another webhook of the environment, that hears of webhooks switched off.
async fn watcher(sync: &Syncing) -> Result<Receiver> {
    let receiver = Receiver::start()?;
    let watching = json!({"target_url": receiver.url(), "event_types": ["webhook:disabled"]});
    sync.rest.create("/webhook", &watching).await?;
    Ok(receiver)
}

/// Waits until the webhook is off and the environment was told; gives the reason.
async fn switched_off(sync: &Syncing, watcher: &Receiver) -> Result<String> {
    let told = watcher.wait_for("webhook:disabled", LONG)?.event();
    let payload = &told["payload"];
    assert_eq!(payload["webhook"]["id"], sync.webhook.as_str());
    let off = webhook(sync).await?;
    assert_eq!(off["is_active"], false);
    assert_eq!(payload["reason"], off["disabled_reason"]);
    assert!(off["disabled_at"].is_string(), "{off}");
    let reason = off["disabled_reason"].as_str().context("a reason")?;
    Ok(reason.to_owned())
}

async fn switch_on(sync: &Syncing) -> Result<()> {
    let path = format!("/webhook/{}", sync.webhook);
    let (status, answer) = sync
        .rest
        .call(Method::PATCH, &path, Some(&json!({"is_active": true})))
        .await?;
    anyhow::ensure!(status.is_success(), "{status}: {answer}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_is_gone_is_left_alone_and_its_backlog_drains_when_it_is_back() -> Result<()>
{
    let sync = Syncing::of_shop(SHOP, with_delivery(&json!({"concurrency": 4}))).await?;
    let watcher = watcher(&sync).await?;
    sync.receiver
        .answer_next([200, 200, 410].map(Answer::Status));
    sync.receiver.answer_always(Answer::Status(410));
    let run = sync.start_run().await?;
    let reason = switched_off(&sync, &watcher).await?;
    assert!(reason.contains("410"), "{reason}");
    let waiting = fetched(&sync, &run).await?;
    assert_eq!(
        (
            &waiting["status"],
            &waiting["waiting_for"],
            &waiting["records_dead"]
        ),
        (&json!("running"), &json!("receiver"), &json!(0))
    );
    // No more than what was under way already.
    let tried = sync.receiver.deliveries().len();
    assert!(tried <= 2 + 4, "{tried} requests");
    sync.receiver.answer_always(Answer::Status(200));
    switch_on(&sync).await?;
    let run = sync.finish(&run).await?;
    sync.check(&run).await?.expect_all(&SHOP.served());
    assert_eq!(
        (&run["records_dead"], &run["waiting_for"]),
        (&json!(0), &Value::Null)
    );
    assert_eq!(watcher.deliveries().len(), 1);
    Ok(())
}

/// Lets the receiver fail for five days.
async fn five_days(sync: &Syncing, lane: &mut Lane, watcher: &Receiver) -> Result<String> {
    // Failures more than two days apart are two outages.
    for _ in 0..4 {
        let left = lane.wait_blocked().await?;
        let before = sync.receiver.deliveries().len();
        lane.advance(left.max(31 * HOUR)).await?;
        sync.receiver
            .wait_until("it is tried again", LONG, |all| all.len() > before)?;
    }
    switched_off(sync, watcher).await
}

#[tokio::test(flavor = "multi_thread")]
async fn after_five_days_of_failures_a_webhook_is_switched_off_and_loses_nothing() -> Result<()> {
    // An event is tried for a week here.
    let patient = json!({"retry": {"first_ms": 100, "give_up_after_hours": 168}});
    let sync = Syncing::of_shop(SHOP, with_delivery(&patient)).await?;
    let (watcher, mut lane) = (watcher(&sync).await?, Lane::of(&sync).await?);
    sync.receiver.answer_always(Answer::Status(500));
    let run = sync.start_run().await?;
    fetched(&sync, &run).await?;
    let reason = five_days(&sync, &mut lane, &watcher).await?;
    assert!(
        reason.contains("5 days") && reason.contains("500"),
        "{reason}"
    );
    sync.receiver.answer_always(Answer::Status(200));
    switch_on(&sync).await?;
    let run = sync.finish(&run).await?;
    sync.check(&run).await?.expect_all(&SHOP.served());
    assert_eq!(run["records_dead"], 0);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_failed_for_a_day_is_a_dead_letter_and_what_waited_behind_it_is_not() -> Result<()> {
    let small = json!({"batch_records": 10, "linger_ms": 0, "retry": {"first_ms": 100}});
    let sync = Syncing::of_shop(SHOP, with_delivery(&small)).await?;
    let (watcher, mut lane) = (watcher(&sync).await?, Lane::of(&sync).await?);
    // `created` and `started` arrive, so that records are what is lost.
    sync.receiver.answer_next([200, 200].map(Answer::Status));
    sync.receiver.answer_always(Answer::Status(500));
    let run = sync.start_run().await?;
    fetched(&sync, &run).await?;
    five_days(&sync, &mut lane, &watcher).await?;
    sync.receiver.answer_always(Answer::Status(200));
    switch_on(&sync).await?;
    let run = sync.finish(&run).await?;
    let dead = run["records_dead"].as_u64().context("a count")?;
    assert!(dead > 0 && dead < RECORDS, "{run}");
    assert_eq!(run["records_delivered"], RECORDS - dead);
    let list = sync
        .rest
        .get(&format!("/webhook/{}/dead-letter", sync.webhook))
        .await?;
    let letters = list["result"].as_array().context("rows")?;
    let counted: u64 = letters
        .iter()
        .filter_map(|letter| letter["count"].as_u64())
        .sum();
    assert_eq!(counted, dead, "{letters:?}");
    assert!(letters.iter().all(|letter| letter["status_code"] == 500));
    sync.check(&run).await?.expect_all(&SHOP.served());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_fails_everything_is_probed_by_one_request_at_a_time_ever_less_often()
-> Result<()> {
    const RUNS: usize = 8;
    /// The longest wait between two probes.
    const LONGEST: Duration = Duration::from_mins(5);
    let sync = Syncing::of_shop(SHOP, with_delivery(&json!({"retry": {"first_ms": 1000}}))).await?;
    let mut lane = Lane::of(&sync).await?;
    sync.receiver.answer_always(Answer::Status(500));
    let mut runs = Vec::new();
    for _ in 0..RUNS {
        runs.push(sync.start_run().await?);
    }
    for run in &runs {
        fetched(&sync, run).await?;
    }
    lane.wait("the circuit is open", |look| look.circuit_open)
        .await?;
    lane.wait_blocked().await?;
    // What failed before that has come back to the lane.
    lane.advance(HOUR).await?;
    let mut waits = Vec::new();
    for _ in 0..12 {
        let before = sync.receiver.deliveries().len();
        let look = lane
            .wait("a probe has failed", |look| {
                look.in_flight == 0
                    && look
                        .blocked_for
                        .is_some_and(|wait| wait > Duration::from_millis(500))
            })
            .await?;
        let wait = look.blocked_for.context("looked at a moment ago")?;
        waits.push(wait);
        lane.advance(wait).await?;
        sync.receiver
            .wait_until("the next probe", LONG, |all| all.len() > before)?;
    }
    let look = lane
        .wait("the last probe has failed", |look| {
            look.in_flight == 0 && look.blocked_for.is_some()
        })
        .await?;
    assert_eq!((look.blocked_lanes, look.delayed), (1, 0), "{look:?}");
    assert!(waits[0] < LONGEST / 4, "{waits:?}");
    assert!(waits[11] > LONGEST / 3 && waits[11] <= LONGEST, "{waits:?}");
    // One at a time, although many wait: while a probe isn't answered there is no other.
    sync.receiver.pause();
    let before = sync.receiver.deliveries().len();
    lane.advance(LONGEST).await?;
    sync.receiver
        .wait_until("the next probe", LONG, |all| all.len() > before)?;
    lane.advance(LONGEST).await?;
    let look = lane.look().await?;
    assert_eq!((look.in_flight, look.circuit_open), (1, true), "{look:?}");
    assert_eq!(sync.receiver.deliveries().len(), before + 1);
    let waiting = sync.run(&runs[0]).await?;
    assert_eq!(waiting["waiting_for"], "receiver", "{waiting}");
    assert!(waiting["waiting_since"].is_string(), "{waiting}");
    // It is mended.
    sync.receiver.answer_always(Answer::Status(200));
    sync.receiver.resume();
    lane.wait_blocked().await?;
    lane.advance(LONGEST).await?;
    for run in &runs {
        let run = sync.finish(run).await?;
        sync.check(&run).await?.expect_all(&SHOP.served());
        assert_eq!(run["records_dead"], 0);
        assert_eq!(
            (&run["waiting_for"], &run["waiting_since"]),
            (&Value::Null, &Value::Null)
        );
    }
    let look = lane.look().await?;
    assert!(!look.circuit_open && look.blocked_lanes == 0, "{look:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_hangs_does_not_hold_up_those_of_other_webhooks() -> Result<()> {
    let setup = Setup {
        settings: &[("SYNCLINE_WORKER_CONCURRENCY", "4,2")],
        ..with_delivery(&json!({"timeout_ms": 60_000}))
    };
    let sync = Syncing::of_shop(SHOP, setup).await?;
    sync.receiver.pause();
    let mut hung = Vec::new();
    for _ in 0..6 {
        hung.push(sync.start_run().await?);
    }
    sync.receiver
        .wait_until("more hang than there are slots", LONG, |all| all.len() > 4)?;
    let other = Receiver::start()?;
    let webhook = json!({"target_url": other.url()});
    let webhook = sync.rest.create("/webhook", &webhook).await?;
    let run = sync.start_run_with(&json!({"webhook_id": webhook})).await?;
    other.wait_for("sync_job_run:completed", Duration::from_secs(30))?;
    let run = sync.run(&run).await?;
    sync.check_at(&other, &run, Terms::default()).await?;
    for run in &hung {
        assert_eq!(sync.run(run).await?["records_delivered"], 0);
    }
    sync.receiver.resume();
    for run in &hung {
        let run = sync.finish(run).await?;
        sync.check(&run).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_time_in_which_a_webhook_was_off_does_not_count_towards_giving_up() -> Result<()> {
    let setup = with_delivery(&json!({"retry": {"first_ms": 100}}));
    let sync = Syncing::of_shop(SHOP, setup).await?;
    let (watcher, mut lane) = (watcher(&sync).await?, Lane::of(&sync).await?);
    // Records fail once before the receiver is gone.
    sync.receiver
        .answer_next([200, 200, 500].map(Answer::Status));
    sync.receiver.answer_always(Answer::Status(410));
    let run = sync.start_run().await?;
    fetched(&sync, &run).await?;
    switched_off(&sync, &watcher).await?;
    lane.wait_blocked().await?;
    lane.advance(30 * HOUR).await?;
    // It is back, and stumbles once.
    sync.receiver.answer_next([Answer::Status(503)]);
    sync.receiver.answer_always(Answer::Status(200));
    switch_on(&sync).await?;
    let run = sync.finish(&run).await?;
    sync.check(&run).await?.expect_all(&SHOP.served());
    assert_eq!(run["records_dead"], 0);
    Ok(())
}
