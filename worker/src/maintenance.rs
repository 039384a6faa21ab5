//! The passes that keep the queues moving: rescue expired leases, hand back parked
//! fetches, fail runs that last too long, measure. They run in every worker at the same time; each claims its
//! work in one script, so a second call does nothing. (Delayed tasks are promoted
//! by the claims themselves.)

use std::time::Duration;

use metrics::gauge;
use shared::{
    failure::FailurePoint,
    store::{Store, StoreResult, queue::Queue},
    telemetry::metrics as names,
};
use tokio_util::sync::CancellationToken;

const EVERY: Duration = Duration::from_secs(2);

/// Runs that are failed in one pass because they last too long.
const OVERDUE_AT_ONCE: usize = 100;

/// Passes until `stop`; while Redis is away they wait for it.
pub async fn run(store: &Store, stop: CancellationToken) {
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut failing = false;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = ticks.tick() => {}
        }
        match pass(store).await {
            Ok(()) => failing = false,
            Err(error) if !failing => {
                failing = true;
                tracing::warn!(error = %error, "maintenance failed; trying again until it works");
            }
            Err(_) => {}
        }
    }
}

async fn pass(store: &Store) -> StoreResult<()> {
    FailurePoint::MaintenanceBegun.reach()?;
    for queue in Queue::ALL {
        for id in store.rescue_expired(queue).await? {
            tracing::warn!(
                queue = queue.name(),
                task.id = id,
                "a lease had expired; the task is ready again"
            );
        }
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
    if let Some(share) = store.mark_when_full().await? {
        gauge!(names::STORE_MEMORY_SHARE).set(share);
    }
    for run in store.runs().fail_overdue(OVERDUE_AT_ONCE).await? {
        tracing::warn!(run.id = run, "a run lasted longer than it may, and failed");
    }
    let unparked = store.unpark().await?;
    if unparked > 0 {
        tracing::info!(tasks = unparked, "parked fetches go on");
    }
    Ok(())
}
