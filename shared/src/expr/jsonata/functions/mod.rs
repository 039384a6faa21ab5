//! The functions that expressions have beside JSONata's own, named and made as in
//! `@truto/truto-jsonata`. Each is registered only with the expressions that use it.
//!
//! They carry numbers that need care as they are. Where a function there takes a function or a
//! path as `iteratee`, it takes the name of a field here.

mod collections;
mod crypto;
mod text;

use super::guards::Function;

/// By name.
const ADDED: [(&str, Function); 17] = [
    ("compact", collections::compact),
    ("digest", crypto::digest),
    ("firstNonEmpty", collections::first_non_empty),
    ("flatten", collections::flatten),
    ("groupBy", collections::group_by),
    ("jsonParse", text::json_parse),
    ("keyBy", collections::key_by),
    ("mapValues", collections::map_values),
    ("omit", collections::omit),
    ("orderBy", collections::order_by),
    ("parseUrl", text::parse_url),
    ("pick", collections::pick),
    ("removeEmpty", collections::remove_empty),
    ("sign", crypto::sign),
    ("toNumber", text::to_number),
    ("uuid", crypto::uuid),
    ("wrap", text::wrap),
];

/// `$base64encode` and `$base64decode` with the second argument that JSONata's own lack.
pub(super) const BASE64_ENCODE: (&str, Function) = (" base64encode", text::base64_encode);
pub(super) const BASE64_DECODE: (&str, Function) = (" base64decode", text::base64_decode);

/// The added function of this name.
pub(super) fn added(name: &str) -> Option<(&'static str, Function)> {
    ADDED.into_iter().find(|(known, _)| *known == name)
}

/// The names of all of them.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    ADDED.into_iter().map(|(name, _)| name)
}
