//! The bodies of tasks, as they stand in the queues. Kinds carry a version: a
//! worker leaves a kind it doesn't know to newer workers.

use std::{collections::BTreeMap, str::FromStr};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{integration::Cursor, model::purge::Purge};

/// What a task is about.
#[derive(Debug, Clone, PartialEq)]
pub enum TaskBody {
    /// `start_run.1`: plan the run, queue its root fetches and `started`.
    StartRun,
    /// `fetch.1 <node> <gate> <json>`: one resource, or one resource for one parent record.
    Fetch {
        node: usize,
        gate: u64,
        body: FetchBody,
    },
    /// `deliver.1 <stream>`: send what a stream has.
    Deliver { stream: String },
    /// `redrive.1`: send dead letters again, as the redrive says.
    Redrive,
    /// `start_workflows.1 <event type> <ms of the event> <payload as JSON>`: an event has happened.
    StartWorkflows {
        event_type: String,
        at_ms: i64,
        payload: Value,
    },
    /// `purge.1 <json>`: take away what a deleted account or environment left behind.
    Purge(Purge),
}

/// Where a fetch is and what it needs of its ancestors' records.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct FetchBody {
    /// Placeholder → value: `{"resources.wms.orders.id":7}`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub parents: BTreeMap<String, Value>,
    /// Whether the element of the node's loop is among `parents`. A task of a looping node without it makes one of
    /// these for each element, and no request.
    #[serde(default, skip_serializing_if = "is_false")]
    pub looped: bool,
    /// Level of recursion; 0 is the first call.
    #[serde(default, skip_serializing_if = "is_first")]
    pub depth: u32,
    /// Why there is no request to make: a task that is only there to be told as failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<TaskFault>,
    /// The page to fetch; `None`: the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<Cursor>,
    /// Records of that page already committed; of a loop, elements.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub skip: u64,
    /// Digest of those records; a page that begins otherwise is committed anew.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub skip_digest: u64,
    /// How often that page was begun anew since it had changed.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub restarts: u64,
}

/// An error that was found before any request, in the record that the task is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskFault {
    pub code: String,
    pub message: String,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a reference"
)]
fn is_false(flag: &bool) -> bool {
    !flag
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a reference"
)]
fn is_first(depth: &u32) -> bool {
    *depth == 0
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a reference"
)]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// The body isn't of a kind and version this program knows.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("this task is of a kind or version unknown here: {0}")]
pub struct UnknownTask(String);

impl FetchBody {
    /// As JSON, the form in which scripts add node and gate.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_else(|_| "{}".to_owned())
    }
}

impl std::fmt::Display for TaskBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::StartRun => f.write_str("start_run.1"),
            Self::Fetch { node, gate, body } => {
                write!(f, "fetch.1 {node} {gate} {}", body.to_json())
            }
            Self::Deliver { stream } => write!(f, "deliver.1 {stream}"),
            Self::Redrive => f.write_str("redrive.1"),
            Self::StartWorkflows {
                event_type,
                at_ms,
                payload,
            } => write!(f, "start_workflows.1 {event_type} {at_ms} {payload}"),
            Self::Purge(purge) => {
                let json = serde_json::to_string(purge).map_err(|_| std::fmt::Error)?;
                write!(f, "purge.1 {json}")
            }
        }
    }
}

impl FromStr for TaskBody {
    type Err = UnknownTask;

    fn from_str(text: &str) -> Result<Self, UnknownTask> {
        let unknown = || UnknownTask(text.split(' ').next().unwrap_or_default().to_owned());
        let mut parts = text.splitn(4, ' ');
        match parts.next() {
            Some("start_run.1") => Ok(Self::StartRun),
            Some("redrive.1") => Ok(Self::Redrive),
            Some("deliver.1") => {
                let stream = parts.next().ok_or_else(unknown)?.to_owned();
                Ok(Self::Deliver { stream })
            }
            Some("start_workflows.1") => {
                let event_type = parts.next().ok_or_else(unknown)?.to_owned();
                let at_ms = parts.next().and_then(|text| text.parse().ok());
                let payload = parts
                    .next()
                    .and_then(|text| serde_json::from_str(text).ok());
                Ok(Self::StartWorkflows {
                    event_type,
                    at_ms: at_ms.ok_or_else(unknown)?,
                    payload: payload.ok_or_else(unknown)?,
                })
            }
            Some("purge.1") => {
                let (_, json) = text.split_once(' ').ok_or_else(unknown)?;
                let purge = serde_json::from_str(json).map_err(|_| unknown())?;
                Ok(Self::Purge(purge))
            }
            Some("fetch.1") => {
                let node = parts
                    .next()
                    .and_then(|text| text.parse().ok())
                    .ok_or_else(unknown)?;
                let gate = parts
                    .next()
                    .and_then(|text| text.parse().ok())
                    .ok_or_else(unknown)?;
                let body =
                    serde_json::from_str(parts.next().unwrap_or("{}")).map_err(|_| unknown())?;
                Ok(Self::Fetch { node, gate, body })
            }
            _ => Err(unknown()),
        }
    }
}

/// What a task belongs to, a run, a webhook, a redrive or an event: the part of its id before the first dot.
#[must_use]
pub fn owner_of<Id: FromStr>(task_id: &str) -> Option<Id> {
    task_id.split('.').next().and_then(|id| id.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn bodies_survive_text_and_back() {
        let parents = BTreeMap::from([(
            "resources.wms.orders.id".to_owned(),
            json!(9_007_199_254_740_993_u64),
        )]);
        for body in [
            TaskBody::StartRun,
            TaskBody::Redrive,
            TaskBody::Deliver {
                stream: "c".to_owned(),
            },
            TaskBody::StartWorkflows {
                event_type: "integrated_account:active".to_owned(),
                at_ms: 7,
                payload: json!({"integrated_account_id": "acc 1"}),
            },
            TaskBody::Purge(Purge::of_environment().further(Some("run_1".to_owned()), None)),
            TaskBody::Fetch {
                node: 1,
                gate: 42,
                body: FetchBody {
                    parents,
                    skip: 3,
                    ..FetchBody::default()
                },
            },
        ] {
            assert_eq!(body.to_string().parse::<TaskBody>(), Ok(body));
        }
    }

    #[test]
    fn a_kind_of_a_newer_version_is_unknown() {
        assert!("fetch.2 0 0 {}".parse::<TaskBody>().is_err());
        assert!("fetch.1 x".parse::<TaskBody>().is_err());
    }
}
