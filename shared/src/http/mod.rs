//! The guarded outbound client: every call to a webhook, a source or a token
//! endpoint goes through it.
//!
//! A target is checked twice. [`TargetPolicy::check_url`] sees what a URL says
//! (scheme, host form, literal addresses) and answers the person who gave it;
//! the resolver then sees what a name resolves to, drops every address that is
//! neither public nor allowed, and hands the rest to the connector, so that the
//! address that was checked is the address that is dialled. Nothing is read from
//! the environment: a proxy would dial for us, unchecked.
//!
//! An exchange has one deadline, from the look-up to the last byte of the body, and
//! caps: [`MAX_URL_BYTES`] for the URL, 100 headers and 400 KiB for an HTTP/1 head
//! (hyper's own), [`MAX_HEADER_LIST_BYTES`] for an HTTP/2 one, and the caller's
//! number of decoded bytes for the body.
//!
//! [`serve`](serve::serve) is the other direction: a small HTTP server for
//! `/metrics` and samples.

mod client;
mod error;
mod guard;
pub mod ranges;
mod resolver;
mod response;
mod retry_after;
pub mod serve;
mod tls;
mod trace;

pub use client::is_reserved_header;
pub use client::{
    MAX_HEADER_LIST_BYTES, MAX_REDIRECTS, MAX_TIMEOUT, Outbound, Redirects, USER_AGENT,
};
pub use error::{OutboundError, OutboundErrorKind};
pub use guard::{MAX_URL_BYTES, TargetPolicy};
pub use response::Response;
pub use retry_after::retry_after;
pub use trace::{Timings, Trace};
