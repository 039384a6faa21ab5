//! Who depends on whom: `depends_on` resolved to one parent each, and an order
//! in which parents come first.

use super::read::Resource;
use crate::{
    fault::{Faults, child, shown},
    integration::suggestion,
};

/// The forest. Indices are those of the document.
#[derive(Debug)]
pub(super) struct Graph {
    /// Nearest ancestor of each resource.
    pub parents: Vec<Option<usize>>,
    /// Parents first, else in the order of the document. Lacks what is in or below a cycle.
    pub order: Vec<usize>,
}

impl Graph {
    /// Parent, grandparent, … of `index`.
    pub fn ancestors(&self, index: usize) -> impl Iterator<Item = usize> + '_ {
        std::iter::successors(self.parents[index], |&index| self.parents[index])
    }

    /// Whether the resource has its place: it is in no cycle and below none.
    pub fn is_placed(&self, index: usize) -> bool {
        self.order.contains(&index)
    }
}

/// Resolves every `depends_on`; what can't be resolved is a fault.
pub(super) fn resolve(resources: &[Option<Resource>], faults: &mut Faults) -> Graph {
    let edges: Vec<Vec<usize>> = (0..resources.len())
        .map(|index| dependencies(index, resources, faults))
        .collect();
    report_cycles(resources, &edges, faults);
    let mut graph = Graph {
        parents: vec![None; resources.len()],
        order: Vec::new(),
    };
    // Each pass places what has all it depends on; at most one pass a level.
    loop {
        let ready: Option<usize> = (0..resources.len()).find(|index| {
            !graph.is_placed(*index) && edges[*index].iter().all(|other| graph.is_placed(*other))
        });
        let Some(index) = ready else {
            return graph;
        };
        graph.parents[index] = nearest(index, &edges[index], &graph, resources, faults);
        graph.order.push(index);
    }
}

/// What the names in `depends_on` of a resource are.
fn dependencies(index: usize, resources: &[Option<Resource>], faults: &mut Faults) -> Vec<usize> {
    let Some(resource) = &resources[index] else {
        return Vec::new();
    };
    let mut found = Vec::new();
    for (name, pointer) in &resource.depends_on {
        let others = || {
            resources
                .iter()
                .enumerate()
                .filter_map(|(at, other)| Some((at, other.as_ref()?)))
        };
        let named = others().find(|(_, other)| other.name == *name);
        match named {
            Some((at, _)) if at == index => {
                faults.push(pointer, "names the resource itself; name its parent");
            }
            Some((at, _)) if found.contains(&at) => {}
            Some((at, _)) => found.push(at),
            None => {
                let renamed = others().find(|(at, other)| *at != index && other.resource == *name);
                let hint = if let Some((_, other)) = renamed {
                    format!("; that resource has the name `{}` here", other.name)
                } else {
                    let names = others().filter(|(at, _)| *at != index);
                    suggestion(name, names.map(|(_, other)| other.name.as_str()))
                };
                faults.push(
                    pointer,
                    format!("`{}` is no resource of this job{hint}", shown(name)),
                );
            }
        }
    }
    found
}

/// The nearest of several ancestors: the one that has all others above it.
fn nearest(
    index: usize,
    candidates: &[usize],
    graph: &Graph,
    resources: &[Option<Resource>],
    faults: &mut Faults,
) -> Option<usize> {
    let is_above = |other: usize, below: usize| graph.ancestors(below).any(|above| above == other);
    let on_chain = candidates.iter().copied().find(|&candidate| {
        candidates
            .iter()
            .all(|&other| other == candidate || is_above(other, candidate))
    });
    if on_chain.is_none() && !candidates.is_empty() {
        let apart = candidates.iter().enumerate().find_map(|(at, &one)| {
            let other = candidates[at + 1..]
                .iter()
                .find(|&&other| !is_above(one, other) && !is_above(other, one))?;
            Some((one, *other))
        });
        if let (Some((one, other)), Some(resource)) = (apart, &resources[index]) {
            faults.push(
                child(&resource.pointer, "depends_on"),
                format!(
                    "must lie on one chain, but neither of `{}` and `{}` depends on the other",
                    name(resources, one),
                    name(resources, other)
                ),
            );
        }
    }
    on_chain
}

/// Names each cycle once, at the first resource of the document that is in it.
fn report_cycles(resources: &[Option<Resource>], edges: &[Vec<usize>], faults: &mut Faults) {
    let mut reported = vec![false; resources.len()];
    for start in 0..resources.len() {
        if reported[start] {
            continue;
        }
        let Some(cycle) = cycle_through(start, edges) else {
            continue;
        };
        for &index in &cycle {
            reported[index] = true;
        }
        if let Some(resource) = &resources[start] {
            let names: Vec<&str> = cycle
                .iter()
                .chain([&start])
                .map(|&index| name(resources, index))
                .collect();
            faults.push(
                child(&resource.pointer, "depends_on"),
                format!("depends on itself: {}", names.join(" → ")),
            );
        }
    }
}

/// The shortest way from `start` back to it, without `start` at its end.
fn cycle_through(start: usize, edges: &[Vec<usize>]) -> Option<Vec<usize>> {
    let mut came_from: Vec<Option<usize>> = vec![None; edges.len()];
    let mut queue = std::collections::VecDeque::from([start]);
    while let Some(index) = queue.pop_front() {
        for &next in &edges[index] {
            if next == start {
                let mut way: Vec<usize> =
                    std::iter::successors(Some(index), |&at| came_from[at]).collect();
                way.reverse();
                return Some(way);
            }
            if came_from[next].is_none() {
                came_from[next] = Some(index);
                queue.push_back(next);
            }
        }
    }
    None
}

fn name(resources: &[Option<Resource>], index: usize) -> &str {
    resources[index]
        .as_ref()
        .map_or("?", |resource| resource.name.as_str())
}
