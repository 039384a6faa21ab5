//! `/integration`: how source APIs are described.
pub mod capabilities;
pub mod delete;
pub mod get;
pub mod list;
pub mod put;
pub mod view;
