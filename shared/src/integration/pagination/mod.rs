//! Following the pages of a list.
//!
//! State: a [`Cursor`], which holds all that the next request needs and is the
//! checkpoint a fetch goes on from. [`Pagination::apply`] puts it into a
//! request, [`Pagination::next`] makes the following one out of a page.
//!
//! Failures, all of them permanent:
//! - `pagination_loop`: the source gave the same cursor, or a page of the same
//!   records, twice in a row;
//! - `pagination_origin`: a next link leads to a host that isn't the
//!   integration's, and credentials never travel there;
//! - `pagination_invalid`: what stands where the cursor or a total should be is
//!   none;
//! - `max_pages`: the fetch has reached its bound.

mod link;
mod next;
mod read;

use http::{HeaderMap, HeaderName};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use url::Url;

use crate::expr::path::Path;

/// Pages of one fetch, unless the document sets `max_pages`.
pub const DEFAULT_MAX_PAGES: u32 = 100_000;

/// Bytes of a cursor or next link at most; it is stored with every page.
pub const MAX_CURSOR_BYTES: usize = 8 * 1024;

/// Where the next page is; also the checkpoint that is stored, as JSON.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Cursor {
    /// Page or offset number, cursor value or next URL; null on the first page.
    pub value: Value,
    /// Pages fetched before this one.
    pub page: u32,
    /// Digest of the records of the page before this one, if it had any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<u64>,
}

impl Cursor {
    /// The first page.
    #[must_use]
    pub fn first() -> Self {
        Self {
            value: Value::Null,
            page: 0,
            digest: None,
        }
    }
}

/// What pagination looks at after a page.
pub struct PageSeen<'a> {
    /// Records in the page.
    pub records: u64,
    /// Rolling hash of the page's record bytes.
    pub digest: u64,
    /// The body without its records.
    pub envelope: &'a Value,
    pub headers: &'a HeaderMap,
    /// Digest of the page before; when absent, that in the cursor is used.
    pub previous_digest: Option<u64>,
    /// The URL that was requested.
    pub url: &'a Url,
}

/// Why there is no telling what the next page is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct PaginationError {
    /// `pagination_loop`, `pagination_origin`, `pagination_invalid`, `max_pages`.
    pub code: &'static str,
    pub message: String,
}

impl PaginationError {
    fn invalid(message: impl Into<String>) -> Self {
        Self {
            code: "pagination_invalid",
            message: message.into(),
        }
    }

    /// A link that leads to `url`, away from the integration.
    pub(super) fn origin(url: &Url) -> Self {
        Self {
            code: "pagination_origin",
            message: format!(
                "the next page's link leads to {}, which is not the origin of `base_url`; if it belongs to the \
                 source, add it to `allowed_origins`",
                url.origin().ascii_serialization()
            ),
        }
    }
}

/// A compiled `pagination`.
#[derive(Debug, Clone)]
pub(super) struct Pagination {
    pub format: Format,
    /// Parameter that asks for `max_limit` records.
    pub limit_key: Option<String>,
    /// Records of a full page.
    pub max_limit: Option<u64>,
    pub max_pages: u32,
    /// Parameters go into the body, by dotted path, and not into the query.
    pub in_body: bool,
}

#[derive(Debug, Clone)]
pub(super) enum Format {
    Page {
        page_key: String,
        start_page: u64,
        total_pages: Option<Path>,
        has_next: Option<Path>,
    },
    Offset {
        offset_key: String,
        total: Option<Path>,
    },
    Cursor {
        place: CursorPlace,
        /// `None` with `is_link`: the value is the next URL.
        cursor_key: Option<String>,
        has_next: Option<Path>,
    },
    /// RFC 8288 `Link: <…>; rel="next"`.
    LinkHeader,
}

/// Where a cursor is found.
#[derive(Debug, Clone)]
pub(super) enum CursorPlace {
    Body(Path),
    Header(HeaderName),
}

impl Pagination {
    /// Whether cursors are URLs.
    pub fn follows_links(&self) -> bool {
        matches!(
            self.format,
            Format::LinkHeader
                | Format::Cursor {
                    cursor_key: None,
                    ..
                }
        )
    }

    /// Puts the coordinates of `cursor` into the parameters of a request.
    pub fn apply(&self, cursor: &Cursor, query: &mut Map<String, Value>, body: &mut Value) {
        let mut set = |key: &str, value: Value| {
            if self.in_body {
                set_path(body, key, value);
            } else {
                query.insert(key.to_owned(), value);
            }
        };
        if let (Some(key), Some(limit)) = (&self.limit_key, self.max_limit) {
            set(key, limit.into());
        }
        match &self.format {
            Format::Page {
                page_key,
                start_page,
                ..
            } => {
                set(
                    page_key,
                    cursor.value.as_u64().unwrap_or(*start_page).into(),
                );
            }
            Format::Offset { offset_key, .. } => {
                set(offset_key, cursor.value.as_u64().unwrap_or(0).into());
            }
            Format::Cursor {
                cursor_key: Some(key),
                ..
            } => {
                if !cursor.value.is_null() {
                    set(key, cursor.value.clone());
                }
            }
            Format::Cursor {
                cursor_key: None, ..
            }
            | Format::LinkHeader => {}
        }
    }
}

/// Sets the value at a dotted path, making objects on the way.
fn set_path(root: &mut Value, path: &str, value: Value) {
    let mut place = root;
    for key in path.split('.') {
        if !place.is_object() {
            *place = Value::Object(Map::new());
        }
        let Value::Object(object) = place else { return };
        place = object.entry(key).or_insert(Value::Null);
    }
    *place = value;
}
