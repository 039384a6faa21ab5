//! A sync job: which resources of an integration are synced, and how they depend
//! on each other. [`crate::plan::Plan`] compiles and checks its `resources`.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    input::{accept_common, accept_runtime_version, label, refuse_read_only, required_label},
    run::ErrorHandling,
    run_control::read_run_control,
};
use crate::{
    clock::{Timestamp, TimestampError},
    fault::{Faults, Fields, shown},
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
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct JobOptions {
    /// `previous_run_date` where there is no previous run.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub first_run_date: Option<Timestamp>,
    /// How far before the previous run `previous_run_date` lies, for records that appear late.
    #[serde(default)]
    #[schema(required = false, maximum = 525_600)]
    pub lookback_minutes: u32,
    /// Whether mapped records keep the source's under `remote_data`.
    #[serde(default)]
    #[schema(required = false)]
    pub include_remote_data: bool,
    /// JSON Schema (2020-12) of the `args` of runs; also with `required: true` on properties, or as a flat map of properties.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub args_schema: Option<Value>,
    /// JSONata over `{args}`: nothing or null lets a run begin, an object with a `message` refuses it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub args_validation: Option<String>,
    /// Runs for which this text, its placeholders filled, is the same go one after the other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "{{account.id}}")]
    pub mutex_key: Option<String>,
    /// A run that lasts longer fails; 1 to 10,080.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_duration_minutes: Option<u32>,
    /// Events of runs that are made, of those that the webhook subscribes to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub events_to_send: Option<Vec<String>>,
}

/// A year.
const MAX_LOOKBACK_MINUTES: u64 = 525_600;

impl JobOptions {
    fn read(fields: &mut Fields<'_>, faults: &mut Faults) -> Self {
        let at = fields.pointer("first_run_date");
        let first_run_date = fields.string("first_run_date", faults).and_then(|text| {
            text.parse()
                .map_err(|error: TimestampError| faults.push(at, error.of(&shown(text))))
                .ok()
        });
        let lookback = fields.integer("lookback_minutes", 0..=MAX_LOOKBACK_MINUTES, faults);
        Self {
            first_run_date,
            lookback_minutes: lookback
                .and_then(|minutes| u32::try_from(minutes).ok())
                .unwrap_or(0),
            include_remote_data: fields
                .boolean("include_remote_data", faults)
                .unwrap_or(false),
            ..Self::default()
        }
    }

    /// `previous_run_date` of a resource, given its watermark: the start of the last run that brought it whole.
    #[must_use]
    pub fn previous_run(&self, watermark: Option<Timestamp>) -> Option<Timestamp> {
        let lookback = i64::from(self.lookback_minutes) * 60_000;
        watermark
            .map(|watermark| Timestamp((watermark.0 - lookback).max(0)))
            .or(self.first_run_date)
    }
}

impl SyncJob {
    /// What a client may set, as it is now.
    #[must_use]
    pub fn input(&self) -> SyncJobInput {
        SyncJobInput {
            integration_name: self.integration_name.clone(),
            label: self.label.clone(),
            error_handling: self.error_handling,
            resources: self.resources.clone(),
            options: self.options.clone(),
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
    #[serde(flatten)]
    pub options: JobOptions,
}

/// Fields of a sync job that only the server sets.
const READ_ONLY: &[&str] = &["id", "created_at", "updated_at"];
/// Fields of the contract that this version can't honour.
const NOT_YET: &[&str] = &["run_if", "concurrency", "priority"];

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
        let mut options = JobOptions::read(&mut fields, &mut faults);
        read_run_control(&mut fields, &mut options, &mut faults);
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
                options,
            });
        (input, faults)
    }
}

/// `error_handling` of a job, one of its resources, or a run.
pub fn read_error_handling(fields: &mut Fields<'_>, faults: &mut Faults) -> Option<ErrorHandling> {
    fields.choice(
        "error_handling",
        &[
            ("ignore", ErrorHandling::Ignore),
            ("fail_fast", ErrorHandling::FailFast),
            ("batch", ErrorHandling::Batch),
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
        let body = json!({"integration_name": "x", "resources": [], "priority": 1, "error_handling": "stop",
                          "default_runtime_version": 3, "meta": {}});
        let (_, faults) = SyncJobInput::read(&body, EnvironmentId::from_bits(1));
        let pointers: Vec<_> = faults
            .as_slice()
            .iter()
            .map(|fault| fault.pointer.as_str())
            .collect();
        assert_eq!(pointers, ["/error_handling", "/priority"]);
    }

    fn options(body: &Value) -> (Option<JobOptions>, Faults) {
        let mut job = json!({"integration_name": "x", "resources": []});
        job.as_object_mut()
            .expect("an object")
            .extend(body.as_object().expect("an object").clone());
        let (input, faults) = SyncJobInput::read(&job, EnvironmentId::from_bits(1));
        (input.map(|input| input.options), faults)
    }

    #[test]
    fn a_first_run_date_stands_in_for_a_previous_run_and_a_lookback_is_taken_off_one() {
        let (read, faults) = options(
            &json!({"first_run_date": "2024-05-01T02:00:00+02:00", "lookback_minutes": 90}),
        );
        assert!(faults.is_empty(), "{faults}");
        let read = read.expect("options");
        let date = |text: &str| Some(text.parse::<Timestamp>().expect("a date"));
        assert_eq!(read.previous_run(None), date("2024-05-01T00:00:00Z"));
        assert_eq!(
            read.previous_run(date("2024-06-01T01:00:00Z")),
            date("2024-05-31T23:30:00Z")
        );
        assert_eq!(JobOptions::default().previous_run(None), None);
    }

    #[test]
    fn dates_and_lookbacks_that_are_none_are_refused() {
        let (_, faults) = options(
            &json!({"first_run_date": "May 1st", "lookback_minutes": 525_601, "include_remote_data": "yes"}),
        );
        let pointers: Vec<_> = faults
            .as_slice()
            .iter()
            .map(|fault| fault.pointer.as_str())
            .collect();
        assert_eq!(
            pointers,
            [
                "/first_run_date",
                "/lookback_minutes",
                "/include_remote_data"
            ]
        );
        assert!(!options(&json!({"lookback_minutes": -1})).1.is_empty());
        let (_, faults) = options(&json!({"first_run_date": "0000-01-01T00:00:00+05:00"}));
        assert!(faults.to_string().contains("years 0 to 9999"), "{faults}");
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
