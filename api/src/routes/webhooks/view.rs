//! A webhook as the API shows it.

use std::collections::BTreeMap;

use serde::Serialize;
use shared::{
    clock::Timestamp,
    ids::{EnvironmentId, WebhookId},
    model::webhook::{Delivery, SignatureEncoding, Webhook},
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
    pub label: Option<String>,
    pub headers: BTreeMap<String, String>,
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
}

impl WebhookView {
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
        Self {
            id: webhook.id,
            target_url: webhook.target_url.clone(),
            event_types: webhook.event_types.clone(),
            is_active: webhook.is_active,
            secret: None,
            label: webhook.label.clone(),
            headers: webhook.headers.clone(),
            delivery: webhook.delivery.clone(),
            legacy_signature_encoding: webhook.legacy_signature_encoding,
            environment_id: webhook.environment_id,
            created_at: webhook.created_at,
            updated_at: webhook.updated_at,
            disabled_at: webhook.disabled_at,
            disabled_reason: webhook.disabled_reason.clone(),
        }
    }
}
