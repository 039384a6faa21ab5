//! What the expressions of a workflow see:
//! `{event, integrated_account, integration, tenant_id, environment_id}`.

use std::sync::Arc;

use serde_json::{Value, json};
use shared::{
    ids::{AccountId, EnvironmentId, RunId},
    model::{account::Account, workflow_run::StartEvent},
};

use crate::context::{Context, LoadError};

/// An event with what it is about.
pub(super) struct EventScope {
    pub value: Arc<Value>,
    /// Workflows in a row that led to it.
    pub chain: u32,
}

impl EventScope {
    /// The text at a JSON pointer.
    pub fn text(&self, pointer: &str) -> Option<String> {
        let value = self.value.pointer(pointer)?;
        value.as_str().map(str::to_owned)
    }
}

/// Loads what an event is about; what is gone by now is `null`.
///
/// # Errors
/// The store is away.
pub(super) async fn load(
    context: &Context,
    environment: EnvironmentId,
    event: &StartEvent,
    mut payload: Value,
) -> Result<EventScope, LoadError> {
    let chain = payload["workflow_chain"].as_u64().unwrap_or(0);
    if event.event.starts_with("sync_job_run:") {
        // The script wrote no more than what the run can be found by, should it be deleted meanwhile.
        payload = run_payload(context, environment, payload).await?;
    }
    let account: Option<AccountId> = payload["integrated_account_id"]
        .as_str()
        .and_then(|id| id.parse().ok());
    let account = match account {
        Some(id) => {
            let objects = context.store.objects();
            objects.get_with_deleted::<Account>(environment, id).await?
        }
        None => None,
    };
    let value = json!({
        "event": {"id": event.id, "event": event.event, "created_at": event.created_at, "payload": payload},
        "integrated_account": account.as_ref().map(|account| json!({
            "id": account.id,
            "integration_name": account.integration_name,
            "tenant_id": account.tenant_id,
            "label": account.label,
            "status": account.status,
            "authentication_method": account.authentication_method,
            "context": account.context,
            "created_at": account.created_at,
        })),
        "integration": account.as_ref().map(|account| json!({
            "id": account.integration_id,
            "name": account.integration_name,
            "label": account.integration_label,
        })),
        "tenant_id": account.as_ref().map(|account| account.tenant_id.clone()),
        "environment_id": environment,
    });
    Ok(EventScope {
        value: Arc::new(value),
        chain: u32::try_from(chain).unwrap_or(u32::MAX),
    })
}

/// The run as `GET` shows it; what the script wrote, when it is gone.
async fn run_payload(
    context: &Context,
    environment: EnvironmentId,
    payload: Value,
) -> Result<Value, LoadError> {
    let id: Option<RunId> = payload["sync_job_run_id"]
        .as_str()
        .and_then(|id| id.parse().ok());
    let Some(id) = id else {
        return Ok(payload);
    };
    let Some(view) = context.store.runs().get(environment, id).await? else {
        return Ok(payload);
    };
    let mut shown = json!(view);
    if let Some(fields) = shown.as_object_mut() {
        fields.insert("sync_job_run_id".to_owned(), json!(id));
    }
    Ok(shown)
}
