//! What the sample source served: the other side of the final comparison.

use std::collections::{BTreeMap, VecDeque};

use http::StatusCode;

/// Requests remembered; older ones are forgotten, so that a source that runs for days stays small.
const MAX_REQUESTS: usize = 10_000;

/// One request that was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Served {
    /// Path and query as they came.
    pub target: String,
    pub status: StatusCode,
}

/// Everything served since the ledger was last taken.
#[derive(Debug, Clone, Default)]
pub struct Ledger {
    /// Resource → record id → the exact bytes served. A record served twice counts once.
    pub records: BTreeMap<&'static str, BTreeMap<u64, String>>,
    /// The last requests, oldest first.
    pub requests: VecDeque<Served>,
}

impl Ledger {
    pub(super) fn record(&mut self, resource: &'static str, id: u64, text: String) {
        self.records.entry(resource).or_default().insert(id, text);
    }

    pub(super) fn request(&mut self, target: String, status: StatusCode) {
        if self.requests.len() == MAX_REQUESTS {
            self.requests.pop_front();
        }
        self.requests.push_back(Served { target, status });
    }

    /// The texts of all records of `resource`, sorted.
    #[must_use]
    pub fn sorted(&self, resource: &str) -> Vec<&str> {
        let mut texts: Vec<_> = self
            .records
            .get(resource)
            .into_iter()
            .flatten()
            .map(|(_, text)| text.as_str())
            .collect();
        texts.sort_unstable();
        texts
    }

    /// Records of all resources.
    #[must_use]
    pub fn record_count(&self) -> usize {
        self.records.values().map(BTreeMap::len).sum()
    }

    /// The statuses that requests whose path is `path` got, in order.
    #[must_use]
    pub fn statuses(&self, path: &str) -> Vec<u16> {
        self.requests
            .iter()
            .filter(|served| served.target.split('?').next() == Some(path))
            .map(|served| served.status.as_u16())
            .collect()
    }

    /// Query strings of the requests whose path is `path`, in order.
    #[must_use]
    pub fn queries(&self, path: &str) -> Vec<&str> {
        self.requests
            .iter()
            .filter_map(|served| served.target.split_once('?'))
            .filter(|(asked, _)| *asked == path)
            .map(|(_, query)| query)
            .collect()
    }
}
