//! What tests of every crate share.
pub(crate) mod failure;
pub mod redis;
mod run_spec;
mod store;

pub use run_spec::run_spec;
pub use store::{advance_clock, waiting_events};
