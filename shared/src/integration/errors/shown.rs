//! What of a source's error body is shown to a person.

use serde_json::Value;

/// Bytes of an error body that are shown.
pub const SHOWN_BODY_BYTES: usize = 200;

/// Shorter credentials aren't looked for: they would be found everywhere.
const SHORTEST_SECRET: usize = 4;

const REDACTED: &str = "[redacted]";

/// The beginning of an error body with each of `credentials`' texts replaced,
/// since sources repeat keys in their complaints. To be called before the body
/// is cut to [`SHOWN_BODY_BYTES`], so that no half of a key stays.
#[must_use]
pub fn redact(body: &[u8], credentials: &Value) -> Vec<u8> {
    let mut secrets = Vec::new();
    collect(credentials, &mut secrets);
    // Longest first: one may be the beginning of another.
    secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
    let mut text = String::from_utf8_lossy(body).into_owned();
    for secret in secrets {
        text = text.replace(&secret, REDACTED);
    }
    text.into_bytes()
}

fn collect(value: &Value, secrets: &mut Vec<String>) {
    match value {
        Value::Object(object) => object.values().for_each(|value| collect(value, secrets)),
        Value::Array(list) => list.iter().for_each(|value| collect(value, secrets)),
        Value::String(text) if text.len() >= SHORTEST_SECRET => secrets.push(text.clone()),
        Value::Number(number) if number.to_string().len() >= SHORTEST_SECRET => {
            secrets.push(number.to_string());
        }
        _ => {}
    }
}

/// At most [`SHOWN_BODY_BYTES`] of a body on one line, without control characters.
pub(super) fn body(prefix: &[u8]) -> String {
    let text = String::from_utf8_lossy(&prefix[..prefix.len().min(SHOWN_BODY_BYTES)]);
    // A character that the cut went through.
    let text = text.trim_end_matches(char::REPLACEMENT_CHARACTER);
    let spaced: String = text
        .chars()
        .map(|character| {
            if character.is_control() {
                ' '
            } else {
                character
            }
        })
        .collect();
    spaced.split_whitespace().collect::<Vec<_>>().join(" ")
}
