//! Building the request of one page.

use std::{fmt, time::Duration};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{ACCEPT, CONTENT_TYPE},
};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Map, Value};
use url::Url;

use super::{
    defaults::check_base_url,
    method::Method,
    pagination::{Cursor, PaginationError},
    query::pairs,
    words::scalar_text,
};
use crate::expr::template::{Scope, Unresolved};

/// Everything that is percent-encoded in a path segment: all but the unreserved
/// characters of RFC 3986.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// As [`SEGMENT`], with the colon that stands between host and port.
const AUTHORITY: &AsciiSet = &SEGMENT.remove(b':');

/// A request, ready for the guarded client.
#[derive(Clone)]
pub struct HttpRequest {
    pub method: http::Method,
    pub url: Url,
    pub headers: HeaderMap,
    pub body: Option<Bytes>,
    /// For the whole exchange.
    pub timeout: Duration,
    /// What is shown in place of [`Self::url`] when credentials are part of its host or path.
    pub shown_url: Option<String>,
}

impl HttpRequest {
    /// `scheme://host/path` without query and user info, for errors and logs.
    /// Where credentials are part of the host or path, the template's text.
    #[must_use]
    pub fn display_url(&self) -> String {
        self.shown_url.clone().unwrap_or_else(|| {
            format!(
                "{}://{}{}",
                self.url.scheme(),
                &self.url[url::Position::BeforeHost..url::Position::AfterPort],
                self.url.path()
            )
        })
    }
}

/// Shows no query, header value or body: each may hold a secret.
impl fmt::Debug for HttpRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpRequest")
            .field("method", &self.method)
            .field("url", &self.display_url())
            .field("body_bytes", &self.body.as_ref().map(Bytes::len))
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

/// Why no request can be made. Messages name placeholders and fields, never what they were filled with.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    #[error(transparent)]
    Unresolved(#[from] Unresolved),
    #[error("{0}")]
    Invalid(String),
    /// The cursor is a link that may not be followed.
    #[error(transparent)]
    Pagination(#[from] PaginationError),
}

impl Method {
    /// The request of the page at `cursor`. The scope's roots: `id`, `query` (the
    /// job's rendered query), `body`, `path`, `credentials`, `context`, `account`, `args`, `run`.
    ///
    /// # Errors
    /// A placeholder without value, a URL or header that isn't one, a next link of a foreign origin.
    pub fn request(&self, scope: &Scope<'_>, cursor: &Cursor) -> Result<HttpRequest, RequestError> {
        let base = self.rendered_base(scope)?;
        let mut query = self.rendered_query(scope)?;
        let mut body = self.rendered_body(scope)?;
        if let Some(pagination) = &self.pagination {
            pagination.apply(cursor, &mut query, &mut body);
        }
        if let Some((key, value)) = self.authorization.query_parameter(scope)? {
            query.insert(key.to_owned(), Value::String(value));
        }
        let url = match self.link(cursor) {
            Some(link) => self.linked_url(link, &base, query)?,
            None => self.own_url(&base, scope, &query)?,
        };
        let mut headers = self.rendered_headers(scope)?;
        headers
            .entry(ACCEPT)
            .or_insert(HeaderValue::from_static("application/json"));
        let body = if body.is_null() {
            None
        } else {
            headers
                .entry(CONTENT_TYPE)
                .or_insert(self.body_format.content_type());
            Some(self.body_format.write(&body, self.array_format)?)
        };
        Ok(HttpRequest {
            method: self.verb.clone(),
            url,
            headers,
            body,
            timeout: self.timeout,
            shown_url: self.shown_url(),
        })
    }

    /// The next URL, when that is what the cursor is.
    fn link<'c>(&self, cursor: &'c Cursor) -> Option<&'c str> {
        let pagination = self.pagination.as_ref()?;
        cursor.value.as_str().filter(|_| pagination.follows_links())
    }

    fn rendered_base(&self, scope: &Scope<'_>) -> Result<Url, RequestError> {
        // A base URL that starts with a placeholder is given whole; in any other one a value must not get
        // beyond its place, or a subdomain could name another host.
        let encode = if self.base_url.source.starts_with("{{") {
            str::to_owned
        } else {
            |value: &str| utf8_percent_encode(value, AUTHORITY).to_string()
        };
        let text = self.base_url.compiled.template.render_text(scope, encode)?;
        check_base_url(&text).map_err(|problem| {
            RequestError::Invalid(format!(
                "`base_url` {problem}; check what fills `{}`",
                self.base_url.source
            ))
        })
    }

    fn own_url(
        &self,
        base: &Url,
        scope: &Scope<'_>,
        query: &Map<String, Value>,
    ) -> Result<Url, RequestError> {
        let path = self.path.compiled.template.render_text(scope, |value| {
            utf8_percent_encode(value, SEGMENT).to_string()
        })?;
        let path = path.trim_start_matches('/');
        if has_bad_segment(path) {
            return Err(RequestError::Invalid(format!(
                "a placeholder of the path `{}` is empty, `.` or `..`, so that another resource would be asked for",
                self.path.source
            )));
        }
        let joined = format!("{}/{path}", base.as_str().trim_end_matches('/'));
        let mut url = Url::parse(&joined)
            .map_err(|_| RequestError::Invalid(format!("`{}` makes no URL", self.path.source)))?;
        let pairs = pairs(query, self.array_format);
        if !pairs.is_empty() {
            url.query_pairs_mut().extend_pairs(pairs);
        }
        Ok(url)
    }

    /// A next link, with the credentials of the query in it.
    fn linked_url(
        &self,
        link: &str,
        base: &Url,
        mut query: Map<String, Value>,
    ) -> Result<Url, RequestError> {
        let mut url = Url::parse(link)
            .map_err(|_| RequestError::Invalid("the stored next link is no URL".to_owned()))?;
        if url.origin() != base.origin() && !self.is_allowed_origin(&url) {
            return Err(PaginationError::origin(&url).into());
        }
        query.retain(|name, _| self.is_secret_parameter(name));
        let secrets = pairs(&query, self.array_format);
        if !secrets.is_empty() {
            self.strip_secrets(&mut url);
            url.query_pairs_mut().extend_pairs(secrets);
        }
        Ok(url)
    }

    /// Takes credentials that the source repeated in a link out of it again, since links are stored.
    pub(super) fn strip_secrets(&self, url: &mut Url) {
        let is_secret =
            |name: &str| self.is_secret_parameter(name.split('[').next().unwrap_or(name));
        if !url.query_pairs().any(|(name, _)| is_secret(&name)) {
            return;
        }
        let kept: Vec<(String, String)> = url
            .query_pairs()
            .filter(|(name, _)| !is_secret(name))
            .map(|(name, value)| (name.into_owned(), value.into_owned()))
            .collect();
        url.set_query(None);
        if !kept.is_empty() {
            url.query_pairs_mut().extend_pairs(kept);
        }
    }

    /// The parameters: the document's, then the job's.
    fn rendered_query(&self, scope: &Scope<'_>) -> Result<Map<String, Value>, RequestError> {
        // What a job doesn't ask for is no parameter, rather than an error.
        let mut omit = scope.omit.to_vec();
        omit.extend(self.optional_query.iter().map(String::as_str));
        let lenient = Scope {
            omit: &omit,
            ..scope.clone()
        };
        let mut query = Map::new();
        for (name, value) in &self.query {
            if let Some(value) = value.template.render(&lenient)? {
                query.insert(name.clone(), value);
            }
        }
        if let Some(Value::Object(given)) = root(scope, "query") {
            let passed = given
                .iter()
                .filter(|(name, _)| !self.consumed_query.holds(name));
            query.extend(passed.map(|(name, value)| (name.clone(), value.clone())));
        }
        Ok(query)
    }

    /// The document's body with the job's entries over it; null when there is none.
    fn rendered_body(&self, scope: &Scope<'_>) -> Result<Value, RequestError> {
        if !self.sends_body() {
            return Ok(Value::Null);
        }
        let own = match &self.body {
            Some(body) => body.template.render(scope)?,
            None => None,
        };
        let given = root(scope, "body").filter(|_| !self.consumed_body.all);
        Ok(match (own, given) {
            (own, None | Some(Value::Null)) => own.unwrap_or(Value::Null),
            (own @ (None | Some(Value::Object(_))), Some(Value::Object(given))) => {
                let mut merged = match own {
                    Some(Value::Object(own)) => own,
                    _ => Map::new(),
                };
                let passed = given
                    .iter()
                    .filter(|(name, _)| !self.consumed_body.holds(name));
                merged.extend(passed.map(|(name, value)| (name.clone(), value.clone())));
                Value::Object(merged)
            }
            (None, Some(given)) => given.clone(),
            (Some(own), Some(_)) => own,
        })
    }

    fn rendered_headers(&self, scope: &Scope<'_>) -> Result<HeaderMap, RequestError> {
        let mut headers = HeaderMap::new();
        for header in &self.headers {
            let value = header.value.template.render(scope)?;
            let text = match value {
                None | Some(Value::Null) => continue,
                Some(value) => scalar_text(&value).unwrap_or_else(|| value.to_string()),
            };
            let mut value = header_value(&header.name, &text)?;
            value.set_sensitive(header.value.is_secret());
            headers.insert(&header.name, value);
        }
        self.authorization.add_header(&mut headers, scope)?;
        Ok(headers)
    }

    fn shown_url(&self) -> Option<String> {
        (self.base_url.compiled.is_secret() || self.path.compiled.is_secret()).then(|| {
            format!(
                "{}/{}",
                self.base_url.source.trim_end_matches('/'),
                self.path.source.trim_start_matches('/')
            )
        })
    }
}

fn root<'a>(scope: &Scope<'a>, name: &str) -> Option<&'a Value> {
    scope
        .roots
        .iter()
        .find(|(root, _)| *root == name)
        .map(|(_, value)| *value)
}

/// Whether a relative path has an empty or dot segment. One slash at its end is fine.
pub(super) fn has_bad_segment(path: &str) -> bool {
    let path = path.strip_suffix('/').unwrap_or(path);
    !path.is_empty()
        && path.split('/').any(|segment| {
            let segment = segment.replace("%2e", ".").replace("%2E", ".");
            matches!(segment.as_str(), "" | "." | "..")
        })
}

/// A header value that can be sent; the message holds no part of it.
pub(super) fn header_value(name: &HeaderName, text: &str) -> Result<HeaderValue, RequestError> {
    HeaderValue::from_bytes(text.as_bytes()).map_err(|_| {
        RequestError::Invalid(format!(
            "the value of the header `{name}` holds a line break or another control character"
        ))
    })
}
