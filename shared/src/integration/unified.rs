//! Unified names: `wms/orders` stands for a method of the integration's own.

use serde_json::{Map, Value};

use super::{
    method::Method,
    names::{check_name, listed},
    placeholders::Known,
    resources::{Resource, entries},
    suggestion,
    words::NOT_SUPPORTED,
};
use crate::fault::{Faults, Fields, child};

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

/// What is done to each record of a method before it is delivered.
///
/// This is the place of `record_mapping`: a compiled mapping becomes a variant
/// here, given out by [`super::Method::record_mapping`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RecordMapping {
    /// Records are delivered with the bytes they came with.
    #[default]
    None,
}

/// Reads `config.unified` over the document's own resources.
pub(super) fn read_unified(
    proxy: &[Resource],
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
                    let method = read_method(proxy, name, value, &pointer, known, faults)?;
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

fn read_method(
    proxy: &[Resource],
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
        let (field, problem) = match proxy.iter().find(|other| other.name == resource) {
            None => {
                let names = proxy.iter().map(|resource| resource.name.as_str());
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
