//! Names of fields in logs and spans, so that every program writes the same ones:
//! `tracing::info!({ fields::RUN_ID } = %id, "run started")`.

pub const ENVIRONMENT_ID: &str = "environment.id";
pub const RUN_ID: &str = "run.id";
pub const TASK_ID: &str = "task.id";
pub const ACCOUNT_ID: &str = "account.id";
pub const WEBHOOK_ID: &str = "webhook.id";
pub const EVENT_ID: &str = "event.id";
pub const REQUEST_ID: &str = "request.id";
/// A queue's name, as in metrics.
pub const QUEUE: &str = "queue";
/// A resource of the run, e.g. `wms/orders`.
pub const RESOURCE: &str = "resource";
/// Which attempt it is, from 1.
pub const ATTEMPT: &str = "attempt";
/// How something ended, as in metrics.
pub const OUTCOME: &str = "outcome";
/// An HTTP status.
pub const STATUS: &str = "status";
/// Whole milliseconds.
pub const DURATION_MS: &str = "duration_ms";
/// Number of records.
pub const RECORDS: &str = "records";
/// Number of bytes.
pub const BYTES: &str = "bytes";
/// An error, with its causes.
pub const ERROR: &str = "error";
