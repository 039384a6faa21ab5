//! Event types and the envelope.

/// Every event type a webhook can subscribe to.
pub const EVENT_TYPES: &[&str] = &[
    "sync_job_run:created",
    "sync_job_run:updated",
    "sync_job_run:deleted",
    "sync_job_run:started",
    "sync_job_run:record",
    "sync_job_run:record_error",
    "sync_job_run:rate_limited",
    "sync_job_run:completed",
    "sync_job_run:failed",
    "sync_job_run:stopped",
    "integrated_account:created",
    "integrated_account:active",
    "integrated_account:updated",
    "integrated_account:deleted",
    "integrated_account:validation_error",
    "integrated_account:authentication_error",
    "integrated_account:reactivated",
    "sync_job_cron_trigger:failed",
    "webhook:disabled",
    "test",
];
