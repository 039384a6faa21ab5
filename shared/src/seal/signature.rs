//! Signatures of deliveries.
//!
//! [`SigningKey`] keeps the keyed state of each HMAC, so that signing a delivery
//! costs a copy of it and one pass over the body per signature.

use base64::{Engine, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::{SealError, Secret, token::WEBHOOK_SECRET_PREFIX};

/// One webhook secret, ready to sign.
#[derive(Clone)]
pub struct SigningKey {
    /// Keyed with the bytes behind `whsec_`.
    standard: Hmac<Sha256>,
    /// Keyed with the secret's text as shown.
    text: Hmac<Sha256>,
    id: String,
}

/// What the name of a key starts with.
const KEY_ID_PREFIX: &str = "k_";
/// Bytes of a secret's hash in the name of its key: enough to tell the few keys of a webhook apart, far too
/// few to say anything about 24 random bytes.
const KEY_ID_BYTES: usize = 4;

impl SigningKey {
    /// # Errors
    /// [`SealError::InvalidWebhookSecret`].
    pub fn new(secret: &Secret) -> Result<Self, SealError> {
        let text = secret.expose();
        let bytes = text
            .strip_prefix(WEBHOOK_SECRET_PREFIX)
            .and_then(|rest| STANDARD.decode(rest).ok())
            .filter(|bytes| !bytes.is_empty())
            .map(Zeroizing::new)
            .ok_or(SealError::InvalidWebhookSecret)?;
        let keyed =
            |key: &[u8]| Hmac::new_from_slice(key).map_err(|_| SealError::InvalidWebhookSecret);
        Ok(Self {
            standard: keyed(&bytes)?,
            text: keyed(text.as_bytes())?,
            id: key_id(text),
        })
    }

    /// The public name of this key: `k_` and 8 hex digits of the SHA-256 of the secret's text.
    #[must_use]
    pub fn key_id(&self) -> String {
        self.id.clone()
    }

    /// `v1,<base64>` over `id.timestamp.body` (Standard Webhooks 1.0).
    #[must_use]
    pub fn standard_webhooks(&self, id: &str, timestamp_secs: i64, body: &[u8]) -> String {
        let mut mac = self.standard.clone();
        mac.update(id.as_bytes());
        mac.update(format!(".{timestamp_secs}.").as_bytes());
        mac.update(body);
        let mut text = String::with_capacity(47);
        text.push_str("v1,");
        STANDARD.encode_string(mac.finalize().into_bytes(), &mut text);
        text
    }

    /// HMAC-SHA256 of the body alone, keyed with the secret as shown.
    #[must_use]
    pub fn body_hmac(&self, body: &[u8]) -> [u8; 32] {
        let mut mac = self.text.clone();
        mac.update(body);
        mac.finalize().into_bytes().into()
    }
}

fn key_id(secret: &str) -> String {
    let hash = Sha256::digest(secret.as_bytes());
    format!("{KEY_ID_PREFIX}{}", hex::encode(&hash[..KEY_ID_BYTES]))
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(super::REDACTED)
    }
}

/// As [`SigningKey::standard_webhooks`], for a single use.
///
/// # Errors
/// [`SealError::InvalidWebhookSecret`].
pub fn standard_webhooks(
    secret: &Secret,
    id: &str,
    timestamp_secs: i64,
    body: &[u8],
) -> Result<String, SealError> {
    Ok(SigningKey::new(secret)?.standard_webhooks(id, timestamp_secs, body))
}

/// As [`SigningKey::body_hmac`], in hex, for a single use.
///
/// # Errors
/// [`SealError::InvalidWebhookSecret`].
pub fn body_hmac_hex(secret: &Secret, body: &[u8]) -> Result<String, SealError> {
    Ok(hex::encode(SigningKey::new(secret)?.body_hmac(body)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret() -> Secret {
        Secret::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".to_owned())
    }

    #[test]
    fn the_example_of_standard_webhooks_gives_its_signature() {
        let signature = standard_webhooks(
            &secret(),
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            1_614_265_330,
            br#"{"test": 2432232314}"#,
        );
        assert_eq!(
            signature.as_deref(),
            Ok("v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=")
        );
    }

    #[test]
    fn the_body_is_signed_with_the_secret_as_shown() {
        // printf '{"a":1}' | openssl dgst -sha256 -hmac whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw
        assert_eq!(
            body_hmac_hex(&secret(), br#"{"a":1}"#).as_deref(),
            Ok("45ec03b2b33403c8043a90de06bedad0827183927115fd7e448ef97eeb13c5be")
        );
    }

    #[test]
    fn a_key_signs_the_same_text_the_same_way_twice() {
        let key = SigningKey::new(&secret()).expect("a secret");
        assert_eq!(
            key.standard_webhooks("a", 1, b"x"),
            key.clone().standard_webhooks("a", 1, b"x")
        );
        assert_ne!(
            key.standard_webhooks("a", 1, b"x"),
            key.standard_webhooks("b", 1, b"x")
        );
        assert_ne!(
            key.standard_webhooks("a", 1, b"x"),
            key.standard_webhooks("a", 2, b"x")
        );
        assert_eq!(format!("{key:?}"), "[redacted]");
    }

    #[test]
    fn a_key_has_a_name_that_anybody_with_the_secret_can_make() {
        // printf whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw | sha256sum | cut -c 1-8
        let key = SigningKey::new(&secret()).expect("a secret");
        assert_eq!(key.key_id(), "k_96ad2ccd");
    }

    #[test]
    fn a_text_that_is_no_webhook_secret_is_refused() {
        for text in [
            "",
            "whsec_",
            "whsec_***",
            "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        ] {
            assert!(
                SigningKey::new(&Secret::new(text.to_owned())).is_err(),
                "{text}"
            );
        }
    }
}
