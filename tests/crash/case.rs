//! One crash: where, at which time of reaching that place, and of what kind.

use std::collections::BTreeSet;

use anyhow::{Result, bail};

use crate::{scenarios::Scenario, world::World};

/// What happens at the point.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// The process dies.
    Abort,
    /// The step fails as if Redis were away; what was written stays.
    Error,
    /// The process hangs until others have taken its work over, then goes on as if nothing had happened.
    Hang,
    /// Redis dies and comes back with its append-only file.
    Redis,
}

impl Kind {
    pub const ALL: &[Self] = &[Self::Abort, Self::Error, Self::Hang, Self::Redis];

    /// As tests are named.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Abort => "crash",
            Self::Error => "error",
            Self::Hang => "hang",
            Self::Redis => "redis_crash",
        }
    }

    /// The action of the process (`shared::failure`).
    const fn action(self) -> &'static str {
        match self {
            Self::Abort => "abort",
            Self::Error => "error",
            Self::Hang | Self::Redis => "stop",
        }
    }
}

#[derive(Debug, Clone)]
pub struct Crash {
    pub point: String,
    /// 1: the first time that one process is there.
    pub hit: usize,
    pub kind: Kind,
}

impl Crash {
    /// For `TEST_FAILURE`.
    pub fn to_variable(&self) -> String {
        format!("{}@{}={}", self.point, self.hit, self.kind.action())
    }
}

/// Goes through a scenario with a crash in it; through the next one if this one did not come to the point, since who is
/// there how often depends on who is faster.
///
/// # Errors
/// Whatever was lost, and a point that was not reached.
pub async fn run(scenarios: &[Scenario], crash: &Crash) -> Result<()> {
    for scenario in scenarios {
        for hit in BTreeSet::from([crash.hit, 1]).into_iter().rev() {
            let crash = Crash {
                hit,
                ..crash.clone()
            };
            let world = World::start(Some(&crash), scenario.settings())?;
            scenario.run(&world).await?;
            if world.has_fired() {
                return Ok(());
            }
        }
    }
    bail!("{} was not reached", crash.point)
}
