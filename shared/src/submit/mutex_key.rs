//! `mutex_key` of a job: a text with placeholders over `args`, `context`, `account` and `run.id`. Runs for which it comes out
//! the same don't run at the same time.

use serde_json::{Map, Value, json};

use crate::{
    expr::template::{Scope, Template, Unresolved},
    fault::{Faults, suggestion},
    ids::RunId,
    model::account::Account,
};

/// Bytes of a key at most, with and without its placeholders filled.
pub const MAX_KEY_BYTES: usize = 512;

const ROOTS: &[&str] = &["args", "context", "account", "run"];

/// Why a run has no key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoKey {
    #[error("{0}; the job's mutex_key needs it")]
    Unresolved(#[from] Unresolved),
    #[error(
        "the job's mutex_key must have 1 to {MAX_KEY_BYTES} bytes once its placeholders are filled, and has {0}"
    )]
    Length(usize),
}

/// Checks a job's key.
pub fn check(key: &str, pointer: &str, faults: &mut Faults) {
    if key.trim().is_empty() || key.len() > MAX_KEY_BYTES {
        faults.push(pointer, format!("must have 1 to {MAX_KEY_BYTES} bytes"));
    }
    for (path, at) in Template::compile(&json!(key), pointer, faults).paths() {
        let (root, rest) = path.split_once('.').unwrap_or((&path, ""));
        let problem = match root {
            "args" | "context" => None,
            "account" if matches!(rest, "id" | "tenant_id") => None,
            "account" => Some("`account` has `id` and `tenant_id`".to_owned()),
            "run" if rest == "id" => None,
            "run" => Some("of `run` only its `id` is known before it begins".to_owned()),
            _ => Some(format!(
                "here placeholders start with `args`, `context`, `account` or `run`{}",
                suggestion(root, ROOTS.iter().copied())
            )),
        };
        if let Some(problem) = problem {
            faults.push(at, format!("`{{{{{path}}}}}` can't be filled: {problem}"));
        }
    }
}

/// The key of a run.
///
/// # Errors
/// [`NoKey`].
pub fn render(
    key: &str,
    args: &Map<String, Value>,
    account: &Account,
    run: RunId,
) -> Result<String, NoKey> {
    // Checked when the job was made.
    let template = Template::compile(&json!(key), "", &mut Faults::default());
    let (args, context) = (json!(args), json!(account.context));
    let account = json!({"id": account.id, "tenant_id": account.tenant_id});
    let run = json!({"id": run});
    let scope = Scope {
        roots: vec![
            ("args", &args),
            ("context", &context),
            ("account", &account),
            ("run", &run),
        ],
        exact: None,
        omit: &[],
    };
    let text = template.render_text(&scope, str::to_owned)?;
    if text.trim().is_empty() || text.len() > MAX_KEY_BYTES {
        return Err(NoKey::Length(text.len()));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_known_before_a_run_begins_can_be_in_its_key() {
        let mut faults = Faults::default();
        check(
            "{{account.id}}:{{args.warehouse}}:{{context.shop}}:{{run.id}}",
            "/mutex_key",
            &mut faults,
        );
        assert!(faults.is_empty(), "{faults}");
        for key in [
            "",
            " ",
            "{{run.started_at}}",
            "{{resources.orders.id}}",
            "{{arg.x}}",
            "{{account.name}}",
            "{{args.x",
        ] {
            let mut faults = Faults::default();
            check(key, "/mutex_key", &mut faults);
            assert_eq!(faults.as_slice().len(), 1, "{key}: {faults}");
        }
    }
}
