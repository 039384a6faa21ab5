//! Secrets of a body: they go in, are sealed, and never come out again.

use serde::{Serialize, Serializer};

use crate::seal::{REDACTED, Sealer, Secret};

/// A secret as a client gives it. `[redacted]`, which is what answers show in its
/// place, stands for the stored one, so that a body that was read can be sent back.
#[derive(Debug, Clone)]
pub enum Concealed {
    New(Secret),
    /// What is stored already, sealed.
    Kept(String),
}

impl Concealed {
    /// `stored`: the sealed value that `[redacted]` stands for; without one, `None`.
    pub(super) fn read(text: &str, stored: Option<&str>) -> Option<Self> {
        if text == REDACTED {
            return stored.map(|sealed| Self::Kept(sealed.to_owned()));
        }
        Some(Self::New(Secret::new(text.to_owned())))
    }

    /// What to store of it; `owner`: the webhook's id.
    pub(super) fn sealed(self, sealer: &Sealer, owner: &str) -> String {
        match self {
            Self::New(secret) => sealer.seal(owner, secret.expose().as_bytes()),
            Self::Kept(sealed) => sealed,
        }
    }
}

/// Always `[redacted]`.
impl Serialize for Concealed {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(REDACTED)
    }
}

/// The fault of `[redacted]` where nothing is stored.
pub(super) const NOTHING_KEPT: &str =
    "stands for a secret that is stored already, and none is; give the secret itself";
