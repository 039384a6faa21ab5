//! What a receiver's answer means, decided without I/O and without a clock.

use std::time::Duration;

use http::StatusCode;
use shared::{
    clock::Timestamp,
    delivery::Attempt,
    http::retry_after,
    model::{
        event::{self, Batch},
        webhook::Retry,
    },
};

use super::refusals::Refusal;

/// The longest pause a receiver can ask for.
pub const LONGEST_RETRY_AFTER: Duration = Duration::from_hours(24);
/// The shortest one that is taken for a pause; asking for less is an ordinary failure, so that its wait grows.
const SHORTEST_RETRY_AFTER: Duration = Duration::from_secs(1);

/// What to do with the batch.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::tasks) enum Plan {
    Delivered {
        status: u16,
        /// Records that the receiver did not take.
        refused: Vec<Refusal>,
    },
    /// Delivered, and the receiver wants no more of this run.
    StopRun {
        status: u16,
    },
    /// Sent again, this batch after `delay`.
    Retry {
        delay: Duration,
    },
    /// The receiver asked the whole webhook to pause.
    Pause(Duration),
    /// Too large: smaller ones are sent.
    Split,
    GiveUp,
    /// The receiver is gone for good: the webhook is switched off, the batch waits.
    Disable,
}

impl Plan {
    /// The outcome in metrics.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Delivered { .. } | Self::StopRun { .. } => "delivered",
            Self::Retry { .. } | Self::Pause(_) => "retried",
            Self::Split => "split",
            Self::GiveUp => "dead",
            Self::Disable => "webhook_off",
        }
    }
}

/// What follows from an attempt to send `batch`. `refused`: what was taken out of its answer; `retry`: of the webhook;
/// `random`: 0 to 1.
pub(in crate::tasks) fn plan(
    attempt: &Attempt,
    refused: Vec<Refusal>,
    batch: &Batch,
    retry: &Retry,
    now: Timestamp,
    random: f64,
) -> Plan {
    let used_up = batch.failing >= Duration::from_secs(u64::from(retry.give_up_after_hours) * 3600);
    if let Ok(answered) = &attempt.result {
        let status = answered.status.as_u16();
        match answered.status {
            code if code.is_success() => return Plan::Delivered { status, refused },
            StatusCode::GONE => return Plan::Disable,
            StatusCode::BAD_REQUEST if batch.event_type == event::STARTED => {
                return Plan::StopRun { status };
            }
            StatusCode::PAYLOAD_TOO_LARGE => {
                let divisible = batch.records > 1 || batch.chunks.len() > 1;
                return if divisible { Plan::Split } else { Plan::GiveUp };
            }
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE if !used_up => {
                let asked = retry_after(&answered.headers, now);
                if let Some(asked) = asked.filter(|asked| *asked >= SHORTEST_RETRY_AFTER) {
                    return Plan::Pause(asked.min(LONGEST_RETRY_AFTER));
                }
            }
            _ => {}
        }
    }
    if used_up {
        return Plan::GiveUp;
    }
    Plan::Retry {
        delay: backoff(retry, batch.attempts, random),
    }
}

/// What went wrong, for people.
pub(super) fn problem(attempt: &Attempt, batch: &Batch) -> String {
    let problem = attempt.problem();
    match attempt.status() {
        Some(413) if batch.records == 1 => format!("{problem}: one record is too large for it"),
        Some(413) => format!("{problem}: the event is too large for it"),
        _ => problem,
    }
}

/// Exponential with full jitter: between nothing and `first_ms` doubled with each attempt, up to `max_ms`.
fn backoff(retry: &Retry, attempts: u32, random: f64) -> Duration {
    let doubled = u64::from(retry.first_ms).saturating_mul(1_u64 << attempts.min(32));
    Duration::from_millis(doubled.min(u64::from(retry.max_ms))).mul_f64(random.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, header};
    use shared::ids::EventId;

    use super::*;
    use crate::tasks::deliver::refusals::take_refused;
    use shared::delivery::Answered;

    const NOW: Timestamp = Timestamp(1_800_000_000_000);

    fn retry() -> Retry {
        Retry {
            first_ms: 1000,
            max_ms: 60_000,
            give_up_after_hours: 24,
        }
    }

    fn batch() -> Batch {
        Batch {
            event: EventId::generate(),
            created_ms: 0,
            event_type: event::RECORD.to_owned(),
            first_seq: 7,
            records: 3,
            attempts: 0,
            failing: Duration::ZERO,
            most_bytes: 0,
            chunks: vec![Vec::new()],
        }
    }

    fn attempt(status: u16, headers: &[(HeaderName, &str)], body: &str) -> Attempt {
        let headers = headers
            .iter()
            .map(|(name, value)| (name.clone(), value.parse().expect("a value")))
            .collect();
        Attempt {
            result: Ok(Answered {
                status: StatusCode::from_u16(status).expect("a status"),
                headers,
                location: None,
                body: body.to_owned().into(),
            }),
            elapsed: Duration::ZERO,
            exchange: shared::delivery::Exchange::default(),
        }
    }

    fn planned(attempt: &Attempt, batch: &Batch) -> Plan {
        let mut attempt = attempt.clone();
        let refused = take_refused(&mut attempt, batch);
        plan(&attempt, refused, batch, &retry(), NOW, 1.0)
    }

    const FIRST_RETRY: Plan = Plan::Retry {
        delay: Duration::from_secs(1),
    };

    #[test]
    fn only_a_2xx_is_a_success() {
        for status in [200, 201, 202, 204, 299] {
            let refused = Vec::new();
            assert_eq!(
                planned(&attempt(status, &[], ""), &batch()),
                Plan::Delivered { status, refused }
            );
        }
        for status in [301, 302, 304, 307, 400, 401, 404, 409, 422, 500, 502] {
            assert_eq!(
                planned(&attempt(status, &[], ""), &batch()),
                FIRST_RETRY,
                "{status}"
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
    fn retry_after_pauses_the_webhook_as_long_as_asked_and_a_day_at_most() {
        let asked = |status, value: &str| {
            planned(
                &attempt(status, &[(header::RETRY_AFTER, value)], ""),
                &batch(),
            )
        };
        let wait = Duration::from_hours(2);
        assert_eq!(asked(429, "7200"), Plan::Pause(wait));
        assert_eq!(asked(503, "7200"), Plan::Pause(wait));
        assert_eq!(
            asked(429, "Fri, 15 Jan 2027 10:00:00 GMT"),
            Plan::Pause(wait),
            "a date"
        );
        assert_eq!(asked(503, "999999999"), Plan::Pause(LONGEST_RETRY_AFTER));
        assert_eq!(
            asked(429, "Sat, 15 Jan 2107 10:00:00 GMT"),
            Plan::Pause(LONGEST_RETRY_AFTER)
        );
        for (status, value) in [
            (500, "7200"),
            (429, "soon"),
            (429, "-5"),
            (429, "0"),
            (429, "NaN"),
            (429, "1e400"),
            (503, "Fri, 15 Jan 2021 10:00:00 GMT"),
        ] {
            assert_eq!(asked(status, value), FIRST_RETRY, "{status} {value}");
        }
    }

    #[test]
    fn a_batch_is_given_up_after_its_time() {
        let old = Batch {
            failing: Duration::from_hours(24),
            attempts: 99,
            ..batch()
        };
        assert_eq!(planned(&attempt(500, &[], ""), &old), Plan::GiveUp);
        let asked = attempt(429, &[(header::RETRY_AFTER, "60")], "");
        assert_eq!(planned(&asked, &old), Plan::GiveUp);
        assert!(matches!(
            planned(&attempt(200, &[], ""), &old),
            Plan::Delivered { .. }
        ));
    }

    #[test]
    fn a_receiver_that_is_gone_switches_its_webhook_off() {
        assert_eq!(planned(&attempt(410, &[], ""), &batch()), Plan::Disable);
    }

    #[test]
    fn what_is_too_large_is_split_down_to_one_record() {
        let too_large = attempt(413, &[], "");
        assert_eq!(planned(&too_large, &batch()), Plan::Split);
        let one = Batch {
            records: 1,
            ..batch()
        };
        assert_eq!(planned(&too_large, &one), Plan::GiveUp);
        assert!(problem(&too_large, &one).ends_with("one record is too large for it"));
    }

    #[test]
    fn a_400_to_started_stops_the_run_and_to_anything_else_is_a_failure() {
        let started = Batch {
            event_type: event::STARTED.to_owned(),
            records: 0,
            ..batch()
        };
        let bad = attempt(400, &[], "");
        assert_eq!(planned(&bad, &started), Plan::StopRun { status: 400 });
        assert_eq!(planned(&bad, &batch()), FIRST_RETRY);
    }

    #[test]
    fn records_that_a_success_names_as_failed_are_refused() {
        let body = r#"{"failed": [{"seq": 8, "reason": "no such sku"}]}"#;
        assert_eq!(
            planned(&attempt(200, &[], body), &batch()),
            Plan::Delivered {
                status: 200,
                refused: vec![Refusal {
                    seq: 8,
                    reason: "no such sku".to_owned()
                }]
            }
        );
    }
}
