//! One method of one resource.

mod needs;
mod read;

use std::{collections::BTreeSet, time::Duration};

use url::Url;

use super::{
    authorization::Authorization,
    body::BodyFormat,
    defaults::Header,
    pagination::{Cursor, PageSeen, Pagination, PaginationError},
    placeholders::{Compiled, Text, first_segment, split_root},
    query::ArrayFormat,
    records::ResponsePath,
    unified::RecordMapping,
};
pub(super) use read::Purpose;

/// One method of one resource, compiled with every default of the document merged in.
#[derive(Debug, Clone)]
pub struct Method {
    pub(super) name: String,
    pub(super) verb: http::Method,
    pub(super) base_url: Text,
    pub(super) path: Text,
    pub(super) headers: Vec<Header>,
    pub(super) query: Vec<(String, Compiled)>,
    pub(super) array_format: ArrayFormat,
    pub(super) body: Option<Compiled>,
    pub(super) body_format: BodyFormat,
    pub(super) timeout: Duration,
    pub(super) authorization: Authorization,
    pub(super) pagination: Option<Pagination>,
    allowed_origins: Vec<String>,
    response_path: Option<ResponsePath>,
    /// Entries of the job's query and body that placeholders take, so that they aren't passed on too.
    pub(super) consumed_query: Consumed,
    pub(super) consumed_body: Consumed,
    /// Placeholders of `query` whose parameter is left out when the job gives them no value.
    pub(super) optional_query: Vec<String>,
}

/// Top-level entries that placeholders take.
#[derive(Debug, Clone, Default)]
pub(super) struct Consumed {
    pub all: bool,
    names: BTreeSet<String>,
}

impl Consumed {
    pub fn holds(&self, name: &str) -> bool {
        self.all || self.names.contains(name)
    }

    fn of<'p>(root: &str, paths: impl Iterator<Item = &'p String>) -> Self {
        let mut consumed = Self::default();
        for (_, rest) in paths
            .map(|path| split_root(path))
            .filter(|(start, _)| *start == root)
        {
            if rest.is_empty() {
                consumed.all = true;
            } else {
                consumed.names.insert(first_segment(rest));
            }
        }
        consumed
    }
}

impl Method {
    /// Works out what the placeholders take.
    fn settle(&mut self) {
        let texts = [&self.base_url, &self.path]
            .into_iter()
            .chain(self.authorization.texts());
        let required = texts
            .map(|text| &text.compiled)
            .chain(self.headers.iter().map(|header| &header.value))
            .chain(&self.body);
        let optional = self.query.iter().map(|(_, value)| value);
        let all: Vec<String> = required
            .chain(optional)
            .flat_map(|value| value.paths.clone())
            .collect();
        self.consumed_query = Consumed::of("query", all.iter());
        self.consumed_body = Consumed::of("body", all.iter());
        self.optional_query = self
            .query
            .iter()
            .flat_map(|(_, value)| &value.paths)
            .filter(|path| split_root(path).0 == "query")
            .cloned()
            .collect();
    }

    /// The name of the method in its resource: `list`, `get`, ….
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether requests have a body.
    #[must_use]
    pub fn sends_body(&self) -> bool {
        self.verb != http::Method::GET
    }

    /// The verb of its requests.
    #[must_use]
    pub fn verb(&self) -> &str {
        self.verb.as_str()
    }

    /// The path of its requests, before placeholders are filled.
    #[must_use]
    pub fn path_text(&self) -> &str {
        &self.path.source
    }

    /// Whether a value for `{{id}}` goes anywhere.
    #[must_use]
    pub fn uses_id(&self) -> bool {
        self.placeholders().any(|path| path == "id")
    }

    /// Whether an entry of the job's `path` goes anywhere.
    #[must_use]
    pub fn uses_path(&self, name: &str) -> bool {
        self.placeholders().any(|path| {
            let (root, rest) = split_root(path);
            root == "path" && (rest.is_empty() || first_segment(rest) == name)
        })
    }

    /// The placeholders of everything that makes a request.
    fn placeholders(&self) -> impl Iterator<Item = &String> {
        let texts = [&self.base_url, &self.path];
        texts
            .into_iter()
            .flat_map(|text| &text.compiled.paths)
            .chain(self.headers.iter().flat_map(|header| &header.value.paths))
            .chain(self.query.iter().flat_map(|(_, value)| &value.paths))
            .chain(self.body.iter().flat_map(|body| &body.paths))
    }

    /// Whether an entry of the job's `body` goes anywhere.
    #[must_use]
    pub fn uses_body(&self) -> bool {
        self.sends_body() || self.consumed_body.all || !self.consumed_body.names.is_empty()
    }

    /// What is done to its records.
    #[must_use]
    pub fn record_mapping(&self) -> RecordMapping {
        RecordMapping::None
    }

    /// Whether pages are followed.
    #[must_use]
    pub fn is_paged(&self) -> bool {
        self.pagination.is_some()
    }

    /// The cursor of the first page.
    #[must_use]
    pub fn first_cursor(&self) -> Cursor {
        Cursor::first()
    }

    /// The cursor of the page after `seen`; `None` when that was the last page.
    ///
    /// # Errors
    /// A loop, a foreign origin, an unreadable cursor, too many pages.
    pub fn next(
        &self,
        cursor: &Cursor,
        seen: &PageSeen<'_>,
    ) -> Result<Option<Cursor>, PaginationError> {
        let Some(pagination) = &self.pagination else {
            return Ok(None);
        };
        let may_follow = |url: &Url| {
            // From an allowed origin a link may lead back to that of `base_url`, which only `request` knows:
            // it checks every link again.
            url.origin() == seen.url.origin()
                || self.is_allowed_origin(url)
                || self.is_allowed_origin(seen.url)
        };
        let stripped = |link: &mut Url| self.strip_secrets(link);
        pagination.next(cursor, seen, may_follow, stripped)
    }

    /// Path of the records in a body; `None`: the root array, or the root object's only array.
    #[must_use]
    pub fn response_path(&self) -> Option<&ResponsePath> {
        self.response_path.as_ref()
    }

    pub(super) fn is_allowed_origin(&self, url: &Url) -> bool {
        self.allowed_origins
            .contains(&url.origin().ascii_serialization())
    }

    /// Whether the query parameter carries a credential.
    pub(super) fn is_secret_parameter(&self, name: &str) -> bool {
        self.authorization.query_key() == Some(name)
            || self
                .query
                .iter()
                .any(|(key, value)| key == name && value.is_secret())
    }
}
