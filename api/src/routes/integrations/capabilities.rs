//! `GET /integration/{name}/capabilities`

use std::collections::BTreeMap;

use actix_web::HttpResponse;

use crate::{
    answer::Answer,
    error::ApiError,
    extract::{Caller, Read},
};

/// What an integration offers.
#[derive(Debug, utoipa::ToSchema)]
#[expect(
    dead_code,
    reason = "describes the answer in the OpenAPI document; the integration writes it"
)]
pub struct Capabilities {
    /// Resources of the integration itself, with their methods.
    proxy: BTreeMap<String, Vec<String>>,
    /// Unified resources (`wms/orders`), with their methods.
    unified: BTreeMap<String, Vec<String>>,
}

/// The resources and methods that a sync job can use.
#[utoipa::path(
    get, path = "/api/v1/ipaas/integration/{name}/capabilities", tag = "integration",
    operation_id = "get_integration_capabilities",
    responses((status = 200, description = "Resources and methods", body = Capabilities))
)]
pub async fn capabilities(caller: Caller<Read>) -> Result<HttpResponse, ApiError> {
    let name = caller.segment("name");
    caller.query(&[])?;
    let (catalog, store) = (&caller.state.catalog, &caller.state.store);
    let entry = catalog
        .by_name_or_id(store, caller.environment, &name)
        .await?;
    let entry = entry.ok_or_else(|| ApiError::not_found("integration"))?;
    let compiled = catalog.compiled(store, &entry.hash).await?;
    Ok(Answer::ok(&compiled.integration.capabilities())?.into())
}
