//! `POST /webhook`

use actix_web::HttpResponse;
use serde_json::Value;
use shared::{
    clock::Timestamp,
    ids::{EnvironmentId, WebhookId},
    model::webhook::{Webhook, WebhookInput},
    seal::{Sealer, token::new_webhook_secret},
    store::objects::Creation,
};

use super::{check_target, view::WebhookView};
use crate::{
    answer::Answer,
    error::ApiError,
    extract::{Caller, Write},
    state::AppState,
};

/// Makes a webhook. Its signing secret is in this answer and in none after it,
/// but those of its rotations.
#[utoipa::path(
    post, path = "/api/v1/ipaas/webhook", tag = "webhook", operation_id = "create_webhook",
    request_body = WebhookInput, responses((status = 201, description = "Made", body = WebhookView))
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
    let input = WebhookInput::read(body, environment);
    let input =
        check_target(input, &state.targets).map_err(|faults| ApiError::validation(&faults))?;
    let now = Timestamp::now();
    let mut webhook = Webhook {
        id,
        environment_id: environment,
        target_url: String::new(),
        event_types: Vec::new(),
        is_active: true,
        label: None,
        headers: std::collections::BTreeMap::new(),
        delivery: shared::model::webhook::Delivery::default(),
        legacy_signature_encoding: shared::model::webhook::SignatureEncoding::default(),
        sealed_secret: state
            .sealer
            .seal(&id.to_string(), new_webhook_secret().expose().as_bytes()),
        previous_secret: None,
        rotation: None,
        created_at: now,
        updated_at: now,
        disabled_at: None,
        disabled_reason: None,
        deleted_at: None,
    };
    webhook.apply(input, now);
    let webhook = match state.store.objects().create(&webhook).await? {
        Creation::Existed(existing) => existing,
        Creation::Created | Creation::NameTaken(_) => webhook,
    };
    let secret = current_secret(&state.sealer, &webhook)?;
    Answer::created(&WebhookView::with_secret(&webhook, secret))
}

/// The secret that signs now, in the clear.
pub(super) fn current_secret(sealer: &Sealer, webhook: &Webhook) -> Result<String, ApiError> {
    let opened = sealer.open(&webhook.id.to_string(), &webhook.sealed_secret).map_err(|error| {
        tracing::error!(%error, webhook.id = %webhook.id, "the secret of a webhook can't be opened");
        ApiError::internal()
    })?;
    String::from_utf8(opened).map_err(|_| ApiError::internal())
}
