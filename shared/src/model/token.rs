//! Environments and API tokens. A token's secret is shown once, when it is made;
//! only its hash is stored.

use std::{fmt, ops::RangeInclusive, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{
    clock::Timestamp,
    ids::{EnvironmentId, TokenId},
};

/// A tenant of the installation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Environment {
    pub id: EnvironmentId,
    /// Unique in the installation.
    pub name: String,
    pub created_at: Timestamp,
}

/// How an environment shares the workers with the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EnvironmentLimits {
    /// Its turns for each turn of an environment of weight 1, while both have work; [`WEIGHTS`].
    pub weight: u32,
    /// Its fetches in flight, over all accounts and workers; `None`: as many as its accounts allow.
    pub max_fetches: Option<u32>,
}

/// Weights that an environment can have.
pub const WEIGHTS: RangeInclusive<u32> = 1..=100;
/// What [`EnvironmentLimits::max_fetches`] can be.
pub const MAX_FETCHES: RangeInclusive<u32> = 1..=10_000;

impl Default for EnvironmentLimits {
    fn default() -> Self {
        Self {
            weight: *WEIGHTS.start(),
            max_fetches: None,
        }
    }
}

/// What a token may do. Each scope includes the ones before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Look at everything.
    Read,
    /// Make, change, start, stop and delete as well.
    Write,
    /// Everything there is; administrative routes ask for it.
    Admin,
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Admin => "admin",
        })
    }
}

impl FromStr for Scope {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "read" => Ok(Self::Read),
            "write" => Ok(Self::Write),
            "admin" => Ok(Self::Admin),
            _ => Err("must be `read`, `write` or `admin`".to_owned()),
        }
    }
}

/// A token as it is stored.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Token {
    pub id: TokenId,
    pub environment_id: EnvironmentId,
    pub scope: Scope,
    pub label: Option<String>,
    /// SHA-256 of the secret, hex.
    pub hash: String,
    pub created_at: Timestamp,
    #[serde(default)]
    pub revoked_at: Option<Timestamp>,
}
