//! One method of one resource.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use serde_json::Value;
use url::Url;

use super::{
    authorization::Authorization,
    body::{BODY_FORMATS, BodyFormat},
    defaults::{Defaults, Header, merge_query},
    pagination::{Cursor, PageSeen, Pagination, PaginationError},
    placeholders::{Compiled, Known, Text, first_segment, split_root},
    query::ArrayFormat,
    records::ResponsePath,
    request::has_bad_segment,
    unified::RecordMapping,
    words::word,
};
use crate::{
    expr::template::Scope,
    fault::{Faults, Fields},
};

/// The whole exchange of one request, unless the document says otherwise.
const DEFAULT_TIMEOUT_MS: u64 = 30_000;

/// What a document may set `timeout_ms` to.
const TIMEOUTS_MS: std::ops::RangeInclusive<u64> = 100..=300_000;

/// The method whose pages are followed.
const LIST: &str = "list";

/// The verbs, by the word that stands for each.
const VERBS: &[(&str, Verb)] = &[
    ("get", || http::Method::GET),
    ("post", || http::Method::POST),
    ("put", || http::Method::PUT),
    ("patch", || http::Method::PATCH),
    ("delete", || http::Method::DELETE),
    ("GET", || http::Method::GET),
    ("POST", || http::Method::POST),
    ("PUT", || http::Method::PUT),
    ("PATCH", || http::Method::PATCH),
    ("DELETE", || http::Method::DELETE),
];

type Verb = fn() -> http::Method;

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

/// What a method is read for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// A method of a resource.
    Resource,
    /// A step of an action: no records, no pages.
    Step,
}

impl Method {
    /// Reads a method over the document's defaults.
    pub(super) fn read(
        name: &str,
        value: &Value,
        pointer: &str,
        purpose: Purpose,
        defaults: &Defaults,
        known: Known<'_>,
        faults: &mut Faults,
    ) -> Option<Self> {
        let mut fields = Fields::new(value, pointer, faults)?;
        let path = read_path(&mut fields, known, faults);
        let verb = fields
            .choice("method", VERBS, faults)
            .map_or(http::Method::GET, |verb| verb());
        let timeout = fields
            .integer("timeout_ms", TIMEOUTS_MS, faults)
            .unwrap_or(DEFAULT_TIMEOUT_MS);
        let mut merged = defaults.overridden(&mut fields, known, faults);
        if fields.boolean("no_auth", faults) == Some(true) {
            if fields.value("authorization").is_some() {
                faults.push(
                    fields.pointer("no_auth"),
                    "contradicts `authorization`; leave one of them out",
                );
            }
            merged.authorization = Authorization::None;
        }
        let body = read_body(&mut fields, &verb, known, faults);
        let body_format = fields
            .choice("body_format", BODY_FORMATS, faults)
            .unwrap_or_default();
        fields.string("description", faults);
        word(
            &mut fields,
            "response_format",
            &[("json", ())],
            &["jsonl", "csv"],
            faults,
        );
        let mut response_path = None;
        let mut pagination = None;
        if purpose == Purpose::Resource {
            response_path = read_response_path(&mut fields, faults);
            pagination = read_pagination(name, &verb, &merged, &mut fields, faults);
        }
        for later in [
            "error_expression",
            "error_rules",
            "query_schema",
            "graphql",
            "before",
            "after",
        ] {
            fields.not_supported_yet(later, faults);
        }
        fields.finish(faults);
        let mut method = Self {
            name: name.to_owned(),
            verb,
            base_url: merged.base_url?,
            path: path?,
            headers: merged.headers,
            query: merged.query,
            array_format: merged.array_format,
            body,
            body_format,
            timeout: Duration::from_millis(timeout),
            authorization: merged.authorization,
            pagination,
            allowed_origins: merged.allowed_origins,
            response_path,
            consumed_query: Consumed::default(),
            consumed_body: Consumed::default(),
            optional_query: Vec::new(),
        };
        method.check_links(pointer, faults);
        method.settle();
        if purpose == Purpose::Step {
            // No job asks for anything here.
            method.consumed_query.all = true;
            method.consumed_body.all = true;
        }
        Some(method)
    }

    /// This method with further parameters, as a unified name has them.
    pub(super) fn with_query(
        &self,
        query: &serde_json::Map<String, Value>,
        pointer: &str,
        known: Known<'_>,
        faults: &mut Faults,
    ) -> Self {
        let mut method = self.clone();
        merge_query(&mut method.query, query, pointer, known, faults);
        method.settle();
        method
    }

    /// Links are stored, so none may hold a credential that can't be taken out of it.
    fn check_links(&self, pointer: &str, faults: &mut Faults) {
        let follows_links = self
            .pagination
            .as_ref()
            .is_some_and(Pagination::follows_links);
        if follows_links && (self.path.compiled.is_secret() || self.base_url.compiled.is_secret()) {
            faults.push(
                pointer,
                "follows links, but has a credential in its path or `base_url`: the next link, which is stored as it \
                 is, would hold it; use another `pagination` or put the credential into a header",
            );
        }
    }

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

    /// Whether a value for `{{id}}` goes anywhere.
    #[must_use]
    pub fn uses_id(&self) -> bool {
        let texts = [&self.base_url, &self.path];
        texts
            .iter()
            .flat_map(|text| &text.compiled.paths)
            .chain(self.headers.iter().flat_map(|header| &header.value.paths))
            .chain(self.query.iter().flat_map(|(_, value)| &value.paths))
            .chain(self.body.iter().flat_map(|body| &body.paths))
            .any(|path| path == "id")
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

    /// Placeholders of path, base URL, headers and body that a sync job's resource leaves without value,
    /// given what it has for `query` (its text, before placeholders are filled), `id` and `body`.
    #[must_use]
    pub fn missing(&self, query: &Value, has_id: bool, body: Option<&Value>) -> Vec<String> {
        let mut missing: Vec<String> = Vec::new();
        let texts = [&self.path, &self.base_url];
        let parts = texts
            .iter()
            .map(|text| &text.compiled)
            .chain(self.headers.iter().map(|header| &header.value))
            .chain(&self.body);
        for part in parts {
            // Whatever isn't the job's to give counts as given.
            let given = |path: &str| match split_root(path) {
                ("id", _) => has_id,
                ("query", rest) => gives(Some(query), rest),
                ("body", rest) => gives(body, rest),
                _ => true,
            };
            let mut filled: BTreeMap<String, Value> = part
                .paths
                .iter()
                .filter(|path| given(path))
                .map(|path| (path.clone(), Value::from(1)))
                .collect();
            // Only rendering knows which placeholders have a fallback or default.
            while let Err(unresolved) = part.template.render(&Scope {
                exact: Some(&filled),
                ..Scope::default()
            }) {
                let placeholder = unresolved.placeholder;
                let known = filled.len();
                let alternatives = placeholder
                    .split("?:")
                    .next()
                    .unwrap_or_default()
                    .split('|');
                filled.extend(alternatives.map(|path| {
                    let path = path.split(':').next().unwrap_or_default();
                    (path.trim().to_owned(), Value::from(1))
                }));
                if filled.len() == known {
                    break;
                }
                if !missing.contains(&placeholder) {
                    missing.push(placeholder);
                }
            }
        }
        missing
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

/// Whether a job's value has something at a dotted path; a placeholder on the way may hold it.
fn gives(value: Option<&Value>, path: &str) -> bool {
    let Some(mut place) = value else {
        return false;
    };
    for step in path.split('.').filter(|step| !step.is_empty()) {
        let next = match place {
            Value::Object(object) => object.get(step),
            Value::Array(list) => step.parse::<usize>().ok().and_then(|index| list.get(index)),
            Value::String(text) => return text.contains("{{"),
            _ => None,
        };
        match next {
            Some(next) => place = next,
            None => return false,
        }
    }
    !place.is_null()
}

fn read_path(fields: &mut Fields<'_>, known: Known<'_>, faults: &mut Faults) -> Option<Text> {
    let pointer = fields.pointer("path");
    let text = Text::new(
        fields.required_string("path", faults)?,
        &pointer,
        known,
        faults,
    );
    let literal = text.literal();
    if literal.contains("://") {
        faults.push(
            &pointer,
            "must be relative to `base_url`, such as `/orders`; another host goes into `base_url`",
        );
    } else if literal.contains(['?', '#']) {
        faults.push(
            &pointer,
            "must not have a query or fragment; put parameters into `query`",
        );
    } else if literal.contains(|character: char| {
        character.is_whitespace() || character.is_control() || character == '\\'
    }) {
        faults.push(
            &pointer,
            "must not hold white space or backslashes; percent-encode them",
        );
    } else if text.compiled.paths.is_empty() && has_bad_segment(literal.trim_start_matches('/')) {
        faults.push(&pointer, "must not have empty, `.` or `..` segments");
    }
    Some(text)
}

fn read_body(
    fields: &mut Fields<'_>,
    verb: &http::Method,
    known: Known<'_>,
    faults: &mut Faults,
) -> Option<Compiled> {
    let pointer = fields.pointer("body");
    let body = fields.value("body")?;
    if *verb == http::Method::GET {
        faults.push(
            &pointer,
            "is never sent with `get`; set `method` to `post`, or use `query`",
        );
    }
    Some(Compiled::new(body, &pointer, known, faults))
}

fn read_response_path(fields: &mut Fields<'_>, faults: &mut Faults) -> Option<ResponsePath> {
    let text = fields.string("response_path", faults)?;
    ResponsePath::parse(text)
        .map_err(|problem| faults.push(fields.pointer("response_path"), problem))
        .ok()
}

/// The method's own pagination, else the document's; null switches it off. Only `list` has pages.
fn read_pagination(
    name: &str,
    verb: &http::Method,
    defaults: &Defaults,
    fields: &mut Fields<'_>,
    faults: &mut Faults,
) -> Option<Pagination> {
    let pointer = fields.pointer("pagination");
    let pagination = match fields.nullable("pagination") {
        Some(Value::Null) => None,
        Some(_) if name != LIST => {
            faults.push(
                &pointer,
                "has no effect: only the method `list` has pages; leave it out",
            );
            None
        }
        Some(value) => Pagination::read(value, &pointer, faults),
        None if name == LIST => defaults.pagination.clone(),
        None => None,
    };
    if *verb == http::Method::GET
        && pagination
            .as_ref()
            .is_some_and(|pagination| pagination.in_body)
    {
        faults.push(
            &pointer,
            "puts the cursor into the body (`add_to_body`), but `get` has none; set `method` to `post`",
        );
    }
    pagination
}
