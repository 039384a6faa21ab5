//! A throw-away `redis-server` for the tests of one process.
//!
//! One server a test binary, on a unix socket in a temporary directory; every
//! test takes a key prefix of its own, so that all run in parallel. The server
//! ends with the test process through its parent-death signal (`setpriv
//! --pdeathsig`, util-linux).

use std::{
    path::PathBuf,
    process::{Command, Stdio},
    sync::{
        LazyLock,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use crate::store::Store;

/// How long the server may take to answer.
const START_DEADLINE: Duration = Duration::from_secs(20);

struct Server {
    _directory: tempfile::TempDir,
    socket: PathBuf,
}

static SERVER: LazyLock<Server> = LazyLock::new(|| {
    let directory = tempfile::Builder::new()
        .prefix("syncline-redis-")
        .tempdir()
        .expect("a temporary directory");
    let socket = directory.path().join("redis.sock");
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "redis-server"]);
    if Command::new("setpriv")
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_err()
    {
        command = Command::new("redis-server");
    }
    command
        .args(["--port", "0", "--unixsocket"])
        .arg(&socket)
        .args([
            "--save",
            "",
            "--appendonly",
            "no",
            "--maxmemory-policy",
            "noeviction",
            "--dir",
        ])
        .arg(directory.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    // The death signal comes when the spawning *thread* ends (prctl(2)), and each test has a thread of its own.
    std::thread::spawn(move || {
        let mut child = command
            .spawn()
            .expect("redis-server on the PATH (Debian: apt-get install redis-server)");
        child.wait().expect("an exit status")
    });
    let started = Instant::now();
    while std::os::unix::net::UnixStream::connect(&socket).is_err() {
        assert!(
            started.elapsed() < START_DEADLINE,
            "redis-server did not open its socket"
        );
        std::thread::yield_now();
    }
    Server {
        _directory: directory,
        socket,
    }
});

/// URL of this process's Redis.
#[must_use]
pub fn url() -> String {
    format!("redis+unix://{}", SERVER.socket.display())
}

/// A prefix that no other test uses.
#[must_use]
pub fn prefix() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!(
        "test{}-{}",
        std::process::id(),
        NEXT.fetch_add(1, Ordering::Relaxed)
    )
}

/// A store under a prefix of its own.
pub fn store() -> Store {
    Store::open(&url(), &prefix()).expect("a store")
}
