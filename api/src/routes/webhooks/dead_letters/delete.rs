//! `DELETE /webhook/{id}/dead-letter/{event_id}`

use actix_web::HttpResponse;

use super::{event, no_letter, webhook};
use crate::{
    answer::Answer,
    error::ApiError,
    extract::{Caller, Write},
    routes::Deleted,
};

/// Deletes a dead letter with its bytes. The figures of its run stay: it was not delivered.
#[utoipa::path(
    delete, path = "/api/v1/ipaas/webhook/{id}/dead-letter/{event_id}", tag = "webhook", operation_id = "delete_webhook_dead_letter",
    responses((status = 200, description = "Deleted", body = Deleted))
)]
pub async fn delete(caller: Caller<Write>) -> Result<HttpResponse, ApiError> {
    caller.query(&[])?;
    let (webhook, event) = (webhook(&caller).await?.id, event(&caller)?);
    if !caller
        .state
        .store
        .delete_dead_letter(webhook, event)
        .await?
    {
        return Err(no_letter());
    }
    tracing::info!(webhook.id = %webhook, event.id = %event, "dead letter deleted by request");
    Ok(Answer::deleted(event)?.into())
}
