//! From settings to a serving API, and its parts in the order in which they can fail.
//!
//! The API answers from the start; until Redis has been found and its settings
//! checked, every call that needs it gets `store_unavailable`.

use std::{
    net::TcpListener,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, bail};
use serde_json::Value;
use shared::{
    config::Settings,
    http::{Outbound, TargetPolicy},
    seal::Sealer,
    store::{Store, StoreError, tokens::Bootstrap},
    telemetry::metrics_handle,
};
use tokio_util::sync::CancellationToken;

use crate::{
    app::{self, Ports},
    catalog::Catalog,
    state::AppState,
};

/// Between two attempts to reach Redis at the start.
const BOOT_RETRY: Duration = Duration::from_secs(1);
/// Bytes of an integration file at most.
const MAX_FILE_BYTES: u64 = 1024 * 1024;

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
    let state = AppState {
        store: store.clone(),
        store_checked: Arc::new(AtomicBool::new(false)),
        sealer: Sealer::new(settings.master_key.expose())
            .context("the master key can't be used")?,
        outbound: Outbound::new(targets.clone()).context("the outbound client can't be made")?,
        targets,
        catalog: Arc::new(catalog(settings.integrations_dir.as_deref())?),
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
        if await_store(&store, &shutdown).await? {
            bootstrap(&store, &settings).await?;
            checked.store(true, Ordering::Release);
            tracing::info!("the API is ready");
        }
        // Ready: the server's end, which follows in time, is the result.
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

/// Waits for Redis and checks it; false when asked to stop meanwhile.
async fn await_store(store: &Store, shutdown: &CancellationToken) -> anyhow::Result<bool> {
    let mut told = false;
    loop {
        match store.check().await {
            Ok(check) => {
                for warning in check.warnings {
                    tracing::warn!("{warning}");
                }
                return Ok(true);
            }
            Err(error @ StoreError::Unavailable(_)) => {
                if !told {
                    told = true;
                    tracing::warn!(%error, "waiting for Redis");
                }
            }
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

async fn bootstrap(store: &Store, settings: &Settings) -> anyhow::Result<()> {
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

/// The bundled integrations, and those of the folder, which shadow them.
fn catalog(folder: Option<&Path>) -> anyhow::Result<Catalog> {
    let mut documents = Vec::new();
    for (name, text) in shared::integration::bundled() {
        documents.push(
            serde_json::from_str(text)
                .with_context(|| format!("the bundled integration `{name}`"))?,
        );
    }
    if let Some(folder) = folder {
        documents.extend(
            read_folder(folder)
                .with_context(|| format!("the integrations folder {}", folder.display()))?,
        );
    }
    Ok(Catalog::new(documents)?)
}

fn read_folder(folder: &Path) -> anyhow::Result<Vec<Value>> {
    let mut paths = std::fs::read_dir(folder)?
        .map(|entry| Ok(entry?.path()))
        .collect::<std::io::Result<Vec<_>>>()?;
    paths.sort();
    let mut documents = Vec::new();
    for path in paths {
        let is_yaml = match path.extension().and_then(|extension| extension.to_str()) {
            Some("json") => false,
            Some("yaml" | "yml") => true,
            _ => continue,
        };
        documents.push(read_document(&path, is_yaml).with_context(|| path.display().to_string())?);
    }
    Ok(documents)
}

fn read_document(path: &Path, is_yaml: bool) -> anyhow::Result<Value> {
    if std::fs::metadata(path)?.len() > MAX_FILE_BYTES {
        bail!("is larger than {MAX_FILE_BYTES} bytes");
    }
    let text = std::fs::read_to_string(path)?;
    Ok(if is_yaml {
        serde_yaml_ng::from_str(&text)?
    } else {
        serde_json::from_str(&text)?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integration_files_are_read_in_order_and_others_left_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("b.json"), r#"{"name":"b"}"#).expect("a file");
        std::fs::write(
            folder.path().join("a.yaml"),
            "name: a\nconfig:\n  number: 12\n",
        )
        .expect("a file");
        std::fs::write(folder.path().join("README.md"), "# read me").expect("a file");
        let documents = read_folder(folder.path()).expect("documents");
        assert_eq!(
            documents,
            [
                serde_json::json!({"name": "a", "config": {"number": 12}}),
                serde_json::json!({"name": "b"})
            ]
        );
    }

    #[test]
    fn a_file_that_cannot_be_read_is_named() {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("bad.json"), "{").expect("a file");
        let error = format!("{:#}", read_folder(folder.path()).expect_err("a fault"));
        assert!(error.contains("bad.json"), "{error}");
    }
}
