//! What webhooks whose receivers hang do to the others: 100 webhooks get a record each 100 ms, first with all of
//! their receivers healthy (A), then with half of them hung from some moment on (B), or the other way round.

use std::time::Duration;

use anyhow::{Result, ensure};
use futures::future::try_join_all;
use redis::AsyncCommands;
use serde_json::json;
use shared::ids::WebhookId;

use crate::{
    feed::Feed,
    figures::{Table, Target},
    receivers::{Arrival, Receivers, now_us},
    steady,
};

const WEBHOOKS: usize = 100;
const HEALTHY: usize = 50;
/// As many as a webhook delivers side by side: 400 requests hang in B, more than a worker has slots.
const RUNS_OF_A_WEBHOOK: usize = 8;
const WARM_UP: Duration = Duration::from_secs(1);
/// After so long each hung receiver has failed often enough, so that its circuit is open: a timeout, and some to begin.
const HANGING: Duration = Duration::from_secs(3);
const CIRCUITS_OPEN: Duration = Duration::from_secs(3);
const TIMEOUT_MS: u64 = 2_000;
/// All records of healthy webhooks must have come by then.
const PATIENCE: Duration = Duration::from_secs(30);
/// A hung neighbour may cost so much of the p99.
const TARGET_RATIO: f64 = 1.1;

/// Both sides once a round, each with fresh processes, in turn which comes first.
pub async fn measure(rounds: usize, table: &mut Table) -> Result<()> {
    for round in 1..=rounds {
        eprintln!("isolation: round {round} of {rounds}");
        let (healthy, hung) = if round.is_multiple_of(2) {
            let hung = side(true).await?;
            (side(false).await?, hung)
        } else {
            (side(false).await?, side(true).await?)
        };
        let [healthy_p50, healthy_p99] = steady::latencies(&healthy.all());
        let [hung_p50, hung_p99] = steady::latencies(&hung.all());
        let [_, hanging_p99] = steady::latencies(&hung.hanging);
        let [_, open_p99] = steady::latencies(&hung.open);
        for (name, value) in [
            ("delivery, all healthy: p50", healthy_p50),
            ("delivery, half hung: p50 of the others", hung_p50),
            ("delivery, all healthy: p99", healthy_p99),
            ("delivery, half hung: p99 of the others", hung_p99),
            ("… until the circuits are open: p99", hanging_p99),
            ("… then: p99", open_p99),
        ] {
            table.add(name, "ms", Target::None, value);
        }
        table.add(
            "delivery, half hung: p99 beside all healthy",
            "times",
            Target::AtMost(TARGET_RATIO),
            hung_p99 / healthy_p99,
        );
    }
    Ok(())
}

/// What the healthy half got.
struct Side {
    hanging: Vec<Arrival>,
    open: Vec<Arrival>,
}

impl Side {
    fn all(&self) -> Vec<Arrival> {
        [&self.hanging[..], &self.open].concat()
    }
}

async fn side(hung: bool) -> Result<Side> {
    let receivers = Receivers::start(WEBHOOKS, HEALTHY)?;
    let mut feed = Feed::start().await?;
    let plan =
        json!({"batch_records": 1, "concurrency": RUNS_OF_A_WEBHOOK, "timeout_ms": TIMEOUT_MS});
    let webhooks = receivers
        .addresses
        .iter()
        .map(|address| feed.webhook(*address, &plan));
    let webhooks = try_join_all(webhooks).await?;
    let mut fetches = feed.begin(&webhooks, RUNS_OF_A_WEBHOOK).await?;
    feed.start_worker()?;

    let mut records = steady::feed(&mut fetches, WARM_UP).await?;
    if hung {
        receivers.hang();
    }
    let from = now_us();
    records += steady::feed(&mut fetches, HANGING).await?;
    if hung {
        ensure_open(&feed, &webhooks[HEALTHY..]).await?;
    }
    let open_from = now_us();
    records += steady::feed(&mut fetches, CIRCUITS_OPEN).await?;
    receivers
        .wait_for(0..HEALTHY, records * HEALTHY as u64, PATIENCE)
        .await?;

    let arrivals = receivers.arrivals(0..HEALTHY).into_iter();
    let (hanging, open) = arrivals
        .filter(|arrival| arrival.committed_us >= from)
        .partition(|arrival| arrival.committed_us < open_from);
    Ok(Side { hanging, open })
}

/// An error unless each of these webhooks is left alone by now.
async fn ensure_open(feed: &Feed, webhooks: &[WebhookId]) -> Result<()> {
    let mut open = 0;
    for webhook in webhooks {
        let lane = webhook.to_string();
        let lane = feed.store.keys().join(&["deliveries", "lane", &lane]);
        let circuit: bool = feed.store.connection().hexists(lane, "circuit").await?;
        open += usize::from(circuit);
    }
    ensure!(
        open == webhooks.len(),
        "the circuits of {open} of {} hung receivers are open",
        webhooks.len()
    );
    Ok(())
}
