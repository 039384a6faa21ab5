//! Not written yet.
pub mod targets;
