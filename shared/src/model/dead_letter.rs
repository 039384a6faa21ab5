//! An event that was given up, as the API lists it.

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;

/// One dead letter; the bytes that were sent are kept with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct DeadLetter {
    /// The event's id, which was its `webhook-id`.
    #[schema(example = "evt_01J8Z5T2V6N3Q4R7S8W9X0Y1Z2")]
    pub id: String,
    /// The event's type.
    pub event: String,
    pub sync_job_run_id: String,
    pub resource: Option<String>,
    /// The stream: the resource, or its alias.
    pub name: Option<String>,
    pub first_seq: Option<u64>,
    pub last_seq: Option<u64>,
    /// Records in it.
    pub count: u64,
    pub cause: Cause,
    /// Why it was given up.
    pub reason: String,
    /// Status of the last answer, if there was one.
    pub status_code: Option<u16>,
    pub attempts: u32,
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    pub dead_at: Timestamp,
}

/// On whose side it failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// The receiver did not take it.
    Refused,
    /// It could not be made or sent, for a reason on this side.
    Broken,
}

impl Cause {
    /// The word in the store and in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Broken => "broken",
        }
    }
}
