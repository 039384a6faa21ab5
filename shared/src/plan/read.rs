//! The fields of one resource of a sync job.

use serde_json::{Map, Value};

use super::placeholders::PREVIOUS_RUN_DATE;
use crate::{
    expr::template::Template,
    fault::{Faults, Fields, child, kind_of},
    model::run::ErrorHandling,
};

/// Characters of a name at most: model, `/`, resource.
const MAX_NAME_LENGTH: usize = 129;

/// Fields of the contract that this version lacks.
const LATER: &[&str] = &[
    "path",
    "loop_on",
    "recurse",
    "filter",
    "map",
    "include_remote_data",
];

/// One resource as it was given, templates compiled.
#[derive(Debug)]
#[expect(
    clippy::struct_field_names,
    reason = "`resource` is what sync jobs call the field"
)]
pub(super) struct Resource {
    pub pointer: String,
    pub resource: String,
    pub method: String,
    pub name: String,
    /// Whether the name was given, and isn't the resource's.
    pub is_named: bool,
    /// Names of the ancestors it depends on, with their pointers.
    pub depends_on: Vec<(String, String)>,
    pub query: Template,
    /// The query before placeholders are filled.
    pub raw_query: Value,
    pub id: Option<Template>,
    pub body: Option<Template>,
    pub raw_body: Option<Value>,
    pub persist: bool,
    pub error_handling: Option<ErrorHandling>,
}

impl Resource {
    pub fn read(value: &Value, pointer: String, faults: &mut Faults) -> Option<Self> {
        let mut fields = Fields::new(value, pointer.clone(), faults)?;
        let resource = fields
            .required_string("resource", faults)
            .map(str::to_owned);
        let method = fields.string("method", faults).unwrap_or("list").to_owned();
        let name = fields.string("name", faults).map(str::to_owned);
        if let Some(name) = name.as_deref().filter(|name| !is_node_name(name)) {
            faults.push(
                fields.pointer("name"),
                format!(
                    "`{name}` is no name; use letters, digits, `_`, `-` and `/`, starting with a letter or digit, at \
                     most {MAX_NAME_LENGTH} characters"
                ),
            );
        }
        let depends_on = read_depends_on(&mut fields, faults);
        let at = fields.pointer("query");
        let raw_query = fields.object("query", faults).map_or_else(
            || Value::Object(Map::new()),
            |query| Value::Object(query.clone()),
        );
        let query = Template::compile(&raw_query, &at, faults);
        let at = fields.pointer("id");
        let id = fields.value("id").and_then(|id| {
            if id.is_string() || id.is_number() {
                return Some(Template::compile(id, &at, faults));
            }
            faults.push(
                &at,
                format!("must be a string or number, is {}", kind_of(id)),
            );
            None
        });
        let at = fields.pointer("body");
        let raw_body = fields.value("body").cloned();
        let body = raw_body
            .as_ref()
            .map(|body| Template::compile(body, &at, faults));
        let persist = fields.boolean("persist", faults).unwrap_or(true);
        let error_handling = read_error_handling(&mut fields, faults);
        for later in LATER {
            fields.not_supported_yet(later, faults);
        }
        fields.finish(faults);
        let resource = resource?;
        Some(Self {
            pointer,
            is_named: name.is_some(),
            name: name.unwrap_or_else(|| resource.clone()),
            resource,
            method,
            depends_on,
            query,
            raw_query,
            id,
            body,
            raw_body,
            persist,
            error_handling,
        })
    }

    /// Every placeholder of the resource, with its pointer.
    pub fn placeholders(&self) -> Vec<(String, String)> {
        let templates = [Some(&self.query), self.id.as_ref(), self.body.as_ref()];
        templates
            .into_iter()
            .flatten()
            .flat_map(Template::paths)
            .collect()
    }

    pub fn uses_previous_run_date(&self) -> bool {
        self.placeholders()
            .iter()
            .any(|(path, _)| path == PREVIOUS_RUN_DATE)
    }

    /// How placeholders write the name: `wms/orders` is `wms.orders`.
    pub fn dotted_name(&self) -> String {
        self.name.replace('/', ".")
    }
}

fn read_depends_on(fields: &mut Fields<'_>, faults: &mut Faults) -> Vec<(String, String)> {
    let pointer = fields.pointer("depends_on");
    match fields.value("depends_on") {
        None => Vec::new(),
        Some(Value::String(name)) => vec![(name.clone(), pointer)],
        Some(Value::Array(list)) => {
            if list.is_empty() {
                faults.push(
                    &pointer,
                    "must not be empty; leave it out for a resource without parent",
                );
            }
            let mut names = Vec::new();
            for (index, value) in list.iter().enumerate() {
                let pointer = child(&pointer, index);
                match value {
                    Value::String(name) => names.push((name.clone(), pointer)),
                    other => {
                        faults.push(pointer, format!("must be a string, is {}", kind_of(other)));
                    }
                }
            }
            names
        }
        Some(other) => {
            let kind = kind_of(other);
            faults.push(
                pointer,
                format!("must be a name or an array of names, is {kind}"),
            );
            Vec::new()
        }
    }
}

fn read_error_handling(fields: &mut Fields<'_>, faults: &mut Faults) -> Option<ErrorHandling> {
    if fields
        .value("error_handling")
        .is_some_and(|value| value == "batch")
    {
        fields.not_supported_yet("error_handling", faults);
        return None;
    }
    fields.choice(
        "error_handling",
        &[
            ("ignore", ErrorHandling::Ignore),
            ("fail_fast", ErrorHandling::FailFast),
        ],
        faults,
    )
}

/// No dots: placeholders write the name with dots for slashes.
fn is_node_name(name: &str) -> bool {
    name.len() <= MAX_NAME_LENGTH
        && name.split('/').all(|part| {
            part.bytes()
                .next()
                .is_some_and(|byte| byte.is_ascii_alphanumeric())
                && part
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
        })
}
