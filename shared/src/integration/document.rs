//! The document as a whole.

use serde_json::{Map, Value, json};

use super::{
    credentials::Credentials,
    defaults::{Defaults, read_origins},
    method::{Method, Purpose},
    names::{check_name, is_integration_name, listed, suggestion},
    pagination::Pagination,
    placeholders::{Known, METHOD_ROOTS, VALIDATION_ROOTS},
    words::{NOT_SUPPORTED, word},
};
use crate::fault::{Faults, Fields, child, kind_of};

/// Parts of `config` that later versions will understand.
const LATER: &[&str] = &["rate_limit", "error_expression", "error_rules"];

/// Parts of a unified method that later versions will understand.
const UNIFIED_LATER: &[&str] = &[
    "query_mapping",
    "request_body_mapping",
    "path_mapping",
    "response_mapping",
    "record_mapping",
    "error_mapping",
    "before",
    "after",
];

/// Steps of an action at most.
const MAX_STEPS: usize = 10;

/// An integration document, compiled and checked.
#[derive(Debug)]
pub struct Integration {
    pub name: String,
    pub label: String,
    pub description: Option<String>,
    credentials: Credentials,
    /// `orders`, in the order of the document.
    proxy: Vec<Resource>,
    /// `wms/orders`, in the order of the document.
    unified: Vec<Resource>,
    validation: Vec<Method>,
}

#[derive(Debug)]
struct Resource {
    name: String,
    /// Under the name they have in this resource.
    methods: Vec<(String, Method)>,
}

impl Resource {
    fn method(&self, name: &str) -> Option<&Method> {
        self.methods
            .iter()
            .find(|(own, _)| own == name)
            .map(|(_, method)| method)
    }

    fn lacks(&self, method: &str) -> String {
        let hint = suggestion(method, self.method_names());
        let names = listed(self.method_names());
        format!(
            "`{}` has no method `{method}`; it has {names}{hint}",
            self.name
        )
    }

    fn method_names(&self) -> impl Iterator<Item = &str> + Clone {
        self.methods.iter().map(|(name, _)| name.as_str())
    }
}

impl Integration {
    /// Reads, checks and compiles a document.
    ///
    /// # Errors
    /// Every fault of the document, with pointers from its root.
    pub fn compile(document: &Value) -> Result<Self, Faults> {
        let mut faults = Faults::default();
        let integration = Self::read(document, &mut faults);
        match integration {
            Some(integration) => faults.into_result(integration),
            None => Err(faults),
        }
    }

    fn read(document: &Value, faults: &mut Faults) -> Option<Self> {
        let mut fields = Fields::new(document, "", faults)?;
        let name = fields.required_string("name", faults);
        if let Some(name) = name.filter(|name| !is_integration_name(name)) {
            faults.push(
                fields.pointer("name"),
                format!(
                    "`{name}` is no name; use lower-case letters, digits, `_` and `-`, starting with a letter or \
                     digit, at most 64 characters"
                ),
            );
        }
        let label = fields.required_string("label", faults);
        let description = fields.string("description", faults);
        // Versions are counted where documents are stored; an author's own is only a note.
        if fields
            .value("version")
            .is_some_and(|version| !version.is_number())
        {
            fields.string("version", faults);
        }
        let config = fields.required("config", faults);
        let mut integration = Self {
            name: name.unwrap_or_default().to_owned(),
            label: label.unwrap_or_default().to_owned(),
            description: description.map(str::to_owned),
            credentials: Credentials::default(),
            proxy: Vec::new(),
            unified: Vec::new(),
            validation: Vec::new(),
        };
        if let Some(config) = config {
            integration.read_config(config, &fields.pointer("config"), faults);
        }
        fields.finish(faults);
        Some(integration)
    }

    fn read_config(&mut self, config: &Value, pointer: &str, faults: &mut Faults) {
        let Some(mut fields) = Fields::new(config, pointer, faults) else {
            return;
        };
        let at = fields.pointer("credentials");
        if let Some(credentials) = fields.value("credentials") {
            self.credentials = Credentials::read(credentials, &at, faults);
        }
        let names = self.credentials.names();
        let known = Known {
            roots: METHOD_ROOTS,
            credentials: &names,
        };
        let mut defaults = Defaults::default().overridden(&mut fields, known, faults);
        defaults.allowed_origins = read_origins(&mut fields, faults);
        let at = fields.pointer("pagination");
        if let Some(pagination) = fields.value("pagination") {
            defaults.pagination = Pagination::read(pagination, &at, faults);
        }
        for later in LATER {
            fields.not_supported_yet(later, faults);
        }
        if defaults.base_url.is_none() {
            check_base_urls(&fields.pointer("base_url"), config, faults);
        }
        fields.required("resources", faults);
        let at = fields.pointer("resources");
        if let Some(resources) = fields.object("resources", faults) {
            self.proxy = read_resources(resources, &at, &defaults, known, faults);
        }
        let at = fields.pointer("unified");
        if let Some(models) = fields.object("unified", faults) {
            self.unified = self.read_unified(models, &at, known, faults);
        }
        let at = fields.pointer("actions");
        if let Some(actions) = fields.value("actions") {
            let known = Known {
                roots: VALIDATION_ROOTS,
                ..known
            };
            self.validation = read_actions(actions, &at, &defaults, known, faults);
        }
        fields.finish(faults);
    }

    fn read_unified(
        &self,
        models: &Map<String, Value>,
        pointer: &str,
        known: Known<'_>,
        faults: &mut Faults,
    ) -> Vec<Resource> {
        let mut unified = Vec::new();
        for (model, resources) in models {
            let pointer = child(pointer, model);
            check_name(model, &pointer, faults);
            for (resource, methods) in entries(resources, &pointer, faults) {
                let pointer = child(&pointer, resource);
                check_name(resource, &pointer, faults);
                let methods = entries(methods, &pointer, faults)
                    .filter_map(|(name, value)| {
                        let pointer = child(&pointer, name);
                        check_name(name, &pointer, faults);
                        let method =
                            self.read_unified_method(name, value, &pointer, known, faults)?;
                        Some((name.clone(), method))
                    })
                    .collect();
                unified.push(Resource {
                    name: format!("{model}/{resource}"),
                    methods,
                });
            }
        }
        unified
    }

    fn read_unified_method(
        &self,
        name: &str,
        value: &Value,
        pointer: &str,
        known: Known<'_>,
        faults: &mut Faults,
    ) -> Option<Method> {
        let mut fields = Fields::new(value, pointer, faults)?;
        let resource = named(&mut fields, "resource", faults);
        let method = if fields.value("method").is_some() {
            named(&mut fields, "method", faults)
        } else {
            Some(name)
        };
        fields.string("description", faults);
        for later in UNIFIED_LATER {
            fields.not_supported_yet(later, faults);
        }
        let at = fields.pointer("query");
        let query = fields.object("query", faults);
        let found = resource.zip(method).and_then(|(resource, method)| {
            let (field, problem) = match self.proxy.iter().find(|other| other.name == resource) {
                None => {
                    let names = self.proxy.iter().map(|resource| resource.name.as_str());
                    let hint = suggestion(resource, names.clone());
                    (
                        "resource",
                        format!(
                            "`{resource}` is none of `config.resources`: {}{hint}",
                            listed(names)
                        ),
                    )
                }
                Some(found) => {
                    if let Some(method) = found.method(method) {
                        return Some(method);
                    }
                    ("method", found.lacks(method))
                }
            };
            faults.push(fields.pointer(field), problem);
            None
        });
        let method = found.map(|method| match query {
            Some(query) => method.with_query(query, &at, known, faults),
            None => method.clone(),
        });
        fields.finish(faults);
        method
    }

    /// The method behind a resource of a sync job: unified (`wms/orders`) or proxy (`orders`).
    ///
    /// # Errors
    /// A message that says what exists.
    pub fn method(&self, resource: &str, method: &str) -> Result<&Method, String> {
        let found = self.resource(resource)?;
        found.method(method).ok_or_else(|| found.lacks(method))
    }

    /// Whether the resource exists, unified or proxy.
    ///
    /// # Errors
    /// A message that says what exists.
    pub fn check_resource(&self, resource: &str) -> Result<(), String> {
        self.resource(resource).map(|_| ())
    }

    fn resource(&self, name: &str) -> Result<&Resource, String> {
        let all = || self.unified.iter().chain(&self.proxy);
        all().find(|resource| resource.name == name).ok_or_else(|| {
            let names = all().map(|resource| resource.name.as_str());
            format!(
                "the integration `{}` has no resource `{name}`; it has {}{}",
                self.name,
                listed(names.clone()),
                suggestion(name, names)
            )
        })
    }

    /// `{"proxy":{"orders":["list","get"]},"unified":{"wms/orders":["list"]}}`
    #[must_use]
    pub fn capabilities(&self) -> Value {
        let shown = |resources: &[Resource]| -> Map<String, Value> {
            resources
                .iter()
                .map(|resource| (resource.name.clone(), resource.method_names().collect()))
                .collect()
        };
        json!({"proxy": shown(&self.proxy), "unified": shown(&self.unified)})
    }

    /// Faults of `credentials` against the declared fields, with pointers under
    /// `/credentials`. Messages hold no value.
    pub fn check_credentials(&self, credentials: &Value, faults: &mut Faults) {
        self.credentials.check(credentials, faults);
    }

    /// The requests of the `validation` action, in order; empty when there is
    /// none. Their scope: `credentials`, `context`, `account`.
    #[must_use]
    pub fn validation(&self) -> &[Method] {
        &self.validation
    }
}

/// A field that must hold a name; an object there is an expression.
fn named<'a>(fields: &mut Fields<'a>, field: &'static str, faults: &mut Faults) -> Option<&'a str> {
    if fields.value(field).is_some_and(Value::is_object) {
        faults.push(
            fields.pointer(field),
            format!("an expression {NOT_SUPPORTED}; give a name"),
        );
        return None;
    }
    fields.required_string(field, faults)
}

/// The entries of an object; nothing, and a fault, when it is none.
fn entries<'a>(value: &'a Value, pointer: &str, faults: &mut Faults) -> serde_json::map::Iter<'a> {
    static EMPTY: std::sync::LazyLock<Map<String, Value>> = std::sync::LazyLock::new(Map::new);
    match value {
        Value::Object(object) => object.iter(),
        other => {
            faults.push(pointer, format!("must be an object, is {}", kind_of(other)));
            EMPTY.iter()
        }
    }
}

/// Without a `base_url` for all, every method needs its own.
fn check_base_urls(pointer: &str, config: &Value, faults: &mut Faults) {
    let resources = config.get("resources").and_then(Value::as_object);
    let methods = resources
        .into_iter()
        .flatten()
        .filter_map(|(_, methods)| methods.as_object());
    let lacking = methods
        .flatten()
        .any(|(_, method)| method.is_object() && method.get("base_url").is_none());
    if lacking && config.get("base_url").is_none() {
        faults.push(pointer, "is required, unless every method has its own");
    }
}

fn read_resources(
    resources: &Map<String, Value>,
    pointer: &str,
    defaults: &Defaults,
    known: Known<'_>,
    faults: &mut Faults,
) -> Vec<Resource> {
    if resources.is_empty() {
        faults.push(pointer, "must hold at least one resource");
    }
    let mut read = Vec::new();
    for (resource, methods) in resources {
        let pointer = child(pointer, resource);
        check_name(resource, &pointer, faults);
        let methods = entries(methods, &pointer, faults)
            .filter_map(|(name, value)| {
                let pointer = child(&pointer, name);
                check_name(name, &pointer, faults);
                let method = Method::read(
                    name,
                    value,
                    &pointer,
                    Purpose::Resource,
                    defaults,
                    known,
                    faults,
                )?;
                Some((name.clone(), method))
            })
            .collect();
        read.push(Resource {
            name: resource.clone(),
            methods,
        });
    }
    read
}

fn read_actions(
    actions: &Value,
    pointer: &str,
    defaults: &Defaults,
    known: Known<'_>,
    faults: &mut Faults,
) -> Vec<Method> {
    let mut read = Vec::new();
    let Some(mut actions) = Fields::new(actions, pointer, faults) else {
        return read;
    };
    for later in ["post_install", "refresh_token"] {
        actions.not_supported_yet(later, faults);
    }
    let at = actions.pointer("validation");
    if let Some(validation) = actions.value("validation")
        && let Some(mut validation) = Fields::new(validation, &at, faults)
    {
        let at = validation.pointer("steps");
        validation.required("steps", faults);
        let steps = validation
            .array("steps", faults)
            .map_or(&[][..], Vec::as_slice);
        if steps.len() > MAX_STEPS {
            faults.push(&at, format!("must not hold more than {MAX_STEPS} steps"));
        }
        for (index, step) in steps.iter().take(MAX_STEPS).enumerate() {
            read.extend(read_step(step, &child(&at, index), defaults, known, faults));
        }
        validation.finish(faults);
    }
    actions.finish(faults);
    read
}

fn read_step(
    step: &Value,
    pointer: &str,
    defaults: &Defaults,
    known: Known<'_>,
    faults: &mut Faults,
) -> Option<Method> {
    let mut step = Fields::new(step, pointer, faults)?;
    step.required("type", faults);
    word(
        &mut step,
        "type",
        &[("request", ())],
        &["update_context", "expression"],
        faults,
    );
    let name = step
        .string("name", faults)
        .unwrap_or("validation")
        .to_owned();
    step.not_supported_yet("run_if", faults);
    let at = step.pointer("config");
    let method = step.required("config", faults).and_then(|config| {
        Method::read(&name, config, &at, Purpose::Step, defaults, known, faults)
    });
    step.finish(faults);
    method
}
