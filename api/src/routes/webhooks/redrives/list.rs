//! `GET /webhook/{id}/dead-letter/redrive`

use actix_web::HttpResponse;
use shared::{ids::RedriveId, model::redrive::Redrive};

use crate::{
    answer::Answer,
    error::ApiError,
    extract::{Caller, Read},
    routes::webhooks::dead_letters::webhook,
};

/// Redrives of this webhook, newest first.
#[utoipa::path(
    get, path = "/api/v1/ipaas/webhook/{id}/dead-letter/redrive", tag = "webhook", operation_id = "list_webhook_redrives",
    responses((status = 200, description = "A page", body = crate::openapi::List<Redrive>))
)]
pub async fn list(caller: Caller<Read>) -> Result<HttpResponse, ApiError> {
    let query = caller.list_query(&[], |row| row.parse::<RedriveId>().is_ok())?;
    let webhook = webhook(&caller).await?.id;
    let page = caller.state.store.redrives(webhook, &query.page).await?;
    Ok(Answer::page(&page, &query.page)?.into())
}
