//! One attempt: sign, send, read the answer.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, StatusCode, header};

use super::{Target, headers::headers};
use crate::{
    clock::Timestamp,
    http::{Outbound, OutboundErrorKind, Redirects},
    integration::HttpRequest,
};

/// Bytes of an answer that are read at most; the rest is of no interest to a sender.
pub const ANSWER_BYTES: usize = 64 * 1024;

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
}

/// An answer that arrived whole, or up to [`ANSWER_BYTES`], in time.
#[derive(Debug, Clone)]
pub struct Answered {
    pub status: StatusCode,
    pub headers: HeaderMap,
    /// The first bytes of its body, [`ANSWER_BYTES`] at most.
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
    let began = Instant::now();
    let result = exchange(outbound, target, message).await;
    Attempt {
        result,
        elapsed: began.elapsed(),
    }
}

async fn exchange(
    outbound: &Outbound,
    target: &Target,
    message: &Message,
) -> Result<Answered, Failed> {
    let headers =
        headers(target, &message.id, &message.body, Timestamp::now()).map_err(|error| Failed {
            kind: OutboundErrorKind::Protocol,
            status: None,
            message: format!("the headers can't be made: {error}"),
        })?;
    let request = HttpRequest {
        method: http::Method::POST,
        url: target.url.clone(),
        headers,
        body: Some(message.body.clone()),
        timeout: Duration::from_millis(u64::from(target.delivery.timeout_ms)),
        shown_url: None,
    };
    let mut response = outbound
        .send(request, Redirects::None, ANSWER_BYTES as u64)
        .await
        .map_err(|error| Failed {
            kind: error.kind,
            status: None,
            message: error.message,
        })?;
    let (status, headers) = (response.status, response.headers.clone());
    // A success counts once its whole answer (or the bound of it) has arrived in time; a reset before
    // that is a failure, since the receiver may have failed in the middle.
    match response.prefix(ANSWER_BYTES).await {
        Ok(body) => Ok(Answered {
            status,
            headers,
            body,
        }),
        Err(error) => Err(Failed {
            kind: error.kind,
            status: Some(status),
            message: format!("after status {status}: {error}"),
        }),
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
                // A query may hold a secret; the place says enough.
                let location = answered
                    .headers
                    .get(header::LOCATION)
                    .and_then(|value| value.to_str().ok())
                    .and_then(|location| location.split(['?', '#']).next());
                let to = location
                    .map(|location| format!(" to {location}"))
                    .unwrap_or_default();
                let status = answered.status;
                format!("the receiver answered {status}{to}; redirects are not followed")
            }
            Ok(answered) => format!("the receiver answered {}", answered.status),
            Err(failed) => failed.message.clone(),
        }
    }
}
