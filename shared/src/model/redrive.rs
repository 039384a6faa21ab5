//! A redrive: dead letters of a webhook that are sent again, one by one.

use serde::{Serialize, Serializer};
use serde_json::Value;

use super::dead_letter::{Cause, LetterFilter, MAX_FILTER_CHARS};
use crate::{
    clock::Timestamp,
    fault::{Faults, Fields},
    ids::{EventId, RedriveId, WebhookId},
};

/// Letters a second that a redrive can be held to at most.
pub const MAX_RATE_PER_SECOND: u64 = 1_000;

/// A redrive as the API shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Redrive {
    #[schema(value_type = String, example = "rdv_01J8Z5T2V6N3Q4R7S8W9X0Y1Z2")]
    pub id: RedriveId,
    #[schema(value_type = String)]
    pub webhook_id: WebhookId,
    /// Which letters it sends; empty: all.
    pub filter: LetterFilter,
    /// Letters a second at most; `null`: as fast as the receiver takes them.
    pub rate_per_second: Option<u32>,
    pub status: RedriveStatus,
    /// Letters that matched when it was made; `null` when there were too many to count.
    pub total: Option<u64>,
    /// Letters that were accepted, and are none any more.
    pub delivered: u64,
    /// Letters that were given up once more, and stay.
    pub failed: u64,
    /// The letter that is being sent, or waits for its next attempt.
    #[schema(value_type = Option<String>)]
    pub current_event_id: Option<EventId>,
    /// Why an attempt was not accepted, the last one of those; why the redrive was cancelled, if nobody asked for that.
    pub last_error: Option<String>,
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    #[schema(value_type = Option<String>, format = DateTime)]
    pub finished_at: Option<Timestamp>,
}

/// Where a redrive is. Only a running one changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, utoipa::ToSchema)]
#[schema(rename_all = "snake_case")]
pub enum RedriveStatus {
    Running,
    /// Each letter was sent, or given up once more.
    Completed,
    /// By request, or since the webhook was deleted.
    Cancelled,
}

impl RedriveStatus {
    /// The word in the store and in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Completed => "completed",
            Self::Cancelled => "cancelled",
        }
    }

    /// The status of that word.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        let all = [Self::Running, Self::Completed, Self::Cancelled];
        all.into_iter().find(|status| status.as_str() == name)
    }
}

impl Serialize for RedriveStatus {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// What a client asks for: the fields of a [`LetterFilter`], and how fast.
#[derive(Debug, Clone, Default, PartialEq, Eq, utoipa::ToSchema)]
pub struct RedriveInput {
    #[serde(flatten)]
    pub filter: LetterFilter,
    pub rate_per_second: Option<u32>,
}

impl RedriveInput {
    /// Reads the body of a request.
    ///
    /// # Errors
    /// Everything wrong with it.
    pub fn read(body: &Value) -> Result<Self, Faults> {
        let mut faults = Faults::default();
        let Some(mut fields) = Fields::new(body, "", &mut faults) else {
            return Err(faults);
        };
        let filter = LetterFilter {
            event_id: id(&mut fields, "event_id", "an event", &mut faults),
            sync_job_run_id: id(
                &mut fields,
                "sync_job_run_id",
                "a sync job run",
                &mut faults,
            ),
            resource: text(&mut fields, "resource", &mut faults),
            cause: fields.choice("cause", &Cause::CHOICES, &mut faults),
            reason: text(&mut fields, "reason", &mut faults),
        };
        let rate = fields.integer("rate_per_second", 1..=MAX_RATE_PER_SECOND, &mut faults);
        fields.finish(&mut faults);
        faults.into_result(Self {
            filter,
            rate_per_second: rate.and_then(|rate| u32::try_from(rate).ok()),
        })
    }
}

fn id<T: std::str::FromStr>(
    fields: &mut Fields<'_>,
    name: &'static str,
    of: &str,
    faults: &mut Faults,
) -> Option<T> {
    let parsed = fields.string(name, faults)?.parse().ok();
    if parsed.is_none() {
        faults.push(fields.pointer(name), format!("must be the id of {of}"));
    }
    parsed
}

fn text(fields: &mut Fields<'_>, name: &'static str, faults: &mut Faults) -> Option<String> {
    let text = fields.string(name, faults)?;
    if !(1..=MAX_FILTER_CHARS).contains(&text.chars().count()) {
        let message = format!("must have 1 to {MAX_FILTER_CHARS} characters");
        faults.push(fields.pointer(name), message);
    }
    Some(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_fault_of_a_redrive_is_named_at_once() {
        let body = json!({"event_id": "run_1", "sync_job_run_id": 3, "resource": "", "cause": "mine",
            "reason": "x".repeat(256), "rate_per_second": 1001, "all": true});
        let faults = RedriveInput::read(&body).expect_err("faults");
        let pointers: Vec<_> = faults
            .as_slice()
            .iter()
            .map(|fault| &*fault.pointer)
            .collect();
        assert_eq!(
            pointers,
            [
                "/event_id",
                "/sync_job_run_id",
                "/resource",
                "/cause",
                "/reason",
                "/rate_per_second",
                "/all"
            ]
        );
    }

    #[test]
    fn an_empty_body_means_all_letters_as_fast_as_they_go() {
        let input = RedriveInput::read(&json!({})).expect("an input");
        assert_eq!(input, RedriveInput::default());
    }
}
