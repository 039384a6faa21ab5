//! The management API: integrations, integrated accounts, webhooks, sync jobs and runs.
//!
//! [`router`] has the whole route table; a handler is `routes/<objects>/<verb>.rs` and
//! reads top to bottom: authenticated caller in the signature, parameters, body, work.

pub mod answer;
pub mod app;
pub mod boot;
pub mod commands;
pub mod error;
pub mod extract;
pub mod idempotent;
pub mod middleware;
pub mod new_id;
pub mod openapi;
pub mod router;
pub mod routes;
pub mod state;

pub use app::serve;
pub use boot::run;
