//! Whether the method of a resource gets what it needs, and needs what it gets.

use serde_json::Value;

use super::read::Resource;
use crate::{
    fault::{Faults, child},
    integration::{Integration, Method},
};

/// The method of a resource; a fault at `resource` or `method` that says what there is.
pub(super) fn find_method<'i>(
    resource: &Resource,
    integration: &'i Integration,
    faults: &mut Faults,
) -> Option<&'i Method> {
    if let Err(problem) = integration.check_resource(&resource.resource) {
        faults.push(child(&resource.pointer, "resource"), problem);
        return None;
    }
    integration
        .method(&resource.resource, &resource.method)
        .map_err(|problem| faults.push(child(&resource.pointer, "method"), problem))
        .ok()
}

/// Whether the method gets what it needs, and needs what it gets.
pub(super) fn check(resource: &Resource, method: &Method, faults: &mut Faults) {
    let pointer = |field: &str| child(&resource.pointer, field);
    let missing = method.missing(
        &resource.raw_query,
        resource.id.is_some(),
        resource.raw_body.as_ref(),
        resource.raw_path.as_ref(),
    );
    for placeholder in missing {
        let root = placeholder.split(['.', ':', '|', '?']).next();
        let field = root
            .filter(|root| matches!(*root, "id" | "body" | "path"))
            .unwrap_or("query");
        faults.push(
            pointer(field),
            format!(
                "`{}` of `{}` needs `{{{{{placeholder}}}}}`; give it here",
                resource.method, resource.resource
            ),
        );
    }
    let own = [
        ("id", resource.id.is_some(), None),
        ("body", resource.body.is_some(), None),
        ("path", resource.path.is_some(), resource.raw_path.as_ref()),
    ];
    for (field, _, value) in own.into_iter().filter(|(_, given, _)| *given) {
        check_use(resource, method, field, &pointer(field), value, faults);
    }
    // What a recursion lays over the request has to go somewhere too.
    let recursed = resource.recurse.iter().flat_map(|read| &read.config.given);
    for (field, pointer, value) in recursed {
        check_use(resource, method, field, pointer, Some(value), faults);
    }
}

/// Whether the method has a use for a field of a request.
fn check_use(
    resource: &Resource,
    method: &Method,
    field: &str,
    pointer: &str,
    value: Option<&Value>,
    faults: &mut Faults,
) {
    let of = format!("`{}` of `{}`", resource.method, resource.resource);
    match field {
        "id" if !method.uses_id() => faults.push(
            pointer,
            format!("{of} takes no id; use `query`, or the method `get`"),
        ),
        "body" if !method.uses_body() => {
            faults.push(pointer, format!("{of} sends no body; use `query`"));
        }
        "path" => {
            let names = value.and_then(Value::as_object).into_iter().flatten();
            for (name, _) in names.filter(|(name, _)| !method.uses_path(name)) {
                faults.push(
                    child(pointer, name),
                    format!(
                        "{of} has no `{{{{path.{name}}}}}`; its path is `{}`",
                        method.path_text()
                    ),
                );
            }
        }
        _ => {}
    }
}
