//! `rate_limit`: what a source may be asked for, by its own rules.
//!
//! `{"budget": {"requests": 100, "per_seconds": 60, "concurrency": 4}}` holds over all
//! workers, for each integrated account by itself or, with `"scope": "integration"`, for
//! all of them together. Both parts are kept when a fetch is claimed, so that what waits
//! for them costs no worker.

use std::ops::RangeInclusive;

use serde_json::Value;

use crate::fault::{Faults, Fields};

const REQUESTS: RangeInclusive<u64> = 1..=100_000;
/// Up to a day.
const PER_SECONDS: RangeInclusive<u64> = 1..=86_400;
const CONCURRENCY: RangeInclusive<u64> = 1..=64;
const MICROS_PER_SECOND: u64 = 1_000_000;
/// Requests that come late may be made up for within this time, at most.
const MOST_SLACK_US: u64 = 100_000;
/// And within this part of `per_seconds`.
const SLACK_PART: u64 = 10;

/// Whom a budget is for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum BudgetScope {
    /// Each integrated account has one of its own.
    #[default]
    Account,
    /// All accounts of the integration in an environment share one.
    Integration,
}

const SCOPES: &[(&str, BudgetScope)] = &[
    ("account", BudgetScope::Account),
    ("integration", BudgetScope::Integration),
];

/// What a source may be asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Budget {
    pub scope: BudgetScope,
    /// Requests at once; `None`: as many as any account.
    pub concurrency: Option<u32>,
    /// `None`: at any pace.
    pub pace: Option<Pace>,
}

/// Requests spread evenly over time, so that there is no window of `per_seconds` with more than `requests` of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// From one request to the next, µs.
    pub gap_us: u64,
    /// How much of that may be made up for after requests that came late, µs.
    pub slack_us: u64,
}

impl Pace {
    /// The slack is taken off the time that requests are spread over, so that using it keeps the promise too.
    fn new(requests: u64, per_seconds: u64) -> Self {
        let window = per_seconds * MICROS_PER_SECOND;
        let slack_us = (window / SLACK_PART).min(MOST_SLACK_US);
        if window / requests >= slack_us {
            return Self {
                gap_us: window.div_ceil(requests),
                slack_us: 0,
            };
        }
        Self {
            gap_us: (window + slack_us).div_ceil(requests),
            slack_us,
        }
    }
}

impl Budget {
    /// Reads `rate_limit`.
    pub(super) fn read(value: &Value, pointer: &str, faults: &mut Faults) -> Self {
        let Some(mut fields) = Fields::new(value, pointer, faults) else {
            return Self::default();
        };
        for later in LATER {
            fields.not_supported_yet(later, faults);
        }
        let at = fields.pointer("budget");
        let budget = fields.required("budget", faults);
        fields.finish(faults);
        budget
            .and_then(|budget| Self::read_budget(budget, &at, faults))
            .unwrap_or_default()
    }

    fn read_budget(value: &Value, pointer: &str, faults: &mut Faults) -> Option<Self> {
        let mut fields = Fields::new(value, pointer, faults)?;
        let scope = fields.choice("scope", SCOPES, faults);
        let requests = fields.integer("requests", REQUESTS, faults);
        let per_seconds = fields.integer("per_seconds", PER_SECONDS, faults);
        let concurrency = fields.integer("concurrency", CONCURRENCY, faults);
        for (given, other) in [("requests", "per_seconds"), ("per_seconds", "requests")] {
            if fields.value(given).is_some() && fields.value(other).is_none() {
                faults.push(fields.pointer(other), format!("is required with `{given}`"));
            }
        }
        if ["requests", "per_seconds", "concurrency"]
            .iter()
            .all(|name| fields.value(name).is_none())
        {
            let words = "needs `requests` and `per_seconds`, `concurrency`, or all of them";
            faults.push(pointer, words);
        }
        fields.finish(faults);
        Some(Self {
            scope: scope.unwrap_or_default(),
            concurrency: concurrency.and_then(|most| u32::try_from(most).ok()),
            pace: requests.zip(per_seconds).map(|(n, per)| Pace::new(n, per)),
        })
    }
}

/// Parts of `rate_limit` that later versions will understand.
const LATER: &[&str] = &[
    "is_rate_limited",
    "retry_after_header_expression",
    "rate_limit_header_expression",
];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn read(document: &Value) -> Result<Budget, Faults> {
        let mut faults = Faults::default();
        let budget = Budget::read(document, "/rate_limit", &mut faults);
        faults.into_result(budget)
    }

    #[test]
    fn a_budget_has_a_pace_a_concurrency_or_both() {
        let both = json!({"budget": {"requests": 2, "per_seconds": 1, "concurrency": 3}});
        let pace = Pace {
            gap_us: 500_000,
            slack_us: 0,
        };
        let expected = Budget {
            scope: BudgetScope::Account,
            concurrency: Some(3),
            pace: Some(pace),
        };
        assert_eq!(read(&both), Ok(expected));
        let one = json!({"budget": {"concurrency": 1, "scope": "integration"}});
        let one = read(&one).expect("a budget");
        assert_eq!((one.pace, one.scope), (None, BudgetScope::Integration));
    }

    #[test]
    fn every_fault_of_a_budget_is_named_at_once() {
        for (document, expected) in [
            (json!({}), vec!["/rate_limit/budget"]),
            (json!({"budget": {}}), vec!["/rate_limit/budget"]),
            (
                json!({"budget": {"scope": "integration"}}),
                vec!["/rate_limit/budget"],
            ),
            (
                json!({"budget": {"requests": 0, "concurrency": 65}, "is_rate_limited": "x"}),
                vec![
                    "/rate_limit/is_rate_limited",
                    "/rate_limit/budget/requests",
                    "/rate_limit/budget/concurrency",
                    "/rate_limit/budget/per_seconds",
                ],
            ),
            (
                json!({"budget": {"per_seconds": 1, "scope": "tenant", "burst": 2}}),
                vec![
                    "/rate_limit/budget/scope",
                    "/rate_limit/budget/requests",
                    "/rate_limit/budget/burst",
                ],
            ),
        ] {
            let faults = read(&document).expect_err("faults");
            let pointers: Vec<_> = faults.as_slice().iter().map(|f| &*f.pointer).collect();
            assert_eq!(pointers, expected, "{document}");
        }
    }

    proptest! {
        /// However late requests come and are made up for: the first and the last of `requests` + 1 are a window apart.
        #[test]
        fn no_window_has_more_requests_than_the_budget(requests in 1..=100_000_u64, per_seconds in 1..=86_400_u64) {
            let pace = Pace::new(requests, per_seconds);
            let shortest = (requests * pace.gap_us).saturating_sub(pace.slack_us);
            let window = per_seconds * MICROS_PER_SECOND;
            prop_assert!(shortest >= window);
            // And it is nearly used up; gaps are whole microseconds.
            prop_assert!(requests * pace.gap_us <= window + window / SLACK_PART + requests);
        }
    }
}
