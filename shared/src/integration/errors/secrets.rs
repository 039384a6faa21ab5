//! Striking credentials out of what is shown to people.
//!
//! Sources repeat keys in their answers: as they are, in the encodings of JSON,
//! URLs, forms and HTML, or within the `Authorization` header. Each of those is
//! looked for, and a key that is cut off where a text was cut.

use base64::{
    Engine,
    engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD},
};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

/// Shorter credentials aren't looked for: they would be found everywhere.
const SHORTEST: usize = 4;
/// The beginning of a credential that is struck out where a text was cut.
const SHORTEST_CUT: usize = 4;
const REDACTED: &str = "[redacted]";

/// Everything that must not be shown of an account, or of a webhook.
pub struct Secrets(Vec<String>);

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(REDACTED)
    }
}

impl Secrets {
    /// The texts and numbers of `credentials`, and the `Authorization` header they were sent in, if any.
    #[must_use]
    pub fn of(credentials: &Value, authorization: Option<&str>) -> Self {
        let mut plain = Vec::new();
        collect(credentials, &mut plain);
        // `Basic dXNlcjpwYXNz`: what follows the scheme.
        plain.extend(
            authorization
                .and_then(|header| header.split_whitespace().last())
                .map(str::to_owned),
        );
        let mut all: Vec<String> = plain.iter().flat_map(|secret| spellings(secret)).collect();
        all.retain(|secret| secret.len() >= SHORTEST);
        // Longest first: one may be the beginning of another.
        all.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        all.dedup();
        Self(all)
    }

    /// `text` without them.
    #[must_use]
    pub fn redact(&self, text: &str) -> String {
        let whole = self.0.iter().fold(text.to_owned(), |text, secret| {
            text.replace(secret, REDACTED)
        });
        self.0
            .iter()
            .fold(whole, |text, secret| without_cut(&text, secret))
    }
}

fn collect(value: &Value, secrets: &mut Vec<String>) {
    match value {
        Value::Object(object) => object.values().for_each(|value| collect(value, secrets)),
        Value::Array(list) => list.iter().for_each(|value| collect(value, secrets)),
        Value::String(text) if text.len() >= SHORTEST => secrets.push(text.clone()),
        Value::Number(number) => secrets.push(number.to_string()),
        _ => {}
    }
}

/// A secret in each way in which an answer may hold it.
fn spellings(secret: &str) -> Vec<String> {
    let json = serde_json::to_string(secret).unwrap_or_default();
    let json = json
        .trim_start_matches('"')
        .strip_suffix('"')
        .unwrap_or_default()
        .to_owned();
    let mut all = vec![
        secret.to_owned(),
        json.replace('/', "\\/"),
        escaped(&json, |c| !c.is_ascii()),
        escaped(&json, |c| !c.is_ascii() || "<>&'".contains(c)),
        utf8_percent_encode(secret, NON_ALPHANUMERIC).to_string(),
        url::form_urlencoded::byte_serialize(secret.as_bytes()).collect(),
        html(secret, "&#39;"),
        html(secret, "&#x27;"),
        json,
    ];
    for encoding in [STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD] {
        all.push(encoding.encode(secret));
    }
    all
}

/// `\u` escapes (RFC 8259 section 7) in place of some characters.
fn escaped(text: &str, which: impl Fn(char) -> bool) -> String {
    let escape = |character: char| -> String {
        let mut units = [0; 2];
        let units = character.encode_utf16(&mut units).iter();
        let escapes: Vec<_> = units.map(|unit| format!("\\u{unit:04x}")).collect();
        escapes.concat()
    };
    text.chars()
        .map(|character| {
            if which(character) {
                escape(character)
            } else {
                character.to_string()
            }
        })
        .collect()
}

fn html(text: &str, apostrophe: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
        .replace('\'', apostrophe)
}

/// `text` without a beginning of `secret` at a place where it was cut: at its end, or before a quotation mark or `…`.
fn without_cut(text: &str, secret: &str) -> String {
    let Some(head) = secret.get(..SHORTEST_CUT) else {
        return text.to_owned();
    };
    let mut kept = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(head) {
        let found = &rest[at..];
        let same: usize = found
            .chars()
            .zip(secret.chars())
            .take_while(|(a, b)| a == b)
            .map(|(a, _)| a.len_utf8())
            .sum();
        let after = &found[same..];
        kept.push_str(&rest[..at]);
        if after.is_empty() || after.starts_with(['"', '…', char::REPLACEMENT_CHARACTER]) {
            kept.push_str(REDACTED);
        } else {
            kept.push_str(&found[..same]);
        }
        rest = after;
    }
    kept.push_str(rest);
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_credential_is_struck_out_however_the_source_spells_it() {
        let secret = "ab c/d+é\"<k&'=z";
        let secrets = Secrets::of(&json!({"api_key": secret}), None);
        for spelled in [
            secret,
            "ab c/d+é\\\"<k&'=z",
            "ab c\\/d+é\\\"<k&'=z",
            "ab c/d+\\u00e9\\\"<k&'=z",
            "ab c/d+\\u00e9\\\"\\u003ck\\u0026\\u0027=z",
            "ab%20c%2Fd%2B%C3%A9%22%3Ck%26%27%3Dz",
            "ab+c%2Fd%2B%C3%A9%22%3Ck%26%27%3Dz",
            "ab c/d+é&quot;&lt;k&amp;&#39;=z",
            &STANDARD.encode(secret),
            &URL_SAFE_NO_PAD.encode(secret),
        ] {
            assert_eq!(
                secrets.redact(&format!("bad key: {spelled}!")),
                "bad key: [redacted]!",
                "{spelled}"
            );
        }
    }

    #[test]
    fn what_the_authorization_header_makes_of_credentials_is_struck_out() {
        let header = format!("Basic {}", STANDARD.encode("me@a.example/token:s3cret"));
        let secrets = Secrets::of(
            &json!({"user": "me@a.example", "key": "s3cret"}),
            Some(&header),
        );
        assert_eq!(
            secrets.redact(&format!("you sent {header}")),
            "you sent Basic [redacted]"
        );
    }

    #[test]
    fn a_credential_cut_off_where_the_text_was_cut_is_struck_out() {
        let secrets = Secrets::of(&json!({"key": "https-like-key"}), None);
        assert_eq!(
            secrets.redact("it begins \"key https-li\"; and so on"),
            "it begins \"key [redacted]\"; and so on"
        );
        assert_eq!(secrets.redact("it begins https-"), "it begins [redacted]");
        assert_eq!(
            secrets.redact("see https://a.example/"),
            "see https://a.example/"
        );
    }

    #[test]
    fn each_of_several_credentials_is_struck_out_and_short_ones_stay() {
        let credentials =
            json!({"api_key": "sk_live_1", "long": "sk_live_12", "n": 123_456, "tiny": "a"});
        let secrets = Secrets::of(&credentials, None);
        assert_eq!(
            secrets.redact("bad key sk_live_12, sk_live_1 or 123456 at last"),
            "bad key [redacted], [redacted] or [redacted] at last"
        );
    }
}
