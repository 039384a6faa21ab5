//! `PATCH /webhook/{id}`

use actix_web::HttpResponse;
use serde_json::Value;
use shared::{
    clock::Timestamp,
    ids::WebhookId,
    model::{
        input::merge_fields,
        webhook::{Webhook, WebhookInput},
    },
};
use url::Url;

use super::view::WebhookView;
use crate::{
    answer::Answer,
    error::ApiError,
    extract::{Caller, Write},
};

/// Changes a webhook. Secrets that the patch doesn't name stay what they are; those that sign are changed by
/// `rotate-secret`. Otherwise objects merge, `null` goes back to the default, the rest is
/// replaced. Workers go by the new values within seconds; a run keeps the event
/// types, batch sizes and concurrency it started with.
#[utoipa::path(
    patch, path = "/api/v1/ipaas/webhook/{id}", tag = "webhook", operation_id = "update_webhook",
    request_body(content = WebhookInput, description = "What changes (RFC 7386)"),
    responses((status = 200, description = "Changed", body = WebhookView))
)]
pub async fn update(mut caller: Caller<Write>) -> Result<HttpResponse, ApiError> {
    let id: WebhookId = caller.id("webhook")?;
    caller.query(&[])?;
    let patch = caller.json().await?.value;
    let (environment, state) = (caller.environment, &caller.state);
    let change = |webhook: &mut Webhook| {
        let merged = merged(webhook, &patch)?;
        let allowed = |url: &Url| state.targets.check_url(url);
        let input = WebhookInput::read_changed(&merged, webhook, &allowed)
            .map_err(|faults| ApiError::validation(&faults))?;
        webhook.apply(input, &state.sealer, Timestamp::now());
        Ok::<(), ApiError>(())
    };
    let webhook = caller
        .state
        .store
        .objects()
        .update(environment, id, change)
        .await
        .map_err(ApiError::from)?;
    let webhook = webhook.ok_or_else(|| ApiError::not_found("webhook"))?;
    Ok(Answer::ok(&WebhookView::from(&webhook))?.into())
}

fn merged(webhook: &Webhook, patch: &Value) -> Result<Value, ApiError> {
    let mut merged = serde_json::to_value(webhook.input()).map_err(|_| ApiError::internal())?;
    make_way(&mut merged, patch);
    merge_fields(&mut merged, patch);
    Ok(merged)
}

/// Takes out of `current` what the patch replaces though RFC 7386 wouldn't see it: headers under the same name in
/// other letters, and an authentication of another type, whose fields mean nothing to the new one.
fn make_way(current: &mut Value, patch: &Value) {
    for map in ["headers", "secret_headers"] {
        let (Some(headers), Some(given)) = (current[map].as_object_mut(), patch[map].as_object())
        else {
            continue;
        };
        for name in given.keys() {
            let lower = name.to_ascii_lowercase();
            if lower != *name {
                headers.shift_remove(&lower);
            }
        }
    }
    let kind = &patch["authentication"]["type"];
    if !kind.is_null() && *kind != current["authentication"]["type"] {
        current["authentication"] = Value::Null;
    }
}
