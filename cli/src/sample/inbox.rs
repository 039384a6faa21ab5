//! What a receiver knows after each event, and every promise it saw broken.
//!
//! Fed one event at a time, in the order of arrival; decides without I/O. What
//! is promised: an event arrives at least once under one id; a run's `started`
//! comes first; `seq` of a stream (one run, one resource) rises without a gap;
//! a record comes after the parent record it was fetched for; one terminal
//! event ends the run and agrees with what arrived.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use serde::Deserialize;
use serde_json::{Value, value::RawValue};

/// Faults kept in words; further ones are only counted.
pub const MAX_FAULTS: usize = 20;
/// Event ids remembered to recognise repetitions; cleared when full, as a real
/// receiver would let old ones expire.
const MAX_SEEN: usize = 100_000;

/// Fields of the payload of every run's event.
const COMMON: [&str; 5] = [
    "sync_job_run_id",
    "sync_job_id",
    "integrated_account_id",
    "tenant_id",
    "integration_name",
];

/// What an event did to the inbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Seen for the first time.
    New,
    /// Came before under the same id; acknowledged and otherwise ignored.
    Duplicate,
    /// Not an event envelope.
    Unreadable,
}

/// Everything received.
#[derive(Debug, Default)]
pub struct Inbox {
    seen: HashSet<String>,
    /// Run id → what came for it.
    pub runs: BTreeMap<String, RunSeen>,
    /// Events whose signatures held.
    pub verified: u64,
    /// Events that came again under the same id.
    pub duplicates: u64,
    /// Deliveries whose signatures did not hold.
    pub rejected: u64,
    /// The first [`MAX_FAULTS`] broken promises, as sentences.
    pub faults: Vec<String>,
    /// All broken promises.
    pub fault_count: u64,
}

/// An event kept to be shown: the first of its type and stream in its run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample {
    /// Type, as in `sync_job_run:record`.
    pub event: String,
    pub stream: Option<String>,
    /// First and last `seq`, of a record event.
    pub seq: Option<(u64, u64)>,
    /// The first record as it came, or else the payload's fields that its kind alone has.
    pub text: String,
}

/// What came for one run.
#[derive(Debug, Default)]
pub struct RunSeen {
    /// One event of each type and stream.
    pub samples: Vec<Sample>,
    /// Events in the order of arrival, by type.
    pub events: Vec<String>,
    /// Stream (a node's name, else its resource) → what came in it.
    pub streams: BTreeMap<String, StreamSeen>,
    /// Events of the type `record_error`.
    pub record_errors: u64,
    /// The payload of the terminal event.
    pub terminal: Option<Value>,
}

/// What came in one stream.
#[derive(Debug, Default)]
pub struct StreamSeen {
    pub last_seq: u64,
    /// The records' bytes in the order of arrival.
    pub records: Vec<String>,
    /// Their `id` fields, as JSON text.
    ids: BTreeSet<String>,
}

#[derive(Deserialize)]
struct Envelope<'a> {
    id: String,
    event: String,
    event_type: String,
    #[serde(borrow)]
    payload: &'a RawValue,
}

/// The fields that order depends on; the rest of a payload is for its reader.
#[derive(Deserialize)]
struct RunPayload<'a> {
    sync_job_run_id: Option<String>,
    resource: Option<String>,
    name: Option<String>,
    #[serde(borrow)]
    records: Option<Vec<&'a RawValue>>,
    meta: Option<Meta>,
}

#[derive(Deserialize)]
struct Meta {
    first_seq: u64,
    last_seq: u64,
    count: u64,
    parents: Option<Vec<BTreeMap<String, Value>>>,
}

#[derive(Deserialize)]
struct Identified<'a> {
    #[serde(borrow)]
    id: &'a RawValue,
}

impl Inbox {
    /// Takes an event whose signatures held; `webhook_id` is the header of that name.
    pub fn receive(&mut self, webhook_id: &str, body: &str) -> Outcome {
        self.verified += 1;
        if self.seen.len() == MAX_SEEN {
            self.seen.clear();
        }
        if !self.seen.insert(webhook_id.to_owned()) {
            self.duplicates += 1;
            return Outcome::Duplicate;
        }
        let Ok(envelope) = serde_json::from_str::<Envelope<'_>>(body) else {
            self.fault(format!("{webhook_id} isn't an event envelope"));
            return Outcome::Unreadable;
        };
        if envelope.id != webhook_id || envelope.event != envelope.event_type {
            self.fault(format!(
                "{webhook_id} names another id or two types in its envelope"
            ));
        }
        let Some(kind) = envelope.event.strip_prefix("sync_job_run:") else {
            return Outcome::New;
        };
        let Ok(RunPayload {
            sync_job_run_id: Some(run),
            resource,
            name,
            records,
            meta,
        }) = serde_json::from_str(envelope.payload.get())
        else {
            self.fault(format!(
                "{webhook_id} is a run's event without a readable payload"
            ));
            return Outcome::Unreadable;
        };
        let mut faults = Vec::new();
        self.runs.entry(run).or_default().receive(
            kind,
            &Event {
                stream: name.or(resource),
                records,
                meta,
                payload: envelope.payload.get(),
            },
            &mut faults,
        );
        for fault in faults {
            self.fault(format!("{webhook_id}: {fault}"));
        }
        Outcome::New
    }

    /// Notes a delivery that can't be trusted.
    pub fn reject(&mut self, reason: &str) {
        self.rejected += 1;
        self.fault(format!("rejected a delivery: {reason}"));
    }

    fn fault(&mut self, sentence: String) {
        self.fault_count += 1;
        if self.faults.len() < MAX_FAULTS {
            self.faults.push(sentence);
        }
    }
}

/// The payload without what all events of a run have in common.
fn own_fields(payload: &str) -> String {
    let mut payload: Value = serde_json::from_str(payload).unwrap_or_default();
    if let Some(fields) = payload.as_object_mut() {
        fields.retain(|name, _| !COMMON.contains(&name.as_str()));
    }
    payload.to_string()
}

struct Event<'a> {
    stream: Option<String>,
    records: Option<Vec<&'a RawValue>>,
    meta: Option<Meta>,
    payload: &'a str,
}

impl RunSeen {
    /// Records of all streams.
    #[must_use]
    pub fn record_count(&self) -> usize {
        self.streams
            .values()
            .map(|stream| stream.records.len())
            .sum()
    }

    fn receive(&mut self, kind: &str, event: &Event<'_>, faults: &mut Vec<String>) {
        // `created` and its kin tell of the object and may come at any time.
        if matches!(kind, "created" | "updated" | "deleted") {
            return;
        }
        if self.terminal.is_some() {
            faults.push(format!("`{kind}` came after the event that ends the run"));
        }
        match (kind, self.events.is_empty()) {
            ("started", false) => faults.push("`started` came late or twice".to_owned()),
            ("started", true) | (_, false) => {}
            (_, true) => faults.push(format!("`{kind}` came before `started`")),
        }
        self.events.push(kind.to_owned());
        self.sample(kind, event);
        match kind {
            "record" => self.records(event, faults),
            "record_error" => self.record_errors += 1,
            "completed" | "failed" | "stopped" => self.end(event.payload, faults),
            _ => {}
        }
    }

    fn sample(&mut self, kind: &str, event: &Event<'_>) {
        let kind = format!("sync_job_run:{kind}");
        if self
            .samples
            .iter()
            .any(|kept| kept.event == kind && kept.stream == event.stream)
        {
            return;
        }
        let first = event.records.iter().flatten().next();
        self.samples.push(Sample {
            event: kind,
            stream: event.stream.clone(),
            seq: event
                .meta
                .as_ref()
                .map(|meta| (meta.first_seq, meta.last_seq)),
            text: first.map_or_else(
                || own_fields(event.payload),
                |record| record.get().to_owned(),
            ),
        });
    }

    fn records(&mut self, event: &Event<'_>, faults: &mut Vec<String>) {
        let (Some(stream), Some(records), Some(meta)) =
            (&event.stream, &event.records, &event.meta)
        else {
            faults.push("a record event lacks resource, records or meta".to_owned());
            return;
        };
        let count = u64::try_from(records.len()).unwrap_or(u64::MAX);
        if meta.count != count || (meta.last_seq + 1).checked_sub(meta.first_seq) != Some(count) {
            faults.push(format!(
                "{stream} has {count} records, count {} and seq {} to {}",
                meta.count, meta.first_seq, meta.last_seq
            ));
        }
        if let Some(parents) = &meta.parents {
            if parents.len() != records.len() {
                faults.push(format!(
                    "{stream} has {count} records and {} parents",
                    parents.len()
                ));
            }
            for (placeholder, value) in parents.iter().flatten() {
                if self.lacks_parent(placeholder, value) {
                    faults.push(format!(
                        "a record of {stream} came before its parent, {placeholder} = {value}"
                    ));
                }
            }
        }
        let seen = self.streams.entry(stream.clone()).or_default();
        if meta.first_seq != seen.last_seq + 1 {
            faults.push(format!(
                "{stream} goes from seq {} to {}",
                seen.last_seq, meta.first_seq
            ));
        }
        seen.last_seq = seen.last_seq.max(meta.last_seq);
        for record in records {
            if let Ok(identified) = serde_json::from_str::<Identified<'_>>(record.get()) {
                seen.ids.insert(identified.id.get().to_owned());
            }
            seen.records.push(record.get().to_owned());
        }
    }

    /// Whether `resources.<stream with dots>.id` names a record that has not come.
    fn lacks_parent(&self, placeholder: &str, value: &Value) -> bool {
        let Some(path) = placeholder
            .strip_prefix("resources.")
            .and_then(|path| path.strip_suffix(".id"))
        else {
            return false;
        };
        let parent = self
            .streams
            .iter()
            .find(|(name, _)| name.replace('/', ".") == path);
        parent.is_none_or(|(_, seen)| !seen.ids.contains(&value.to_string()))
    }

    fn end(&mut self, payload: &str, faults: &mut Vec<String>) {
        let payload: Value = serde_json::from_str(payload).unwrap_or_default();
        for resource in payload["resources"].as_array().into_iter().flatten() {
            let name = resource["name"]
                .as_str()
                .or(resource["resource"].as_str())
                .unwrap_or_default();
            let last_seq = self.streams.get(name).map_or(0, |seen| seen.last_seq);
            if resource["last_seq"].as_u64() != Some(last_seq) {
                faults.push(format!(
                    "{name} ended at seq {last_seq}, the last event says {}",
                    resource["last_seq"]
                ));
            }
        }
        self.terminal = Some(payload);
    }
}

#[cfg(test)]
mod tests;
