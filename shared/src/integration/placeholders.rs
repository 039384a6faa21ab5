//! Templates of a document, and whether each of their placeholders can be
//! filled when a request is made.

use serde_json::Value;

use super::{names::listed, suggestion};
use crate::{
    expr::{path::Path, template::Template},
    fault::Faults,
};

/// What placeholders of a method may start with.
pub(super) const METHOD_ROOTS: &[&str] = &[
    "id",
    "query",
    "body",
    "path",
    "credentials",
    "context",
    "account",
    "args",
    "run",
];

/// What placeholders of a `validation` step may start with: there is an account, but no run.
pub(super) const VALIDATION_ROOTS: &[&str] = &["credentials", "context", "account"];

const ACCOUNT_FIELDS: &[&str] = &["id", "tenant_id"];
const RUN_FIELDS: &[&str] = &["id", "started_at"];

/// What the placeholders of one part of a document may name.
#[derive(Debug, Clone, Copy)]
pub(super) struct Known<'a> {
    pub roots: &'static [&'static str],
    /// Names of the declared credential fields.
    pub credentials: &'a [String],
}

/// A template with the placeholders in it.
#[derive(Debug, Clone)]
pub(super) struct Compiled {
    pub template: Template,
    pub paths: Vec<String>,
}

impl Compiled {
    /// Compiles `value`; syntax faults and placeholders that nothing can fill
    /// become faults.
    pub fn new(value: &Value, pointer: &str, known: Known<'_>, faults: &mut Faults) -> Self {
        let template = Template::compile(value, pointer, faults);
        let mut paths = Vec::new();
        for (path, at) in template.paths() {
            if let Some(message) = known.objection(&path) {
                faults.push(at, message);
            }
            paths.push(path);
        }
        Self { template, paths }
    }

    /// Whether a credential goes into the value.
    pub fn is_secret(&self) -> bool {
        self.paths
            .iter()
            .any(|path| split_root(path).0 == "credentials")
    }
}

/// A template of one text, with its source for messages.
#[derive(Debug, Clone)]
pub(super) struct Text {
    pub source: String,
    pub compiled: Compiled,
}

impl Text {
    pub fn new(source: &str, pointer: &str, known: Known<'_>, faults: &mut Faults) -> Self {
        let compiled = Compiled::new(&Value::String(source.to_owned()), pointer, known, faults);
        Self {
            source: source.to_owned(),
            compiled,
        }
    }

    /// Everything of the source that is no placeholder.
    pub fn literal(&self) -> String {
        literal(&self.source)
    }
}

impl Known<'_> {
    /// Why the placeholder `path` can't be filled.
    fn objection(&self, path: &str) -> Option<String> {
        let (root, rest) = split_root(path);
        if !self.roots.contains(&root) {
            let hint = if matches!(root, "resources" | "previous_run_date" | "loop") {
                "; it belongs into a sync job's `query`, read it here as `query.…`".to_owned()
            } else {
                suggestion(root, self.roots.iter().copied())
            };
            return Some(format!(
                "`{{{{{path}}}}}` can't be filled here; placeholders start with {}{hint}",
                listed(self.roots.iter().copied())
            ));
        }
        match root {
            "credentials" => self.credential_objection(path, rest),
            "account" => fixed_objection(path, rest, ACCOUNT_FIELDS),
            "run" => fixed_objection(path, rest, RUN_FIELDS),
            "id" if !rest.is_empty() => Some(format!(
                "`{{{{{path}}}}}` can't be filled; `id` has no fields"
            )),
            _ => None,
        }
    }

    fn credential_objection(&self, path: &str, rest: &str) -> Option<String> {
        let name = first_segment(rest);
        if self.credentials.contains(&name) {
            return None;
        }
        let declared = self.credentials.iter().map(String::as_str);
        Some(format!(
            "`{{{{{path}}}}}` names no field of `config.credentials`; declared: {}{}",
            listed(declared.clone()),
            suggestion(&name, declared)
        ))
    }
}

fn fixed_objection(path: &str, rest: &str, fields: &[&str]) -> Option<String> {
    (!fields.contains(&rest)).then(|| {
        let (root, _) = split_root(path);
        format!(
            "`{{{{{path}}}}}` can't be filled; `{root}` has {}{}",
            listed(fields.iter().copied()),
            suggestion(rest, fields.iter().copied())
        )
    })
}

/// `query.updated_at.gt` → (`query`, `updated_at.gt`).
pub(super) fn split_root(path: &str) -> (&str, &str) {
    path.split_once('.').unwrap_or((path, ""))
}

/// The first step of a dotted path.
pub(super) fn first_segment(path: &str) -> String {
    Path::parse(path)
        .ok()
        .and_then(|path| path.segments().first().cloned())
        .unwrap_or_else(|| split_root(path).0.to_owned())
}

/// `text` without its `{{placeholders}}`.
pub(super) fn literal(text: &str) -> String {
    let mut literal = String::new();
    let mut rest = text;
    while let Some(start) = rest.find("{{") {
        literal.push_str(&rest[..start]);
        match rest[start..].find("}}") {
            Some(end) => rest = &rest[start + end + 2..],
            None => return literal,
        }
    }
    literal.push_str(rest);
    literal
}
