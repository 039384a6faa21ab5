//! Names inside a document, and the nearest one to a misspelt one.

use crate::fault::Faults;

/// Characters of a name at most.
pub(super) const MAX_NAME_LENGTH: usize = 64;

/// Whether `name` may name an integration: `[a-z0-9][a-z0-9_-]{0,63}`.
pub(super) fn is_integration_name(name: &str) -> bool {
    is_name(name) && !name.bytes().any(|byte| byte.is_ascii_uppercase())
}

/// Whether `name` may name a resource, method, model or credential:
/// `[A-Za-z0-9][A-Za-z0-9_-]{0,63}`. No dots and slashes, since placeholders
/// and unified names are built with them.
pub(super) fn is_name(name: &str) -> bool {
    name.len() <= MAX_NAME_LENGTH
        && name
            .bytes()
            .next()
            .is_some_and(|byte| byte.is_ascii_alphanumeric())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
}

/// A fault unless [`is_name`].
pub(super) fn check_name(name: &str, pointer: &str, faults: &mut Faults) {
    if !is_name(name) {
        faults.push(
            pointer,
            format!(
                "`{name}` is no name; use letters, digits, `_` and `-`, starting with a letter or digit, at most \
                 {MAX_NAME_LENGTH} characters"
            ),
        );
    }
}

/// `` `a`, `b` and `c` `` for a message.
pub(super) fn listed<'n>(names: impl IntoIterator<Item = &'n str>) -> String {
    let quoted: Vec<String> = names.into_iter().map(|name| format!("`{name}`")).collect();
    match quoted.as_slice() {
        [] => "none".to_owned(),
        [only] => only.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}
