//! `syncline validate FILE`: checks an integration or a sync job offline, with the
//! code that the API checks it with, and says everything that is wrong at once.

use std::{
    fmt::Write,
    path::{Path, PathBuf},
    process::ExitCode,
};

use serde_json::Value;
use shared::{
    fault::Faults,
    ids::EnvironmentId,
    integration::{Integration, bundled},
    model::sync_job::SyncJobInput,
    plan::{Node, Plan},
};

/// The largest file read; the API takes no larger body either.
const MAX_FILE_BYTES: u64 = 1024 * 1024;

/// What to check.
#[derive(Debug, clap::Args)]
pub struct ValidateArgs {
    /// An integration (it has `config`) or a sync job (it has `resources`), JSON or YAML
    file: PathBuf,
    /// The integration of a sync job, when it isn't a bundled one
    #[arg(long, value_name = "FILE")]
    integration: Option<PathBuf>,
}

/// Why a file was not found good.
enum Failure {
    /// The command was used wrongly: exit code 2.
    Usage(String),
    /// The file has faults: exit code 1.
    Faults(Faults),
}

/// Prints `ok` and what the file describes, or every fault on standard error.
#[must_use]
pub fn run(args: &ValidateArgs) -> ExitCode {
    match check(args) {
        Ok(summary) => {
            print!("{summary}");
            ExitCode::SUCCESS
        }
        Err(Failure::Usage(message)) => {
            eprintln!("error: {message}");
            ExitCode::from(2)
        }
        Err(Failure::Faults(faults)) => {
            for fault in faults.as_slice() {
                // The whole document's pointer is empty (RFC 6901); a person needs to see something.
                let pointer = if fault.pointer.is_empty() {
                    "document"
                } else {
                    &fault.pointer
                };
                eprintln!("{pointer}: {}", fault.message);
            }
            ExitCode::FAILURE
        }
    }
}

fn check(args: &ValidateArgs) -> Result<String, Failure> {
    let document = read(&args.file)?;
    match (
        document.get("config").is_some(),
        document.get("resources").is_some(),
    ) {
        (true, _) if args.integration.is_some() => Err(Failure::Usage(
            "--integration goes with a sync job; this file is an integration".to_owned(),
        )),
        (true, _) => {
            let integration = Integration::compile(&document).map_err(Failure::Faults)?;
            Ok(describe_integration(&integration))
        }
        (false, true) => check_sync_job(&document, args.integration.as_deref()),
        (false, false) => Err(fault(
            "",
            "is neither an integration (it has no `config`) nor a sync job (no `resources`)",
        )),
    }
}

fn check_sync_job(document: &Value, integration: Option<&Path>) -> Result<String, Failure> {
    // Offline there is no token whose environment this must be.
    let environment = document["environment_id"]
        .as_str()
        .and_then(|id| id.parse().ok());
    let (input, mut faults) =
        SyncJobInput::read(document, environment.unwrap_or(EnvironmentId::from_bits(0)));
    let Some(input) = input else {
        return Err(Failure::Faults(faults));
    };
    let integration = match integration {
        Some(path) => Some(Integration::compile(&read(path)?).map_err(|faults| {
            Failure::Usage(format!(
                "{} has faults, so the sync job can't be checked against it: {faults}",
                path.display()
            ))
        })?),
        None => find_bundled(&input.integration_name)?,
    };
    match &integration {
        Some(found) if found.name != input.integration_name => faults.push(
            "/integration_name",
            format!(
                "is `{}`, but the integration given is `{}`",
                input.integration_name, found.name
            ),
        ),
        Some(_) => {}
        None => {
            let names: Vec<_> = bundled()
                .iter()
                .map(|(name, _)| format!("`{name}`"))
                .collect();
            faults.push(
                "/integration_name",
                format!(
                    "is none of the bundled ones ({}); name its file with --integration",
                    names.join(", ")
                ),
            );
        }
    }
    let plan = integration.map(|integration| Plan::compile(&input.resources, &integration));
    match plan {
        Some(Ok(plan)) => faults
            .into_result(describe_sync_job(&input.integration_name, &plan))
            .map_err(Failure::Faults),
        Some(Err(found)) => {
            for fault in found.as_slice() {
                faults.push(&fault.pointer, &fault.message);
            }
            Err(Failure::Faults(faults))
        }
        None => Err(Failure::Faults(faults)),
    }
}

fn find_bundled(name: &str) -> Result<Option<Integration>, Failure> {
    let Some((_, text)) = bundled().iter().find(|(bundled, _)| *bundled == name) else {
        return Ok(None);
    };
    let document: Value = serde_json::from_str(text).map_err(|error| {
        Failure::Usage(format!(
            "the bundled integration `{name}` can't be read: {error}"
        ))
    })?;
    Integration::compile(&document)
        .map(Some)
        .map_err(Failure::Faults)
}

/// A file that can't be read is wrong use; one that isn't JSON or YAML has a fault.
fn read(path: &Path) -> Result<Value, Failure> {
    let unreadable = |message: String| Failure::Usage(format!("{}: {message}", path.display()));
    let size = std::fs::metadata(path)
        .map_err(|error| unreadable(error.to_string()))?
        .len();
    if size > MAX_FILE_BYTES {
        return Err(unreadable(format!("is larger than {MAX_FILE_BYTES} bytes")));
    }
    let text = std::fs::read_to_string(path).map_err(|error| unreadable(error.to_string()))?;
    // Nearly all JSON is YAML too, but JSON's own reader keeps the digits of numbers and explains better.
    let is_json = path
        .extension()
        .is_some_and(|extension| extension.eq_ignore_ascii_case("json"));
    if is_json || text.trim_start().starts_with('{') {
        serde_json::from_str(&text).map_err(|error| fault("", &format!("isn't JSON: {error}")))
    } else {
        serde_yaml_ng::from_str(&text).map_err(|error| fault("", &format!("isn't YAML: {error}")))
    }
}

fn fault(pointer: &str, message: &str) -> Failure {
    let mut faults = Faults::default();
    faults.push(pointer, message);
    Failure::Faults(faults)
}

fn describe_integration(integration: &Integration) -> String {
    let capabilities = integration.capabilities();
    let rows: Vec<(String, String)> = ["proxy", "unified"]
        .iter()
        .filter_map(|part| capabilities[*part].as_object())
        .flatten()
        .map(|(resource, methods)| {
            let methods: Vec<_> = methods
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
                .collect();
            (resource.clone(), methods.join(", "))
        })
        .collect();
    format!(
        "ok: integration `{}` ({})\n{}",
        integration.name,
        integration.label,
        table(&rows)
    )
}

fn describe_sync_job(integration: &str, plan: &Plan) -> String {
    let mut rows = Vec::new();
    for node in plan.nodes.iter().filter(|node| node.parent.is_none()) {
        describe_node(plan, node, 0, &mut rows);
    }
    format!(
        "ok: sync job for the integration `{integration}`\n{}",
        table(&rows)
    )
}

/// The node and, indented below it, its children.
fn describe_node(plan: &Plan, node: &Node, depth: usize, rows: &mut Vec<(String, String)>) {
    let mut says = vec![node.method.clone()];
    if let Some(parent) = node.parent.and_then(|parent| plan.nodes.get(parent)) {
        says.push(format!("once for each record of {}", parent.name));
    }
    if let Some(over) = &node.loop_on {
        let each = over.placeholder().unwrap_or("the array given");
        says.push(format!("once for each element of {each}"));
    }
    if node.recurse.is_some() {
        says.push("again for what its records have below them".to_owned());
    }
    if node.filter.is_some() {
        says.push("filtered".to_owned());
    }
    if node.map.is_some() {
        says.push("mapped".to_owned());
    }
    if node.incremental {
        says.push("only what changed since the previous run".to_owned());
    }
    if !node.persist {
        says.push("not delivered".to_owned());
    }
    rows.push((
        format!("{}{}", "  ".repeat(depth), node.name),
        says.join(", "),
    ));
    for child in node
        .children
        .iter()
        .filter_map(|child| plan.nodes.get(*child))
    {
        describe_node(plan, child, depth + 1, rows);
    }
}

/// Two aligned columns.
fn table(rows: &[(String, String)]) -> String {
    let width = rows
        .iter()
        .map(|(left, _)| left.chars().count())
        .max()
        .unwrap_or(0);
    let mut text = String::new();
    for (left, right) in rows {
        // Writing to a string can't fail.
        let _ = writeln!(text, "  {left:width$}  {right}");
    }
    text
}
