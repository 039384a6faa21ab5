//! `GET /webhook/{id}/dead-letter/{event_id}`

use actix_web::HttpResponse;
use serde::Serialize;
use serde_json::Value;
use shared::model::dead_letter::DeadLetter;

use super::{event, no_letter, webhook};
use crate::{
    answer::Answer,
    error::ApiError,
    extract::{Caller, Read},
};

/// A dead letter with what was sent.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct DeadLetterWithBody {
    #[serde(flatten)]
    letter: DeadLetter,
    /// The event as JSON; as a text, if it is none; empty when it could not be made.
    #[schema(value_type = Object)]
    body: Value,
}

/// One event that was given up, with what was sent.
#[utoipa::path(
    get, path = "/api/v1/ipaas/webhook/{id}/dead-letter/{event_id}", tag = "webhook", operation_id = "get_webhook_dead_letter",
    responses((status = 200, description = "The dead letter", body = DeadLetterWithBody))
)]
pub async fn get(caller: Caller<Read>) -> Result<HttpResponse, ApiError> {
    caller.query(&[])?;
    let (webhook, event) = (webhook(&caller).await?.id, event(&caller)?);
    let kept = caller.state.store.dead_letter(webhook, event).await?;
    let kept = kept.ok_or_else(no_letter)?;
    let body = serde_json::from_slice(&kept.body)
        .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&kept.body).into_owned()));
    let letter = kept.letter;
    Ok(Answer::ok(&DeadLetterWithBody { letter, body })?.into())
}
