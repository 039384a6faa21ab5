//! Whether each placeholder of a job can be filled, and what each node must
//! carry along for its descendants.

use super::{Carried, graph::Graph, read::Resource};
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
];

const ACCOUNT_FIELDS: &[&str] = &["id", "tenant_id"];
const RUN_FIELDS: &[&str] = &["id", "started_at"];

/// Checks all placeholders; the result holds for each resource what its
/// descendants need of its records.
pub(super) fn check(
    resources: &[Option<Resource>],
    graph: &Graph,
    faults: &mut Faults,
) -> Vec<Vec<Carried>> {
    let mut carried = vec![Vec::new(); resources.len()];
    for (index, resource) in resources.iter().enumerate() {
        let Some(resource) = resource else { continue };
        for (placeholder, pointer) in resource.placeholders() {
            match source_of(&placeholder, index, resources, graph) {
                Ok(None) => {}
                Ok(Some((ancestor, path))) => {
                    let carried: &mut Vec<Carried> = &mut carried[ancestor];
                    if carried.iter().all(|known| known.placeholder != placeholder) {
                        carried.push(Carried { placeholder, path });
                    }
                }
                Err(problem) => {
                    faults.push(
                        pointer,
                        format!("`{{{{{placeholder}}}}}` can't be filled: {problem}"),
                    );
                }
            }
        }
    }
    carried
}

/// The ancestor and the path in its record that fill a placeholder; `None` for
/// what the run itself fills.
fn source_of(
    placeholder: &str,
    index: usize,
    resources: &[Option<Resource>],
    graph: &Graph,
) -> Result<Option<(usize, Path)>, String> {
    let (root, rest) = placeholder.split_once('.').unwrap_or((placeholder, ""));
    match root {
        "resources" => ancestor_of(rest, index, resources, graph),
        PREVIOUS_RUN_DATE if rest.is_empty() => Ok(None),
        PREVIOUS_RUN_DATE => Err(format!("`{PREVIOUS_RUN_DATE}` has no fields")),
        "args" | "context" => Ok(None),
        "account" => one_of(root, rest, ACCOUNT_FIELDS),
        "run" => one_of(root, rest, RUN_FIELDS),
        "loop" => Err("`loop_on` is not supported yet".to_owned()),
        "credentials" => Err("credentials are for the integration alone".to_owned()),
        _ => Err(format!(
            "placeholders start with `resources`, `{PREVIOUS_RUN_DATE}`, `args`, `context`, `account` or `run`{}",
            suggestion(root, ROOTS.iter().copied())
        )),
    }
}

fn one_of(root: &str, field: &str, fields: &[&str]) -> Result<Option<(usize, Path)>, String> {
    if fields.contains(&field) {
        return Ok(None);
    }
    let hint = suggestion(field, fields.iter().copied());
    Err(format!("`{root}` has `{}`{hint}", fields.join("` and `")))
}

/// The resource whose name, with dots for slashes, is the longest beginning of `rest`.
fn ancestor_of(
    rest: &str,
    index: usize,
    resources: &[Option<Resource>],
    graph: &Graph,
) -> Result<Option<(usize, Path)>, String> {
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
    // Where `depends_on` itself is wrong, that fault says enough.
    let is_root = resources[index]
        .as_ref()
        .is_some_and(|resource| resource.depends_on.is_empty());
    let is_certain = graph.parents[index].is_some() || is_root;
    if is_certain
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
    Path::parse(path).map(|path| Some((at, path)))
}
