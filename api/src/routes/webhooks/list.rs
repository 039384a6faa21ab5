//! `GET /webhook`

use actix_web::HttpResponse;
use shared::{ids::WebhookId, model::webhook::Webhook};

use super::view::WebhookView;
use crate::{
    answer::Answer,
    error::ApiError,
    extract::{Caller, Read},
};

/// Webhooks, newest first.
#[utoipa::path(
    get, path = "/api/v1/ipaas/webhook", tag = "webhook", operation_id = "list_webhooks",
    params(("is_active" = Option<bool>, Query, description = "Only those that are, or aren't, switched on")),
    responses((status = 200, description = "A page", body = crate::openapi::List<WebhookView>))
)]
pub async fn list(caller: Caller<Read>) -> Result<HttpResponse, ApiError> {
    let query = caller.list_query(&["is_active"], |row| row.parse::<WebhookId>().is_ok())?;
    let is_active = query.filters.boolean("is_active")?;
    let keep = |webhook: &Webhook| is_active.is_none_or(|wanted| webhook.is_active == wanted);
    let page = caller
        .state
        .store
        .objects()
        .list(caller.environment, None, &query.page, keep)
        .await?;
    Ok(Answer::page(
        &page.map(|webhook| WebhookView::from(&webhook)),
        &query.page,
    )?
    .into())
}
