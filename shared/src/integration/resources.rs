//! The resources of a document, each with its methods.

use serde_json::{Map, Value};

use super::{
    defaults::Defaults,
    method::{Method, Purpose},
    names::{check_name, listed},
    placeholders::Known,
    suggestion,
};
use crate::fault::{Faults, child, kind_of, shown};

#[derive(Debug)]
pub(super) struct Resource {
    pub name: String,
    /// Under the name they have in this resource.
    pub methods: Vec<(String, Method)>,
}

impl Resource {
    pub fn method(&self, name: &str) -> Option<&Method> {
        self.methods
            .iter()
            .find(|(own, _)| own == name)
            .map(|(_, method)| method)
    }

    pub fn lacks(&self, method: &str) -> String {
        let hint = suggestion(method, self.method_names());
        let names = listed(self.method_names());
        format!(
            "`{}` has no method `{}`; it has {names}{hint}",
            self.name,
            shown(method)
        )
    }

    pub fn method_names(&self) -> impl Iterator<Item = &str> + Clone {
        self.methods.iter().map(|(name, _)| name.as_str())
    }
}

/// Reads `config.resources`.
pub(super) fn read_resources(
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

/// The entries of an object; nothing, and a fault, when it is none.
pub(super) fn entries<'a>(
    value: &'a Value,
    pointer: &str,
    faults: &mut Faults,
) -> serde_json::map::Iter<'a> {
    static EMPTY: std::sync::LazyLock<Map<String, Value>> = std::sync::LazyLock::new(Map::new);
    match value {
        Value::Object(object) => object.iter(),
        other => {
            faults.push(pointer, format!("must be an object, is {}", kind_of(other)));
            EMPTY.iter()
        }
    }
}
