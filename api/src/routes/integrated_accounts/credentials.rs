//! `PATCH` and `PUT /integrated-account/{id}/credentials`

use actix_web::HttpResponse;
use serde_json::{Map, Value};
use shared::{
    fault::Faults,
    ids::AccountId,
    model::account::{AccountPatch, read_new_credentials},
};

use super::{update::apply, view::AccountView};
use crate::{
    error::ApiError,
    extract::{Caller, Write},
};

/// New credentials for an account.
#[derive(Debug, utoipa::ToSchema)]
#[expect(
    dead_code,
    reason = "describes the body in the OpenAPI document; it is read field by field"
)]
pub struct NewCredentials {
    /// What the integration asks for; never shown.
    #[schema(value_type = Object, write_only)]
    credentials: Map<String, Value>,
}

/// Replaces the credentials, all of them, and checks the new ones.
#[utoipa::path(
    patch, path = "/api/v1/ipaas/integrated-account/{id}/credentials", tag = "integrated-account",
    operation_id = "update_integrated_account_credentials", request_body = NewCredentials,
    responses((status = 200, description = "Replaced and checked", body = AccountView))
)]
pub async fn patch(caller: Caller<Write>) -> Result<HttpResponse, ApiError> {
    replace(caller).await
}

/// Replaces the credentials, all of them, and checks the new ones.
#[utoipa::path(
    put, path = "/api/v1/ipaas/integrated-account/{id}/credentials", tag = "integrated-account",
    operation_id = "put_integrated_account_credentials", request_body = NewCredentials,
    responses((status = 200, description = "Replaced and checked", body = AccountView))
)]
pub async fn put(caller: Caller<Write>) -> Result<HttpResponse, ApiError> {
    replace(caller).await
}

async fn replace(mut caller: Caller<Write>) -> Result<HttpResponse, ApiError> {
    let id: AccountId = caller.id("integrated account")?;
    caller.query(&[])?;
    let body = caller.json().await?;
    let credentials =
        read_new_credentials(&body.value).map_err(|faults| ApiError::validation(&faults))?;
    let patch = AccountPatch {
        credentials: Some(credentials),
        ..AccountPatch::default()
    };
    Ok(apply(&caller, id, &patch, Faults::default()).await?.into())
}
