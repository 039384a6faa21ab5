//! How a delivery proves to its receiver who sends it.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::concealed::{Concealed, NOTHING_KEPT};
use crate::{
    fault::{Faults, Fields},
    seal::{SealError, Sealer, Secret},
};

/// Bytes of a user name, a password or a token at most: as a header they stay below what servers take.
pub const MAX_CREDENTIAL_BYTES: usize = 2048;

/// Sent as `authorization` with every delivery. `S` is its secret part: a
/// [`Concealed`] in bodies and answers, a sealed text in the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Authentication<S> {
    /// RFC 7617.
    Basic {
        /// Without a colon.
        #[schema(max_length = 2048)]
        username: String,
        /// Answers show `[redacted]`.
        #[schema(value_type = String, max_length = 2048)]
        password: S,
    },
    /// RFC 6750.
    Bearer {
        /// Answers show `[redacted]`.
        #[schema(value_type = String, max_length = 2048)]
        token: S,
    },
}

impl<S> Authentication<S> {
    /// The same with its secret part changed.
    pub(super) fn map<T>(self, change: impl FnOnce(S) -> T) -> Authentication<T> {
        match self {
            Self::Basic { username, password } => Authentication::Basic {
                username,
                password: change(password),
            },
            Self::Bearer { token } => Authentication::Bearer {
                token: change(token),
            },
        }
    }
}

impl Authentication<String> {
    /// The value of `authorization`, its secret part opened.
    ///
    /// # Errors
    /// As [`Sealer::open_secret`].
    pub fn header(&self, sealer: &Sealer, owner: &str) -> Result<Secret, SealError> {
        let secret = self.secret(sealer, owner)?;
        let text = match self {
            Self::Basic { username, .. } => {
                let pair = Zeroizing::new(format!("{username}:{}", secret.expose()));
                format!("Basic {}", STANDARD.encode(pair.as_bytes()))
            }
            Self::Bearer { .. } => format!("Bearer {}", secret.expose()),
        };
        Ok(Secret::new(text))
    }

    /// The secret part, opened.
    ///
    /// # Errors
    /// As [`Sealer::open_secret`].
    pub fn secret(&self, sealer: &Sealer, owner: &str) -> Result<Secret, SealError> {
        match self {
            Self::Basic { password, .. } => sealer.open_secret(owner, password),
            Self::Bearer { token } => sealer.open_secret(owner, token),
        }
    }
}

#[derive(Clone, Copy)]
enum Kind {
    Basic,
    Bearer,
}

/// `stored`: what `[redacted]` stands for.
pub(super) fn read(
    fields: &mut Fields<'_>,
    stored: Option<&Authentication<String>>,
    faults: &mut Faults,
) -> Option<Authentication<Concealed>> {
    let pointer = fields.pointer("authentication");
    let mut fields = Fields::new(fields.value("authentication")?, pointer, faults)?;
    fields.required("type", faults)?;
    let kinds = [("basic", Kind::Basic), ("bearer", Kind::Bearer)];
    let read = match fields.choice("type", &kinds, faults)? {
        Kind::Basic => {
            let stored = match stored {
                Some(Authentication::Basic { password, .. }) => Some(password.as_str()),
                _ => None,
            };
            let username = username(&mut fields, faults);
            let password = secret(&mut fields, "password", stored, faults, |text| {
                (!text.chars().any(char::is_control))
                    .then_some(())
                    .ok_or("must not contain control characters")
            });
            username
                .zip(password)
                .map(|(username, password)| Authentication::Basic { username, password })
        }
        Kind::Bearer => {
            let stored = match stored {
                Some(Authentication::Bearer { token }) => Some(token.as_str()),
                _ => None,
            };
            secret(&mut fields, "token", stored, faults, |text| {
                (!text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic()))
                    .then_some(())
                    .ok_or("must be printable ASCII without spaces, and not be empty")
            })
            .map(|token| Authentication::Bearer { token })
        }
    };
    fields.finish(faults);
    read
}

fn username(fields: &mut Fields<'_>, faults: &mut Faults) -> Option<String> {
    let text = fields.required_string("username", faults)?;
    let pointer = fields.pointer("username");
    if text.contains(':') || text.chars().any(char::is_control) {
        faults.push(pointer, "must not contain a colon or control characters");
        return None;
    }
    if text.len() > MAX_CREDENTIAL_BYTES {
        faults.push(
            pointer,
            format!("must have at most {MAX_CREDENTIAL_BYTES} bytes"),
        );
        return None;
    }
    Some(text.to_owned())
}

/// A secret that must be there; no fault repeats it.
fn secret(
    fields: &mut Fields<'_>,
    name: &'static str,
    stored: Option<&str>,
    faults: &mut Faults,
    check: impl FnOnce(&str) -> Result<(), &'static str>,
) -> Option<Concealed> {
    fields.required(name, faults)?;
    let text = fields.string(name, faults)?;
    let pointer = fields.pointer(name);
    let Some(secret) = Concealed::read(text, stored) else {
        faults.push(pointer, NOTHING_KEPT);
        return None;
    };
    if text.len() > MAX_CREDENTIAL_BYTES {
        faults.push(
            pointer,
            format!("must have at most {MAX_CREDENTIAL_BYTES} bytes"),
        );
        return None;
    }
    if let Err(message) = check(text) {
        faults.push(pointer, message);
        return None;
    }
    Some(secret)
}
