//! Following a path through a document while it is being lexed.

use super::lexer::Container;
use super::path::{ResponsePath, Segment};

/// Where a value stands in relation to the path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// Off the path.
    Elsewhere,
    /// The path leads through it.
    OnTheWay,
    /// The path ends here.
    Target,
}

/// The open containers that the path leads through.
#[derive(Debug, Default)]
pub(super) struct Tracker {
    path: Vec<Segment>,
    /// From the root; a container off the path, and what it holds, is not in here.
    levels: Vec<Level>,
    /// The last key of the innermost of these, decoded.
    key: String,
    found: bool,
}

#[derive(Debug, Clone, Copy)]
enum Level {
    Object {
        /// The last key is the path's.
        matches: bool,
    },
    Array {
        /// Index of the element to come.
        next: u64,
    },
}

impl Tracker {
    pub(super) fn new(path: Option<&ResponsePath>) -> Self {
        Self {
            path: path
                .map(|path| path.segments().to_vec())
                .unwrap_or_default(),
            ..Self::default()
        }
    }

    /// Whether something stood at the path: records, null, or an empty array under a `*`.
    pub(super) fn found(&self) -> bool {
        self.found
    }

    /// Whether the keys of the innermost of `depth` open containers matter.
    pub(super) fn watches(&self, depth: usize) -> bool {
        self.levels.len() == depth
    }

    pub(super) fn key(&self) -> &str {
        &self.key
    }

    /// A key of a watched object, decoded.
    pub(super) fn set_key(&mut self, key: &str) {
        key.clone_into(&mut self.key);
        let depth = self.levels.len();
        if let (Some(Level::Object { matches }), Some(segment)) = (
            self.levels.last_mut(),
            self.path.get(depth.saturating_sub(1)),
        ) {
            *matches = segment.is_key(key);
        }
    }

    /// A value begins inside `depth` containers.
    pub(super) fn begin(&mut self, depth: usize) -> Place {
        if self.levels.len() != depth {
            return Place::Elsewhere;
        }
        let segment = depth
            .checked_sub(1)
            .and_then(|inside| self.path.get(inside));
        let on_path = match self.levels.last_mut() {
            None => true,
            Some(Level::Object { matches }) => *matches,
            Some(Level::Array { next }) => {
                let index = *next;
                *next += 1;
                segment.is_some_and(|segment| segment.is_element(index))
            }
        };
        match (on_path, depth == self.path.len()) {
            (false, _) => Place::Elsewhere,
            (true, false) => Place::OnTheWay,
            (true, true) => {
                self.found = true;
                Place::Target
            }
        }
    }

    /// The value that began last is a container on the way.
    pub(super) fn enter(&mut self, container: Container) {
        self.levels.push(match container {
            Container::Object => Level::Object { matches: false },
            Container::Array => Level::Array { next: 0 },
        });
    }

    /// The value that began last is a null on the way: below a `*` that means no records.
    pub(super) fn null(&mut self) {
        self.found |= self
            .path
            .iter()
            .take(self.levels.len())
            .any(Segment::is_every_element);
    }

    /// A container was closed; `depth` are still open.
    pub(super) fn close(&mut self, depth: usize) {
        if self.levels.len() > depth {
            let every = self.path.get(depth).is_some_and(Segment::is_every_element);
            self.found |= every && matches!(self.levels.last(), Some(Level::Array { next: 0 }));
            self.levels.truncate(depth);
        }
    }
}
