//! `recurse`: calling again for each record for which a condition holds.

use serde_json::Value;

use super::{
    Carried,
    read::{read_expression, read_id},
};
use crate::{
    expr::{
        jsonata::{EvaluationError, Expression},
        template::{Scope, Template, Unresolved},
    },
    fault::{Faults, Fields},
    model::input::merge_patch,
};

/// Levels of recursion below the first call at most.
pub const MAX_RECURSION: u32 = 20;
/// The record that is looked at, in the placeholders of `recurse`.
pub const RECORD: &str = "record";

/// A resource's recursion.
#[derive(Debug)]
pub struct Recursion {
    /// As the job has it.
    pub given: Value,
    condition: Condition,
    config: Override,
    /// What the condition looks at under the resource's own name.
    looked_at: Vec<Carried>,
    /// What the next call needs of a record.
    pub carried: Vec<Carried>,
}

/// When to call again.
#[derive(Debug)]
pub(super) enum Condition {
    Placeholder(Template),
    Expression(Expression),
}

/// `recurse`, as it was given.
#[derive(Debug)]
pub(super) struct Read {
    given: Value,
    condition: Option<Condition>,
    pub config: Override,
}

/// What the next call has over the first one.
#[derive(Debug, Default)]
pub(super) struct Override {
    query: Option<Template>,
    body: Option<Template>,
    path: Option<Template>,
    id: Option<Template>,
    /// The fields that were given, with their pointers, and their values before placeholders are filled.
    pub given: Vec<(&'static str, String, Value)>,
}

/// The parts of a request that a job gives, rendered.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Given {
    pub query: Value,
    pub id: Option<Value>,
    pub body: Option<Value>,
    pub path: Option<Value>,
}

impl Recursion {
    pub(super) fn new(read: Read, looked_at: Vec<Carried>, carried: Vec<Carried>) -> Option<Self> {
        Some(Self {
            given: read.given,
            condition: read.condition?,
            config: read.config,
            looked_at,
            carried,
        })
    }

    /// Whether to call again for the record. A placeholder without value counts as false.
    ///
    /// # Errors
    /// What is wrong with the expression over this record.
    pub fn holds(&self, record: &Value, scope: &Scope<'_>) -> Result<bool, EvaluationError> {
        let condition = match &self.condition {
            Condition::Expression(expression) => return expression.is_true(record),
            Condition::Placeholder(template) => template,
        };
        let mut exact = scope.exact.cloned().unwrap_or_default();
        for own in &self.looked_at {
            match own.path.get(record) {
                Some(value) => exact.insert(own.placeholder.clone(), value.clone()),
                None => exact.remove(&own.placeholder),
            };
        }
        let mut scope = Scope {
            exact: Some(&exact),
            ..scope.clone()
        };
        scope.roots.push((RECORD, record));
        let value = condition.render(&scope).ok().flatten();
        Ok(value.is_some_and(|value| is_true(&value)))
    }

    pub(super) const fn computes(&self) -> bool {
        matches!(self.condition, Condition::Expression(_))
    }

    /// Lays `config` over what the first call is made with.
    ///
    /// # Errors
    /// A placeholder without value.
    pub(super) fn apply(&self, given: &mut Given, scope: &Scope<'_>) -> Result<(), Unresolved> {
        if let Some(query) = rendered(self.config.query.as_ref(), scope)? {
            merge_patch(&mut given.query, &query);
        }
        for (over, under) in [
            (&self.config.body, &mut given.body),
            (&self.config.path, &mut given.path),
        ] {
            if let Some(over) = rendered(over.as_ref(), scope)? {
                merge_patch(under.get_or_insert(Value::Null), &over);
            }
        }
        if let Some(id) = rendered(self.config.id.as_ref(), scope)? {
            given.id = Some(id);
        }
        Ok(())
    }
}

fn rendered(template: Option<&Template>, scope: &Scope<'_>) -> Result<Option<Value>, Unresolved> {
    template.map_or(Ok(None), |template| template.render(scope))
}

/// False is what is empty, zero, null or false.
fn is_true(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(value) => *value,
        Value::Number(number) => number.as_f64().is_none_or(|number| number != 0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(elements) => !elements.is_empty(),
        Value::Object(members) => !members.is_empty(),
    }
}

impl Read {
    /// `recurse` of a resource.
    pub fn of(fields: &mut Fields<'_>, faults: &mut Faults) -> Option<Self> {
        let at = fields.pointer("recurse");
        let given = fields.value("recurse")?;
        let mut fields = Fields::new(given, at, faults)?;
        let condition = read_condition(&mut fields, faults);
        let at = fields.pointer("config");
        let config = fields
            .required("config", faults)
            .and_then(|config| Fields::new(config, &at, faults))
            .map(|mut fields| {
                let config = Override::read(&mut fields, faults);
                if config.given.is_empty() {
                    faults.push(
                        &at,
                        "changes nothing, so every call would ask for the same; give `query`, `id`, `body` or `path`",
                    );
                }
                fields.finish(faults);
                config
            });
        fields.finish(faults);
        Some(Self {
            given: given.clone(),
            condition,
            config: config.unwrap_or_default(),
        })
    }

    /// The condition, if it is a placeholder.
    pub fn condition(&self) -> Option<&Template> {
        match self.condition.as_ref()? {
            Condition::Placeholder(template) => Some(template),
            Condition::Expression(_) => None,
        }
    }

    pub fn config(&self) -> impl Iterator<Item = &Template> {
        let config = &self.config;
        [&config.query, &config.body, &config.path, &config.id]
            .into_iter()
            .flatten()
    }
}

/// JSONata over the record, or a placeholder as in the rest of a job.
fn read_condition(fields: &mut Fields<'_>, faults: &mut Faults) -> Option<Condition> {
    let at = fields.pointer("if");
    fields.required("if", faults)?;
    let text = fields.string("if", faults)?.trim();
    if text.starts_with("{{") {
        let template = Template::compile(&Value::String(text.to_owned()), &at, faults);
        return Some(Condition::Placeholder(template));
    }
    read_expression(fields, "if", faults).map(Condition::Expression)
}

impl Override {
    fn read(fields: &mut Fields<'_>, faults: &mut Faults) -> Self {
        let mut config = Self::default();
        for name in ["query", "body", "path"] {
            let at = fields.pointer(name);
            let value = if name == "body" {
                fields.value(name).cloned()
            } else {
                let object = fields.object(name, faults);
                object.map(|object| Value::Object(object.clone()))
            };
            let Some(value) = value else { continue };
            let template = Template::compile(&value, &at, faults);
            match name {
                "query" => config.query = Some(template),
                "body" => config.body = Some(template),
                _ => config.path = Some(template),
            }
            config.given.push((name, at, value));
        }
        let at = fields.pointer("id");
        let value = fields.value("id").cloned();
        config.id = read_id(fields, faults);
        if let Some(value) = value {
            config.given.push(("id", at, value));
        }
        config
    }
}
