//! The deliveries of one webhook as only Redis shows them, and the clock they wait by.

use std::time::Duration;

use anyhow::{Context, Result};
use redis::{AsyncCommands, aio::MultiplexedConnection};

use crate::scenario::{LONG, Syncing};

/// What every key starts with.
pub const BASE: &str = "syncline:{p0}";
/// Between two looks.
const LOOK: Duration = Duration::from_millis(10);

/// `blocked_until`, `circuit`, `in_flight`.
type Row = (Option<i64>, Option<i64>, Option<i64>);

pub struct Lane {
    redis: MultiplexedConnection,
    webhook: String,
}

/// One look at it.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Look {
    /// Until it is blocked, from now on; `None`: it is not.
    pub blocked_for: Option<Duration>,
    pub circuit_open: bool,
    pub in_flight: i64,
    /// Lanes that are blocked, of all webhooks.
    pub blocked_lanes: usize,
    /// Deliveries that wait each by itself, of all webhooks.
    pub delayed: usize,
}

impl Lane {
    pub async fn of(sync: &Syncing) -> Result<Self> {
        Ok(Self {
            redis: sync.stack.redis.connect().await?,
            webhook: sync.webhook.clone(),
        })
    }

    /// Moves the clock of all timers and has the workers look at it.
    pub async fn advance(&mut self, by: Duration) -> Result<()> {
        let ms = i64::try_from(by.as_millis())?;
        let _: i64 = self.redis.incr(format!("{BASE}:clock_shift"), ms).await?;
        let _: i64 = self
            .redis
            .publish(format!("{BASE}:wake"), "deliveries")
            .await?;
        Ok(())
    }

    pub async fn look(&mut self) -> Result<Look> {
        let key = format!("{BASE}:deliveries:lane:{}", self.webhook);
        let ((blocked_until, circuit, in_flight), blocked_lanes, delayed, time, shift): (
            Row,
            usize,
            usize,
            (i64, i64),
            Option<i64>,
        ) = redis::pipe()
            .hmget(key, &["blocked_until", "circuit", "in_flight"])
            .zcard(format!("{BASE}:deliveries:blocked"))
            .zcard(format!("{BASE}:deliveries:delayed"))
            .cmd("TIME")
            .get(format!("{BASE}:clock_shift"))
            .query_async(&mut self.redis)
            .await?;
        let now = time.0 * 1000 + time.1 / 1000 + shift.unwrap_or(0);
        Ok(Look {
            blocked_for: blocked_until
                .map(|until| Duration::from_millis(u64::try_from(until - now).unwrap_or(0))),
            circuit_open: circuit.is_some(),
            in_flight: in_flight.unwrap_or(0),
            blocked_lanes,
            delayed,
        })
    }

    /// Waits until it looks as `wanted`.
    pub async fn wait(&mut self, what: &str, wanted: impl Fn(&Look) -> bool) -> Result<Look> {
        let deadline = tokio::time::Instant::now() + LONG;
        loop {
            let look = self.look().await?;
            if wanted(&look) {
                return Ok(look);
            }
            anyhow::ensure!(
                tokio::time::Instant::now() < deadline,
                "waited until {what}; last seen: {look:?}"
            );
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Waits until the lane is blocked and nothing of it is under way; gives how long it is blocked.
    pub async fn wait_blocked(&mut self) -> Result<Duration> {
        let look = self
            .wait("the webhook is left alone", |look| {
                look.in_flight == 0 && look.blocked_for.is_some_and(|wait| !wait.is_zero())
            })
            .await?;
        look.blocked_for.context("looked at a moment ago")
    }
}
