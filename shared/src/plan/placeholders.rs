//! Whether each placeholder of a job can be filled, what with, and what each
//! node must carry along for its descendants.

use super::{
    Carried,
    graph::Graph,
    loops::{LOOP_ITEM, Over},
    read::{Place, Resource, Used},
    recurse::RECORD,
};
use crate::{expr::path::Path, fault::Faults, integration::suggestion};

/// The start of the last run that fetched the resource whole.
pub(super) const PREVIOUS_RUN_DATE: &str = "previous_run_date";

/// Roots of the placeholders of a job.
const ROOTS: &[&str] = &[
    "resources",
    PREVIOUS_RUN_DATE,
    "args",
    "context",
    "account",
    "run",
    "loop",
];

const ACCOUNT_FIELDS: &[&str] = &["id", "tenant_id"];
const RUN_FIELDS: &[&str] = &["id", "started_at"];

/// What fills a placeholder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// The run itself: `args`, `context`, `account`, `run`, `previous_run_date`.
    Run(&'static str),
    /// The record of an ancestor, by its index, at a path.
    Ancestor(usize, Path),
    /// The record that is recursed on, at a path.
    Record(Path),
    /// The current element of a loop: of the resource with this index. At a path, or whole.
    Element(usize, Option<Path>),
}

/// What the placeholders of one resource come to.
#[derive(Debug, Clone, Default)]
pub(super) struct Needs {
    /// Each placeholder once, with what fills it. Indices are those of the document.
    pub filled: Vec<(String, Source)>,
    /// What its descendants need of its records.
    pub carried: Vec<Carried>,
    /// What only its loop needs of its parent's records.
    pub from_parent: Vec<Carried>,
    /// What nothing needs any more once the elements of its loop are known.
    pub spent: Vec<String>,
    /// Parts of the current element.
    pub elements: Vec<Carried>,
    /// What `recurse` looks at in a record under the resource's own name, and what its next call needs of it.
    pub looked_at: Vec<Carried>,
    pub recursed: Vec<Carried>,
}

/// Checks all placeholders.
pub(super) fn check(
    resources: &[Option<Resource>],
    graph: &Graph,
    faults: &mut Faults,
) -> Vec<Needs> {
    let mut needs = vec![Needs::default(); resources.len()];
    let mut from_ancestors = Vec::new();
    for (index, resource) in resources.iter().enumerate() {
        let Some(resource) = resource else { continue };
        for used in resource.placeholders() {
            let source = match source_of(&used, index, resources, graph) {
                Ok(source) => source,
                Err(problem) => {
                    faults.push(
                        used.pointer,
                        format!("`{{{{{}}}}}` can't be filled: {problem}", used.path),
                    );
                    continue;
                }
            };
            // In the requests of a loop its own placeholder is the element.
            let looped = resource.loop_on.as_ref().and_then(Over::placeholder);
            let source = if used.place != Place::Loop && looped == Some(&used.path) {
                Source::Element(index, None)
            } else {
                source
            };
            let need = &mut needs[index];
            match &source {
                Source::Run(_) | Source::Element(_, None) => {}
                Source::Element(_, Some(path)) => add(&mut need.elements, &used.path, path),
                Source::Record(path) if used.place == Place::Condition => {
                    add(&mut need.looked_at, &used.path, path);
                }
                Source::Record(path) => add(&mut need.recursed, &used.path, path),
                Source::Ancestor(ancestor, path) => {
                    from_ancestors.push((
                        index,
                        used.place,
                        *ancestor,
                        used.path.clone(),
                        path.clone(),
                    ));
                }
            }
            if need.filled.iter().all(|(known, _)| *known != used.path) {
                need.filled.push((used.path, source));
            }
        }
    }
    for (index, place, ancestor, placeholder, path) in &from_ancestors {
        // Whether anything but this loop needs the value, here or below.
        let is_shared = from_ancestors.iter().any(|(other, at, _, name, _)| {
            name == placeholder
                && ((other == index && *at != Place::Loop)
                    || graph.ancestors(*other).any(|above| above == *index))
        });
        let only_looped = *place == Place::Loop && !is_shared;
        if only_looped {
            push_new(&mut needs[*index].spent, placeholder);
        }
        if only_looped && graph.parents[*index] == Some(*ancestor) {
            add(&mut needs[*index].from_parent, placeholder, path);
        } else {
            add(&mut needs[*ancestor].carried, placeholder, path);
        }
    }
    needs
}

fn add(to: &mut Vec<Carried>, placeholder: &str, path: &Path) {
    if to.iter().all(|known| known.placeholder != placeholder) {
        to.push(Carried {
            placeholder: placeholder.to_owned(),
            path: path.clone(),
        });
    }
}

fn push_new(to: &mut Vec<String>, placeholder: &str) {
    if to.iter().all(|known| known != placeholder) {
        to.push(placeholder.to_owned());
    }
}

/// What fills a placeholder of a resource.
fn source_of(
    used: &Used,
    index: usize,
    resources: &[Option<Resource>],
    graph: &Graph,
) -> Result<Source, String> {
    let (root, rest) = used.path.split_once('.').unwrap_or((&used.path, ""));
    match root {
        "resources" => record_of(rest, used.place, index, resources, graph),
        RECORD if matches!(used.place, Place::Condition | Place::Recursion) => {
            if rest.is_empty() {
                return Err("name a field of the record, such as `id`, after `record`".to_owned());
            }
            Path::parse(rest).map(Source::Record)
        }
        RECORD => Err(
            "`record` is the record that `recurse` looks at; elsewhere name the parent: `{{resources.<name>.<path>}}`"
                .to_owned(),
        ),
        PREVIOUS_RUN_DATE if rest.is_empty() => Ok(Source::Run(PREVIOUS_RUN_DATE)),
        PREVIOUS_RUN_DATE => Err(format!("`{PREVIOUS_RUN_DATE}` has no fields")),
        "args" => Ok(Source::Run("args")),
        "context" => Ok(Source::Run("context")),
        "account" => one_of("account", rest, ACCOUNT_FIELDS),
        "run" => one_of("run", rest, RUN_FIELDS),
        "loop" => element_of(rest, used.place, index, resources, graph),
        "credentials" => Err("credentials are for the integration alone".to_owned()),
        _ => Err(format!(
            "placeholders start with `resources`, `{PREVIOUS_RUN_DATE}`, `args`, `context`, `account`, `run` or `loop`{}",
            suggestion(root, ROOTS.iter().copied())
        )),
    }
}

fn one_of(root: &'static str, field: &str, fields: &[&str]) -> Result<Source, String> {
    if fields.contains(&field) {
        return Ok(Source::Run(root));
    }
    let hint = suggestion(field, fields.iter().copied());
    Err(format!("`{root}` has `{}`{hint}", fields.join("` and `")))
}

/// The nearest loop: the resource's own, or that of an ancestor. `loop_on` itself is filled before its loop begins.
fn element_of(
    rest: &str,
    place: Place,
    index: usize,
    resources: &[Option<Resource>],
    graph: &Graph,
) -> Result<Source, String> {
    let path = match rest.split_once('.').unwrap_or((rest, "")) {
        ("item", "") => None,
        ("item", path) => Some(Path::parse(path)?),
        _ => {
            return Err(format!(
                "`loop` has `item`, the current element: `{{{{{LOOP_ITEM}}}}}`"
            ));
        }
    };
    let loops = |at: &usize| {
        let resource = resources[*at].as_ref();
        resource.is_some_and(|resource| resource.loop_on.is_some())
    };
    let own = (place != Place::Loop).then_some(index);
    let found = own.into_iter().chain(graph.ancestors(index)).find(loops);
    found.map(|at| Source::Element(at, path)).ok_or_else(|| {
        let who = if place == Place::Loop {
            "no resource that this one depends on has `loop_on`"
        } else {
            "neither this resource nor one that it depends on has `loop_on`"
        };
        who.to_owned()
    })
}

/// The resource whose name, with dots for slashes, is the longest beginning of `rest`: an ancestor, or, in
/// `recurse`, the resource itself.
fn record_of(
    rest: &str,
    place: Place,
    index: usize,
    resources: &[Option<Resource>],
    graph: &Graph,
) -> Result<Source, String> {
    let all = || {
        resources
            .iter()
            .enumerate()
            .filter_map(|(at, other)| Some((at, other.as_ref()?)))
    };
    let named = all()
        .filter_map(|(at, other)| {
            let name = other.dotted_name();
            let after = rest.strip_prefix(&name)?;
            let path = if after.is_empty() {
                ""
            } else {
                after.strip_prefix('.')?
            };
            Some((name.len(), at, path))
        })
        .max();
    let Some((_, at, path)) = named else {
        // Names are compared at their own length: `rest` has the field at its end.
        let names: Vec<String> = all().map(|(_, other)| other.dotted_name()).collect();
        let start = rest.rsplit_once('.').map_or(rest, |(start, _)| start);
        return Err(format!(
            "it names no resource of this job{}",
            suggestion(start, names.iter().map(String::as_str))
        ));
    };
    let is_own = at == index && matches!(place, Place::Condition | Place::Recursion);
    // Where `depends_on` itself is wrong, that fault says enough.
    let is_root = resources[index]
        .as_ref()
        .is_some_and(|resource| resource.depends_on.is_empty());
    let is_certain = graph.parents[index].is_some() || is_root;
    if !is_own
        && is_certain
        && graph.is_placed(index)
        && !graph.ancestors(index).any(|ancestor| ancestor == at)
    {
        let name = resources[at]
            .as_ref()
            .map_or("?", |other| other.name.as_str());
        return Err(if at == index {
            "it names the resource itself".to_owned()
        } else {
            format!("this resource doesn't depend on `{name}`; add it to `depends_on`")
        });
    }
    if path.is_empty() {
        return Err(
            "name a field of the parent's record, such as `id`, after the resource".to_owned(),
        );
    }
    let path = Path::parse(path)?;
    Ok(if is_own {
        Source::Record(path)
    } else {
        Source::Ancestor(at, path)
    })
}
