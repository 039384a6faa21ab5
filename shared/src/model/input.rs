//! What the bodies of all objects have in common: fields every client may send,
//! fields nobody may set, texts with a bound, and merging a patch.

use serde_json::{Map, Value};

use crate::{
    fault::{Faults, Fields},
    ids::EnvironmentId,
};

/// Characters of a label or name at most.
pub const MAX_LABEL_CHARS: usize = 255;
/// Bytes of an object's free-form values (`context`, `args`) at most, as JSON.
pub const MAX_FREE_FORM_BYTES: usize = 64 * 1024;

/// Accepts what clients of the same API elsewhere send without effect here:
/// `meta`, and `environment_id` when it is the token's own.
pub fn accept_common(fields: &mut Fields<'_>, environment: EnvironmentId, faults: &mut Faults) {
    fields.ignore("meta");
    let given = fields.string("environment_id", faults);
    if given.is_some_and(|given| given != environment.to_string()) {
        faults.push(
            fields.pointer("environment_id"),
            "must be the environment of the token; leave it out",
        );
    }
}

/// Makes fields that the server alone sets a fault that says so.
pub fn refuse_read_only(fields: &mut Fields<'_>, names: &[&'static str], faults: &mut Faults) {
    for name in names {
        if fields.nullable(name).is_some() {
            faults.push(fields.pointer(name), "is set by the server; leave it out");
        }
    }
}

/// Accepts `default_runtime_version` 1 to 3, which has no meaning here.
pub fn accept_runtime_version(fields: &mut Fields<'_>, faults: &mut Faults) {
    fields.integer("default_runtime_version", 1..=3, faults);
}

/// An optional text of at most [`MAX_LABEL_CHARS`] characters, without control characters.
pub fn label(fields: &mut Fields<'_>, name: &'static str, faults: &mut Faults) -> Option<String> {
    let text = fields.string(name, faults)?;
    check_label(text, &fields.pointer(name), faults);
    Some(text.to_owned())
}

/// As [`label`], for one that must be there and not be empty.
pub fn required_label(
    fields: &mut Fields<'_>,
    name: &'static str,
    faults: &mut Faults,
) -> Option<String> {
    let text = fields.required_string(name, faults)?;
    check_label(text, &fields.pointer(name), faults);
    Some(text.to_owned())
}

fn check_label(text: &str, pointer: &str, faults: &mut Faults) {
    if text.chars().count() > MAX_LABEL_CHARS {
        faults.push(
            pointer,
            format!("must have at most {MAX_LABEL_CHARS} characters"),
        );
    }
    if text.chars().any(char::is_control) {
        faults.push(pointer, "must not contain control characters");
    }
}

/// An optional object of plain values (texts, numbers, booleans); nulls are left out.
pub fn plain_values(
    fields: &mut Fields<'_>,
    name: &'static str,
    faults: &mut Faults,
) -> Map<String, Value> {
    let Some(given) = fields.object(name, faults) else {
        return Map::new();
    };
    let pointer = fields.pointer(name);
    for (key, value) in given {
        if value.is_array() || value.is_object() {
            faults.push(
                crate::fault::child(&pointer, key),
                "must be a text, a number or a boolean",
            );
        }
    }
    check_size(given, &pointer, faults);
    given
        .iter()
        .filter(|(_, value)| !value.is_null())
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}

/// An optional object of any values.
pub fn free_form(
    fields: &mut Fields<'_>,
    name: &'static str,
    faults: &mut Faults,
) -> Map<String, Value> {
    let Some(given) = fields.object(name, faults) else {
        return Map::new();
    };
    check_size(given, &fields.pointer(name), faults);
    given.clone()
}

fn check_size(object: &Map<String, Value>, pointer: &str, faults: &mut Faults) {
    if serde_json::to_vec(object).map_or(usize::MAX, |bytes| bytes.len()) > MAX_FREE_FORM_BYTES {
        faults.push(
            pointer,
            format!("must have at most {MAX_FREE_FORM_BYTES} bytes of JSON"),
        );
    }
}

/// Fields that are objects whose reader knows their fields; what is inside of others is data.
const STRUCTURES: [&str; 2] = ["delivery", "retry"];

/// Merges a patch into an object whose reader knows its fields, by RFC 7386 but for
/// one thing: a `null` for a field that isn't there is kept, so that the reader of
/// the merged object still sees a misspelt name.
pub fn merge_fields(target: &mut Value, patch: &Value) {
    let unknown = unknown_nulls(target, patch);
    merge_patch(target, patch);
    for path in unknown {
        let mut at = &mut *target;
        for name in path {
            let Value::Object(fields) = at else {
                break;
            };
            at = fields.entry(name).or_insert(Value::Null);
        }
    }
}

/// Paths of the nulls of a patch for fields that aren't there.
fn unknown_nulls<'a>(target: &Value, patch: &'a Value) -> Vec<Vec<&'a str>> {
    let mut paths = Vec::new();
    for (name, value) in patch.as_object().into_iter().flatten() {
        let there = target.get(name);
        if value.is_null() && there.is_none() {
            paths.push(vec![name.as_str()]);
        } else if STRUCTURES.contains(&name.as_str()) {
            let inside = unknown_nulls(there.unwrap_or(&Value::Null), value);
            paths.extend(inside.into_iter().map(|mut path| {
                path.insert(0, name);
                path
            }));
        }
    }
    paths
}

/// Merges a patch into a document (RFC 7386): objects merge, `null` removes, the
/// rest replaces.
pub fn merge_patch(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Value::Object(target) = target else {
        return;
    };
    for (name, value) in patch {
        if value.is_null() {
            target.shift_remove(name);
            continue;
        }
        merge_patch(target.entry(name.clone()).or_insert(Value::Null), value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_patch_merges_objects_and_replaces_the_rest() {
        let mut target = json!({"a": {"b": 1, "c": 2}, "list": [1, 2], "gone": 1});
        merge_patch(
            &mut target,
            &json!({"a": {"b": 9}, "list": [3], "gone": null, "new": {"x": 1, "y": null}}),
        );
        assert_eq!(
            target,
            json!({"a": {"b": 9, "c": 2}, "list": [3], "new": {"x": 1}})
        );
    }

    #[test]
    fn a_patch_that_clears_an_unknown_field_keeps_it_for_the_reader_to_refuse() {
        let mut target = json!({"label": "x"});
        merge_fields(&mut target, &json!({"lable": null}));
        let mut webhook = json!({"delivery": {"window": 2}});
        merge_fields(
            &mut webhook,
            &json!({"delivery": {"windw": null, "window": null, "retry": {"max": null}}}),
        );
        assert_eq!(
            webhook,
            json!({"delivery": {"windw": null, "retry": {"max": null}}})
        );
        assert_eq!(target, json!({"label": "x", "lable": null}));
    }

    #[test]
    fn a_null_inside_of_a_field_removes_or_does_nothing() {
        let mut target = json!({"args": {"a": 1, "b": 2}});
        for _ in 0..2 {
            merge_fields(&mut target, &json!({"args": {"b": null, "c": null}}));
            assert_eq!(target, json!({"args": {"a": 1}}));
        }
    }
}
