//! `POST /webhook/{id}/dead-letter/redrive/{redrive_id}/cancel`

use actix_web::HttpResponse;
use shared::{
    fault::{Faults, Fields},
    model::redrive::Redrive,
    store::redrives::CancelledRedrive,
};

use super::{find, id, no_redrive};
use crate::{
    answer::Answer,
    error::ApiError,
    extract::{Caller, Write},
    routes::webhooks::dead_letters::webhook,
};

/// Cancels a redrive: no further letter is sent. The one that is being sent is still counted. Harmless when it has ended.
#[utoipa::path(
    post, path = "/api/v1/ipaas/webhook/{id}/dead-letter/redrive/{redrive_id}/cancel", tag = "webhook",
    operation_id = "cancel_webhook_redrive",
    responses((status = 200, description = "Cancelled, or ended before", body = Redrive))
)]
pub async fn cancel(mut caller: Caller<Write>) -> Result<HttpResponse, ApiError> {
    caller.query(&[])?;
    let (webhook, id) = (webhook(&caller).await?.id, id(&caller)?);
    let body = caller.optional_json().await?;
    let work = async |_| {
        let mut faults = Faults::default();
        if let Some(fields) = Fields::new(&body.value, "", &mut faults) {
            fields.finish(&mut faults);
        }
        faults
            .into_result(())
            .map_err(|faults| ApiError::validation(&faults))?;
        match caller.state.store.cancel_redrive(webhook, id).await? {
            CancelledRedrive::Cancelled => {
                tracing::info!(webhook.id = %webhook, redrive.id = %id, "redrive cancelled by request");
            }
            CancelledRedrive::Ended => {}
            CancelledRedrive::NotFound => return Err(no_redrive()),
        }
        Answer::ok(&find(&caller, webhook, id).await?)
    };
    caller.once(&body, work).await
}
