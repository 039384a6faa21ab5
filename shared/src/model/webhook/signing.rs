//! What a webhook signs with, as a client asks for it.

use crate::{
    fault::{Faults, Fields},
    seal::{
        Secret,
        signature::{SignatureAlgorithm, SigningKey},
    },
};

/// The fields `secret` and `signature_algorithm` of a creation or a rotation.
#[derive(Debug, Default)]
pub struct SigningInput {
    secret: Option<Secret>,
    algorithm: Option<SignatureAlgorithm>,
}

impl SigningInput {
    /// No fault repeats the secret.
    pub fn read(fields: &mut Fields<'_>, faults: &mut Faults) -> Self {
        let algorithm = fields.choice(
            "signature_algorithm",
            &[
                ("hmac-sha256", SignatureAlgorithm::HmacSha256),
                ("ed25519", SignatureAlgorithm::Ed25519),
            ],
            faults,
        );
        let secret = fields
            .string("secret", faults)
            .map(|text| Secret::new(text.to_owned()));
        if let Some(secret) = &secret {
            match SigningKey::new(secret) {
                Ok(key) if algorithm.is_some_and(|algorithm| algorithm != key.algorithm()) => {
                    faults.push(
                        fields.pointer("secret"),
                        "is not for this `signature_algorithm`: `whsec_…` is for hmac-sha256, `whsk_…` for ed25519",
                    );
                }
                Ok(_) => {}
                Err(error) => faults.push(fields.pointer("secret"), error.to_string()),
            }
        }
        Self { secret, algorithm }
    }

    /// The secret that was given; else a new one, of the algorithm that was asked for or else of `current`.
    #[must_use]
    pub fn secret(&self, current: SignatureAlgorithm) -> Secret {
        match &self.secret {
            Some(secret) => secret.clone(),
            None => self.algorithm.unwrap_or(current).new_secret(),
        }
    }
}
