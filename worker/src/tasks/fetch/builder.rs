//! Puts records together into chunks and a part, as they come out of the splitter.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use serde_json::Value;
use shared::{
    expr::jsonata::Expression,
    fault::kind_of,
    model::chunk::{close_chunk, open_chunk},
    plan::{Carried, MAX_LOOP_BYTES, MAX_RECURSION, Node, Recursion},
    queue::task::{FetchBody, TaskFault},
    store::fetches::{Child, Chunk},
};

use super::{Fetch, reader::MAX_RECORD_BYTES};

/// What a child costs in a commit beside its body. It also bounds the children of one part, since Redis takes about
/// a million arguments a call.
const CHILD_BYTES: usize = 256;
/// What a chunk costs in a commit beside its bytes: one of a few bytes takes Redis as long to append as one of this size.
const CHUNK_BYTES: usize = 512;

/// What a node's records turn into.
pub(super) struct PartBuilder {
    fetch: Arc<Fetch>,
    max_records: u32,
    max_bytes: usize,
    /// Whether record events are made; else records are only counted.
    stored: bool,
    /// Parent values as compact JSON; empty for a root.
    parents: String,
    /// What children get beside what they need of the record.
    inherited: BTreeMap<String, Value>,
    /// What `recurse` is decided with; `None` for nodes without.
    recursing: Option<Recursing>,
    /// Whether records are looked into; else they only pass through.
    reads: bool,
    /// Whether each record has children.
    is_parent: bool,
    chunk: Vec<u8>,
    chunk_records: u32,
    chunks: Vec<Chunk>,
    children: Vec<Child>,
    records: u64,
    bytes: usize,
}

/// What the placeholders of `recurse.if` see.
struct Recursing {
    args: Value,
    exact: BTreeMap<String, Value>,
}

/// Where a mapped record keeps the source's.
const REMOTE_DATA: &str = "remote_data";
/// Characters of an error about one record.
const MAX_MESSAGE: usize = 1_000;

/// Bytes of JSON that one value of a parent may have; each of its children carries it.
pub(super) const MAX_CARRIED_BYTES: usize = 16 * 1024;

/// Whether children can be fetched with the value.
pub(super) fn is_usable(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::String(text) => !text.is_empty() && text.len() <= MAX_CARRIED_BYTES,
        Value::Bool(_) | Value::Number(_) => true,
        Value::Array(_) | Value::Object(_) => value.to_string().len() <= MAX_CARRIED_BYTES,
    }
}

/// A finished part.
pub(super) struct Built {
    pub chunks: Vec<Chunk>,
    pub children: Vec<Child>,
    pub records: u64,
}

impl PartBuilder {
    pub fn new(fetch: &Arc<Fetch>) -> Self {
        let spec = &fetch.run.spec;
        let node = fetch.node();
        let parents = &fetch.body.parents;
        let mut inherited = parents.clone();
        let recursing = node.recurse.as_ref().map(|recursion| {
            // They are of the record one level up, not of this page's.
            for carried in &recursion.carried {
                inherited.remove(&carried.placeholder);
            }
            Recursing {
                args: fetch.run.args(),
                exact: fetch.exact(),
            }
        });
        Self {
            max_records: spec.batch_records.max(1),
            max_bytes: spec.batch_bytes as usize,
            stored: node.persist && spec.subscribes(shared::model::event::RECORD),
            parents: if parents.is_empty() {
                String::new()
            } else {
                serde_json::to_string(parents).unwrap_or_default()
            },
            inherited,
            recursing,
            reads: node.computes()
                || node.recurse.is_some()
                || !node.carried.is_empty()
                || loops(fetch),
            is_parent: !node.children.is_empty(),
            fetch: fetch.clone(),
            chunk: Vec::new(),
            chunk_records: 0,
            chunks: Vec::new(),
            children: Vec::new(),
            records: 0,
            bytes: 0,
        }
    }

    /// Bytes collected so far.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    pub fn push(&mut self, record: &[u8]) {
        if !self.reads {
            self.keep(record);
            if self.is_parent {
                let fetch = self.fetch.clone();
                self.push_children(&fetch, fetch.node(), &Value::Null);
            }
            return;
        }
        let fetch = self.fetch.clone();
        let node = fetch.node();
        // It is valid JSON; only nested too deeply it can't be read here.
        let value = match serde_json::from_slice::<Value>(record) {
            Ok(value) => value,
            Err(_) if !node.computes() => Value::Null,
            Err(error) => return self.fail("record_unreadable", &Value::Null, &error.to_string()),
        };
        match node.filter.as_ref().map(|filter| filter.is_true(&value)) {
            None | Some(Ok(true)) => {}
            Some(Ok(false)) => return,
            Some(Err(error)) => return self.fail("filter_failed", &value, &error.to_string()),
        }
        match &node.map {
            None => self.keep(record),
            Some(map) => match self.mapped(map, &value, record) {
                Ok(mapped) if mapped.len() > MAX_RECORD_BYTES => {
                    let message = format!(
                        "`map` gives {} bytes; a record has at most {MAX_RECORD_BYTES}",
                        mapped.len()
                    );
                    return self.fail("map_failed", &value, &message);
                }
                Ok(mapped) => self.keep(&mapped),
                Err(message) => return self.fail("map_failed", &value, &message),
            },
        }
        if self.is_parent {
            self.push_children(&fetch, node, &value);
        }
        if let Some(recursion) = &node.recurse {
            self.recurse(&fetch, recursion, &value);
        }
    }

    /// Takes a record, as the source gave it or mapped, into the part.
    fn keep(&mut self, record: &[u8]) {
        self.records += 1;
        self.bytes += record.len();
        if !self.stored {
            return;
        }
        if self.chunk_records == self.max_records
            || (self.chunk_records > 0 && self.chunk.len() + record.len() > self.max_bytes)
        {
            self.close_chunk();
        }
        if self.chunk_records == 0 {
            open_chunk(&mut self.chunk, &self.parents);
        } else {
            self.chunk.push(b',');
        }
        self.chunk.extend_from_slice(record);
        self.chunk_records += 1;
    }

    /// What is delivered in place of the record, with the source's bytes in it if the job wants them.
    fn mapped(&self, map: &Expression, value: &Value, record: &[u8]) -> Result<Vec<u8>, String> {
        let mut mapped = map
            .evaluate(value)
            .map_err(|error| error.to_string())?
            .ok_or("`map` gives nothing; to leave a record out, use `filter`")?;
        if !self.fetch.run.spec.options.include_remote_data {
            return serde_json::to_vec(&mapped).map_err(|error| error.to_string());
        }
        let Some(members) = mapped.as_object_mut() else {
            return Err(format!(
                "with `include_remote_data`, `map` must give an object, and gives {}",
                kind_of(&mapped)
            ));
        };
        members.shift_remove(REMOTE_DATA);
        let separator = if members.is_empty() { "" } else { "," };
        let mut bytes = serde_json::to_vec(&mapped).map_err(|error| error.to_string())?;
        bytes.pop();
        bytes.extend_from_slice(format!("{separator}\"{REMOTE_DATA}\":").as_bytes());
        bytes.extend_from_slice(record);
        bytes.push(b'}');
        Ok(bytes)
    }

    /// Makes a task that only tells that something went wrong with a record, so that it is told once, whatever
    /// becomes of this part.
    fn fail(&mut self, code: &str, record: &Value, message: &str) {
        let which = match record.get("id") {
            Some(id @ (Value::String(_) | Value::Number(_))) => format!("the record with id {id}"),
            _ => "a record".to_owned(),
        };
        let message: String = format!("{which}: {message}")
            .chars()
            .take(MAX_MESSAGE)
            .collect();
        let body = FetchBody {
            parents: self.fetch.body.parents.clone(),
            fault: Some(TaskFault {
                code: code.to_owned(),
                message,
            }),
            ..FetchBody::default()
        };
        self.add(self.fetch.node, body.to_json());
    }

    fn push_children(&mut self, fetch: &Fetch, node: &Node, record: &Value) {
        let parents = carry(&self.inherited, &node.carried, record);
        let mut common: Option<String> = None;
        for kid in node.children.iter().copied() {
            let over = fetch.run.plan.nodes[kid].loop_on.as_ref();
            let body = match over.filter(|over| !over.from_parent.is_empty()) {
                Some(over) => looping_body(parents.clone(), &over.from_parent, record).to_json(),
                None => common
                    .get_or_insert_with(|| {
                        FetchBody {
                            parents: parents.clone(),
                            ..FetchBody::default()
                        }
                        .to_json()
                    })
                    .clone(),
            };
            self.add(kid, body);
        }
    }

    /// Another call of the node itself, if the record asks for one.
    fn recurse(&mut self, fetch: &Fetch, recursion: &Recursion, record: &Value) {
        let Some(recursing) = &self.recursing else {
            return;
        };
        let scope = fetch.scope(&recursing.args, &recursing.exact);
        match recursion.holds(record, &scope) {
            Ok(true) => {}
            Ok(false) => return,
            Err(error) => return self.fail("recurse_failed", record, &error.to_string()),
        }
        let depth = fetch.body.depth + 1;
        let fault = (depth > MAX_RECURSION).then(|| TaskFault {
            code: "recursion_too_deep".to_owned(),
            message: format!(
                "`recurse` went {MAX_RECURSION} levels deep and would go on; see whether the records lead back to themselves"
            ),
        });
        let body = FetchBody {
            parents: carry(&self.inherited, &recursion.carried, record),
            looped: fetch.body.looped,
            depth,
            fault,
            ..FetchBody::default()
        };
        self.add(fetch.node, body.to_json());
    }

    fn add(&mut self, node: usize, body: String) {
        self.bytes += body.len() + CHILD_BYTES;
        self.children.push(Child {
            node,
            position: self.records,
            body,
        });
    }

    fn close_chunk(&mut self) {
        if self.chunk_records == 0 {
            return;
        }
        let mut bytes = std::mem::take(&mut self.chunk);
        close_chunk(&mut bytes, self.chunk_records);
        self.chunks.push(Chunk {
            records: self.chunk_records,
            bytes: Bytes::from(bytes),
        });
        self.chunk_records = 0;
        self.bytes += CHUNK_BYTES;
    }

    /// What was collected since the last call.
    pub fn take(&mut self) -> Built {
        self.close_chunk();
        self.bytes = 0;
        Built {
            chunks: std::mem::take(&mut self.chunks),
            children: std::mem::take(&mut self.children),
            records: std::mem::take(&mut self.records),
        }
    }
}

/// Whether a child's loop takes something from the records.
fn loops(fetch: &Fetch) -> bool {
    let kids = fetch.node().children.iter();
    kids.filter_map(|kid| fetch.run.plan.nodes[*kid].loop_on.as_ref())
        .any(|over| !over.from_parent.is_empty())
}

/// Values of a record beside inherited ones. One that is missing, null, empty or too large is left out: the child
/// then fails with its name.
fn carry(
    inherited: &BTreeMap<String, Value>,
    carried: &[Carried],
    record: &Value,
) -> BTreeMap<String, Value> {
    let mut parents = inherited.clone();
    for carried in carried {
        if let Some(value) = carried.path.get(record).filter(|value| is_usable(value)) {
            parents.insert(carried.placeholder.clone(), value.clone());
        }
    }
    parents
}

/// A child that will loop over something of the record.
fn looping_body(
    mut parents: BTreeMap<String, Value>,
    from_parent: &[Carried],
    record: &Value,
) -> FetchBody {
    let mut fault = None;
    for carried in from_parent {
        let Some(value) = carried.path.get(record).filter(|value| !value.is_null()) else {
            continue;
        };
        let bytes = value.to_string().len();
        if bytes > MAX_LOOP_BYTES {
            fault = Some(TaskFault {
                code: "loop_too_long".to_owned(),
                message: format!(
                    "`{{{{{}}}}}` has {bytes} bytes of JSON; a loop takes at most {MAX_LOOP_BYTES}",
                    carried.placeholder
                ),
            });
        } else {
            parents.insert(carried.placeholder.clone(), value.clone());
        }
    }
    FetchBody {
        parents,
        fault,
        ..FetchBody::default()
    }
}
