//! `GET /webhook/{id}/dead-letter`

use actix_web::HttpResponse;
use shared::{
    ids::EventId,
    model::dead_letter::{Cause, DeadLetter},
};

use super::{FILTERS, filter, webhook};
use crate::{
    answer::Answer,
    error::ApiError,
    extract::{Caller, Read},
};

/// Events to this webhook that were given up, newest first.
#[utoipa::path(
    get, path = "/api/v1/ipaas/webhook/{id}/dead-letter", tag = "webhook", operation_id = "list_webhook_dead_letters",
    params(
        ("sync_job_run_id" = Option<String>, Query, description = "Only those of this run"),
        ("resource" = Option<String>, Query, description = "Only those of this resource, by itself or by its name in the job"),
        ("cause" = Option<Cause>, Query, description = "Only those that failed on this side"),
        ("reason" = Option<String>, Query, description = "Only those whose reason has this text in it, whatever its case"),
    ),
    responses((status = 200, description = "A page", body = crate::openapi::List<DeadLetter>))
)]
pub async fn list(caller: Caller<Read>) -> Result<HttpResponse, ApiError> {
    let query = caller.list_query(&FILTERS, |row| row.parse::<EventId>().is_ok())?;
    let filter = filter(&query.filters)?;
    let webhook = webhook(&caller).await?.id;
    let store = &caller.state.store;
    let page = store.dead_letters(webhook, &filter, &query.page).await?;
    Ok(Answer::page(&page, &query.page)?.into())
}
