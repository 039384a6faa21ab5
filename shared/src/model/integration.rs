//! An integration of an environment's own, as it is stored: the row points to its
//! current document, which is stored under the hash of its content and never changes.

use serde::{Deserialize, Serialize};

use crate::{
    clock::Timestamp,
    ids::{EnvironmentId, IntegrationId},
};

/// Where an integration comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum IntegrationSource {
    /// Comes with the program, or from the integrations folder; can be shadowed, not changed.
    Bundled,
    /// Stored by a client.
    Custom,
}

/// A custom integration.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct IntegrationRow {
    pub id: IntegrationId,
    pub environment_id: EnvironmentId,
    /// Unique in the environment.
    pub name: String,
    pub label: String,
    /// Raised with each document that differs from the one before; starts at 1.
    pub version: u32,
    /// Content hash of the current document.
    pub hash: String,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    #[serde(default)]
    pub deleted_at: Option<Timestamp>,
}
