//! Puts records together into chunks and a part, as they come out of the splitter.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde_json::Value;
use shared::{
    model::event::{close_chunk, open_chunk},
    plan::Carried,
    queue::task::FetchBody,
    store::fetches::{Child, Chunk},
};

/// What a child costs in a commit beside its body. It also bounds the children of one part, since Redis takes about
/// a million arguments a call.
const CHILD_BYTES: usize = 256;
/// What a chunk costs in a commit beside its bytes: one of a few bytes takes Redis as long to append as one of this size.
const CHUNK_BYTES: usize = 512;

/// What a node's records turn into.
pub(super) struct PartBuilder {
    max_records: u32,
    max_bytes: usize,
    /// Whether record events are made; else records are only counted.
    stored: bool,
    /// Parent values as compact JSON; empty for a root.
    parents: String,
    inherited: BTreeMap<String, Value>,
    carried: Vec<Carried>,
    kids: Vec<usize>,
    chunk: Vec<u8>,
    chunk_records: u32,
    chunks: Vec<Chunk>,
    children: Vec<Child>,
    records: u64,
    bytes: usize,
}

/// Bytes of JSON that one value of a parent may have; each of its children carries it.
const MAX_CARRIED_BYTES: usize = 16 * 1024;

fn is_usable(value: &Value) -> bool {
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
    pub fn new(fetch: &super::Fetch) -> Self {
        let spec = &fetch.run.spec;
        let node = fetch.node();
        let parents = &fetch.body.parents;
        Self {
            max_records: spec.batch_records.max(1),
            max_bytes: spec.batch_bytes as usize,
            stored: node.persist && spec.subscribes(shared::model::event::RECORD),
            parents: if parents.is_empty() {
                String::new()
            } else {
                serde_json::to_string(parents).unwrap_or_default()
            },
            inherited: parents.clone(),
            carried: node.carried.clone(),
            kids: node.children.clone(),
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
        self.records += 1;
        self.bytes += record.len();
        if self.stored {
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
        if !self.kids.is_empty() {
            self.push_children(record);
        }
    }

    fn push_children(&mut self, record: &[u8]) {
        let mut parents = self.inherited.clone();
        if !self.carried.is_empty()
            && let Ok(value) = serde_json::from_slice::<Value>(record)
        {
            for carried in &self.carried {
                // A value that is missing, null, empty or too large is left out: the child then fails with its name.
                if let Some(value) = carried.path.get(&value).filter(|value| is_usable(value)) {
                    parents.insert(carried.placeholder.clone(), value.clone());
                }
            }
        }
        let body = FetchBody {
            parents,
            ..FetchBody::default()
        }
        .to_json();
        self.bytes += (body.len() + CHILD_BYTES) * self.kids.len();
        for kid in &self.kids {
            self.children.push(Child {
                node: *kid,
                position: self.records,
                body: body.clone(),
            });
        }
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
