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

use super::{
    validate::{integration_deleted, integration_of, recheck},
    view::AccountView,
};
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
    let (patch, faults) = AccountPatch::read(&body.value, caller.environment);
    Ok(apply(&caller, id, &patch, faults).await?.into())
}

/// Applies a patch, unless it has `faults`, and checks the account again if it asks for that.
pub(super) async fn apply(
    caller: &Caller<Write>,
    id: AccountId,
    patch: &AccountPatch,
    mut faults: Faults,
) -> Result<Answer, ApiError> {
    let (state, environment) = (&caller.state, caller.environment);
    let objects = state.store.objects();
    let mut integration = None;
    if patch.credentials.is_some() || patch.status == Some(AccountStatus::Active) {
        let account = objects.get::<Account>(environment, id).await?;
        let account = account.ok_or_else(|| ApiError::not_found("integrated account"))?;
        // Before the change, so that nothing is half done when there is nothing to check against.
        integration = Some(integration_of(state, &account).await?);
    }
    if let (Some(credentials), Some(Some(integration))) = (&patch.credentials, &integration) {
        let integration = &integration.integration;
        integration.check_credentials(credentials, &mut faults);
    }
    faults
        .into_result(())
        .map_err(|faults| ApiError::validation(&faults))?;
    let integration = integration
        .map(|found| found.ok_or_else(integration_deleted))
        .transpose()?;
    let mut sealed = None;
    if let Some(credentials) = &patch.credentials {
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
    match integration {
        Some(integration) if account.status != AccountStatus::Disabled => {
            recheck(state, &account, &integration.integration).await
        }
        _ => Answer::ok(&AccountView::from(&account)),
    }
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
