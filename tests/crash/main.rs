//! The crash suite: walks every failure point of the code (`shared::failure`), and at each one kills the process that is
//! there, lets the step fail, or lets the process hang past its leases, while parents and children are synced over two
//! workers. The rest recovers, and the ledger must hold.
//!
//! The points come from the code, so a new one is walked without a change here. Each is walked in the scenario that comes
//! to it and has the least to do; one that no scenario comes to fails, unless [`UNREACHED`] says why.
//!
//! `cargo test --test crash -- commit_page` runs those with that name. `TEST_CRASH=all` walks each point in all
//! scenarios that come to it, at several times, each with a Redis that dies too (`make test-crash ALL=1`); otherwise it dies
//! at a few of them.

mod case;
mod plan;
mod scenarios;
mod shop;
mod world;

use std::process::ExitCode;

use anyhow::{Context, ensure};
use libtest_mimic::{Arguments, Trial};

use self::{
    case::Kind,
    plan::{Case, REDIS_DIES_AT, is_of},
    scenarios::Scenario,
};

/// Crashes at once: they mostly wait, for leases, timers and programs that start.
const SIDE_BY_SIDE: usize = 12;

/// Scripts that no scenario comes to, each with why. One that a scenario comes to after all, or that is no more, fails.
const UNREACHED: [(&str, &str); 1] = [(
    "push_tasks",
    "only tests and benchmarks push tasks without a run",
)];

fn main() -> anyhow::Result<ExitCode> {
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(SIDE_BY_SIDE);
    let points = shared::failure::names();
    let is_there = |script: &&str| points.iter().any(|point| is_of(point, script));
    ensure!(
        REDIS_DIES_AT.iter().all(is_there),
        "a script of REDIS_DIES_AT is no more"
    );
    let mut trials = Vec::new();
    if may_match(arguments.filter.as_deref(), &points) {
        let visited = plan::visited().context("without a crash")?;
        let cases = plan::cases(&visited, &points, wants_all());
        trials.extend(stale(&cases));
        trials.extend(cases.into_iter().filter_map(trial));
    }
    Ok(libtest_mimic::run(&arguments, trials).exit_code())
}

/// Whether a test here may have the name that is asked for; what its tests are takes some seconds to find out.
fn may_match(filter: Option<&str>, points: &[String]) -> bool {
    let Some(filter) = filter else {
        return true;
    };
    let point = |point: &String| point.contains(filter) || filter.contains(point.as_str());
    let scenario = |scenario: &Scenario| scenario.name().contains(filter);
    let kind = |kind: &Kind| filter.contains(kind.name());
    points.iter().any(point) || Scenario::ALL.iter().any(scenario) || Kind::ALL.iter().any(kind)
}

#[expect(clippy::disallowed_methods, reason = "of the test, no setting of ours")]
fn wants_all() -> bool {
    std::env::var("TEST_CRASH").is_ok_and(|word| word == "all")
}

fn trial(case: Case) -> Option<Trial> {
    match case {
        Case::Crash(scenarios, crash) => {
            let while_ = scenarios.first()?.name();
            let name = format!(
                "{} at {} (hit {}) while {while_}",
                crash.kind.name(),
                crash.point,
                crash.hit
            );
            Some(Trial::test(name, move || {
                let runtime = tokio::runtime::Runtime::new()?;
                runtime
                    .block_on(case::run(&scenarios, &crash))
                    .map_err(|error| format!("{error:#}").into())
            }))
        }
        Case::Unreached(point) => {
            if UNREACHED.iter().any(|(name, _)| is_of(&point, name)) {
                return None;
            }
            Some(Trial::test(
                format!("{point} is reached by a scenario"),
                || {
                    Err("add a step that comes to it to tests/crash/scenarios, or say in UNREACHED why there is none".into())
                },
            ))
        }
    }
}

/// A test for each line of [`UNREACHED`] that isn't true any more.
fn stale(cases: &[Case]) -> impl Iterator<Item = Trial> {
    let is_true = |script: &str| {
        cases
            .iter()
            .any(|case| matches!(case, Case::Unreached(point) if is_of(point, script)))
    };
    UNREACHED
        .iter()
        .filter(move |(script, _)| !is_true(script))
        .map(|(script, _)| {
            Trial::test(format!("{script} is still reached by no scenario"), || {
                Err("a scenario comes to it, or it is no more: take it out of UNREACHED".into())
            })
        })
}
