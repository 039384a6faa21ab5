//! One attempt: sign, send, read the answer.

use std::time::Instant;

use ::bytes::Bytes;
use base64::Engine;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use shared::{
    clock::Timestamp,
    http::Redirects,
    integration::HttpRequest,
    model::{event::Batch, webhook::SignatureEncoding},
};

use super::answer::Answer;
use crate::context::{Context, LoadedWebhook};

/// Bytes of an answer that are read at most; the rest is of no interest to a sender.
const ANSWER_BYTES: u64 = 64 * 1024;

const WEBHOOK_ID: HeaderName = HeaderName::from_static("webhook-id");
const WEBHOOK_TIMESTAMP: HeaderName = HeaderName::from_static("webhook-timestamp");
const WEBHOOK_SIGNATURE: HeaderName = HeaderName::from_static("webhook-signature");
const HANDLED_SIGNATURE: HeaderName = HeaderName::from_static("x-handled-signature");
const TRUTO_SIGNATURE: HeaderName = HeaderName::from_static("x-truto-signature");

/// Sends the batch once. The timestamp and the signatures are fresh at every
/// attempt, the id and the bytes are not.
pub(super) async fn send(
    context: &Context,
    webhook: &LoadedWebhook,
    batch: &Batch,
    body: Bytes,
) -> Answer {
    let began = Instant::now();
    let headers = match headers(webhook, batch, &body) {
        Ok(headers) => headers,
        Err(error) => {
            return Answer::failed(
                format!("the headers can't be made: {error}"),
                began.elapsed(),
            );
        }
    };
    let request = HttpRequest {
        method: http::Method::POST,
        url: webhook.target.clone(),
        headers,
        body: Some(body),
        timeout: std::time::Duration::from_millis(u64::from(webhook.delivery.timeout_ms)),
        shown_url: None,
    };
    match context
        .outbound
        .send(request, Redirects::None, ANSWER_BYTES)
        .await
    {
        Ok(mut response) => {
            let (status, headers) = (response.status, response.headers.clone());
            // A success counts once its whole answer (or the bound of it) has arrived in time; a reset before
            // that is a failure, since the receiver may have failed in the middle.
            let read = response
                .prefix(usize::try_from(ANSWER_BYTES).unwrap_or(usize::MAX))
                .await;
            match read {
                Ok(_) => Answer::answered(status, headers, began.elapsed()),
                Err(error) => {
                    Answer::failed(format!("after status {status}: {error}"), began.elapsed())
                }
            }
        }
        Err(error) => Answer::failed(error.to_string(), began.elapsed()),
    }
}

fn headers(
    webhook: &LoadedWebhook,
    batch: &Batch,
    body: &[u8],
) -> Result<HeaderMap, http::header::InvalidHeaderValue> {
    let id = batch.event.to_string();
    let seconds = Timestamp::now().0 / 1000;
    let signatures: Vec<String> = webhook
        .keys
        .iter()
        .map(|key| key.standard_webhooks(&id, seconds, body))
        .collect();
    let mut headers = webhook.headers.clone();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    headers.insert(WEBHOOK_ID, HeaderValue::from_str(&id)?);
    headers.insert(WEBHOOK_TIMESTAMP, HeaderValue::from(seconds));
    headers.insert(
        WEBHOOK_SIGNATURE,
        HeaderValue::from_str(&signatures.join(" "))?,
    );
    if let Some(key) = webhook.keys.first() {
        let digest = key.body_hmac(body);
        let text = match webhook.legacy_encoding {
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
