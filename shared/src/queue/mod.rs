//! How a process takes part in a queue: the claim loop, the keeper of its
//! leases, the listener that wakes it, and the adapter to apalis.
//!
//! State and authority are in Redis ([`crate::store::queue`]); what is here can be
//! lost at any time. A claim loop takes as many tasks as there are free slots and
//! hands them over with their lease. It never ends because of Redis: while Redis is
//! away it tries again, with one line in the log when that begins and one when it
//! is over.

pub mod apalis_backend;
mod claim_loop;
mod leases;
mod slot;
pub mod task;
mod wake;

pub use claim_loop::{Arrivals, ClaimLoop, Leased};
pub use leases::{EXTEND_EVERY, Lease, LeaseKeeper};
pub use slot::{Slot, WAITING_PLACES};
pub use wake::WakeListener;
