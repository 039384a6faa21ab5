//! `GET` and `PATCH /sync-job/{id}/watermark`

use actix_web::HttpResponse;
use serde_json::{Map, Value, json};
use shared::{
    clock::Timestamp,
    fault::{Faults, child, kind_of, suggestion},
    ids::{AccountId, SyncJobId},
    model::{account::Account, sync_job::SyncJob},
};

use crate::{
    answer::Answer,
    error::ApiError,
    extract::{Caller, Level, Read, Write},
};

const ACCOUNT: &str = "integrated_account_id";

/// `previous_run_date` of each resource of the job, by its name, for an account; `null`: the next run fetches everything.
#[utoipa::path(
    get, path = "/api/v1/ipaas/sync-job/{id}/watermark", tag = "sync-job", operation_id = "get_sync_job_watermark",
    params(("integrated_account_id" = String, Query, description = "The account")),
    responses((status = 200, description = "Resource name → time or `null`", body = Object))
)]
pub async fn get(caller: Caller<Read>) -> Result<HttpResponse, ApiError> {
    let (job, account) = subject(&caller).await?;
    Ok(Answer::ok(&watermarks(&caller, &job, account).await?)?.into())
}

/// Sets `previous_run_date` of resources for an account; `null` makes the next run fetch everything. Resources that aren't
/// named keep theirs. A run under way sets it to its start at its end, if that is later.
#[utoipa::path(
    patch, path = "/api/v1/ipaas/sync-job/{id}/watermark", tag = "sync-job", operation_id = "update_sync_job_watermark",
    params(("integrated_account_id" = String, Query, description = "The account")),
    request_body(content = Object, description = "Resource name → RFC 3339 time or `null`"),
    responses((status = 200, description = "All of them, as they are now", body = Object))
)]
pub async fn update(mut caller: Caller<Write>) -> Result<HttpResponse, ApiError> {
    // Before the account is looked up: it may be deleted, and all of it purged, while a body arrives.
    let body = caller.json().await?.value;
    let (job, account) = subject(&caller).await?;
    let changes = read(&body, &names(&job)).map_err(|faults| ApiError::validation(&faults))?;
    let runs = caller.state.store.runs();
    runs.set_watermarks(account, job.id, &changes).await?;
    Ok(Answer::ok(&watermarks(&caller, &job, account).await?)?.into())
}

/// The job in the path and the account in the query, both of this environment.
async fn subject<L: Level>(caller: &Caller<L>) -> Result<(SyncJob, AccountId), ApiError> {
    let id: SyncJobId = caller.id("sync job")?;
    let query = caller.query(&[ACCOUNT])?;
    let objects = caller.state.store.objects();
    let job = objects.get::<SyncJob>(caller.environment, id).await?;
    let job = job.ok_or_else(|| ApiError::not_found("sync job"))?;
    let account: AccountId = query
        .parsed(ACCOUNT)?
        .ok_or_else(|| ApiError::invalid_parameter(ACCOUNT, "is required"))?;
    let account = objects.get::<Account>(caller.environment, account).await?;
    let account = account.ok_or_else(|| ApiError::not_found("integrated account"))?;
    if account.integration_name != job.integration_name {
        let message = format!(
            "is an account of `{}`, and the sync job is one of `{}`",
            account.integration_name, job.integration_name
        );
        return Err(ApiError::invalid_parameter(ACCOUNT, message));
    }
    Ok((job, account.id))
}

/// What the job's resources go by.
fn names(job: &SyncJob) -> Vec<&str> {
    let resources = job.resources.as_array().into_iter().flatten();
    resources
        .filter_map(|resource| {
            let name = resource.get("name").and_then(Value::as_str);
            name.or_else(|| resource.get("resource").and_then(Value::as_str))
        })
        .collect()
}

async fn watermarks<L: Level>(
    caller: &Caller<L>,
    job: &SyncJob,
    account: AccountId,
) -> Result<Map<String, Value>, ApiError> {
    let stored = caller
        .state
        .store
        .runs()
        .watermarks(account, job.id)
        .await?;
    let all = names(job).into_iter();
    Ok(all
        .map(|name| (name.to_owned(), json!(stored.get(name))))
        .collect())
}

fn read(body: &Value, names: &[&str]) -> Result<Vec<(String, Option<Timestamp>)>, Faults> {
    let mut faults = Faults::default();
    let Some(given) = body.as_object() else {
        faults.push("", format!("must be an object, is {}", kind_of(body)));
        return Err(faults);
    };
    let mut changes = Vec::new();
    let now = Timestamp::now();
    for (name, value) in given {
        let pointer = child("", name);
        if !names.contains(&name.as_str()) {
            let hint = suggestion(name, names.iter().copied());
            faults.push(pointer, format!("is no resource of this job{hint}"));
            continue;
        }
        let time = match value {
            Value::Null => None,
            Value::String(text) => match text.parse::<Timestamp>() {
                Ok(time) if time <= now => Some(time),
                Ok(_) => {
                    faults.push(
                        pointer,
                        "is in the future; changes until then would be missed",
                    );
                    continue;
                }
                Err(error) => {
                    faults.push(pointer, error.of(text));
                    continue;
                }
            },
            other => {
                let kind = kind_of(other);
                faults.push(
                    pointer,
                    format!("must be an RFC 3339 time or null, is {kind}"),
                );
                continue;
            }
        };
        changes.push((name.clone(), time));
    }
    faults.into_result(changes)
}
