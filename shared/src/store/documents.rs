//! Integration documents, stored under the hash of their content: immutable, so a
//! run keeps the version it started with however often the integration changes.

use redis::AsyncCommands;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::{Store, StoreError, StoreResult, scripts};
use crate::ids::EnvironmentId;

/// Hex characters of a hash (128 bits).
const HASH_CHARS: usize = 32;
/// The user of documents that come with the programs.
const BUNDLED: &str = "bundled";

/// The content hash of a document.
#[must_use]
pub fn document_hash(document: &Value) -> String {
    let mut hash = hex::encode(Sha256::digest(document.to_string().as_bytes()));
    hash.truncate(HASH_CHARS);
    hash
}

impl Store {
    /// Stores a document, unless it is there already, for an environment that uses it (`None`: it is bundled); gives its hash.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn put_document(
        &self,
        document: &Value,
        environment: Option<EnvironmentId>,
    ) -> StoreResult<String> {
        let hash = document_hash(document);
        let user = environment.map_or_else(|| BUNDLED.to_owned(), |user| user.to_string());
        let mut call = self.call(&scripts::DOCUMENT_PUT);
        call.arg(&hash).arg(document.to_string()).arg(user);
        let _word: String = self.invoke(&call).await?;
        Ok(hash)
    }

    /// Whether a bundled document is stored as such.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn has_bundled_document(&self, hash: &str) -> StoreResult<bool> {
        let users = self.keys().join(&["document_users", hash]);
        Ok(self.connection().sismember(users, BUNDLED).await?)
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
