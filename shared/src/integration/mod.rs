//! Integrations: how a source API is described. The format is in
//! `docs/guides/integrations.md`.
//!
//! [`Integration::compile`] reads a document once, names every fault in it with
//! a JSON pointer, and keeps it as [`Method`]s in which every default of the
//! document is already merged. From then on nothing is looked up in JSON:
//! [`Method::request`] fills the compiled templates, [`Method::next`] decides
//! from a page whether and where there is another one, and
//! [`errors::classify`] what a failure means.
//!
//! Everything here is a pure function of its arguments: no I/O, no clock.
//!
//! Credentials leave only in header values marked sensitive, in the query of a
//! request, and where a document puts them into a path or body; no error text
//! and no [`HttpRequest::display_url`] holds them.

mod actions;
mod authorization;
mod body;
mod bundled;
mod credentials;
mod defaults;
mod document;
pub mod errors;
mod method;
mod names;
mod pagination;
mod placeholders;
mod query;
mod rate_limit;
pub mod records;
mod request;
mod resources;
mod unified;
mod words;

#[cfg(test)]
mod tests;

pub(crate) use crate::fault::suggestion;
pub use bundled::bundled;
pub use document::Integration;
pub use method::Method;
pub use pagination::{Cursor, DEFAULT_MAX_PAGES, MAX_CURSOR_BYTES, PageSeen, PaginationError};
pub use rate_limit::{Budget, BudgetScope, Pace};
pub use request::{HttpRequest, RequestError};
pub use unified::RecordMapping;
