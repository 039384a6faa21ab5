//! What a process does at a failure point (see [`crate::failure`]), as its environment says.

use std::{
    fmt::Arguments,
    fs::File,
    io::Write,
    path::PathBuf,
    process::Command,
    sync::{
        LazyLock,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use crate::store::{StoreError, StoreResult};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    Abort,
    Error,
    Stop,
}

impl Action {
    const fn name(self) -> &'static str {
        match self {
            Self::Abort => "abort",
            Self::Error => "error",
            Self::Stop => "stop",
        }
    }
}

/// `<point>@<hit>=<action>`.
#[derive(Debug, PartialEq, Eq)]
struct Failure {
    point: String,
    hit: u64,
    action: Action,
}

impl Failure {
    fn read(text: &str) -> Option<Self> {
        let (place, action) = text.split_once('=')?;
        let (point, hit) = place.split_once('@')?;
        let actions = [Action::Abort, Action::Error, Action::Stop];
        Some(Self {
            point: point.to_owned(),
            hit: hit.parse().ok()?,
            action: actions.into_iter().find(|one| one.name() == action)?,
        })
    }
}

struct Plan {
    failure: Option<Failure>,
    trace: File,
    /// Until this file is there, hits don't count.
    armed: PathBuf,
    /// Made by the first process that acts; the others don't.
    fired: PathBuf,
    hits: AtomicU64,
}

/// Of this process; none in an ordinary one.
static PLAN: LazyLock<Option<Plan>> = LazyLock::new(|| {
    #[expect(
        clippy::disallowed_methods,
        reason = "no setting of the product: only test builds read it"
    )]
    let variable = |name| std::env::var(name).ok();
    let path = variable("TEST_FAILURE_TRACE")?;
    let opened = File::options().create(true).append(true).open(&path);
    let trace = opened.unwrap_or_else(|error| panic!("TEST_FAILURE_TRACE={path}: {error}"));
    let failure = variable("TEST_FAILURE").map(|text| {
        let read = Failure::read(&text);
        read.unwrap_or_else(|| panic!("TEST_FAILURE={text}: <point>@<hit>=<action>"))
    });
    Some(Plan {
        failure,
        trace,
        armed: PathBuf::from(path.clone() + ".armed"),
        fired: PathBuf::from(path + ".fired"),
        hits: AtomicU64::new(0),
    })
});

impl Plan {
    fn note(&self, what: &str, point: &str) {
        // One write for a line, so that processes can share the file.
        let line = format!("{what} {point}\n");
        let written = (&self.trace).write_all(line.as_bytes());
        written.expect("the trace can be written");
    }

    /// True once over all processes that share a trace.
    fn fires(&self) -> bool {
        File::options()
            .write(true)
            .create_new(true)
            .open(&self.fired)
            .is_ok()
    }
}

pub(crate) fn reach(point: Arguments<'_>) -> StoreResult<()> {
    let Some(plan) = PLAN.as_ref() else {
        return Ok(());
    };
    let point = point.to_string();
    plan.note("hit", &point);
    let Some(failure) = plan
        .failure
        .as_ref()
        .filter(|failure| failure.point == point)
    else {
        return Ok(());
    };
    let counts = plan.armed.exists();
    if !counts || plan.hits.fetch_add(1, Ordering::Relaxed) + 1 != failure.hit || !plan.fires() {
        return Ok(());
    }
    plan.note(failure.action.name(), &point);
    match failure.action {
        Action::Abort => std::process::abort(),
        Action::Error => Err(StoreError::Unavailable(
            std::io::Error::other(format!("failure point {point}")).into(),
        )),
        Action::Stop => {
            let me = std::process::id().to_string();
            let stopped = Command::new("kill").args(["-STOP", &me]).status();
            assert!(
                stopped.is_ok_and(|status| status.success()),
                "the process can stop itself"
            );
            await_stop();
            Ok(())
        }
    }
}

/// Returns once the process was stopped and goes on. The signal is taken by the main thread, which on a busy machine may have
/// to wait for a processor, and until then the others would go on.
fn await_stop() {
    const BOUND: Duration = Duration::from_secs(30);
    const LOOK: Duration = Duration::from_millis(1);
    let began = Instant::now();
    while is_stop_pending() && began.elapsed() < BOUND {
        std::thread::sleep(LOOK);
    }
}

/// Whether a SIGSTOP was sent to this process that no thread has taken yet (`ShdPnd` in `proc_pid_status(5)`).
fn is_stop_pending() -> bool {
    const SIGSTOP: u32 = 19;
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let pending = status
        .lines()
        .find_map(|line| line.strip_prefix("ShdPnd:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    pending.is_some_and(|mask| mask & (1 << (SIGSTOP - 1)) != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_names_its_point_hit_and_action() {
        let failure = Failure::read("commit_page:after@3=abort");
        assert_eq!(
            failure,
            Some(Failure {
                point: "commit_page:after".to_owned(),
                hit: 3,
                action: Action::Abort
            })
        );
        for text in [
            "",
            "commit_page:after",
            "commit_page:after@x=abort",
            "commit_page:after@1=boom",
        ] {
            assert_eq!(Failure::read(text), None, "{text}");
        }
    }
}
