//! Events that were given up, sent again once the receiver is mended.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use redis::AsyncCommands;
use reqwest::Method;
use serde_json::{Value, json};
use shared::store::queue::LEASE;
use syncline_tests::receiver::Answer;

use crate::scenario::{LONG, Setup, Shop, Syncing};

/// Records of one event.
const BATCH: u64 = 2;
/// Past `give_up_after_hours`.
const GIVEN_UP_MS: i64 = 61 * 60_000;

async fn shift_clock(sync: &Syncing, ms: i64) -> Result<()> {
    let mut connection = sync.stack.redis.connect().await?;
    let _: i64 = connection.incr("syncline:{p0}:clock_shift", ms).await?;
    Ok(())
}

/// A run that has ended with all its records in dead letters, since the receiver refuses everything.
async fn all_dead(orders: u64) -> Result<(Syncing, String)> {
    let shop = Shop {
        orders,
        per_page: orders,
        lines: 0,
    };
    let setup = Setup {
        job: json!({"resources": [{"resource": "wms/orders"}]}),
        webhook: json!({"event_types": ["sync_job_run:record"], "delivery": {
            "batch_records": BATCH, "linger_ms": 0,
            "retry": {"first_ms": 100, "max_ms": 1000, "give_up_after_hours": 1}}}),
        ..Setup::default()
    };
    let sync = Syncing::of_shop(shop, setup).await?;
    sync.receiver.answer_always(Answer::Status(500));
    let run = sync.start_run().await?;
    sync.wait(&run, "everything to be fetched", |state| {
        state["records_fetched"] == orders
    })
    .await?;
    loop {
        let attempts = sync.receiver.deliveries().len();
        sync.wait(&run, "one more attempt", |state| {
            sync.receiver.deliveries().len() > attempts || state["status"] == "completed"
        })
        .await?;
        let state = sync.run(&run).await?;
        if state["status"] == "completed" {
            assert_eq!(state["records_dead"], orders, "{state}");
            sync.receiver.clear();
            return Ok((sync, run));
        }
        shift_clock(&sync, GIVEN_UP_MS).await?;
    }
}

impl Syncing {
    fn letters_path(&self) -> String {
        format!("/webhook/{}/dead-letter", self.webhook)
    }

    /// The dead letters of a run, oldest first.
    async fn letters(&self, run: &str) -> Result<Vec<String>> {
        let path = format!("{}?sync_job_run_id={run}", self.letters_path());
        let list = self.rest.get(&path).await?;
        let rows = list["result"].as_array().context("rows")?;
        let ids = rows.iter().rev().filter_map(|row| row["id"].as_str());
        Ok(ids.map(str::to_owned).collect())
    }

    async fn redrive(&self, input: &Value) -> Result<String> {
        let path = format!("{}/redrive", self.letters_path());
        self.rest.create(&path, input).await
    }

    async fn wait_redrive(
        &self,
        id: &str,
        what: &str,
        wanted: impl Fn(&Value) -> bool,
    ) -> Result<Value> {
        let path = format!("{}/redrive/{id}", self.letters_path());
        let deadline = tokio::time::Instant::now() + LONG;
        loop {
            let state = self.rest.get(&path).await?;
            if wanted(&state) {
                return Ok(state);
            }
            ensure!(
                tokio::time::Instant::now() < deadline,
                "waited for {what}; last seen: {state}"
            );
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_of_a_run_all_arrive_with_their_ids_though_a_worker_is_killed_in_the_middle()
-> Result<()> {
    const ORDERS: u64 = 12;
    let (mut sync, run) = all_dead(ORDERS).await?;
    let letters = sync.letters(&run).await?;
    assert_eq!(letters.len() as u64, ORDERS / BATCH);
    let mut sent = BTreeMap::new();
    for id in &letters {
        let path = format!("{}/{id}", sync.letters_path());
        sent.insert(id.clone(), sync.rest.get(&path).await?["body"].clone());
    }

    sync.receiver.answer_always(Answer::Status(200));
    let redrive = json!({"sync_job_run_id": run, "rate_per_second": 2});
    let redrive = sync.redrive(&redrive).await?;
    sync.wait_redrive(&redrive, "the middle", |state| {
        state["delivered"].as_u64() >= Some(2)
    })
    .await?;
    // The next one arrives, and the worker dies before it is answered.
    sync.receiver.pause();
    let answered = sync.receiver.deliveries().len();
    let arrived = |_: &Value| sync.receiver.deliveries().len() > answered;
    let state = sync
        .wait_redrive(&redrive, "a letter in flight", arrived)
        .await?;
    assert_eq!(state["status"], "running", "{state}");
    sync.stack.workers[0].kill()?;
    sync.receiver.resume();
    sync.stack.add_worker(&[])?;
    shift_clock(&sync, i64::try_from(LEASE.as_millis())? + 1000).await?;

    let state = sync
        .wait_redrive(&redrive, "its end", |state| state["status"] != "running")
        .await?;
    assert_eq!(state["status"], "completed", "{state}");
    assert_eq!(
        (&state["total"], &state["delivered"], &state["failed"]),
        (&json!(6), &json!(6), &json!(0)),
        "{state}"
    );
    let deliveries = sync.receiver.deliveries();
    let mut ids = Vec::new();
    for delivery in &deliveries {
        let id = delivery.request.header("webhook-id").context("an id")?;
        assert_eq!(delivery.event(), sent[id], "{id} has other bytes");
        ids.push(id.to_owned());
    }
    assert_eq!(ids.len(), letters.len() + 1, "the one in flight came twice");
    ids.dedup();
    assert_eq!(ids, letters, "in the order of their events");
    let records: usize = deliveries
        .iter()
        .map(|delivery| {
            delivery.event()["payload"]["records"]
                .as_array()
                .map_or(0, Vec::len)
        })
        .sum();
    assert_eq!(records as u64, ORDERS + BATCH);

    let state = sync.run(&run).await?;
    assert_eq!(
        (&state["records_dead"], &state["records_delivered"]),
        (&json!(0), &json!(ORDERS)),
        "{state}"
    );
    assert_eq!(sync.letters(&run).await?, Vec::<String>::new());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_redrive_keeps_the_letters_and_they_can_be_redriven_or_deleted_one_by_one()
-> Result<()> {
    let (sync, run) = all_dead(3 * BATCH).await?;
    let letters = sync.letters(&run).await?;
    let first = sync.redrive(&json!({"reason": "answered 500"})).await?;
    sync.wait_redrive(&first, "an attempt", |state| {
        state["last_error"]
            .as_str()
            .is_some_and(|reason| reason.contains("500"))
    })
    .await?;
    let path = format!("{}/redrive", sync.letters_path());
    let (status, refused) = sync.rest.call(Method::POST, &path, None).await?;
    assert_eq!(status, 409, "{refused}");
    assert!(refused.to_string().contains(&first), "{refused}");
    let cancelled = sync
        .rest
        .post(&format!("{path}/{first}/cancel"), &json!({}))
        .await?;
    assert_eq!(
        (&cancelled["status"], &cancelled["delivered"]),
        (&json!("cancelled"), &json!(0))
    );
    assert_eq!(sync.letters(&run).await?, letters);

    sync.receiver.answer_always(Answer::Status(200));
    sync.receiver.clear();
    let one = sync.redrive(&json!({"event_id": letters[1]})).await?;
    sync.wait_redrive(&one, "its end", |state| state["status"] == "completed")
        .await?;
    let path = format!("{}/{}", sync.letters_path(), letters[0]);
    let (status, deleted) = sync.rest.call(Method::DELETE, &path, None).await?;
    assert_eq!((status.as_u16(), &deleted["id"]), (200, &json!(letters[0])));
    let rest = sync.redrive(&json!({})).await?;
    let rest = sync
        .wait_redrive(&rest, "its end", |state| state["status"] == "completed")
        .await?;
    assert_eq!((&rest["total"], &rest["delivered"]), (&json!(1), &json!(1)));
    let arrived: Vec<_> = sync
        .receiver
        .deliveries()
        .iter()
        .filter_map(|delivery| delivery.request.header("webhook-id").map(str::to_owned))
        .collect();
    assert_eq!(arrived, letters[1..]);
    let state = sync.run(&run).await?;
    assert_eq!(
        (&state["records_dead"], &state["records_delivered"]),
        (&json!(BATCH), &json!(2 * BATCH)),
        "what was deleted was not delivered: {state}"
    );
    Ok(())
}
