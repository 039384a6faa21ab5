//! A private Redis: `redis-server` (or `valkey-server`) as a child process, on a
//! unix socket, with its append-only file on.
//!
//! It runs in a process group of its own, so that a Ctrl-C at the terminal
//! reaches only us and work can drain before Redis goes. It is stopped by
//! `SHUTDOWN`, which writes out the append-only file. When we are killed it stays
//! behind; the next start finds it by its socket and shuts it down.

use std::{
    io::ErrorKind,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::Duration,
};

use anyhow::{Context, bail};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
    process::{Child, Command},
    time::{Instant, sleep, timeout},
};

/// Tried in this order when no program is named.
const SERVERS: &[&str] = &["redis-server", "valkey-server"];
/// Name of the socket in the data directory.
const SOCKET: &str = "redis.sock";
/// How long it may take to answer; reading a large append-only file takes a while.
const START_DEADLINE: Duration = Duration::from_mins(1);
/// How long it may take to write out its file and end.
const STOP_DEADLINE: Duration = Duration::from_secs(20);
/// Between two looks.
const POLL: Duration = Duration::from_millis(10);
/// One command and its answer.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(2);
/// Bytes of an answer that matter here.
const ANSWER_BYTES: usize = 64;
/// A unix socket's path has at most 107 bytes on Linux and 103 on macOS (`sockaddr_un`).
const MAX_SOCKET_PATH: usize = 100;

/// A running private Redis.
pub struct PrivateRedis {
    child: Child,
    socket: PathBuf,
    /// Holds the socket when the data directory's path is too long for one.
    _socket_dir: Option<tempfile::TempDir>,
}

impl PrivateRedis {
    /// Starts it with its data under `data_dir` and waits until it answers.
    pub async fn start(server: Option<&Path>, data_dir: &Path) -> anyhow::Result<Self> {
        let directory = data_dir.join("redis");
        std::fs::create_dir_all(&directory)
            .with_context(|| format!("can't make {}", directory.display()))?;
        stop_leftover(data_dir).await?;
        let (socket, socket_dir) = place_socket(data_dir)?;
        let log = data_dir.join("redis.log");
        let child = spawn(server, &directory, &socket, &log)?;
        let mut redis = Self {
            child,
            socket,
            _socket_dir: socket_dir,
        };
        redis
            .await_ready()
            .await
            .with_context(|| format!("Redis didn't start; see {}", log.display()))?;
        Ok(redis)
    }

    /// For the setting `redis_url`.
    pub fn url(&self) -> String {
        format!("redis+unix://{}", self.socket.display())
    }

    async fn await_ready(&mut self) -> anyhow::Result<()> {
        let deadline = Instant::now() + START_DEADLINE;
        loop {
            if let Some(status) = self.child.try_wait()? {
                bail!("it ended with {status}");
            }
            // While it reads its file it answers `-LOADING`.
            match command(&self.socket, "PING").await {
                Ok(answer) if answer.starts_with("+PONG") => return Ok(()),
                last if Instant::now() >= deadline => {
                    bail!("no answer within the deadline: {last:?}")
                }
                _ => sleep(POLL).await,
            }
        }
    }

    /// Waits until it ends by itself.
    pub async fn ended(&mut self) -> anyhow::Error {
        let status = self.child.wait().await;
        anyhow::anyhow!("Redis ended by itself ({})", describe(status))
    }

    /// Writes everything out and ends it.
    pub async fn stop(mut self) -> anyhow::Result<()> {
        // The answer to SHUTDOWN is a closed connection.
        drop(command(&self.socket, "SHUTDOWN").await);
        match timeout(STOP_DEADLINE, self.child.wait()).await {
            Ok(Ok(status)) if status.success() => Ok(()),
            Ok(status) => bail!("Redis ended with {}", describe(status)),
            Err(_) => {
                self.child.kill().await.context("Redis can't be stopped")?;
                bail!(
                    "Redis didn't stop within {} s and was killed",
                    STOP_DEADLINE.as_secs()
                )
            }
        }
    }
}

fn describe(status: std::io::Result<ExitStatus>) -> String {
    status.map_or_else(|error| error.to_string(), |status| status.to_string())
}

/// Beside the data, or in a temporary directory when that path is too long.
fn place_socket(data_dir: &Path) -> anyhow::Result<(PathBuf, Option<tempfile::TempDir>)> {
    let socket = data_dir.join(SOCKET);
    if socket.as_os_str().len() <= MAX_SOCKET_PATH {
        return Ok((socket, None));
    }
    let directory = tempfile::Builder::new()
        .prefix("syncline-")
        .tempdir()
        .context("no temporary directory")?;
    Ok((directory.path().join(SOCKET), Some(directory)))
}

/// Ends the Redis of a process that was killed. The caller holds the lock on the directory.
pub async fn stop_leftover(data_dir: &Path) -> anyhow::Result<()> {
    let socket = &data_dir.join(SOCKET);
    if command(socket, "PING").await.is_err() {
        return Ok(());
    }
    drop(command(socket, "SHUTDOWN").await);
    let deadline = Instant::now() + STOP_DEADLINE;
    while command(socket, "PING").await.is_ok() {
        if Instant::now() >= deadline {
            bail!(
                "a Redis left behind by an earlier run doesn't stop; its socket is {}",
                socket.display()
            );
        }
        sleep(POLL).await;
    }
    Ok(())
}

fn spawn(
    server: Option<&Path>,
    directory: &Path,
    socket: &Path,
    log: &Path,
) -> anyhow::Result<Child> {
    let names: Vec<PathBuf> = match server {
        Some(path) => vec![path.to_path_buf()],
        None => SERVERS.iter().map(PathBuf::from).collect(),
    };
    for name in &names {
        let spawned = Command::new(name)
            .args(["--port", "0", "--unixsocketperm", "700", "--unixsocket"])
            .arg(socket)
            .arg("--dir")
            .arg(directory)
            .arg("--logfile")
            .arg(log)
            .args([
                "--save",
                "",
                "--appendonly",
                "yes",
                "--appendfsync",
                "everysec",
            ])
            .args(["--maxmemory-policy", "noeviction", "--daemonize", "no"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .kill_on_drop(true)
            .spawn();
        match spawned {
            Ok(child) => return Ok(child),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error).context(format!("can't run {}", name.display())),
        }
    }
    match server {
        Some(path) => bail!(
            "{} doesn't exist; --redis-server names the program redis-server",
            path.display()
        ),
        None => bail!(
            "redis-server isn't installed (Redis 7 or newer, or Valkey)\n\
             \x20 Debian, Ubuntu:  sudo apt-get install redis-server\n\
             \x20 macOS:           brew install redis\n\
             or name the program: --redis-server PATH"
        ),
    }
}

/// Sends one inline command and answers the beginning of its reply.
async fn command(socket: &Path, text: &str) -> std::io::Result<String> {
    let exchange = async {
        let mut stream = UnixStream::connect(socket).await?;
        stream.write_all(format!("{text}\r\n").as_bytes()).await?;
        let mut answer = [0; ANSWER_BYTES];
        let read = stream.read(&mut answer).await?;
        Ok(String::from_utf8_lossy(&answer[..read]).into_owned())
    };
    timeout(COMMAND_TIMEOUT, exchange)
        .await
        .unwrap_or_else(|_| Err(ErrorKind::TimedOut.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_private_redis_keeps_what_it_was_given_over_a_restart() {
        let directory = tempfile::tempdir().expect("a directory");
        let redis = PrivateRedis::start(None, directory.path())
            .await
            .expect("started");
        assert!(
            command(&redis.socket, "SET key value")
                .await
                .expect("an answer")
                .starts_with("+OK")
        );
        redis.stop().await.expect("a clean stop");
        let redis = PrivateRedis::start(None, directory.path())
            .await
            .expect("started");
        assert!(
            command(&redis.socket, "GET key")
                .await
                .expect("an answer")
                .contains("value")
        );
        let policy = command(&redis.socket, "CONFIG GET maxmemory-policy")
            .await
            .expect("an answer");
        assert!(policy.contains("noeviction"), "{policy}");
        redis.stop().await.expect("a clean stop");
    }

    #[tokio::test]
    async fn a_redis_left_behind_is_stopped_before_a_new_one_starts() {
        let directory = tempfile::tempdir().expect("a directory");
        let mut left = PrivateRedis::start(None, directory.path())
            .await
            .expect("started");
        let redis = PrivateRedis::start(None, directory.path())
            .await
            .expect("started beside it");
        assert!(left.child.wait().await.expect("an exit status").success());
        redis.stop().await.expect("a clean stop");
    }

    #[tokio::test]
    async fn a_data_directory_with_a_long_path_gets_its_socket_elsewhere() {
        let directory = tempfile::tempdir().expect("a directory");
        let deep = directory.path().join("d".repeat(120));
        std::fs::create_dir(&deep).expect("made");
        let redis = PrivateRedis::start(None, &deep).await.expect("started");
        assert!(!redis.socket.starts_with(&deep));
        redis.stop().await.expect("a clean stop");
    }

    #[tokio::test]
    async fn a_missing_server_is_named_with_what_to_do() {
        let directory = tempfile::tempdir().expect("a directory");
        let missing = directory.path().join("no-redis");
        let error = PrivateRedis::start(Some(&missing), directory.path())
            .await
            .err()
            .expect("an error");
        assert!(error.to_string().contains("--redis-server"), "{error}");
    }
}
