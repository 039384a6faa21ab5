//! `POST /sync-job-run`

use actix_web::HttpResponse;
use serde_json::Value;
use shared::{
    fault::Faults,
    ids::{EnvironmentId, RunId},
    model::{
        account::{Account, AccountStatus},
        run::{RunSpec, RunView, Trigger},
        run_input::RunInput,
        sync_job::SyncJob,
        webhook::Webhook,
    },
    plan::Plan,
    store::objects::Object,
};

use crate::{
    answer::Answer,
    catalog::Entry,
    error::ApiError,
    extract::{Caller, Write},
    state::AppState,
};

/// Starts a run: it is accepted and queued in one step, and carried out whatever
/// dies afterwards. The job, the account and the webhook must exist, fit together
/// and be active.
#[utoipa::path(
    post, path = "/api/v1/ipaas/sync-job-run", tag = "sync-job-run", operation_id = "create_sync_job_run",
    request_body = RunInput, responses((status = 201, description = "Accepted", body = RunView))
)]
pub async fn create(mut caller: Caller<Write>) -> Result<HttpResponse, ApiError> {
    caller.query(&[])?;
    let body = caller.json().await?;
    let start = |id| {
        start(
            &caller.state,
            caller.environment,
            RunId::from_bits(id),
            &body.value,
        )
    };
    caller.once(&body, start).await
}

async fn start(
    state: &AppState,
    environment: EnvironmentId,
    id: RunId,
    body: &Value,
) -> Result<Answer, ApiError> {
    let (input, mut faults) = RunInput::read(body, environment);
    let Some(input) = input else {
        return Err(ApiError::validation(&faults));
    };
    let job: Option<SyncJob> = find(
        state,
        environment,
        input.sync_job_id,
        "/sync_job_id",
        &mut faults,
    )
    .await?;
    let account: Option<Account> = find(
        state,
        environment,
        input.integrated_account_id,
        "/integrated_account_id",
        &mut faults,
    )
    .await?;
    let webhook: Option<Webhook> = find(
        state,
        environment,
        input.webhook_id,
        "/webhook_id",
        &mut faults,
    )
    .await?;
    check_states(
        job.as_ref(),
        account.as_ref(),
        webhook.as_ref(),
        &mut faults,
    );
    let integration = match &job {
        Some(job) => check_plan(state, environment, job, &mut faults).await?,
        None => None,
    };
    let (Some(job), Some(account), Some(webhook), Some(integration), true) =
        (job, account, webhook, integration, faults.is_empty())
    else {
        return Err(ApiError::validation(&faults));
    };
    // The document first: a run never points to one that isn't there.
    state
        .catalog
        .publish(&state.store, &integration.hash)
        .await?;
    let spec = RunSpec {
        id,
        environment_id: environment,
        sync_job_id: job.id,
        integrated_account_id: account.id,
        webhook_id: webhook.id,
        tenant_id: account.tenant_id,
        integration_name: job.integration_name,
        integration_hash: integration.hash,
        trigger: Trigger::Api,
        args: Value::Object(input.args),
        error_handling: input.error_handling.unwrap_or(job.error_handling),
        ignore_previous_run: input.ignore_previous_run,
        resources: job.resources,
        event_types: webhook.event_types,
        batch_records: webhook.delivery.batch_records,
        batch_bytes: webhook.delivery.batch_bytes,
        linger_ms: webhook.delivery.linger_ms,
        delivery_concurrency: webhook.delivery.concurrency,
        retention_days: state.retention_days,
    };
    // `Existed`: the same request was accepted before, under the same id.
    state.store.runs().create(&spec).await?;
    let run = state
        .store
        .runs()
        .get(environment, id)
        .await?
        .ok_or_else(ApiError::internal)?;
    tracing::info!(run.id = %id, job.id = %spec.sync_job_id, account.id = %spec.integrated_account_id, "run accepted");
    Answer::created(&run)
}

async fn find<O: Object>(
    state: &AppState,
    environment: EnvironmentId,
    id: Option<O::Id>,
    pointer: &str,
    faults: &mut Faults,
) -> Result<Option<O>, ApiError> {
    let Some(id) = id else { return Ok(None) };
    let found = state.store.objects().get::<O>(environment, id).await?;
    if found.is_none() {
        faults.push(
            pointer,
            format!("there is no {} with this id", O::KIND.replace('_', " ")),
        );
    }
    Ok(found)
}

fn check_states(
    job: Option<&SyncJob>,
    account: Option<&Account>,
    webhook: Option<&Webhook>,
    faults: &mut Faults,
) {
    if let (Some(job), Some(account)) = (job, account)
        && job.integration_name != account.integration_name
    {
        faults.push(
            "/integrated_account_id",
            format!(
                "is an account of `{}`, and the sync job is one of `{}`",
                account.integration_name, job.integration_name
            ),
        );
    }
    if let Some(account) = account.filter(|account| account.status != AccountStatus::Active) {
        let status = account.status.as_str();
        faults.push(
            "/integrated_account_id",
            format!("is not active: its status is `{status}`"),
        );
    }
    if webhook.is_some_and(|webhook| !webhook.is_active) {
        faults.push(
            "/webhook_id",
            "is not active; PATCH its `is_active` to true first",
        );
    }
}

/// Whether the job still fits the integration as it is now.
async fn check_plan(
    state: &AppState,
    environment: EnvironmentId,
    job: &SyncJob,
    faults: &mut Faults,
) -> Result<Option<Entry>, ApiError> {
    let Some(entry) = state
        .catalog
        .by_name(&state.store, environment, &job.integration_name)
        .await?
    else {
        faults.push(
            "/sync_job_id",
            format!("its integration `{}` was deleted", job.integration_name),
        );
        return Ok(None);
    };
    let compiled = state.catalog.compiled(&state.store, &entry.hash).await?;
    if let Err(found) = Plan::compile(&job.resources, &compiled.integration) {
        faults.push(
            "/sync_job_id",
            format!("no longer fits its integration: {found}"),
        );
    }
    Ok(Some(entry))
}
