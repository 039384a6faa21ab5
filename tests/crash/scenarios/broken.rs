//! Objects that somebody broke in Redis by hand, and mends: what needs them waits, or fails with the reason.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::{Objects, objects};
use crate::{
    shop::{Shop, integration, served},
    world::{BASE, Expected, LONG, World, run_of},
};

/// Past the age of a copy of an object (`OBJECT_TTL` in `worker/src/context.rs`).
const PAST_COPIES: Duration = Duration::from_millis(1_200);
/// Longer than a task is delayed for whatever else is usual here, which is some hundred milliseconds.
const LONG_DELAY_MS: i64 = 2_000;
/// Past the delay of a task that failed for a reason of the worker's own (`OWN_FAULT_DELAY` in `worker/src/executor.rs`).
const PAST_OWN_FAULT: Duration = Duration::from_secs(6);
/// Past the next fire of each minute.
const A_FIRE: Duration = Duration::from_mins(1);
const LOOK: Duration = Duration::from_millis(20);

pub async fn run(world: &World) -> Result<()> {
    let of = objects(world, &json!({"mutex_key": "shop"})).await?;
    let store = Store(world);
    Shop::set(&world.shop.calm, true);
    Shop::set(&world.shop.mended, true);
    Shop::set(&world.shop.shut, true);
    let new_run = run_of(&of.job, &of.account, &of.webhook);
    let first = world.create("/sync-job-run", &new_run).await?;
    let path = format!("/sync-job-run/{first}");
    let state = world
        .wait(&path, "its first page", |run| {
            run["records_delivered"].as_u64() > Some(0)
        })
        .await?;
    let environment = state["environment_id"].as_str().context("an id")?;

    // The second run waits for the first one and tells nothing meanwhile, so nobody has read its integration yet.
    let mut changed = integration(&world.source_url());
    changed["config"]["resources"]["returns"] = json!({"list": {"path": "/returns"}});
    world.put("/integration/shop", &changed).await?;
    let mut quiet = new_run.clone();
    quiet["events_to_send"] = json!(["sync_job_run:failed"]);
    let second = world.create("/sync-job-run", &quiet).await?;
    let spec = store.read(&format!("run:{second}:spec")).await?;
    let spec: Value = serde_json::from_slice(&spec)?;
    let hash = spec["integration_hash"].as_str().context("a hash")?;
    let document = store.take(&format!("document:{hash}")).await?;

    // What reads an account or a webhook that can't be read is delayed until it can be.
    let account = format!("object:integrated_account:{environment}:{}", of.account);
    let webhook = format!("object:webhook:{environment}:{}", of.webhook);
    let whole = [store.garble(&account).await?, store.garble(&webhook).await?];
    tokio::time::sleep(PAST_COPIES).await;
    Shop::set(&world.shop.shut, false);
    // One, since a crash may leave the first page to be fetched again, and its children to be made; then there may be nothing
    // to deliver.
    store
        .wait_for_delayed("fetches", async || Ok(false))
        .await?;
    let all_delivered = async || {
        let run = world.get(&path).await?;
        Ok(run["records_delivered"] == run["records_fetched"])
    };
    store.wait_for_delayed("deliveries", all_delivered).await?;
    for (key, bytes) in [account, webhook].iter().zip(whole) {
        store.write(key, &bytes).await?;
    }
    world.advance_clock(PAST_OWN_FAULT)?;
    let expected = Expected {
        status: "completed",
        served: Some(served(true)),
        ..Expected::default()
    };
    world.check_run(&of.webhook, &first, expected).await?;

    // A run whose integration is gone can't be planned.
    let expected = Expected {
        status: "failed",
        served: Some(BTreeMap::new()),
        ..Expected::default()
    };
    let failed = world.check_run(&of.webhook, &second, expected).await?;
    ensure!(failed["error"]["code"] == "invalid_sync_job", "{failed}");
    store.write(&format!("document:{hash}"), &document).await?;

    drop_trigger(world, &store, environment, &of).await
}

/// A trigger whose object is gone leaves the schedule when it is due.
async fn drop_trigger(
    world: &World,
    store: &Store<'_>,
    environment: &str,
    of: &Objects,
) -> Result<()> {
    let trigger = json!({"sync_job_id": of.job, "integrated_account_id": of.account, "webhook_id": of.webhook,
        "cron_expression": "* * * * *"});
    let trigger = world.create("/sync-job-cron-trigger", &trigger).await?;
    let key = format!("object:sync_job_cron_trigger:{environment}:{trigger}");
    let object = store.take(&key).await?;
    world.advance_clock(A_FIRE)?;
    store.wait_until_gone(&format!("cron:{trigger}")).await?;
    store.write(&key, &object).await?;
    world
        .delete(&format!("/sync-job-cron-trigger/{trigger}"))
        .await
}

/// Redis, as somebody with a shell sees it. Keys are those after the base.
struct Store<'a>(&'a World);

impl Store<'_> {
    async fn read(&self, key: &str) -> Result<Vec<u8>> {
        let value: Option<Vec<u8>> = self.0.ask_redis(redis::cmd("GET").arg(place(key))).await?;
        value.with_context(|| format!("there is no {key}"))
    }

    async fn write(&self, key: &str, bytes: &[u8]) -> Result<()> {
        let command = redis::cmd("SET").arg(place(key)).arg(bytes).to_owned();
        self.0.ask_redis(&command).await
    }

    /// Deletes a key; what was there.
    async fn take(&self, key: &str) -> Result<Vec<u8>> {
        let bytes = self.read(key).await?;
        let _: u64 = self.0.ask_redis(redis::cmd("DEL").arg(place(key))).await?;
        Ok(bytes)
    }

    /// Overwrites a key with what nobody can read; what was there.
    async fn garble(&self, key: &str) -> Result<Vec<u8>> {
        let bytes = self.read(key).await?;
        self.write(key, b"{garbled").await?;
        Ok(bytes)
    }

    /// Waits until a task of a queue is delayed for as long as only a fault of ours delays it, or for `or`.
    async fn wait_for_delayed(
        &self,
        queue: &str,
        or: impl AsyncFn() -> Result<bool>,
    ) -> Result<()> {
        let deadline = Instant::now() + LONG;
        let shift = redis::cmd("GET").arg(place("clock_shift")).to_owned();
        loop {
            let (seconds, micros): (i64, i64) = self.0.ask_redis(&redis::cmd("TIME")).await?;
            let shift: Option<i64> = self.0.ask_redis(&shift).await?;
            let now = seconds * 1_000 + micros / 1_000 + shift.unwrap_or(0);
            let mut count = redis::cmd("ZCOUNT");
            count.arg(place(&format!("{queue}:delayed")));
            count.arg(now + LONG_DELAY_MS).arg("+inf");
            let delayed: u64 = self.0.ask_redis(&count).await?;
            if delayed > 0 || or().await? {
                return Ok(());
            }
            ensure!(
                Instant::now() < deadline,
                "no task of {queue} is delayed\n{}",
                self.0.logs()
            );
            tokio::time::sleep(LOOK).await;
        }
    }

    async fn wait_until_gone(&self, key: &str) -> Result<()> {
        let deadline = Instant::now() + LONG;
        let exists = redis::cmd("EXISTS").arg(place(key)).to_owned();
        while self.0.ask_redis(&exists).await? {
            let logs = || self.0.logs();
            ensure!(
                Instant::now() < deadline,
                "{key} is still there\n{}",
                logs()
            );
            tokio::time::sleep(LOOK).await;
        }
        Ok(())
    }
}

fn place(key: &str) -> String {
    format!("{BASE}:{key}")
}
