//! What every handler works with.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use shared::{
    catalog::Catalog,
    http::{Outbound, TargetPolicy},
    seal::Sealer,
    store::Store,
    submit::Submitter,
    telemetry::MetricsHandle,
};
use tokio::sync::Semaphore;

/// Test events that one process sends at once; each may take as long as its webhook's `timeout_ms`.
pub const TESTS_AT_ONCE: usize = 8;

/// One per process; cheap to clone.
#[derive(Clone)]
pub struct AppState {
    pub store: Store,
    /// Whether the settings of Redis were found to be safe; until then it isn't used.
    pub store_checked: Arc<AtomicBool>,
    pub sealer: Sealer,
    /// For the checks of integrated accounts.
    pub outbound: Outbound,
    /// For test events, which are sent as deliveries are.
    pub receivers: Outbound,
    /// Places for test events, [`TESTS_AT_ONCE`].
    pub tests: Arc<Semaphore>,
    /// For the URLs that clients give.
    pub targets: TargetPolicy,
    pub catalog: Arc<Catalog>,
    /// How long finished runs are kept, in days.
    pub retention_days: u32,
    /// What `/metrics` shows; absent where another program of the process shows it.
    pub metrics: Option<MetricsHandle>,
}

impl AppState {
    /// What makes runs out of requests.
    pub fn submitter(&self) -> Submitter<'_> {
        Submitter {
            store: &self.store,
            catalog: &self.catalog,
            retention_days: self.retention_days,
        }
    }

    /// Whether the store may be used.
    pub fn is_store_checked(&self) -> bool {
        self.store_checked.load(Ordering::Acquire)
    }
}
