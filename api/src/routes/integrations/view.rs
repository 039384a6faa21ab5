//! An integration as the API shows it.

use serde::Serialize;
use serde_json::Value;
use shared::{clock::Timestamp, ids::IntegrationId, model::integration::IntegrationSource};

use shared::catalog::Entry;

/// How a source API is described.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = Integration)]
pub struct IntegrationView {
    #[schema(value_type = String, example = "int_01J8Z5T2V6N3Q4R7S8W9X0Y1Z2")]
    pub id: IntegrationId,
    /// Unique in the environment.
    pub name: String,
    pub label: String,
    /// Raised with each document that differs from the one before.
    pub version: u32,
    pub source: IntegrationSource,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The document's `config`; left out in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub config: Option<Value>,
    /// `null` for a bundled one.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub created_at: Option<Timestamp>,
    #[schema(value_type = Option<String>, format = DateTime)]
    pub updated_at: Option<Timestamp>,
}

impl IntegrationView {
    /// With what the document says.
    pub fn with_document(entry: &Entry, document: &Value) -> Self {
        Self {
            description: document
                .get("description")
                .and_then(Value::as_str)
                .map(str::to_owned),
            config: document.get("config").cloned(),
            ..Self::from(entry)
        }
    }
}

impl From<&Entry> for IntegrationView {
    fn from(entry: &Entry) -> Self {
        Self {
            id: entry.id,
            name: entry.name.clone(),
            label: entry.label.clone(),
            version: entry.version,
            source: entry.source,
            description: None,
            config: None,
            created_at: entry.created_at,
            updated_at: entry.updated_at,
        }
    }
}
