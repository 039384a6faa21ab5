//! Integrations: how a source API is described. See `docs/guides/integrations.md`.
pub mod records;
use crate::{
    expr::template::{Scope, Unresolved},
    fault::Faults,
};
use bytes::Bytes;
use serde_json::Value;
use std::time::Duration;
use url::Url;

/// An integration document, compiled and checked.
#[derive(Debug)]
pub struct Integration {
    pub name: String,
    pub label: String,
}

/// One method of one resource, compiled with every default of the document merged in.
#[derive(Debug)]
pub struct Method {}

/// Where the next page is; also the checkpoint that is stored, as JSON.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Cursor {
    /// page/offset number, cursor value or next URL; null on the first page
    pub value: Value,
    /// pages fetched before this one
    pub page: u32,
}

/// A request, ready for the guarded client.
#[derive(Debug, Clone)]
pub struct HttpRequest {
    pub method: http::Method,
    pub url: Url,
    pub headers: http::HeaderMap,
    pub body: Option<Bytes>,
    pub timeout: Duration,
}

/// What pagination looks at after a page.
pub struct PageSeen<'a> {
    pub records: u64,
    /// rolling hash of the page's record bytes
    pub digest: u64,
    /// the body without its records
    pub envelope: &'a Value,
    pub headers: &'a http::HeaderMap,
    /// digest of the page before, from the checkpoint
    pub previous_digest: Option<u64>,
    pub url: &'a Url,
}

#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    #[error(transparent)]
    Unresolved(#[from] Unresolved),
    #[error("{0}")]
    Invalid(String),
}

#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct PaginationError {
    /// `pagination_loop`, `pagination_origin`, `pagination_invalid`, `max_pages`
    pub code: &'static str,
    pub message: String,
}

impl Integration {
    /// # Errors
    /// Every fault of the document.
    pub fn compile(document: &Value) -> Result<Self, Faults> {
        let _ = document;
        unimplemented!()
    }
    /// The method behind a resource of a sync job: unified (`wms/orders`) or proxy (`orders`).
    /// # Errors
    /// A message that says what exists.
    pub fn method(&self, resource: &str, method: &str) -> Result<&Method, String> {
        let _ = (resource, method);
        unimplemented!()
    }
    /// `{"proxy":{"orders":["list","get"]},"unified":{"wms/orders":["list"]}}`
    #[must_use]
    pub fn capabilities(&self) -> Value {
        unimplemented!()
    }
    /// Faults of `credentials` against the declared fields (pointers under `/credentials`).
    pub fn check_credentials(&self, credentials: &Value, faults: &mut Faults) {
        let _ = (credentials, faults);
        unimplemented!()
    }
    /// The requests of the `validation` action, in order; empty when there is none.
    #[must_use]
    pub fn validation(&self) -> &[Method] {
        unimplemented!()
    }
}

impl Method {
    /// Whether `list` pages are followed.
    #[must_use]
    pub fn first_cursor(&self) -> Cursor {
        unimplemented!()
    }
    /// The scope's roots: `id`, `query` (the job's rendered query), `body`, `credentials`, `context`, `account`, `args`, `run`.
    /// # Errors
    /// A placeholder without value, or a URL that isn't one.
    pub fn request(&self, scope: &Scope<'_>, cursor: &Cursor) -> Result<HttpRequest, RequestError> {
        let _ = (scope, cursor);
        unimplemented!()
    }
    /// `None` when that was the last page.
    /// # Errors
    /// A loop, a foreign origin, an unreadable cursor.
    pub fn next(
        &self,
        cursor: &Cursor,
        seen: &PageSeen<'_>,
    ) -> Result<Option<Cursor>, PaginationError> {
        let _ = (cursor, seen);
        unimplemented!()
    }
    /// Path of the records in a body; `None`: the root array, or the root object's only array.
    #[must_use]
    pub fn response_path(&self) -> Option<&records::ResponsePath> {
        unimplemented!()
    }
}
