//! An event that was given up, as the API lists it, and which of them are meant.

use serde::{Deserialize, Serialize};

use crate::{
    clock::Timestamp,
    ids::{EventId, RunId},
};

/// Characters of a filter's text at most.
pub const MAX_FILTER_CHARS: usize = 255;

/// One dead letter; the bytes that were sent are kept with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct DeadLetter {
    /// The event's id, which was its `webhook-id`.
    #[schema(example = "evt_01J8Z5T2V6N3Q4R7S8W9X0Y1Z2")]
    pub id: String,
    /// The event's type.
    pub event: String,
    /// None of an event that belongs to no run.
    pub sync_job_run_id: Option<String>,
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

    /// Both, by their words.
    pub const CHOICES: [(&'static str, Self); 2] =
        [("refused", Self::Refused), ("broken", Self::Broken)];
}

/// Which dead letters are meant; what is absent matches all.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct LetterFilter {
    /// Only this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub event_id: Option<EventId>,
    /// Only those of this run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub sync_job_run_id: Option<RunId>,
    /// Only those of this resource, by itself or by the name it has in its job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 255)]
    pub resource: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<Cause>,
    /// Only those whose reason has this text in it, whatever its case.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 255)]
    pub reason: Option<String>,
}

impl LetterFilter {
    /// Whether `letter` is among those meant.
    #[must_use]
    pub fn matches(&self, letter: &DeadLetter) -> bool {
        let event = self.event_id.map(|id| id.to_string());
        let run = self.sync_job_run_id.map(|id| id.to_string());
        let (resource, name) = (letter.resource.as_deref(), letter.name.as_deref());
        event.is_none_or(|id| letter.id == id)
            && (run.is_none() || letter.sync_job_run_id == run)
            && self
                .resource
                .as_deref()
                .is_none_or(|wanted| resource == Some(wanted) || name == Some(wanted))
            && self.cause.is_none_or(|cause| letter.cause == cause)
            && self.reason.as_deref().is_none_or(|part| {
                let reason = letter.reason.to_lowercase();
                reason.contains(&part.to_lowercase())
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_matches_letters_that_have_all_it_names() {
        let run = RunId::from_bits(7);
        let letter = DeadLetter {
            id: EventId::from_bits(1).to_string(),
            event: "sync_job_run:record".to_owned(),
            sync_job_run_id: Some(run.to_string()),
            resource: Some("wms/orders".to_owned()),
            name: Some("old orders".to_owned()),
            first_seq: Some(1),
            last_seq: Some(2),
            count: 2,
            cause: Cause::Refused,
            reason: "The receiver answered 500".to_owned(),
            status_code: Some(500),
            attempts: 3,
            created_at: Timestamp(0),
            dead_at: Timestamp(0),
        };
        let all = LetterFilter::default;
        let text = |text: &str| Some(text.to_owned());
        let cases = [
            (all(), true),
            (
                LetterFilter {
                    event_id: Some(EventId::from_bits(1)),
                    ..all()
                },
                true,
            ),
            (
                LetterFilter {
                    event_id: Some(EventId::from_bits(2)),
                    ..all()
                },
                false,
            ),
            (
                LetterFilter {
                    sync_job_run_id: Some(run),
                    ..all()
                },
                true,
            ),
            (
                LetterFilter {
                    sync_job_run_id: Some(RunId::from_bits(8)),
                    ..all()
                },
                false,
            ),
            (
                LetterFilter {
                    resource: text("wms/orders"),
                    ..all()
                },
                true,
            ),
            (
                LetterFilter {
                    resource: text("old orders"),
                    ..all()
                },
                true,
            ),
            (
                LetterFilter {
                    resource: text("orders"),
                    ..all()
                },
                false,
            ),
            (
                LetterFilter {
                    cause: Some(Cause::Broken),
                    ..all()
                },
                false,
            ),
            (
                LetterFilter {
                    reason: text("RECEIVER answered 5"),
                    ..all()
                },
                true,
            ),
            (
                LetterFilter {
                    reason: text("timed out"),
                    cause: Some(Cause::Refused),
                    ..all()
                },
                false,
            ),
        ];
        for (filter, matches) in cases {
            assert_eq!(filter.matches(&letter), matches, "{filter:?}");
        }
    }
}
