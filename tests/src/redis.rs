//! A Redis of one's own: as Syncline wants it in production (append-only file, `noeviction`), on a port that nobody
//! else uses, gone with its data when dropped.
//!
//! It is the machine's `redis-server` (or `valkey-server`), or a container where the environment has
//! `SYNCLINE_TEST_REDIS=container`.

#[cfg(feature = "container")]
mod container;

use std::{
    collections::BTreeMap,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    path::Path,
    time::Duration,
};

use anyhow::{Result, ensure};
use redis::{AsyncConnectionConfig, aio::MultiplexedConnection};
use tempfile::TempDir;

use crate::process::{Launch, Program, find_on_path, free_address};
#[cfg(feature = "container")]
use crate::process::{START_TIMEOUT, wait_until};
#[cfg(feature = "container")]
use container::{Act, Container};

/// Servers that will do; the first found on the `PATH` is taken.
const SERVERS: [&str; 2] = ["redis-server", "valkey-server"];
/// How long Redis may take for one answer while it starts.
const PING_TIMEOUT: Duration = Duration::from_secs(2);
/// And for one while it runs: on a busy machine the client's own half a second is soon over.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// What carries out the server.
#[derive(Debug)]
enum Host {
    Process {
        program: Program,
        _folder: TempDir,
    },
    #[cfg(feature = "container")]
    Container(Container),
}

/// A private Redis server.
#[derive(Debug)]
pub struct PrivateRedis {
    host: Host,
    address: SocketAddr,
}

impl PrivateRedis {
    /// Starts with the append-only file on, written every second.
    pub fn start() -> Result<Self> {
        Self::start_with(&[])
    }

    /// `settings`: further lines of its configuration, e.g. `("appendfsync", "always")`; the last one of a name counts.
    pub fn start_with(settings: &[(&str, &str)]) -> Result<Self> {
        let address = free_address()?;
        let host = if wants_container()? {
            in_container(address, settings)?
        } else {
            as_process(address, settings)?
        };
        let mut redis = Self { host, address };
        redis.wait_ready()?;
        Ok(redis)
    }

    fn wait_ready(&mut self) -> Result<()> {
        let address = self.address;
        let ready = || ping(address).map_err(|error| error.to_string());
        match &mut self.host {
            Host::Process { program, .. } => program.wait_ready(ready),
            #[cfg(feature = "container")]
            Host::Container(_) => wait_until("Redis answers", START_TIMEOUT, ready),
        }
    }

    pub fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// A connection beside those of the programs.
    pub async fn connect(&self) -> Result<MultiplexedConnection> {
        connect(&self.url()).await
    }

    /// Its process on this machine, for figures from `/proc`; none for a container.
    pub fn id(&self) -> Option<u32> {
        match &self.host {
            Host::Process { program, .. } => Some(program.id()),
            #[cfg(feature = "container")]
            Host::Container(_) => None,
        }
    }

    /// Ends it at once, as a crash does; its data stays for [`Self::restart`].
    pub fn kill(&mut self) -> Result<()> {
        match &mut self.host {
            Host::Process { program, .. } => program.kill(),
            #[cfg(feature = "container")]
            Host::Container(container) => container.act(Act::Kill),
        }
    }

    /// Starts it again on the same port and data, after [`Self::kill`].
    pub fn restart(&mut self) -> Result<()> {
        match &mut self.host {
            Host::Process { program, .. } => program.restart()?,
            #[cfg(feature = "container")]
            Host::Container(container) => container.act(Act::Start)?,
        }
        self.wait_ready()
    }

    /// Stops it from answering without closing its connections, as a machine does that hangs.
    pub fn freeze(&self) -> Result<()> {
        match &self.host {
            Host::Process { program, .. } => program.signal("STOP"),
            #[cfg(feature = "container")]
            Host::Container(container) => container.act(Act::Freeze),
        }
    }

    /// The end of [`Self::freeze`].
    pub fn thaw(&self) -> Result<()> {
        match &self.host {
            Host::Process { program, .. } => program.signal("CONT"),
            #[cfg(feature = "container")]
            Host::Container(container) => container.act(Act::Thaw),
        }
    }
}

/// A connection that waits as long as a busy machine needs.
pub async fn connect(url: &str) -> Result<MultiplexedConnection> {
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(ANSWER_TIMEOUT))
        .set_response_timeout(Some(ANSWER_TIMEOUT));
    let client = redis::Client::open(url)?;
    Ok(client
        .get_multiplexed_async_connection_with_config(&config)
        .await?)
}

fn wants_container() -> Result<bool> {
    #[expect(
        clippy::disallowed_methods,
        reason = "a setting of the tests, not of the programs"
    )]
    let wish = std::env::var("SYNCLINE_TEST_REDIS").unwrap_or_default();
    ensure!(
        ["", "local", "container"].contains(&wish.as_str()),
        "SYNCLINE_TEST_REDIS is {wish:?}; it may be `local` (the default) or `container`"
    );
    Ok(wish == "container")
}

/// The arguments of a server, those of `settings` last.
fn arguments(place: &[(&str, &str)], settings: &[(&str, &str)]) -> Vec<String> {
    let durable = [
        ("appendonly", "yes"),
        ("appendfsync", "everysec"),
        ("maxmemory-policy", "noeviction"),
        ("save", ""),
    ];
    let all = place.iter().chain(&durable).chain(settings);
    all.flat_map(|(name, value)| [format!("--{name}"), (*value).to_owned()])
        .collect()
}

fn as_process(address: SocketAddr, settings: &[(&str, &str)]) -> Result<Host> {
    let folder = tempfile::Builder::new()
        .prefix("syncline-redis-")
        .tempdir()?;
    let (port, path) = (
        address.port().to_string(),
        folder.path().display().to_string(),
    );
    let place = [
        ("bind", "127.0.0.1"),
        ("port", port.as_str()),
        ("dir", path.as_str()),
    ];
    let program = Program::start(Launch {
        program: find_on_path(&SERVERS)?,
        arguments: arguments(&place, settings),
        environment: BTreeMap::new(),
        log: Path::new(&path).join("redis.log"),
    })?;
    Ok(Host::Process {
        program,
        _folder: folder,
    })
}

#[cfg(feature = "container")]
fn in_container(address: SocketAddr, settings: &[(&str, &str)]) -> Result<Host> {
    let place = [
        ("bind", "0.0.0.0"),
        ("protected-mode", "no"),
        ("dir", "/data"),
    ];
    Ok(Host::Container(Container::start(
        address.port(),
        arguments(&place, settings),
    )?))
}

#[cfg(not(feature = "container"))]
fn in_container(_: SocketAddr, _: &[(&str, &str)]) -> Result<Host> {
    anyhow::bail!("Redis in a container is part of the tests only: unset SYNCLINE_TEST_REDIS")
}

/// An answer other than PONG (`LOADING` while the append-only file is read) is an error.
fn ping(address: SocketAddr) -> std::io::Result<()> {
    let mut stream = TcpStream::connect_timeout(&address, PING_TIMEOUT)?;
    stream.set_read_timeout(Some(PING_TIMEOUT))?;
    stream.write_all(b"PING\r\n")?;
    let mut answer = [0; 128];
    let length = stream.read(&mut answer)?;
    if answer[..length].starts_with(b"+PONG") {
        return Ok(());
    }
    Err(std::io::Error::other(
        String::from_utf8_lossy(&answer[..length]).into_owned(),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::{START_TIMEOUT, wait_until};

    fn command(redis: &PrivateRedis, line: &str) -> String {
        let mut stream = TcpStream::connect(redis.address()).unwrap();
        stream.write_all(line.as_bytes()).unwrap();
        stream.write_all(b"\r\nQUIT\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    #[test]
    fn what_was_answered_survives_a_kill() {
        let mut redis = PrivateRedis::start().unwrap();
        assert!(command(&redis, "SET key value").starts_with("+OK"));
        redis.kill().unwrap();
        redis.restart().unwrap();
        assert!(command(&redis, "GET key").contains("value"));
        assert!(command(&redis, "CONFIG GET maxmemory-policy").contains("noeviction"));
    }

    #[test]
    fn a_frozen_server_answers_once_it_is_thawed() {
        let redis = PrivateRedis::start().unwrap();
        redis.freeze().unwrap();
        assert!(ping(redis.address()).is_err());
        redis.thaw().unwrap();
        wait_until("it answers", START_TIMEOUT, || {
            ping(redis.address()).map_err(|error| error.to_string())
        })
        .unwrap();
    }
}
