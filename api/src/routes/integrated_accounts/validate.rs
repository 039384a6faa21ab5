//! `POST /integrated-account/{id}/validate`

use std::sync::Arc;

use actix_web::HttpResponse;
use shared::{
    catalog::Compiled,
    fault::{Faults, Fields},
    ids::AccountId,
    integration::Integration,
    model::account::{Account, AccountStatus},
};

use super::{
    check::{Subject, check, open_credentials, settle},
    view::AccountView,
};
use crate::{
    answer::Answer,
    error::ApiError,
    extract::{Caller, Write},
    state::AppState,
};

/// Checks the credentials again. How it went is in the answer's `status` and `last_error`.
#[utoipa::path(
    post, path = "/api/v1/ipaas/integrated-account/{id}/validate", tag = "integrated-account",
    operation_id = "validate_integrated_account",
    responses((status = 200, description = "Checked", body = AccountView))
)]
pub async fn validate(mut caller: Caller<Write>) -> Result<HttpResponse, ApiError> {
    let id: AccountId = caller.id("integrated account")?;
    caller.query(&[])?;
    let body = caller.optional_json().await?;
    let work = async |_| {
        let mut faults = Faults::default();
        if let Some(fields) = Fields::new(&body.value, "", &mut faults) {
            fields.finish(&mut faults);
        }
        faults
            .into_result(())
            .map_err(|faults| ApiError::validation(&faults))?;
        let account = caller
            .state
            .store
            .objects()
            .get::<Account>(caller.environment, id)
            .await?;
        let account = account.ok_or_else(|| ApiError::not_found("integrated account"))?;
        if account.status == AccountStatus::Disabled {
            return Err(ApiError::conflict(
                "the account is disabled; PATCH its status to `active` to use it again",
            ));
        }
        let integration = integration_of(&caller.state, &account).await?;
        let integration = integration.ok_or_else(integration_deleted)?;
        recheck(&caller.state, &account, &integration.integration).await
    };
    caller.once(&body, work).await
}

/// What an account is checked against, unless it was deleted.
pub(super) async fn integration_of(
    state: &AppState,
    account: &Account,
) -> Result<Option<Arc<Compiled>>, ApiError> {
    let (catalog, store) = (&state.catalog, &state.store);
    let entry = catalog
        .by_name(store, account.environment_id, &account.integration_name)
        .await?;
    match entry {
        Some(entry) => Ok(Some(catalog.compiled(store, &entry.hash).await?)),
        None => Ok(None),
    }
}

pub(super) fn integration_deleted() -> ApiError {
    ApiError::conflict("the account's integration was deleted")
}

/// Checks an account as it was read, and writes the outcome unless its
/// credentials have changed or it was disabled meanwhile.
pub(super) async fn recheck(
    state: &AppState,
    account: &Account,
    integration: &Integration,
) -> Result<Answer, ApiError> {
    let credentials = open_credentials(state, account)?;
    let subject = Subject {
        credentials: &credentials,
        context: &account.context,
        account_id: account.id.to_string(),
        tenant_id: &account.tenant_id,
    };
    let outcome = check(state, integration, &subject).await;
    let checked = account.credentials_version;
    let change = |account: &mut Account| {
        if account.credentials_version == checked && account.status != AccountStatus::Disabled {
            settle(account, &outcome);
        }
        Ok::<(), ApiError>(())
    };
    let account = state
        .store
        .objects()
        .update(account.environment_id, account.id, change)
        .await
        .map_err(ApiError::from)?;
    let account = account.ok_or_else(|| ApiError::not_found("integrated account"))?;
    Answer::ok(&AccountView::from(&account))
}
