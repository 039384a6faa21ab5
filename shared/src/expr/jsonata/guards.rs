//! The functions that [`super::rewrite`] puts into an expression: they bound what one step makes,
//! and they know markers. Their names hold a blank, so that no expression can call them.

use std::rc::Rc;

use indexmap::IndexMap;
use jsonata_core::evaluator::{EvaluatorError, HostFnResult};
use jsonata_core::functions::{array, string};
use jsonata_core::value::JValue;

use super::error::{BOUND, OWN, split_code};
use super::session::Session;
use super::{MAX_NESTING, MAX_WEIGHT, NODE_WEIGHT, convert};

/// A function that the engine calls.
pub(super) type Function = fn(&Session, &[JValue]) -> HostFnResult;

/// The longest text that is searched with a pattern, or by a function, in bytes.
pub(super) const MAX_SEARCHED: usize = 1024 * 1024;
/// The longest text that a replacing function may give, in bytes.
const MAX_REPLACEMENT: usize = 1024;
/// The widest that `$pad` makes a text, in characters.
const MAX_WIDTH: f64 = 1_000_000.0;
/// Digits of a number in a picture of `$fromMillis` and its like, which may be a width.
const MAX_PICTURE_DIGITS: usize = 4;
/// Up to here a double is a whole number of its own, and counting up ends.
const MAX_INTEGER: f64 = 9_007_199_254_740_992.0;
/// Up to so many items, each is compared with each.
const FEW_ITEMS: usize = 64;

pub(super) const WEIGH: &str = " weigh";
pub(super) const DOUBLE: &str = " double";
pub(super) const CONCAT: &str = " concat";
pub(super) const STRING: &str = " string";
pub(super) const JOIN: &str = " join";
pub(super) const REPLACE: &str = " replace";
pub(super) const DISTINCT: &str = " distinct";
pub(super) const EQUAL: &str = " equal";
pub(super) const UNEQUAL: &str = " unequal";
pub(super) const MEMBER: &str = " member";
pub(super) const COUNTABLE: &str = " countable";
pub(super) const WIDTH: &str = " width";
pub(super) const PICTURE: &str = " picture";
pub(super) const SEARCHED: &str = " searched";
pub(super) const REPLACEMENT: &str = " replacement";

/// All of them.
pub(super) const GUARDS: [(&str, Function); 15] = [
    (WEIGH, weigh),
    (DOUBLE, double),
    (CONCAT, concat),
    (STRING, to_string),
    (JOIN, join),
    (REPLACE, replace),
    (DISTINCT, distinct),
    (EQUAL, equal),
    (UNEQUAL, unequal),
    (MEMBER, member),
    (COUNTABLE, countable),
    (WIDTH, width),
    (PICTURE, picture),
    (SEARCHED, searched),
    (REPLACEMENT, replacement),
];

/// Argument `i`, undefined when it is missing.
pub(super) fn argument(arguments: &[JValue], i: usize) -> &JValue {
    arguments.get(i).unwrap_or(&JValue::Undefined)
}

/// A failure with `message`, which may begin with one of JSONata's codes and holds no value.
pub(super) fn fail<T>(message: impl Into<String>) -> Result<T, EvaluatorError> {
    let mut message = message.into();
    if split_code(&message).0.is_none() {
        message.insert_str(0, OWN);
    }
    Err(EvaluatorError::EvaluationError(message))
}

fn bound<T>(message: &str) -> Result<T, EvaluatorError> {
    Err(EvaluatorError::EvaluationError(format!("{BOUND}{message}")))
}

fn too_large<T>() -> Result<T, EvaluatorError> {
    bound(&format!(
        "makes a value larger than {} MiB",
        MAX_WEIGHT / (1024 * 1024)
    ))
}

/// What `value` weighs, up to [`MAX_WEIGHT`].
fn weight(value: &JValue) -> Result<usize, EvaluatorError> {
    fn add(value: &JValue, sum: &mut usize, depth: usize) -> Result<(), EvaluatorError> {
        if depth > MAX_NESTING {
            return bound(&format!(
                "makes a value that nests deeper than {MAX_NESTING} levels"
            ));
        }
        *sum += NODE_WEIGHT;
        match value {
            JValue::String(text) => *sum += text.len(),
            JValue::Array(items) => {
                for item in items {
                    add(item, sum, depth + 1)?;
                }
            }
            JValue::Object(fields) => {
                for (key, field) in &**fields {
                    *sum += key.len();
                    add(field, sum, depth + 1)?;
                }
            }
            _ => {}
        }
        if *sum > MAX_WEIGHT {
            return too_large();
        }
        Ok(())
    }
    let mut sum = 0;
    add(value, &mut sum, 0)?;
    Ok(sum)
}

/// The value itself, unless it is too large.
fn weigh(_: &Session, arguments: &[JValue]) -> HostFnResult {
    let value = argument(arguments, 0);
    weight(value)?;
    Ok(value.clone())
}

/// The value with doubles in place of markers, to be computed with.
pub(super) fn double(session: &Session, arguments: &[JValue]) -> HostFnResult {
    let value = argument(arguments, 0);
    weight(value)?;
    doubles(session, value)
}

fn doubles(session: &Session, value: &JValue) -> HostFnResult {
    let out_of_range = std::cell::Cell::new(false);
    let value = convert::map_numbers(value, &|value| {
        let number = session.marked(value)?;
        Some(number.as_f64().map_or_else(
            || {
                out_of_range.set(true);
                JValue::Null
            },
            JValue::Number,
        ))
    });
    if out_of_range.get() {
        return bound("computes with a number that is out of a double's range");
    }
    Ok(value)
}

/// The text of a value as `$string` gives it, with the digits of numbers that need care.
pub(super) fn text(
    session: &Session,
    value: &JValue,
    pretty: bool,
) -> Result<Option<Rc<str>>, EvaluatorError> {
    weight(value)?;
    if let Some(number) = session.marked(value) {
        return Ok(Some(number.as_str().into()));
    }
    if let JValue::String(text) = value {
        return Ok(Some(Rc::clone(text)));
    }
    match string::string(value, Some(pretty))? {
        JValue::String(text) if matches!(value, JValue::Array(_) | JValue::Object(_)) => {
            // A marker stands in quotes here, a number doesn't.
            let text = session.unquoted(&text);
            if text.len() > MAX_WEIGHT {
                return too_large();
            }
            Ok(Some(text.into()))
        }
        JValue::String(text) => Ok(Some(text)),
        _ => Ok(None),
    }
}

/// `$string`.
fn to_string(session: &Session, arguments: &[JValue]) -> HostFnResult {
    let pretty = match argument(arguments, 1) {
        JValue::Undefined => false,
        JValue::Bool(pretty) => *pretty,
        _ => return fail("T0410: argument 2 of $string must be a boolean"),
    };
    if arguments.len() > 2 {
        return fail("T0410: $string takes at most 2 arguments");
    }
    let text = text(session, argument(arguments, 0), pretty)?;
    Ok(text.map_or(JValue::Undefined, JValue::String))
}

/// The `&` operator.
fn concat(session: &Session, arguments: &[JValue]) -> HostFnResult {
    let left = text(session, argument(arguments, 0), false)?;
    let right = text(session, argument(arguments, 1), false)?;
    let (left, right) = (
        left.as_deref().unwrap_or(""),
        right.as_deref().unwrap_or(""),
    );
    if left.len() + right.len() > MAX_WEIGHT {
        return too_large();
    }
    Ok(JValue::from([left, right].concat()))
}

/// `$join`.
fn join(session: &Session, arguments: &[JValue]) -> HostFnResult {
    let separator = match argument(arguments, 1) {
        JValue::Undefined => "",
        JValue::String(separator) => separator,
        _ => return fail("T0410: argument 2 of $join must be a string"),
    };
    match argument(arguments, 0) {
        JValue::Undefined => Ok(JValue::Undefined),
        JValue::String(one) if session.marked(argument(arguments, 0)).is_none() => {
            Ok(JValue::String(Rc::clone(one)))
        }
        JValue::Array(items) => {
            let mut size = 0;
            for item in items {
                match item {
                    JValue::String(text) if session.marked(item).is_none() => {
                        size += text.len() + separator.len();
                    }
                    _ => return fail("T0412: argument 1 of $join must be an array of strings"),
                }
                if size > MAX_WEIGHT {
                    return too_large();
                }
            }
            Ok(string::join(items, Some(separator))?)
        }
        _ => fail("T0412: argument 1 of $join must be an array of strings"),
    }
}

/// `$replace` with a text as the replacement.
fn replace(session: &Session, arguments: &[JValue]) -> HostFnResult {
    let (subject, pattern) = (argument(arguments, 0), argument(arguments, 1));
    if subject.is_undefined() {
        return Ok(JValue::Undefined);
    }
    let JValue::String(subject) = searched(session, &arguments[..1])? else {
        return fail("T0410: argument 1 of $replace must be a string");
    };
    let replacement = match argument(arguments, 2) {
        JValue::String(text) if session.marked(argument(arguments, 2)).is_none() => text,
        value if value.is_function() => {
            return fail("$replace: write the replacing function where $replace is called");
        }
        _ => return fail("T0410: argument 3 of $replace must be a string or a function"),
    };
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "not negative, and a limit beyond the range is none"
    )]
    let limit = match argument(arguments, 3) {
        JValue::Undefined => None,
        JValue::Number(limit) if *limit >= 0.0 => Some(limit.floor() as usize),
        _ => return fail("D3011: argument 4 of $replace must be a number that isn't negative"),
    };
    let most = limit.unwrap_or(usize::MAX);
    let (matches, groups) = match pattern {
        JValue::String(pattern) if pattern.is_empty() => {
            return fail("D3010: the pattern of $replace is empty");
        }
        JValue::String(pattern) => (subject.matches(&**pattern).take(most).count(), 0),
        _ => {
            let Some((pattern, flags)) = string::extract_regex(pattern) else {
                return fail("T0410: argument 2 of $replace must be a string or a pattern");
            };
            let pattern = string::build_regex(&pattern, &flags)?;
            // Each `$` of the replacement may bring in a whole match.
            let groups = replacement.matches('$').count();
            (pattern.find_iter(&subject).take(most).count(), groups)
        }
    };
    let size = matches
        .saturating_mul(replacement.len())
        .saturating_add(subject.len().saturating_mul(groups + 1));
    if size > MAX_WEIGHT {
        return too_large();
    }
    Ok(string::replace(&subject, pattern, replacement, limit)?)
}

/// `$distinct`, in a time that doesn't grow with the square of the items.
fn distinct(_: &Session, arguments: &[JValue]) -> HostFnResult {
    let JValue::Array(items) = argument(arguments, 0) else {
        return Ok(argument(arguments, 0).clone());
    };
    weight(argument(arguments, 0))?;
    if items.len() <= 1 {
        return Ok(JValue::Array(items.clone()));
    }
    let mut result = if items.len() <= FEW_ITEMS {
        array::distinct(items)?
    } else {
        let mut seen = std::collections::HashSet::new();
        let mut kept = Vec::new();
        for item in items {
            if seen.insert(identity(item)) {
                kept.push(item.clone());
            }
        }
        JValue::array(kept)
    };
    if items.sequence {
        result.mark_sequence();
    }
    Ok(result)
}

/// A text that equal values have in common and no others.
fn identity(value: &JValue) -> String {
    match value {
        JValue::Object(fields) => {
            let mut fields: Vec<_> = fields
                .iter()
                .map(|(key, field)| format!("{key:?}:{}", identity(field)))
                .collect();
            fields.sort_unstable();
            format!("{{{}}}", fields.join(","))
        }
        JValue::Array(items) => {
            let items: Vec<_> = items.iter().map(identity).collect();
            format!("[{}]", items.join(","))
        }
        JValue::String(text) => format!("{text:?}"),
        // Zero equals minus zero.
        JValue::Number(number) => (number + 0.0).to_string(),
        other => other.to_string(),
    }
}

/// Whether two values are the same: markers by their digits, a marker and a double as doubles.
fn same(session: &Session, left: &JValue, right: &JValue) -> Result<bool, EvaluatorError> {
    if array::values_equal(left, right) {
        return Ok(true);
    }
    if session.marked(left).is_some() && session.marked(right).is_some() {
        return Ok(false);
    }
    let (with_left, with_right) = (doubles(session, left)?, doubles(session, right)?);
    // Where both sides hold markers, those differed.
    let both = !array::values_equal(&with_left, left) && !array::values_equal(&with_right, right);
    Ok(!both && array::values_equal(&with_left, &with_right))
}

fn equal(session: &Session, arguments: &[JValue]) -> HostFnResult {
    let (left, right) = (argument(arguments, 0), argument(arguments, 1));
    if left.is_undefined() || right.is_undefined() {
        return Ok(JValue::Bool(false));
    }
    Ok(JValue::Bool(same(session, left, right)?))
}

fn unequal(session: &Session, arguments: &[JValue]) -> HostFnResult {
    let (left, right) = (argument(arguments, 0), argument(arguments, 1));
    if left.is_undefined() || right.is_undefined() {
        return Ok(JValue::Bool(false));
    }
    Ok(JValue::Bool(!same(session, left, right)?))
}

/// The `in` operator: scalars by value; arrays and objects are never members.
fn member(session: &Session, arguments: &[JValue]) -> HostFnResult {
    let (value, among) = (argument(arguments, 0), argument(arguments, 1));
    let scalar = |value: &JValue| !matches!(value, JValue::Array(_) | JValue::Object(_));
    if value.is_undefined() || !scalar(value) {
        return Ok(JValue::Bool(false));
    }
    let one = std::slice::from_ref(among);
    let among: &[JValue] = match among {
        JValue::Array(items) => items,
        _ => one,
    };
    for item in among {
        if scalar(item) && same(session, value, item)? {
            return Ok(JValue::Bool(true));
        }
    }
    Ok(JValue::Bool(false))
}

/// An end of a range: a number that counting reaches.
fn countable(session: &Session, arguments: &[JValue]) -> HostFnResult {
    let value = double(session, arguments)?;
    match value {
        JValue::Number(number) if number.abs() > MAX_INTEGER => {
            bound("has a range whose end is beyond 2^53")
        }
        value => Ok(value),
    }
}

/// The width that `$pad` pads to.
fn width(session: &Session, arguments: &[JValue]) -> HostFnResult {
    let value = double(session, arguments)?;
    match value {
        JValue::Number(number) if number.abs() > MAX_WIDTH => {
            bound(&format!("pads to more than {MAX_WIDTH} characters"))
        }
        value => Ok(value),
    }
}

/// A picture of a date or a number: no number in it is long enough for a width without end.
fn picture(session: &Session, arguments: &[JValue]) -> HostFnResult {
    let value = double(session, arguments)?;
    if let JValue::String(text) = &value {
        let mut digits = 0;
        for byte in text.bytes() {
            digits = if byte.is_ascii_digit() { digits + 1 } else { 0 };
            if digits > MAX_PICTURE_DIGITS {
                return bound(&format!(
                    "has a picture with a number of more than {MAX_PICTURE_DIGITS} digits"
                ));
            }
        }
    }
    Ok(value)
}

/// A text to search.
fn searched(session: &Session, arguments: &[JValue]) -> HostFnResult {
    let value = double(session, arguments)?;
    match &value {
        JValue::String(text) if text.len() > MAX_SEARCHED => bound(&format!(
            "searches a text of more than {} MiB",
            MAX_SEARCHED / (1024 * 1024)
        )),
        _ => Ok(value),
    }
}

/// What a replacing function gives.
fn replacement(session: &Session, arguments: &[JValue]) -> HostFnResult {
    let value = double(session, arguments)?;
    match &value {
        JValue::String(text) if text.len() > MAX_REPLACEMENT => bound(&format!(
            "replaces by a text of more than {MAX_REPLACEMENT} bytes from a function"
        )),
        _ => Ok(value),
    }
}

/// An object of the engine.
pub(super) fn object(fields: impl IntoIterator<Item = (String, JValue)>) -> JValue {
    JValue::object(fields.into_iter().collect::<IndexMap<_, _>>())
}
