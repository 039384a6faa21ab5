//! The passes that keep the queues moving: rescue expired leases, hand back parked
//! fetches, fail runs that last too long, take expired runs off the lists, measure. They run in every worker at the same time; each claims its
//! work in one script, so a second call does nothing. (Delayed tasks are promoted
//! by the claims themselves.)

use std::time::{Duration, Instant};

use metrics::gauge;
use shared::{
    failure::FailurePoint,
    queue::EXTEND_EVERY,
    store::{FULL_SHARE, Outage, Store, StoreError, StoreResult, queue::Queue},
    telemetry::metrics as names,
};
use tokio_util::sync::CancellationToken;

const EVERY: Duration = Duration::from_secs(2);

/// Runs that are failed in one pass because they last too long.
const OVERDUE_AT_ONCE: usize = 100;

/// After an outage that was longer there may be leases that ended because nobody could extend them: each had twice
/// that left when it began, and a pass may have hung for a while before it was noticed.
const LONG_OUTAGE: Duration = EXTEND_EVERY;

/// Passes until `stop`; while Redis is away they wait for it. `was_away`: it has only just come back.
///
/// Leases that ended while Redis was away belong to workers that live and will extend them, so rescues wait for as
/// long as that takes.
pub async fn run(store: &Store, was_away: bool, stop: CancellationToken) {
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut outage = Outage::of("maintenance");
    let mut fullness = Fullness::default();
    let mut away_since: Option<Instant> = None;
    let mut rescue_from = Instant::now();
    if was_away {
        rescue_from += EXTEND_EVERY;
    }
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = ticks.tick() => {}
        }
        let rescues = away_since.is_none() && Instant::now() >= rescue_from;
        let began = Instant::now();
        let passed = pass(store, rescues, &mut fullness).await;
        // Redis may be back, and the pass fail for another reason.
        if matches!(passed, Err(StoreError::Unavailable(_))) {
            away_since.get_or_insert(began);
        } else if away_since
            .take()
            .is_some_and(|since| since.elapsed() > LONG_OUTAGE)
        {
            rescue_from = Instant::now() + EXTEND_EVERY;
        }
        match passed {
            Ok(()) => {
                outage.over();
            }
            Err(error) => outage.goes_on(&error),
        }
    }
}

/// Whether Redis is nearly full, told when that changes.
#[derive(Default)]
struct Fullness {
    is_full: bool,
}

impl Fullness {
    fn look(&mut self, share: f64) {
        let is_full = share > FULL_SHARE;
        if is_full && !self.is_full {
            tracing::warn!(
                share,
                "Redis is nearly full; nothing is fetched until deliveries have made room"
            );
        } else if !is_full && self.is_full {
            tracing::info!(share, "Redis has room again");
        }
        self.is_full = is_full;
    }
}

async fn pass(store: &Store, rescues: bool, fullness: &mut Fullness) -> StoreResult<()> {
    FailurePoint::MaintenanceBegun.reach()?;
    // First, since it changes nothing that matters: what is sent to a Redis that hangs is carried out when it goes on,
    // and a rescue would then come before anybody could extend a lease.
    if let Some(share) = store.mark_when_full().await? {
        gauge!(names::STORE_MEMORY_SHARE).set(share);
        fullness.look(share);
    }
    if rescues {
        rescue(store).await?;
    }
    for run in store.runs().fail_overdue(OVERDUE_AT_ONCE).await? {
        tracing::warn!(run.id = run, "a run lasted longer than it may, and failed");
    }
    let expired = store.runs().prune().await?;
    if expired > 0 {
        tracing::debug!(
            runs = expired,
            "expired runs left the list of their environment"
        );
    }
    let unparked = store.unpark().await?;
    if unparked > 0 {
        tracing::info!(tasks = unparked, "parked fetches go on");
    }
    measure(store).await
}

async fn measure(store: &Store) -> StoreResult<()> {
    for queue in Queue::ALL {
        let measured = store.queue_gauges(queue).await?;
        let name = queue.name();
        #[expect(
            clippy::cast_precision_loss,
            reason = "gauges are floats; counts stay far below 2^53"
        )]
        {
            gauge!(names::READY_TASKS, names::QUEUE => name).set(measured.ready as f64);
            gauge!(names::DELAYED_TASKS, names::QUEUE => name).set(measured.delayed as f64);
            gauge!(names::CLAIMED_TASKS, names::QUEUE => name).set(measured.claimed as f64);
            gauge!(names::OLDEST_READY_AGE, names::QUEUE => name)
                .set(measured.oldest_ready_ms as f64 / 1000.0);
        }
    }
    #[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
    gauge!(names::UNDELIVERED_BYTES).set(store.undelivered_bytes().await? as f64);
    #[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
    gauge!(names::DROPPED_EVENTS).set(store.dropped_events().await? as f64);
    Ok(())
}

async fn rescue(store: &Store) -> StoreResult<()> {
    for queue in Queue::ALL {
        for id in store.rescue_expired(queue).await? {
            tracing::warn!(
                queue = queue.name(),
                task.id = id,
                "a lease had expired; the task is ready again"
            );
        }
    }
    Ok(())
}
