//! A cron trigger: runs of a sync job that start by themselves.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{
    input::{accept_common, accept_runtime_version, free_form, label, refuse_read_only},
    run::ErrorHandling,
    run_control::read_events_to_send,
    run_input::{RunInput, read_id},
    sync_job::read_error_handling,
};
use crate::{
    clock::Timestamp,
    cron::{Schedule, jitter},
    fault::{Faults, Fields},
    ids::{AccountId, CronTriggerId, EnvironmentId, SyncJobId, WebhookId},
};

/// Longest jitter, in seconds.
pub const MAX_JITTER_SECONDS: u64 = 3_600;
const DEFAULT_TIMEZONE: &str = "UTC";

/// What happens to a fire while the run of the fire before is still active.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Overlap {
    /// It makes no run, and is counted.
    #[default]
    Skip,
    /// It waits for the end of that run; fires that pass meanwhile make one run together.
    Queue,
    /// It makes a run beside the other.
    Allow,
}

impl Overlap {
    const WORDS: [(&str, Self); 3] = [
        ("skip", Self::Skip),
        ("queue", Self::Queue),
        ("allow", Self::Allow),
    ];

    /// The word in JSON and in scripts.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Skip => "skip",
            Self::Queue => "queue",
            Self::Allow => "allow",
        }
    }
}

/// A cron trigger as it is stored; where it stands is in the store beside it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CronTrigger {
    pub id: CronTriggerId,
    pub environment_id: EnvironmentId,
    #[serde(flatten)]
    pub input: CronTriggerInput,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    #[serde(default)]
    pub deleted_at: Option<Timestamp>,
}

/// What a client sets of a cron trigger.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct CronTriggerInput {
    #[schema(value_type = String)]
    pub sync_job_id: SyncJobId,
    #[schema(value_type = String)]
    pub integrated_account_id: AccountId,
    #[schema(value_type = String)]
    pub webhook_id: WebhookId,
    /// Minute, hour, day of month, month, day of week.
    #[schema(example = "0 */6 * * *")]
    pub cron_expression: String,
    /// IANA name.
    #[schema(required = false, default = "UTC")]
    pub timezone: String,
    #[schema(required = false)]
    pub overlap: Overlap,
    #[schema(required = false, default = true)]
    pub is_active: bool,
    pub label: Option<String>,
    /// Each fire is late by up to so many seconds, by less than half of the time to the next one.
    #[schema(required = false, default = 0, maximum = 3600)]
    pub jitter_seconds: u64,
    /// For `{{args.…}}` of its runs.
    #[schema(required = false, value_type = Object)]
    pub args: Map<String, Value>,
    /// Of its runs; the job's when absent.
    pub error_handling: Option<ErrorHandling>,
    /// Of its runs; the job's when absent.
    pub events_to_send: Option<Vec<String>>,
    /// Whether its runs fetch everything each time.
    #[schema(required = false, default = false)]
    pub ignore_previous_run: bool,
}

/// When a trigger fires next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NextFire {
    /// By the schedule.
    pub due: Timestamp,
    /// With its jitter.
    pub run_at: Timestamp,
}

const READ_ONLY: &[&str] = &[
    "id",
    "created_at",
    "updated_at",
    "next_run_at",
    "last_run_at",
    "last_run_id",
    "missed_runs",
    "skipped_runs",
    "failed_runs",
    "last_error",
];

impl CronTriggerInput {
    /// Reads a body. Ids that can't be read are faults; those that can are given back, so that they are looked up and
    /// all faults told at once.
    #[must_use]
    pub fn read(body: &Value, environment: EnvironmentId) -> (RunInput, Option<Self>, Faults) {
        let mut faults = Faults::default();
        let Some(mut fields) = Fields::new(body, "", &mut faults) else {
            return (RunInput::default(), None, faults);
        };
        accept_common(&mut fields, environment, &mut faults);
        accept_runtime_version(&mut fields, &mut faults);
        refuse_read_only(&mut fields, READ_ONLY, &mut faults);
        let run = RunInput {
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
            ..RunInput::default()
        };
        let expression = fields
            .required_string("cron_expression", &mut faults)
            .map(str::to_owned);
        let timezone = fields
            .string("timezone", &mut faults)
            .unwrap_or(DEFAULT_TIMEZONE)
            .to_owned();
        let schedule = expression
            .as_ref()
            .and_then(|expression| Schedule::parse(expression, &timezone, "", &mut faults));
        let overlap = fields.choice("overlap", &Overlap::WORDS, &mut faults);
        let is_active = fields.boolean("is_active", &mut faults);
        let label = label(&mut fields, "label", &mut faults);
        let jitter_seconds = fields.integer("jitter_seconds", 0..=MAX_JITTER_SECONDS, &mut faults);
        fields.finish(&mut faults);
        let ids = (run.sync_job_id, run.integrated_account_id, run.webhook_id);
        let input = match (ids, expression, schedule) {
            ((Some(job), Some(account), Some(webhook)), Some(expression), Some(schedule)) => {
                Some(Self {
                    sync_job_id: job,
                    integrated_account_id: account,
                    webhook_id: webhook,
                    cron_expression: expression,
                    timezone: schedule.timezone().to_owned(),
                    overlap: overlap.unwrap_or_default(),
                    is_active: is_active.unwrap_or(true),
                    label,
                    jitter_seconds: jitter_seconds.unwrap_or(0),
                    args: run.args.clone(),
                    error_handling: run.error_handling,
                    events_to_send: run.events_to_send.clone(),
                    ignore_previous_run: run.ignore_previous_run,
                })
            }
            _ => None,
        };
        (run, input, faults)
    }

    /// What each of its runs is started with.
    #[must_use]
    pub fn run_input(&self) -> RunInput {
        RunInput {
            sync_job_id: Some(self.sync_job_id),
            integrated_account_id: Some(self.integrated_account_id),
            webhook_id: Some(self.webhook_id),
            args: self.args.clone(),
            error_handling: self.error_handling,
            ignore_previous_run: self.ignore_previous_run,
            events_to_send: self.events_to_send.clone(),
            ..RunInput::default()
        }
    }
}

impl CronTrigger {
    /// Its schedule.
    ///
    /// # Errors
    /// An expression or a zone that this version doesn't take any more.
    pub fn schedule(&self) -> Result<Schedule, Faults> {
        let mut faults = Faults::default();
        let (expression, timezone) = (&self.input.cron_expression, &self.input.timezone);
        let schedule = Schedule::parse(expression, timezone, "", &mut faults);
        schedule.ok_or(faults)
    }

    /// The first fire after `after`; `None` when there is none, or when it is switched off.
    #[must_use]
    pub fn next_fire(&self, schedule: &Schedule, after: Timestamp) -> Option<NextFire> {
        if !self.input.is_active || self.deleted_at.is_some() {
            return None;
        }
        let due = schedule.next_after(after)?;
        let following = schedule.next_after(due).map_or(i64::MAX, |next| next.0);
        // Less than half of the time to the fire after it, so that no jitter moves one fire past another.
        let most = i64::try_from(self.input.jitter_seconds * 1_000).unwrap_or(i64::MAX);
        let most = most.min((following.saturating_sub(due.0) - 1) / 2);
        let most = std::time::Duration::from_millis(u64::try_from(most).unwrap_or(0));
        let late = jitter(self.id.to_string().as_bytes(), due, most);
        let late = i64::try_from(late.as_millis()).unwrap_or(0);
        Some(NextFire {
            due,
            run_at: Timestamp(due.0 + late),
        })
    }
}
