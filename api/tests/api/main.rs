//! The API over the wire, against a real Redis: every convention, every object.
mod accounts;
mod conventions;
mod cron_triggers;
mod idempotency;
mod integrations;
mod openapi;
mod run_control;
mod secrets;
mod service;
mod source;
mod support;
mod sync_job_runs;
mod sync_jobs;
mod tenancy;
mod tokens;
mod webhooks;
mod workflows;
