//! `DELETE /integrated-account/{id}`

use actix_web::HttpResponse;
use shared::{
    ids::AccountId,
    model::account::{Account, AccountStatus},
};

use crate::{
    answer::Answer,
    error::ApiError,
    extract::{Caller, Write},
    routes::Deleted,
};

/// Deletes an account and wipes its credentials. No further run can be made for it; those under way fail, and what they
/// committed is delivered. Then everything that is left of it is removed: runs, dead letters, cron triggers, watermarks.
#[utoipa::path(
    delete, path = "/api/v1/ipaas/integrated-account/{id}", tag = "integrated-account",
    operation_id = "delete_integrated_account", responses((status = 200, description = "Deleted", body = Deleted))
)]
pub async fn delete(caller: Caller<Write>) -> Result<HttpResponse, ApiError> {
    let id: AccountId = caller.id("integrated account")?;
    caller.query(&[])?;
    let wipe = |account: &mut Account| {
        account.sealed_credentials.clear();
        account.context.clear();
        account.status = AccountStatus::Disabled;
    };
    let deleted = caller
        .state
        .store
        .objects()
        .delete::<Account>(caller.environment, id, wipe)
        .await?;
    deleted.ok_or_else(|| ApiError::not_found("integrated account"))?;
    Ok(Answer::deleted(id)?.into())
}
