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
    store::{StoreResult, objects::Object},
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
    let (job, account, webhook) = tokio::try_join!(
        find::<SyncJob>(state, environment, input.sync_job_id),
        find::<Account>(state, environment, input.integrated_account_id),
        find::<Webhook>(state, environment, input.webhook_id),
    )?;
    let mut known = |given: bool, found: bool, pointer: &str, what: &str| {
        if given && !found {
            faults.push(pointer, format!("there is no {what} with this id"));
        }
    };
    known(
        input.sync_job_id.is_some(),
        job.is_some(),
        "/sync_job_id",
        "sync job",
    );
    known(
        input.integrated_account_id.is_some(),
        account.is_some(),
        "/integrated_account_id",
        "integrated account",
    );
    known(
        input.webhook_id.is_some(),
        webhook.is_some(),
        "/webhook_id",
        "webhook",
    );
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

/// The object with this id, where one was given.
async fn find<O: Object>(
    state: &AppState,
    environment: EnvironmentId,
    id: Option<O::Id>,
) -> StoreResult<Option<O>> {
    match id {
        Some(id) => state.store.objects().get(environment, id).await,
        None => Ok(None),
    }
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
