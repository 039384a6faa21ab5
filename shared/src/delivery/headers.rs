//! The headers of a request, signatures among them.

use base64::Engine;
use http::{HeaderMap, HeaderName, HeaderValue, header};

use super::{Target, body::content_encoding};
use crate::{clock::Timestamp, model::webhook::SignatureEncoding};

const WEBHOOK_ID: HeaderName = HeaderName::from_static("webhook-id");
const WEBHOOK_TIMESTAMP: HeaderName = HeaderName::from_static("webhook-timestamp");
const WEBHOOK_SIGNATURE: HeaderName = HeaderName::from_static("webhook-signature");
const HANDLED_SIGNATURE: HeaderName = HeaderName::from_static("x-handled-signature");
const TRUTO_SIGNATURE: HeaderName = HeaderName::from_static("x-truto-signature");

/// All headers of a request at `now`; `body`: the bytes as they are sent.
pub(super) fn headers(
    target: &Target,
    id: &str,
    body: &[u8],
    now: Timestamp,
) -> Result<HeaderMap, http::header::InvalidHeaderValue> {
    let seconds = now.0 / 1000;
    let signatures: Vec<String> = target
        .keys
        .iter()
        .map(|key| key.standard_webhooks(id, seconds, body))
        .collect();
    let mut headers = target.headers.clone();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    if let Some(compression) = target.delivery.compression {
        headers.insert(
            header::CONTENT_ENCODING,
            HeaderValue::from_static(content_encoding(compression)),
        );
    }
    headers.insert(WEBHOOK_ID, HeaderValue::from_str(id)?);
    headers.insert(WEBHOOK_TIMESTAMP, HeaderValue::from(seconds));
    headers.insert(
        WEBHOOK_SIGNATURE,
        HeaderValue::from_str(&signatures.join(" "))?,
    );
    if let Some(digest) = target.keys.iter().find_map(|key| key.body_hmac(body)) {
        let text = match target.legacy_encoding {
            SignatureEncoding::Hex => hex::encode(digest),
            SignatureEncoding::Base64 => base64::engine::general_purpose::STANDARD.encode(digest),
        };
        headers.insert(
            TRUTO_SIGNATURE,
            HeaderValue::from_str(&format!("format=sha256,v={text}"))?,
        );
        headers.insert(HANDLED_SIGNATURE, HeaderValue::from_str(&text)?);
    }
    Ok(headers)
}
