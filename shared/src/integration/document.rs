//! The document as a whole.

use serde_json::{Map, Value, json};

use super::{
    actions::read_actions,
    credentials::Credentials,
    defaults::{Defaults, read_origins},
    method::Method,
    names::{is_integration_name, listed},
    pagination::Pagination,
    placeholders::{Known, METHOD_ROOTS, VALIDATION_ROOTS},
    rate_limit::Budget,
    resources::{Resource, read_resources},
    suggestion,
    unified::read_unified,
};
use crate::fault::{Faults, Fields, shown};

/// Parts of `config` that later versions will understand.
const LATER: &[&str] = &["error_expression", "error_rules"];

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
    budget: Budget,
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
            budget: Budget::default(),
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
        let at = fields.pointer("rate_limit");
        if let Some(rate_limit) = fields.value("rate_limit") {
            self.budget = Budget::read(rate_limit, &at, faults);
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
            self.unified = read_unified(&self.proxy, models, &at, known, faults);
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
                "the integration `{}` has no resource `{}`; it has {}{}",
                self.name,
                shown(name),
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

    /// What each account's source may be asked for.
    #[must_use]
    pub fn budget(&self) -> Budget {
        self.budget
    }

    /// The requests of the `validation` action, in order; empty when there is
    /// none. Their scope: `credentials`, `context`, `account`.
    #[must_use]
    pub fn validation(&self) -> &[Method] {
        &self.validation
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
