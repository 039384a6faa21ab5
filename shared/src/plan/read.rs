//! The fields of one resource of a sync job.

use serde_json::{Map, Value};

use super::{loops, placeholders::PREVIOUS_RUN_DATE, recurse};
use crate::{
    expr::{jsonata::Expression, template::Template},
    fault::{Faults, Fields, child, kind_of},
    model::{run::ErrorHandling, sync_job::read_error_handling},
};

/// Characters of a name at most: model, `/`, resource.
const MAX_NAME_LENGTH: usize = 129;

/// Where in a resource a placeholder stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// In what makes a request.
    Request,
    /// In `loop_on`.
    Loop,
    /// In `recurse.if`, where `record` is the record that is looked at.
    Condition,
    /// In `recurse.config`, likewise.
    Recursion,
}

/// A placeholder of a resource.
#[derive(Debug, Clone)]
pub(super) struct Used {
    pub place: Place,
    pub path: String,
    pub pointer: String,
}

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
    pub path: Option<Template>,
    pub raw_path: Option<Value>,
    pub loop_on: Option<loops::Over>,
    pub recurse: Option<recurse::Read>,
    pub filter: Option<Expression>,
    pub map: Option<Expression>,
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
        let id = read_id(&mut fields, faults);
        let at = fields.pointer("body");
        let raw_body = fields.value("body").cloned();
        let body = raw_body
            .as_ref()
            .map(|body| Template::compile(body, &at, faults));
        let at = fields.pointer("path");
        let raw_path = fields
            .object("path", faults)
            .map(|path| Value::Object(path.clone()));
        let path = raw_path
            .as_ref()
            .map(|path| Template::compile(path, &at, faults));
        let loop_on = loops::Over::read(&mut fields, faults);
        let recurse = recurse::Read::of(&mut fields, faults);
        let persist = fields.boolean("persist", faults).unwrap_or(true);
        let error_handling = read_error_handling(&mut fields, faults);
        if fields.value("include_remote_data").is_some() {
            faults.push(
                fields.pointer("include_remote_data"),
                "belongs to the job as a whole; put it beside `resources`",
            );
        }
        let filter = read_expression(&mut fields, "filter", faults);
        let map = read_expression(&mut fields, "map", faults);
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
            path,
            raw_path,
            loop_on,
            recurse,
            filter,
            map,
            persist,
            error_handling,
        })
    }

    /// Every placeholder of the resource.
    pub fn placeholders(&self) -> Vec<Used> {
        let request = [
            Some(&self.query),
            self.id.as_ref(),
            self.body.as_ref(),
            self.path.as_ref(),
        ];
        let over = self.loop_on.as_ref().map(|over| &over.template);
        let recurse = self.recurse.as_ref();
        let condition = recurse.and_then(recurse::Read::condition);
        let config = recurse.into_iter().flat_map(recurse::Read::config);
        let places = request
            .into_iter()
            .flatten()
            .map(|template| (Place::Request, template))
            .chain(over.map(|template| (Place::Loop, template)))
            .chain(condition.map(|template| (Place::Condition, template)))
            .chain(config.map(|template| (Place::Recursion, template)));
        places
            .flat_map(|(place, template)| {
                template
                    .paths()
                    .into_iter()
                    .map(move |(path, pointer)| Used {
                        place,
                        path,
                        pointer,
                    })
            })
            .collect()
    }

    pub fn uses_previous_run_date(&self) -> bool {
        self.placeholders()
            .iter()
            .any(|used| used.path == PREVIOUS_RUN_DATE)
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

/// JSONata over a record.
pub(super) fn read_expression(
    fields: &mut Fields<'_>,
    name: &'static str,
    faults: &mut Faults,
) -> Option<Expression> {
    let at = fields.pointer(name);
    let source = fields.string(name, faults)?;
    Expression::compile(source)
        .map_err(|fault| faults.push(at, fault.to_string()))
        .ok()
}

/// `id` of a resource or of its recursion.
pub(super) fn read_id(fields: &mut Fields<'_>, faults: &mut Faults) -> Option<Template> {
    let at = fields.pointer("id");
    let id = fields.value("id")?;
    if id.is_string() || id.is_number() {
        return Some(Template::compile(id, &at, faults));
    }
    faults.push(
        &at,
        format!("must be a string or number, is {}", kind_of(id)),
    );
    None
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
