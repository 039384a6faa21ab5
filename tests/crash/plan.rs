//! Which crashes there are: what each scenario comes to when nothing fails, against the points of the code.

use std::{
    collections::{BTreeMap, BTreeSet},
    thread,
};

use anyhow::{Context, Result, anyhow};

use crate::{
    case::{Crash, Kind},
    scenarios::Scenario,
    world::World,
};

/// `all`: the hits from the first one on that are walked, beside a later one.
const EARLY_HITS: usize = 4;

/// Scripts before and after which Redis dies too in every run, not only with `all`: those that take in work and pass it on.
pub const REDIS_DIES_AT: [&str; 5] = [
    "create_run",
    "start_run",
    "claim",
    "commit_page",
    "settle_batch",
];

/// One test.
pub enum Case {
    /// In the first of these scenarios that comes to it.
    Crash(Vec<Scenario>, Crash),
    /// A point that no scenario comes to.
    Unreached(String),
}

/// How often a point is come to, over all processes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Visits {
    all: usize,
    /// Once all programs have booted.
    running: usize,
}

/// What each scenario comes to.
pub type Visited = Vec<(Scenario, BTreeMap<String, Visits>)>;

/// Goes through all scenarios without a crash, side by side.
///
/// # Errors
/// A scenario that fails by itself.
pub fn visited() -> Result<Visited> {
    let running: Vec<_> = Scenario::ALL
        .iter()
        .map(|scenario| (*scenario, thread::spawn(move || visit(*scenario))))
        .collect();
    let visits = running.into_iter().map(|(scenario, thread)| {
        let visited = thread.join().map_err(|_| anyhow!("it panicked"))?;
        Ok((
            scenario,
            visited.with_context(|| format!("the scenario {}", scenario.name()))?,
        ))
    });
    visits.collect()
}

fn visit(scenario: Scenario) -> Result<BTreeMap<String, Visits>> {
    let runtime = tokio::runtime::Runtime::new()?;
    runtime.block_on(async {
        let world = World::start(None, scenario.settings())?;
        scenario.run(&world).await?;
        let mut visits: BTreeMap<String, Visits> = BTreeMap::new();
        for (point, running) in world.trace()? {
            let of_point = visits.entry(point).or_default();
            of_point.all += 1;
            of_point.running += usize::from(running);
        }
        Ok(visits)
    })
}

/// The crashes to go through: of each point those of [`crashes`] in the scenario that comes to it and has the least to do;
/// `all`: in every scenario that comes to it. Where it isn't come to this time, as a pass that is made each two seconds may
/// not be in a scenario that takes as long, the others follow.
pub fn cases(visited: &Visited, points: &[String], all: bool) -> Vec<Case> {
    let mut cases = Vec::new();
    for point in points {
        let of_point = |(scenario, visits): &(Scenario, BTreeMap<String, Visits>)| {
            Some((*scenario, *visits.get(point)?))
        };
        let mut reached: Vec<_> = visited.iter().filter_map(of_point).collect();
        reached.sort_unstable();
        let Some((_, first_visits)) = reached.first().copied() else {
            cases.push(Case::Unreached(point.clone()));
            continue;
        };
        let scenarios: Vec<_> = reached.iter().map(|(scenario, _)| *scenario).collect();
        let walks = if all {
            let first = |one: Scenario| {
                let others = scenarios.iter().copied().filter(move |other| *other != one);
                std::iter::once(one).chain(others).collect()
            };
            reached
                .into_iter()
                .map(|(scenario, visits)| (first(scenario), visits))
                .collect()
        } else {
            vec![(scenarios, first_visits)]
        };
        for (scenarios, visits) in walks {
            for (hit, kind) in crashes(point, visits, all) {
                let point = point.clone();
                cases.push(Case::Crash(scenarios.clone(), Crash { point, hit, kind }));
            }
        }
    }
    cases
}

/// Hits and kinds: a crash in full swing, a step that fails as things begin, a process that hangs, and at the points of
/// [`REDIS_DIES_AT`] a Redis that dies; `all`: both of the former early and late, and Redis dies everywhere. Two workers share the visits, so that one of them has at least half of them. A
/// program that hangs before it is ready has nobody yet who looks after it.
fn crashes(point: &str, visits: Visits, all: bool) -> Vec<(usize, Kind)> {
    let later = visits.all.div_ceil(3);
    let mut crashes = BTreeSet::from([(later, Kind::Abort), (1, Kind::Error)]);
    if all {
        let hits = (1..=later.min(EARLY_HITS)).chain([later]);
        crashes.extend(hits.flat_map(|hit| [(hit, Kind::Abort), (hit, Kind::Error)]));
    }
    if visits.running > 0 {
        let later = visits.running.div_ceil(3);
        crashes.insert((later, Kind::Hang));
        if all || REDIS_DIES_AT.iter().any(|script| is_of(point, script)) {
            crashes.insert((later, Kind::Redis));
        }
    }
    crashes.into_iter().collect()
}

/// Whether a point is one of those of a script.
pub fn is_of(point: &str, script: &str) -> bool {
    point.split(':').next() == Some(script)
}
