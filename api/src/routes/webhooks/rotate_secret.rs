//! `POST /webhook/{id}/rotate-secret`

use actix_web::HttpResponse;
use serde_json::Value;
use shared::{
    clock::Timestamp,
    fault::{Faults, Fields},
    ids::{EnvironmentId, WebhookId},
    model::webhook::{SigningInput, Webhook},
    seal::signature::SignatureAlgorithm,
};

use super::{
    create::{current_secret, unusable_secret},
    view::WebhookView,
};
use crate::{
    answer::Answer,
    error::ApiError,
    extract::{Caller, Write},
    state::AppState,
};

/// How long both secrets sign when the client doesn't say, in hours.
const DEFAULT_OVERLAP_HOURS: u64 = 24;
/// How long both secrets may sign at most, in hours: a week.
const MAX_OVERLAP_HOURS: u64 = 168;
const MS_PER_HOUR: i64 = 3_600_000;

/// How a secret is rotated.
#[derive(Debug, utoipa::ToSchema)]
#[expect(
    dead_code,
    reason = "describes the body in the OpenAPI document; it is read field by field"
)]
pub struct RotateSecret {
    /// How long the old secret signs beside the new one, in hours.
    #[schema(minimum = 0, maximum = 168, default = 24)]
    overlap_hours: Option<u64>,
    /// The new secret, as at the creation; without it one is made.
    secret: Option<String>,
    /// What the new secret is for; without it, what a given secret's prefix says, or else what the old one was for.
    signature_algorithm: Option<SignatureAlgorithm>,
}

/// Gives a webhook a new signing secret, which is in this answer only; it may be for
/// another algorithm. The old one signs beside it for a while, so that receivers can
/// be changed over.
#[utoipa::path(
    post, path = "/api/v1/ipaas/webhook/{id}/rotate-secret", tag = "webhook", operation_id = "rotate_webhook_secret",
    request_body = Option<RotateSecret>, responses((status = 200, description = "Rotated", body = WebhookView))
)]
pub async fn rotate_secret(mut caller: Caller<Write>) -> Result<HttpResponse, ApiError> {
    let id: WebhookId = caller.id("webhook")?;
    caller.query(&[])?;
    let body = caller.optional_json().await?;
    let rotate = |rotation| rotate(&caller.state, caller.environment, id, rotation, &body.value);
    caller.once(&body, rotate).await
}

async fn rotate(
    state: &AppState,
    environment: EnvironmentId,
    id: WebhookId,
    rotation: u128,
    body: &Value,
) -> Result<Answer, ApiError> {
    let (signing, overlap_hours) = read(body).map_err(|faults| ApiError::validation(&faults))?;
    let now = Timestamp::now();
    let until = Timestamp(
        now.0
            .saturating_add(overlap_hours.saturating_mul(MS_PER_HOUR)),
    );
    let change = |webhook: &mut Webhook| {
        if webhook.rotation == Some(rotation) {
            return Ok(());
        }
        webhook.rotation = Some(rotation);
        let secret = signing.secret(webhook.signature_algorithm());
        webhook
            .rotate(&secret, until, &state.sealer, now)
            .map_err(|error| unusable_secret(id, &error))
    };
    let webhook = state
        .store
        .objects()
        .update(environment, id, change)
        .await
        .map_err(ApiError::from)?;
    let webhook = webhook.ok_or_else(|| ApiError::not_found("webhook"))?;
    let secret = current_secret(&state.sealer, &webhook)?;
    Answer::ok(&WebhookView::with_secret(&webhook, secret))
}

fn read(body: &Value) -> Result<(SigningInput, i64), Faults> {
    let mut faults = Faults::default();
    let Some(mut fields) = Fields::new(body, "", &mut faults) else {
        return Err(faults);
    };
    let hours = fields
        .integer("overlap_hours", 0..=MAX_OVERLAP_HOURS, &mut faults)
        .unwrap_or(DEFAULT_OVERLAP_HOURS);
    let signing = SigningInput::read(&mut fields, &mut faults);
    fields.finish(&mut faults);
    faults.into_result((signing, i64::try_from(hours).unwrap_or(i64::MAX)))
}
