//! A JSON body: declared as such, bounded in size and depth, UTF-8.

use std::time::Duration;

use actix_web::{HttpRequest, dev::Payload, http::header, rt};
use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use serde_json::{Map, Value};

use crate::error::ApiError;

/// Bytes of a request's body at most. (Its depth is bounded by `serde_json`: 128.)
pub const MAX_BODY_BYTES: usize = 1024 * 1024;
/// Time for a body to arrive, from when it is read on. A purge counts on it: what a request that was let in before a
/// deletion makes is there before the purge's last round.
pub const BODY_TIMEOUT: Duration = Duration::from_secs(15);
/// How long the rest of a body that is refused stays unread. While it does, actix closes the connection with the answer;
/// once it is gone a chunked one would be read to its end, however long that takes.
const UNREAD: Duration = Duration::from_secs(2);

/// A body as it came, and what it says.
#[derive(Debug)]
pub struct Body {
    pub bytes: Bytes,
    pub value: Value,
}

/// What an empty body means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Empty {
    Refused,
    IsAnObject,
}

/// Reads the body of a request.
pub(super) async fn read(
    request: &HttpRequest,
    payload: &mut Payload,
    empty: Empty,
) -> Result<Body, ApiError> {
    let declared = is_json(request);
    if !declared
        && (empty == Empty::Refused || request.headers().contains_key(header::CONTENT_TYPE))
    {
        return Err(ApiError::unsupported_media_type());
    }
    let bytes = tokio::time::timeout(BODY_TIMEOUT, collect(request, payload))
        .await
        .unwrap_or_else(|_| Err(ApiError::request_timeout(BODY_TIMEOUT)));
    if bytes.is_err() {
        let unread = payload.take();
        rt::spawn(async move {
            tokio::time::sleep(UNREAD).await;
            drop(unread);
        });
    }
    let bytes = bytes?;
    if bytes.is_empty() && empty == Empty::IsAnObject {
        return Ok(Body {
            bytes,
            value: Value::Object(Map::new()),
        });
    }
    if !declared {
        return Err(ApiError::unsupported_media_type());
    }
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Err(ApiError::invalid_json(
            "the body is empty; send a JSON object",
        ));
    }
    let value: Value =
        serde_json::from_slice(&bytes).map_err(|error| ApiError::unreadable_json(&error))?;
    if has_reserved_name(&value) {
        return Err(ApiError::invalid_json(format!(
            "names that begin with `{RESERVED}` are reserved; use another one"
        )));
    }
    Ok(Body { bytes, value })
}

/// What the JSON library calls numbers and raw values inside (`arbitrary_precision`). A document that has such a name as one
/// of its own could be stored and not be read again.
const RESERVED: &str = "$serde_json::private::";

fn has_reserved_name(value: &Value) -> bool {
    match value {
        Value::Object(fields) => fields
            .iter()
            .any(|(name, value)| name.starts_with(RESERVED) || has_reserved_name(value)),
        Value::Array(values) => values.iter().any(has_reserved_name),
        _ => false,
    }
}

/// Whether the body is declared as uncompressed JSON in UTF-8.
fn is_json(request: &HttpRequest) -> bool {
    let header = |name| {
        request
            .headers()
            .get(name)
            .and_then(|value| value.to_str().ok())
    };
    if header(header::CONTENT_ENCODING)
        .is_some_and(|encoding| !encoding.eq_ignore_ascii_case("identity"))
    {
        return false;
    }
    let Some(content_type) = header(header::CONTENT_TYPE) else {
        return false;
    };
    let mut parts = content_type.split(';').map(str::trim);
    let media_type = parts
        .next()
        .is_some_and(|part| part.eq_ignore_ascii_case("application/json"));
    media_type
        && parts.all(|part| match part.split_once('=') {
            Some((name, value)) if name.trim().eq_ignore_ascii_case("charset") => {
                let value = value.trim().trim_matches('"');
                value.eq_ignore_ascii_case("utf-8") || value.eq_ignore_ascii_case("utf8")
            }
            _ => true,
        })
}

async fn collect(request: &HttpRequest, payload: &mut Payload) -> Result<Bytes, ApiError> {
    let declared: Option<usize> = request
        .headers()
        .get(header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok())
        .and_then(|text| text.parse().ok());
    if declared.is_some_and(|length| length > MAX_BODY_BYTES) {
        return Err(ApiError::payload_too_large(MAX_BODY_BYTES));
    }
    let mut bytes = BytesMut::new();
    while let Some(chunk) = payload.next().await {
        let chunk = chunk
            .map_err(|_| ApiError::invalid_json("the body ended before its declared length"))?;
        if bytes.len() + chunk.len() > MAX_BODY_BYTES {
            return Err(ApiError::payload_too_large(MAX_BODY_BYTES));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes.freeze())
}
