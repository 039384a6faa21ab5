//! One attempt at delivering an event, as it is logged and as the API lists it.

use serde::{Deserialize, Serialize};

use crate::{
    clock::Timestamp,
    ids::{AttemptId, EventId, RunId, WebhookId},
};

/// Bytes of an answer's body that are kept with its attempt.
pub const ANSWER_KEPT_BYTES: usize = 2048;

/// A part of an exchange, in the order in which they come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Looking the name up.
    Dns,
    /// Connecting by TCP, to one address after the other.
    Connect,
    /// The TLS handshake.
    Tls,
    /// Sending the request and waiting for the head of the answer.
    Headers,
    /// Reading the answer's body.
    Body,
}

impl Phase {
    /// The word for people and stored errors.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Dns => "dns",
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::Headers => "headers",
            Self::Body => "body",
        }
    }
}

/// How long the parts of an exchange took, in milliseconds. `null`: the part did not
/// happen, as on a connection that was kept, or did not end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Phases {
    /// Looking the name up.
    pub dns: Option<f64>,
    /// Connecting by TCP.
    pub connect: Option<f64>,
    /// The TLS handshake.
    pub tls: Option<f64>,
    /// From the moment there was a connection to the head of the answer.
    pub first_byte: Option<f64>,
    /// All of it, up to the end of the answer or the failure.
    pub total: f64,
}

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum AttemptOutcome {
    /// The receiver answered with a 2xx.
    Delivered,
    Failed,
}

/// What kind of failure it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum AttemptErrorKind {
    /// The name could not be looked up.
    Dns,
    /// No connection.
    Connect,
    /// The handshake failed, or the certificate isn't trusted.
    Tls,
    /// The connection broke before the answer was complete.
    Reset,
    /// The deadline passed; `phase` says where.
    Timeout,
    /// The address may not be reached.
    Blocked,
    /// The other side sent no HTTP that we understand, or the request can't be made.
    Protocol,
    /// A redirect, which isn't followed.
    #[serde(rename = "3xx")]
    Redirection,
    #[serde(rename = "4xx")]
    ClientError,
    #[serde(rename = "5xx")]
    ServerError,
}

/// Why an attempt failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct AttemptError {
    pub kind: AttemptErrorKind,
    /// Where the exchange ended; `null` for an answer that arrived and for what never began.
    pub phase: Option<Phase>,
    /// For people.
    pub message: String,
}

/// One attempt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = Attempt)]
pub struct AttemptRecord {
    #[schema(value_type = String, example = "att_01J8Z5T2V6N3Q4R7S8W9X0Y1Z2")]
    pub id: AttemptId,
    #[schema(value_type = String)]
    pub webhook_id: WebhookId,
    /// The event's id, sent as `webhook-id`.
    #[schema(value_type = String)]
    pub event_id: EventId,
    /// The event's type.
    pub event: String,
    /// `null` for an event that belongs to no run.
    #[schema(value_type = Option<String>)]
    pub sync_job_run_id: Option<RunId>,
    /// The how many-th of this event, from 1.
    pub attempt: u32,
    /// When it began.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    pub outcome: AttemptOutcome,
    /// Status of the answer, also of one that broke off after it.
    pub status_code: Option<u16>,
    pub error: Option<AttemptError>,
    pub phases: Phases,
    /// Bytes of the body that were handed to the connection; 0 when there was none.
    pub bytes_sent: u64,
    /// Bytes of the answer's body that were read, decoded; at most a little more than 64 KiB.
    pub bytes_received: u64,
    /// The first 2 KiB of the answer's body as text; `null` when no whole answer came.
    pub answer: Option<String>,
    /// Names of the keys it was signed with, the current one first.
    pub signing_key_ids: Vec<String>,
}
