//! `GET /webhook/{id}/dead-letter/redrive/{redrive_id}`

use actix_web::HttpResponse;
use shared::model::redrive::Redrive;

use super::{find, id};
use crate::{
    answer::Answer,
    error::ApiError,
    extract::{Caller, Read},
    routes::webhooks::dead_letters::webhook,
};

/// A redrive, and how far it is.
#[utoipa::path(
    get, path = "/api/v1/ipaas/webhook/{id}/dead-letter/redrive/{redrive_id}", tag = "webhook", operation_id = "get_webhook_redrive",
    responses((status = 200, description = "The redrive", body = Redrive))
)]
pub async fn get(caller: Caller<Read>) -> Result<HttpResponse, ApiError> {
    caller.query(&[])?;
    let (webhook, id) = (webhook(&caller).await?.id, id(&caller)?);
    Ok(Answer::ok(&find(&caller, webhook, id).await?)?.into())
}
