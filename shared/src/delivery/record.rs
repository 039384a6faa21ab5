//! An attempt as it is logged.

use std::time::Duration;

use http::StatusCode;

use super::Attempt;
use crate::{
    http::OutboundErrorKind,
    ids::{AttemptId, EventId, RunId, WebhookId},
    integration::errors::Secrets,
    model::attempt::{
        ANSWER_KEPT_BYTES, AttemptError, AttemptErrorKind, AttemptOutcome, AttemptRecord, Phases,
    },
};

/// What was sent, and to whom.
#[derive(Debug, Clone, Copy)]
pub struct Sent<'a> {
    pub webhook: WebhookId,
    pub event: EventId,
    pub event_type: &'a str,
    pub run: Option<RunId>,
    /// The how many-th attempt at this event, from 1.
    pub number: u32,
}

impl Attempt {
    /// For the log of attempts, under a new id. A receiver may repeat the credentials it was sent:
    /// `secrets` are struck out of its answer.
    #[must_use]
    pub fn record(&self, sent: &Sent<'_>, secrets: &Secrets) -> AttemptRecord {
        let (status, answer) = match &self.result {
            Ok(answered) => (
                Some(answered.status),
                Some(secrets.redact(&beginning(&answered.body))),
            ),
            Err(failed) => (failed.status, None),
        };
        let timings = self.exchange.timings;
        AttemptRecord {
            id: AttemptId::generate(),
            webhook_id: sent.webhook,
            event_id: sent.event,
            event: sent.event_type.to_owned(),
            sync_job_run_id: sent.run,
            attempt: sent.number,
            at: self.exchange.at,
            outcome: if self.is_success() {
                AttemptOutcome::Delivered
            } else {
                AttemptOutcome::Failed
            },
            status_code: status.map(|status| status.as_u16()),
            error: self.error(),
            phases: Phases {
                dns: timings.dns.map(milliseconds),
                connect: timings.connect.map(milliseconds),
                tls: timings.tls.map(milliseconds),
                first_byte: timings.first_byte.map(milliseconds),
                total: milliseconds(self.elapsed),
            },
            bytes_sent: self.exchange.bytes_sent,
            bytes_received: self.exchange.bytes_received,
            answer,
            signing_key_ids: self.exchange.key_ids.clone(),
        }
    }

    fn error(&self) -> Option<AttemptError> {
        let (kind, phase) = match &self.result {
            Ok(answered) if answered.status.is_success() => return None,
            Ok(answered) => (kind_of_status(answered.status), None),
            Err(failed) => (kind_of(failed.kind), self.exchange.phase),
        };
        Some(AttemptError {
            kind,
            phase,
            message: self.problem(),
        })
    }
}

fn kind_of_status(status: StatusCode) -> AttemptErrorKind {
    if status.is_redirection() {
        AttemptErrorKind::Redirection
    } else if status.is_client_error() {
        AttemptErrorKind::ClientError
    } else if status.is_server_error() {
        AttemptErrorKind::ServerError
    } else {
        AttemptErrorKind::Protocol
    }
}

fn kind_of(kind: OutboundErrorKind) -> AttemptErrorKind {
    match kind {
        OutboundErrorKind::Blocked => AttemptErrorKind::Blocked,
        OutboundErrorKind::Dns => AttemptErrorKind::Dns,
        OutboundErrorKind::Connect => AttemptErrorKind::Connect,
        OutboundErrorKind::Tls => AttemptErrorKind::Tls,
        OutboundErrorKind::Timeout => AttemptErrorKind::Timeout,
        OutboundErrorKind::Reset => AttemptErrorKind::Reset,
        OutboundErrorKind::BodyTooLarge | OutboundErrorKind::Protocol => AttemptErrorKind::Protocol,
    }
}

/// Rounded to microseconds.
fn milliseconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1_000_000.0).round() / 1000.0
}

/// The first [`ANSWER_KEPT_BYTES`] as text; a character that the bound cuts is left out.
fn beginning(body: &[u8]) -> String {
    let bytes = body.get(..ANSWER_KEPT_BYTES).unwrap_or(body);
    let whole = match std::str::from_utf8(bytes) {
        Err(error) if error.error_len().is_none() && bytes.len() < body.len() => {
            error.valid_up_to()
        }
        _ => bytes.len(),
    };
    String::from_utf8_lossy(bytes.get(..whole).unwrap_or(bytes)).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_an_answer_the_first_2_kib_are_kept_and_no_character_is_cut() {
        assert_eq!(beginning(b"short"), "short");
        assert_eq!(beginning(b"not \xff text"), "not \u{fffd} text");
        let mut long = "x".repeat(ANSWER_KEPT_BYTES - 1);
        long.push_str("äöü");
        assert_eq!(
            beginning(long.as_bytes()),
            "x".repeat(ANSWER_KEPT_BYTES - 1)
        );
        assert_eq!(
            beginning(&[b'y'; ANSWER_KEPT_BYTES + 1]).len(),
            ANSWER_KEPT_BYTES
        );
    }

    #[test]
    fn a_status_that_is_no_success_is_an_error_of_its_class() {
        for (status, kind) in [
            (304, AttemptErrorKind::Redirection),
            (410, AttemptErrorKind::ClientError),
            (503, AttemptErrorKind::ServerError),
            (101, AttemptErrorKind::Protocol),
            (999, AttemptErrorKind::Protocol),
        ] {
            let status = StatusCode::from_u16(status).expect("a status");
            assert_eq!(kind_of_status(status), kind, "{status}");
        }
    }

    #[test]
    fn times_are_milliseconds_with_three_digits() {
        assert!((milliseconds(Duration::from_nanos(1_234_567)) - 1.235).abs() < f64::EPSILON);
    }
}
