//! Why an exchange failed below HTTP: one classification, and messages that never
//! carry a path, a query or user info.

use std::{error::Error, io};

use super::resolver::Blocked;

/// Why an exchange failed below HTTP.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub struct OutboundError {
    pub kind: OutboundErrorKind,
    /// Names the origin at most; may be shown to the owner of the target.
    pub message: String,
}

/// What kind of failure it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OutboundErrorKind {
    /// The target isn't allowed; trying again does not help.
    Blocked,
    /// The name could not be resolved.
    Dns,
    /// No connection.
    Connect,
    /// The handshake failed, or the certificate isn't trusted.
    Tls,
    /// The deadline passed.
    Timeout,
    /// The connection broke before the answer was complete.
    Reset,
    /// More decoded bytes than the caller takes.
    BodyTooLarge,
    /// The other side speaks no HTTP that we understand.
    Protocol,
}

impl OutboundErrorKind {
    /// The word for logs, metrics and stored errors.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Blocked => "blocked",
            Self::Dns => "dns",
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::Timeout => "timeout",
            Self::Reset => "reset",
            Self::BodyTooLarge => "body_too_large",
            Self::Protocol => "protocol",
        }
    }
}

impl OutboundError {
    pub(super) fn new(kind: OutboundErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
        }
    }

    /// Classifies what reqwest reports; `error` may carry the whole URL, the result does not.
    pub(super) fn from_reqwest(error: &reqwest::Error) -> Self {
        let origin = error.url().map(|url| url.origin().ascii_serialization());
        let origin = origin.as_deref().unwrap_or("the target");
        let kind = classify(error);
        let detail = causes(error)
            .skip(1)
            .last()
            .map(ToString::to_string)
            .unwrap_or_default();
        let message = match kind {
            OutboundErrorKind::Blocked => detail,
            OutboundErrorKind::Dns => format!("could not look up {origin}: {detail}"),
            OutboundErrorKind::Connect => format!("could not connect to {origin}: {detail}"),
            OutboundErrorKind::Tls => format!("tls with {origin} failed: {detail}"),
            OutboundErrorKind::Timeout => format!("{origin} did not answer in time: {detail}"),
            OutboundErrorKind::Reset => format!("{origin} broke the connection: {detail}"),
            OutboundErrorKind::BodyTooLarge | OutboundErrorKind::Protocol => {
                format!("{origin} sent something that can't be read: {detail}")
            }
        };
        Self { kind, message }
    }
}

fn classify(error: &reqwest::Error) -> OutboundErrorKind {
    if causes(error).any(<dyn Error>::is::<Blocked>) {
        return OutboundErrorKind::Blocked;
    }
    if error.is_dns() {
        return OutboundErrorKind::Dns;
    }
    if causes(error).any(<dyn Error>::is::<rustls::Error>) {
        return OutboundErrorKind::Tls;
    }
    if error.is_timeout() {
        return OutboundErrorKind::Timeout;
    }
    if error.is_connect() {
        return OutboundErrorKind::Connect;
    }
    for cause in causes(error) {
        if let Some(hyper) = cause.downcast_ref::<hyper::Error>()
            && hyper.is_parse()
        {
            return OutboundErrorKind::Protocol;
        }
        if let Some(io) = cause.downcast_ref::<io::Error>() {
            match io.kind() {
                io::ErrorKind::ConnectionReset
                | io::ErrorKind::ConnectionAborted
                | io::ErrorKind::BrokenPipe
                | io::ErrorKind::UnexpectedEof => return OutboundErrorKind::Reset,
                io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput => {
                    return OutboundErrorKind::Protocol;
                }
                _ => {}
            }
        }
    }
    if error.is_decode() || error.is_builder() {
        OutboundErrorKind::Protocol
    } else {
        // What is left ended the exchange early: a closed connection, a reset HTTP/2 stream.
        OutboundErrorKind::Reset
    }
}

/// `error` and everything below it; also what an [`io::Error`] wraps, which
/// `source` leaves out.
fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error: &&'a (dyn Error + 'static)| {
        let error: &'a (dyn Error + 'static) = *error;
        match error
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref)
        {
            Some(inner) => Some(inner as &(dyn Error + 'static)),
            None => error.source(),
        }
    })
}
