//! `GET /integrated-account/{id}`

use actix_web::HttpResponse;
use shared::{ids::AccountId, model::account::Account};

use super::view::AccountView;
use crate::{
    answer::Answer,
    error::ApiError,
    extract::{Caller, Read},
};

/// An integrated account, without its credentials.
#[utoipa::path(
    get, path = "/api/v1/ipaas/integrated-account/{id}", tag = "integrated-account", operation_id = "get_integrated_account",
    responses((status = 200, description = "The account", body = AccountView))
)]
pub async fn get(caller: Caller<Read>) -> Result<HttpResponse, ApiError> {
    let id: AccountId = caller.id("integrated account")?;
    caller.query(&[])?;
    let account = caller
        .state
        .store
        .objects()
        .get::<Account>(caller.environment, id)
        .await?;
    let account = account.ok_or_else(|| ApiError::not_found("integrated account"))?;
    Ok(Answer::ok(&AccountView::from(&account))?.into())
}
