//! A webhook as the API shows it.

use std::collections::BTreeMap;

use serde::Serialize;
use shared::{
    clock::Timestamp,
    ids::{EnvironmentId, WebhookId},
    model::webhook::{Authentication, Concealed, Delivery, Health, SignatureEncoding, Webhook},
    seal::signature::SignatureAlgorithm,
};

/// Where events go, which ones, and how.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = Webhook)]
pub struct WebhookView {
    #[schema(value_type = String, example = "wh_01J8Z5T2V6N3Q4R7S8W9X0Y1Z2")]
    pub id: WebhookId,
    pub target_url: String,
    /// Event types it gets; empty: all.
    pub event_types: Vec<String>,
    pub is_active: bool,
    /// The signing secret; in the answers to its creation and rotation only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
    pub signature_algorithm: SignatureAlgorithm,
    /// What receivers verify ed25519 signatures with: `whpk_…`.
    pub public_key: Option<String>,
    pub label: Option<String>,
    pub headers: BTreeMap<String, String>,
    /// Each value is shown as `[redacted]`.
    #[schema(value_type = BTreeMap<String, String>)]
    pub secret_headers: BTreeMap<String, Concealed>,
    /// Its secret part is shown as `[redacted]`.
    #[schema(value_type = Option<Authentication<String>>)]
    pub authentication: Option<Authentication<Concealed>>,
    pub delivery: Delivery,
    pub legacy_signature_encoding: SignatureEncoding,
    #[schema(value_type = String)]
    pub environment_id: EnvironmentId,
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    pub updated_at: Timestamp,
    #[schema(value_type = Option<String>, format = DateTime)]
    pub disabled_at: Option<Timestamp>,
    pub disabled_reason: Option<String>,
    /// How its receiver is doing; in the answer to `GET /webhook/{id}` only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub health: Option<Health>,
}

impl WebhookView {
    /// With how its receiver is doing.
    pub fn with_health(webhook: &Webhook, health: Health) -> Self {
        Self {
            health: Some(health),
            ..Self::from(webhook)
        }
    }

    /// With the secret, for the answers that show it.
    pub fn with_secret(webhook: &Webhook, secret: String) -> Self {
        Self {
            secret: Some(secret),
            ..Self::from(webhook)
        }
    }
}

impl From<&Webhook> for WebhookView {
    fn from(webhook: &Webhook) -> Self {
        let input = webhook.input();
        Self {
            id: webhook.id,
            target_url: input.target_url,
            event_types: input.event_types,
            is_active: input.is_active,
            secret: None,
            signature_algorithm: webhook.signature_algorithm(),
            public_key: webhook.public_key.clone(),
            label: input.label,
            headers: input.headers,
            secret_headers: input.secret_headers,
            authentication: input.authentication,
            delivery: input.delivery,
            legacy_signature_encoding: input.legacy_signature_encoding,
            environment_id: webhook.environment_id,
            created_at: webhook.created_at,
            updated_at: webhook.updated_at,
            disabled_at: webhook.disabled_at,
            disabled_reason: webhook.disabled_reason.clone(),
            health: None,
        }
    }
}
