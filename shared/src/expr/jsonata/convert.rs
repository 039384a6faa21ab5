//! JSON into the engine's values and back, with the bounds on size and nesting.

use std::collections::HashMap;

use jsonata_core::value::{JArray, JMap, JValue};
use serde_json::{Map, Number, Value};

use super::exact::needs_care;
use super::session::Session;
use super::{MAX_NESTING, MAX_WEIGHT, NODE_WEIGHT};

/// What becomes of the numbers that needed care.
pub(super) enum Restore<'a> {
    /// There were none.
    None,
    /// A marker is replaced by its number.
    Markers(&'a Session),
    /// A number that equals the double of one of the input's gets that one's digits.
    Doubles(HashMap<u64, Option<Number>>),
}

/// What is left of the weight a value may have.
struct Budget(usize);

impl Budget {
    fn take(&mut self, weight: usize, depth: usize, what: &str) -> Result<(), String> {
        if depth > MAX_NESTING {
            return Err(format!("{what} nests deeper than {MAX_NESTING} levels"));
        }
        match self.0.checked_sub(weight) {
            Some(left) => self.0 = left,
            None => {
                return Err(format!(
                    "{what} is larger than {} MiB",
                    MAX_WEIGHT / (1024 * 1024)
                ));
            }
        }
        Ok(())
    }
}

/// The engine's form of `value`; numbers that need care become markers of `session`.
pub(super) fn into_engine(value: &Value, session: &Session) -> Result<JValue, String> {
    enter(value, session, &mut Budget(MAX_WEIGHT), 0)
}

fn enter(
    value: &Value,
    session: &Session,
    budget: &mut Budget,
    depth: usize,
) -> Result<JValue, String> {
    const WHAT: &str = "the input";
    budget.take(NODE_WEIGHT, depth, WHAT)?;
    Ok(match value {
        Value::Null => JValue::Null,
        Value::Bool(value) => JValue::Bool(*value),
        Value::Number(number) if needs_care(number) => session.number(number),
        Value::Number(number) => JValue::Number(number.as_f64().unwrap_or(f64::NAN)),
        Value::String(text) => {
            budget.take(text.len(), depth, WHAT)?;
            JValue::from(text.as_str())
        }
        Value::Array(items) => {
            let flat = !items.iter().any(Value::is_array);
            let items = items
                .iter()
                .map(|item| enter(item, session, budget, depth + 1))
                .collect::<Result<_, _>>()?;
            JValue::Array(JArray::new_flat(items, flat))
        }
        Value::Object(fields) => {
            let mut map = indexmap::IndexMap::with_capacity(fields.len());
            for (key, field) in fields {
                budget.take(key.len(), depth, WHAT)?;
                map.insert(key.clone(), enter(field, session, budget, depth + 1)?);
            }
            JValue::object(map)
        }
    })
}

/// JSON of the engine's `value`: `None` for undefined and for functions.
pub(super) fn from_engine(value: &JValue, restore: &Restore) -> Result<Option<Value>, String> {
    leave(value, restore, &mut Budget(MAX_WEIGHT), 0)
}

fn leave(
    value: &JValue,
    restore: &Restore,
    budget: &mut Budget,
    depth: usize,
) -> Result<Option<Value>, String> {
    const WHAT: &str = "the result";
    budget.take(NODE_WEIGHT, depth, WHAT)?;
    Ok(Some(match value {
        JValue::Null => Value::Null,
        JValue::Bool(value) => Value::Bool(*value),
        JValue::Number(double) => Value::Number(match restore {
            Restore::Doubles(numbers) => match numbers.get(&double.to_bits()) {
                Some(Some(number)) => number.clone(),
                Some(None) => {
                    return Err(format!(
                        "several numbers of the input are {} as a double and can't be told apart \
                         by this expression; turn them into text with $string first",
                        json_number(*double)?
                    ));
                }
                None => json_number(*double)?,
            },
            _ => json_number(*double)?,
        }),
        JValue::String(text) => {
            budget.take(text.len(), depth, WHAT)?;
            match restore {
                Restore::Markers(session) => match session.marked(value) {
                    Some(number) => Value::Number(number),
                    None => Value::String(session.expanded(text)),
                },
                _ => Value::String(text.to_string()),
            }
        }
        JValue::Array(items) => {
            let mut array = Vec::with_capacity(items.len());
            for item in items {
                array.push(leave(item, restore, budget, depth + 1)?.unwrap_or(Value::Null));
            }
            Value::Array(array)
        }
        JValue::Object(fields) => {
            let mut map = Map::with_capacity(fields.len());
            for (key, field) in &**fields {
                budget.take(key.len(), depth, WHAT)?;
                let key = match restore {
                    Restore::Markers(session) => session.expanded(key),
                    _ => key.clone(),
                };
                if let Some(field) = leave(field, restore, budget, depth + 1)? {
                    map.insert(key, field);
                }
            }
            Value::Object(map)
        }
        _ => return Ok(None),
    }))
}

/// The JSON number of a double, in the fewest digits that read back as it.
fn json_number(double: f64) -> Result<Number, String> {
    const INTEGERS: f64 = 9_007_199_254_740_992.0;
    if double.fract() == 0.0 && double.abs() <= INTEGERS {
        #[expect(clippy::cast_possible_truncation, reason = "a whole number up to 2^53")]
        return Ok(Number::from(double as i64));
    }
    Number::from_f64(double).ok_or_else(|| "a number of the result is out of range".to_owned())
}

/// `value` with doubles in place of the markers of `session`; of a number beyond the range of
/// doubles, null.
pub(super) fn doubles(value: &JValue, session: &Session) -> JValue {
    map_numbers(value, &|value| {
        session
            .marked(value)
            .map(|number| number.as_f64().map_or(JValue::Null, JValue::Number))
    })
}

/// `value` with what `replace` gives for the values in it; `value` itself where it gives nothing.
pub(super) fn map_numbers(value: &JValue, replace: &impl Fn(&JValue) -> Option<JValue>) -> JValue {
    fn holds(value: &JValue, replace: &impl Fn(&JValue) -> Option<JValue>) -> bool {
        match value {
            JValue::Array(items) => items.iter().any(|item| holds(item, replace)),
            JValue::Object(fields) => fields.values().any(|field| holds(field, replace)),
            other => replace(other).is_some(),
        }
    }
    fn map(value: &JValue, replace: &impl Fn(&JValue) -> Option<JValue>) -> JValue {
        match value {
            JValue::Array(items) => JValue::Array(
                items.with_items(items.iter().map(|item| map(item, replace)).collect()),
            ),
            JValue::Object(fields) => JValue::Object(std::rc::Rc::new(
                fields
                    .iter()
                    .map(|(key, field)| (key.clone(), map(field, replace)))
                    .collect::<JMap>(),
            )),
            other => replace(other).unwrap_or_else(|| other.clone()),
        }
    }
    if holds(value, replace) {
        map(value, replace)
    } else {
        value.clone()
    }
}
