//! `PATCH /integrated-account/{id}`

use actix_web::HttpResponse;
use serde_json::{Map, Value};
use shared::{
    clock::Timestamp,
    fault::Faults,
    ids::AccountId,
    model::{
        account::{Account, AccountPatch, AccountStatus},
        input::{MAX_FREE_FORM_BYTES, merge_patch},
    },
};

use super::{validate::recheck, view::AccountView};
use crate::{
    answer::Answer,
    error::ApiError,
    extract::{Caller, Write},
};

/// Changes an account's label, context, credentials or status. New credentials, and
/// the status `active`, are followed by the integration's check.
#[utoipa::path(
    patch, path = "/api/v1/ipaas/integrated-account/{id}", tag = "integrated-account",
    operation_id = "update_integrated_account", request_body(content = AccountPatch, description = "What changes (RFC 7386)"),
    responses((status = 200, description = "Changed", body = AccountView))
)]
pub async fn update(mut caller: Caller<Write>) -> Result<HttpResponse, ApiError> {
    let id: AccountId = caller.id("integrated account")?;
    caller.query(&[])?;
    let body = caller.json().await?;
    let patch = AccountPatch::read(&body.value, caller.environment);
    let patch = patch.map_err(|faults| ApiError::validation(&faults))?;
    Ok(apply(&caller, id, &patch).await?.into())
}

/// Applies a patch and checks the account again if it asks for that.
pub(super) async fn apply(
    caller: &Caller<Write>,
    id: AccountId,
    patch: &AccountPatch,
) -> Result<Answer, ApiError> {
    let (state, environment) = (&caller.state, caller.environment);
    let objects = state.store.objects();
    let mut sealed = None;
    if let Some(credentials) = &patch.credentials {
        let account = objects.get::<Account>(environment, id).await?;
        let account = account.ok_or_else(|| ApiError::not_found("integrated account"))?;
        check_shape(caller, &account, credentials).await?;
        let json = serde_json::to_vec(credentials).map_err(|_| ApiError::internal())?;
        sealed = Some(state.sealer.seal(&id.to_string(), &json));
    }
    let change = |account: &mut Account| {
        if let Some(label) = &patch.label {
            account.label.clone_from(label);
        }
        if let Some(context) = &patch.context {
            account.context = merged_context(&account.context, context)?;
        }
        if let Some(sealed) = &sealed {
            account.sealed_credentials.clone_from(sealed);
            account.credentials_version += 1;
        }
        match patch.status {
            Some(AccountStatus::Disabled) => account.status = AccountStatus::Disabled,
            // The check decides; meanwhile an account that isn't switched off stays what it is.
            Some(_) if account.status == AccountStatus::Disabled => {
                account.status = AccountStatus::Connecting;
            }
            Some(_) | None => {}
        }
        account.updated_at = Timestamp::now();
        Ok::<(), ApiError>(())
    };
    let account = objects
        .update(environment, id, change)
        .await
        .map_err(ApiError::from)?;
    let account = account.ok_or_else(|| ApiError::not_found("integrated account"))?;
    let to_check =
        account.status != AccountStatus::Disabled && (sealed.is_some() || patch.status.is_some());
    if to_check {
        recheck(state, environment, &account).await
    } else {
        Answer::ok(&AccountView::from(&account))
    }
}

/// Refuses credentials that lack what the integration asks for.
async fn check_shape(
    caller: &Caller<Write>,
    account: &Account,
    credentials: &Value,
) -> Result<(), ApiError> {
    let (catalog, store) = (&caller.state.catalog, &caller.state.store);
    let entry = catalog
        .by_name(store, caller.environment, &account.integration_name)
        .await?;
    let entry = entry.ok_or_else(|| ApiError::conflict("the account's integration was deleted"))?;
    let compiled = catalog.compiled(store, &entry.hash).await?;
    let mut faults = Faults::default();
    compiled
        .integration
        .check_credentials(credentials, &mut faults);
    faults
        .into_result(())
        .map_err(|faults| ApiError::validation(&faults))
}

fn merged_context(
    context: &Map<String, Value>,
    patch: &Value,
) -> Result<Map<String, Value>, ApiError> {
    let mut merged = Value::Object(context.clone());
    merge_patch(&mut merged, patch);
    // `null` in the place of the whole takes it back to the default: none.
    let Value::Object(merged) = merged else {
        return Ok(Map::new());
    };
    if serde_json::to_vec(&merged).map_or(usize::MAX, |json| json.len()) > MAX_FREE_FORM_BYTES {
        let mut faults = Faults::default();
        faults.push(
            "/context",
            format!("must have at most {MAX_FREE_FORM_BYTES} bytes of JSON, with what is there"),
        );
        return Err(ApiError::validation(&faults));
    }
    Ok(merged)
}
