//! What is promised of every run, held against what happened: the one check that end-to-end tests, the crash suite and
//! the chaos run share.
//!
//! It reads what a receiver got and what the API says of the run and its dead letters, and finds every fault at once:
//!
//! - an event has one body, however often it is sent; `created` and `started` come first, one terminal event last; after it
//!   come only dead letters that are sent again, and `deleted`;
//! - `seq` of a stream rises without a gap, but where a dead letter holds what is missing;
//! - a child comes after the parent whose values it was made with (`meta.parents`);
//! - every count of the run and of each of its streams is what came: records acknowledged and dead, errors told, the last
//!   `seq`; its terminal event says the same and names every stream;
//! - with [`Ledger::missing`]: what the source served is what was acknowledged or is a dead letter, each once.
//!
//! What a finished run leaves in the store is looked at by [`leftovers`].

mod counts;
mod leftovers;
mod letters;
mod parents;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, value::RawValue};

use self::{counts::Came, parents::Parents};
pub use self::{
    leftovers::{leftovers, leftovers_of},
    letters::dead_letters,
};
use crate::receiver::{Answer, Delivery};

const DELETED: &str = "sync_job_run:deleted";
/// Faults told in words; more are counted.
const SHOWN_FAULTS: usize = 20;

const RECORD: &str = "sync_job_run:record";
const RECORD_ERROR: &str = "sync_job_run:record_error";

/// Placeholder → value, as in `meta.parents`.
pub type ParentValues = BTreeMap<String, Value>;

/// The events of one run.
#[derive(Debug, Default)]
pub struct Ledger {
    /// Acknowledged events in order, as `<name> <id>`; left out are repeats of an id, letters that were sent again, `created`,
    /// `updated` and `deleted`.
    pub events: Vec<String>,
    /// Acknowledged records by stream, in `seq` order, as the bytes that came, be it in a letter that was sent again.
    pub records: BTreeMap<String, Vec<String>>,
    /// For each of them the values that its request was made with, by placeholder; empty for roots.
    pub parents: BTreeMap<String, Vec<ParentValues>>,
    /// Records that are in dead letters.
    pub dead: BTreeMap<String, Vec<String>>,
    pub terminal: Value,
    /// Events that came again after they had been acknowledged.
    pub repeats: usize,
    /// Records that were missing when one with a higher `seq` came.
    pub gaps: usize,
    /// What doesn't hold, as sentences.
    pub faults: Vec<String>,
}

/// What a run is looked at with.
#[derive(Debug, Clone, Copy, Default)]
pub struct Terms<'a> {
    /// Parents of its children may have come with another run: it is a retry.
    pub partial: bool,
    /// The run's dead letters, with their bodies, as the API gives them ([`dead_letters`]). They are those of its end: one
    /// that was sent again since counts as delivered in the run, and as dead in the terminal event.
    pub letters: &'a [Value],
    /// Letters that it had and has no more: each was sent again and acknowledged after the run's end, or deleted, and then
    /// stays dead for the run.
    pub gone: &'a [Value],
    /// Streams whose records are fetched for their children only (`persist` is off).
    pub unstored: &'a [&'a str],
}

#[derive(serde::Deserialize)]
struct Envelope<'a> {
    #[serde(borrow)]
    payload: Payload<'a>,
}

#[derive(serde::Deserialize)]
struct Payload<'a> {
    #[serde(borrow)]
    records: Vec<&'a RawValue>,
}

impl Ledger {
    /// Reads the deliveries of a `run` without dead letters, whole and in order of arrival.
    ///
    /// # Panics
    /// With everything that doesn't hold.
    pub fn check(deliveries: &[Delivery], run: &Value) -> Self {
        Self::of(deliveries, run, Terms::default()).sound()
    }

    /// Itself, if nothing is wrong.
    ///
    /// # Panics
    /// With everything that doesn't hold.
    #[must_use]
    pub fn sound(self) -> Self {
        assert!(self.faults.is_empty(), "{}", self.told());
        self
    }

    /// That everything the source `served`, by stream, was acknowledged or is dead, and nothing else.
    ///
    /// # Panics
    /// With what is missing, or too much.
    pub fn expect_all(&self, served: &BTreeMap<String, Vec<String>>) {
        let missing = self.missing(served);
        assert!(missing.is_empty(), "{}", missing.join("\n"));
    }

    /// The faults, a line each.
    pub fn told(&self) -> String {
        let mut lines: Vec<_> = self.faults.iter().take(SHOWN_FAULTS).cloned().collect();
        if self.faults.len() > SHOWN_FAULTS {
            lines.push(format!("and {} more", self.faults.len() - SHOWN_FAULTS));
        }
        lines.join("\n")
    }

    /// Reads the deliveries of `run`; what doesn't hold is in `faults`.
    pub fn of(deliveries: &[Delivery], run: &Value, terms: Terms<'_>) -> Self {
        let of_run: Vec<_> = deliveries
            .iter()
            .map(|delivery| (delivery, delivery.event()))
            .filter(|(_, event)| event["payload"]["sync_job_run_id"] == run["id"])
            .collect();
        let with_records = of_run
            .iter()
            .filter(|(_, event)| event["payload"]["records"].is_array());
        let streams = with_records.map(|(_, event)| stream_of(&event["payload"]));
        let mut reading = Reading::new(terms, streams.collect());
        for (delivery, event) in &of_run {
            reading.take(delivery, event);
        }
        reading.end(run)
    }

    /// The names of all events but records, in order.
    pub fn milestones(&self) -> Vec<&str> {
        let names = self
            .events
            .iter()
            .map(|event| event.split(' ').next().unwrap_or_default());
        names.filter(|name| *name != RECORD).collect()
    }

    /// The acknowledged records of a stream, sorted.
    pub fn sorted(&self, stream: &str) -> Vec<String> {
        sorted(self.records.get(stream).cloned().unwrap_or_default())
    }

    /// The acknowledged records of a stream by the value of a placeholder, which is a text.
    pub fn by_parent(&self, stream: &str, placeholder: &str) -> BTreeMap<String, Vec<String>> {
        let mut grouped: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let records = self.records.get(stream).into_iter().flatten();
        let parents = self.parents.get(stream).into_iter().flatten();
        for (record, values) in records.zip(parents) {
            let value = values.get(placeholder).and_then(Value::as_str);
            let of_parent = grouped.entry(value.unwrap_or_default().to_owned());
            of_parent.or_default().push(record.clone());
        }
        grouped
    }

    /// Records that the source `served`, by stream, and that neither came nor are dead.
    pub fn lost(&self, served: &BTreeMap<String, Vec<String>>) -> usize {
        let of_stream = |(stream, records): (&String, &Vec<String>)| {
            let left = self.left(stream, records);
            let lost: i64 = left.values().filter(|count| **count > 0).sum();
            usize::try_from(lost).unwrap_or(0)
        };
        served.iter().map(of_stream).sum()
    }

    /// How often each record of a stream was served more often than it came or is dead.
    fn left<'a>(&'a self, stream: &str, served: &'a [String]) -> BTreeMap<&'a String, i64> {
        let mut left = counts(served.iter());
        let got = [&self.records, &self.dead].map(|all| all.get(stream));
        for record in got.into_iter().flatten().flatten() {
            *left.entry(record).or_default() -= 1;
        }
        left
    }

    /// How what the source `served`, by stream, differs from what was acknowledged or is dead; a sentence each.
    pub fn missing(&self, served: &BTreeMap<String, Vec<String>>) -> Vec<String> {
        let mut faults = Vec::new();
        for (stream, records) in served {
            let left = self.left(stream, records);
            let lost = left.values().filter(|count| **count > 0).count();
            let extra = left.values().filter(|count| **count < 0).count();
            let first = left.iter().find(|(_, count)| **count != 0);
            if let Some((record, _)) = first {
                faults.push(format!(
                    "{stream}: {lost} of {} records are lost and {extra} came too often, e.g. {record}",
                    records.len()
                ));
            }
        }
        for stream in self
            .records
            .keys()
            .chain(self.dead.keys())
            .filter(|stream| !served.contains_key(*stream))
        {
            faults.push(format!("{stream} was not asked for"));
        }
        faults
    }
}

fn counts<'a>(records: impl Iterator<Item = &'a String>) -> BTreeMap<&'a String, i64> {
    let mut counts = BTreeMap::new();
    for record in records {
        *counts.entry(record).or_default() += 1;
    }
    counts
}

/// Sorted, to compare with [`Ledger::sorted`].
pub fn sorted(mut records: Vec<String>) -> Vec<String> {
    records.sort();
    records
}

/// A ledger that is being made.
struct Reading<'a> {
    ledger: Ledger,
    partial: bool,
    unstored: &'a [&'a str],
    bodies: BTreeMap<String, Vec<u8>>,
    acknowledged: BTreeSet<String>,
    created: bool,
    deleted: bool,
    parents: Parents,
    /// Ids of the letters that are there, and of those that are gone.
    letters: BTreeSet<String>,
    gone: BTreeSet<String>,
    /// Stream → `seq` → record that is dead.
    dead: BTreeMap<String, BTreeMap<u64, String>>,
    /// Stream → `seq` → record that was acknowledged, with the values it was made with.
    came: BTreeMap<String, BTreeMap<u64, (String, ParentValues)>>,
    /// Stream and `seq` → record in an event that was not acknowledged.
    sent: BTreeMap<(String, u64), String>,
    /// Stream and `seq` of records in letters that were acknowledged after the terminal event → values they were made with.
    redriven: BTreeMap<(String, u64), ParentValues>,
    /// Stream → errors that were told of it.
    errors: BTreeMap<String, u64>,
}

impl<'a> Reading<'a> {
    fn new(terms: Terms<'a>, streams: BTreeSet<String>) -> Self {
        let mut reading = Self {
            ledger: Ledger::default(),
            partial: terms.partial,
            unstored: terms.unstored,
            bodies: BTreeMap::new(),
            acknowledged: BTreeSet::new(),
            created: false,
            deleted: false,
            parents: Parents::new(streams),
            letters: ids(terms.letters),
            gone: ids(terms.gone),
            dead: BTreeMap::new(),
            came: BTreeMap::new(),
            sent: BTreeMap::new(),
            redriven: BTreeMap::new(),
            errors: BTreeMap::new(),
        };
        for letter in terms.letters.iter().chain(terms.gone) {
            let body = &letter["body"];
            let stream = stream_of(&body["payload"]);
            if body["event"] == RECORD_ERROR {
                reading.note_errors(&body["payload"]);
            }
            let seqs = letter["first_seq"].as_u64().unwrap_or(0)..;
            for (seq, record) in
                seqs.zip(body["payload"]["records"].as_array().into_iter().flatten())
            {
                reading.parents.add(&stream, record.clone());
                let of_stream = reading.dead.entry(stream.clone()).or_default();
                of_stream.insert(seq, record.to_string());
            }
        }
        reading
    }

    fn fault(&mut self, fault: String) {
        self.ledger.faults.push(fault);
    }

    fn take(&mut self, delivery: &Delivery, event: &Value) {
        let id = event["id"].as_str().unwrap_or_default().to_owned();
        if delivery.request.header("webhook-id") != Some(id.as_str()) {
            self.fault(format!("{id} has another webhook-id"));
        }
        let body = &delivery.request.body;
        let known = self.bodies.contains_key(&id);
        let first = self
            .bodies
            .entry(id.clone())
            .or_insert_with(|| body.clone());
        if first != body {
            self.fault(format!("a repeat of {id} has other bytes"));
        }
        if self.acknowledged.contains(&id) {
            self.ledger.repeats += 1;
            return;
        }
        let is_letter = self.letters.contains(&id) || self.gone.contains(&id);
        let late = !self.ledger.terminal.is_null();
        let name = event["event"].as_str().unwrap_or_default();
        // One that was refused or given up before may be in the hands of a worker that hung.
        let is_new = delivery.acknowledged() || !known;
        if late && is_new && !is_letter && name != DELETED {
            self.fault(format!("{name} {id} came after the terminal event"));
        }
        let taken = delivery.acknowledged() || is_unwanted(delivery, event);
        if taken {
            self.acknowledged.insert(id.clone());
        }
        if late && is_letter && delivery.acknowledged() {
            self.note_redriven(&id, event, body);
        } else if taken {
            self.note(&id, event, delivery);
        } else {
            self.sent.extend(numbered(event, body));
        }
    }

    /// A letter that was sent again. No order is promised among them.
    fn note_redriven(&mut self, id: &str, event: &Value, body: &[u8]) {
        if self.letters.contains(id) {
            self.fault(format!(
                "the letter {id} was acknowledged, and is still one"
            ));
        }
        let records = numbered(event, body);
        let values = parents_of(&event["payload"], records.len());
        for ((place, text), values) in records.into_iter().zip(values) {
            self.redriven.insert(place.clone(), values);
            self.sent.insert(place, text);
        }
    }

    fn note(&mut self, id: &str, event: &Value, delivery: &Delivery) {
        let name = event["event"].as_str().unwrap_or_default().to_owned();
        let first = self.ledger.events.is_empty();
        match name.strip_prefix("sync_job_run:").unwrap_or_default() {
            "created" => {
                if !first || self.created {
                    self.fault(format!("{name} comes once, before all else"));
                }
                self.created = true;
                return;
            }
            "updated" => return,
            "deleted" => {
                if self.deleted || self.ledger.terminal.is_null() {
                    self.fault(format!("{name} comes once, after the terminal event"));
                }
                self.deleted = true;
                return;
            }
            "started" if !first => self.fault(format!("{name} comes first and once")),
            // The ends are those of runs that were over before they began.
            "started" | "stopped" | "failed" => {}
            _ if first => self.fault(format!("{name} came before started")),
            _ => {}
        }
        match &*name {
            RECORD => self.note_records(&event["payload"], delivery),
            RECORD_ERROR => self.note_errors(&event["payload"]),
            _ => {}
        }
        if ["completed", "failed", "stopped"]
            .iter()
            .any(|end| name == format!("sync_job_run:{end}"))
        {
            self.ledger.terminal = event.clone();
        }
        self.ledger.events.push(format!("{name} {id}"));
    }

    /// One error, or under `batch` several of a stream.
    fn note_errors(&mut self, payload: &Value) {
        let errors = payload["errors"].as_array().map_or(1, Vec::len);
        *self.errors.entry(stream_of(payload)).or_default() += errors as u64;
    }

    fn note_records(&mut self, payload: &Value, delivery: &Delivery) {
        let stream = stream_of(payload);
        let texts = match texts(&delivery.request.body) {
            Ok(texts) => texts,
            Err(error) => {
                return self.fault(format!("an event of {stream} can't be read: {error}"));
            }
        };
        let meta = &payload["meta"];
        let (first, count) = (meta["first_seq"].as_u64().unwrap_or(0), texts.len() as u64);
        if meta["count"] != count || meta["last_seq"] != (first + count).saturating_sub(1) {
            self.fault(format!("{count} records of {stream} came with {meta}"));
        }
        let came = self.came.entry(stream.clone()).or_default();
        let dead = self.dead.get(&stream);
        let is_dead = |seq: &u64| dead.is_some_and(|dead| dead.contains_key(seq));
        let next = came.last_key_value().map_or(1, |(last, _)| last + 1);
        let gap = (next..first).filter(|seq| !is_dead(seq)).count();
        let values = parents_of(payload, texts.len());
        came.extend((first..).zip(texts.into_iter().zip(values.iter().cloned())));
        if first < next {
            self.fault(format!("{stream} goes back from seq {next} to {first}"));
        } else if gap > 0 {
            self.ledger.gaps += gap;
            self.fault(format!(
                "{gap} records of {stream} are missing before seq {first}"
            ));
        }
        for record in payload["records"].as_array().into_iter().flatten() {
            self.parents.add(&stream, record.clone());
        }
        for (placeholder, value) in values.iter().flatten() {
            // A retry's parents came with another run.
            if !self.partial && !self.parents.came(placeholder, value) {
                self.fault(format!(
                    "a record of {stream} came before its parent, whose {placeholder} is {value}"
                ));
            }
        }
    }

    fn end(mut self, run: &Value) -> Ledger {
        let mut counted: BTreeMap<String, Came> = BTreeMap::new();
        for (stream, errors) in std::mem::take(&mut self.errors) {
            counted.entry(stream).or_default().errors = errors;
        }
        let streams: BTreeSet<String> = self.came.keys().chain(self.dead.keys()).cloned().collect();
        for stream in streams {
            let mut came = self.came.remove(&stream).unwrap_or_default();
            let mut dead = self.dead.remove(&stream).unwrap_or_default();
            // What a receiver took out of a batch that it acknowledged counts as dead; as it came, its bytes are known.
            for (seq, text) in &mut dead {
                if let Some(bytes) = came
                    .remove(seq)
                    .map(|(text, _)| text)
                    .or_else(|| self.sent.get(&(stream.clone(), *seq)).cloned())
                {
                    *text = bytes;
                }
            }
            for (seq, text) in std::mem::take(&mut dead) {
                if let Some(values) = self.redriven.remove(&(stream.clone(), seq)) {
                    counted.entry(stream.clone()).or_default().redriven += 1;
                    came.insert(seq, (text, values));
                } else {
                    dead.insert(seq, text);
                }
            }
            let last = came.keys().chain(dead.keys()).max().copied().unwrap_or(0);
            if last != (came.len() + dead.len()) as u64 {
                self.fault(format!(
                    "{stream} ends with seq {last}, and {} records came, {} are dead",
                    came.len(),
                    dead.len()
                ));
            }
            let of_stream = counted.entry(stream.clone()).or_default();
            of_stream.delivered = came.len() as u64;
            of_stream.dead = dead.len() as u64;
            of_stream.last_seq = last;
            let (texts, parents) = came.into_values().unzip();
            self.ledger.records.insert(stream.clone(), texts);
            self.ledger.parents.insert(stream.clone(), parents);
            self.ledger
                .dead
                .insert(stream, dead.into_values().collect());
        }
        for all in [&mut self.ledger.records, &mut self.ledger.dead] {
            all.retain(|_, records| !records.is_empty());
        }
        let faults = &mut self.ledger.faults;
        faults.extend(counts::of_run(run, &counted, self.unstored));
        if self.ledger.terminal.is_null() {
            let events = &self.ledger.events;
            faults.push(format!("no terminal event came, but {events:?}"));
        } else {
            faults.extend(counts::of_terminal(run, &self.ledger.terminal, &counted));
        }
        self.ledger
    }
}

/// Whether it is the answer that stops the run: 400 to `started`. What was fetched by then still comes.
fn is_unwanted(delivery: &Delivery, event: &Value) -> bool {
    event["event"] == "sync_job_run:started" && delivery.answer == Answer::Status(400)
}

/// Ids of letters, which are those of their events.
fn ids(letters: &[Value]) -> BTreeSet<String> {
    let ids = letters.iter().filter_map(|letter| letter["id"].as_str());
    ids.map(str::to_owned).collect()
}

/// The records of an event, if it has any, with stream and `seq`.
fn numbered(event: &Value, body: &[u8]) -> Vec<((String, u64), String)> {
    let stream = stream_of(&event["payload"]);
    let first = event["payload"]["meta"]["first_seq"].as_u64().unwrap_or(0);
    let texts = texts(body).unwrap_or_default();
    let places = (first..).map(|seq| (stream.clone(), seq));
    places.zip(texts).collect()
}

/// The records of an event as they came.
fn texts(body: &[u8]) -> serde_json::Result<Vec<String>> {
    let envelope: Envelope<'_> = serde_json::from_slice(body)?;
    let records = envelope.payload.records.iter();
    Ok(records.map(|record| record.get().to_owned()).collect())
}

/// The values that each of so many records was made with.
fn parents_of(payload: &Value, records: usize) -> Vec<ParentValues> {
    let mut values: Vec<ParentValues> =
        serde_json::from_value(payload["meta"]["parents"].clone()).unwrap_or_default();
    values.resize_with(records, ParentValues::new);
    values
}

/// The stream that a payload is about: the name that a resource has in its job, else the resource.
fn stream_of(payload: &Value) -> String {
    let names = [&payload["name"], &payload["resource"]];
    let name = names.into_iter().find_map(Value::as_str);
    name.unwrap_or_default().to_owned()
}
