//! `/sync-job-run`: syncs, one by one.
pub mod create;
pub mod errors;
pub mod events;
pub mod get;
pub mod list;
pub mod retry;
pub mod stop;
pub mod timeline;
