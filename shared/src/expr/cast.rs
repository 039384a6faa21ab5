//! What a cast (`{{a:int}}`) makes of a value. Numbers are converted digit by
//! digit, never through a double (`serde_json` writes an exponent `1e3` as `1e+3`).

use std::borrow::Cow;

use serde_json::{Number, Value};

/// Digits of an integer that `:int` writes out for a number such as `1e30`; a longer one stays as it is.
const MAX_INTEGER_DIGITS: i64 = 400;

/// The word after the colon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cast {
    Str,
    Int,
    Num,
    Bool,
    Json,
    Any,
    Null,
    Undefined,
    IgnoreEmptyStr,
}

impl Cast {
    /// Every cast, for messages.
    pub(super) const NAMES: &str =
        "str, int, num, bool, json, any, null, undefined, ignore-empty-str";

    pub(super) fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "str" => Self::Str,
            "int" => Self::Int,
            "num" => Self::Num,
            "bool" => Self::Bool,
            "json" => Self::Json,
            "any" => Self::Any,
            "null" => Self::Null,
            "undefined" => Self::Undefined,
            "ignore-empty-str" => Self::IgnoreEmptyStr,
            _ => return None,
        })
    }

    /// `value` converted; one that the cast can't convert stays, a string without the space around it.
    /// `whole`: the placeholder is the whole string.
    pub(super) fn apply(self, value: &Value, whole: bool) -> Value {
        if value.is_null() {
            return Value::Null;
        }
        if self == Self::Str {
            return Value::String(text_of(value).into_owned());
        }
        let converted = match value {
            Value::String(text) => self.convert_text(text.trim(), whole),
            Value::Number(number) if self == Self::Int => {
                integer_of(&number.to_string()).map(Value::Number)
            }
            _ => None,
        };
        converted.unwrap_or_else(|| value.clone())
    }

    fn convert_text(self, text: &str, whole: bool) -> Option<Value> {
        let converted = match (self, text) {
            (Self::Int, _) => leading_integer(text).map(Value::Number),
            (Self::Num, _) => leading_number(text).map(Value::Number),
            (Self::Bool, "true") => Some(Value::Bool(true)),
            (Self::Bool, "false") => Some(Value::Bool(false)),
            (Self::Json, _) if whole => serde_json::from_str(text).ok(),
            (Self::Null, "null") => Some(Value::Null),
            _ => None,
        };
        converted.or_else(|| Some(Value::String(text.to_owned())))
    }
}

/// A value inside a longer text: strings as they are, arrays of plain values joined by commas, all else as JSON.
pub(super) fn text_of(value: &Value) -> Cow<'_, str> {
    match value {
        Value::String(text) => Cow::Borrowed(text),
        Value::Array(elements) if is_plain(elements) => {
            Cow::Owned(elements.iter().map(text_of).collect::<Vec<_>>().join(","))
        }
        other => Cow::Owned(other.to_string()),
    }
}

fn is_plain(elements: &[Value]) -> bool {
    elements.iter().all(|element| match element {
        Value::Object(_) => false,
        Value::Array(elements) => is_plain(elements),
        _ => true,
    })
}

/// A number from text in JSON's grammar.
fn number(text: &str) -> Option<Number> {
    serde_json::from_str(text).ok()
}

/// Without needless zeros in front; `0` for nothing.
fn trimmed_zeros(digits: &str) -> &str {
    let rest = digits.trim_start_matches('0');
    if rest.is_empty() { "0" } else { rest }
}

fn signed(negative: bool, digits: &str) -> Option<Number> {
    let digits = trimmed_zeros(digits);
    number(&if negative && digits != "0" {
        format!("-{digits}")
    } else {
        digits.to_owned()
    })
}

fn split_sign(text: &str) -> (bool, &str) {
    match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    }
}

/// The leading digits, and what follows them.
fn split_digits(text: &str) -> (&str, &str) {
    text.split_at(text.bytes().take_while(u8::is_ascii_digit).count())
}

/// The integer a text begins with, `0x` ones included.
fn leading_integer(text: &str) -> Option<Number> {
    let (negative, rest) = split_sign(text);
    if let Some(hex) = rest.strip_prefix("0x").or_else(|| rest.strip_prefix("0X")) {
        let digits = &hex[..hex.bytes().take_while(u8::is_ascii_hexdigit).count()];
        return signed(
            negative,
            &u128::from_str_radix(digits, 16).ok()?.to_string(),
        );
    }
    let (digits, _) = split_digits(rest);
    if digits.is_empty() {
        None
    } else {
        signed(negative, digits)
    }
}

/// The decimal number a text begins with, its digits kept.
fn leading_number(text: &str) -> Option<Number> {
    let (negative, rest) = split_sign(text);
    let (integer, rest) = split_digits(rest);
    let (fraction, rest) = rest.strip_prefix('.').map_or(("", rest), split_digits);
    if integer.is_empty() && fraction.is_empty() {
        return None;
    }
    let mut written = format!(
        "{}{}",
        if negative { "-" } else { "" },
        trimmed_zeros(integer)
    );
    if !fraction.is_empty() {
        written.push('.');
        written.push_str(fraction);
    }
    if let Some(exponent) = rest.strip_prefix(['e', 'E']) {
        let (minus, exponent) = split_sign(exponent);
        let (digits, _) = split_digits(exponent);
        if !digits.is_empty() {
            written.push_str(if minus { "e-" } else { "e" });
            written.push_str(digits);
        }
    }
    number(&written)
}

/// The integer part of a JSON number, exactly; `None` when it would be absurdly long.
fn integer_of(text: &str) -> Option<Number> {
    let (negative, rest) = split_sign(text);
    let (mantissa, exponent) = rest.split_once(['e', 'E']).unwrap_or((rest, "0"));
    let exponent: i64 = exponent
        .strip_prefix('+')
        .unwrap_or(exponent)
        .parse()
        .ok()?;
    let (integer, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{integer}{fraction}");
    let length = i64::try_from(integer.len()).ok()?.checked_add(exponent)?;
    if length > MAX_INTEGER_DIGITS && exponent != 0 {
        return None;
    }
    let Ok(length) = usize::try_from(length) else {
        return number("0");
    };
    let kept = digits.get(..length).unwrap_or(&digits);
    signed(negative, &format!("{kept:0<length$}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(text: &str) -> Value {
        serde_json::from_str(text).expect("JSON")
    }

    #[test]
    fn int_takes_the_integer_a_text_begins_with() {
        for (text, expected) in [
            ("12", "12"),
            (" -7px", "-7"),
            ("+5", "5"),
            ("007", "7"),
            ("1.9", "1"),
            ("1e3", "1"),
            ("0x1F", "31"),
            ("-0", "0"),
            ("9007199254740993", "9007199254740993"),
            (
                "123456789012345678901234567890",
                "123456789012345678901234567890",
            ),
        ] {
            assert_eq!(
                Cast::Int.apply(&json!(text), true),
                read(expected),
                "{text}"
            );
        }
        for text in ["", "abc", "-", ".5", "0x", "Infinity"] {
            assert_eq!(Cast::Int.apply(&json!(text), true), json!(text), "{text}");
        }
    }

    #[test]
    fn int_cuts_numbers_without_a_detour_over_doubles() {
        for (from, expected) in [
            ("1.99", "1"),
            ("-0.5", "0"),
            ("9007199254740993", "9007199254740993"),
            ("9007199254740993.7", "9007199254740993"),
            ("1e3", "1000"),
            ("1.2345e2", "123"),
            ("12e-1", "1"),
            ("1e-7", "0"),
            ("1e+21", "1000000000000000000000"),
            ("1e+999999999", "1e+999999999"),
            ("1e-999999999", "0"),
        ] {
            assert_eq!(
                Cast::Int.apply(&read(from), true).to_string(),
                expected,
                "{from}"
            );
        }
    }

    #[test]
    fn num_keeps_the_digits_it_finds() {
        for (text, expected) in [
            ("1.10", "1.10"),
            (" .5x", "0.5"),
            ("5.", "5"),
            ("-007.50", "-7.50"),
            ("1.5e3", "1.5e+3"),
            ("1e+2!", "1e+2"),
            ("1e", "1"),
            ("9007199254740993", "9007199254740993"),
        ] {
            assert_eq!(
                Cast::Num.apply(&json!(text), true).to_string(),
                expected,
                "{text}"
            );
        }
        for text in [".", "-", "e5", "Infinity"] {
            assert_eq!(Cast::Num.apply(&json!(text), true), json!(text), "{text}");
        }
    }

    #[test]
    fn a_value_that_a_cast_cannot_convert_stays() {
        let values = [json!({"a": 1}), json!([1]), json!(true), json!(null)];
        for cast in [
            Cast::Int,
            Cast::Num,
            Cast::Bool,
            Cast::Json,
            Cast::Any,
            Cast::Null,
            Cast::Undefined,
        ] {
            for value in &values {
                assert_eq!(&cast.apply(value, true), value, "{cast:?}");
            }
            assert_eq!(cast.apply(&json!(" x "), true), json!("x"), "{cast:?}");
        }
    }

    #[test]
    fn json_is_parsed_only_where_the_placeholder_is_the_whole_string() {
        assert_eq!(
            Cast::Json.apply(&json!("{\"a\": 1.10}"), true).to_string(),
            r#"{"a":1.10}"#
        );
        assert_eq!(
            Cast::Json.apply(&json!("{\"a\": 1}"), false),
            json!("{\"a\": 1}")
        );
    }

    #[test]
    fn text_joins_plain_arrays_and_writes_objects_as_json() {
        for (value, text) in [
            ("[1,\"a\",null,[2.50,true]]", "1,a,null,2.50,true"),
            ("[]", ""),
            ("{\"a\":1.10}", "{\"a\":1.10}"),
            ("[{\"a\":1}]", "[{\"a\":1}]"),
            ("9007199254740993", "9007199254740993"),
            ("null", "null"),
        ] {
            assert_eq!(text_of(&read(value)), text);
        }
    }
}
