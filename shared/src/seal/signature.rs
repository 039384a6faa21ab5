//! Signatures of deliveries.
//!
//! [`SigningKey`] keeps the keyed state of each HMAC, so that signing a delivery
//! costs a copy of it and one pass over the body per signature. ed25519 reads its
//! text twice, so it costs a copy of the body too.

use std::ops::RangeInclusive;

use base64::{Engine, engine::general_purpose::STANDARD};
use ed25519_dalek::Signer;
use hmac::{Hmac, KeyInit, Mac};
use serde::Serialize;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::{
    SealError, Secret,
    token::{
        ED25519_PUBLIC_PREFIX, ED25519_SECRET_PREFIX, WEBHOOK_SECRET_PREFIX, new_ed25519_secret,
        new_webhook_secret,
    },
};

/// Bytes behind `whsec_` (Standard Webhooks 1.0).
const WEBHOOK_SECRET_BYTES: RangeInclusive<usize> = 24..=64;

/// What `webhook-signature` is made with.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub enum SignatureAlgorithm {
    /// One secret (`whsec_…`) that sender and receiver share; signatures start with `v1,`.
    #[default]
    #[serde(rename = "hmac-sha256")]
    HmacSha256,
    /// A key pair; receivers need its public half (`whpk_…`) only; signatures start with `v1a,`.
    #[serde(rename = "ed25519")]
    Ed25519,
}

impl SignatureAlgorithm {
    /// A new secret to sign with.
    #[must_use]
    pub fn new_secret(self) -> Secret {
        match self {
            Self::HmacSha256 => new_webhook_secret(),
            Self::Ed25519 => new_ed25519_secret(),
        }
    }
}

/// One secret of a webhook, ready to sign.
#[derive(Clone)]
pub struct SigningKey {
    keyed: Keyed,
    id: String,
}

/// What the name of a key starts with.
const KEY_ID_PREFIX: &str = "k_";
/// Bytes of a secret's hash in the name of its key: enough to tell the few keys of a webhook apart, far too
/// few to say anything about 24 random bytes.
const KEY_ID_BYTES: usize = 4;

#[derive(Clone)]
enum Keyed {
    HmacSha256 {
        /// Keyed with the bytes behind `whsec_`.
        standard: Hmac<Sha256>,
        /// Keyed with the secret's text as shown.
        text: Hmac<Sha256>,
    },
    Ed25519(ed25519_dalek::SigningKey),
}

impl SigningKey {
    /// The prefix of the secret says which algorithm it is for.
    ///
    /// # Errors
    /// [`SealError::InvalidWebhookSecret`], [`SealError::InvalidEd25519Secret`].
    pub fn new(secret: &Secret) -> Result<Self, SealError> {
        let text = secret.expose();
        if let Some(rest) = text.strip_prefix(ED25519_SECRET_PREFIX) {
            let key = ed25519_key(rest).ok_or(SealError::InvalidEd25519Secret)?;
            return Ok(Self {
                id: key_id(&shown_public_key(&key)),
                keyed: Keyed::Ed25519(key),
            });
        }
        let bytes = text
            .strip_prefix(WEBHOOK_SECRET_PREFIX)
            .and_then(|rest| STANDARD.decode(rest).ok())
            .map(Zeroizing::new)
            .filter(|bytes| WEBHOOK_SECRET_BYTES.contains(&bytes.len()))
            .ok_or(SealError::InvalidWebhookSecret)?;
        let keyed =
            |key: &[u8]| Hmac::new_from_slice(key).map_err(|_| SealError::InvalidWebhookSecret);
        Ok(Self {
            keyed: Keyed::HmacSha256 {
                standard: keyed(&bytes)?,
                text: keyed(text.as_bytes())?,
            },
            id: key_id(text),
        })
    }

    /// The public name of this key: `k_` and 8 hex digits of the SHA-256 of the secret's text (`whsec_…`), or of the
    /// public key's (`whpk_…`).
    #[must_use]
    pub fn key_id(&self) -> String {
        self.id.clone()
    }

    #[must_use]
    pub fn algorithm(&self) -> SignatureAlgorithm {
        match self.keyed {
            Keyed::HmacSha256 { .. } => SignatureAlgorithm::HmacSha256,
            Keyed::Ed25519(_) => SignatureAlgorithm::Ed25519,
        }
    }

    /// `whpk_<base64>`; `None` for an HMAC, which has no public half.
    #[must_use]
    pub fn public_key(&self) -> Option<String> {
        match &self.keyed {
            Keyed::HmacSha256 { .. } => None,
            Keyed::Ed25519(key) => Some(shown_public_key(key)),
        }
    }

    /// `v1,<base64>` or `v1a,<base64>` over `id.timestamp.body` (Standard Webhooks 1.0).
    #[must_use]
    pub fn standard_webhooks(&self, id: &str, timestamp_secs: i64, body: &[u8]) -> String {
        let head = format!("{id}.{timestamp_secs}.");
        match &self.keyed {
            Keyed::HmacSha256 { standard, .. } => {
                let mut mac = standard.clone();
                mac.update(head.as_bytes());
                mac.update(body);
                format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
            }
            Keyed::Ed25519(key) => {
                let signature = key.sign(&[head.as_bytes(), body].concat());
                format!("v1a,{}", STANDARD.encode(signature.to_bytes()))
            }
        }
    }

    /// HMAC-SHA256 of the body alone, keyed with the secret as shown; `None` for a
    /// key pair, whose receivers share no secret with us.
    #[must_use]
    pub fn body_hmac(&self, body: &[u8]) -> Option<[u8; 32]> {
        match &self.keyed {
            Keyed::HmacSha256 { text, .. } => {
                let mut mac = text.clone();
                mac.update(body);
                Some(mac.finalize().into_bytes().into())
            }
            Keyed::Ed25519(_) => None,
        }
    }
}

fn key_id(text: &str) -> String {
    let hash = Sha256::digest(text.as_bytes());
    format!("{KEY_ID_PREFIX}{}", hex::encode(&hash[..KEY_ID_BYTES]))
}

fn shown_public_key(key: &ed25519_dalek::SigningKey) -> String {
    let bytes = key.verifying_key();
    format!(
        "{ED25519_PUBLIC_PREFIX}{}",
        STANDARD.encode(bytes.as_bytes())
    )
}

/// A key from base64 of its seed, or of seed and public key, which must belong to it.
fn ed25519_key(text: &str) -> Option<ed25519_dalek::SigningKey> {
    let bytes = Zeroizing::new(STANDARD.decode(text).ok()?);
    if let Ok(seed) = <&[u8; ed25519_dalek::SECRET_KEY_LENGTH]>::try_from(bytes.as_slice()) {
        return Some(ed25519_dalek::SigningKey::from_bytes(seed));
    }
    let pair = <&[u8; ed25519_dalek::KEYPAIR_LENGTH]>::try_from(bytes.as_slice()).ok()?;
    ed25519_dalek::SigningKey::from_keypair_bytes(pair).ok()
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(super::REDACTED)
    }
}

/// As [`SigningKey::standard_webhooks`], for a single use.
///
/// # Errors
/// As [`SigningKey::new`].
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
/// [`SealError::InvalidWebhookSecret`]; a key pair has no such digest either.
pub fn body_hmac_hex(secret: &Secret, body: &[u8]) -> Result<String, SealError> {
    let digest = SigningKey::new(secret)?.body_hmac(body);
    Ok(hex::encode(digest.ok_or(SealError::InvalidWebhookSecret)?))
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
        let of =
            |prefix: &str, bytes: usize| format!("{prefix}{}", STANDARD.encode(vec![7; bytes]));
        for text in [
            String::new(),
            "whsec_".to_owned(),
            "whsec_***".to_owned(),
            "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".to_owned(),
            of("whsec_", 23),
            of("whsec_", 65),
            of("whpk_", 32),
            of("whsk_", 31),
            of("whsk_", 33),
            // A public half that isn't the seed's.
            of("whsk_", 64),
        ] {
            let refused = SigningKey::new(&Secret::new(text.clone())).expect_err("no secret");
            assert!(
                text.len() < 10 || !refused.to_string().contains(&text[6..]),
                "{refused}"
            );
        }
        for text in [of("whsec_", 24), of("whsec_", 64), of("whsk_", 32)] {
            assert!(SigningKey::new(&Secret::new(text)).is_ok());
        }
    }

    /// RFC 8032 section 7.1, test 1.
    const ED25519_SEED: &str = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60";
    const ED25519_PUBLIC: &str = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";

    fn ed25519(bytes: &[u8]) -> SigningKey {
        let secret = format!("whsk_{}", STANDARD.encode(bytes));
        SigningKey::new(&Secret::new(secret)).expect("a key")
    }

    #[test]
    fn a_seed_and_its_key_pair_are_the_same_key_with_the_public_half_of_rfc_8032() {
        let (seed, public) = (
            hex::decode(ED25519_SEED).expect("hex"),
            hex::decode(ED25519_PUBLIC).expect("hex"),
        );
        let expected = format!("whpk_{}", STANDARD.encode(&public));
        for key in [ed25519(&seed), ed25519(&[&*seed, &*public].concat())] {
            assert_eq!(key.public_key().as_deref(), Some(&*expected));
            assert_eq!(key.algorithm(), SignatureAlgorithm::Ed25519);
            // printf whpk_11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo= | sha256sum | cut -c 1-8
            assert_eq!(key.key_id(), "k_4b54c623");
        }
    }

    #[test]
    fn ed25519_signs_id_timestamp_and_body_so_that_the_public_key_verifies_it() {
        use ed25519_dalek::{Signature, Verifier, VerifyingKey};

        let key = ed25519(&hex::decode(ED25519_SEED).expect("hex"));
        let signed = key.standard_webhooks("msg_1", 1_614_265_330, b"{\"a\":1}");
        let signature = signed.strip_prefix("v1a,").expect("the version");
        let signature = STANDARD.decode(signature).expect("base64");
        let signature = Signature::from_slice(&signature).expect("64 bytes");
        let public: [u8; 32] = hex::decode(ED25519_PUBLIC)
            .expect("hex")
            .try_into()
            .expect("32 bytes");
        let public = VerifyingKey::from_bytes(&public).expect("a key");
        let text = b"msg_1.1614265330.{\"a\":1}";
        assert!(public.verify(text, &signature).is_ok());
        assert!(public.verify(&text[1..], &signature).is_err());
        assert_eq!(key.body_hmac(b"x"), None);
    }
}
