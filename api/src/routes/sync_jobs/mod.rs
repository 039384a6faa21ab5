//! `/sync-job`: which resources are synced, and how they depend on each other.
pub mod compile;
pub mod create;
pub mod delete;
pub mod get;
pub mod list;
pub mod plan;
pub mod update;
pub mod view;
pub mod watermark;
