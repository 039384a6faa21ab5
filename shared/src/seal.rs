//! Encryption at rest, hashing of tokens, and the type of secrets that never prints them.
use serde_json::Value;

/// A secret text; `Debug` and `Display` print `[redacted]`; wiped when dropped.
#[derive(Clone)]
pub struct Secret {}
impl Secret {
    #[must_use]
    pub fn new(text: String) -> Self {
        let _ = text;
        unimplemented!()
    }
    #[must_use]
    pub fn expose(&self) -> &str {
        unimplemented!()
    }
}

#[derive(Debug, thiserror::Error)]
pub enum SealError {
    #[error("the master key must be 32 bytes, base64")]
    InvalidKey,
    #[error("sealed with another key ({0}) than the ones configured")]
    UnknownKey(String),
    #[error("the sealed value was damaged or belongs to another object")]
    Damaged,
}

/// XChaCha20-Poly1305 under `SYNCLINE_MASTER_KEY`; text form `<key id>.<base64>`.
#[derive(Clone)]
pub struct Sealer {}
impl Sealer {
    /// # Errors
    /// [`SealError::InvalidKey`].
    pub fn new(master_key_base64: &str) -> Result<Self, SealError> {
        let _ = master_key_base64;
        unimplemented!()
    }
    /// `owner` (an object's id) is authenticated with it, so a sealed value can't be moved to another object.
    #[must_use]
    pub fn seal(&self, owner: &str, plain: &[u8]) -> String {
        let _ = (owner, plain);
        unimplemented!()
    }
    /// # Errors
    /// Unknown key, damaged text.
    pub fn open(&self, owner: &str, sealed: &str) -> Result<Vec<u8>, SealError> {
        let _ = (owner, sealed);
        unimplemented!()
    }
    /// # Errors
    /// As [`Self::open`].
    pub fn open_json(&self, owner: &str, sealed: &str) -> Result<Value, SealError> {
        let _ = (owner, sealed);
        unimplemented!()
    }
}
