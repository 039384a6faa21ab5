//! What webhooks whose receivers hang do to the others: 100 webhooks get a record each 100 ms, and from some moment on
//! half of their receivers stay healthy, hang, or are switched off. The last side has the same commits and as few deliveries
//! as the one before, so it tells what hanging does by itself.

use std::{collections::HashMap, time::Duration};

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
const HEALTHY: usize = WEBHOOKS / 2;
/// As many as a webhook delivers side by side: 400 requests hang, more than a worker has slots.
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

/// What becomes of the other half at some moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Others {
    Healthy,
    Hung,
    /// What is committed for them waits.
    Off,
}

impl Others {
    const ALL: [Self; 3] = [Self::Healthy, Self::Hung, Self::Off];

    const fn name(self) -> &'static str {
        match self {
            Self::Healthy => "all healthy",
            Self::Hung => "half hung",
            Self::Off => "half off",
        }
    }
}

/// Each side once a round, with fresh processes; which comes first takes turns.
pub async fn measure(rounds: usize, table: &mut Table) -> Result<()> {
    for round in 1..=rounds {
        eprintln!("isolation: round {round} of {rounds}");
        let mut sides = Others::ALL;
        sides.rotate_left((round - 1) % Others::ALL.len());
        let mut p99_of_a_second = HashMap::new();
        for others in sides {
            let (side, name) = (side(others).await?, others.name());
            let [p50, p99] = steady::latencies(&side.arrivals);
            let of_a_second = side.p99_of_a_second();
            let mut add = |what: &str, value| {
                table.add(
                    &format!("delivery, {name}: {what}"),
                    "ms",
                    Target::None,
                    value,
                );
            };
            add("p50", p50);
            add("p99", p99);
            if others == Others::Hung {
                let [_, hanging_p99] = steady::latencies(side.hanging());
                add("p99 until the circuits are open", hanging_p99);
            }
            add("p99 of a second", of_a_second);
            p99_of_a_second.insert(others, of_a_second);
        }
        for beside in [Others::Healthy, Others::Off] {
            table.add(
                &format!("half hung beside {}: p99 of a second", beside.name()),
                "times",
                Target::AtMost(TARGET_RATIO),
                p99_of_a_second[&Others::Hung] / p99_of_a_second[&beside],
            );
        }
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

async fn side(others: Others) -> Result<Side> {
    let hung = others == Others::Hung;
    let receivers = Receivers::start(WEBHOOKS, HEALTHY)?;
    let mut feed = Feed::start().await?;
    let plan =
        json!({"batch_records": 1, "concurrency": RUNS_OF_A_WEBHOOK, "timeout_ms": TIMEOUT_MS});
    let webhooks = receivers
        .addresses
        .iter()
        .map(|address| feed.webhook(*address, &plan));
    let webhooks = try_join_all(webhooks).await?;
    let (healthy, others_webhooks) = webhooks.split_at(HEALTHY);
    // Each of the others has its turn after a healthy one, so that all sides feed those alike, and evenly.
    let in_turn = healthy.iter().zip(others_webhooks);
    let in_turn: Vec<_> = in_turn.flat_map(|(one, other)| [*one, *other]).collect();
    let mut fetches = feed.begin(&in_turn, RUNS_OF_A_WEBHOOK).await?;
    feed.start_worker()?;

    let mut records = steady::feed(&mut fetches, WARM_UP).await?;
    if hung {
        receivers.hang();
    }
    if others == Others::Off {
        try_join_all(others_webhooks.iter().map(|one| feed.switch_off(*one))).await?;
    }
    let from_us = now_us();
    records += steady::feed(&mut fetches, HANGING).await?;
    if hung {
        ensure_open(&feed, others_webhooks).await?;
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
