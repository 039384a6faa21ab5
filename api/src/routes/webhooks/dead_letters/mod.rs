//! `/webhook/{id}/dead-letter`: events to a webhook that were given up.

pub mod delete;
pub mod export;
pub mod get;
pub mod list;

use shared::{
    ids::{EventId, WebhookId},
    model::{
        dead_letter::{Cause, LetterFilter},
        webhook::Webhook,
    },
};

use crate::{
    error::ApiError,
    extract::{Caller, Level, Query},
};

/// The filters of the list and of the export.
const FILTERS: [&str; 4] = ["sync_job_run_id", "resource", "cause", "reason"];

fn filter(query: &Query) -> Result<LetterFilter, ApiError> {
    let text = |name| query.text(name).map(str::to_owned);
    Ok(LetterFilter {
        event_id: None,
        sync_job_run_id: query.parsed("sync_job_run_id")?,
        resource: text("resource"),
        cause: query.choice("cause", &Cause::CHOICES)?,
        reason: text("reason"),
    })
}

/// The webhook of the path, which must be one of the caller's.
pub(super) async fn webhook<L: Level>(caller: &Caller<L>) -> Result<Webhook, ApiError> {
    let id: WebhookId = caller.id("webhook")?;
    let objects = caller.state.store.objects();
    let webhook = objects.get(caller.environment, id).await?;
    webhook.ok_or_else(|| ApiError::not_found("webhook"))
}

fn event<L: Level>(caller: &Caller<L>) -> Result<EventId, ApiError> {
    caller.segment("event_id").parse().map_err(|_| no_letter())
}

fn no_letter() -> ApiError {
    ApiError::not_found("dead letter")
}
