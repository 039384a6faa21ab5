//! What of a source's error body is shown to a person.

/// Bytes of an error body that are shown.
pub const SHOWN_BODY_BYTES: usize = 200;

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
