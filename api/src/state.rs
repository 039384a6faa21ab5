//! What every handler works with.

use std::sync::Arc;

use metrics_exporter_prometheus::PrometheusHandle;
use shared::{
    http::{Outbound, TargetPolicy},
    seal::Sealer,
    store::Store,
};

use crate::catalog::Catalog;

/// One per process; cheap to clone.
#[derive(Clone)]
pub struct AppState {
    pub store: Store,
    pub sealer: Sealer,
    /// For the checks of integrated accounts.
    pub outbound: Outbound,
    /// For the URLs that clients give.
    pub targets: TargetPolicy,
    pub catalog: Arc<Catalog>,
    /// How long finished runs are kept, in days.
    pub retention_days: u32,
    /// What `/metrics` shows; absent where another program of the process shows it.
    pub metrics: Option<PrometheusHandle>,
}
