//! `POST /integrated-account`

use actix_web::HttpResponse;
use serde_json::Value;
use shared::{
    catalog::Entry,
    clock::Timestamp,
    fault::Faults,
    ids::{AccountId, EnvironmentId},
    model::account::{Account, AccountInput, AccountStatus},
    store::objects::Creation,
};

use super::{
    check::{Subject, check, settle},
    view::AccountView,
};
use crate::{
    answer::Answer,
    error::ApiError,
    extract::{Caller, Write},
    state::AppState,
};

/// Connects a customer: stores the credentials, sealed, and runs the integration's
/// check of them. The account is made either way; `status` and `last_error` say
/// how the check went.
#[utoipa::path(
    post, path = "/api/v1/ipaas/integrated-account", tag = "integrated-account", operation_id = "create_integrated_account",
    request_body = AccountInput, responses((status = 201, description = "Made", body = AccountView))
)]
pub async fn create(mut caller: Caller<Write>) -> Result<HttpResponse, ApiError> {
    caller.query(&[])?;
    let body = caller.json().await?;
    let make = |id| {
        make(
            &caller.state,
            caller.environment,
            AccountId::from_bits(id),
            &body.value,
        )
    };
    caller.once(&body, make).await
}

async fn make(
    state: &AppState,
    environment: EnvironmentId,
    id: AccountId,
    body: &Value,
) -> Result<Answer, ApiError> {
    let (input, mut faults) = AccountInput::read(body, environment);
    let Some(input) = input else {
        return Err(ApiError::validation(&faults));
    };
    let entry = find_integration(state, environment, &input.integration_name, &mut faults).await?;
    let compiled = match &entry {
        Some(entry) => Some(state.catalog.compiled(&state.store, &entry.hash).await?),
        None => None,
    };
    if let Some(compiled) = &compiled {
        compiled
            .integration
            .check_credentials(&input.credentials, &mut faults);
    }
    let (Some(entry), Some(compiled), true) = (entry, compiled, faults.is_empty()) else {
        return Err(ApiError::validation(&faults));
    };
    let account = new_account(state, environment, id, &entry, &input)?;
    if let Creation::Existed(account) = state.store.objects().create(&account).await?
        && account.status != AccountStatus::Connecting
    {
        return Answer::created(&AccountView::from(&account));
    }
    let subject = Subject {
        credentials: &input.credentials,
        context: &input.context,
        account_id: id.to_string(),
        tenant_id: &input.tenant_id,
    };
    let outcome = check(state, &compiled.integration, &subject).await;
    let change = |account: &mut Account| {
        if account.status == AccountStatus::Connecting {
            settle(account, &outcome);
        }
        Ok::<(), ApiError>(())
    };
    let account = state
        .store
        .objects()
        .update(environment, id, change)
        .await
        .map_err(ApiError::from)?;
    let account = account
        .ok_or_else(|| ApiError::conflict("the account was deleted while it was being checked"))?;
    Answer::created(&AccountView::from(&account))
}

/// The integration of this name, or a fault.
async fn find_integration(
    state: &AppState,
    environment: EnvironmentId,
    name: &str,
    faults: &mut Faults,
) -> Result<Option<Entry>, ApiError> {
    if name.is_empty() {
        // Missing: that is a fault already.
        return Ok(None);
    }
    let entry = state
        .catalog
        .by_name(&state.store, environment, name)
        .await?;
    if entry.is_none() {
        faults.push(
            "/integration_name",
            "names no integration; `GET /integration` lists them",
        );
    }
    Ok(entry)
}

fn new_account(
    state: &AppState,
    environment: EnvironmentId,
    id: AccountId,
    entry: &Entry,
    input: &AccountInput,
) -> Result<Account, ApiError> {
    let now = Timestamp::now();
    let credentials = serde_json::to_vec(&input.credentials).map_err(|_| ApiError::internal())?;
    Ok(Account {
        id,
        environment_id: environment,
        integration_id: entry.id,
        integration_name: entry.name.clone(),
        integration_label: entry.label.clone(),
        tenant_id: input.tenant_id.clone(),
        label: input.label.clone(),
        status: AccountStatus::Connecting,
        last_error: None,
        authentication_method: input.authentication_method.clone(),
        context: input.context.clone(),
        sealed_credentials: state.sealer.seal(&id.to_string(), &credentials),
        credentials_version: 1,
        created_at: now,
        updated_at: now,
        last_validated_at: None,
        activated_at: None,
        deleted_at: None,
    })
}
