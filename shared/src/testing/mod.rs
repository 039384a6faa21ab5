//! What tests of every crate share.
pub mod redis;
mod run_spec;

pub use run_spec::run_spec;
