//! Failure points: the places between two steps at which a test can end, stop or fail the process.
//!
//! Each script has two, `<script>:before` and `<script>:after`, which come by themselves with the script ([`Store`] calls
//! scripts in one place). Other steps, those that talk to a source or a receiver or write without a script, are listed in
//! [`FailurePoint`], and reached where they happen by [`FailurePoint::reach`]. [`names`] enumerates all of them; the crash suite walks them.
//!
//! Only programs that are built with the feature `testing` can fail at them; in others reaching one is nothing. Even then
//! it takes two variables of the environment:
//!
//! - `TEST_FAILURE_TRACE=<file>`: a line `hit <point>` is added for each one reached. Several processes may share it.
//! - `TEST_FAILURE=<point>@<hit>=<action>`: at the hit of that number (1: the first), the process does what the action says:
//!   `abort` (it ends as in a crash), `error` (the step fails as if Redis were away; after a script, its answer is lost),
//!   `stop` (SIGSTOP: it hangs until it is told to go on). Hits count once there is a file `<file>.armed`. Of
//!   the processes that share a trace only the first one acts: it makes `<file>.fired` and adds `<action> <point>` to the trace.
//!
//! [`Store`]: crate::store::Store

use crate::store::StoreResult;

/// The points beside those of the scripts, by name.
macro_rules! points {
    ($($(#[$doc:meta])* $point:ident = $name:literal,)+) => {
        /// A failure point beside those of the scripts.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum FailurePoint {
            $($(#[$doc])* $point,)+
        }

        impl FailurePoint {
            pub const ALL: &[Self] = &[$(Self::$point,)+];

            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$point => $name,)+
                }
            }
        }
    };
}

points! {
    /// A task was claimed; nothing of it is done.
    TaskClaimed = "task_claimed",
    /// The source is about to be asked for a page.
    PageAsked = "page_asked",
    /// A part of a page was read and split; nothing of it is committed.
    PartRead = "part_read",
    /// Elements of a loop were read; none of them has its task.
    ElementsRead = "elements_read",
    /// A batch is frozen and its webhook known; the receiver doesn't have it.
    BatchPrepared = "batch_prepared",
    /// The receiver has answered a run's `started`; nothing is settled, so all else of the run waits.
    StartedAnswered = "started_answered",
    /// The receiver has answered records or another event of a run's middle, or one of no run; nothing is settled.
    BatchAnswered = "batch_answered",
    /// The receiver has answered the last event of a run; nothing is settled.
    EndAnswered = "end_answered",
    /// The last event of a run is settled and the run retired; its delivery task has ended.
    EndSettled = "end_settled",
    /// The receiver has answered a dead letter that was sent again; nothing is settled.
    LetterAnswered = "letter_answered",
    /// A maintenance pass begins.
    MaintenanceBegun = "maintenance_begun",
    /// A cron trigger was claimed; its run isn't made.
    TriggerClaimed = "trigger_claimed",
    /// A workflow's step is about to be done.
    WorkflowStep = "workflow_step",
    /// The API has found a run to be in order; it isn't accepted.
    RunChecked = "run_checked",
    /// The API has an answer; the caller hasn't.
    AnswerReady = "answer_ready",
    /// A piece of what a deleted account or environment left behind is about to be taken away.
    PieceTaken = "piece_taken",
    /// Attempts are about to be logged.
    AttemptsLogged = "attempts_logged",
}

impl FailurePoint {
    /// Marks that this point is reached.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`](crate::store::StoreError::Unavailable), in a test that asks for it.
    #[inline]
    pub fn reach(self) -> StoreResult<()> {
        reach(format_args!("{}", self.name()))
    }
}

/// Before or after a script.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Before,
    After,
}

impl Side {
    const fn name(self) -> &'static str {
        match self {
            Self::Before => "before",
            Self::After => "after",
        }
    }
}

/// Marks that a script is about to be called, or has answered.
#[inline]
pub(crate) fn script(name: &str, side: Side) -> StoreResult<()> {
    reach(format_args!("{name}:{}", side.name()))
}

/// All failure points: two of each script, then the others.
#[must_use]
pub fn names() -> Vec<String> {
    let scripts = crate::store::SCRIPT_NAMES.iter();
    let of_scripts = scripts
        .flat_map(|name| [Side::Before, Side::After].map(|side| format!("{name}:{}", side.name())));
    let others = FailurePoint::ALL
        .iter()
        .map(|point| point.name().to_owned());
    of_scripts.chain(others).collect()
}

#[cfg(not(feature = "testing"))]
#[inline]
#[expect(
    clippy::unnecessary_wraps,
    reason = "with the feature `testing` it may fail"
)]
const fn reach(_point: std::fmt::Arguments<'_>) -> StoreResult<()> {
    Ok(())
}

#[cfg(feature = "testing")]
use crate::testing::failure::reach;
