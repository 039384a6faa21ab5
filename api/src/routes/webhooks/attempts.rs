//! `GET /webhook/{id}/attempt`

use actix_web::HttpResponse;
use shared::{
    ids::WebhookId,
    model::{
        attempt::{AttemptOutcome, AttemptRecord},
        webhook::Webhook,
    },
    store::attempts::{AttemptFilter, is_attempt_cursor},
};

use crate::{
    answer::Answer,
    error::ApiError,
    extract::{Caller, Read},
};

/// What was sent to this webhook lately and what came of it, newest first: the last
/// 1,000 attempts that succeeded and the last 1,000 that didn't, test events among them.
#[utoipa::path(
    get, path = "/api/v1/ipaas/webhook/{id}/attempt", tag = "webhook", operation_id = "list_webhook_attempts",
    params(
        ("event_id" = Option<String>, Query, description = "Only those of this event"),
        ("sync_job_run_id" = Option<String>, Query, description = "Only those of events of this run"),
        ("outcome" = Option<AttemptOutcome>, Query, description = "Only those that ended so"),
    ),
    responses((status = 200, description = "A page", body = crate::openapi::List<AttemptRecord>))
)]
pub async fn attempts(caller: Caller<Read>) -> Result<HttpResponse, ApiError> {
    let id: WebhookId = caller.id("webhook")?;
    let known = ["event_id", "sync_job_run_id", "outcome"];
    let query = caller.list_query(&known, is_attempt_cursor)?;
    let outcomes = [
        ("delivered", AttemptOutcome::Delivered),
        ("failed", AttemptOutcome::Failed),
    ];
    let filter = AttemptFilter {
        event: query.filters.parsed("event_id")?,
        run: query.filters.parsed("sync_job_run_id")?,
        outcome: query.filters.choice("outcome", &outcomes)?,
    };
    let store = &caller.state.store;
    let webhook = store
        .objects()
        .get::<Webhook>(caller.environment, id)
        .await?;
    webhook.ok_or_else(|| ApiError::not_found("webhook"))?;
    let page = store.attempts(id, &filter, &query.page).await?;
    Ok(Answer::page(&page, &query.page)?.into())
}
