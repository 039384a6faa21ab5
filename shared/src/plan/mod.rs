//! A sync job compiled against an integration: a forest of nodes, checked as a
//! whole.
//!
//! [`Plan::compile`] goes in four steps, each over all resources, so that every
//! fault is named at once: read the fields of each (`read`), look up its method,
//! resolve `depends_on` to parents (`graph`), and see that every placeholder can
//! be filled (`placeholders`). Nodes are then sorted parents first; the order of
//! the document is kept otherwise.
//!
//! No I/O: the API compiles a job to check it, a worker to carry it out.

mod graph;
mod placeholders;
mod read;

#[cfg(test)]
mod tests;

use serde_json::Value;

use crate::{
    expr::{path::Path, template::Template},
    fault::{Faults, child, kind_of},
    integration::{Integration, Method},
    model::run::ErrorHandling,
};
use read::Resource;

/// Nodes of one sync job at most.
pub const MAX_NODES: usize = 50;

/// Where the resources are in a sync job.
const POINTER: &str = "/resources";

/// A compiled sync job.
#[derive(Debug)]
pub struct Plan {
    /// Parents before their children.
    pub nodes: Vec<Node>,
}

/// One resource of a sync job.
#[derive(Debug)]
pub struct Node {
    pub index: usize,
    /// Of its stream: `name`, else the resource.
    pub name: String,
    pub resource: String,
    pub method: String,
    /// Nearest ancestor; always smaller than `index`.
    pub parent: Option<usize>,
    pub children: Vec<usize>,
    /// An object; empty when the job gives none.
    pub query: Template,
    pub id: Option<Template>,
    pub body: Option<Template>,
    /// What descendants need out of each record of this node.
    pub carried: Vec<Carried>,
    /// Whether `previous_run_date` is used.
    pub incremental: bool,
    /// Whether records are delivered, or only fetched for their children.
    pub persist: bool,
    pub error_handling: Option<ErrorHandling>,
}

/// `resources.wms.orders.id` → the value at `id` of a `wms/orders` record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Carried {
    pub placeholder: String,
    pub path: Path,
}

impl Plan {
    /// Compiles the `resources` array of a sync job. Pointers start at `/resources`.
    ///
    /// # Errors
    /// Every fault at once.
    pub fn compile(resources: &Value, integration: &Integration) -> Result<Self, Faults> {
        let mut faults = Faults::default();
        let nodes = Self::read(resources, Some(integration), &mut faults);
        faults.into_result(Self { nodes })
    }

    /// The faults that resources have whatever their integration is.
    pub fn check(resources: &Value, faults: &mut Faults) {
        Self::read(resources, None, faults);
    }

    fn read(
        resources: &Value,
        integration: Option<&Integration>,
        faults: &mut Faults,
    ) -> Vec<Node> {
        let Value::Array(list) = resources else {
            faults.push(
                POINTER,
                format!("must be an array, is {}", kind_of(resources)),
            );
            return Vec::new();
        };
        if list.is_empty() {
            faults.push(POINTER, "must hold at least one resource");
        }
        if list.len() > MAX_NODES {
            faults.push(
                POINTER,
                format!("must not hold more than {MAX_NODES} resources"),
            );
            return Vec::new();
        }
        // What can't be read keeps its place, so that pointers and references of the others stay right.
        let resources: Vec<Option<Resource>> = list
            .iter()
            .enumerate()
            .map(|(index, value)| Resource::read(value, child(POINTER, index), faults))
            .collect();
        for resource in resources.iter().flatten() {
            let method =
                integration.and_then(|integration| find_method(resource, integration, faults));
            if let Some(method) = method {
                check_request(resource, method, faults);
            }
        }
        check_names(&resources, faults);
        let graph = graph::resolve(&resources, faults);
        let carried = placeholders::check(&resources, &graph, faults);
        if resources.iter().any(Option::is_none) || !faults.is_empty() {
            return Vec::new();
        }
        sorted(resources.into_iter().flatten().collect(), &graph, carried)
    }
}

/// The method of a resource; a fault at `resource` or `method` that says what there is.
fn find_method<'i>(
    resource: &Resource,
    integration: &'i Integration,
    faults: &mut Faults,
) -> Option<&'i Method> {
    if let Err(problem) = integration.check_resource(&resource.resource) {
        faults.push(child(&resource.pointer, "resource"), problem);
        return None;
    }
    integration
        .method(&resource.resource, &resource.method)
        .map_err(|problem| faults.push(child(&resource.pointer, "method"), problem))
        .ok()
}

/// Whether the method gets what it needs, and needs what it gets.
fn check_request(resource: &Resource, method: &Method, faults: &mut Faults) {
    let pointer = |field: &str| child(&resource.pointer, field);
    let missing = method.missing(
        &resource.raw_query,
        resource.id.is_some(),
        resource.raw_body.as_ref(),
    );
    for placeholder in missing {
        let field = if placeholder.starts_with("id") {
            "id"
        } else if placeholder.starts_with("body") {
            "body"
        } else {
            "query"
        };
        faults.push(
            pointer(field),
            format!(
                "`{}` of `{}` needs `{{{{{placeholder}}}}}`; give it here",
                resource.method, resource.resource
            ),
        );
    }
    if resource.id.is_some() && !method.uses_id() {
        faults.push(
            pointer("id"),
            format!(
                "`{}` of `{}` takes no id; use `query`, or the method `get`",
                resource.method, resource.resource
            ),
        );
    }
    if resource.body.is_some() && !method.uses_body() {
        faults.push(
            pointer("body"),
            format!(
                "`{}` of `{}` sends no body; use `query`",
                resource.method, resource.resource
            ),
        );
    }
}

/// Streams, statistics and placeholders go by name, so no two may be the same.
fn check_names(resources: &[Option<Resource>], faults: &mut Faults) {
    for (index, resource) in resources.iter().enumerate() {
        let Some(resource) = resource else { continue };
        let before = resources[..index].iter().flatten();
        if before.into_iter().any(|other| other.name == resource.name) {
            let field = if resource.is_named {
                "name"
            } else {
                "resource"
            };
            faults.push(
                child(&resource.pointer, field),
                format!(
                    "`{}` is there already; give this one a `name` of its own",
                    resource.name
                ),
            );
        }
    }
}

/// The nodes with parents first; only called when there are no faults.
fn sorted(
    resources: Vec<Resource>,
    graph: &graph::Graph,
    mut carried: Vec<Vec<Carried>>,
) -> Vec<Node> {
    let mut place = vec![0; resources.len()];
    for (index, &original) in graph.order.iter().enumerate() {
        place[original] = index;
    }
    let mut resources: Vec<Option<Resource>> = resources.into_iter().map(Some).collect();
    let mut nodes: Vec<Node> = Vec::with_capacity(resources.len());
    for (index, &original) in graph.order.iter().enumerate() {
        let Some(resource) = resources[original].take() else {
            continue;
        };
        let parent = graph.parents[original].map(|parent| place[parent]);
        if let Some(parent) = parent {
            nodes[parent].children.push(index);
        }
        nodes.push(Node {
            index,
            incremental: resource.uses_previous_run_date(),
            name: resource.name,
            resource: resource.resource,
            method: resource.method,
            parent,
            children: Vec::new(),
            query: resource.query,
            id: resource.id,
            body: resource.body,
            carried: std::mem::take(&mut carried[original]),
            persist: resource.persist,
            error_handling: resource.error_handling,
        });
    }
    nodes
}
