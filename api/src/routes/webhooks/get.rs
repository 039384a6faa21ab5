//! `GET /webhook/{id}`

use actix_web::HttpResponse;
use shared::{ids::WebhookId, model::webhook::Webhook};

use super::view::WebhookView;
use crate::{
    answer::Answer,
    error::ApiError,
    extract::{Caller, Read},
};

/// A webhook, without its secret.
#[utoipa::path(
    get, path = "/api/v1/ipaas/webhook/{id}", tag = "webhook", operation_id = "get_webhook",
    responses((status = 200, description = "The webhook", body = WebhookView))
)]
pub async fn get(caller: Caller<Read>) -> Result<HttpResponse, ApiError> {
    let id: WebhookId = caller.id("webhook")?;
    caller.query(&[])?;
    let webhook = caller
        .state
        .store
        .objects()
        .get::<Webhook>(caller.environment, id)
        .await?;
    let webhook = webhook.ok_or_else(|| ApiError::not_found("webhook"))?;
    Ok(Answer::ok(&WebhookView::from(&webhook))?.into())
}
