//! The worker: claims tasks, fetches pages, delivers batches, runs the
//! maintenance passes. Any number of them share one Redis.
//!
//! `runtime` wires apalis to our queues, `tasks` holds one module for each kind of
//! task, `maintenance` the passes that keep the queues moving.

mod context;
mod cron;
mod executor;
mod health;
mod maintenance;
mod measure;
mod runtime;
mod tasks;

pub use runtime::run;
