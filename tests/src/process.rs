//! Programs started by a test: ended with it, their output kept in a file and shown when something goes wrong.

use std::{
    collections::BTreeMap,
    fs::{File, TryLockError},
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    ops::Range,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

/// How long a program may take until it is ready, on a machine that is busy with other tests.
pub const START_TIMEOUT: Duration = Duration::from_secs(30);
/// Between two looks at a condition.
const POLL_INTERVAL: Duration = Duration::from_millis(5);
/// Ports to try: below those that systems give to outgoing connections, so that nobody takes one by chance between
/// its choice and its use.
const PORT_RANGE: Range<u16> = 20_000..30_000;
/// Ports of one test process.
const PORTS_OF_A_PROCESS: u16 = 1_000;
/// Lines of a program's output that an error shows.
const LOG_TAIL_LINES: usize = 30;
/// Most of an answer to a probe or a scrape that is read.
const MAX_ANSWER_BYTES: u64 = 1024 * 1024;

/// Looks every few milliseconds until `check` gives a value; an error that says what was waited for, and the last
/// thing seen, when `within` has passed.
pub fn wait_until<T>(
    what: &str,
    within: Duration,
    mut check: impl FnMut() -> Result<T, String>,
) -> Result<T> {
    let deadline = Instant::now() + within;
    loop {
        match check() {
            Ok(value) => return Ok(value),
            Err(seen) if Instant::now() >= deadline => {
                bail!(
                    "waited {}s until {what}; last seen: {seen}",
                    within.as_secs()
                )
            }
            Err(_) => thread::sleep(POLL_INTERVAL),
        }
    }
}

/// Ports that this test process has for itself, and which of them is tried next.
struct Ports {
    range: Range<u16>,
    next: u16,
    /// Locked as long as the process lives.
    _lock: File,
}

impl Ports {
    /// Those that no other process has: the port of a program that was killed and is to be started again looks free
    /// meanwhile.
    fn take() -> Result<Self> {
        for first in PORT_RANGE.step_by(PORTS_OF_A_PROCESS.into()) {
            let path = std::env::temp_dir().join(format!("syncline-test-ports-{first}.lock"));
            // Another user's can be read.
            let lock = File::open(&path).or_else(|_| File::create(&path));
            let lock = lock.with_context(|| path.display().to_string())?;
            match lock.try_lock() {
                Ok(()) => {
                    return Ok(Self {
                        range: first..first + PORTS_OF_A_PROCESS,
                        next: first,
                        _lock: lock,
                    });
                }
                Err(TryLockError::WouldBlock) => {}
                Err(TryLockError::Error(error)) => return Err(error.into()),
            }
        }
        bail!(
            "other test processes have all ports between {} and {}; wait for one of them",
            PORT_RANGE.start,
            PORT_RANGE.end
        )
    }

    fn free(&mut self) -> Result<SocketAddr> {
        for _ in self.range.clone() {
            let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.next));
            self.next += 1;
            if self.next == self.range.end {
                self.next = self.range.start;
            }
            if TcpListener::bind(address).is_ok() {
                return Ok(address);
            }
        }
        bail!(
            "no port is free between {} and {}",
            self.range.start,
            self.range.end
        )
    }
}

/// An address on loopback that nothing listens on, and that no other test process will.
pub fn free_address() -> Result<SocketAddr> {
    static PORTS: Mutex<Option<Ports>> = Mutex::new(None);
    let mut ports = PORTS.lock().unwrap_or_else(PoisonError::into_inner);
    match &mut *ports {
        Some(ports) => ports.free(),
        none => none.insert(Ports::take()?).free(),
    }
}

/// The path of a program of this workspace, built into the target directory that the running test came from.
pub fn binary(name: &str) -> Result<PathBuf> {
    let me = std::env::current_exe()?;
    let folder = me.parent().context("the test has no folder")?;
    // Tests lie in `deps`, `make chaos` in `examples`, one below the programs.
    let folder = if folder.ends_with("deps") || folder.ends_with("examples") {
        folder.parent().context("the folder has no parent")?
    } else {
        folder
    };
    let path = folder.join(name);
    if !path.exists() {
        bail!(
            "{} is not built: run `cargo build --workspace --bins` first (`make test` does)",
            path.display()
        );
    }
    Ok(path)
}

/// What to start.
#[derive(Debug, Clone)]
pub struct Launch {
    pub program: PathBuf,
    pub arguments: Vec<String>,
    /// Set on top of the test's own environment.
    pub environment: BTreeMap<String, String>,
    /// Gets standard output and standard error; appended to, so that a restarted program's earlier lines stay.
    pub log: PathBuf,
}

/// A running program; killed when dropped.
#[derive(Debug)]
pub struct Program {
    launch: Launch,
    child: Child,
}

impl Program {
    pub fn start(launch: Launch) -> Result<Self> {
        let child = Self::spawn(&launch)?;
        Ok(Self { launch, child })
    }

    fn spawn(launch: &Launch) -> Result<Child> {
        let log = File::options()
            .create(true)
            .append(true)
            .open(&launch.log)?;
        Command::new(&launch.program)
            .args(&launch.arguments)
            .envs(&launch.environment)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("could not start {}", launch.program.display()))
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// All output so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.launch.log).unwrap_or_default()
    }

    /// Waits until the program says what `ready` looks for; an error with the end of its output if it ends before,
    /// or doesn't get there in [`START_TIMEOUT`].
    pub fn wait_ready(&mut self, mut ready: impl FnMut() -> Result<(), String>) -> Result<()> {
        let name = self.launch.program.display().to_string();
        let mut ended = None;
        let child = &mut self.child;
        let waited = wait_until(&format!("{name} is ready"), START_TIMEOUT, || {
            if let Ok(Some(status)) = child.try_wait() {
                ended = Some(status);
                return Ok(());
            }
            ready()
        });
        match (waited, ended) {
            (_, Some(status)) => bail!("{name} ended with {status}; {}", self.log_tail()),
            (Err(error), None) => bail!("{error}; {}", self.log_tail()),
            (Ok(()), None) => Ok(()),
        }
    }

    /// As [`Self::wait_ready`], started again up to `boots` times in all if it ends before it is ready.
    pub fn boot<C: FnMut() -> Result<(), String>>(
        &mut self,
        boots: usize,
        ready: impl Fn() -> C,
    ) -> Result<()> {
        for _ in 1..boots {
            if self.wait_ready(ready()).is_ok() {
                return Ok(());
            }
            self.restart()?;
        }
        self.wait_ready(ready())
    }

    fn log_tail(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        format!(
            "its output ends:\n{}",
            lines[lines.len().saturating_sub(LOG_TAIL_LINES)..].join("\n")
        )
    }

    /// Ends the program at once, as a crash does (SIGKILL).
    pub fn kill(&mut self) -> Result<()> {
        if self.child.try_wait()?.is_none() {
            self.child.kill()?;
        }
        self.child.wait()?;
        Ok(())
    }

    /// Starts it again with what it was started with; it must have ended.
    pub fn restart(&mut self) -> Result<()> {
        if self.child.try_wait()?.is_none() {
            bail!("{} is still running", self.launch.program.display());
        }
        self.child = Self::spawn(&self.launch)?;
        Ok(())
    }

    /// Sends a signal by its name: `TERM`, `INT`, `STOP`, `CONT`.
    pub fn signal(&self, name: &str) -> Result<()> {
        signal(self.id(), name)
    }

    /// Its end, if it has ended.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// Whether it is stopped by a signal (SIGSTOP), and can be told to go on.
    pub fn is_stopped(&self) -> bool {
        is_stopped(self.id())
    }

    /// Asks the program to stop (SIGTERM) and waits for its end.
    pub fn stop(&mut self, within: Duration) -> Result<ExitStatus> {
        self.signal("TERM")?;
        self.wait(within)
    }

    /// Waits for the program's end.
    pub fn wait(&mut self, within: Duration) -> Result<ExitStatus> {
        let name = self.launch.program.display().to_string();
        let child = &mut self.child;
        wait_until(&format!("{name} has ended"), within, || {
            match child.try_wait() {
                Ok(Some(status)) => Ok(status),
                Ok(None) => Err("it runs".to_owned()),
                Err(error) => Err(error.to_string()),
            }
        })
    }
}

impl Program {
    /// The most memory the process has had in RAM at once (`VmHWM`, proc(5)).
    pub fn peak_rss_bytes(&self) -> Result<u64> {
        self.status_bytes("VmHWM:")
    }

    /// The memory that the process has in RAM now (`VmRSS`, proc(5)).
    pub fn rss_bytes(&self) -> Result<u64> {
        self.status_bytes("VmRSS:")
    }

    fn status_bytes(&self, field: &str) -> Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix(field));
        let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
        Ok(kib.with_context(|| format!("no {field} in the process's status"))? * 1024)
    }

    /// Its `SYNCLINE_METRICS_LISTEN`.
    pub fn metrics_address(&self) -> Result<SocketAddr> {
        let address = self.launch.environment.get("SYNCLINE_METRICS_LISTEN");
        Ok(address
            .context("it was started without SYNCLINE_METRICS_LISTEN")?
            .parse()?)
    }

    /// What it serves under `/metrics` there.
    pub fn metrics(&self) -> Result<String> {
        let address = self.metrics_address()?;
        let answer = get(address, "/metrics")?;
        let (_, body) = answer
            .split_once("\r\n\r\n")
            .context("an answer without a body")?;
        Ok(body.to_owned())
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // Killed already, or ended by itself: both are fine here.
        drop(self.kill());
    }
}

/// Sends a signal, by its name, to a process.
pub(crate) fn signal(id: u32, name: &str) -> Result<()> {
    let id = id.to_string();
    let status = Command::new("sh")
        .args(["-c", "kill -\"$1\" \"$2\"", "sh", name, &id])
        .status()?;
    if !status.success() {
        bail!("could not send {name} to process {id}");
    }
    Ok(())
}

/// Whether a process is stopped by a signal (SIGSTOP), and can be told to go on.
pub(crate) fn is_stopped(id: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
    // The state follows the name, which is in parentheses (proc(5)).
    stat.rsplit(") ")
        .next()
        .is_some_and(|rest| rest.starts_with('T'))
}

/// The whole answer to `GET http://{address}{path}`.
fn get(address: SocketAddr, path: &str) -> std::io::Result<String> {
    let timeout = Duration::from_secs(2);
    let mut stream = TcpStream::connect_timeout(&address, timeout)?;
    stream.set_read_timeout(Some(timeout))?;
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n"
    )?;
    let mut answer = String::new();
    stream.take(MAX_ANSWER_BYTES).read_to_string(&mut answer)?;
    Ok(answer)
}

/// The status of `GET http://{address}{path}`, for readiness checks.
pub fn get_status(address: SocketAddr, path: &str) -> std::io::Result<u16> {
    let answer = get(address, path)?;
    let status = answer.get(9..12).and_then(|digits| digits.parse().ok());
    status.ok_or_else(|| std::io::Error::other("no status line"))
}

/// A check for [`Program::wait_ready`]: `GET path` answers 200.
pub fn answers_ok(address: SocketAddr, path: &'static str) -> impl FnMut() -> Result<(), String> {
    move || match get_status(address, path) {
        Ok(200) => Ok(()),
        Ok(status) => Err(format!("{path} answers {status}")),
        Err(error) => Err(error.to_string()),
    }
}

/// Finds a program on the `PATH`.
pub fn find_on_path(names: &[&str]) -> Result<PathBuf> {
    #[expect(
        clippy::disallowed_methods,
        reason = "the search path is the system's, not a setting of ours"
    )]
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path)
        .flat_map(|folder| names.iter().map(move |name| folder.join(name)))
        .find(|candidate: &PathBuf| Path::new(candidate).is_file());
    found.with_context(|| {
        format!(
            "none of {} is installed: run scripts/setup",
            names.join(", ")
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, folder: &Path) -> Program {
        Program::start(Launch {
            program: "/bin/sh".into(),
            arguments: vec!["-c".into(), script.into()],
            environment: BTreeMap::from([("GREETING".to_owned(), "hello".to_owned())]),
            log: folder.join("log"),
        })
        .unwrap()
    }

    #[test]
    fn a_program_that_ends_before_it_is_ready_is_an_error_with_its_output() {
        let folder = tempfile::tempdir().unwrap();
        let mut program = shell("echo $GREETING; exit 3", folder.path());
        let error = program
            .wait_ready(|| Err("not yet".into()))
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("exit status: 3") && error.contains("hello"),
            "{error}"
        );
    }

    #[test]
    fn a_stopped_program_says_how_it_ended_and_can_be_started_again() {
        let folder = tempfile::tempdir().unwrap();
        let mut program = shell(
            "trap 'exit 7' TERM; echo up; while :; do sleep 0.01; done",
            folder.path(),
        );
        let up = |program: &Program, lines| program.log().lines().count() == lines;
        wait_until("it is up", START_TIMEOUT, || {
            up(&program, 1).then_some(()).ok_or_else(|| program.log())
        })
        .unwrap();
        assert!(program.restart().is_err());
        assert_eq!(program.stop(START_TIMEOUT).unwrap().code(), Some(7));
        program.restart().unwrap();
        wait_until("it is up", START_TIMEOUT, || {
            up(&program, 2).then_some(()).ok_or_else(|| program.log())
        })
        .unwrap();
    }

    #[test]
    fn free_addresses_differ_also_between_processes() {
        assert_ne!(free_address().unwrap(), free_address().unwrap());
        // A second lock of the same file is refused to whoever has it not, as to another process.
        let (one, other) = (Ports::take().unwrap(), Ports::take().unwrap());
        assert_ne!(one.range, other.range);
    }
}
