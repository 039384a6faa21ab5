//! `DELETE /webhook/{id}`

use actix_web::HttpResponse;
use shared::{ids::WebhookId, model::webhook::Webhook};

use crate::{
    answer::Answer,
    error::ApiError,
    extract::{Caller, Write},
    routes::Deleted,
};

/// Deletes a webhook, its log of attempts, its signing secret and the credentials it was given. No further run can be made for it.
#[utoipa::path(
    delete, path = "/api/v1/ipaas/webhook/{id}", tag = "webhook", operation_id = "delete_webhook",
    responses((status = 200, description = "Deleted", body = Deleted))
)]
pub async fn delete(caller: Caller<Write>) -> Result<HttpResponse, ApiError> {
    let id: WebhookId = caller.id("webhook")?;
    caller.query(&[])?;
    let deleted = caller
        .state
        .store
        .objects()
        .delete(caller.environment, id, Webhook::forget_credentials)
        .await?;
    deleted.ok_or_else(|| ApiError::not_found("webhook"))?;
    // The webhook is gone either way; what is not removed here expires.
    if let Err(error) = caller.state.store.forget_attempts(id).await {
        tracing::warn!(%error, webhook.id = %id, "the attempts at a deleted webhook could not be removed");
    }
    Ok(Answer::deleted(id)?.into())
}
