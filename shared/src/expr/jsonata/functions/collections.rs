//! Functions over arrays and objects.

use std::cmp::Ordering;
use std::collections::HashSet;

use indexmap::IndexMap;
use jsonata_core::evaluator::{EvaluatorError, HostFnResult};
use jsonata_core::value::{JMap, JValue};

use super::super::guards::{argument, double, fail, object, text};
use super::super::session::Session;

/// The items of a list: JSONata knows one item and the list of it as the same.
fn items(value: &JValue) -> &[JValue] {
    match value {
        JValue::Undefined | JValue::Null => &[],
        JValue::Array(items) => items,
        one => std::slice::from_ref(one),
    }
}

fn names<'a>(value: &'a JValue, function: &str) -> Result<Vec<&'a str>, EvaluatorError> {
    items(value)
        .iter()
        .map(|name| match name {
            JValue::String(name) => Ok(&**name),
            _ => fail(format!(
                "${function}: argument 2 must be the names of fields"
            )),
        })
        .collect()
}

/// The field `name` of an item, dotted for one further down.
fn field<'a>(item: &'a JValue, name: &str) -> &'a JValue {
    match item.get(name) {
        Some(value) => value,
        None => name
            .split('.')
            .try_fold(item, |value, part| value.get(part))
            .unwrap_or(&JValue::Undefined),
    }
}

/// `$firstNonEmpty(value, …)`: the first that is there and not null.
#[expect(clippy::unnecessary_wraps, reason = "has the type of all functions")]
pub(super) fn first_non_empty(_: &Session, arguments: &[JValue]) -> HostFnResult {
    Ok(arguments
        .iter()
        .find(|value| !matches!(value, JValue::Undefined | JValue::Null))
        .cloned()
        .unwrap_or(JValue::Undefined))
}

/// `$mapValues(value, mapping, lowerCase, default)`: the value, or each one in it, that the mapping
/// has a key for, is replaced. Without `lowerCase` upper and lower case are the same, with it
/// the keys are in lower case already. The default stands for a value that is null or missing.
pub(super) fn map_values(session: &Session, arguments: &[JValue]) -> HostFnResult {
    let value = argument(arguments, 0);
    let default = argument(arguments, 3);
    if matches!(value, JValue::Undefined | JValue::Null)
        && !matches!(default, JValue::Undefined | JValue::Null)
    {
        return Ok(default.clone());
    }
    let JValue::Object(mapping) = argument(arguments, 1) else {
        return Ok(value.clone());
    };
    if matches!(argument(arguments, 2), JValue::Bool(true)) {
        return mapped(session, value, mapping);
    }
    let lower: JMap = mapping
        .iter()
        .map(|(key, value)| (key.to_lowercase(), value.clone()))
        .collect();
    mapped(session, value, &lower)
}

fn mapped(session: &Session, value: &JValue, mapping: &JMap) -> HostFnResult {
    Ok(match value {
        JValue::String(_) | JValue::Number(_) => {
            let key = text(session, value, false)?.unwrap_or_default();
            match mapping.get(&key.to_lowercase()) {
                None | Some(JValue::Null | JValue::Undefined) => value.clone(),
                Some(found) => found.clone(),
            }
        }
        JValue::Array(items) => JValue::array(
            items
                .iter()
                .map(|item| mapped(session, item, mapping))
                .collect::<Result<_, _>>()?,
        ),
        JValue::Object(fields) => object(
            fields
                .iter()
                .map(|(key, field)| Ok((key.clone(), mapped(session, field, mapping)?)))
                .collect::<Result<Vec<_>, EvaluatorError>>()?,
        ),
        other => other.clone(),
    })
}

/// `$removeEmpty(value)`: an object without its fields that are null, an empty text or an empty
/// array; nothing for an empty array; any other value as it is.
#[expect(clippy::unnecessary_wraps, reason = "has the type of all functions")]
pub(super) fn remove_empty(_: &Session, arguments: &[JValue]) -> HostFnResult {
    let is_empty = |value: &JValue| match value {
        JValue::Undefined | JValue::Null => true,
        JValue::String(text) => text.is_empty(),
        JValue::Array(items) => items.is_empty(),
        _ => false,
    };
    Ok(match argument(arguments, 0) {
        JValue::Array(items) if items.is_empty() => JValue::Undefined,
        JValue::Object(fields) => object(
            fields
                .iter()
                .filter(|(_, field)| !is_empty(field))
                .map(|(key, field)| (key.clone(), field.clone())),
        ),
        other => other.clone(),
    })
}

/// `$pick(object, names)`.
pub(super) fn pick(_: &Session, arguments: &[JValue]) -> HostFnResult {
    let names = names(argument(arguments, 1), "pick")?;
    let from = argument(arguments, 0);
    Ok(object(names.into_iter().filter_map(|name| {
        from.get(name).map(|value| (name.to_owned(), value.clone()))
    })))
}

/// `$omit(object, names)`.
pub(super) fn omit(_: &Session, arguments: &[JValue]) -> HostFnResult {
    let names: HashSet<_> = names(argument(arguments, 1), "omit")?.into_iter().collect();
    let JValue::Object(fields) = argument(arguments, 0) else {
        return Ok(object([]));
    };
    Ok(object(
        fields
            .iter()
            .filter(|(key, _)| !names.contains(key.as_str()))
            .map(|(key, field)| (key.clone(), field.clone())),
    ))
}

/// Each item with the text of its field that argument 2 names.
fn keyed<'a>(
    session: &Session,
    arguments: &'a [JValue],
    function: &str,
) -> Result<Vec<(String, &'a JValue)>, EvaluatorError> {
    let JValue::String(name) = argument(arguments, 1) else {
        return fail(format!(
            "${function}: argument 2 must be the name of a field"
        ));
    };
    items(argument(arguments, 0))
        .iter()
        .map(|item| {
            let key = text(session, field(item, name), false)?;
            // What a missing field is called as a key there.
            Ok((key.as_deref().unwrap_or("undefined").to_owned(), item))
        })
        .collect()
}

/// `$keyBy(items, name)`: the last item for each value of the field.
pub(super) fn key_by(session: &Session, arguments: &[JValue]) -> HostFnResult {
    let keyed = keyed(session, arguments, "keyBy")?;
    Ok(object(
        keyed.into_iter().map(|(key, item)| (key, item.clone())),
    ))
}

/// `$groupBy(items, name)`: the items for each value of the field.
pub(super) fn group_by(session: &Session, arguments: &[JValue]) -> HostFnResult {
    let mut groups: IndexMap<String, Vec<JValue>> = IndexMap::new();
    for (key, item) in keyed(session, arguments, "groupBy")? {
        groups.entry(key).or_default().push(item.clone());
    }
    Ok(object(
        groups
            .into_iter()
            .map(|(key, items)| (key, JValue::array(items))),
    ))
}

/// `$orderBy(items, names, orders)`: by the first field, then the next; `asc` or `desc` for each.
/// Numbers come before texts, null and missing values last; equal items keep their order.
pub(super) fn order_by(session: &Session, arguments: &[JValue]) -> HostFnResult {
    let names = names(argument(arguments, 1), "orderBy")?;
    let mut descending = Vec::new();
    for order in items(argument(arguments, 2)) {
        descending.push(match order.as_str() {
            Some("asc") => false,
            Some("desc") => true,
            _ => return fail("$orderBy: argument 3 must be `asc` or `desc` for each field"),
        });
    }
    let mut rows = Vec::new();
    for item in items(argument(arguments, 0)) {
        let keys = names
            .iter()
            .map(|name| double(session, std::slice::from_ref(field(item, name))))
            .collect::<Result<Vec<_>, _>>()?;
        rows.push((keys, item));
    }
    rows.sort_by(|(left, _), (right, _)| {
        left.iter()
            .zip(right)
            .enumerate()
            .map(|(i, (left, right))| {
                let order = compared(left, right);
                if descending.get(i) == Some(&true) {
                    order.reverse()
                } else {
                    order
                }
            })
            .find(|order| order.is_ne())
            .unwrap_or(Ordering::Equal)
    });
    Ok(JValue::array(
        rows.into_iter().map(|(_, item)| item.clone()).collect(),
    ))
}

fn compared(left: &JValue, right: &JValue) -> Ordering {
    let rank = |value: &JValue| match value {
        JValue::Bool(_) => 0,
        JValue::Number(_) => 1,
        JValue::String(_) => 2,
        JValue::Null => 4,
        JValue::Undefined => 5,
        _ => 3,
    };
    match (left, right) {
        (JValue::Number(left), JValue::Number(right)) => left.total_cmp(right),
        (JValue::String(left), JValue::String(right)) => left.cmp(right),
        (JValue::Bool(left), JValue::Bool(right)) => left.cmp(right),
        _ => rank(left).cmp(&rank(right)),
    }
}

/// `$flatten(items)`: without the innermost but one level of arrays.
#[expect(clippy::unnecessary_wraps, reason = "has the type of all functions")]
pub(super) fn flatten(_: &Session, arguments: &[JValue]) -> HostFnResult {
    let mut flat = Vec::new();
    for item in items(argument(arguments, 0)) {
        match item {
            JValue::Array(items) => flat.extend_from_slice(items),
            other => flat.push(other.clone()),
        }
    }
    Ok(JValue::array(flat))
}

/// `$compact(items)`: without false, zero, empty texts and null.
#[expect(clippy::unnecessary_wraps, reason = "has the type of all functions")]
pub(super) fn compact(_: &Session, arguments: &[JValue]) -> HostFnResult {
    let kept = items(argument(arguments, 0))
        .iter()
        .filter(|item| match item {
            JValue::Undefined | JValue::Null => false,
            JValue::Bool(value) => *value,
            JValue::Number(number) => *number != 0.0 && !number.is_nan(),
            JValue::String(text) => !text.is_empty(),
            _ => true,
        })
        .cloned()
        .collect();
    Ok(JValue::array(kept))
}
