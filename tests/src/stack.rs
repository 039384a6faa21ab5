//! Syncline as a user runs it, on loopback: a private Redis, one API, any number of workers.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    process::{Command, Output, Stdio},
    thread,
    time::Duration,
};

use anyhow::Result;
use tempfile::TempDir;

use crate::{
    process::{Launch, Program, answers_ok, binary, free_address, is_stopped, signal},
    redis::PrivateRedis,
    rest::Rest,
};

/// 32 bytes that everybody may know.
const MASTER_KEY: &str = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";
/// Between two looks at a command that runs.
const COMMAND_LOOK: Duration = Duration::from_millis(20);
/// The API token of the environment that an empty store gets.
pub const TOKEN: &str = "token-of-the-end-to-end-tests-0123456789";

/// The running programs; ended when dropped, with everything they stored.
#[derive(Debug)]
pub struct Stack {
    // Dropped in this order: workers first, so that they don't report a Redis that went away.
    pub workers: Vec<Program>,
    pub api: Program,
    /// Those started by [`Self::add_api`].
    pub more_apis: Vec<Program>,
    pub redis: PrivateRedis,
    api_address: SocketAddr,
    environment: BTreeMap<String, String>,
    folder: TempDir,
    boots: usize,
}

impl Stack {
    /// Starts Redis, the API and that many workers, and waits until all are ready.
    pub fn start(workers: usize) -> Result<Self> {
        Self::start_with(workers, &[])
    }

    /// `settings`: further environment variables of the API and of every worker.
    pub fn start_with(workers: usize, settings: &[(&str, &str)]) -> Result<Self> {
        Self::start_over(PrivateRedis::start()?, workers, settings, 1)
    }

    /// As [`Self::start_with`], over a Redis of the caller's. A program that ends before it is ready is started up to
    /// `boots` times.
    pub fn start_over(
        redis: PrivateRedis,
        workers: usize,
        settings: &[(&str, &str)],
        boots: usize,
    ) -> Result<Self> {
        let folder = tempfile::Builder::new()
            .prefix("syncline-stack-")
            .tempdir()?;
        let defaults = [
            ("SYNCLINE_REDIS_URL", redis.url()),
            ("SYNCLINE_MASTER_KEY", MASTER_KEY.to_owned()),
            ("SYNCLINE_ALLOW_TARGETS", "127.0.0.0/8".to_owned()),
            ("SYNCLINE_ALLOW_HTTP", "true".to_owned()),
        ];
        let defaults = defaults.map(|(name, value)| (name.to_owned(), value));
        let settings = settings
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let environment: BTreeMap<_, _> = defaults.into_iter().chain(settings).collect();

        let (api, api_address) = start_api(&environment, &folder, "api.log", boots)?;
        let mut stack = Self {
            workers: Vec::new(),
            api,
            more_apis: Vec::new(),
            redis,
            api_address,
            environment,
            folder,
            boots,
        };
        for _ in 0..workers {
            stack.add_worker(&[])?;
        }
        Ok(stack)
    }

    /// Starts the API again after its end and waits until it is ready.
    pub fn restart_api(&mut self) -> Result<()> {
        self.api.restart()?;
        self.api.wait_ready(answers_ok(self.api_address, "/readyz"))
    }

    /// Starts a worker again after its end and waits until it is ready.
    pub fn restart_worker(&mut self, index: usize) -> Result<()> {
        let worker = &mut self.workers[index];
        worker.restart()?;
        let address = worker.metrics_address()?;
        worker.wait_ready(answers_ok(address, "/readyz"))
    }

    /// Starts one more API over the same store and waits until it is ready; gives a client of it.
    pub fn add_api(&mut self) -> Result<Rest> {
        let log = format!("api-{}.log", self.more_apis.len() + 1);
        let (api, address) = start_api(&self.environment, &self.folder, &log, self.boots)?;
        self.more_apis.push(api);
        Rest::new(format!("http://{address}/api/v1/ipaas"), TOKEN.to_owned())
    }

    /// Starts one more worker, with further environment variables of its own, and waits until it is ready.
    pub fn add_worker(&mut self, settings: &[(&str, &str)]) -> Result<()> {
        let address = free_address()?;
        let mut environment = self.environment.clone();
        environment.insert("SYNCLINE_METRICS_LISTEN".to_owned(), address.to_string());
        environment.extend(
            settings
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned())),
        );
        let mut worker = Program::start(Launch {
            program: binary("syncline-worker")?,
            arguments: vec!["run".to_owned()],
            environment,
            log: self
                .folder
                .path()
                .join(format!("worker-{}.log", self.workers.len())),
        })?;
        worker.boot(self.boots, || answers_ok(address, "/readyz"))?;
        self.workers.push(worker);
        Ok(())
    }

    /// Runs `syncline-api` with these arguments over the same store, to its end; there is nothing on its standard input. Its
    /// status, and what it said. One that is stopped meanwhile (SIGSTOP) is told to go on.
    pub fn api_command(&self, arguments: &[&str]) -> Result<Output> {
        let mut command = Command::new(binary("syncline-api")?)
            .args(arguments)
            .envs(&self.environment)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        while command.try_wait()?.is_none() {
            if is_stopped(command.id()) {
                signal(command.id(), "CONT")?;
            }
            thread::sleep(COMMAND_LOOK);
        }
        // It says a line or two, which the pipes hold.
        Ok(command.wait_with_output()?)
    }

    /// The API's address; `/readyz` and `/metrics` are there too.
    pub fn api_address(&self) -> SocketAddr {
        self.api_address
    }

    /// Where the programs find Redis: the stack's own, or what the settings say.
    pub fn redis_url(&self) -> &str {
        &self.environment["SYNCLINE_REDIS_URL"]
    }

    /// A client with the bootstrap token.
    pub fn rest(&self) -> Result<Rest> {
        Rest::new(
            format!("http://{}/api/v1/ipaas", self.api_address),
            TOKEN.to_owned(),
        )
    }
}

fn start_api(
    environment: &BTreeMap<String, String>,
    folder: &TempDir,
    log: &str,
    boots: usize,
) -> Result<(Program, SocketAddr)> {
    let address = free_address()?;
    let mut environment = environment.clone();
    environment.insert("SYNCLINE_LISTEN".to_owned(), address.to_string());
    environment.insert("SYNCLINE_BOOTSTRAP_TOKEN".to_owned(), TOKEN.to_owned());
    let mut api = Program::start(Launch {
        program: binary("syncline-api")?,
        arguments: vec!["serve".to_owned()],
        environment,
        log: folder.path().join(log),
    })?;
    api.boot(boots, || answers_ok(address, "/readyz"))?;
    Ok((api, address))
}
