//! What a handler gets of a request: the caller (authenticated, with the scope that
//! the signature names), and through it path, query and body.
mod body;
mod caller;
mod query;

pub use body::{BODY_TIMEOUT, Body, MAX_BODY_BYTES};
pub use caller::{Caller, Level, Read, Write};
pub use query::{ListQuery, Query, encode_cursor};
