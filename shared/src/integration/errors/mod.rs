//! What a failed request means. Classified here once, and nowhere else.
//!
//! [`classify`] is a pure function of the failure and the time;
//! what follows from a [`Verdict`] is the worker's to do:
//!
//! | failure | verdict | code |
//! |---|---|---|
//! | 429; 503 with `Retry-After` | rate limited | `rate_limited` |
//! | 408, 425, 5xx | retry | `http_error` |
//! | no connection, TLS | retry | `source_unreachable` |
//! | deadline | retry | `source_timeout` |
//! | connection lost, body cut off | retry | `source_reset` |
//! | answer that breaks HTTP | retry | `source_protocol` |
//! | 401 | wait for new credentials | `unauthorized` |
//! | any other status | fail | `http_error` |
//! | target not allowed | fail | `blocked_target` |
//! | answer too long | fail | `response_too_large` |
//! | body unreadable | fail | that of the [`RecordsError`], e.g. `invalid_body` |
//! | placeholder without value | fail | `placeholder_missing` |
//! | request that can't be made | fail | `request_invalid` |
//! | page that differs each time it is read again | fail | `page_changed` |
//! | pagination | fail | that of the [`PaginationError`], e.g. `pagination_loop` |
//!
//! A rate limit doesn't use up an attempt; a retry does, and after
//! [`MAX_ATTEMPTS`] it is a failure.

mod rate_limit;
mod secrets;
mod shown;

use std::time::Duration;

use http::{HeaderMap, StatusCode};

use super::{PaginationError, RequestError, records::RecordsError};
use crate::{clock::Timestamp, http::OutboundErrorKind};

pub use rate_limit::MAX_WAIT;
pub use secrets::Secrets;
pub use shown::SHOWN_BODY_BYTES;

/// Attempts at one page, the first included.
pub const MAX_ATTEMPTS: u32 = 5;

/// The code of an address that may not be asked: the source wasn't.
pub const BLOCKED: &str = "blocked_target";

/// The code of a failure of ours, which says nothing about the source.
pub const INTERNAL: &str = "internal_error";

/// The longest wait after the first failed attempt.
const FIRST_BACKOFF: Duration = Duration::from_secs(3);

/// How much longer the wait may be after each further attempt: with
/// [`MAX_ATTEMPTS`] and half of each longest wait on average, 128 s in all.
const BACKOFF_FACTOR: u32 = 4;

/// What went wrong.
#[derive(Debug, Clone, Copy)]
pub enum Failure<'a> {
    /// No answer, or one that broke off.
    Outbound {
        kind: OutboundErrorKind,
        message: &'a str,
    },
    /// An answer that isn't a 2xx.
    Status {
        status: StatusCode,
        headers: &'a HeaderMap,
        /// The beginning of the body, [redacted](Secrets::redact).
        body_prefix: &'a [u8],
    },
    /// A body that isn't what it should be.
    Records(&'a RecordsError),
    /// No request could be made.
    Request(&'a RequestError),
    /// No telling what the next page is.
    Pagination(&'a PaginationError),
}

/// What is to be done about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Try again after the time the source asked for, else after [`backoff`].
    Retry { after: Option<Duration> },
    /// Ask nothing of this account's source for so long. No attempt is used up.
    RateLimited { wait: Duration },
    /// The source refuses the credentials: nothing more is asked of it until there are new ones.
    Unauthorized,
    /// Another attempt would end the same way.
    Fail,
}

/// A failure with everything a person needs to act on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Classified {
    pub verdict: Verdict,
    /// Public code, one of those in the table above.
    pub code: &'static str,
    /// Status of the answer, if there was one.
    pub status: Option<u16>,
    /// What happened, without secrets.
    pub message: String,
}

/// What `failure` means at the time `now`.
#[must_use]
pub fn classify(failure: &Failure<'_>, now: Timestamp) -> Classified {
    match *failure {
        Failure::Outbound { kind, message } => outbound(kind, message),
        Failure::Status {
            status,
            headers,
            body_prefix,
        } => answered(status, headers, body_prefix, now),
        Failure::Records(error) => failed(error.code, &error.message),
        Failure::Pagination(error) | Failure::Request(RequestError::Pagination(error)) => {
            failed(error.code, &error.message)
        }
        Failure::Request(RequestError::Unresolved(error)) => failed(
            "placeholder_missing",
            &format!("{error}; no request was made"),
        ),
        Failure::Request(RequestError::Invalid(message)) => failed("request_invalid", message),
    }
}

/// The wait before the attempt after failed attempt number `attempt` (from 1):
/// full jitter, so that what failed together doesn't come back together.
/// `random` is uniform in `0.0..1.0`.
#[must_use]
pub fn backoff(attempt: u32, random: f64) -> Duration {
    let exponent = attempt.clamp(1, MAX_ATTEMPTS) - 1;
    let longest = FIRST_BACKOFF * BACKOFF_FACTOR.pow(exponent);
    longest.mul_f64(random.clamp(0.0, 1.0))
}

fn failed(code: &'static str, message: &str) -> Classified {
    Classified {
        verdict: Verdict::Fail,
        code,
        status: None,
        message: message.to_owned(),
    }
}

fn outbound(kind: OutboundErrorKind, message: &str) -> Classified {
    const RETRY: Verdict = Verdict::Retry { after: None };
    let (verdict, code) = match kind {
        OutboundErrorKind::Dns | OutboundErrorKind::Connect | OutboundErrorKind::Tls => {
            (RETRY, "source_unreachable")
        }
        OutboundErrorKind::Timeout => (RETRY, "source_timeout"),
        OutboundErrorKind::Reset => (RETRY, "source_reset"),
        OutboundErrorKind::Protocol => (RETRY, "source_protocol"),
        OutboundErrorKind::Blocked => (Verdict::Fail, BLOCKED),
        OutboundErrorKind::BodyTooLarge => (Verdict::Fail, "response_too_large"),
    };
    Classified {
        verdict,
        ..failed(code, message)
    }
}

fn answered(status: StatusCode, headers: &HeaderMap, body: &[u8], now: Timestamp) -> Classified {
    let asked = rate_limit::retry_after(headers, now);
    let (verdict, code) = match (status.as_u16(), asked) {
        (429, _) => {
            let wait = rate_limit::wait(headers, now);
            (Verdict::RateLimited { wait }, "rate_limited")
        }
        (503, Some(wait)) => (Verdict::RateLimited { wait }, "rate_limited"),
        (408 | 425 | 500..=599, after) => (Verdict::Retry { after }, "http_error"),
        (401, _) => (Verdict::Unauthorized, "unauthorized"),
        _ => (Verdict::Fail, "http_error"),
    };
    let reason = status
        .canonical_reason()
        .map(|reason| format!(" {reason}"))
        .unwrap_or_default();
    let advice = match status.as_u16() {
        401 => "; check the account's credentials",
        403 => "; check what the account's credentials may do",
        300..=399 => "; redirects to another origin are not followed, check `base_url` and `path`",
        _ => "",
    };
    let shown = shown::body(body);
    let shown = if shown.is_empty() {
        shown
    } else {
        format!(": {shown}")
    };
    Classified {
        verdict,
        code,
        status: Some(status.as_u16()),
        message: format!(
            "the source answered {}{reason}{advice}{shown}",
            status.as_u16()
        ),
    }
}

#[cfg(test)]
mod tests;
