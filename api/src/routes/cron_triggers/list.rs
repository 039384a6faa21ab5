//! `GET /sync-job-cron-trigger`

use actix_web::HttpResponse;
use shared::{
    ids::{AccountId, CronTriggerId, SyncJobId},
    model::cron_trigger::CronTrigger,
    store::Page,
};

use super::view::CronTriggerView;
use crate::{
    answer::Answer,
    error::ApiError,
    extract::{Caller, Read},
};

/// Cron triggers, newest first.
#[utoipa::path(
    get, path = "/api/v1/ipaas/sync-job-cron-trigger", tag = "sync-job-cron-trigger",
    operation_id = "list_sync_job_cron_triggers",
    params(
        ("sync_job_id" = Option<String>, Query, description = "Only those of this sync job"),
        ("integrated_account_id" = Option<String>, Query, description = "Only those of this account"),
        ("is_active" = Option<bool>, Query, description = "Only those that are, or aren't, switched on"),
    ),
    responses((status = 200, description = "A page", body = crate::openapi::List<CronTriggerView>))
)]
pub async fn list(caller: Caller<Read>) -> Result<HttpResponse, ApiError> {
    let known = ["sync_job_id", "integrated_account_id", "is_active"];
    let query = caller.list_query(&known, |row| row.parse::<CronTriggerId>().is_ok())?;
    let job: Option<SyncJobId> = query.filters.parsed("sync_job_id")?;
    let account: Option<AccountId> = query.filters.parsed("integrated_account_id")?;
    let is_active = query.filters.boolean("is_active")?;
    let facet = match (account, job) {
        (Some(account), _) => Some(("integrated_account_id", account.to_string())),
        (None, Some(job)) => Some(("sync_job_id", job.to_string())),
        (None, None) => None,
    };
    let facet = facet
        .as_ref()
        .map(|(field, value)| (*field, value.as_str()));
    let keep = |trigger: &CronTrigger| {
        job.is_none_or(|job| trigger.input.sync_job_id == job)
            && is_active.is_none_or(|wanted| trigger.input.is_active == wanted)
    };
    let store = &caller.state.store;
    let page = store
        .objects()
        .list(caller.environment, facet, &query.page, keep)
        .await?;
    let ids: Vec<_> = page.items.iter().map(|trigger| trigger.id).collect();
    let states = store.cron_states(&ids).await?;
    let rows = page.items.iter().zip(states);
    let page = Page {
        items: rows
            .map(|(trigger, state)| CronTriggerView::new(trigger, state))
            .collect(),
        next: page.next,
    };
    Ok(Answer::page(&page, &query.page)?.into())
}
