//! `GET /integrated-account`

use actix_web::HttpResponse;
use shared::{
    ids::AccountId,
    model::account::{Account, AccountStatus},
};

use super::view::AccountView;
use crate::{
    answer::Answer,
    error::ApiError,
    extract::{Caller, Read},
};

/// Integrated accounts, newest first.
#[utoipa::path(
    get, path = "/api/v1/ipaas/integrated-account", tag = "integrated-account", operation_id = "list_integrated_accounts",
    params(
        ("integration_name" = Option<String>, Query, description = "Only those of this integration"),
        ("tenant_id" = Option<String>, Query, description = "Only those of this customer"),
        ("status" = Option<AccountStatus>, Query, description = "Only those in this status"),
    ),
    responses((status = 200, description = "A page", body = crate::openapi::List<AccountView>))
)]
pub async fn list(caller: Caller<Read>) -> Result<HttpResponse, ApiError> {
    let query = caller.list_query(&["integration_name", "tenant_id", "status"], |row| {
        row.parse::<AccountId>().is_ok()
    })?;
    let statuses: Vec<_> = AccountStatus::ALL
        .iter()
        .map(|status| (status.as_str(), *status))
        .collect();
    let status = query.filters.choice("status", &statuses)?;
    let (integration, tenant) = (
        query.filters.text("integration_name"),
        query.filters.text("tenant_id"),
    );
    // A customer has few accounts, an integration may have very many.
    let facet = tenant
        .map(|tenant| ("tenant_id", tenant))
        .or(integration.map(|name| ("integration_name", name)));
    let keep = |account: &Account| {
        status.is_none_or(|wanted| account.status == wanted)
            && integration.is_none_or(|wanted| account.integration_name == wanted)
            && tenant.is_none_or(|wanted| account.tenant_id == wanted)
    };
    let page = caller
        .state
        .store
        .objects()
        .list(caller.environment, facet, &query.page, keep)
        .await?;
    Ok(Answer::page(
        &page.map(|account| AccountView::from(&account)),
        &query.page,
    )?
    .into())
}
