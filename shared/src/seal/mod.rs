//! Secrets: a type that never prints them, encryption at rest, hashed tokens and
//! the signatures of deliveries.
//!
//! Nothing here is written to a log, an answer or an event: [`Secret`] prints
//! `[redacted]` and has no `Serialize`. What is stored is either sealed
//! ([`Sealer`]) or hashed ([`token::hash_token`]).

pub mod sealer;
pub mod signature;
pub mod token;

use std::fmt;

use rand::{TryRng, rngs::SysRng};
use zeroize::Zeroizing;

pub use sealer::{SealError, Sealer};

/// What a secret prints as.
pub const REDACTED: &str = "[redacted]";

/// A secret text; `Debug` and `Display` print `[redacted]`; wiped when dropped.
#[derive(Clone)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// The text itself; each use of this is a place where it could leak.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self::new(text)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(REDACTED)
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(REDACTED)
    }
}

/// Bytes from the operating system's generator.
///
/// # Panics
/// When the system has no random numbers: nothing secret can be made then.
fn random_bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    SysRng
        .try_fill_bytes(&mut bytes)
        .expect("the operating system gave no random bytes");
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_prints_redacted_however_it_is_formatted() {
        let secret = Secret::new("hunter2".to_owned());
        assert_eq!(
            format!("{secret} {secret:?} {secret:#?}"),
            "[redacted] [redacted] [redacted]"
        );
        assert_eq!(format!("{:?}", Some(&secret)), "Some([redacted])");
        assert_eq!(secret.expose(), "hunter2");
    }
}
