//! `POST /integrated-account/{id}/validate`

use actix_web::HttpResponse;
use shared::{
    fault::{Faults, Fields},
    ids::{AccountId, EnvironmentId},
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
        recheck(&caller.state, caller.environment, &account).await
    };
    caller.once(&body, work).await
}

/// Checks an account as it was read, and writes the outcome unless its
/// credentials have changed or it was disabled meanwhile.
pub(super) async fn recheck(
    state: &AppState,
    environment: EnvironmentId,
    account: &Account,
) -> Result<Answer, ApiError> {
    let entry = state
        .catalog
        .by_name(&state.store, environment, &account.integration_name)
        .await?;
    let entry = entry.ok_or_else(|| ApiError::conflict("the account's integration was deleted"))?;
    let compiled = state.catalog.compiled(&state.store, &entry.hash).await?;
    let credentials = open_credentials(state, account)?;
    let subject = Subject {
        credentials: &credentials,
        context: &account.context,
        account_id: account.id.to_string(),
        tenant_id: &account.tenant_id,
    };
    let outcome = check(state, &compiled.integration, &subject).await;
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
        .update(environment, account.id, change)
        .await
        .map_err(ApiError::from)?;
    let account = account.ok_or_else(|| ApiError::not_found("integrated account"))?;
    Answer::ok(&AccountView::from(&account))
}
