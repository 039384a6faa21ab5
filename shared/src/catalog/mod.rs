//! The integrations an environment can use: its own ones, which are in the store,
//! before those that come with the program and the integrations folder.
//!
//! Compiled documents are kept by the hash of their content, so that accepting a
//! run compiles nothing.

mod files;

pub use files::{FileError, documents};

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, PoisonError},
};

use crate::{
    clock::Timestamp,
    fault::Faults,
    ids::{EnvironmentId, IntegrationId},
    integration::Integration,
    model::integration::{IntegrationRow, IntegrationSource},
    store::{Store, StoreError, StoreResult, document_hash},
};
use serde_json::Value;
use sha2::{Digest, Sha256};

/// Compiled documents kept at once; when there are more, all are dropped and come back as they are used.
const MAX_COMPILED: usize = 500;

/// A document and what it compiles to.
#[derive(Debug)]
pub struct Compiled {
    pub document: Value,
    pub integration: Integration,
}

/// An integration as an environment sees it.
#[derive(Debug, Clone)]
pub struct Entry {
    pub id: IntegrationId,
    pub name: String,
    pub label: String,
    pub version: u32,
    pub source: IntegrationSource,
    /// Content hash of the document.
    pub hash: String,
    pub created_at: Option<Timestamp>,
    pub updated_at: Option<Timestamp>,
}

impl From<&IntegrationRow> for Entry {
    fn from(row: &IntegrationRow) -> Self {
        Self {
            id: row.id,
            name: row.name.clone(),
            label: row.label.clone(),
            version: row.version,
            source: IntegrationSource::Custom,
            hash: row.hash.clone(),
            created_at: Some(row.created_at),
            updated_at: Some(row.updated_at),
        }
    }
}

/// A bundled document could not be used.
#[derive(Debug, thiserror::Error)]
#[error("the integration `{name}` can't be used: {faults}")]
pub struct CatalogError {
    name: String,
    faults: Faults,
}

/// The integrations of all environments.
#[derive(Debug, Default)]
pub struct Catalog {
    bundled: BTreeMap<String, Entry>,
    bundled_documents: HashMap<String, Arc<Compiled>>,
    compiled: Mutex<HashMap<String, Arc<Compiled>>>,
}

/// The id of an integration that isn't in the store: made from its name, so that
/// it is the same in every process and after every start.
fn bundled_id(name: &str) -> IntegrationId {
    let digest = Sha256::digest(format!("bundled integration {name}").as_bytes());
    let bits = digest
        .iter()
        .take(16)
        .fold(0u128, |bits, byte| (bits << 8) | u128::from(*byte));
    IntegrationId::from_bits(bits)
}

impl Catalog {
    /// A catalog of these documents; a later one replaces an earlier one of the same name.
    ///
    /// # Errors
    /// The first document that doesn't compile.
    pub fn new(documents: impl IntoIterator<Item = Value>) -> Result<Self, CatalogError> {
        let mut catalog = Self::default();
        for document in documents {
            let name = document
                .get("name")
                .and_then(Value::as_str)
                .unwrap_or("(without a name)")
                .to_owned();
            let integration = Integration::compile(&document).map_err(|faults| CatalogError {
                name: name.clone(),
                faults,
            })?;
            let hash = document_hash(&document);
            let entry = Entry {
                id: bundled_id(&name),
                name: name.clone(),
                label: integration.label.clone(),
                version: 1,
                source: IntegrationSource::Bundled,
                hash: hash.clone(),
                created_at: None,
                updated_at: None,
            };
            catalog.bundled.insert(name, entry);
            catalog.bundled_documents.insert(
                hash,
                Arc::new(Compiled {
                    document,
                    integration,
                }),
            );
        }
        Ok(catalog)
    }

    /// Those that aren't in the store.
    pub fn bundled(&self) -> impl Iterator<Item = &Entry> {
        self.bundled.values()
    }

    /// The integration with this name.
    pub async fn by_name(
        &self,
        store: &Store,
        environment: EnvironmentId,
        name: &str,
    ) -> StoreResult<Option<Entry>> {
        let row = store
            .objects()
            .get_by_name::<IntegrationRow>(environment, name)
            .await?;
        Ok(row
            .as_ref()
            .map(Entry::from)
            .or_else(|| self.bundled.get(name).cloned()))
    }

    /// The integration with this name or id.
    pub async fn by_name_or_id(
        &self,
        store: &Store,
        environment: EnvironmentId,
        name_or_id: &str,
    ) -> StoreResult<Option<Entry>> {
        if let Ok(id) = name_or_id.parse::<IntegrationId>() {
            let row = store
                .objects()
                .get::<IntegrationRow>(environment, id)
                .await?;
            let bundled = || self.bundled.values().find(|entry| entry.id == id).cloned();
            return Ok(row.as_ref().map(Entry::from).or_else(bundled));
        }
        self.by_name(store, environment, name_or_id).await
    }

    /// The compiled document with this hash.
    pub async fn compiled(&self, store: &Store, hash: &str) -> StoreResult<Arc<Compiled>> {
        if let Some(compiled) = self.bundled_documents.get(hash) {
            return Ok(Arc::clone(compiled));
        }
        if let Some(compiled) = self.kept().get(hash) {
            return Ok(Arc::clone(compiled));
        }
        let document = store.document(hash).await?.ok_or_else(|| {
            StoreError::Unexpected(format!("the integration document {hash} is missing"))
        })?;
        let integration = Integration::compile(&document).map_err(|faults| {
            StoreError::Unexpected(format!(
                "the integration document {hash} no longer compiles: {faults}"
            ))
        })?;
        let compiled = Arc::new(Compiled {
            document,
            integration,
        });
        let mut kept = self.kept();
        if kept.len() >= MAX_COMPILED {
            kept.clear();
        }
        kept.insert(hash.to_owned(), Arc::clone(&compiled));
        Ok(compiled)
    }

    /// Makes sure that workers find the document of an integration that isn't in the store.
    pub async fn publish(&self, store: &Store, hash: &str) -> StoreResult<()> {
        if let Some(compiled) = self.bundled_documents.get(hash)
            && !store.has_bundled_document(hash).await?
        {
            store.put_document(&compiled.document, None).await?;
        }
        Ok(())
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, HashMap<String, Arc<Compiled>>> {
        // Nothing panics while it holds the lock; the map is whole in any case.
        self.compiled.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
