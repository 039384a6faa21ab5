//! Checking a webhook's signatures the way a receiver does, written from the
//! specification and not from the code that signs.
//!
//! Standard Webhooks 1.0: `webhook-signature` holds, separated by spaces,
//! `v1,<base64 of HMAC-SHA256 over "id.timestamp.body">`; the key is what
//! follows `whsec_` in the secret, base64-decoded. `x-handled-signature` is the
//! hex HMAC-SHA256 of the body; there the key is the secret's text as shown.

use base64::{Engine, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use http::HeaderMap;
use sha2::Sha256;

/// Seconds by which a delivery's timestamp may differ from the receiver's clock
/// (the specification's recommendation).
pub const TIMESTAMP_TOLERANCE_S: u64 = 5 * 60;

/// Why a delivery isn't to be trusted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignatureFault {
    #[error("the header {0} is missing or unreadable")]
    Header(&'static str),
    #[error("the secret isn't of the form whsec_<base64>")]
    Secret,
    #[error("the timestamp is more than {TIMESTAMP_TOLERANCE_S} seconds away from now")]
    Timestamp,
    #[error("webhook-signature holds no valid signature")]
    Standard,
    #[error("x-handled-signature isn't the signature of the body")]
    Handled,
}

/// The `webhook-id` of a delivery whose two signatures hold.
///
/// `now_s`: the receiver's clock, in seconds since the epoch.
///
/// # Errors
/// The first thing that doesn't hold.
pub fn verify(
    secret: &str,
    headers: &HeaderMap,
    body: &[u8],
    now_s: u64,
) -> Result<String, SignatureFault> {
    let id = text(headers, "webhook-id")?;
    let timestamp = text(headers, "webhook-timestamp")?;
    let sent_s: u64 = timestamp
        .parse()
        .map_err(|_| SignatureFault::Header("webhook-timestamp"))?;
    if now_s.abs_diff(sent_s) > TIMESTAMP_TOLERANCE_S {
        return Err(SignatureFault::Timestamp);
    }

    let key = secret
        .strip_prefix("whsec_")
        .and_then(|key| STANDARD.decode(key).ok())
        .ok_or(SignatureFault::Secret)?;
    let signatures = text(headers, "webhook-signature")?;
    let standard = [id.as_bytes(), b".", timestamp.as_bytes(), b".", body];
    let holds = signatures
        .split(' ')
        .filter_map(|signature| signature.strip_prefix("v1,"))
        .filter_map(|signature| STANDARD.decode(signature).ok())
        .any(|signature| matches(&key, &standard, &signature));
    if !holds {
        return Err(SignatureFault::Standard);
    }

    let handled =
        hex::decode(text(headers, "x-handled-signature")?).map_err(|_| SignatureFault::Handled)?;
    if !matches(secret.as_bytes(), &[body], &handled) {
        return Err(SignatureFault::Handled);
    }
    Ok(id.to_owned())
}

fn text<'h>(headers: &'h HeaderMap, name: &'static str) -> Result<&'h str, SignatureFault> {
    headers
        .get(name)
        .and_then(|value| value.to_str().ok())
        .ok_or(SignatureFault::Header(name))
}

/// In constant time.
fn matches(key: &[u8], parts: &[&[u8]], signature: &[u8]) -> bool {
    mac(key, parts).is_some_and(|mac| mac.verify_slice(signature).is_ok())
}

fn mac(key: &[u8], parts: &[&[u8]]) -> Option<Hmac<Sha256>> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).ok()?;
    for part in parts {
        mac.update(part);
    }
    Some(mac)
}

#[cfg(test)]
pub(super) mod tests {
    use http::HeaderValue;

    use super::*;

    pub const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

    /// The headers of a delivery signed with `secret`.
    pub fn signed(secret: &str, id: &str, timestamp_s: u64, body: &[u8]) -> HeaderMap {
        let key = STANDARD.decode(&secret["whsec_".len()..]).expect("base64");
        let timestamp = timestamp_s.to_string();
        let parts = [id.as_bytes(), b".", timestamp.as_bytes(), b".", body];
        let standard = mac(&key, &parts).expect("a MAC").finalize().into_bytes();
        let handled = mac(secret.as_bytes(), &[body])
            .expect("a MAC")
            .finalize()
            .into_bytes();
        let mut headers = HeaderMap::new();
        let mut set = |name: &'static str, value: &str| {
            headers.insert(name, HeaderValue::from_str(value).expect("a header"));
        };
        set("webhook-id", id);
        set("webhook-timestamp", &timestamp);
        set(
            "webhook-signature",
            &format!("v1,{}", STANDARD.encode(standard)),
        );
        set("x-handled-signature", &hex::encode(handled));
        headers
    }

    #[test]
    fn the_specifications_own_example_holds() {
        // Standard Webhooks, reference test vector.
        let body = br#"{"test": 2432232314}"#;
        let id = "msg_p5jXN8AQM9LWM0D4loKWxJek";
        let mut headers = signed(SECRET, id, 1_614_265_330, body);
        let expected = HeaderValue::from_static("v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
        assert_eq!(headers["webhook-signature"], expected);
        headers.insert(
            "webhook-signature",
            HeaderValue::from_static("v1,AAAA v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="),
        );
        assert_eq!(
            verify(SECRET, &headers, body, 1_614_265_330),
            Ok(id.to_owned())
        );
    }

    #[test]
    fn a_changed_body_id_or_secret_is_refused() {
        let headers = signed(SECRET, "evt_1", 1000, b"{}");
        assert_eq!(
            verify(SECRET, &headers, b"{ }", 1000),
            Err(SignatureFault::Standard)
        );
        let other = "whsec_AAAA9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
        assert_eq!(
            verify(other, &headers, b"{}", 1000),
            Err(SignatureFault::Standard)
        );
        let mut renamed = headers.clone();
        renamed.insert("webhook-id", HeaderValue::from_static("evt_2"));
        assert_eq!(
            verify(SECRET, &renamed, b"{}", 1000),
            Err(SignatureFault::Standard)
        );
    }

    #[test]
    fn an_old_timestamp_is_refused() {
        let headers = signed(SECRET, "evt_1", 1000, b"{}");
        assert_eq!(
            verify(SECRET, &headers, b"{}", 1300),
            Ok("evt_1".to_owned())
        );
        assert_eq!(
            verify(SECRET, &headers, b"{}", 1301),
            Err(SignatureFault::Timestamp)
        );
    }

    #[test]
    fn both_signatures_must_hold() {
        let mut headers = signed(SECRET, "evt_1", 1000, b"{}");
        headers.insert("x-handled-signature", HeaderValue::from_static("00"));
        assert_eq!(
            verify(SECRET, &headers, b"{}", 1000),
            Err(SignatureFault::Handled)
        );
        headers.remove("x-handled-signature");
        assert_eq!(
            verify(SECRET, &headers, b"{}", 1000),
            Err(SignatureFault::Header("x-handled-signature"))
        );
    }
}
