//! API and worker as libraries, each on a thread with a runtime of its own, so
//! that neither depends on how the other one schedules its work.

use std::net::TcpListener;

use anyhow::{Context, bail};
use shared::config::Settings;
use tokio::{
    runtime::{Builder, Runtime},
    sync::oneshot,
    time::{Instant, timeout_at},
};
use tokio_util::sync::CancellationToken;

/// Threads of the worker's runtime.
const WORKER_THREADS: usize = 2;

/// A program that runs in this process.
pub struct Program {
    name: &'static str,
    done: oneshot::Receiver<anyhow::Result<()>>,
    /// Whether its end was already seen; a receiver must not be asked again.
    seen: bool,
}

/// Starts both. They run until `shutdown`, then drain.
pub fn start(
    settings: Settings,
    listener: TcpListener,
    shutdown: &CancellationToken,
) -> anyhow::Result<Vec<Program>> {
    let (for_api, stop_api, stop_worker) = (settings.clone(), shutdown.clone(), shutdown.clone());
    let api = Program::start("API", Builder::new_current_thread(), move |runtime| {
        runtime.block_on(api::run(for_api, listener, stop_api))
    })?;
    let mut threads = Builder::new_multi_thread();
    threads.worker_threads(WORKER_THREADS);
    let worker = Program::start("worker", threads, move |runtime| {
        runtime.block_on(worker::run(settings, stop_worker))
    })?;
    Ok(vec![api, worker])
}

impl Program {
    fn start(
        name: &'static str,
        mut builder: Builder,
        run: impl FnOnce(&Runtime) -> anyhow::Result<()> + Send + 'static,
    ) -> anyhow::Result<Self> {
        let runtime = builder
            .enable_all()
            .thread_name(name)
            .build()
            .context("no runtime")?;
        let (sender, done) = oneshot::channel();
        std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || {
                let result = run(&runtime);
                // Nobody listens any more when the stack gave up on it.
                drop(sender.send(result));
            })
            .with_context(|| format!("the {name} can't be started"))?;
        Ok(Self {
            name,
            done,
            seen: false,
        })
    }

    /// Waits until it ends by itself.
    pub async fn ended(&mut self) -> anyhow::Error {
        if self.seen {
            return std::future::pending().await;
        }
        let result = (&mut self.done).await;
        self.seen = true;
        let name = self.name;
        match result {
            Ok(Ok(())) => anyhow::anyhow!("the {name} ended by itself"),
            Ok(Err(error)) => error.context(format!("the {name} ended")),
            Err(_) => anyhow::anyhow!("the {name} panicked"),
        }
    }

    /// Waits until it has ended after a shutdown.
    pub async fn stopped(&mut self, deadline: Instant) -> anyhow::Result<()> {
        if self.seen {
            return Ok(());
        }
        let result = timeout_at(deadline, &mut self.done).await;
        self.seen = true;
        let name = self.name;
        match result {
            Ok(Ok(result)) => result.with_context(|| format!("the {name} ended badly")),
            Ok(Err(_)) => bail!("the {name} panicked"),
            Err(_) => bail!("the {name} didn't end in time"),
        }
    }
}
