//! A webhook's own headers: those that anybody may read, and secret ones.

use std::collections::BTreeMap;

use http::{HeaderName, HeaderValue, header};

use super::concealed::{Concealed, NOTHING_KEPT};
use crate::{
    fault::{Faults, Fields, child},
    model::webhook::Webhook,
};

/// Own headers of a webhook at most, secret ones among them.
pub const MAX_HEADERS: usize = 20;
/// Bytes of one own header's value at most.
pub const MAX_HEADER_VALUE_BYTES: usize = 4096;

/// Headers that the delivery sets itself, or that would change its framing.
const RESERVED_HEADERS: &[&str] = &[
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "expect",
    "host",
    "keep-alive",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    "x-handled-signature",
    "x-truto-signature",
];
/// Every header that starts so is reserved too.
const RESERVED_HEADER_PREFIX: &str = "webhook-";

/// Reads `headers` and `secret_headers`; names come out in lower case. `stored`: the
/// webhook whose secrets `[redacted]` stands for.
pub(super) fn read(
    fields: &mut Fields<'_>,
    stored: Option<&Webhook>,
    faults: &mut Faults,
) -> (BTreeMap<String, String>, BTreeMap<String, Concealed>) {
    // What is wrong with the authentication is said elsewhere; that it is wanted counts here.
    let authenticated = fields.value("authentication").is_some();
    let headers = read_map(fields, "headers", authenticated, faults, |_, text| {
        Ok(text.to_owned())
    });
    let secrets = read_map(
        fields,
        "secret_headers",
        authenticated,
        faults,
        |name, text| {
            if headers.contains_key(name) {
                return Err("is in `headers` too; give it once (names of headers ignore case)");
            }
            let stored = stored.and_then(|webhook| webhook.secret_headers.get(name));
            Concealed::read(text, stored.map(String::as_str)).ok_or(NOTHING_KEPT)
        },
    );
    if headers.len() + secrets.len() > MAX_HEADERS {
        let at = if secrets.is_empty() {
            "headers"
        } else {
            "secret_headers"
        };
        faults.push(
            fields.pointer(at),
            format!(
                "`headers` and `secret_headers` must have at most {MAX_HEADERS} headers together"
            ),
        );
    }
    (headers, secrets)
}

/// One of the two; `take` makes of a name and a good value what is kept. Faults don't repeat values.
fn read_map<T>(
    fields: &mut Fields<'_>,
    name: &'static str,
    authenticated: bool,
    faults: &mut Faults,
    take: impl Fn(&str, &str) -> Result<T, &'static str>,
) -> BTreeMap<String, T> {
    let mut headers = BTreeMap::new();
    let Some(given) = fields.object(name, faults) else {
        return headers;
    };
    let pointer = fields.pointer(name);
    for (name, value) in given.iter().filter(|(_, value)| !value.is_null()) {
        let pointer = child(&pointer, name);
        let Ok(name) = HeaderName::try_from(name.as_str()) else {
            faults.push(pointer, "is not a header name");
            continue;
        };
        if RESERVED_HEADERS.contains(&name.as_str())
            || name.as_str().starts_with(RESERVED_HEADER_PREFIX)
        {
            faults.push(
                pointer,
                "is set by the delivery itself; choose another name",
            );
            continue;
        }
        if authenticated && name == header::AUTHORIZATION {
            faults.push(pointer, "is set by `authentication`; leave one of them out");
            continue;
        }
        let Some(text) = value.as_str() else {
            faults.push(pointer, "must be a string");
            continue;
        };
        if text.len() > MAX_HEADER_VALUE_BYTES
            || !text.is_ascii()
            || HeaderValue::from_str(text).is_err()
        {
            faults.push(
                pointer,
                format!("must be at most {MAX_HEADER_VALUE_BYTES} printable ASCII characters"),
            );
            continue;
        }
        match take(name.as_str(), text) {
            Ok(value) => {
                if headers.insert(name.as_str().to_owned(), value).is_some() {
                    faults.push(pointer, "is given twice (names of headers ignore case)");
                }
            }
            Err(message) => faults.push(pointer, message),
        }
    }
    headers
}
