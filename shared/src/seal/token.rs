//! API tokens and webhook secrets: how they are made, and how tokens are stored.

use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use ed25519_dalek::{SECRET_KEY_LENGTH, SigningKey};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::{Secret, random_bytes};

/// First characters of an API token, so that scanners for leaked secrets know it.
pub const TOKEN_PREFIX: &str = "sl_";
/// First characters of a webhook secret (Standard Webhooks 1.0).
pub const WEBHOOK_SECRET_PREFIX: &str = "whsec_";
/// First characters of the secret half of an ed25519 key pair (Standard Webhooks 1.0).
pub const ED25519_SECRET_PREFIX: &str = "whsk_";
/// First characters of its public half.
pub const ED25519_PUBLIC_PREFIX: &str = "whpk_";
/// Random bytes in a token: 43 characters of base64url.
const TOKEN_BYTES: usize = 32;
/// Random bytes in a webhook secret that is made here.
const WEBHOOK_SECRET_BYTES: usize = 24;

/// What is stored of a token: its SHA-256 in hex. A token has 256 random bits,
/// so a slow hash would add nothing; looking it up by its hash compares no
/// secret text, so it takes the same time for each wrong one.
#[must_use]
pub fn hash_token(token: &str) -> String {
    hex::encode(Sha256::digest(token.as_bytes()))
}

/// `sl_` and 43 characters of base64url.
#[must_use]
pub fn new_token() -> Secret {
    let bytes = Zeroizing::new(random_bytes::<TOKEN_BYTES>());
    Secret::new(format!("{TOKEN_PREFIX}{}", URL_SAFE_NO_PAD.encode(*bytes)))
}

/// `whsec_` and 24 bytes in base64.
#[must_use]
pub fn new_webhook_secret() -> Secret {
    let bytes = Zeroizing::new(random_bytes::<WEBHOOK_SECRET_BYTES>());
    Secret::new(format!(
        "{WEBHOOK_SECRET_PREFIX}{}",
        STANDARD.encode(*bytes)
    ))
}

/// `whsk_` and the 64 bytes of an ed25519 key pair, seed first, in base64.
#[must_use]
pub fn new_ed25519_secret() -> Secret {
    let seed = Zeroizing::new(random_bytes::<SECRET_KEY_LENGTH>());
    let pair = Zeroizing::new(SigningKey::from_bytes(&seed).to_keypair_bytes());
    Secret::new(format!("{ED25519_SECRET_PREFIX}{}", STANDARD.encode(*pair)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_sl_and_43_url_safe_characters() {
        let token = new_token();
        let rest = token.expose().strip_prefix("sl_").expect("the prefix");
        assert_eq!(rest.len(), 43);
        assert!(
            rest.bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        );
        assert_ne!(token.expose(), new_token().expose());
    }

    #[test]
    fn a_token_is_stored_as_its_sha_256() {
        assert_eq!(
            hash_token("abc"),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }

    #[test]
    fn a_webhook_secret_is_whsec_and_24_bytes() {
        let secret = new_webhook_secret();
        let rest = secret.expose().strip_prefix("whsec_").expect("the prefix");
        assert_eq!(STANDARD.decode(rest).expect("base64").len(), 24);
    }

    #[test]
    fn an_ed25519_secret_is_whsk_and_the_64_bytes_of_a_key_pair() {
        let secret = new_ed25519_secret();
        let rest = secret.expose().strip_prefix("whsk_").expect("the prefix");
        assert_eq!(STANDARD.decode(rest).expect("base64").len(), 64);
        assert_ne!(secret.expose(), new_ed25519_secret().expose());
    }
}
