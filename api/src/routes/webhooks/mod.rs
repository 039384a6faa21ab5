//! `/webhook`: where events go.
pub mod attempts;
pub mod create;
pub mod dead_letters;
pub mod delete;
pub mod get;
pub mod list;
pub mod redrives;
pub mod rotate_secret;
pub mod test;
pub mod update;
pub mod view;
