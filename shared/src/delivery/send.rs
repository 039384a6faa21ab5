//! One attempt: sign, send, read the answer.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, StatusCode, header};

use super::{Target, body::encoded, headers::headers};
use crate::{
    clock::Timestamp,
    http::{Outbound, OutboundError, OutboundErrorKind, Timings, Trace},
    integration::HttpRequest,
    model::attempt::Phase,
    seal::signature::SigningKey,
};

/// Bytes of an answer that are read at most; the rest is of no interest to a sender.
pub const ANSWER_BYTES: usize = 64 * 1024;
/// Characters of a redirect's target that are shown.
const MAX_SHOWN_LOCATION: usize = 200;

/// What is sent: the same id and bytes at every attempt.
#[derive(Debug, Clone)]
pub struct Message {
    /// The event's id, sent as `webhook-id`.
    pub id: String,
    pub body: Bytes,
}

/// What came of one request.
#[derive(Debug, Clone)]
pub struct Attempt {
    pub result: Result<Answered, Failed>,
    /// From the start of the look-up to the end of the answer.
    pub elapsed: Duration,
    pub exchange: Exchange,
}

/// What was seen of the exchange, however it ended.
#[derive(Debug, Clone, Default)]
pub struct Exchange {
    /// When it began.
    pub at: Timestamp,
    /// The part in which it ended; `None` when it never began.
    pub phase: Option<Phase>,
    pub timings: Timings,
    /// Bytes of the body, compressed ones if it was, that were handed to the connection; 0 when there was none.
    pub bytes_sent: u64,
    /// Bytes of the answer's body that were read, decoded.
    pub bytes_received: u64,
    /// Names of the keys it was signed with.
    pub key_ids: Vec<String>,
}

/// An answer that arrived in time, whole or up to [`ANSWER_BYTES`]; of one that is no success the head is enough.
#[derive(Debug, Clone)]
pub struct Answered {
    pub status: StatusCode,
    pub headers: HeaderMap,
    /// Where a redirect leads, for people.
    pub location: Option<String>,
    /// The first bytes of its body, [`ANSWER_BYTES`] at most; none where it broke off.
    pub body: Bytes,
}

/// Why there was no whole answer.
#[derive(Debug, Clone)]
pub struct Failed {
    pub kind: OutboundErrorKind,
    /// The status, if the answer broke off after it.
    pub status: Option<StatusCode>,
    /// For people.
    pub message: String,
}

/// Sends `message` once. The timestamp and the signatures are fresh at every
/// attempt, the id and the bytes are not.
pub async fn send(outbound: &Outbound, target: &Target, message: &Message) -> Attempt {
    let (at, began) = (Timestamp::now(), Instant::now());
    let trace = Trace::default();
    let mut carried = Carried::default();
    let result = exchange(outbound, target, message, at, &trace, &mut carried).await;
    let sent = if trace.connected() { carried.sent } else { 0 };
    Attempt {
        result,
        elapsed: began.elapsed(),
        exchange: Exchange {
            at,
            phase: trace.phase(),
            timings: trace.timings(),
            bytes_sent: sent,
            bytes_received: carried.received,
            key_ids: target.keys.iter().map(SigningKey::key_id).collect(),
        },
    }
}

/// Bytes of the two bodies.
#[derive(Default)]
struct Carried {
    /// As they go over the wire.
    sent: u64,
    received: u64,
}

async fn exchange(
    outbound: &Outbound,
    target: &Target,
    message: &Message,
    at: Timestamp,
    trace: &Trace,
    carried: &mut Carried,
) -> Result<Answered, Failed> {
    let unmade = |what: &str, error: &dyn std::fmt::Display| Failed {
        kind: OutboundErrorKind::Protocol,
        status: None,
        message: format!("the {what} can't be made: {error}"),
    };
    let body = encoded(&message.body, target.delivery.compression)
        .await
        .map_err(|error| unmade("compressed body", &error))?;
    carried.sent = body.len() as u64;
    let headers =
        headers(target, &message.id, &body, at).map_err(|error| unmade("headers", &error))?;
    let request = HttpRequest {
        method: http::Method::POST,
        url: target.url.clone(),
        headers,
        body: Some(body),
        timeout: Duration::from_millis(u64::from(target.delivery.timeout_ms)),
        shown_url: None,
    };
    let mut response = outbound
        .send_traced(request, ANSWER_BYTES as u64, trace)
        .await
        .map_err(|error| Failed {
            kind: error.kind,
            status: None,
            message: located(&error, trace),
        })?;
    let (status, headers) = (response.status, response.headers.clone());
    let location = headers
        .get(header::LOCATION)
        .and_then(|value| value.to_str().ok())
        // A receiver may repeat the credentials it was sent.
        .map(|location| place(&target.secrets.redact(location)));
    // A success counts once its whole answer (or the bound of it) has arrived in time; a reset before
    // that is a failure, since the receiver may have failed in the middle.
    let body = response.prefix(ANSWER_BYTES).await;
    carried.received = response.bytes_read();
    match body {
        Ok(body) => Ok(Answered {
            status,
            headers,
            location,
            body,
        }),
        // What a failure says is said by its head: a pause that is asked for, or that there is nobody any more.
        Err(_) if !status.is_success() => Ok(Answered {
            status,
            headers,
            location,
            body: Bytes::new(),
        }),
        Err(error) => Err(Failed {
            kind: error.kind,
            status: Some(status),
            message: format!("after status {status}: {}", located(&error, trace)),
        }),
    }
}

/// What went wrong; of a deadline, where it passed.
fn located(error: &OutboundError, trace: &Trace) -> String {
    match trace.phase() {
        Some(phase) if error.kind == OutboundErrorKind::Timeout => {
            format!("{error} (in the phase `{}`)", phase.as_str())
        }
        _ => error.message.clone(),
    }
}

impl Attempt {
    /// Status of a whole answer.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        self.result
            .as_ref()
            .ok()
            .map(|answered| answered.status.as_u16())
    }

    /// Whether it was accepted: a 2xx and nothing else.
    #[must_use]
    pub fn is_success(&self) -> bool {
        self.result
            .as_ref()
            .is_ok_and(|answered| answered.status.is_success())
    }

    /// What went wrong, for people.
    #[must_use]
    pub fn problem(&self) -> String {
        match &self.result {
            Ok(answered) if answered.status.is_redirection() => {
                let to = answered.location.as_deref();
                let to = to.map(|place| format!(" to {place}")).unwrap_or_default();
                let status = answered.status;
                format!("the receiver answered {status}{to}; redirects are not followed")
            }
            Ok(answered) => format!("the receiver answered {}", answered.status),
            Err(failed) => failed.message.clone(),
        }
    }
}

/// A `Location` without what may be secret, user info and query, and without what is too long to read.
fn place(location: &str) -> String {
    let location = location.split(['?', '#']).next().unwrap_or_default();
    let shown = match location.split_once("//") {
        Some((scheme, rest)) if scheme.is_empty() || scheme.ends_with(':') => {
            let end = rest.find(['/', '\\']).unwrap_or(rest.len());
            let (authority, path) = rest.split_at(end);
            let host = authority.rsplit('@').next().unwrap_or_default();
            format!("{scheme}//{host}{path}")
        }
        _ => location.to_owned(),
    };
    if shown.chars().nth(MAX_SHOWN_LOCATION).is_none() {
        return shown;
    }
    shown
        .chars()
        .take(MAX_SHOWN_LOCATION)
        .chain(['…'])
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_of_a_redirect_is_shown_without_secrets_and_in_short() {
        for (location, shown) in [
            ("/new/hook?key=a@b#c", "/new/hook"),
            (
                "https://user:pw@example.com:8443/a@b/",
                "https://example.com:8443/a@b/",
            ),
            ("//pw@example.com", "//example.com"),
            ("https://a@b@example.com\\x", "https://example.com\\x"),
            ("/a//user@host", "/a//user@host"),
            ("", ""),
        ] {
            assert_eq!(place(location), shown, "{location}");
        }
        let long = place(&format!("/{}", "x".repeat(100_000)));
        assert_eq!(long.chars().count(), MAX_SHOWN_LOCATION + 1);
    }
}
