//! `DELETE /integration/{name}`

use actix_web::HttpResponse;
use shared::model::integration::{IntegrationRow, IntegrationSource};

use crate::{
    answer::Answer,
    error::ApiError,
    extract::{Caller, Write},
    routes::Deleted,
};

/// Deletes a custom integration; a bundled one that it shadowed is seen again.
/// Runs go on with the version they started with.
#[utoipa::path(
    delete, path = "/api/v1/ipaas/integration/{name}", tag = "integration", operation_id = "delete_integration",
    responses((status = 200, description = "Deleted", body = Deleted))
)]
pub async fn delete(caller: Caller<Write>) -> Result<HttpResponse, ApiError> {
    let name = caller.segment("name");
    caller.query(&[])?;
    let (catalog, store) = (&caller.state.catalog, &caller.state.store);
    let entry = catalog
        .by_name_or_id(store, caller.environment, &name)
        .await?;
    let entry = entry.ok_or_else(|| ApiError::not_found("integration"))?;
    if entry.source == IntegrationSource::Bundled {
        return Err(ApiError::conflict(
            "a bundled integration can't be deleted; store one of the same name to replace it",
        ));
    }
    let deleted = store
        .objects()
        .delete::<IntegrationRow>(caller.environment, entry.id, |_| {})
        .await?;
    deleted.ok_or_else(|| ApiError::not_found("integration"))?;
    Ok(Answer::deleted(entry.id)?.into())
}
