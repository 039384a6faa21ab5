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
    figures::{Table, Target, percentile},
    receivers::{Arrival, Receivers, now_us},
    steady,
};

const WEBHOOKS: usize = 100;
const HEALTHY: usize = 50;
/// As many as a webhook delivers side by side: 400 requests hang in B, more than a worker has slots.
const RUNS_OF_A_WEBHOOK: usize = 8;
const WARM_UP: Duration = Duration::from_secs(2);
/// After so long each hung receiver has failed often enough, so that its circuit is open: a timeout, and some to begin.
const HANGING: Duration = Duration::from_secs(3);
const CIRCUITS_OPEN: Duration = Duration::from_secs(12);
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
        let [healthy_p50, healthy_p99] = steady::latencies(&healthy.arrivals);
        let [hung_p50, hung_p99] = steady::latencies(&hung.arrivals);
        let (healthy_second, hung_second) = (healthy.p99_of_a_second(), hung.p99_of_a_second());
        let [_, hanging_p99] = steady::latencies(hung.hanging());
        for (name, value) in [
            ("delivery, all healthy: p50", healthy_p50),
            ("delivery, half hung: p50 of the others", hung_p50),
            ("delivery, all healthy: p99", healthy_p99),
            ("delivery, half hung: p99 of the others", hung_p99),
            ("… until the circuits are open: p99", hanging_p99),
            ("delivery, all healthy: p99 of a second", healthy_second),
            ("delivery, half hung: p99 of a second", hung_second),
        ] {
            table.add(name, "ms", Target::None, value);
        }
        table.add(
            "half hung beside all healthy: p99 of a second",
            "times",
            Target::AtMost(TARGET_RATIO),
            hung_second / healthy_second,
        );
    }
    Ok(())
}

/// What the healthy half got, in the order of its commits.
struct Side {
    arrivals: Vec<Arrival>,
    from_us: u64,
    open_from_us: u64,
}

impl Side {
    /// Those from before the circuits were open.
    fn hanging(&self) -> &[Arrival] {
        let open = |arrival: &Arrival| arrival.committed_us < self.open_from_us;
        &self.arrivals[..self.arrivals.partition_point(open)]
    }

    /// The median over all seconds of the p99 in each, in ms: a machine that is held up for a moment spoils one second,
    /// and the p99 of them all.
    fn p99_of_a_second(&self) -> f64 {
        let second = |arrival: &Arrival| (arrival.committed_us - self.from_us) / 1_000_000;
        let seconds = self
            .arrivals
            .chunk_by(|one, next| second(one) == second(next));
        let of_each: Vec<f64> = seconds
            .map(|arrivals| steady::latencies(arrivals)[1])
            .collect();
        percentile(&of_each, 0.5)
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
    let from_us = now_us();
    records += steady::feed(&mut fetches, HANGING).await?;
    if hung {
        ensure_open(&feed, &webhooks[HEALTHY..]).await?;
    }
    let open_from_us = now_us();
    records += steady::feed(&mut fetches, CIRCUITS_OPEN).await?;
    receivers
        .wait_for(0..HEALTHY, records * HEALTHY as u64, PATIENCE)
        .await?;

    let mut arrivals = receivers.arrivals(0..HEALTHY);
    arrivals.retain(|arrival| arrival.committed_us >= from_us);
    arrivals.sort_unstable_by_key(|arrival| arrival.committed_us);
    Ok(Side {
        arrivals,
        from_us,
        open_from_us,
    })
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
