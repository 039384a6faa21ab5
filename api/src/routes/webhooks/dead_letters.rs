//! `GET /webhook/{id}/dead-letter`

use actix_web::HttpResponse;
use shared::{
    ids::{EventId, WebhookId},
    model::{dead_letter::DeadLetter, webhook::Webhook},
};

use crate::{
    answer::Answer,
    error::ApiError,
    extract::{Caller, Read},
};

/// Events to this webhook that were given up, newest first.
#[utoipa::path(
    get, path = "/api/v1/ipaas/webhook/{id}/dead-letter", tag = "webhook", operation_id = "list_webhook_dead_letters",
    responses((status = 200, description = "A page", body = crate::openapi::List<DeadLetter>))
)]
pub async fn dead_letters(caller: Caller<Read>) -> Result<HttpResponse, ApiError> {
    let id: WebhookId = caller.id("webhook")?;
    let query = caller.list_query(&[], |row| row.parse::<EventId>().is_ok())?;
    let store = &caller.state.store;
    let webhook = store
        .objects()
        .get::<Webhook>(caller.environment, id)
        .await?;
    webhook.ok_or_else(|| ApiError::not_found("webhook"))?;
    let page = store.dead_letters(id, &query.page).await?;
    Ok(Answer::page(&page, &query.page)?.into())
}
