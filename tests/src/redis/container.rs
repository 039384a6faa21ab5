//! Redis in a container, for machines that have Docker and no `redis-server`. The container and the runtime that its
//! library needs live on a thread of their own, so that the blocking harness can be used from asynchronous tests.

use std::{sync::mpsc, thread};

use anyhow::{Context, Result};
use testcontainers::{
    ContainerAsync, GenericImage, ImageExt,
    core::{IntoContainerPort, WaitFor},
    runners::AsyncRunner,
};

const IMAGE: &str = "redis";
const TAG: &str = "7-bookworm";
const PORT: u16 = 6379;

/// What the container's thread is asked for.
#[derive(Debug, Clone, Copy)]
pub enum Act {
    Kill,
    Start,
    Freeze,
    Thaw,
}

/// The asking side; the container is removed when this is dropped.
#[derive(Debug)]
pub struct Container {
    /// `None` only while it is dropped.
    acts: Option<mpsc::Sender<(Act, mpsc::Sender<Result<()>>)>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Container {
    /// Starts Redis with these arguments, reachable at `port` of this machine.
    pub fn start(port: u16, arguments: Vec<String>) -> Result<Self> {
        let (acts, asked) = mpsc::channel::<(Act, mpsc::Sender<Result<()>>)>();
        let (started, start) = mpsc::channel();
        let thread = thread::spawn(move || {
            let runtime = match tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
            {
                Ok(runtime) => runtime,
                // Whoever waits for an answer is still there, or has given up.
                Err(error) => return drop(started.send(Err(error.into()))),
            };
            let container = match runtime.block_on(run(port, arguments)) {
                Ok(container) => container,
                Err(error) => return drop(started.send(Err(error))),
            };
            drop(started.send(Ok(())));
            for (act, done) in asked {
                drop(done.send(runtime.block_on(carry_out(&container, act))));
            }
            // The test is over; a container that is gone already is what is wanted.
            drop(runtime.block_on(container.rm()));
        });
        start.recv().context("the container's thread ended")??;
        Ok(Self {
            acts: Some(acts),
            thread: Some(thread),
        })
    }

    pub fn act(&self, act: Act) -> Result<()> {
        let (done, result) = mpsc::channel();
        let acts = self
            .acts
            .as_ref()
            .context("the container is being removed")?;
        acts.send((act, done))
            .ok()
            .context("the container's thread ended")?;
        result.recv().context("the container's thread ended")?
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        self.acts = None;
        if let Some(thread) = self.thread.take() {
            // Its panic, if any, was printed.
            drop(thread.join());
        }
    }
}

async fn run(port: u16, arguments: Vec<String>) -> Result<ContainerAsync<GenericImage>> {
    let image = GenericImage::new(IMAGE, TAG)
        .with_exposed_port(PORT.tcp())
        .with_wait_for(WaitFor::message_on_stdout("Ready to accept connections"));
    let command = ["redis-server".to_owned()].into_iter().chain(arguments);
    let container = image
        .with_cmd(command)
        .with_mapped_port(port, PORT.tcp())
        .start()
        .await;
    container.with_context(|| {
        format!("could not start {IMAGE}:{TAG} in a container; is Docker running?")
    })
}

async fn carry_out(container: &ContainerAsync<GenericImage>, act: Act) -> Result<()> {
    match act {
        // No time to write anything: as a crash.
        Act::Kill => container.stop_with_timeout(Some(0)).await?,
        Act::Start => container.start().await?,
        Act::Freeze => container.pause().await?,
        Act::Thaw => container.unpause().await?,
    }
    Ok(())
}
