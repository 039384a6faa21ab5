//! Fields whose value is a word of a closed set, part of which later versions
//! will understand, and fields that have two names.

use serde_json::Value;

use crate::fault::{Faults, Fields};

/// What is said about everything of the format that this version lacks.
pub(super) const NOT_SUPPORTED: &str = "is not supported yet; leave it out";

/// The value that belongs to the word in `name`; a word of `later` is a fault
/// that says it isn't supported yet, any other word one that lists `now`.
pub(super) fn word<T: Copy>(
    fields: &mut Fields<'_>,
    name: &'static str,
    now: &[(&str, T)],
    later: &[&str],
    faults: &mut Faults,
) -> Option<T> {
    let text = fields.string(name, faults)?;
    if later.contains(&text) {
        faults.push(fields.pointer(name), format!("`{text}` {NOT_SUPPORTED}"));
        return None;
    }
    fields.choice(name, now, faults)
}

/// The string in `name`, for which `alias` is accepted as well.
pub(super) fn either<'a>(
    fields: &mut Fields<'a>,
    name: &'static str,
    alias: &'static str,
    faults: &mut Faults,
) -> Option<&'a str> {
    let preferred = fields.string(name, faults);
    let other = fields.string(alias, faults);
    if preferred.is_some() && other.is_some() {
        faults.push(
            fields.pointer(alias),
            format!("means the same as `{name}`; leave one of them out"),
        );
    }
    let (field, text) = match (preferred, other) {
        (Some(text), _) => (name, text),
        (None, Some(text)) => (alias, text),
        (None, None) => return None,
    };
    if text.is_empty() {
        faults.push(fields.pointer(field), "must not be empty");
        return None;
    }
    Some(text)
}

/// The text of a scalar, as it stands in a query or header: strings bare,
/// numbers with the digits they came with. `None` for containers and null.
pub(super) fn scalar_text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}
