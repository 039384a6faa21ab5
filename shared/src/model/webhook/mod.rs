//! A webhook: where events go, which ones, and how they are delivered.

mod authentication;
mod concealed;
mod headers;
mod signing;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use url::Url;

pub use self::{
    authentication::{Authentication, MAX_CREDENTIAL_BYTES},
    concealed::Concealed,
    headers::{MAX_HEADER_VALUE_BYTES, MAX_HEADERS},
    signing::SigningInput,
};
use super::{
    event::EVENT_TYPES,
    input::{accept_common, label, refuse_read_only},
};
use crate::{
    clock::Timestamp,
    fault::{Faults, Fields, child, suggestion},
    ids::{EnvironmentId, WebhookId},
    seal::{
        SealError, Sealer, Secret,
        signature::{SignatureAlgorithm, SigningKey},
    },
};

/// Bytes of a target URL at most.
pub const MAX_URL_BYTES: usize = 2048;

/// Why a webhook is off that a client switched off.
pub const SWITCHED_OFF_BY_REQUEST: &str = "switched off by request";

/// A webhook as it is stored.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Webhook {
    pub id: WebhookId,
    pub environment_id: EnvironmentId,
    pub target_url: String,
    /// Event types it gets; empty: all.
    pub event_types: Vec<String>,
    pub is_active: bool,
    pub label: Option<String>,
    /// Sent with every delivery.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// Sent with every delivery too; each value sealed for the webhook's id.
    #[serde(default)]
    pub secret_headers: BTreeMap<String, String>,
    /// Its secret part sealed for the webhook's id.
    #[serde(default)]
    pub authentication: Option<Authentication<String>>,
    #[serde(default)]
    pub delivery: Delivery,
    /// How the two drop-in signature headers write their digest.
    #[serde(default)]
    pub legacy_signature_encoding: SignatureEncoding,
    /// The signing secret (`whsec_…` or `whsk_…`), sealed for the webhook's id.
    pub sealed_secret: String,
    /// The public half of a `whsk_…`, as shown: `whpk_…`.
    #[serde(default)]
    pub public_key: Option<String>,
    /// The secret before the last rotation, while both sign.
    #[serde(default)]
    pub previous_secret: Option<PreviousSecret>,
    /// Id of the request that rotated last: sent again, it rotates nothing.
    #[serde(default)]
    pub rotation: Option<u128>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    #[serde(default)]
    pub disabled_at: Option<Timestamp>,
    #[serde(default)]
    pub disabled_reason: Option<String>,
    #[serde(default)]
    pub deleted_at: Option<Timestamp>,
}

/// A rotated secret that still signs for a while.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PreviousSecret {
    /// Sealed for the webhook's id.
    pub sealed: String,
    /// It signs up to here.
    pub until: Timestamp,
}

impl Webhook {
    /// A new one, as a client wants it, that signs with `secret`.
    ///
    /// # Errors
    /// `secret` is none.
    pub fn new(
        id: WebhookId,
        environment_id: EnvironmentId,
        input: WebhookInput,
        secret: &Secret,
        sealer: &Sealer,
        now: Timestamp,
    ) -> Result<Self, SealError> {
        let mut webhook = Self {
            id,
            environment_id,
            target_url: String::new(),
            event_types: Vec::new(),
            is_active: true,
            label: None,
            headers: BTreeMap::new(),
            secret_headers: BTreeMap::new(),
            authentication: None,
            delivery: Delivery::default(),
            legacy_signature_encoding: SignatureEncoding::default(),
            sealed_secret: String::new(),
            public_key: None,
            previous_secret: None,
            rotation: None,
            created_at: now,
            updated_at: now,
            disabled_at: None,
            disabled_reason: None,
            deleted_at: None,
        };
        webhook.sign_with(secret, sealer)?;
        webhook.apply(input, sealer, now);
        Ok(webhook)
    }

    fn sign_with(&mut self, secret: &Secret, sealer: &Sealer) -> Result<(), SealError> {
        self.public_key = SigningKey::new(secret)?.public_key();
        self.sealed_secret = sealer.seal(&self.id.to_string(), secret.expose().as_bytes());
        Ok(())
    }

    /// Signs with `secret` from now on, and with the one before up to `until` too.
    ///
    /// # Errors
    /// `secret` is none.
    pub fn rotate(
        &mut self,
        secret: &Secret,
        until: Timestamp,
        sealer: &Sealer,
        now: Timestamp,
    ) -> Result<(), SealError> {
        let sealed = self.sealed_secret.clone();
        self.sign_with(secret, sealer)?;
        self.previous_secret = (until > now).then_some(PreviousSecret { sealed, until });
        self.updated_at = now;
        Ok(())
    }

    /// What the current secret signs with.
    #[must_use]
    pub fn signature_algorithm(&self) -> SignatureAlgorithm {
        match self.public_key {
            Some(_) => SignatureAlgorithm::Ed25519,
            None => SignatureAlgorithm::HmacSha256,
        }
    }

    /// Wipes what is secret, which only a delivery needs, when there will be none any more.
    pub fn forget_credentials(&mut self) {
        self.sealed_secret.clear();
        self.secret_headers.clear();
        self.authentication = None;
        self.previous_secret = None;
    }

    /// The sealed secrets that sign at `now`, the current one first.
    #[must_use]
    pub fn signing_secrets(&self, now: Timestamp) -> Vec<&str> {
        let previous = self
            .previous_secret
            .as_ref()
            .filter(|previous| previous.until > now);
        std::iter::once(self.sealed_secret.as_str())
            .chain(previous.map(|previous| previous.sealed.as_str()))
            .collect()
    }

    /// What a client may set, as it is now.
    #[must_use]
    pub fn input(&self) -> WebhookInput {
        WebhookInput {
            target_url: self.target_url.clone(),
            event_types: self.event_types.clone(),
            is_active: self.is_active,
            label: self.label.clone(),
            headers: self.headers.clone(),
            secret_headers: self
                .secret_headers
                .iter()
                .map(|(name, sealed)| (name.clone(), Concealed::Kept(sealed.clone())))
                .collect(),
            authentication: self
                .authentication
                .clone()
                .map(|authentication| authentication.map(Concealed::Kept)),
            delivery: self.delivery.clone(),
            legacy_signature_encoding: self.legacy_signature_encoding,
        }
    }

    /// Takes over what a client set. Switching it on again forgets why it was off.
    pub fn apply(&mut self, input: WebhookInput, sealer: &Sealer, now: Timestamp) {
        let owner = self.id.to_string();
        if self.is_active && !input.is_active {
            self.disabled_at = Some(now);
            self.disabled_reason = Some(SWITCHED_OFF_BY_REQUEST.to_owned());
        } else if input.is_active {
            self.disabled_at = None;
            self.disabled_reason = None;
        }
        self.target_url = input.target_url;
        self.event_types = input.event_types;
        self.is_active = input.is_active;
        self.label = input.label;
        self.headers = input.headers;
        self.secret_headers = input
            .secret_headers
            .into_iter()
            .map(|(name, value)| (name, value.sealed(sealer, &owner)))
            .collect();
        self.authentication = input
            .authentication
            .map(|authentication| authentication.map(|secret| secret.sealed(sealer, &owner)));
        self.delivery = input.delivery;
        self.legacy_signature_encoding = input.legacy_signature_encoding;
        self.updated_at = now;
    }
}

/// How the receiver of a webhook is doing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Health {
    /// Deliveries that failed since the last success.
    pub consecutive_failures: u64,
    /// When the first of them failed.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub failing_since: Option<Timestamp>,
    /// Whether only one delivery at a time is tried, until one succeeds.
    pub circuit_open: bool,
    /// Until when nothing is sent.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub blocked_until: Option<Timestamp>,
    /// Bytes of events that wait for it.
    pub undelivered_bytes: u64,
    /// Records that wait for it.
    pub undelivered_records: u64,
    /// Whether so much waits that nothing more is fetched for it.
    pub sources_wait: bool,
}

/// How `x-handled-signature` and `x-truto-signature` write their digest.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum SignatureEncoding {
    #[default]
    Hex,
    Base64,
}

/// How events are batched, sent and sent again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default)]
pub struct Delivery {
    /// Records in one event at most.
    #[schema(minimum = 1, maximum = 1000, default = 100)]
    pub batch_records: u32,
    /// Bytes of records in one event at most (a single larger record goes alone).
    #[schema(minimum = 1024, maximum = 5_242_880, default = 524_288)]
    pub batch_bytes: u32,
    /// How long a batch that isn't full waits for more, in milliseconds.
    #[schema(minimum = 0, maximum = 10_000, default = 50)]
    pub linger_ms: u32,
    /// Deadline of one attempt, from the look-up of the name to the end of the answer, in milliseconds.
    #[schema(minimum = 1000, maximum = 60_000, default = 15_000)]
    pub timeout_ms: u32,
    /// Streams sent at the same time.
    #[schema(minimum = 1, maximum = 64, default = 8)]
    pub concurrency: u32,
    /// Unacknowledged batches of one stream. With more than 1 they may arrive out of order; `seq` says where they belong.
    #[schema(minimum = 1, maximum = 16, default = 1)]
    pub window: u32,
    /// Requests a second at most, spread evenly, over all workers and streams.
    #[schema(minimum = 1, maximum = 1000)]
    pub rate_per_second: Option<u32>,
    /// How the body of a request is compressed; signatures are made over the compressed bytes.
    pub compression: Option<Compression>,
    pub retry: Retry,
}

/// Sent as `content-encoding`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Compression {
    Gzip,
}

/// When a failed delivery is tried again: exponential, with full jitter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default)]
pub struct Retry {
    /// The longest wait before the first retry, in milliseconds; it doubles with each further one.
    #[schema(minimum = 100, maximum = 60_000, default = 1000)]
    pub first_ms: u32,
    /// The longest wait of all, in milliseconds.
    #[schema(minimum = 1000, maximum = 86_400_000, default = 3_600_000)]
    pub max_ms: u32,
    /// After this long an event becomes a dead letter, in hours.
    #[schema(minimum = 1, maximum = 168, default = 24)]
    pub give_up_after_hours: u32,
}

impl Default for Delivery {
    fn default() -> Self {
        Self {
            batch_records: 100,
            batch_bytes: 512 * 1024,
            linger_ms: 50,
            timeout_ms: 15_000,
            concurrency: 8,
            window: 1,
            rate_per_second: None,
            compression: None,
            retry: Retry::default(),
        }
    }
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            first_ms: 1000,
            max_ms: 3_600_000,
            give_up_after_hours: 24,
        }
    }
}

/// What a client may set of a webhook.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct WebhookInput {
    /// Where events are posted: an https URL of a public host.
    #[schema(max_length = 2048)]
    pub target_url: String,
    /// Event types to send; empty or absent: all.
    #[schema(required = false)]
    pub event_types: Vec<String>,
    #[schema(required = false, default = true)]
    pub is_active: bool,
    pub label: Option<String>,
    /// Further headers of every delivery; names that the delivery sets itself are refused.
    #[schema(required = false)]
    pub headers: BTreeMap<String, String>,
    /// Further headers whose values no answer shows; `[redacted]` keeps the stored one.
    #[schema(required = false, value_type = BTreeMap<String, String>)]
    pub secret_headers: BTreeMap<String, Concealed>,
    /// How a delivery proves to the receiver who sends it.
    #[schema(required = false, value_type = Option<Authentication<String>>)]
    pub authentication: Option<Authentication<Concealed>>,
    #[schema(required = false)]
    pub delivery: Delivery,
    #[schema(required = false)]
    pub legacy_signature_encoding: SignatureEncoding,
}

/// Fields of a webhook that only the server sets.
const READ_ONLY: &[&str] = &[
    "id",
    "public_key",
    "created_at",
    "updated_at",
    "disabled_at",
    "disabled_reason",
    "health",
];
/// Fields that a creation sets, and after it a rotation only.
const ROTATED: &[&str] = &["secret", "signature_algorithm"];

/// Says why a target may not be called, if so: the policy of outbound calls, which no model knows.
pub type TargetCheck<'a> = &'a dyn Fn(&Url) -> Result<(), String>;

impl WebhookInput {
    /// Reads the body of a creation.
    ///
    /// # Errors
    /// Every fault at once.
    pub fn read_new(
        body: &Value,
        environment: EnvironmentId,
        allowed: TargetCheck<'_>,
    ) -> Result<(Self, SigningInput), Faults> {
        let mut faults = Faults::default();
        let Some(mut fields) = Fields::new(body, "", &mut faults) else {
            return Err(faults);
        };
        let input = Self::read(&mut fields, environment, None, allowed, &mut faults);
        let signing = SigningInput::read(&mut fields, &mut faults);
        fields.finish(&mut faults);
        faults.into_result((input, signing))
    }

    /// Reads what `stored` is to become: its [`Webhook::input`] with a patch merged in.
    ///
    /// # Errors
    /// Every fault at once.
    pub fn read_changed(
        body: &Value,
        stored: &Webhook,
        allowed: TargetCheck<'_>,
    ) -> Result<Self, Faults> {
        let mut faults = Faults::default();
        let Some(mut fields) = Fields::new(body, "", &mut faults) else {
            return Err(faults);
        };
        for name in ROTATED {
            if fields.nullable(name).is_some() {
                faults.push(
                    fields.pointer(name),
                    "is changed by `POST /webhook/{id}/rotate-secret`; leave it out",
                );
            }
        }
        let input = Self::read(
            &mut fields,
            stored.environment_id,
            Some(stored),
            allowed,
            &mut faults,
        );
        fields.finish(&mut faults);
        faults.into_result(input)
    }

    fn read(
        fields: &mut Fields<'_>,
        environment: EnvironmentId,
        stored: Option<&Webhook>,
        allowed: TargetCheck<'_>,
        faults: &mut Faults,
    ) -> Self {
        accept_common(fields, environment, faults);
        refuse_read_only(fields, READ_ONLY, faults);
        let target_url = read_target_url(fields, allowed, faults).unwrap_or_default();
        let event_types = read_event_types(fields, faults);
        let is_active = fields.boolean("is_active", faults).unwrap_or(true);
        let label = label(fields, "label", faults);
        let (headers, secret_headers) = headers::read(fields, stored, faults);
        let authentication = stored.and_then(|webhook| webhook.authentication.as_ref());
        Self {
            target_url,
            event_types,
            is_active,
            label,
            headers,
            secret_headers,
            authentication: authentication::read(fields, authentication, faults),
            delivery: read_delivery(fields, faults),
            legacy_signature_encoding: fields
                .choice(
                    "legacy_signature_encoding",
                    &[
                        ("hex", SignatureEncoding::Hex),
                        ("base64", SignatureEncoding::Base64),
                    ],
                    faults,
                )
                .unwrap_or_default(),
        }
    }
}

fn read_target_url(
    fields: &mut Fields<'_>,
    allowed: TargetCheck<'_>,
    faults: &mut Faults,
) -> Option<String> {
    let text = fields.required_string("target_url", faults)?;
    let pointer = fields.pointer("target_url");
    if text.len() > MAX_URL_BYTES {
        faults.push(pointer, format!("must have at most {MAX_URL_BYTES} bytes"));
        return None;
    }
    match Url::parse(text) {
        Ok(url) => {
            if url.fragment().is_some() {
                faults.push(&pointer, "must not have a fragment (`#…`)");
            }
            if let Err(message) = allowed(&url) {
                faults.push(pointer, message);
            }
            Some(url.into())
        }
        Err(error) => {
            faults.push(pointer, format!("is not a URL: {error}"));
            None
        }
    }
}

fn read_event_types(fields: &mut Fields<'_>, faults: &mut Faults) -> Vec<String> {
    let mut types: Vec<String> = Vec::new();
    let Some(given) = fields.array("event_types", faults) else {
        return types;
    };
    let pointer = fields.pointer("event_types");
    for (index, value) in given.iter().enumerate() {
        let Some(text) = value.as_str() else {
            faults.push(child(&pointer, index), "must be a string");
            continue;
        };
        if !EVENT_TYPES.contains(&text) {
            let hint = suggestion(text, EVENT_TYPES.iter().copied());
            faults.push(
                child(&pointer, index),
                format!("is not an event type{hint}"),
            );
        } else if !types.iter().any(|seen| seen == text) {
            types.push(text.to_owned());
        }
    }
    types
}

fn read_delivery(fields: &mut Fields<'_>, faults: &mut Faults) -> Delivery {
    let defaults = Delivery::default();
    let pointer = fields.pointer("delivery");
    let Some(value) = fields.value("delivery") else {
        return defaults;
    };
    let Some(mut fields) = Fields::new(value, pointer, faults) else {
        return defaults;
    };
    let mut number = |name, range, default| {
        fields
            .integer(name, range, faults)
            .and_then(|number| u32::try_from(number).ok())
            .unwrap_or(default)
    };
    let mut delivery = Delivery {
        batch_records: number("batch_records", 1..=1000, defaults.batch_records),
        batch_bytes: number("batch_bytes", 1024..=5 * 1024 * 1024, defaults.batch_bytes),
        linger_ms: number("linger_ms", 0..=10_000, defaults.linger_ms),
        timeout_ms: number("timeout_ms", 1000..=60_000, defaults.timeout_ms),
        concurrency: number("concurrency", 1..=64, defaults.concurrency),
        window: number("window", 1..=16, defaults.window),
        ..defaults
    };
    delivery.rate_per_second = fields
        .integer("rate_per_second", 1..=1000, faults)
        .and_then(|number| u32::try_from(number).ok());
    delivery.compression = fields.choice("compression", &[("gzip", Compression::Gzip)], faults);
    let pointer = fields.pointer("retry");
    if let Some(value) = fields.value("retry") {
        delivery.retry = read_retry(value, pointer, faults);
    }
    fields.finish(faults);
    delivery
}

fn read_retry(value: &Value, pointer: String, faults: &mut Faults) -> Retry {
    let defaults = Retry::default();
    let Some(mut fields) = Fields::new(value, pointer, faults) else {
        return defaults;
    };
    let mut number = |name, range, default| {
        fields
            .integer(name, range, faults)
            .and_then(|number| u32::try_from(number).ok())
            .unwrap_or(default)
    };
    let retry = Retry {
        first_ms: number("first_ms", 100..=60_000, defaults.first_ms),
        max_ms: number("max_ms", 1000..=86_400_000, defaults.max_ms),
        give_up_after_hours: number("give_up_after_hours", 1..=168, defaults.give_up_after_hours),
    };
    if retry.first_ms > retry.max_ms {
        faults.push(fields.pointer("first_ms"), "must not be more than `max_ms`");
    }
    fields.finish(faults);
    retry
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn faults_of(body: &Value) -> Vec<(String, String)> {
        let faults = WebhookInput::read_new(body, EnvironmentId::from_bits(1), &|_| Ok(()))
            .expect_err("faults");
        faults
            .as_slice()
            .iter()
            .map(|fault| (fault.pointer.clone(), fault.message.clone()))
            .collect()
    }

    #[test]
    fn a_webhook_needs_no_more_than_its_target() {
        let (input, _) = WebhookInput::read_new(
            &json!({"target_url": "https://example.com/hook"}),
            EnvironmentId::from_bits(1),
            &|_| Ok(()),
        )
        .expect("a valid webhook");
        assert!(input.is_active && input.event_types.is_empty());
        assert_eq!(input.delivery, Delivery::default());
    }

    #[test]
    fn every_fault_of_a_webhook_is_named_at_once() {
        let found = faults_of(&json!({
            "event_types": ["sync_job_run:recrd"],
            "headers": {"Webhook-Id": "1", "x-ok": "fine", "bad name": "1", "x-line": "a\r\nb", "Authorization": "x"},
            "secret_headers": {"X-OK": "again", "webhook-x": "1", "x-long": "x".repeat(5000)},
            "authentication": {"type": "basic", "username": "a:b", "passwort": "hunter2"},
            "delivery": {"batch_records": 0, "windw": 1, "window": 17, "rate_per_second": 0, "compression": "br", "retry": {"first_ms": 60000, "max_ms": 1000}},
            "secret": "whsec_hunter2", "signature_algorithm": "rsa", "public_key": "x", "targeturl": "x",
        }));
        let pointers: Vec<&str> = found.iter().map(|(pointer, _)| pointer.as_str()).collect();
        assert_eq!(
            pointers,
            [
                "/public_key",
                "/target_url",
                "/event_types/0",
                "/headers/Webhook-Id",
                "/headers/bad name",
                "/headers/x-line",
                "/headers/Authorization",
                "/secret_headers/X-OK",
                "/secret_headers/webhook-x",
                "/secret_headers/x-long",
                "/authentication/username",
                "/authentication/password",
                "/authentication/passwort",
                "/delivery/batch_records",
                "/delivery/window",
                "/delivery/rate_per_second",
                "/delivery/compression",
                "/delivery/retry/first_ms",
                "/delivery/windw",
                "/signature_algorithm",
                "/secret",
                "/targeturl",
            ]
        );
        assert!(
            found
                .iter()
                .all(|(_, message)| !message.contains("hunter2"))
        );
        assert!(found[2].1.contains("did you mean `sync_job_run:record`?"));
    }

    fn sealer() -> Sealer {
        Sealer::new(Sealer::new_master_key().expose()).expect("a key")
    }

    fn webhook(body: &Value, sealer: &Sealer) -> Webhook {
        let environment = EnvironmentId::from_bits(1);
        let (input, signing) =
            WebhookInput::read_new(body, environment, &|_| Ok(())).expect("a valid webhook");
        let secret = signing.secret(SignatureAlgorithm::default());
        let id = WebhookId::from_bits(1);
        Webhook::new(id, environment, input, &secret, sealer, Timestamp(0)).expect("a webhook")
    }

    #[test]
    fn what_a_client_set_can_be_read_again_as_it_is_and_keeps_what_is_secret() {
        let sealer = sealer();
        let before = webhook(
            &json!({"target_url": "https://example.com/hook", "label": "orders", "headers": {"X-A": "1"},
                "secret_headers": {"X-Key": "s33cret"}, "authentication": {"type": "basic", "username": "u", "password": "p4ss"}}),
            &sealer,
        );
        let shown = serde_json::to_value(before.input()).expect("JSON");
        assert_eq!(shown["secret_headers"], json!({"x-key": "[redacted]"}));
        assert_eq!(
            shown["authentication"],
            json!({"type": "basic", "username": "u", "password": "[redacted]"})
        );
        let input =
            WebhookInput::read_changed(&shown, &before, &|_| Ok(())).expect("a valid webhook");
        let mut after = before.clone();
        after.apply(input, &sealer, Timestamp(0));
        let json = |webhook| serde_json::to_value(webhook).expect("JSON");
        assert_eq!(json(&after), json(&before));
    }

    #[test]
    fn redacted_stands_for_no_secret_that_is_not_there() {
        let found = faults_of(&json!({
            "target_url": "https://example.com/hook", "secret_headers": {"x-key": "[redacted]"},
            "authentication": {"type": "bearer", "token": "[redacted]"},
        }));
        let pointers: Vec<&str> = found.iter().map(|(pointer, _)| pointer.as_str()).collect();
        assert_eq!(pointers, ["/secret_headers/x-key", "/authentication/token"]);
    }

    #[test]
    fn a_rotation_may_change_the_algorithm_and_both_keys_sign() {
        let sealer = sealer();
        let mut webhook = webhook(&json!({"target_url": "https://example.com/hook"}), &sealer);
        assert_eq!(
            webhook.signature_algorithm(),
            SignatureAlgorithm::HmacSha256
        );
        let secret = SignatureAlgorithm::Ed25519.new_secret();
        webhook
            .rotate(&secret, Timestamp(10), &sealer, Timestamp(0))
            .expect("a rotation");
        assert_eq!(webhook.signature_algorithm(), SignatureAlgorithm::Ed25519);
        let owner = webhook.id.to_string();
        let prefixes: Vec<String> = webhook
            .signing_secrets(Timestamp(9))
            .iter()
            .map(|sealed| sealer.open_secret(&owner, sealed).expect("opens"))
            .map(|secret| secret.expose()[..5].to_owned())
            .collect();
        assert_eq!(prefixes, ["whsk_", "whsec"]);
    }

    #[test]
    fn a_rotated_secret_signs_only_during_the_overlap() {
        let mut webhook: Webhook = serde_json::from_value(json!({
            "id": WebhookId::from_bits(1), "environment_id": EnvironmentId::from_bits(1), "target_url": "https://a.example",
            "event_types": [], "is_active": true, "label": null, "sealed_secret": "new",
            "created_at": Timestamp(0), "updated_at": Timestamp(0), "from_a_newer_version": 1,
        }))
        .expect("a stored webhook");
        webhook.previous_secret = Some(PreviousSecret {
            sealed: "old".to_owned(),
            until: Timestamp(10),
        });
        assert_eq!(webhook.signing_secrets(Timestamp(9)), ["new", "old"]);
        assert_eq!(webhook.signing_secrets(Timestamp(10)), ["new"]);
    }
}
