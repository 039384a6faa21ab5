//! `/integrated-account`: customers' connections to integrations.
pub mod check;
pub mod create;
pub mod credentials;
pub mod delete;
pub mod get;
pub mod list;
pub mod update;
pub mod validate;
pub mod view;
