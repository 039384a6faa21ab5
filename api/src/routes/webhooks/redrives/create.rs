//! `POST /webhook/{id}/dead-letter/redrive`

use actix_web::HttpResponse;
use serde_json::Value;
use shared::{
    ids::RedriveId,
    model::{
        redrive::{Redrive, RedriveInput},
        webhook::Webhook,
    },
    store::redrives::{CreatedRedrive, NewRedrive},
};

use super::find;
use crate::{
    answer::Answer,
    error::ApiError,
    extract::{Caller, Write},
    routes::webhooks::dead_letters::webhook,
};

/// Sends dead letters again, in the order of their events, with the same ids and bytes: those that match when it is
/// made. An accepted one is no dead letter any more, and its run counts its records as delivered.
#[utoipa::path(
    post, path = "/api/v1/ipaas/webhook/{id}/dead-letter/redrive", tag = "webhook", operation_id = "create_webhook_redrive",
    request_body = Option<RedriveInput>, responses((status = 201, description = "Queued", body = Redrive))
)]
pub async fn create(mut caller: Caller<Write>) -> Result<HttpResponse, ApiError> {
    caller.query(&[])?;
    let webhook = webhook(&caller).await?;
    let body = caller.optional_json().await?;
    let make = async |id| make(&caller, &webhook, RedriveId::from_bits(id), &body.value).await;
    caller.once(&body, make).await
}

async fn make(
    caller: &Caller<Write>,
    webhook: &Webhook,
    id: RedriveId,
    body: &Value,
) -> Result<Answer, ApiError> {
    let input = RedriveInput::read(body).map_err(|faults| ApiError::validation(&faults))?;
    let store = &caller.state.store;
    let new = NewRedrive {
        id,
        webhook: webhook.id,
        environment: caller.environment,
        input: &input,
        total: store.count_dead_letters(webhook.id, &input.filter).await?,
        lane_limit: webhook.delivery.concurrency,
        retention_days: caller.state.retention_days,
    };
    match store.create_redrive(&new).await? {
        CreatedRedrive::Created => {
            tracing::info!(webhook.id = %webhook.id, redrive.id = %id, total = new.total, "redrive accepted");
        }
        CreatedRedrive::Existed => {}
        CreatedRedrive::Active(other) => {
            return Err(ApiError::conflict(format!(
                "the redrive {other} of this webhook is running; wait for its end, or cancel it"
            )));
        }
    }
    Answer::created(&find(caller, webhook.id, id).await?)
}
