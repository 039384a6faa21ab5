//! The whole of Syncline in one process: a private Redis, the API and a worker.
//!
//! State lives in one directory: Redis's append-only file, the master key, the
//! API token, the log. A lock on that directory keeps a second stack out of it.
//! API and worker run as libraries, each on threads of its own; when one ends by
//! itself, [`Stack::ended`] says so. A Redis left behind by a killed process is
//! found by its socket and stopped first.

mod log;
mod programs;
mod redis;
mod secrets;

use std::{
    fs::{File, TryLockError},
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, bail};
use shared::{
    config::{Settings, Sources},
    seal::Secret,
};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use self::{programs::Program, redis::PrivateRedis};

/// How long API and worker may take until both are ready.
const START_DEADLINE: Duration = Duration::from_secs(30);
/// Between two looks whether they are.
const READY_POLL: Duration = Duration::from_millis(20);
/// What a look may take.
const READY_TIMEOUT: Duration = Duration::from_secs(2);
/// How long work in hand may go on after a stop, in seconds: short, since somebody waits at a terminal.
const DRAIN_SECONDS: u64 = 5;
/// How long a program may take to end beyond that.
const STOP_MARGIN: Duration = Duration::from_secs(10);
/// Where outbound calls may go although it isn't public: this machine.
const LOCAL_TARGETS: &str = "127.0.0.0/8,::1/128";

/// What a stack is started with.
#[derive(Debug, Clone)]
pub struct StackOptions {
    /// Made when it is missing.
    pub data_dir: PathBuf,
    /// The `redis-server` to run; `None`: the one on the `PATH`.
    pub redis_server: Option<PathBuf>,
    /// Where the API listens; port 0 takes a free one.
    pub listen: SocketAddr,
}

/// A running stack.
pub struct Stack {
    /// Without a slash at the end.
    pub api_url: String,
    pub token: Secret,
    pub data_dir: PathBuf,
    pub log: PathBuf,
    redis: PrivateRedis,
    programs: Vec<Program>,
    shutdown: CancellationToken,
    /// Held as long as the stack runs.
    _lock: File,
}

impl Stack {
    /// Starts everything and waits until the API answers.
    ///
    /// # Errors
    /// A missing `redis-server`, a directory in use, a port that is taken, a
    /// program that doesn't start. What was started is stopped again.
    pub async fn start(options: &StackOptions) -> anyhow::Result<Self> {
        let data_dir = make_private(&options.data_dir)?;
        let lock = lock(&data_dir)?;
        let log = data_dir.join("syncline.log");
        log::init(&log)?;
        let listener = TcpListener::bind(options.listen)
            .with_context(|| format!("can't listen on {}", options.listen))?;
        let address = listener.local_addr()?;
        let token = secrets::token(&data_dir)?;
        let master_key = secrets::master_key(&data_dir)?;

        let redis = PrivateRedis::start(options.redis_server.as_deref(), &data_dir).await?;
        let settings = settings(address, &redis.url(), &token, &master_key)?;
        let shutdown = CancellationToken::new();
        let mut stack = Self {
            api_url: format!("http://{address}"),
            token,
            data_dir,
            log,
            redis,
            programs: Vec::new(),
            shutdown: shutdown.clone(),
            _lock: lock,
        };
        let started = match programs::start(settings, listener, &shutdown) {
            Ok(programs) => {
                stack.programs = programs;
                stack.await_ready().await
            }
            Err(error) => Err(error),
        };
        match started {
            Ok(()) => Ok(stack),
            Err(error) => {
                let log = stack.log.clone();
                // The first failure is the one to tell.
                drop(stack.stop().await);
                Err(error.context(format!("see {}", log.display())))
            }
        }
    }

    async fn await_ready(&mut self) -> anyhow::Result<()> {
        let http = reqwest::Client::builder()
            .no_proxy()
            .timeout(READY_TIMEOUT)
            .build()?;
        let url = format!("{}/readyz", self.api_url);
        let deadline = Instant::now() + START_DEADLINE;
        loop {
            let last = match http.get(&url).send().await {
                Ok(answer) if answer.status().is_success() => return Ok(()),
                Ok(answer) => format!("it answers {}", answer.status()),
                Err(error) => error.without_url().to_string(),
            };
            if Instant::now() >= deadline {
                bail!(
                    "the API wasn't ready within {} s: {last}",
                    START_DEADLINE.as_secs()
                );
            }
            tokio::select! {
                error = self.ended() => return Err(error),
                () = sleep(READY_POLL) => {}
            }
        }
    }

    /// Waits until a part of the stack ends by itself; says which and why.
    pub async fn ended(&mut self) -> anyhow::Error {
        let programs = self
            .programs
            .iter_mut()
            .map(|program| Box::pin(program.ended()));
        let programs: Vec<_> = programs.collect();
        if programs.is_empty() {
            return self.redis.ended().await;
        }
        tokio::select! {
            error = self.redis.ended() => error,
            (error, _, _) = futures::future::select_all(programs) => error,
        }
    }

    /// Lets work in hand finish, stops API and worker, then Redis.
    ///
    /// # Errors
    /// What did not stop as it should; everything is stopped all the same.
    pub async fn stop(mut self) -> anyhow::Result<()> {
        self.shutdown.cancel();
        let mut faults = Vec::new();
        let deadline = Instant::now() + Duration::from_secs(DRAIN_SECONDS) + STOP_MARGIN;
        for program in &mut self.programs {
            if let Err(error) = program.stopped(deadline).await {
                faults.push(format!("{error:#}"));
            }
        }
        if let Err(error) = self.redis.stop().await {
            faults.push(format!("{error:#}"));
        }
        if !faults.is_empty() {
            bail!("{}", faults.join("; "));
        }
        Ok(())
    }
}

/// Empties a data directory that no stack runs on; what a killed one left running
/// is stopped first.
///
/// # Errors
/// A directory in use or that can't be removed.
pub async fn wipe(data_dir: &Path) -> anyhow::Result<()> {
    if !data_dir.exists() {
        return Ok(());
    }
    let data_dir = make_private(data_dir)?;
    let _lock = lock(&data_dir)?;
    redis::stop_leftover(&data_dir).await?;
    std::fs::remove_dir_all(&data_dir)
        .with_context(|| format!("can't remove {}", data_dir.display()))
}

/// The settings of API and worker; what the person set in the environment about
/// logging and limits counts, where things are is ours.
fn settings(
    listen: SocketAddr,
    redis_url: &str,
    token: &Secret,
    master_key: &Secret,
) -> anyhow::Result<Settings> {
    let overrides = [
        ("redis_url", redis_url.to_owned()),
        ("listen", listen.to_string()),
        ("metrics_listen", "127.0.0.1:0".to_owned()),
        ("bootstrap_token", token.expose().to_owned()),
        ("master_key", master_key.expose().to_owned()),
        ("allow_targets", LOCAL_TARGETS.to_owned()),
        ("allow_http", "true".to_owned()),
        ("drain_seconds", DRAIN_SECONDS.to_string()),
    ];
    let overrides = overrides
        .map(|(name, value)| (name.to_owned(), value))
        .to_vec();
    Ok(Settings::load(&Sources::from_process(None, overrides)?)?)
}

/// Makes the directory, readable by its owner only, and answers its absolute path.
fn make_private(directory: &Path) -> anyhow::Result<PathBuf> {
    use std::os::unix::fs::DirBuilderExt;
    let made = std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory);
    made.and_then(|()| directory.canonicalize())
        .with_context(|| format!("can't use {} as data directory", directory.display()))
}

fn lock(data_dir: &Path) -> anyhow::Result<File> {
    let path = data_dir.join("lock");
    let file = File::create(&path).with_context(|| format!("can't write {}", path.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => bail!(
            "another syncline runs on {}; stop it, or choose another directory with --data-dir",
            data_dir.display()
        ),
        Err(TryLockError::Error(error)) => {
            Err(error).context(format!("can't lock {}", path.display()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_stack_on_the_same_directory_is_refused() {
        let directory = tempfile::tempdir().expect("a directory");
        let first = lock(directory.path()).expect("the lock");
        let message = lock(directory.path()).expect_err("taken").to_string();
        assert!(message.contains("--data-dir"), "{message}");
        drop(first);
        lock(directory.path()).expect("free again");
    }

    #[test]
    fn a_new_data_directory_is_for_its_owner_only() {
        use std::os::unix::fs::PermissionsExt;
        let directory = tempfile::tempdir().expect("a directory");
        let made = make_private(&directory.path().join("a/b")).expect("made");
        assert_eq!(
            made.metadata().expect("there").permissions().mode() & 0o777,
            0o700
        );
    }
}
