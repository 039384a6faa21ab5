//! Ids: a ULID with a type prefix (`run_01J…`), one newtype a kind, so that a
//! webhook's id can't be passed where a run's is meant.
//!
//! ULIDs sort by creation time, which the store's indexes rely on: newest first
//! is reverse lexical order.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use ulid::Ulid;

/// The text isn't an id of the kind asked for.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
#[error("not an id of the form {prefix}_<26 characters>")]
pub struct InvalidId {
    prefix: &'static str,
}

macro_rules! id {
    ($name:ident, $prefix:literal, $doc:literal) => {
        #[doc = $doc]
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Ulid);

        impl $name {
            /// First part of the text form, before the underscore.
            pub const PREFIX: &'static str = $prefix;

            /// A new id from the system clock and the thread's generator.
            #[must_use]
            pub fn generate() -> Self {
                Self(Ulid::generate())
            }

            /// The id with exactly these 128 bits; for ids that must come out
            /// the same when an operation is repeated.
            #[must_use]
            pub const fn from_bits(bits: u128) -> Self {
                Self(Ulid(bits))
            }

            /// An id that comes after this one in order; for several that are made at once.
            #[must_use]
            pub const fn following(&self, places: usize) -> Self {
                Self(Ulid(self.0.0.wrapping_add(places as u128)))
            }

            /// Its 128 bits.
            #[must_use]
            pub const fn bits(&self) -> u128 {
                self.0.0
            }

            /// Milliseconds since the Unix epoch at which the id was made.
            #[must_use]
            pub const fn timestamp_ms(&self) -> u64 {
                self.0.timestamp_ms()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "_{}"), self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                text.strip_prefix(concat!($prefix, "_"))
                    .filter(|rest| rest.len() == ulid::ULID_LEN)
                    .and_then(|rest| Ulid::from_string(rest).ok())
                    .map(Self)
                    .ok_or(InvalidId { prefix: $prefix })
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

id!(
    EnvironmentId,
    "env",
    "A tenant of the installation; every other object belongs to one."
);
id!(TokenId, "tok", "An API token (the id, not the secret).");
id!(
    IntegrationId,
    "int",
    "An integration; its versions share the id."
);
id!(
    AccountId,
    "acc",
    "An integrated account: one customer's connection."
);
id!(WebhookId, "wh", "A webhook.");
id!(SyncJobId, "job", "A sync job.");
id!(RunId, "run", "A sync job run.");
id!(WorkflowId, "wf", "A workflow.");
id!(WorkflowRunId, "wfr", "What a workflow did for one event.");
id!(CronTriggerId, "cron", "A cron trigger.");
id!(EventId, "evt", "An event; also its `webhook-id`.");
id!(RedriveId, "rdv", "A redrive of dead letters.");
id!(AttemptId, "att", "One attempt at delivering an event.");
id!(TaskId, "task", "A task in one of the queues.");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_survives_text_and_back() {
        let id = RunId::generate();
        assert_eq!(id.to_string().parse::<RunId>(), Ok(id));
    }

    #[test]
    fn an_id_of_another_kind_is_refused() {
        let id = RunId::generate().to_string();
        assert!(id.parse::<WebhookId>().is_err());
        assert!("run_".parse::<RunId>().is_err());
        assert!(format!("{id}0").parse::<RunId>().is_err());
    }
}
