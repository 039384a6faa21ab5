//! From settings to a serving API, and its parts in the order in which they can fail.
//!
//! The API answers from the start; until Redis has been found and its settings
//! checked, every call that needs it gets `store_unavailable`.

use std::{
    net::TcpListener,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::Context;
use shared::{
    catalog::{Catalog, documents},
    config::Settings,
    http::{Outbound, TargetPolicy},
    seal::Sealer,
    store::{Outage, Store, StoreError, StoreResult, tokens::Bootstrap},
    telemetry::metrics_handle,
};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::{
    app::{self, Ports},
    state::{AppState, TESTS_AT_ONCE},
};

/// Between two attempts to reach Redis at the start.
const BOOT_RETRY: Duration = Duration::from_secs(1);
/// Between two looks at whether Redis still takes steps.
const WATCH_EVERY: Duration = Duration::from_secs(2);

/// Serves the API on `listener` until `shutdown`, then drains within the drain budget.
///
/// # Errors
/// Settings or integration files that can't be used, a Redis whose settings risk data.
pub async fn run(
    settings: Settings,
    listener: TcpListener,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let targets =
        TargetPolicy::new(&settings.allow_targets, settings.allow_http).map_err(|faults| {
            anyhow::anyhow!("the allowed targets can't be used: {}", faults.join("; "))
        })?;
    let store = Store::open(settings.redis_url.expose(), &settings.key_prefix)?;
    let metrics = metrics_handle().context("metrics can't be collected")?;
    let outbound = Outbound::new(targets.clone()).context("the outbound client can't be made")?;
    let state = AppState {
        store: store.clone(),
        store_checked: Arc::new(AtomicBool::new(false)),
        sealer: Sealer::new(settings.master_key.expose())
            .context("the master key can't be used")?,
        receivers: outbound.for_receivers(),
        outbound,
        tests: Arc::new(Semaphore::new(TESTS_AT_ONCE)),
        targets,
        catalog: Arc::new(Catalog::new(documents(
            settings.integrations_dir.as_deref(),
        )?)?),
        retention_days: settings.retention_days,
        metrics: Some(metrics.clone()),
    };
    let metrics_listener =
        match settings
            .metrics_listen
            .filter(|address| *address != settings.listen)
        {
            Some(address) => {
                let listener = TcpListener::bind(address);
                Some(listener.with_context(|| {
                    format!("can't listen on {address} (SYNCLINE_METRICS_LISTEN)")
                })?)
            }
            None => None,
        };
    tracing::info!(address = %listener.local_addr()?, version = env!("CARGO_PKG_VERSION"), "the API is listening");

    if let Some(listener) = &metrics_listener {
        tracing::info!(metrics_address = %listener.local_addr()?, "figures are served on a port of their own");
    }

    let checked = Arc::clone(&state.store_checked);
    let ports = Ports {
        api: listener,
        metrics: metrics_listener,
    };
    let serving = app::serve_ports(state, ports, settings.drain, shutdown.clone());
    let upkeep = tokio::spawn(metrics.keep_bounded(shutdown.clone()));
    let preparing = async {
        if await_store(&store, &settings, &shutdown).await? {
            checked.store(true, Ordering::Release);
            tracing::info!("the API is ready");
            watch(&store, &shutdown).await;
        }
        // The server's end, which follows in time, is the result.
        std::future::pending::<anyhow::Result<()>>().await
    };
    let ended = tokio::select! {
        served = serving => served.context("the server ended"),
        failed = preparing => failed,
    };
    shutdown.cancel();
    upkeep
        .await
        .context("the upkeep of the metrics ended badly")?;
    tracing::info!("the API has stopped");
    ended
}

/// Waits for Redis and prepares it; false when asked to stop meanwhile.
async fn await_store(
    store: &Store,
    settings: &Settings,
    shutdown: &CancellationToken,
) -> anyhow::Result<bool> {
    let mut outage = Outage::of("preparing the store");
    loop {
        match prepare(store, settings).await {
            Ok(()) => {
                outage.over();
                return Ok(true);
            }
            Err(error @ StoreError::Unavailable(_)) => outage.goes_on(&error),
            Err(error) => return Err(error.into()),
        }
        if shutdown
            .run_until_cancelled(tokio::time::sleep(BOOT_RETRY))
            .await
            .is_none()
        {
            return Ok(false);
        }
    }
}

/// Looks after the store until `shutdown`: without requests nobody would notice that the connection is to a Redis that
/// isn't the master any more, and requests that only read would be answered with what that one has.
async fn watch(store: &Store, shutdown: &CancellationToken) {
    let mut outage = Outage::of("reaching the store");
    while shutdown
        .run_until_cancelled(tokio::time::sleep(WATCH_EVERY))
        .await
        .is_some()
    {
        match store.ping().await {
            Ok(()) => {
                outage.over();
            }
            Err(error) => outage.goes_on(&error),
        }
    }
}

/// A Redis that loads its file answers the check and nothing else.
async fn prepare(store: &Store, settings: &Settings) -> StoreResult<()> {
    let check = store.check().await?;
    bootstrap(store, settings).await?;
    for warning in check.warnings {
        tracing::warn!("{warning}");
    }
    Ok(())
}

async fn bootstrap(store: &Store, settings: &Settings) -> StoreResult<()> {
    let Some(token) = &settings.bootstrap_token else {
        return Ok(());
    };
    match store.tokens().bootstrap(token.expose()).await? {
        Bootstrap::Created => {
            tracing::info!("made the environment `default` with the bootstrap token");
        }
        Bootstrap::Present => {}
        Bootstrap::Refused => tracing::warn!(
            "the bootstrap token is not known, and the store isn't empty: it is ignored; make tokens with `syncline-api token create`"
        ),
    }
    Ok(())
}
