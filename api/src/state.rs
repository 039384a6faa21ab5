//! What every handler works with.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use shared::{
    http::{Outbound, TargetPolicy},
    seal::Sealer,
    store::Store,
    telemetry::MetricsHandle,
};

use crate::catalog::Catalog;

/// One per process; cheap to clone.
#[derive(Clone)]
pub struct AppState {
    pub store: Store,
    /// Whether the settings of Redis were found to be safe; until then it isn't used.
    pub store_checked: Arc<AtomicBool>,
    pub sealer: Sealer,
    /// For the checks of integrated accounts.
    pub outbound: Outbound,
    /// For the URLs that clients give.
    pub targets: TargetPolicy,
    pub catalog: Arc<Catalog>,
    /// How long finished runs are kept, in days.
    pub retention_days: u32,
    /// What `/metrics` shows; absent where another program of the process shows it.
    pub metrics: Option<MetricsHandle>,
}

impl AppState {
    /// Whether the store may be used.
    pub fn is_store_checked(&self) -> bool {
        self.store_checked.load(Ordering::Acquire)
    }
}
