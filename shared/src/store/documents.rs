//! Integration documents, stored under the hash of their content: immutable, so a
//! run keeps the version it started with however often the integration changes.

use redis::AsyncCommands;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::{Store, StoreError, StoreResult};
use crate::failure::FailurePoint;

/// Hex characters of a hash (128 bits).
const HASH_CHARS: usize = 32;

/// The content hash of a document.
#[must_use]
pub fn document_hash(document: &Value) -> String {
    let mut hash = hex::encode(Sha256::digest(document.to_string().as_bytes()));
    hash.truncate(HASH_CHARS);
    hash
}

impl Store {
    /// Stores a document, unless it is there already; gives its hash.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn put_document(&self, document: &Value) -> StoreResult<String> {
        let hash = document_hash(document);
        FailurePoint::DocumentPut.reach()?;
        let _new: bool = self
            .connection()
            .set_nx(self.keys().document(&hash), document.to_string())
            .await?;
        Ok(hash)
    }

    /// Whether a document is stored.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn has_document(&self, hash: &str) -> StoreResult<bool> {
        Ok(self.connection().exists(self.keys().document(hash)).await?)
    }

    /// The document with this hash.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn document(&self, hash: &str) -> StoreResult<Option<Value>> {
        let json: Option<String> = self.connection().get(self.keys().document(hash)).await?;
        json.map(|json| {
            serde_json::from_str(&json).map_err(|error| {
                StoreError::Unexpected(format!("document {hash} can't be read: {error}"))
            })
        })
        .transpose()
    }
}
