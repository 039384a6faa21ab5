//! Splitting a page's body into records while it arrives, in bounded memory.
//!
//! A [`RecordSplitter`] is fed the body in pieces of any size. As soon as a
//! record is complete its exact bytes are handed out: whitespace inside it, the
//! digits of its numbers and its escapes are the source's. Everything else is
//! kept as the *envelope*, where pagination finds its cursors: `[]` stands in
//! place of an array of records, `null` in place of a single one.
//!
//! What counts as records:
//!
//! | at the path | records |
//! |---|---|
//! | an array | each element, whatever it is |
//! | an object | the object |
//! | `null` | none |
//! | a string, number or boolean | `response_path_missing` |
//! | nothing | `response_path_missing`; below a `*` only when no element has it (an order may lack `lines`) |
//!
//! An empty array under a `*` means no records. A `null` on the way to the path
//! counts as nothing there, below a `*` as no records.
//! When a key on the path appears twice, both values count. Without a path, a
//! root array is split as it arrives; a root object is held up to
//! [`ROOT_OBJECT_BYTES`] and then its only array member is split ([`Rest::Held`]), or
//! it is itself the one record when it has no array member.
//!
//! Memory: the record that is still incomplete ([`SplitLimits::record_bytes`]),
//! the envelope ([`SplitLimits::envelope_bytes`]), one byte a nesting level. A
//! record that arrives whole in one piece is not copied at all.
//!
//! Failures: every error ends the body. Records handed out before it were whole
//! and valid, whatever is wrong with the rest of the page. Every byte is checked:
//! grammar and depth by the lexer, UTF-8 record by record and over the envelope.

mod lexer;
mod path;
mod place;
mod splitter;

#[cfg(test)]
mod tests;

pub use path::ResponsePath;
pub use splitter::{RecordSplitter, Rest};

/// A root object without a `response_path` is held whole up to this size, since
/// only its end shows which member is its only array.
pub const ROOT_OBJECT_BYTES: usize = 8 * 1024 * 1024;

/// Nesting of an envelope: what `serde_json` reads without overflowing a stack.
pub const ENVELOPE_DEPTH: usize = 127;

/// How much of a body that is no JSON is shown in the error.
pub const SHOWN_BYTES: usize = 200;

/// Bounds of one body.
#[derive(Debug, Clone, Copy)]
pub struct SplitLimits {
    /// One record, bytes.
    pub record_bytes: usize,
    /// Everything but the records, bytes.
    pub envelope_bytes: usize,
    /// Nesting, counted from the root of the body.
    pub depth: usize,
}

/// Why a body could not be split.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct RecordsError {
    /// `invalid_body`, `record_too_large`, `envelope_too_large`, `response_path_missing`,
    /// `response_path_ambiguous`, `too_deep`.
    pub code: &'static str,
    pub message: String,
}
