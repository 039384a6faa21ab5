//! What the webhook got, read from the recorded deliveries; reading it checks the promises that hold for every run.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use serde_json::{Value, value::RawValue};
use syncline_tests::receiver::Delivery;

#[derive(Debug, Deserialize)]
struct Envelope {
    id: String,
    event: String,
    payload: Payload,
}

#[derive(Debug, Deserialize)]
struct Payload {
    resource: Option<String>,
    #[serde(default)]
    records: Vec<Box<RawValue>>,
    meta: Option<Meta>,
}

#[derive(Debug, Deserialize)]
struct Meta {
    first_seq: u64,
    last_seq: u64,
    count: u64,
    #[serde(default)]
    parents: Vec<BTreeMap<String, Value>>,
}

/// One resource's records, in the order in which they were acknowledged.
#[derive(Debug, Default)]
struct Stream {
    records: Vec<String>,
    /// As long as `records` for a child, empty otherwise.
    parents: Vec<BTreeMap<String, Value>>,
    /// Where each record stands among all events.
    positions: Vec<usize>,
    last_seq: u64,
}

/// The records of a whole run, by resource.
#[derive(Debug, Default)]
pub struct Arrived {
    streams: BTreeMap<String, Stream>,
}

impl Arrived {
    /// Fails when a sequence has a gap, counts disagree, an event is an error, or the run's first and last events
    /// are not what they have to be.
    pub fn read(deliveries: &[Delivery]) -> Result<Self> {
        let mut arrived = Self::default();
        let mut seen = BTreeSet::new();
        let mut names = Vec::new();
        for (position, delivery) in deliveries
            .iter()
            .filter(|delivery| delivery.acknowledged())
            .enumerate()
        {
            let envelope: Envelope = serde_json::from_slice(&delivery.request.body)?;
            // An acknowledgement that was lost on its way makes a second delivery of the same event.
            if !seen.insert(envelope.id.clone()) {
                continue;
            }
            if envelope.event == "sync_job_run:record" {
                arrived.add(position, envelope.payload)?;
            }
            if envelope.event.starts_with("sync_job_run:") {
                names.push(envelope.event);
            }
        }
        let is_about_records = |name: &String| name == "sync_job_run:record";
        names.retain(|name| name != "sync_job_run:created" && name != "sync_job_run:updated");
        let (first, rest) = names.split_first().context("no event came")?;
        let (last, between) = rest.split_last().context("only one event came")?;
        ensure!(
            first == "sync_job_run:started",
            "the first event is {first}"
        );
        ensure!(last == "sync_job_run:completed", "the last event is {last}");
        let other: BTreeSet<_> = between
            .iter()
            .filter(|name| !is_about_records(name))
            .collect();
        ensure!(other.is_empty(), "between them came {other:?}");
        Ok(arrived)
    }

    fn add(&mut self, position: usize, payload: Payload) -> Result<()> {
        let resource = payload
            .resource
            .context("a record event without its resource")?;
        let meta = payload.meta.context("a record event without meta")?;
        let count = payload.records.len() as u64;
        let stream = self.streams.entry(resource.clone()).or_default();
        ensure!(
            meta.first_seq == stream.last_seq + 1
                && meta.last_seq == stream.last_seq + count
                && meta.count == count,
            "{resource}: {count} records with {meta:?} came after seq {}",
            stream.last_seq
        );
        ensure!(
            meta.parents.is_empty() || meta.parents.len() == payload.records.len(),
            "{resource}: {count} records with {} parents",
            meta.parents.len()
        );
        stream.last_seq = meta.last_seq;
        stream
            .records
            .extend(payload.records.iter().map(|record| record.get().to_owned()));
        stream
            .positions
            .extend(payload.records.iter().map(|_| position));
        stream.parents.extend(meta.parents);
        Ok(())
    }

    /// A resource's records as they came; none when no event named it.
    pub fn records(&self, resource: &str) -> &[String] {
        self.streams
            .get(resource)
            .map_or(&[], |stream| &stream.records)
    }

    /// A child resource's records by the value of that placeholder.
    pub fn by_parent(&self, resource: &str, placeholder: &str) -> BTreeMap<String, Vec<String>> {
        let mut grouped: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let stream = &self.streams[resource];
        assert_eq!(
            stream.parents.len(),
            stream.records.len(),
            "every record of {resource} has its parent's values"
        );
        for (record, parent) in stream.records.iter().zip(&stream.parents) {
            let key = parent[placeholder].as_str().unwrap_or_default();
            grouped
                .entry(key.to_owned())
                .or_default()
                .push(record.clone());
        }
        grouped
    }

    /// No child record may have come before the record of its parent, whose field `field` is the placeholder's value.
    pub fn assert_parents_first(&self, child: &str, placeholder: &str, parent: &str, field: &str) {
        let parents = &self.streams[parent];
        let mut position_of = HashMap::new();
        for (record, position) in parents.records.iter().zip(&parents.positions) {
            let record: Value =
                serde_json::from_str(record).expect("it was part of a JSON document");
            position_of.insert(
                record[field].as_str().unwrap_or_default().to_owned(),
                *position,
            );
        }
        let children = &self.streams[child];
        for (values, position) in children.parents.iter().zip(&children.positions) {
            let key = values[placeholder].as_str().unwrap_or_default();
            assert!(
                position_of[key] < *position,
                "a record of {child} came before the record of its parent {key}"
            );
        }
    }
}
