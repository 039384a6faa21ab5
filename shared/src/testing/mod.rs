//! What tests of every crate share.
pub mod redis;
