//! Reading a method out of a document.

use std::time::Duration;

use serde_json::Value;

use super::{Consumed, Method};
use crate::{
    fault::{Faults, Fields},
    integration::{
        authorization::Authorization,
        body::BODY_FORMATS,
        defaults::{Defaults, merge_query},
        pagination::Pagination,
        placeholders::{Compiled, Known, Text},
        records::ResponsePath,
        request::has_bad_segment,
        words::word,
    },
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

/// What a method is read for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::integration) enum Purpose {
    /// A method of a resource.
    Resource,
    /// A step of an action: no records, no pages.
    Step,
}

impl Method {
    /// Reads a method over the document's defaults.
    pub(in crate::integration) fn read(
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
    pub(in crate::integration) fn with_query(
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
