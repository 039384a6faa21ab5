//! What `config` and every method have in common: `base_url`, `headers`,
//! `query`, `query_array_format`, `authorization` and `pagination`. A method's
//! own values go over those of `config`.

use http::HeaderName;
use serde_json::Value;
use url::Url;

use super::{
    authorization::Authorization,
    pagination::Pagination,
    placeholders::{Compiled, Known, Text},
    query::{ARRAY_FORMATS, ArrayFormat},
};
use crate::fault::{Faults, Fields, child};

/// Headers that belong to the connection, not to a document.
const CLIENT_HEADERS: &[&str] = &[
    "host",
    "content-length",
    "transfer-encoding",
    "connection",
    "accept-encoding",
    "te",
    "trailer",
    "upgrade",
];

/// A header of every request.
#[derive(Debug, Clone)]
pub(super) struct Header {
    pub name: HeaderName,
    pub value: Compiled,
}

/// Settings that a method starts from.
#[derive(Debug, Clone, Default)]
pub(super) struct Defaults {
    pub base_url: Option<Text>,
    pub headers: Vec<Header>,
    /// Top-level entries of `query`, in the order of the document.
    pub query: Vec<(String, Compiled)>,
    pub array_format: ArrayFormat,
    pub authorization: Authorization,
    pub pagination: Option<Pagination>,
    /// Origins beside that of `base_url` to which a next link may lead, as `https://host[:port]`.
    pub allowed_origins: Vec<String>,
}

impl Defaults {
    /// The settings in `fields` over these.
    pub fn overridden(
        &self,
        fields: &mut Fields<'_>,
        known: Known<'_>,
        faults: &mut Faults,
    ) -> Self {
        let mut merged = self.clone();
        if let Some(source) = fields.string("base_url", faults) {
            let pointer = fields.pointer("base_url");
            merged.base_url = Some(read_base_url(source, &pointer, known, faults));
        }
        merged.merge_headers(fields, known, faults);
        let pointer = fields.pointer("query");
        if let Some(query) = fields.object("query", faults) {
            merge_query(&mut merged.query, query, &pointer, known, faults);
        }
        if let Some(format) = fields.choice("query_array_format", ARRAY_FORMATS, faults) {
            merged.array_format = format;
        }
        let pointer = fields.pointer("authorization");
        if let Some(authorization) = fields.value("authorization") {
            merged.authorization = Authorization::read(authorization, &pointer, known, faults);
        }
        merged
    }

    fn merge_headers(&mut self, fields: &mut Fields<'_>, known: Known<'_>, faults: &mut Faults) {
        let pointer = fields.pointer("headers");
        let Some(headers) = fields.object("headers", faults) else {
            return;
        };
        for (name, value) in headers {
            let pointer = child(&pointer, name);
            let Some(name) = read_header_name(name, &pointer, faults) else {
                continue;
            };
            self.headers.retain(|header| header.name != name);
            match value {
                Value::Null => {}
                Value::String(_) | Value::Number(_) | Value::Bool(_) => {
                    let value = Compiled::new(value, &pointer, known, faults);
                    self.headers.push(Header { name, value });
                }
                Value::Array(_) | Value::Object(_) => {
                    faults.push(pointer, "must be a string, or null to remove the header");
                }
            }
        }
    }
}

/// Puts the entries of a `query` object over those that are there; null removes one.
pub(super) fn merge_query(
    entries: &mut Vec<(String, Compiled)>,
    query: &serde_json::Map<String, Value>,
    pointer: &str,
    known: Known<'_>,
    faults: &mut Faults,
) {
    for (name, value) in query {
        entries.retain(|(other, _)| other != name);
        if !value.is_null() {
            entries.push((
                name.clone(),
                Compiled::new(value, &child(pointer, name), known, faults),
            ));
        }
    }
}

/// A header name that a document may set.
pub(super) fn read_header_name(
    name: &str,
    pointer: &str,
    faults: &mut Faults,
) -> Option<HeaderName> {
    let Ok(parsed) = HeaderName::from_bytes(name.as_bytes()) else {
        faults.push(pointer, "is no header name; use letters, digits and `-`");
        return None;
    };
    if CLIENT_HEADERS.contains(&parsed.as_str()) {
        faults.push(pointer, "is set by the client itself; leave it out");
        return None;
    }
    Some(parsed)
}

fn read_base_url(source: &str, pointer: &str, known: Known<'_>, faults: &mut Faults) -> Text {
    let text = Text::new(source, pointer, known, faults);
    if text.compiled.paths.is_empty() {
        if let Err(problem) = check_base_url(source) {
            faults.push(pointer, problem);
        }
    } else if text.literal().contains(['?', '#']) {
        faults.push(
            pointer,
            "must not have a query or fragment; put parameters into `query`",
        );
    }
    text
}

/// The URL below which a method's path goes.
pub(super) fn check_base_url(text: &str) -> Result<Url, &'static str> {
    let url = Url::parse(text).map_err(|_| "must be a URL such as `https://api.example.com/v1`")?;
    if !matches!(url.scheme(), "https" | "http") {
        return Err("must start with `https://` or `http://`");
    }
    let host = url.host_str().unwrap_or_default();
    if host.is_empty() || host.starts_with('.') || host.contains("..") {
        return Err("must have a complete host name");
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("must not hold a user name or password; use `authorization`");
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err("must not have a query or fragment; put parameters into `query`");
    }
    Ok(url)
}

/// Reads `allowed_origins`.
pub(super) fn read_origins(fields: &mut Fields<'_>, faults: &mut Faults) -> Vec<String> {
    let pointer = fields.pointer("allowed_origins");
    let Some(list) = fields.array("allowed_origins", faults) else {
        return Vec::new();
    };
    let mut origins = Vec::new();
    for (index, value) in list.iter().enumerate() {
        let origin = value.as_str().and_then(|text| check_base_url(text).ok());
        match origin.filter(|url| url.path() == "/") {
            Some(url) => origins.push(url.origin().ascii_serialization()),
            None => faults.push(
                child(&pointer, index),
                "must be an origin such as `https://files.example.com`, without path",
            ),
        }
    }
    origins
}
