//! A webhook, its secrets opened.

use http::{HeaderMap, HeaderName, HeaderValue, header};
use serde_json::Value;

use crate::{
    clock::Timestamp,
    integration::errors::Secrets,
    model::webhook::{Delivery, SignatureEncoding, Webhook},
    seal::{SealError, Sealer, Secret, signature::SigningKey},
};

/// A webhook, ready to be sent to.
#[derive(Debug)]
pub struct Target {
    pub url: url::Url,
    pub active: bool,
    /// Its own ones, secret ones and `authorization` among them; those print as sensitive.
    pub headers: HeaderMap,
    /// The secret ones among them and the signing secrets, to be struck out of what a receiver answers.
    pub secrets: Secrets,
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
        let (mut keys, mut secrets) = (Vec::new(), Vec::new());
        for sealed in webhook.signing_secrets(now) {
            let secret = sealer.open_secret(&owner, sealed)?;
            let text = secret.expose();
            secrets.push(Value::from(text));
            if let Some((_, key)) = text.split_once('_') {
                secrets.push(Value::from(key));
            }
            keys.push(SigningKey::new(&secret)?);
        }
        let mut headers = HeaderMap::new();
        for (name, value) in &webhook.headers {
            headers.insert(header_name(name)?, header_value(value)?);
        }
        for (name, sealed) in &webhook.secret_headers {
            let value = sealer.open_secret(&owner, sealed)?;
            headers.insert(header_name(name)?, sensitive(&value)?);
            secrets.push(Value::from(value.expose()));
        }
        let mut authorization = None;
        if let Some(authentication) = &webhook.authentication {
            let value = authentication.header(sealer, &owner)?;
            headers.insert(header::AUTHORIZATION, sensitive(&value)?);
            secrets.push(Value::from(authentication.secret(sealer, &owner)?.expose()));
            authorization = Some(value);
        }
        Ok(Self {
            url: webhook
                .target_url
                .parse()
                .map_err(|_| TargetError::Invalid("URL"))?,
            active: webhook.is_active,
            headers,
            secrets: Secrets::of(
                &Value::from(secrets),
                authorization.as_ref().map(Secret::expose),
            ),
            delivery: webhook.delivery.clone(),
            legacy_encoding: webhook.legacy_signature_encoding,
            keys,
        })
    }
}

fn header_name(text: &str) -> Result<HeaderName, TargetError> {
    text.parse().map_err(|_| TargetError::Invalid("header"))
}

fn header_value(text: &str) -> Result<HeaderValue, TargetError> {
    text.parse().map_err(|_| TargetError::Invalid("header"))
}

/// A value that is never printed, and never kept in a table of compressed headers (HTTP/2).
fn sensitive(secret: &Secret) -> Result<HeaderValue, TargetError> {
    let mut value = header_value(secret.expose())?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{
        ids::{EnvironmentId, WebhookId},
        model::webhook::WebhookInput,
        seal::signature::SignatureAlgorithm,
    };

    fn opened(mut body: Value) -> Target {
        body["target_url"] = json!("https://example.com/");
        let sealer = Sealer::new(Sealer::new_master_key().expose()).expect("a key");
        let environment = EnvironmentId::from_bits(1);
        let (input, signing) =
            WebhookInput::read_new(&body, environment, &|_| Ok(())).expect("a webhook");
        let secret = signing.secret(SignatureAlgorithm::default());
        let id = WebhookId::from_bits(1);
        let webhook = Webhook::new(id, environment, input, &secret, &sealer, Timestamp(0));
        Target::open(&webhook.expect("a webhook"), &sealer, Timestamp(0)).expect("a target")
    }

    #[test]
    fn secret_headers_and_authentication_are_sent_and_never_printed() {
        // RFC 7617 section 2.
        let target = opened(json!({
            "headers": {"x-plain": "seen"}, "secret_headers": {"X-Api-Key": "k3y-of-the-receiver"},
            "authentication": {"type": "basic", "username": "Aladdin", "password": "open sesame"},
        }));
        assert_eq!(target.headers["x-api-key"], "k3y-of-the-receiver");
        assert_eq!(
            target.headers["authorization"],
            "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="
        );
        let printed = format!("{target:?}");
        assert!(printed.contains("seen"), "{printed}");
        for secret in [
            "k3y-of-the-receiver",
            "QWxhZGRpbjpvcGVuIHNlc2FtZQ",
            "sesame",
        ] {
            assert!(!printed.contains(secret), "{printed}");
        }
    }

    #[test]
    fn a_bearer_token_is_sent_as_it_was_given() {
        let target =
            opened(json!({"authentication": {"type": "bearer", "token": "mF_9.B5f-4.1JqM"}}));
        assert_eq!(target.headers["authorization"], "Bearer mF_9.B5f-4.1JqM");
    }
}
