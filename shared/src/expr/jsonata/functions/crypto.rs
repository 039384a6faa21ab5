//! Functions that hash, sign and draw.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use jsonata_core::evaluator::{EvaluatorError, HostFnResult};
use jsonata_core::value::JValue;
use sha2::{Digest as _, Sha256, Sha384, Sha512};

use super::super::guards::{argument, fail};
use super::super::session::Session;
use super::text::string;

/// The algorithm that argument `i` names, in capitals; `SHA-256` if it is missing.
fn algorithm(arguments: &[JValue], i: usize) -> String {
    match argument(arguments, i) {
        JValue::String(name) => name.trim().to_uppercase(),
        _ => "SHA-256".to_owned(),
    }
}

fn unknown<T>(function: &str, algorithm: &str) -> Result<T, EvaluatorError> {
    fail(format!(
        "${function}: `{algorithm}` isn't available, use SHA-256, SHA-384 or SHA-512"
    ))
}

/// `bytes` in the form that argument `i` names; hexadecimal if it is missing.
fn encoded(bytes: &[u8], arguments: &[JValue], i: usize, function: &str) -> HostFnResult {
    let format = match argument(arguments, i) {
        JValue::String(format) => &**format,
        _ => "hex",
    };
    Ok(JValue::from(match format {
        "hex" => hex::encode(bytes),
        "base64" => STANDARD.encode(bytes),
        "base64-urlSafe" => URL_SAFE_NO_PAD.encode(bytes),
        _ => {
            return fail(format!(
                "${function}: the form must be hex, base64 or base64-urlSafe"
            ));
        }
    }))
}

/// `$digest(text, algorithm, form)`.
pub(super) fn digest(session: &Session, arguments: &[JValue]) -> HostFnResult {
    if argument(arguments, 0).is_undefined() {
        return Ok(JValue::Undefined);
    }
    let text = string(session, arguments, 0, "digest")?;
    let algorithm = algorithm(arguments, 1);
    let bytes = match algorithm.as_str() {
        "SHA-256" => Sha256::digest(text).to_vec(),
        "SHA-384" => Sha384::digest(text).to_vec(),
        "SHA-512" => Sha512::digest(text).to_vec(),
        _ => return unknown("digest", &algorithm),
    };
    encoded(&bytes, arguments, 2, "digest")
}

/// `$sign(text, algorithm, secret, form)`: HMAC.
pub(super) fn sign(session: &Session, arguments: &[JValue]) -> HostFnResult {
    if argument(arguments, 0).is_undefined() {
        return Ok(JValue::Undefined);
    }
    let text = string(session, arguments, 0, "sign")?.as_bytes();
    let secret = string(session, arguments, 2, "sign")?.as_bytes();
    let algorithm = algorithm(arguments, 1);
    let bytes = match algorithm.as_str() {
        "SHA-256" => Hmac::<Sha256>::new_from_slice(secret)
            .map(|hmac| hmac.chain_update(text).finalize().into_bytes().to_vec()),
        "SHA-384" => Hmac::<Sha384>::new_from_slice(secret)
            .map(|hmac| hmac.chain_update(text).finalize().into_bytes().to_vec()),
        "SHA-512" => Hmac::<Sha512>::new_from_slice(secret)
            .map(|hmac| hmac.chain_update(text).finalize().into_bytes().to_vec()),
        _ => return unknown("sign", &algorithm),
    };
    match bytes {
        Ok(bytes) => encoded(&bytes, arguments, 3, "sign"),
        Err(_) => fail("$sign: the secret has a length that HMAC doesn't take"),
    }
}

/// `$uuid()`: a random one, version 4 (RFC 9562).
#[expect(clippy::unnecessary_wraps, reason = "has the type of all functions")]
pub(super) fn uuid(_: &Session, _: &[JValue]) -> HostFnResult {
    let mut bytes: [u8; 16] = rand::random();
    bytes[6] = (bytes[6] & 0x0f) | 0x40;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    let hex = hex::encode(bytes);
    Ok(JValue::from(format!(
        "{}-{}-{}-{}-{}",
        &hex[..8],
        &hex[8..12],
        &hex[12..16],
        &hex[16..20],
        &hex[20..]
    )))
}
