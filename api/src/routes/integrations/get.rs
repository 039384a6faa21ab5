//! `GET /integration/{name}`

use actix_web::HttpResponse;

use super::view::IntegrationView;
use crate::{
    answer::Answer,
    error::ApiError,
    extract::{Caller, Read},
};

/// An integration with its document, by name or id.
#[utoipa::path(
    get, path = "/api/v1/ipaas/integration/{name}", tag = "integration", operation_id = "get_integration",
    responses((status = 200, description = "The integration", body = IntegrationView))
)]
pub async fn get(caller: Caller<Read>) -> Result<HttpResponse, ApiError> {
    let name = caller.segment("name");
    caller.query(&[])?;
    let (catalog, store) = (&caller.state.catalog, &caller.state.store);
    let entry = catalog
        .by_name_or_id(store, caller.environment, &name)
        .await?;
    let entry = entry.ok_or_else(|| ApiError::not_found("integration"))?;
    let compiled = catalog.compiled(store, &entry.hash).await?;
    Ok(Answer::ok(&IntegrationView::with_document(&entry, &compiled.document))?.into())
}
