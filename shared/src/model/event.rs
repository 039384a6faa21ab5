//! Events: their types, and the exact bytes that are sent.
//!
//! The bytes of an event are a pure function of what was frozen with its batch
//! (id, time, extent), of the committed chunks and of the run's unchanging parts,
//! so every retry is byte-equal, whichever worker sends it. A change of the layout
//! needs a mark in the frozen batch, so that batches frozen before keep theirs; the
//! tests below hold the layout still.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::{
    chunk::{UnreadableChunk, read_chunk},
    run::{RunSpec, RunStatus, RunView},
};
use crate::{
    clock::Timestamp,
    ids::{EnvironmentId, EventId, WebhookId},
};

/// Every event type a webhook can subscribe to.
pub const EVENT_TYPES: &[&str] = &[
    CREATED,
    UPDATED,
    DELETED,
    STARTED,
    RECORD,
    RECORD_ERROR,
    RATE_LIMITED,
    "sync_job_run:completed",
    "sync_job_run:failed",
    "sync_job_run:stopped",
    "integrated_account:created",
    "integrated_account:active",
    "integrated_account:updated",
    "integrated_account:deleted",
    "integrated_account:validation_error",
    "integrated_account:authentication_error",
    "integrated_account:reactivated",
    "sync_job_cron_trigger:failed",
    WEBHOOK_DISABLED,
    TEST,
];

/// Stands for the event types of a run that makes none.
pub const NO_EVENTS: &str = "none";
/// What the names of a run's events begin with.
pub const OF_A_RUN: &str = "sync_job_run:";
/// The run was accepted.
pub const CREATED: &str = "sync_job_run:created";
/// Its status changed.
pub const UPDATED: &str = "sync_job_run:updated";
/// It was deleted, after its end.
pub const DELETED: &str = "sync_job_run:deleted";
pub const STARTED: &str = "sync_job_run:started";
pub const RECORD: &str = "sync_job_run:record";
pub const RECORD_ERROR: &str = "sync_job_run:record_error";
/// The last event of a run, one of these.
pub const TERMINAL: [&str; 3] = [
    "sync_job_run:completed",
    "sync_job_run:failed",
    "sync_job_run:stopped",
];
/// A webhook was switched off because of its receiver.
pub const WEBHOOK_DISABLED: &str = "webhook:disabled";
/// Sent on request, to try a webhook.
pub const TEST: &str = "test";
pub const RATE_LIMITED: &str = "sync_job_run:rate_limited";

/// What the payload of a [`TEST`] event says.
const TEST_MESSAGE: &str = "This is a test of your webhook; nothing needs to be done.";

/// What the payload of every event of a run begins with.
const COMMON: [&str; 5] = [
    "sync_job_run_id",
    "sync_job_id",
    "integrated_account_id",
    "tenant_id",
    "integration_name",
];

/// A frozen batch: what the functions below turn into bytes, always the same ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    pub event: EventId,
    /// When it was formed, ms since the epoch.
    pub created_ms: i64,
    pub event_type: String,
    pub first_seq: u64,
    pub records: u64,
    /// Attempts made before this one.
    pub attempts: u32,
    /// Time since the first of them failed.
    pub failing: Duration,
    /// Bytes of its records that the receiver takes at most, as far as it is known by now; 0: not less than the run's bound.
    pub most_bytes: u64,
    /// As committed; see [`super::chunk`].
    pub chunks: Vec<Vec<u8>>,
}

impl Batch {
    /// Whether it is the last event of its run.
    #[must_use]
    pub fn is_terminal(&self) -> bool {
        TERMINAL.contains(&self.event_type.as_str())
    }
}

/// The node that a stream belongs to.
#[derive(Debug, Clone, Copy)]
pub struct StreamName<'a> {
    /// The stream's own name: the resource, or its alias.
    pub name: &'a str,
    pub resource: &'a str,
    pub method: &'a str,
}

/// The bytes of a `record` event.
///
/// # Errors
/// A chunk that no commit wrote.
pub fn record_event(
    spec: &RunSpec,
    stream: StreamName<'_>,
    batch: &Batch,
) -> Result<Vec<u8>, UnreadableChunk> {
    let chunks = batch
        .chunks
        .iter()
        .enumerate()
        .map(|(index, chunk)| read_chunk(index, chunk))
        .collect::<Result<Vec<_>, _>>()?;
    let last_seq = batch.first_seq + batch.records.saturating_sub(1);
    let mut meta = format!(
        r#"{{"first_seq":{},"last_seq":{last_seq},"count":{}"#,
        batch.first_seq, batch.records
    );
    if chunks.iter().any(|chunk| !chunk.parents.is_empty()) {
        meta.push_str(r#","parents":["#);
        let each = chunks
            .iter()
            .flat_map(|chunk| (0..chunk.records).map(move |_| chunk.parents));
        for (i, parents) in each.enumerate() {
            if i > 0 {
                meta.push(',');
            }
            meta.push_str(if parents.is_empty() { "{}" } else { parents });
        }
        meta.push(']');
    }
    meta.push('}');

    let size: usize = chunks.iter().map(|chunk| chunk.bytes.len() + 1).sum();
    let mut bytes = Vec::with_capacity(size + meta.len() + 1024);
    open_envelope(&mut bytes, spec, batch);
    bytes.extend_from_slice(b",\"resource\":");
    push_json(&mut bytes, &stream.resource);
    bytes.extend_from_slice(b",\"name\":");
    push_json(&mut bytes, &stream.name);
    bytes.extend_from_slice(b",\"method\":");
    push_json(&mut bytes, &stream.method);
    bytes.extend_from_slice(b",\"meta\":");
    bytes.extend_from_slice(meta.as_bytes());
    bytes.extend_from_slice(b",\"records\":[");
    for (i, chunk) in chunks.iter().enumerate() {
        if i > 0 {
            bytes.push(b',');
        }
        bytes.extend_from_slice(chunk.bytes);
    }
    bytes.extend_from_slice(b"]}}");
    Ok(bytes)
}

/// The bytes of any other event of a run; `details` are the payload's own fields.
#[must_use]
pub fn run_event(spec: &RunSpec, batch: &Batch, details: &Map<String, Value>) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(1024);
    open_envelope(&mut bytes, spec, batch);
    for (name, value) in details {
        bytes.push(b',');
        push_json(&mut bytes, name);
        bytes.push(b':');
        push_json(&mut bytes, value);
    }
    bytes.extend_from_slice(b"}}");
    bytes
}

/// The bytes of an event that belongs to no run; `chunk` is `<ms of the event> <payload as JSON>`.
///
/// # Errors
/// A chunk that no script wrote.
pub fn environment_event(
    environment: EnvironmentId,
    webhook: WebhookId,
    batch: &Batch,
    chunk: &str,
) -> Result<Vec<u8>, UnreadableChunk> {
    let (at, payload) = chunk.split_once(' ').ok_or(UnreadableChunk(0))?;
    let at = at.parse().map_err(|_| UnreadableChunk(0))?;
    let mut bytes = Vec::with_capacity(payload.len() + 512);
    envelope(
        &mut bytes,
        batch.event,
        &batch.event_type,
        Timestamp(at),
        environment,
        webhook,
    );
    bytes.extend_from_slice(b",\"payload\":");
    bytes.extend_from_slice(payload.as_bytes());
    bytes.push(b'}');
    Ok(bytes)
}

/// The bytes of a [`TEST`] event; its time is that of its id.
pub fn test_event(environment: EnvironmentId, webhook: WebhookId, event: EventId) -> Vec<u8> {
    let at = Timestamp(i64::try_from(event.timestamp_ms()).unwrap_or(i64::MAX));
    let mut bytes = Vec::with_capacity(512);
    envelope(&mut bytes, event, TEST, at, environment, webhook);
    bytes.extend_from_slice(b",\"payload\":{\"message\":");
    push_json(&mut bytes, &TEST_MESSAGE);
    bytes.extend_from_slice(b"}}");
    bytes
}

/// The envelope before its payload.
fn envelope(
    bytes: &mut Vec<u8>,
    event: EventId,
    event_type: &str,
    at: Timestamp,
    environment: EnvironmentId,
    webhook: WebhookId,
) {
    let fields: [(&str, String); 6] = [
        ("{\"id\":", event.to_string()),
        (",\"event\":", event_type.to_owned()),
        (",\"event_type\":", event_type.to_owned()),
        (",\"created_at\":", at.to_string()),
        (",\"environment_id\":", environment.to_string()),
        (",\"webhook_id\":", webhook.to_string()),
    ];
    for (name, value) in &fields {
        bytes.extend_from_slice(name.as_bytes());
        push_json(bytes, value);
    }
}

/// The envelope up to and including the payload's common fields, payload still open.
fn open_envelope(bytes: &mut Vec<u8>, spec: &RunSpec, batch: &Batch) {
    let at = Timestamp(batch.created_ms);
    envelope(
        bytes,
        batch.event,
        &batch.event_type,
        at,
        spec.environment_id,
        spec.webhook_id,
    );
    let payload: [(&str, String); 5] = [
        (",\"payload\":{\"sync_job_run_id\":", spec.id.to_string()),
        (",\"sync_job_id\":", spec.sync_job_id.to_string()),
        (
            ",\"integrated_account_id\":",
            spec.integrated_account_id.to_string(),
        ),
        (",\"tenant_id\":", spec.tenant_id.clone()),
        (",\"integration_name\":", spec.integration_name.clone()),
    ];
    for (name, value) in &payload {
        bytes.extend_from_slice(name.as_bytes());
        push_json(bytes, value);
    }
}

fn push_json(bytes: &mut Vec<u8>, value: &impl serde::Serialize) {
    // Strings and JSON values always serialise, and a Vec takes every byte.
    if serde_json::to_writer(&mut *bytes, value).is_err() {
        bytes.extend_from_slice(b"null");
    }
}

/// Payload of `started`, as its chunk holds it.
#[must_use]
pub fn started_details(spec: &RunSpec, resources: &[String]) -> Map<String, Value> {
    let mut details = Map::new();
    details.insert("trigger".to_owned(), json!(spec.trigger));
    details.insert("args".to_owned(), spec.args.clone());
    details.insert("resources".to_owned(), json!(resources));
    details
}

/// Payload of `rate_limited`, from its chunk: `<resource> <ms since the epoch>`.
#[must_use]
pub fn rate_limited_details(chunk: &str) -> Map<String, Value> {
    let (resource, until) = chunk.rsplit_once(' ').unwrap_or((chunk, "0"));
    let mut details = Map::new();
    details.insert("resource".to_owned(), json!(resource));
    details.insert(
        "retry_at".to_owned(),
        json!(Timestamp(until.parse().unwrap_or(0))),
    );
    details
}

/// Payload of `record_error`, from the error as it is listed.
#[must_use]
pub fn record_error_details(mut error: Map<String, Value>) -> Map<String, Value> {
    let mut details = Map::new();
    for name in ["resource", "name", "method", "parent"] {
        if let Some(value) = error.remove(name) {
            details.insert(name.to_owned(), value);
        }
    }
    details.insert("error".to_owned(), Value::Object(error));
    details
}

/// Payload of `record_error` under `batch`: all errors of one stream, so resource, name and method are those of each.
#[must_use]
pub fn record_errors_details(errors: Vec<Map<String, Value>>) -> Map<String, Value> {
    let mut details = Map::new();
    let mut listed = Vec::with_capacity(errors.len());
    for error in errors {
        let mut one = record_error_details(error);
        for name in ["resource", "name", "method"] {
            if let Some(value) = one.remove(name) {
                details.insert(name.to_owned(), value);
            }
        }
        listed.push(Value::Object(one));
    }
    details.insert("errors".to_owned(), Value::Array(listed));
    details
}

/// Payload of `created`, `updated` and `deleted`: the run as it stood then. What every payload has is left out.
#[must_use]
pub fn run_details(view: &RunView) -> Map<String, Value> {
    let Value::Object(mut details) = json!(view) else {
        return Map::new();
    };
    details.retain(|name, _| !COMMON.contains(&name.as_str()));
    details
}

/// Payload of the terminal event; nothing in it changes once the event is queued.
#[must_use]
pub fn terminal_details(view: &RunView) -> Map<String, Value> {
    let resources: Vec<Value> = view
        .progress
        .iter()
        .map(|of| {
            json!({
                "resource": of.resource,
                "name": of.name,
                "method": of.method,
                "records": of.records,
                "errors": of.errors,
                "records_dead": of.records_dead,
                "last_seq": of.seq,
            })
        })
        .collect();
    let started = view.started_at.unwrap_or(view.created_at).0;
    let mut details = Map::new();
    details.insert("records_synced".to_owned(), json!(view.records_delivered));
    details.insert("records_dead".to_owned(), json!(view.records_dead));
    details.insert("errors".to_owned(), json!(view.errors));
    details.insert(
        "duration_ms".to_owned(),
        json!(view.finished_at.map_or(0, |finished| finished.0 - started)),
    );
    details.insert("resources".to_owned(), Value::Array(resources));
    if view.status != RunStatus::Completed {
        let error = view.error.as_ref().map_or_else(
            || json!({"code": "stopped", "message": "the run was stopped by request", "resource": null}),
            |error| json!(error),
        );
        details.insert("error".to_owned(), error);
    }
    details
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::chunk::{close_chunk, make_chunk, open_chunk, single_records};
    use crate::model::run::{ErrorHandling, Trigger};

    fn spec() -> RunSpec {
        RunSpec {
            id: crate::ids::RunId::from_bits(1),
            environment_id: crate::ids::EnvironmentId::from_bits(2),
            sync_job_id: crate::ids::SyncJobId::from_bits(3),
            integrated_account_id: crate::ids::AccountId::from_bits(4),
            webhook_id: crate::ids::WebhookId::from_bits(5),
            tenant_id: "a \"tenant\"".to_owned(),
            integration_name: "sample".to_owned(),
            integration_hash: String::new(),
            trigger: Trigger::Api,
            trigger_id: None,
            workflow_chain: 0,
            args: json!({}),
            error_handling: ErrorHandling::Ignore,
            ignore_previous_run: false,
            resources: json!([]),
            options: crate::model::sync_job::JobOptions::default(),
            mutex_key: None,
            force: false,
            retry_of: None,
            retry: None,
            event_types: Vec::new(),
            batch_records: 100,
            batch_bytes: 1000,
            linger_ms: 0,
            delivery_concurrency: 1,
            retention_days: 1,
        }
    }

    fn batch(event_type: &str, records: u64, chunks: &[(&str, u32, &str)]) -> Batch {
        let chunks = chunks
            .iter()
            .map(|(parents, count, records)| {
                let mut chunk = Vec::new();
                open_chunk(&mut chunk, parents);
                chunk.extend_from_slice(records.as_bytes());
                close_chunk(&mut chunk, *count);
                chunk
            })
            .collect();
        Batch {
            event: crate::ids::EventId::from_bits(6),
            created_ms: 1_714_564_800_007,
            event_type: event_type.to_owned(),
            first_seq: 7,
            records,
            attempts: 0,
            failing: Duration::ZERO,
            most_bytes: 0,
            chunks,
        }
    }

    #[test]
    fn single_records_keep_their_seq_and_parents() {
        let batch = batch(RECORD, 3, &[(r#"{"p":1}"#, 2, "{},[1]"), ("", 1, "3")]);
        let singles = single_records(&batch, |seq| seq != 7).expect("chunks");
        let found: Vec<_> = singles
            .iter()
            .map(|single| (single.first_seq, single.records, single.chunks[0].clone()))
            .collect();
        assert_eq!(
            found,
            [
                (8, 1, make_chunk(r#"{"p":1}"#, &["[1]"])),
                (9, 1, make_chunk("", &["3"]))
            ]
        );
        assert!(singles.iter().all(|single| single.event != batch.event));
    }

    const NAME: StreamName<'static> = StreamName {
        name: "wms/orders",
        resource: "wms/orders",
        method: "list",
    };
    const HEAD: &str = concat!(
        r#"{"id":"evt_00000000000000000000000006","event":"sync_job_run:record","#,
        r#""event_type":"sync_job_run:record","created_at":"2024-05-01T12:00:00.007Z","#,
        r#""environment_id":"env_00000000000000000000000002","webhook_id":"wh_00000000000000000000000005","#,
        r#""payload":{"sync_job_run_id":"run_00000000000000000000000001","sync_job_id":"job_00000000000000000000000003","#,
        r#""integrated_account_id":"acc_00000000000000000000000004","tenant_id":"a \"tenant\"","#,
        r#""integration_name":"sample","resource":"wms/orders","name":"wms/orders","method":"list","#,
    );

    #[test]
    fn records_are_sent_byte_for_byte_as_the_source_gave_them() {
        let batch = batch(
            RECORD,
            3,
            &[
                ("", 2, r#"{"id":9007199254740993},{ "p" : 1.10 }"#),
                ("", 1, "3"),
            ],
        );
        let bytes = record_event(&spec(), NAME, &batch).expect("readable");
        let expected = format!(
            "{HEAD}{}",
            r#""meta":{"first_seq":7,"last_seq":9,"count":3},"records":[{"id":9007199254740993},{ "p" : 1.10 },3]}}"#
        );
        assert_eq!(String::from_utf8(bytes).expect("text"), expected);
    }

    #[test]
    fn each_child_record_names_the_parent_it_came_from() {
        let batch = batch(
            RECORD,
            3,
            &[
                (r#"{"resources.o.id":1}"#, 2, "1,2"),
                (r#"{"resources.o.id":2}"#, 1, "3"),
            ],
        );
        let bytes = record_event(&spec(), NAME, &batch).expect("readable");
        let value: Value = serde_json::from_slice(&bytes).expect("JSON");
        assert_eq!(
            value["payload"]["meta"]["parents"],
            json!([{"resources.o.id": 1}, {"resources.o.id": 1}, {"resources.o.id": 2}])
        );
    }

    #[test]
    fn other_events_carry_their_own_fields_beside_the_common_ones() {
        let batch = batch(RATE_LIMITED, 0, &[]);
        let bytes = run_event(
            &spec(),
            &batch,
            &rate_limited_details("wms/orders 1714564800007"),
        );
        let value: Value = serde_json::from_slice(&bytes).expect("JSON");
        assert_eq!(value["event"], RATE_LIMITED);
        assert_eq!(value["payload"]["retry_at"], "2024-05-01T12:00:00.007Z");
        assert_eq!(
            value["payload"]["sync_job_run_id"],
            "run_00000000000000000000000001"
        );
    }

    #[test]
    fn a_test_event_has_the_same_bytes_for_the_same_id() {
        let (environment, webhook) = (spec().environment_id, spec().webhook_id);
        let event = EventId::from_bits(1_714_564_800_007 << 80);
        let bytes = test_event(environment, webhook, event);
        assert_eq!(bytes, test_event(environment, webhook, event));
        let value: Value = serde_json::from_slice(&bytes).expect("JSON");
        assert_eq!(
            value,
            json!({
                "id": event, "event": "test", "event_type": "test", "created_at": "2024-05-01T12:00:00.007Z",
                "environment_id": environment, "webhook_id": webhook, "payload": {"message": TEST_MESSAGE},
            })
        );
    }

    #[test]
    fn a_damaged_chunk_is_an_error_and_no_panic() {
        let mut batch = batch(RECORD, 1, &[]);
        batch.chunks.push(b"no newline".to_vec());
        assert_eq!(record_event(&spec(), NAME, &batch), Err(UnreadableChunk(0)));
    }
}
