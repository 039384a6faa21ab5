//! `POST /webhook`

use actix_web::HttpResponse;
use serde_json::Value;
use shared::{
    clock::Timestamp,
    ids::{EnvironmentId, WebhookId},
    model::webhook::{Webhook, WebhookInput},
    seal::{SealError, Sealer, signature::SignatureAlgorithm},
    store::objects::Creation,
};

use super::view::WebhookView;
use crate::{
    answer::Answer,
    error::ApiError,
    extract::{Caller, Write},
    state::AppState,
};

/// A new webhook.
#[derive(Debug, utoipa::ToSchema)]
#[expect(
    dead_code,
    reason = "describes the body in the OpenAPI document; it is read field by field"
)]
pub struct NewWebhook {
    #[serde(flatten)]
    input: WebhookInput,
    /// Signs deliveries: `whsec_` and base64 of 24 to 64 bytes, or `whsk_` and base64 of an ed25519 seed (32 bytes)
    /// or key pair (64 bytes). Without it one is made.
    secret: Option<String>,
    /// What the secret is for; without it, what a given secret's prefix says.
    #[schema(default = "hmac-sha256")]
    signature_algorithm: Option<SignatureAlgorithm>,
}

/// Makes a webhook. Its signing secret is in this answer and in none after it,
/// but those of its rotations.
#[utoipa::path(
    post, path = "/api/v1/ipaas/webhook", tag = "webhook", operation_id = "create_webhook",
    request_body = NewWebhook, responses((status = 201, description = "Made", body = WebhookView))
)]
pub async fn create(mut caller: Caller<Write>) -> Result<HttpResponse, ApiError> {
    caller.query(&[])?;
    let body = caller.json().await?;
    let make = |id| {
        make(
            &caller.state,
            caller.environment,
            WebhookId::from_bits(id),
            &body.value,
        )
    };
    caller.once(&body, make).await
}

async fn make(
    state: &AppState,
    environment: EnvironmentId,
    id: WebhookId,
    body: &Value,
) -> Result<Answer, ApiError> {
    let read = WebhookInput::read_new(body, environment, &|url| state.targets.check_url(url));
    let (input, signing) = read.map_err(|faults| ApiError::validation(&faults))?;
    let secret = signing.secret(SignatureAlgorithm::default());
    let now = Timestamp::now();
    let webhook = Webhook::new(id, environment, input, &secret, &state.sealer, now)
        .map_err(|error| unusable_secret(id, &error))?;
    let webhook = match state.store.objects().create(&webhook).await? {
        // Made by the first of these requests, and its secret went with it.
        Creation::Existed(existing) if existing.deleted_at.is_some() => {
            return Err(ApiError::conflict(format!(
                "{id}, which a request with this Idempotency-Key made, was deleted since; use another key"
            )));
        }
        Creation::Existed(existing) => existing,
        Creation::Created | Creation::NameTaken(_) => webhook,
    };
    let secret = current_secret(&state.sealer, &webhook)?;
    Answer::created(&WebhookView::with_secret(&webhook, secret))
}

/// A secret that was checked, or made here, can't be used: a defect.
pub(super) fn unusable_secret(id: WebhookId, error: &SealError) -> ApiError {
    tracing::error!(%error, webhook.id = %id, "the secret of a webhook can't be used");
    ApiError::internal()
}

/// The secret that signs now, in the clear.
pub(super) fn current_secret(sealer: &Sealer, webhook: &Webhook) -> Result<String, ApiError> {
    let opened = sealer.open(&webhook.id.to_string(), &webhook.sealed_secret).map_err(|error| {
        tracing::error!(%error, webhook.id = %webhook.id, "the secret of a webhook can't be opened");
        ApiError::internal()
    })?;
    String::from_utf8(opened).map_err(|_| ApiError::internal())
}
