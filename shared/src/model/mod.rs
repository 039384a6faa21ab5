//! Plain data: what the store holds and the API shows. No I/O.
//!
//! Each object has one storage struct (`Webhook`, `Account`, …), whose JSON is the
//! store's own format: fields that a newer version wrote are skipped on reading.
//! What a client may set is a struct of its own beside it (`WebhookInput`, …), read
//! from outside with every fault at once.

pub mod account;
pub mod attempt;
pub mod chunk;
pub mod cron_trigger;
pub mod dead_letter;
pub mod event;
pub mod input;
pub mod integration;
pub mod purge;
pub mod redrive;
pub mod run;
pub mod run_control;
pub mod run_input;
pub mod sync_job;
pub mod token;
pub mod webhook;
pub mod workflow;
pub mod workflow_run;
