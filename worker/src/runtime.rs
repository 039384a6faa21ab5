//! The process: apalis's monitor over our queues, and draining.
//!
//! On a stop no more tasks are claimed, claimed but unstarted ones are handed back,
//! running ones may finish within the drain budget; what is left then is handed
//! back too, so that nothing waits for a lease to expire.

use std::{sync::Arc, time::Duration};

use anyhow::Context as _;
use apalis::{
    layers::WorkerBuilderExt,
    prelude::{Data, Monitor, WorkerBuilder},
};
use shared::{
    catalog::{Catalog, documents},
    config::Settings,
    http::{Outbound, TargetPolicy},
    queue::{
        ClaimLoop, LeaseKeeper, Leased, WAITING_PLACES, WakeListener, apalis_backend::QueueBackend,
    },
    seal::Sealer,
    store::{Outage, Store, StoreError, attempts::attempt_log, queue::Queue},
};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::{
    context::Context,
    cron,
    executor::Executor,
    health::{self, Probed},
    maintenance,
};

/// Runs started at once by one process; starting one is a few calls to Redis.
const RUN_SLOTS: usize = 8;
/// Handing back after the drain budget takes no longer than this.
const HAND_BACK: Duration = Duration::from_secs(5);
/// What runs beside the tasks ends within this, or is cut off: a call to Redis that hangs takes as long.
const HELPERS_END: Duration = Duration::from_secs(5);
/// Between looks at a Redis that isn't there yet.
const BOOT_RETRY: Duration = Duration::from_secs(1);

/// Works until `shutdown`, then drains.
///
/// # Errors
/// Settings that can't be used, a Redis whose settings risk data, a listen address that is taken. A part of the worker that
/// crashed, once the rest is drained: half a worker would hold tasks that nobody looks after.
pub async fn run(settings: Settings, shutdown: CancellationToken) -> anyhow::Result<()> {
    let policy =
        TargetPolicy::new(&settings.allow_targets, settings.allow_http).map_err(|faults| {
            anyhow::anyhow!("the allowed targets can't be used: {}", faults.join("; "))
        })?;
    let outbound = Outbound::new(policy).context("the outbound client can't be made")?;
    let sealer =
        Sealer::new(settings.master_key.expose()).context("the master key can't be used")?;
    let catalog = Catalog::new(documents(settings.integrations_dir.as_deref())?)?;
    let store = Store::open(settings.redis_url.expose(), &settings.key_prefix)?;
    let background = CancellationToken::new();
    let probed = Probed {
        store: store.clone(),
        claims: CancellationToken::new(),
        draining: shutdown.clone(),
    };
    let claims = probed.claims.clone();
    let health = health::start(&settings, probed, background.clone()).await?;
    let Some(was_away) = await_store(&store, &shutdown).await? else {
        return Ok(());
    };

    let retention_days = settings.retention_days;
    let (attempts, attempt_writer) = attempt_log(retention_days);
    let context = Context::new(
        store.clone(),
        outbound,
        sealer,
        catalog,
        attempts,
        retention_days,
        shutdown.clone(),
    );
    let context = Arc::new(context);
    let keeper = LeaseKeeper::default();
    let wake = WakeListener::default();
    let mut helpers = JoinSet::new();
    let crashed = CancellationToken::new();
    {
        let (store, keeper, stop) = (store.clone(), keeper.clone(), background.clone());
        helpers.spawn(async move { keeper.run(&store, stop).await });
        let (store, wake, stop) = (context.store.clone(), wake.clone(), background.clone());
        helpers.spawn(async move { wake.run(&store, stop).await });
        // Stops with the keeper, after the last attempt.
        let (store, stop) = (context.store.clone(), background.clone());
        helpers.spawn(async move { attempt_writer.run(&store, stop).await });
        let (store, stop) = (context.store.clone(), shutdown.clone());
        helpers.spawn(async move { maintenance::run(&store, was_away, stop).await });
        helpers.spawn(cron::run(context.clone(), shutdown.clone()));
        let (crashed, stop) = (crashed.clone(), shutdown.clone());
        helpers.spawn(async move {
            stop.run_until_cancelled(crashed.cancelled()).await;
        });
    }

    let abandon = CancellationToken::new();
    let concurrency = &settings.worker_concurrency;
    let slots = [
        (Queue::Runs, RUN_SLOTS),
        (Queue::Fetches, concurrency.fetches as usize),
        (Queue::Deliveries, concurrency.deliveries as usize),
    ];
    let mut monitor = Monitor::new();
    for (queue, slots) in slots {
        let executor = Executor {
            context: context.clone(),
            queue,
            abandon: abandon.clone(),
        };
        let (store, keeper, wake) = (store.clone(), keeper.clone(), wake.of(queue));
        let (stop, crashed) = (shutdown.clone(), crashed.clone());
        monitor = monitor.register(move |_| {
            let claims = ClaimLoop {
                store: store.clone(),
                queue,
                slots,
                keeper: keeper.clone(),
                wake: wake.clone(),
                stop: stop.clone(),
                crashed: crashed.clone(),
            };
            WorkerBuilder::new(queue.name())
                .backend(QueueBackend::new(claims))
                .data(executor.clone())
                .concurrency(slots + WAITING_PLACES)
                .build(handle)
        });
    }
    claims.cancel();
    tracing::info!(
        fetches = concurrency.fetches,
        deliveries = concurrency.deliveries,
        version = env!("CARGO_PKG_VERSION"),
        "the worker is ready"
    );
    let stop = shutdown.clone();
    let work = monitor.run_with_signal(async move {
        stop.cancelled().await;
        Ok(())
    });
    let drain = drain(shutdown.clone(), abandon, settings.drain);
    tokio::pin!(work, drain);
    let mut crash = None;
    loop {
        tokio::select! {
            ended = &mut work => {
                ended.context("the workers ended")?;
                break;
            }
            () = &mut drain => {
                tracing::warn!("the drain budget is used up; what could not be handed back is left to its lease");
                break;
            }
            reason = first_crash(&mut helpers, &shutdown), if crash.is_none() => {
                tracing::error!(reason, "a part of the worker crashed; it stops");
                crash = Some(reason);
                shutdown.cancel();
            }
        }
    }
    background.cancel();
    let ended = async { while helpers.join_next().await.is_some() {} };
    if tokio::time::timeout(HELPERS_END, ended).await.is_err() {
        tracing::warn!("what runs beside the tasks doesn't end; it is cut off");
    }
    health.stopped().await;
    tracing::info!("the worker has stopped");
    crash.map_or(Ok(()), |reason| {
        Err(anyhow::anyhow!("a part of the worker crashed: {reason}"))
    })
}

/// Waits for a helper that ends though the process isn't to stop, and gives the reason.
async fn first_crash(helpers: &mut JoinSet<()>, shutdown: &CancellationToken) -> String {
    while let Some(ended) = helpers.join_next().await {
        match ended {
            Err(error) => return error.to_string(),
            Ok(()) if !shutdown.is_cancelled() => return "it ended".to_owned(),
            Ok(()) => {}
        }
    }
    std::future::pending().await
}

async fn handle(leased: Leased, executor: Data<Executor>) {
    executor.run(leased).await;
}

/// Ends some time after the drain budget is used up and tasks were told to hand back.
async fn drain(shutdown: CancellationToken, abandon: CancellationToken, budget: Duration) {
    shutdown.cancelled().await;
    tracing::info!(
        budget_ms = budget.as_millis(),
        "stopping; tasks in work may finish"
    );
    tokio::time::sleep(budget).await;
    abandon.cancel();
    tokio::time::sleep(HAND_BACK).await;
}

/// Waits for Redis and checks it; whether it had to be waited for. `None` when asked to stop meanwhile.
async fn await_store(store: &Store, shutdown: &CancellationToken) -> anyhow::Result<Option<bool>> {
    let mut outage = Outage::of("looking for Redis");
    loop {
        match store.check().await {
            Ok(check) => {
                for warning in check.warnings {
                    tracing::warn!("{warning}");
                }
                return Ok(Some(outage.over().is_some()));
            }
            Err(error @ StoreError::Unavailable(_)) => outage.goes_on(&error),
            Err(error) => return Err(error.into()),
        }
        tokio::select! {
            () = shutdown.cancelled() => return Ok(None),
            () = tokio::time::sleep(BOOT_RETRY) => {}
        }
    }
}
