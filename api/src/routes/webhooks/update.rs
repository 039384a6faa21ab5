//! `PATCH /webhook/{id}`

use actix_web::HttpResponse;
use serde_json::Value;
use shared::{
    clock::Timestamp,
    ids::WebhookId,
    model::{
        input::merge_patch,
        webhook::{Webhook, WebhookInput},
    },
};

use super::{check_target, view::WebhookView};
use crate::{
    answer::Answer,
    error::ApiError,
    extract::{Caller, Write},
};

/// Changes a webhook: objects merge, `null` goes back to the default, the rest is
/// replaced. Workers go by the new values within seconds; a run keeps the event
/// types and batch sizes it started with.
#[utoipa::path(
    patch, path = "/api/v1/ipaas/webhook/{id}", tag = "webhook", operation_id = "update_webhook",
    request_body(content = WebhookInput, description = "What changes (RFC 7386)"),
    responses((status = 200, description = "Changed", body = WebhookView))
)]
pub async fn update(mut caller: Caller<Write>) -> Result<HttpResponse, ApiError> {
    let id: WebhookId = caller.id("webhook")?;
    caller.query(&[])?;
    let patch = caller.json().await?.value;
    let (environment, policy) = (caller.environment, &caller.state.targets);
    let change = |webhook: &mut Webhook| {
        let input = merged(webhook, &patch).and_then(|merged| {
            check_target(WebhookInput::read(&merged, environment), policy)
                .map_err(|faults| ApiError::validation(&faults))
        })?;
        webhook.apply(input, Timestamp::now());
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
    merge_patch(&mut merged, patch);
    Ok(merged)
}
