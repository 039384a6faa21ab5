//! What the API, the workers and the command line share: the data model, the
//! compiled sync job, integrations, the guarded outbound client, and everything
//! that speaks Redis.
//!
//! Follow a record: `api` accepts a run, [`store`] writes run and first task in
//! one script, the worker plans and fetches, [`integration`] builds the request
//! and splits the page, [`store`] commits it, the worker delivers ([`delivery`]),
//! [`store`] acknowledges. [`submit`] is the one way to a run, whoever starts it.
//!
//! `model`, `expr` and `plan` know no Redis and no HTTP; `integration` knows no
//! Redis; `store` knows no HTTP; `cron` knows neither, nor a clock; `config` is a leaf.

pub mod catalog;
pub mod clock;
pub mod config;
pub mod cron;
pub mod delivery;
pub mod expr;
pub mod failure;
pub mod fault;
pub mod http;
pub mod ids;
pub mod integration;
pub mod model;
pub mod open_files;
pub mod plan;
pub mod queue;
pub mod seal;
pub mod shutdown;
pub mod store;
pub mod submit;
pub mod telemetry;
#[cfg(feature = "testing")]
pub mod testing;
