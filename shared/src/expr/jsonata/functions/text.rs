//! Functions over texts.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::general_purpose::{GeneralPurpose, STANDARD, URL_SAFE_NO_PAD};
use base64::engine::{DecodePaddingMode, GeneralPurposeConfig};
use jsonata_core::evaluator::{EvaluatorError, HostFnResult};
use jsonata_core::value::JValue;

use super::super::convert;
use super::super::guards::{argument, fail, object, text};
use super::super::session::Session;

/// Reads both forms of padding.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Argument `i`, which must be a text.
pub(super) fn string<'a>(
    session: &Session,
    arguments: &'a [JValue],
    i: usize,
    function: &str,
) -> Result<&'a str, EvaluatorError> {
    match argument(arguments, i) {
        JValue::String(text) if session.marked(argument(arguments, i)).is_none() => Ok(text),
        _ => fail(format!("${function}: argument {} must be a string", i + 1)),
    }
}

/// `$jsonParse(text)`: null for a text that is no JSON.
pub(super) fn json_parse(session: &Session, arguments: &[JValue]) -> HostFnResult {
    let JValue::String(text) = argument(arguments, 0) else {
        return Ok(match argument(arguments, 0) {
            // The text of these is JSON of the same value.
            value @ (JValue::Number(_) | JValue::Bool(_)) => value.clone(),
            JValue::Undefined => JValue::Undefined,
            _ => JValue::Null,
        });
    };
    if session.marked(argument(arguments, 0)).is_some() {
        return Ok(argument(arguments, 0).clone());
    }
    match serde_json::from_str(text) {
        Ok(value) => convert::into_engine(&value, session)
            .or_else(|_| fail("$jsonParse: the text is too large or nests too deep")),
        Err(_) => Ok(JValue::Null),
    }
}

/// `$parseUrl(text)`: the parts of a URL, as the web's `URL` names them; `searchParams` is an object
/// of the query's fields, a list where a field comes more than once.
pub(super) fn parse_url(session: &Session, arguments: &[JValue]) -> HostFnResult {
    if argument(arguments, 0).is_undefined() {
        return Ok(JValue::Undefined);
    }
    let Ok(url) = url::Url::parse(string(session, arguments, 0, "parseUrl")?) else {
        return fail("$parseUrl: the text is no URL");
    };
    let prefixed = |mark: &str, part: Option<&str>| match part {
        Some(part) if !part.is_empty() => format!("{mark}{part}"),
        _ => String::new(),
    };
    let host = url.host_str().unwrap_or_default();
    let port = url.port().map(|port| port.to_string()).unwrap_or_default();
    let mut query: indexmap::IndexMap<String, Vec<JValue>> = indexmap::IndexMap::new();
    for (name, value) in url.query_pairs() {
        query
            .entry(name.into_owned())
            .or_default()
            .push(JValue::from(value.into_owned()));
    }
    let query = object(query.into_iter().map(|(name, mut values)| {
        let value = match values.len() {
            1 => values.remove(0),
            _ => JValue::array(values),
        };
        (name, value)
    }));
    let fields = [
        ("href", url.as_str().to_owned()),
        ("origin", url.origin().ascii_serialization()),
        ("protocol", format!("{}:", url.scheme())),
        ("username", url.username().to_owned()),
        ("password", url.password().unwrap_or_default().to_owned()),
        (
            "host",
            if port.is_empty() {
                host.to_owned()
            } else {
                format!("{host}:{port}")
            },
        ),
        ("hostname", host.to_owned()),
        ("port", port),
        ("pathname", url.path().to_owned()),
        ("hash", prefixed("#", url.fragment())),
        ("search", prefixed("?", url.query())),
    ];
    Ok(object(
        fields
            .into_iter()
            .map(|(name, value)| (name.to_owned(), JValue::from(value)))
            .chain([("searchParams".to_owned(), query)]),
    ))
}

/// `$base64encode(text, urlSafe)`.
pub(super) fn base64_encode(session: &Session, arguments: &[JValue]) -> HostFnResult {
    if argument(arguments, 0).is_undefined() {
        return Ok(JValue::Undefined);
    }
    let text = string(session, arguments, 0, "base64encode")?;
    Ok(JValue::from(match argument(arguments, 1) {
        JValue::Bool(true) => URL_SAFE_NO_PAD.encode(text),
        _ => STANDARD.encode(text),
    }))
}

/// `$base64decode(text, urlSafe)`.
pub(super) fn base64_decode(session: &Session, arguments: &[JValue]) -> HostFnResult {
    if argument(arguments, 0).is_undefined() {
        return Ok(JValue::Undefined);
    }
    let text = string(session, arguments, 0, "base64decode")?;
    let text = match argument(arguments, 1) {
        JValue::Bool(true) => text.replace('-', "+").replace('_', "/"),
        _ => text.to_owned(),
    };
    match LENIENT.decode(text) {
        Ok(bytes) => Ok(JValue::from(String::from_utf8_lossy(&bytes).into_owned())),
        Err(_) => fail("$base64decode: the text is no base64"),
    }
}

/// `$toNumber(value)`: an empty text, null and false are 0, true is 1; null for what is no number.
#[expect(clippy::unnecessary_wraps, reason = "has the type of all functions")]
pub(super) fn to_number(session: &Session, arguments: &[JValue]) -> HostFnResult {
    let value = argument(arguments, 0);
    if session.marked(value).is_some() {
        return Ok(value.clone());
    }
    Ok(match value {
        JValue::Number(_) | JValue::Undefined => value.clone(),
        JValue::Null => JValue::Number(0.0),
        JValue::Bool(value) => JValue::Number(f64::from(u8::from(*value))),
        JValue::String(text) if text.trim().is_empty() => JValue::Number(0.0),
        JValue::String(text) => text
            .trim()
            .parse::<f64>()
            .ok()
            .filter(|number| number.is_finite())
            .map_or(JValue::Null, JValue::Number),
        _ => JValue::Null,
    })
}

/// `$wrap(value, before, after)`: after is before if it is missing.
pub(super) fn wrap(session: &Session, arguments: &[JValue]) -> HostFnResult {
    let Some(value) = text(session, argument(arguments, 0), false)? else {
        return Ok(JValue::Undefined);
    };
    let before = string(session, arguments, 1, "wrap")?;
    let after = match argument(arguments, 2) {
        JValue::Undefined => before,
        _ => string(session, arguments, 2, "wrap")?,
    };
    Ok(JValue::from(format!("{before}{value}{after}")))
}
