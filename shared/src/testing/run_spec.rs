//! A run as tests start it.

use serde_json::json;

use crate::{
    ids::{AccountId, EnvironmentId, RunId, SyncJobId, WebhookId},
    model::{
        run::{ErrorHandling, RunSpec, Trigger},
        sync_job::JobOptions,
    },
};

/// A run of nothing, with ids of its own; change what the test is about.
#[must_use]
pub fn run_spec() -> RunSpec {
    RunSpec {
        id: RunId::generate(),
        environment_id: EnvironmentId::generate(),
        sync_job_id: SyncJobId::generate(),
        integrated_account_id: AccountId::generate(),
        webhook_id: WebhookId::generate(),
        tenant_id: "tenant".to_owned(),
        integration_name: "sample".to_owned(),
        integration_hash: "0".to_owned(),
        trigger: Trigger::Api,
        trigger_id: None,
        workflow_chain: 0,
        args: json!({}),
        error_handling: ErrorHandling::Ignore,
        ignore_previous_run: false,
        resources: json!([]),
        options: JobOptions::default(),
        mutex_key: None,
        force: false,
        retry_of: None,
        retry: None,
        event_types: Vec::new(),
        batch_records: 100,
        batch_bytes: 524_288,
        linger_ms: 0,
        delivery_concurrency: 8,
        retention_days: 14,
    }
}
