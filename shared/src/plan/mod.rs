//! A sync job compiled against an integration: a forest of nodes, checked as a
//! whole.
//!
//! [`Plan::compile`] goes in four steps, each over all resources, so that every
//! fault is named at once: read the fields of each (`read`, `loops`, `recurse`),
//! look up its method (`requests`), resolve `depends_on` to parents (`graph`), and
//! see that every placeholder can be filled (`placeholders`). Nodes are then sorted
//! parents first; the order of the document is kept otherwise.
//!
//! No I/O: the API compiles a job to check it, a worker to carry it out.

mod graph;
mod loops;
mod placeholders;
mod read;
mod recurse;
mod requests;

#[cfg(test)]
mod loop_tests;
#[cfg(test)]
mod recurse_tests;
#[cfg(test)]
mod tests;

use serde_json::Value;

pub use loops::{LOOP_ITEM, Loop, LoopError, MAX_LOOP_BYTES, MAX_LOOP_ITEMS};
pub use placeholders::Source;
pub use recurse::{Given, MAX_RECURSION, Recursion};

use crate::{
    expr::{
        jsonata::Expression,
        path::Path,
        template::{Scope, Template, Unresolved},
    },
    fault::{Faults, child, kind_of},
    integration::Integration,
    model::run::{ErrorHandling, RunSpec},
};
use placeholders::Needs;
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
    /// An object: values for the placeholders of the method's path.
    pub path: Option<Template>,
    /// Run once for each element of an array.
    pub loop_on: Option<Loop>,
    /// Call again for records for which a condition holds.
    pub recurse: Option<Recursion>,
    /// Which records to keep; all without it.
    pub filter: Option<Expression>,
    /// What is delivered in place of a record.
    pub map: Option<Expression>,
    /// Each placeholder of the node, with what fills it.
    pub placeholders: Vec<(String, Source)>,
    /// Those that are parts of the current element of a loop.
    pub elements: Vec<Carried>,
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
            let method = integration
                .and_then(|integration| requests::find_method(resource, integration, faults));
            if let Some(method) = method {
                requests::check(resource, method, faults);
            }
        }
        check_names(&resources, faults);
        let graph = graph::resolve(&resources, faults);
        let needs = placeholders::check(&resources, &graph, faults);
        if resources.iter().any(Option::is_none) || !faults.is_empty() {
            return Vec::new();
        }
        sorted(resources.into_iter().flatten().collect(), &graph, needs)
    }
}

impl Node {
    /// What happens when a fetch of this node is given up.
    #[must_use]
    pub fn policy(&self, run: &RunSpec) -> ErrorHandling {
        self.error_handling.unwrap_or(run.error_handling)
    }

    /// Whether its records are computed over, which blocks the thread.
    #[must_use]
    pub fn computes(&self) -> bool {
        let recurses = self.recurse.as_ref().is_some_and(Recursion::computes);
        self.filter.is_some() || self.map.is_some() || recurses
    }

    /// What the job gives for a request at a level of recursion; 0 is the first call.
    ///
    /// # Errors
    /// A placeholder without value.
    pub fn given(&self, scope: &Scope<'_>, depth: u32) -> Result<Given, Unresolved> {
        let render = |template: &Template| -> Result<Value, Unresolved> {
            Ok(template.render(scope)?.unwrap_or(Value::Null))
        };
        let mut given = Given {
            query: match render(&self.query)? {
                Value::Null => Value::Object(serde_json::Map::new()),
                query => query,
            },
            id: self.id.as_ref().map(render).transpose()?,
            body: self.body.as_ref().map(render).transpose()?,
            path: self.path.as_ref().map(render).transpose()?,
        };
        if depth > 0
            && let Some(recursion) = &self.recurse
        {
            recursion.apply(&mut given, scope)?;
        }
        Ok(given)
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
fn sorted(resources: Vec<Resource>, graph: &graph::Graph, mut needs: Vec<Needs>) -> Vec<Node> {
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
        let needs = std::mem::take(&mut needs[original]);
        let placeholders = needs.filled.into_iter().map(|(placeholder, source)| {
            let source = match source {
                Source::Ancestor(at, path) => Source::Ancestor(place[at], path),
                Source::Element(at, path) => Source::Element(place[at], path),
                other => other,
            };
            (placeholder, source)
        });
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
            path: resource.path,
            loop_on: resource
                .loop_on
                .map(|over| Loop::new(over, needs.from_parent, needs.spent)),
            recurse: resource
                .recurse
                .and_then(|read| Recursion::new(read, needs.looked_at, needs.recursed)),
            filter: resource.filter,
            map: resource.map,
            placeholders: placeholders.collect(),
            elements: needs.elements,
            carried: needs.carried,
            persist: resource.persist,
            error_handling: resource.error_handling,
        });
    }
    nodes
}
