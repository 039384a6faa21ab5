//! A Redis of one's own: as Syncline wants it in production (append-only file, `noeviction`), in a folder and on a
//! port that nobody else uses, gone when dropped.

use std::{
    collections::BTreeMap,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    path::Path,
    time::Duration,
};

use anyhow::Result;
use tempfile::TempDir;

use crate::process::{Launch, Program, find_on_path, free_address};

/// Servers that will do, the first found on the `PATH` is taken.
const SERVERS: [&str; 2] = ["redis-server", "valkey-server"];
/// How long Redis may take for one answer while it starts.
const PING_TIMEOUT: Duration = Duration::from_secs(2);

/// A private Redis server.
#[derive(Debug)]
pub struct PrivateRedis {
    program: Program,
    address: SocketAddr,
    folder: TempDir,
}

impl PrivateRedis {
    /// Starts with the append-only file on, written every second.
    pub fn start() -> Result<Self> {
        Self::start_with(&[])
    }

    /// `settings`: further lines of its configuration, e.g. `("appendfsync", "always")`; the last one of a name counts.
    pub fn start_with(settings: &[(&str, &str)]) -> Result<Self> {
        let folder = tempfile::Builder::new()
            .prefix("syncline-redis-")
            .tempdir()?;
        let address = free_address()?;
        let port = address.port().to_string();
        let folder_path = folder.path().display().to_string();
        let defaults = [
            ("bind", "127.0.0.1"),
            ("port", port.as_str()),
            ("dir", folder_path.as_str()),
            ("appendonly", "yes"),
            ("appendfsync", "everysec"),
            ("maxmemory-policy", "noeviction"),
            ("save", ""),
        ];
        let arguments = defaults
            .iter()
            .chain(settings)
            .flat_map(|(name, value)| [format!("--{name}"), (*value).to_owned()])
            .collect();
        let launch = Launch {
            program: find_on_path(&SERVERS)?,
            arguments,
            environment: BTreeMap::new(),
            log: folder.path().join("redis.log"),
        };
        let mut redis = Self {
            program: Program::start(launch)?,
            address,
            folder,
        };
        redis.wait_ready()?;
        Ok(redis)
    }

    fn wait_ready(&mut self) -> Result<()> {
        let address = self.address;
        self.program
            .wait_ready(|| ping(address).map_err(|error| error.to_string()))
    }

    pub fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its process, for figures from `/proc`.
    pub fn id(&self) -> u32 {
        self.program.id()
    }

    /// Where its append-only file lies.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Ends it at once, as a crash does; its data stays for [`Self::restart`].
    pub fn kill(&mut self) -> Result<()> {
        self.program.kill()
    }

    /// Starts it again on the same port and data, after [`Self::kill`].
    pub fn restart(&mut self) -> Result<()> {
        self.program.restart()?;
        self.wait_ready()
    }

    /// Stops it from answering without closing its connections, as a machine does that hangs.
    pub fn freeze(&self) -> Result<()> {
        self.program.signal("STOP")
    }

    /// The end of [`Self::freeze`].
    pub fn thaw(&self) -> Result<()> {
        self.program.signal("CONT")
    }
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
}
