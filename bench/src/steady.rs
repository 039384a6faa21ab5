//! A steady load of small deliveries, and how long each takes from its commit to its receiver.

use std::time::Duration;

use anyhow::Result;
use futures::future::try_join_all;
use tokio::time::{Instant, sleep_until};

use crate::{
    feed::{Fetch, chunk},
    figures::percentile,
    receivers::{Arrival, stamped},
};

/// Between two records of a webhook.
pub const PERIOD: Duration = Duration::from_millis(100);

/// Commits one record a [`PERIOD`] for each webhook, in turn to its fetches, and gives their number by webhook. The
/// webhooks' turns are spread over the period.
pub async fn feed(fetches: &mut [Vec<Fetch>], during: Duration) -> Result<u64> {
    #[expect(clippy::cast_possible_truncation, reason = "a few hundred")]
    let (webhooks, records) = (
        fetches.len() as u32,
        (during.as_millis() / PERIOD.as_millis()) as u32,
    );
    let start = Instant::now();
    let each = fetches.iter_mut().zip(0_u32..);
    try_join_all(each.map(|(fetches, webhook)| async move {
        let first = start + PERIOD * webhook / webhooks;
        for number in 0..records {
            sleep_until(first + PERIOD * number).await;
            let turn = number as usize % fetches.len();
            fetches[turn].commit(vec![chunk(&[stamped()])]).await?;
        }
        anyhow::Ok(())
    }))
    .await?;
    Ok(records.into())
}

/// p50 and p99, in ms.
pub fn latencies(arrivals: &[Arrival]) -> [f64; 2] {
    let times: Vec<f64> = arrivals
        .iter()
        .map(|arrival| arrival.latency_ms())
        .collect();
    [0.5, 0.99].map(|share| percentile(&times, share))
}
