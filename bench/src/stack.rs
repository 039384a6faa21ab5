//! Everything that takes part in a measurement, each in a process of its own so that its processor time and memory
//! can be told apart: source, receiver, Redis, API, worker.

use std::{collections::BTreeMap, net::SocketAddr, path::Path, time::Duration};

use anyhow::{Context, Result};
use serde_json::{Value, json};
use syncline_tests::{
    process::{Launch, Program},
    rest::Rest,
    stack::Stack,
};
use tempfile::TempDir;

use crate::{
    figures::{Table, Target},
    machine,
};

/// The longest that a measured run may take before the benchmark gives up.
pub const RUN_TIMEOUT: Duration = Duration::from_mins(5);

/// A stand-in in a process of its own.
#[derive(Debug)]
pub struct StandIn {
    program: Program,
    pub address: SocketAddr,
}

impl StandIn {
    /// Starts this program again with the sub-command `name`, which prints its address once it serves.
    fn start(name: &str, folder: &Path) -> Result<Self> {
        let mut program = Program::start(Launch {
            program: std::env::current_exe()?,
            arguments: vec![name.to_owned()],
            environment: BTreeMap::new(),
            log: folder.join(name),
        })?;
        let mut address = None;
        let log = folder.join(name);
        program.wait_ready(|| {
            let text = std::fs::read_to_string(&log).map_err(|error| error.to_string())?;
            let line = text
                .split_once('\n')
                .ok_or("it has not printed its address")?
                .0;
            address = Some(
                line.parse()
                    .map_err(|error| format!("{line:?} is no address: {error}"))?,
            );
            Ok(())
        })?;
        Ok(Self {
            program,
            address: address.context("it is ready, so it has an address")?,
        })
    }
}

/// All processes of one round.
#[derive(Debug)]
pub struct Bench {
    stack: Stack,
    source: StandIn,
    receiver: StandIn,
    pub rest: Rest,
    _folder: TempDir,
}

/// What a job needs to be started.
#[derive(Debug)]
pub struct Ready {
    pub account_id: String,
    pub webhook_id: String,
}

impl Bench {
    /// Starts all of them, with one worker.
    pub fn start() -> Result<Self> {
        let folder = tempfile::Builder::new()
            .prefix("syncline-bench-")
            .tempdir()?;
        let source = StandIn::start("source", folder.path())?;
        let receiver = StandIn::start("receiver", folder.path())?;
        let stack = Stack::start_with(1, &[("SYNCLINE_LOG", "warn")])?;
        let rest = stack.rest()?;
        Ok(Self {
            stack,
            source,
            receiver,
            rest,
            _folder: folder,
        })
    }

    pub fn source(&self) -> SocketAddr {
        self.source.address
    }

    /// Creates the integration (as `name`, over the source at `source`), an account and a webhook.
    pub async fn prepare(
        &self,
        name: &str,
        source: SocketAddr,
        event_types: &[&str],
    ) -> Result<Ready> {
        self.rest
            .put(&format!("/integration/{name}"), &integration(name, source))
            .await?;
        let account = json!({"integration_name": name, "tenant_id": "bench", "credentials": {"api_key": "secret"}});
        let account_id = self.rest.create("/integrated-account", &account).await?;
        let webhook = json!({
            "target_url": format!("http://{}/", self.receiver.address),
            "event_types": event_types,
            "delivery": {"batch_records": 100},
        });
        let webhook_id = self.rest.create("/webhook", &webhook).await?;
        Ok(Ready {
            account_id,
            webhook_id,
        })
    }

    /// What the receiver counted.
    pub async fn received(&self) -> Result<Value> {
        let url = format!("http://{}/counts", self.receiver.address);
        Ok(serde_json::from_slice(
            &reqwest::get(url).await?.bytes().await?,
        )?)
    }

    /// The worker's highest memory so far, in MiB.
    pub fn worker_peak_mib(&self) -> Result<f64> {
        machine::peak_memory_mib(self.stack.workers[0].id())
    }

    /// Adds the processor time that each process has used so far.
    pub fn add_cpu_seconds(&self, name: &str, table: &mut Table) -> Result<()> {
        let processes = [
            ("source", self.source.program.id()),
            ("receiver", self.receiver.program.id()),
            (
                "redis",
                self.stack
                    .redis
                    .id()
                    .context("redis is no process of this machine")?,
            ),
            ("api", self.stack.api.id()),
            ("worker", self.stack.workers[0].id()),
        ];
        for (process, id) in processes {
            table.add(
                &format!("{name}: cpu of {process}"),
                "s",
                Target::None,
                machine::cpu_seconds(id)?,
            );
        }
        Ok(())
    }
}

/// The benchmark's source as an integration.
pub fn integration(name: &str, source: SocketAddr) -> Value {
    json!({
        "name": name,
        "label": "Benchmark",
        "config": {
            "base_url": format!("http://{source}"),
            "credentials": {"format": "api_key", "config": {"fields": [
                {"name": "api_key", "label": "API key", "type": "password", "required": true}
            ]}},
            "authorization": {"format": "header", "config": {
                "header_name": "Authorization", "header_value": "Bearer {{credentials.api_key}}"
            }},
            "pagination": {"format": "page", "config": {
                "page_key": "page", "max_limit": 100, "has_next_path": "has_more"
            }},
            "resources": {
                "items": {"list": {"path": "/items", "response_path": "data"}},
                "parents": {"list": {"path": "/parents", "response_path": "data"}},
                "children": {"list": {
                    "path": "/parents/{{query.parent_id}}/children", "response_path": "data", "pagination": null
                }},
                "big": {"list": {"path": "/big", "response_path": "data", "pagination": null}},
            },
        },
    })
}
