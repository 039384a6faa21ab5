//! A sync job compiled against an integration: a forest of nodes, checked as a whole.
use crate::{
    expr::{path::Path, template::Template},
    fault::Faults,
    integration::Integration,
    model::run::ErrorHandling,
};
use serde_json::Value;

/// Nodes of one sync job at most.
pub const MAX_NODES: usize = 50;

#[derive(Debug)]
pub struct Plan {
    pub nodes: Vec<Node>,
}

#[derive(Debug)]
pub struct Node {
    pub index: usize,
    /// stream name: `name`, else the resource
    pub name: String,
    pub resource: String,
    pub method: String,
    /// nearest ancestor; always smaller than `index`
    pub parent: Option<usize>,
    pub children: Vec<usize>,
    pub query: Template,
    pub id: Option<Template>,
    pub body: Option<Template>,
    /// what descendants need out of each record of this node
    pub carried: Vec<Carried>,
    /// whether `previous_run_date` is used
    pub incremental: bool,
    pub persist: bool,
    pub error_handling: Option<ErrorHandling>,
}

/// `resources.wms.orders.id` → the value at `id` of a `wms/orders` record.
#[derive(Debug, Clone)]
pub struct Carried {
    pub placeholder: String,
    pub path: Path,
}

impl Plan {
    /// Compiles the `resources` array of a sync job. Pointers start at `/resources`.
    /// # Errors
    /// Every fault at once.
    pub fn compile(resources: &Value, integration: &Integration) -> Result<Self, Faults> {
        let _ = (resources, integration);
        unimplemented!()
    }
}
