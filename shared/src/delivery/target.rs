//! A webhook, its secrets opened.

use crate::{
    clock::Timestamp,
    model::webhook::{Delivery, SignatureEncoding, Webhook},
    seal::{SealError, Sealer, signature::SigningKey},
};

/// A webhook, ready to be sent to.
#[derive(Debug)]
pub struct Target {
    pub url: url::Url,
    pub active: bool,
    /// Its own ones.
    pub headers: http::HeaderMap,
    pub delivery: Delivery,
    pub legacy_encoding: SignatureEncoding,
    /// The current secret first; a rotated one signs too while they overlap.
    pub keys: Vec<SigningKey>,
}

/// Why a webhook can't be sent to.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    #[error("what was sealed can't be opened: {0}")]
    Sealed(#[from] SealError),
    #[error("the webhook's {0} can't be used")]
    Invalid(&'static str),
}

impl Target {
    /// Opens what is sealed of `webhook`; `now` decides which secrets sign.
    ///
    /// # Errors
    /// [`TargetError`].
    pub fn open(webhook: &Webhook, sealer: &Sealer, now: Timestamp) -> Result<Self, TargetError> {
        let owner = webhook.id.to_string();
        let keys = webhook
            .signing_secrets(now)
            .into_iter()
            .map(|sealed| {
                let secret = sealer.open_secret(&owner, sealed)?;
                Ok(SigningKey::new(&secret)?)
            })
            .collect::<Result<Vec<_>, TargetError>>()?;
        let mut headers = http::HeaderMap::new();
        for (name, value) in &webhook.headers {
            let name: http::HeaderName =
                name.parse().map_err(|_| TargetError::Invalid("header"))?;
            let value = value.parse().map_err(|_| TargetError::Invalid("header"))?;
            headers.insert(name, value);
        }
        Ok(Self {
            url: webhook
                .target_url
                .parse()
                .map_err(|_| TargetError::Invalid("URL"))?,
            active: webhook.is_active,
            headers,
            delivery: webhook.delivery.clone(),
            legacy_encoding: webhook.legacy_signature_encoding,
            keys,
        })
    }
}
