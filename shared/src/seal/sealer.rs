//! Encryption at rest: XChaCha20-Poly1305 under `SYNCLINE_MASTER_KEY`.
//!
//! A sealed value is `<key id>.<base64 of nonce and ciphertext>`; the key id is
//! the first 8 hex digits of the key's SHA-256. The owner's id is authenticated
//! with the value, so a sealed value that is copied to another object does not
//! open there. The setting may list several keys: the first one seals, every one
//! opens, which is how keys are rotated.

use std::{fmt, sync::Arc};

use base64::{Engine, engine::general_purpose::STANDARD};
use chacha20poly1305::{
    KeyInit, XChaCha20Poly1305, XNonce,
    aead::{Aead, Payload},
};
use serde_json::Value;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::{Secret, random_bytes};

/// Length of a master key, in bytes.
pub const KEY_BYTES: usize = 32;
/// Length of the nonce in front of the ciphertext, in bytes.
const NONCE_BYTES: usize = 24;
/// Hex digits of a key's hash that name it.
const KEY_ID_DIGITS: usize = 8;

/// Why something could not be sealed, opened or signed.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum SealError {
    /// Not 32 bytes of base64, or a list in which one isn't.
    #[error("the master key must be 32 bytes, base64")]
    InvalidKey,
    /// The key with this id isn't among the configured ones.
    #[error("sealed with another key ({0}) than the ones configured")]
    UnknownKey(String),
    /// Cut, changed, or moved from another object.
    #[error("the sealed value was damaged or belongs to another object")]
    Damaged,
    /// Not `whsec_` and base64, or too short or long.
    #[error("must be `whsec_` followed by base64 of 24 to 64 bytes")]
    InvalidWebhookSecret,
    /// Not `whsk_` and base64 of a seed or a key pair.
    #[error(
        "must be `whsk_` followed by base64 of an ed25519 key: its seed (32 bytes) or its key pair (64 bytes, seed first)"
    )]
    InvalidEd25519Secret,
}

struct Key {
    id: String,
    cipher: XChaCha20Poly1305,
}

/// Seals and opens values; cheap to clone.
#[derive(Clone)]
pub struct Sealer {
    /// Never empty; the first one seals.
    keys: Arc<[Key]>,
}

impl Sealer {
    /// `master_key_base64`: one key, or several separated by commas, the current one first.
    ///
    /// # Errors
    /// [`SealError::InvalidKey`].
    pub fn new(master_key_base64: &str) -> Result<Self, SealError> {
        let keys = master_key_base64
            .split(',')
            .map(read_key)
            .collect::<Result<Arc<[_]>, _>>()?;
        Ok(Self { keys })
    }

    /// A new master key, as the setting wants it.
    #[must_use]
    pub fn new_master_key() -> Secret {
        Secret::new(STANDARD.encode(*Zeroizing::new(random_bytes::<KEY_BYTES>())))
    }

    /// The id of the key that seals; a value with another id in front should be sealed anew.
    #[must_use]
    pub fn key_id(&self) -> &str {
        &self.keys[0].id
    }

    /// `owner` (an object's id) is authenticated with it, so a sealed value can't be moved to another object.
    ///
    /// # Panics
    /// When the system has no random numbers, or `plain` is larger than 256 GiB.
    #[must_use]
    pub fn seal(&self, owner: &str, plain: &[u8]) -> String {
        let key = &self.keys[0];
        let nonce = random_bytes::<NONCE_BYTES>();
        let ciphertext = key
            .cipher
            .encrypt(
                &XNonce::from(nonce),
                Payload {
                    msg: plain,
                    aad: owner.as_bytes(),
                },
            )
            .expect("only a text above 256 GiB can't be encrypted");
        let mut bytes = nonce.to_vec();
        bytes.extend_from_slice(&ciphertext);
        format!("{}.{}", key.id, STANDARD.encode(bytes))
    }

    /// # Errors
    /// Unknown key, damaged text, another owner.
    pub fn open(&self, owner: &str, sealed: &str) -> Result<Vec<u8>, SealError> {
        let (id, text) = sealed.split_once('.').ok_or(SealError::Damaged)?;
        if id.len() != KEY_ID_DIGITS || !id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(SealError::Damaged);
        }
        let key = self
            .keys
            .iter()
            .find(|key| key.id == id)
            .ok_or_else(|| SealError::UnknownKey(id.to_owned()))?;
        let bytes = STANDARD.decode(text).map_err(|_| SealError::Damaged)?;
        let (nonce, ciphertext) = bytes
            .split_first_chunk::<NONCE_BYTES>()
            .ok_or(SealError::Damaged)?;
        key.cipher
            .decrypt(
                &XNonce::from(*nonce),
                Payload {
                    msg: ciphertext,
                    aad: owner.as_bytes(),
                },
            )
            .map_err(|_| SealError::Damaged)
    }

    /// As [`Self::open`], for a secret text.
    ///
    /// # Errors
    /// As [`Self::open`]; also [`SealError::Damaged`] when it isn't UTF-8.
    pub fn open_secret(&self, owner: &str, sealed: &str) -> Result<Secret, SealError> {
        let text = String::from_utf8(self.open(owner, sealed)?).map_err(|_| SealError::Damaged)?;
        Ok(Secret::new(text))
    }

    /// # Errors
    /// As [`Self::open`]; also [`SealError::Damaged`] when the text isn't JSON.
    pub fn open_json(&self, owner: &str, sealed: &str) -> Result<Value, SealError> {
        let plain = Zeroizing::new(self.open(owner, sealed)?);
        serde_json::from_slice(&plain).map_err(|_| SealError::Damaged)
    }
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.keys.iter().map(|key| &key.id))
            .finish()
    }
}

fn read_key(text: &str) -> Result<Key, SealError> {
    let bytes = Zeroizing::new(
        STANDARD
            .decode(text.trim())
            .map_err(|_| SealError::InvalidKey)?,
    );
    if bytes.len() != KEY_BYTES {
        return Err(SealError::InvalidKey);
    }
    let cipher = XChaCha20Poly1305::new_from_slice(&bytes).map_err(|_| SealError::InvalidKey)?;
    let mut id = hex::encode(Sha256::digest(&bytes));
    id.truncate(KEY_ID_DIGITS);
    Ok(Key { id, cipher })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealer() -> Sealer {
        Sealer::new(Sealer::new_master_key().expose()).expect("a new key is a key")
    }

    #[test]
    fn a_sealed_value_opens_for_its_owner_only() {
        let sealer = sealer();
        let sealed = sealer.seal("acc_1", b"{\"key\":\"k\"}");
        assert_eq!(
            sealer.open("acc_1", &sealed).expect("opens"),
            b"{\"key\":\"k\"}"
        );
        assert_eq!(
            sealer.open_json("acc_1", &sealed).expect("opens")["key"],
            "k"
        );
        assert_eq!(sealer.open("acc_2", &sealed), Err(SealError::Damaged));
        assert!(!sealed.contains("key\""));
    }

    #[test]
    fn the_same_text_is_sealed_differently_each_time() {
        let sealer = sealer();
        assert_ne!(sealer.seal("a", b"x"), sealer.seal("a", b"x"));
    }

    #[test]
    fn rotated_keys_open_old_values_and_seal_with_the_first() {
        let (old, new) = (Sealer::new_master_key(), Sealer::new_master_key());
        let before = Sealer::new(old.expose()).expect("a key");
        let both = Sealer::new(&format!("{}, {}", new.expose(), old.expose())).expect("two keys");
        let after = Sealer::new(new.expose()).expect("a key");
        let sealed = before.seal("a", b"x");
        assert_eq!(both.open("a", &sealed).as_deref(), Ok(&b"x"[..]));
        assert_eq!(
            after.open("a", &sealed),
            Err(SealError::UnknownKey(before.key_id().to_owned()))
        );
        assert_eq!(
            after.open("a", &both.seal("a", b"y")).as_deref(),
            Ok(&b"y"[..])
        );
    }

    #[test]
    fn every_change_to_a_sealed_value_is_noticed() {
        let sealer = sealer();
        let sealed = sealer.seal("a", b"some text");
        for at in KEY_ID_DIGITS..sealed.len() {
            let mut changed = sealed.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).expect("ascii");
            assert_eq!(
                sealer.open("a", &changed),
                Err(SealError::Damaged),
                "at {at}"
            );
        }
        for text in [
            "",
            ".",
            "nonsense",
            "0123456",
            &sealed[..20],
            &format!("{}.", sealer.key_id()),
        ] {
            assert_eq!(sealer.open("a", text), Err(SealError::Damaged), "{text}");
        }
    }

    #[test]
    fn a_master_key_of_another_length_is_refused() {
        for text in [
            "",
            "x",
            "AAAA",
            &STANDARD.encode([0; 31]),
            &STANDARD.encode([0; 33]),
        ] {
            assert_eq!(
                Sealer::new(text).err(),
                Some(SealError::InvalidKey),
                "{text}"
            );
        }
        let key = STANDARD.encode([7; 32]);
        assert!(Sealer::new(&format!("{key},")).is_err());
    }

    #[test]
    fn a_sealer_prints_key_ids_only() {
        let key = STANDARD.encode([7; 32]);
        let sealer = Sealer::new(&key).expect("a key");
        assert_eq!(format!("{sealer:?}"), format!("[\"{}\"]", sealer.key_id()));
    }
}
