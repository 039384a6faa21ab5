//! The store: everything that speaks Redis.
//!
//! Redis is the only store and the only authority. Whatever must happen together
//! happens in one script (`lua/`), whose typed wrapper is in `scripts.rs`; all keys
//! are built in [`keys`]. A connection that is of no more use is replaced by itself
//! (`link.rs`); a call made meanwhile ends in [`StoreError::Unavailable`], never in a
//! hang.

pub mod accounts;
pub mod attempts;
mod connection;
pub mod cron;
mod dead_letters;
pub mod deliveries;
mod documents;
pub mod effects;
pub mod fetches;
pub mod idempotency;
pub mod keys;
mod link;
mod object_keys;
pub mod objects;
mod outage;
mod page;
pub mod purge;
pub mod queue;
pub mod redrives;
pub mod runs;
mod scripts;
pub mod states;
pub mod tokens;
mod unavailable;
pub mod webhooks;
pub mod workflow_runs;

pub use connection::{BootCheck, FULL_SHARE, RedisSubscription, Store};
pub use documents::document_hash;
pub use link::Link;
pub use outage::Outage;
pub use page::{Page, PageRequest};
pub use scripts::SCRIPT_NAMES;

/// Why a call to the store failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Redis can't be reached, is loading, read-only, out of memory or too slow:
    /// nothing is known to have been written, and trying again later helps.
    // The cause is in the message, so it isn't a source too: lines with all causes would say it twice.
    #[error("the store is unavailable: {0}")]
    Unavailable(redis::RedisError),
    /// Redis answered, but not as it should: a defect, or a foreign writer under our prefix.
    #[error("the store gave an unexpected answer: {0}")]
    Unexpected(String),
    /// The settings of this Redis put data at risk.
    #[error("{0}")]
    Unsafe(String),
}

impl From<redis::RedisError> for StoreError {
    fn from(error: redis::RedisError) -> Self {
        match unavailable::reason(&error) {
            Some(_) => Self::Unavailable(error),
            None => Self::Unexpected(error.to_string()),
        }
    }
}

/// What a call to the store gives.
pub type StoreResult<T> = Result<T, StoreError>;
