//! A sync job: which resources of an integration are synced, and how they depend
//! on each other. [`crate::plan::Plan`] compiles and checks its `resources`.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    input::{accept_common, accept_runtime_version, label, refuse_read_only, required_label},
    run::ErrorHandling,
};
use crate::{
    clock::Timestamp,
    fault::{Faults, Fields},
    ids::{EnvironmentId, SyncJobId},
};

/// A sync job as it is stored.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SyncJob {
    pub id: SyncJobId,
    pub environment_id: EnvironmentId,
    pub integration_name: String,
    pub label: Option<String>,
    pub error_handling: ErrorHandling,
    /// As given.
    pub resources: Value,
    #[serde(flatten)]
    pub options: JobOptions,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    #[serde(default)]
    pub deleted_at: Option<Timestamp>,
}

/// What a sync job says besides its resources; a run keeps those it started with.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct JobOptions {}

impl SyncJob {
    /// What a client may set, as it is now.
    #[must_use]
    pub fn input(&self) -> SyncJobInput {
        SyncJobInput {
            integration_name: self.integration_name.clone(),
            label: self.label.clone(),
            error_handling: self.error_handling,
            resources: self.resources.clone(),
        }
    }
}

/// What a client may set of a sync job.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
pub struct SyncJobInput {
    /// Name of the integration whose resources are synced.
    pub integration_name: String,
    pub label: Option<String>,
    #[schema(required = false)]
    pub error_handling: ErrorHandling,
    /// The resources, each with `resource`, `method` and what the guide to sync jobs describes.
    #[schema(value_type = Vec<Object>, min_items = 1)]
    pub resources: Value,
}

/// Fields of a sync job that only the server sets.
const READ_ONLY: &[&str] = &["id", "created_at", "updated_at"];
/// Fields of the contract that this version can't honour.
const NOT_YET: &[&str] = &[
    "args_schema",
    "args_validation",
    "mutex_key",
    "max_duration_minutes",
    "first_run_date",
    "events_to_send",
    "run_if",
    "concurrency",
    "priority",
];

impl SyncJobInput {
    /// Reads a body, except for what [`crate::plan::Plan::compile`] says about `resources`.
    ///
    /// # Errors
    /// Never; the faults come with what could be read, so that the plan's can be added.
    #[must_use]
    pub fn read(body: &Value, environment: EnvironmentId) -> (Option<Self>, Faults) {
        let mut faults = Faults::default();
        let Some(mut fields) = Fields::new(body, "", &mut faults) else {
            return (None, faults);
        };
        accept_common(&mut fields, environment, &mut faults);
        accept_runtime_version(&mut fields, &mut faults);
        refuse_read_only(&mut fields, READ_ONLY, &mut faults);
        let integration_name = required_label(&mut fields, "integration_name", &mut faults);
        let label = label(&mut fields, "label", &mut faults);
        let error_handling =
            read_error_handling(&mut fields, &mut faults).unwrap_or(ErrorHandling::Ignore);
        for name in NOT_YET {
            fields.not_supported_yet(name, &mut faults);
        }
        let resources = fields.required("resources", &mut faults).cloned();
        fields.finish(&mut faults);
        let input = integration_name
            .zip(resources)
            .map(|(integration_name, resources)| Self {
                integration_name,
                label,
                error_handling,
                resources,
            });
        (input, faults)
    }
}

/// `error_handling` of a job or a run.
pub fn read_error_handling(fields: &mut Fields<'_>, faults: &mut Faults) -> Option<ErrorHandling> {
    if fields.value("error_handling").and_then(Value::as_str) == Some("batch") {
        faults.push(
            fields.pointer("error_handling"),
            "`batch` is not supported yet; use `ignore` or `fail_fast`",
        );
        return None;
    }
    fields.choice(
        "error_handling",
        &[
            ("ignore", ErrorHandling::Ignore),
            ("fail_fast", ErrorHandling::FailFast),
        ],
        faults,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn fields_of_later_versions_are_refused_and_not_ignored() {
        let body = json!({"integration_name": "x", "resources": [], "mutex_key": "{{account.id}}", "error_handling": "batch",
                          "default_runtime_version": 3, "meta": {}});
        let (_, faults) = SyncJobInput::read(&body, EnvironmentId::from_bits(1));
        let pointers: Vec<_> = faults
            .as_slice()
            .iter()
            .map(|fault| fault.pointer.as_str())
            .collect();
        assert_eq!(pointers, ["/error_handling", "/mutex_key"]);
    }

    #[test]
    fn a_missing_field_and_a_misspelt_one_are_named_together() {
        let (input, faults) = SyncJobInput::read(
            &json!({"integration": "x", "resource": []}),
            EnvironmentId::from_bits(1),
        );
        assert!(input.is_none());
        assert_eq!(faults.as_slice().len(), 4, "{faults}");
    }
}
