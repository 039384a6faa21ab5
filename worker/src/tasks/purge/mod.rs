//! Taking away what a deleted account or environment leaves behind.
//!
//! Triggered by the deletion, in the same script. It goes through everything in
//! bounded steps, writes down after each how far it is, and so goes on there whoever
//! takes it up again; a step that is made twice finds nothing the second time. After
//! the first round it waits: for what was under way at the deletion, and for an
//! account's runs until they were told to their end, since what was committed is
//! delivered. The second round takes what came of that. The task ends when nothing is
//! left, and is never given up.

mod step;
#[cfg(test)]
mod tests;

use std::time::{Duration, Instant};

use shared::{
    failure::FailurePoint,
    ids::EnvironmentId,
    model::purge::Purge,
    store::{
        purge::Checkpoint,
        queue::{Claim, Held, Queue},
    },
};

use self::step::Next;
use super::patience::until_available;
use crate::context::{Context, LoadError};

/// After so long other tasks of the environment have their turn.
const TURN: Duration = Duration::from_secs(2);

/// Runs the task; the word is its outcome in metrics and logs.
///
/// # Errors
/// What is stored can't be read; the task is tried again.
pub async fn execute(
    context: &Context,
    claim: &Claim,
    mut purge: Purge,
) -> Result<&'static str, LoadError> {
    let invalid = |_| LoadError::Invalid(format!("the lane `{}` is no environment", claim.lane));
    let environment: EnvironmentId = claim.lane.parse().map_err(invalid)?;
    let store = &context.store;
    let began = Instant::now();
    loop {
        let next = until_available(async || {
            FailurePoint::PieceTaken.reach()?;
            step::make(store, environment, &claim.id, &purge).await
        });
        let next = next.await?;
        let (further, then) = match next {
            Next::Done => {
                until_available(|| store.finish_task(Queue::Runs, &claim.id, &claim.token)).await?;
                let account = purge.account().map(tracing::field::display);
                tracing::info!(environment.id = %environment, account.id = account, "nothing is left of what was deleted");
                return Ok("done");
            }
            Next::Wait(further, delay) => (further, Checkpoint::Wait(delay)),
            Next::Further(further) if began.elapsed() >= TURN => (further, Checkpoint::Turn),
            Next::Further(further) => (further, Checkpoint::Keep),
        };
        let (id, token) = (&claim.id, &claim.token);
        let held = until_available(|| store.checkpoint_purge(id, token, &further, then)).await?;
        match (held, then) {
            (Held::Stale, _) => return Ok("stale"),
            (Held::Done, Checkpoint::Keep) => purge = further,
            (Held::Done, Checkpoint::Turn) => return Ok("turn_over"),
            (Held::Done, Checkpoint::Wait(_)) => return Ok("waits"),
        }
    }
}
