//! `loop_on`: one request for each element of an array.

use serde_json::Value;

use super::Carried;
use crate::{
    expr::{
        path::Path,
        template::{Scope, Template, Unresolved},
    },
    fault::{Faults, Fields, kind_of},
};

/// Elements of one loop at most.
pub const MAX_LOOP_ITEMS: usize = 10_000;
/// Bytes of JSON that an array of a parent's record may have to be looped over.
pub const MAX_LOOP_BYTES: usize = 256 * 1024;
/// The current element.
pub const LOOP_ITEM: &str = "loop.item";

/// Roots of placeholders; a text that starts with none of them is the name of an argument.
const ROOTS: &[&str] = &["args", "context", "resources", "loop"];

/// A resource's loop.
#[derive(Debug)]
pub struct Loop {
    over: Over,
    /// Parts of the parent's record that only this loop needs.
    pub from_parent: Vec<Carried>,
    /// Values of ancestors that nothing needs any more once the elements are known.
    pub spent: Vec<String>,
}

/// What is looped over.
#[derive(Debug)]
pub(super) struct Over {
    pub template: Template,
    /// As the job has it.
    given: Value,
    /// The one placeholder it is.
    placeholder: Option<String>,
}

/// Why there is nothing to loop over.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LoopError {
    #[error(transparent)]
    Unresolved(#[from] Unresolved),
    #[error("`loop_on` needs an array, and {what} is {kind}")]
    NotAnArray { what: String, kind: &'static str },
    #[error("{what} has {items} elements; a loop takes at most {MAX_LOOP_ITEMS}")]
    TooLong { what: String, items: usize },
}

impl LoopError {
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Unresolved(_) => "placeholder_missing",
            Self::NotAnArray { .. } => "loop_not_an_array",
            Self::TooLong { .. } => "loop_too_long",
        }
    }
}

impl Loop {
    pub(super) const fn new(over: Over, from_parent: Vec<Carried>, spent: Vec<String>) -> Self {
        Self {
            over,
            from_parent,
            spent,
        }
    }

    /// The elements; none when the placeholder says that it may lack a value (`:undefined`).
    ///
    /// # Errors
    /// A placeholder without value, something that is no array, too many elements.
    pub fn elements(&self, scope: &Scope<'_>) -> Result<Vec<Value>, LoopError> {
        match self.over.template.render(scope)? {
            None => Ok(Vec::new()),
            Some(Value::Array(items)) if items.len() <= MAX_LOOP_ITEMS => Ok(items),
            Some(Value::Array(items)) => Err(LoopError::TooLong {
                what: self.what(),
                items: items.len(),
            }),
            Some(other) => Err(LoopError::NotAnArray {
                what: self.what(),
                kind: kind_of(&other),
            }),
        }
    }

    /// The placeholder that is looped over, if it is one: in the resource's requests it is the current element.
    #[must_use]
    pub fn placeholder(&self) -> Option<&str> {
        self.over.placeholder()
    }

    /// As the job has it.
    #[must_use]
    pub const fn given(&self) -> &Value {
        &self.over.given
    }

    fn what(&self) -> String {
        self.placeholder().map_or_else(
            || "what it gives".to_owned(),
            |path| format!("`{{{{{path}}}}}`"),
        )
    }
}

impl Over {
    pub fn placeholder(&self) -> Option<&str> {
        self.placeholder.as_deref()
    }

    /// `loop_on` of a resource: an array, a placeholder, a path, or the name of an argument.
    pub fn read(fields: &mut Fields<'_>, faults: &mut Faults) -> Option<Self> {
        let at = fields.pointer("loop_on");
        let value = fields.value("loop_on")?;
        let template = match value {
            Value::Array(items) => {
                if items.len() > MAX_LOOP_ITEMS {
                    faults.push(
                        &at,
                        format!("must not have more than {MAX_LOOP_ITEMS} elements"),
                    );
                }
                return Some(Self {
                    template: Template::compile(value, &at, faults),
                    given: value.clone(),
                    placeholder: None,
                });
            }
            Value::String(text) if text.contains("{{") => {
                let text = text.trim();
                // One placeholder and nothing beside it keeps its type; anything else is text.
                let inside = text
                    .strip_prefix("{{")
                    .and_then(|rest| rest.strip_suffix("}}"));
                if inside.is_none_or(|inside| inside.contains("{{")) {
                    faults.push(
                        &at,
                        "must be one placeholder with nothing beside it, such as `{{args.warehouses}}`",
                    );
                    return None;
                }
                Template::compile(&Value::String(text.to_owned()), &at, faults)
            }
            Value::String(text) => {
                let path = text.trim();
                if let Err(problem) = Path::parse(path) {
                    faults.push(
                        &at,
                        format!("{problem}; or the name of an argument, or a placeholder"),
                    );
                    return None;
                }
                let root = path.split('.').next().unwrap_or_default();
                let path = if ROOTS.contains(&root) && path != root {
                    path.to_owned()
                } else {
                    format!("args.{path}")
                };
                Template::compile(&Value::String(format!("{{{{{path}}}}}")), &at, faults)
            }
            other => {
                faults.push(
                    &at,
                    format!(
                        "must be an array, a placeholder such as `{{{{args.warehouses}}}}` or the name of an argument, is {}",
                        kind_of(other)
                    ),
                );
                return None;
            }
        };
        let placeholder = match template.paths().as_slice() {
            [(path, _)] => Some(path.clone()),
            _ => None,
        };
        if let Some(root) = placeholder
            .iter()
            .filter_map(|path| path.split('.').next())
            .find(|root| matches!(*root, "account" | "run" | "previous_run_date"))
        {
            faults.push(&at, format!("`{root}` holds no array to loop over"));
            return None;
        }
        Some(Self {
            template,
            given: value.clone(),
            placeholder,
        })
    }
}
