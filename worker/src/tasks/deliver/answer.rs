//! What a receiver's answer means, decided without I/O and without a clock.

use std::time::Duration;

use http::{StatusCode, header};
use shared::{delivery::Attempt, model::webhook::Retry};

/// The longest wait a receiver can ask for.
pub const LONGEST_RETRY_AFTER: Duration = Duration::from_hours(24);

/// What to do with the batch.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Plan {
    Delivered {
        status: u16,
    },
    /// `block`: the receiver asked the whole webhook to wait.
    Retry {
        delay: Duration,
        block: Option<Duration>,
    },
    GiveUp,
}

impl Plan {
    /// The outcome in metrics.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Delivered { .. } => "delivered",
            Self::Retry { .. } => "retried",
            Self::GiveUp => "dead",
        }
    }
}

/// How long the receiver asked to wait (RFC 9110 section 10.2.3), on 429 and 503.
fn retry_after(attempt: &Attempt) -> Option<Duration> {
    let answered = attempt.result.as_ref().ok()?;
    let asks = [
        StatusCode::TOO_MANY_REQUESTS,
        StatusCode::SERVICE_UNAVAILABLE,
    ];
    if !asks.contains(&answered.status) {
        return None;
    }
    let seconds: u64 = answered
        .headers
        .get(header::RETRY_AFTER)?
        .to_str()
        .ok()?
        .trim()
        .parse()
        .ok()?;
    Some(Duration::from_secs(seconds).min(LONGEST_RETRY_AFTER))
}

/// Success is a 2xx and nothing else. `failing`: since its first attempt failed; `random`: 0 to 1.
pub(super) fn plan(
    attempt: &Attempt,
    retry: &Retry,
    attempts: u32,
    failing: Duration,
    random: f64,
) -> Plan {
    if let Some(status) = attempt.status()
        && attempt.is_success()
    {
        return Plan::Delivered { status };
    }
    if failing >= Duration::from_secs(u64::from(retry.give_up_after_hours) * 3600) {
        return Plan::GiveUp;
    }
    if let Some(wait) = retry_after(attempt) {
        return Plan::Retry {
            delay: wait,
            block: Some(wait),
        };
    }
    Plan::Retry {
        delay: backoff(retry, attempts, random),
        block: None,
    }
}

/// Exponential with full jitter: between nothing and `first_ms` doubled with each attempt, up to `max_ms`.
fn backoff(retry: &Retry, attempts: u32, random: f64) -> Duration {
    let doubled = u64::from(retry.first_ms).saturating_mul(1_u64 << attempts.min(32));
    Duration::from_millis(doubled.min(u64::from(retry.max_ms))).mul_f64(random.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use shared::delivery::Answered;

    use super::*;

    fn retry() -> Retry {
        Retry {
            first_ms: 1000,
            max_ms: 60_000,
            give_up_after_hours: 24,
        }
    }

    fn answer(status: u16, headers: &[(header::HeaderName, &str)]) -> Attempt {
        let headers = headers
            .iter()
            .map(|(name, value)| (name.clone(), value.parse().expect("a value")))
            .collect();
        Attempt {
            result: Ok(Answered {
                status: StatusCode::from_u16(status).expect("a status"),
                headers,
                body: ::bytes::Bytes::new(),
            }),
            elapsed: Duration::ZERO,
        }
    }

    #[test]
    fn only_a_2xx_is_a_success() {
        for (status, delivered) in [
            (200, true),
            (204, true),
            (299, true),
            (301, false),
            (404, false),
            (500, false),
        ] {
            let plan = plan(&answer(status, &[]), &retry(), 0, Duration::ZERO, 0.5);
            assert_eq!(
                matches!(plan, Plan::Delivered { .. }),
                delivered,
                "{status}: {plan:?}"
            );
        }
    }

    #[test]
    fn waits_double_up_to_the_longest_with_full_jitter() {
        let waits: Vec<_> = [0, 1, 5, 6, 40]
            .map(|attempts| backoff(&retry(), attempts, 1.0).as_millis())
            .into();
        assert_eq!(waits, [1000, 2000, 32_000, 60_000, 60_000]);
        assert_eq!(backoff(&retry(), 3, 0.25).as_millis(), 2000);
    }

    #[test]
    fn retry_after_blocks_the_webhook_as_long_as_asked_and_a_day_at_most() {
        let asked = |status, value| {
            plan(
                &answer(status, &[(header::RETRY_AFTER, value)]),
                &retry(),
                0,
                Duration::ZERO,
                1.0,
            )
        };
        let wait = Duration::from_hours(2);
        assert_eq!(
            asked(429, "7200"),
            Plan::Retry {
                delay: wait,
                block: Some(wait)
            }
        );
        assert_eq!(
            asked(503, "999999999"),
            Plan::Retry {
                delay: LONGEST_RETRY_AFTER,
                block: Some(LONGEST_RETRY_AFTER)
            }
        );
        assert_eq!(
            asked(500, "7200"),
            Plan::Retry {
                delay: Duration::from_secs(1),
                block: None
            }
        );
        assert_eq!(
            asked(429, "soon"),
            Plan::Retry {
                delay: Duration::from_secs(1),
                block: None
            }
        );
    }

    #[test]
    fn a_batch_is_given_up_after_its_time() {
        let day = Duration::from_hours(24);
        assert_eq!(
            plan(&answer(500, &[]), &retry(), 99, day, 1.0),
            Plan::GiveUp
        );
        assert!(matches!(
            plan(&answer(200, &[]), &retry(), 99, day, 1.0),
            Plan::Delivered { .. }
        ));
    }

    #[test]
    fn a_redirect_is_a_failure_that_says_where_it_pointed() {
        let problem = answer(302, &[(header::LOCATION, "/elsewhere")]).problem();
        assert_eq!(
            problem,
            "the receiver answered 302 Found to /elsewhere; redirects are not followed"
        );
    }
}
