//! How far the purge of a deleted account or environment is: what its task carries.

use serde::{Deserialize, Serialize};

use crate::ids::AccountId;

/// What is taken away; the environment is the lane of the task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Purged {
    /// All that is left of an account.
    Account(AccountId),
    /// All that is left of the environment itself.
    Environment,
}

/// One kind of thing that is taken away. Their order is that of [`Purge::following`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PurgeStep {
    /// API tokens made after the deletion began.
    Tokens,
    Triggers,
    Workflows,
    Jobs,
    /// Dead letters that tell of an account.
    Letters,
    /// Attempts at deliveries of an account's runs.
    Attempts,
    Runs,
    /// What webhooks have beside their object: dead letters, attempts, redrives, outbox.
    Webhooks,
    /// What accounts have beside their object: watermarks, and runs that weren't told to their end.
    Accounts,
    WorkflowRuns,
    /// Entries of `sync-job-run-state`.
    States,
    IdempotencyKeys,
    Integrations,
    /// Delayed and claimed tasks that belong to nothing any more.
    Tasks,
    /// The end of the first round: what was under way at the deletion comes to its end.
    Pause,
    /// The second round ends with the objects by which the others are found.
    Objects,
}

/// A purge: it goes through all steps twice, since what was under way at the deletion leaves something behind too.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Purge {
    pub of: Purged,
    /// Whether the second round is at hand.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub again: bool,
    pub step: PurgeStep,
    /// The last thing of this step that is dealt with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// How far the one after it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub within: Option<String>,
}

use PurgeStep as Step;

/// Steps of a round.
const ACCOUNT: &[Step] = &[
    Step::Triggers,
    Step::Letters,
    Step::Attempts,
    Step::Runs,
    Step::WorkflowRuns,
];
const ENVIRONMENT: &[Step] = &[
    Step::Tokens,
    Step::Triggers,
    Step::Workflows,
    Step::Jobs,
    Step::Runs,
    Step::Webhooks,
    Step::Accounts,
    Step::WorkflowRuns,
    Step::States,
    Step::IdempotencyKeys,
    Step::Integrations,
    Step::Tasks,
];
/// What the rounds end with.
const FIRST_END: &[Step] = &[Step::Pause];
const ACCOUNT_END: &[Step] = &[Step::Accounts, Step::Tasks, Step::Objects];
const ENVIRONMENT_END: &[Step] = &[Step::Objects];

impl Purge {
    #[must_use]
    pub fn of_account(account: AccountId) -> Self {
        Self::from_start(Purged::Account(account), false)
    }

    #[must_use]
    pub fn of_environment() -> Self {
        Self::from_start(Purged::Environment, false)
    }

    fn from_start(of: Purged, again: bool) -> Self {
        let (round, _) = rounds(of, again);
        Self {
            of,
            again,
            step: round[0],
            after: None,
            within: None,
        }
    }

    /// The account, or none for a whole environment.
    #[must_use]
    pub fn account(&self) -> Option<AccountId> {
        match self.of {
            Purged::Account(account) => Some(account),
            Purged::Environment => None,
        }
    }

    /// The same step, so much further.
    #[must_use]
    pub fn further(&self, after: Option<String>, within: Option<String>) -> Self {
        Self {
            after,
            within,
            ..self.clone()
        }
    }

    /// The step after this one; `None` when all is done.
    #[must_use]
    pub fn following(&self) -> Option<Self> {
        if self.step == Step::Pause {
            return Some(Self::from_start(self.of, true));
        }
        let (round, end) = rounds(self.of, self.again);
        let mut steps = round.iter().chain(end);
        steps.find(|step| **step == self.step)?;
        let step = *steps.next()?;
        Some(Self {
            step,
            ..self.further(None, None)
        })
    }
}

fn rounds(of: Purged, again: bool) -> (&'static [Step], &'static [Step]) {
    match (of, again) {
        (Purged::Account(_), false) => (ACCOUNT, FIRST_END),
        (Purged::Account(_), true) => (ACCOUNT, ACCOUNT_END),
        (Purged::Environment, false) => (ENVIRONMENT, FIRST_END),
        (Purged::Environment, true) => (ENVIRONMENT, ENVIRONMENT_END),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn way(mut purge: Purge) -> Vec<(bool, Step)> {
        let mut way = vec![(purge.again, purge.step)];
        while let Some(next) = purge.following() {
            way.push((next.again, next.step));
            purge = next;
        }
        way
    }

    #[test]
    fn a_purge_goes_through_everything_twice_and_ends_with_the_objects() {
        for start in [
            Purge::of_environment(),
            Purge::of_account(AccountId::from_bits(1)),
        ] {
            let way = way(start);
            let (first, second) =
                way.split_at(way.iter().position(|(again, _)| *again).expect("a round"));
            assert_eq!(first.last(), Some(&(false, Step::Pause)));
            assert_eq!(second.last(), Some(&(true, Step::Objects)));
            for (_, step) in &first[..first.len() - 1] {
                assert!(second.contains(&(true, *step)), "{step:?} is done once");
            }
        }
    }
}
