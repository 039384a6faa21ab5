//! What a client sends to start a run.

use serde_json::{Map, Value};

use super::{
    input::{accept_common, accept_runtime_version, free_form, refuse_read_only},
    run::ErrorHandling,
    run_control::read_events_to_send,
    sync_job::read_error_handling,
};
use crate::{
    fault::{Faults, Fields},
    ids::{AccountId, EnvironmentId, SyncJobId, WebhookId},
};

/// What a run is started with.
#[derive(Debug, Clone, Default, PartialEq, utoipa::ToSchema)]
pub struct RunInput {
    #[schema(value_type = String)]
    pub sync_job_id: Option<SyncJobId>,
    #[schema(value_type = String)]
    pub integrated_account_id: Option<AccountId>,
    #[schema(value_type = String)]
    pub webhook_id: Option<WebhookId>,
    /// For `{{args.…}}`.
    #[schema(required = false, value_type = Object)]
    pub args: Map<String, Value>,
    /// The job's when absent.
    pub error_handling: Option<ErrorHandling>,
    /// Fetch everything, as if there had been no run before.
    #[schema(required = false, default = false)]
    pub ignore_previous_run: bool,
    /// Events that are made, of those that the webhook subscribes to; the job's when absent.
    pub events_to_send: Option<Vec<String>>,
    /// Start at once, although another run with the same mutex key is active.
    #[schema(required = false, default = false)]
    pub force: bool,
}

/// Fields of a run that only the server sets.
const READ_ONLY: &[&str] = &[
    "id",
    "trigger",
    "created_at",
    "started_at",
    "finished_at",
    "records_fetched",
    "records_delivered",
    "records_dead",
    "errors",
    "requests",
    "resource_stats",
    "progress",
    "error",
    "waiting_for",
    "retry_of",
];
/// Fields that are the job's.
const OF_THE_JOB: &[&str] = &["mutex_key", "max_duration_minutes"];

impl RunInput {
    /// Reads a body; ids that can't be read are faults and `None`, so that the ones
    /// that can be are still looked up and all faults told at once.
    #[must_use]
    pub fn read(body: &Value, environment: EnvironmentId) -> (Option<Self>, Faults) {
        let mut faults = Faults::default();
        let Some(mut fields) = Fields::new(body, "", &mut faults) else {
            return (None, faults);
        };
        accept_common(&mut fields, environment, &mut faults);
        accept_runtime_version(&mut fields, &mut faults);
        fields.choice("status", &[("created", ())], &mut faults);
        refuse_read_only(&mut fields, READ_ONLY, &mut faults);
        fields.not_supported_yet("resources", &mut faults);
        for name in OF_THE_JOB {
            if fields.value(name).is_some() {
                faults.push(
                    fields.pointer(name),
                    "is a field of the sync job; set it there",
                );
            }
        }
        let input = Self {
            sync_job_id: read_id(&mut fields, "sync_job_id", "a sync job", &mut faults),
            integrated_account_id: read_id(
                &mut fields,
                "integrated_account_id",
                "an integrated account",
                &mut faults,
            ),
            webhook_id: read_id(&mut fields, "webhook_id", "a webhook", &mut faults),
            args: free_form(&mut fields, "args", &mut faults),
            error_handling: read_error_handling(&mut fields, &mut faults),
            ignore_previous_run: fields
                .boolean("ignore_previous_run", &mut faults)
                .unwrap_or(false),
            events_to_send: read_events_to_send(&mut fields, &mut faults),
            force: fields.boolean("force", &mut faults).unwrap_or(false),
        };
        fields.finish(&mut faults);
        (Some(input), faults)
    }
}

pub(super) fn read_id<T: std::str::FromStr>(
    fields: &mut Fields<'_>,
    name: &'static str,
    what: &str,
    faults: &mut Faults,
) -> Option<T> {
    let text = fields.required_string(name, faults)?;
    let id = text.parse().ok();
    if id.is_none() {
        faults.push(fields.pointer(name), format!("is not the id of {what}"));
    }
    id
}
