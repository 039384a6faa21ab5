//! `/sync-job-run-state`: small values that clients keep between runs. `state_key` in the query names a set of them, `{id}` is the
//! key of one.
pub mod create;
pub mod delete;
pub mod get;
pub mod list;
pub mod update;
pub mod view;
