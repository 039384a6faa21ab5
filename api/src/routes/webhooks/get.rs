//! `GET /webhook/{id}`

use actix_web::HttpResponse;
use shared::{ids::WebhookId, model::webhook::Webhook};

use super::view::WebhookView;
use crate::{
    answer::Answer,
    error::ApiError,
    extract::{Caller, Read},
};

/// A webhook, without its secrets, and how its receiver is doing.
#[utoipa::path(
    get, path = "/api/v1/ipaas/webhook/{id}", tag = "webhook", operation_id = "get_webhook",
    responses((status = 200, description = "The webhook", body = WebhookView))
)]
pub async fn get(caller: Caller<Read>) -> Result<HttpResponse, ApiError> {
    let id: WebhookId = caller.id("webhook")?;
    caller.query(&[])?;
    let store = &caller.state.store;
    let webhook = store
        .objects()
        .get::<Webhook>(caller.environment, id)
        .await?;
    let webhook = webhook.ok_or_else(|| ApiError::not_found("webhook"))?;
    let health = store.webhook_health(id).await?;
    Ok(Answer::ok(&WebhookView::with_health(&webhook, health))?.into())
}
