//! `/workflow-run`: what workflows did.
pub mod get;
pub mod list;
