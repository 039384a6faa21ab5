//! `/webhook/{id}/dead-letter/redrive`: sending dead letters again.

pub mod cancel;
pub mod create;
pub mod get;
pub mod list;

use shared::{
    ids::{RedriveId, WebhookId},
    model::redrive::Redrive,
};

use crate::{
    error::ApiError,
    extract::{Caller, Level},
};

fn id<L: Level>(caller: &Caller<L>) -> Result<RedriveId, ApiError> {
    caller
        .segment("redrive_id")
        .parse()
        .map_err(|_| no_redrive())
}

fn no_redrive() -> ApiError {
    ApiError::not_found("redrive")
}

/// A redrive, which must be one of this webhook.
async fn find<L: Level>(
    caller: &Caller<L>,
    webhook: WebhookId,
    id: RedriveId,
) -> Result<Redrive, ApiError> {
    let state = caller.state.store.redrive(id).await?;
    let redrive = state.map(|state| state.redrive);
    redrive
        .filter(|redrive| redrive.webhook_id == webhook)
        .ok_or_else(no_redrive)
}
