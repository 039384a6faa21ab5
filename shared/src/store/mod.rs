//! The store: everything that speaks Redis.
//!
//! Redis is the only store and the only authority. Whatever must happen together
//! happens in one script (`lua/`), whose typed wrapper is in `scripts.rs`; all keys
//! are built in [`keys`]. A lost connection is re-established by itself; a call
//! made meanwhile ends in [`StoreError::Unavailable`], never in a hang.

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
mod object_keys;
pub mod objects;
mod page;
pub mod queue;
pub mod redrives;
pub mod runs;
mod scripts;
pub mod states;
pub mod tokens;
pub mod webhooks;
pub mod workflow_runs;

pub use connection::{BootCheck, RedisSubscription, Store};
pub use documents::document_hash;
pub use page::{Page, PageRequest};
pub use scripts::SCRIPT_NAMES;

/// Why a call to the store failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Redis can't be reached, is loading, read-only, out of memory or too slow:
    /// nothing is known to have been written, and trying again later helps.
    #[error("the store is unavailable: {0}")]
    Unavailable(#[source] redis::RedisError),
    /// Redis answered, but not as it should: a defect, or a foreign writer under our prefix.
    #[error("the store gave an unexpected answer: {0}")]
    Unexpected(String),
    /// The settings of this Redis put data at risk.
    #[error("{0}")]
    Unsafe(String),
}

impl From<redis::RedisError> for StoreError {
    fn from(error: redis::RedisError) -> Self {
        use redis::{ErrorKind, ServerErrorKind};
        let passing = match error.kind() {
            ErrorKind::Io
            | ErrorKind::Parse
            | ErrorKind::Client
            | ErrorKind::AuthenticationFailed
            // `OOM`, `MISCONF` and `NOREPLICAS` have no kind of their own.
            | ErrorKind::Extension => true,
            ErrorKind::Server(kind) => !matches!(kind, ServerErrorKind::ResponseError),
            _ => error.is_io_error() || error.is_timeout(),
        };
        let out_of_memory = error
            .code()
            .is_some_and(|code| matches!(code, "OOM" | "MISCONF" | "NOREPLICAS"))
            || error.to_string().contains("OOM command not allowed");
        if passing || out_of_memory {
            Self::Unavailable(error)
        } else {
            Self::Unexpected(error.to_string())
        }
    }
}

/// What a call to the store gives.
pub type StoreResult<T> = Result<T, StoreError>;
