//! A webhook: where events go, which ones, and how they are delivered.

use std::collections::BTreeMap;

use http::{HeaderName, HeaderValue};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use url::Url;

use super::{
    event::EVENT_TYPES,
    input::{accept_common, label, refuse_read_only},
};
use crate::{
    clock::Timestamp,
    fault::{Faults, Fields, child, suggestion},
    ids::{EnvironmentId, WebhookId},
};

/// Bytes of a target URL at most.
pub const MAX_URL_BYTES: usize = 2048;
/// Own headers of a webhook at most.
pub const MAX_HEADERS: usize = 20;
/// Bytes of one own header's value at most.
pub const MAX_HEADER_VALUE_BYTES: usize = 4096;

/// Headers that the delivery sets itself, or that would change its framing.
const RESERVED_HEADERS: &[&str] = &[
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "expect",
    "host",
    "keep-alive",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    "x-handled-signature",
    "x-truto-signature",
];
/// Every header that starts so is reserved too.
const RESERVED_HEADER_PREFIX: &str = "webhook-";

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
    #[serde(default)]
    pub delivery: Delivery,
    /// How the two drop-in signature headers write their digest.
    #[serde(default)]
    pub legacy_signature_encoding: SignatureEncoding,
    /// The signing secret (`whsec_…`), sealed for the webhook's id.
    pub sealed_secret: String,
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
            delivery: self.delivery.clone(),
            legacy_signature_encoding: self.legacy_signature_encoding,
        }
    }

    /// Takes over what a client set. Switching it on again forgets why it was off.
    pub fn apply(&mut self, input: WebhookInput, now: Timestamp) {
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
    pub retry: Retry,
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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
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
    #[schema(required = false)]
    pub delivery: Delivery,
    #[schema(required = false)]
    pub legacy_signature_encoding: SignatureEncoding,
}

/// Fields of a webhook that only the server sets.
const READ_ONLY: &[&str] = &[
    "id",
    "secret",
    "created_at",
    "updated_at",
    "disabled_at",
    "disabled_reason",
];

impl WebhookInput {
    /// Reads a body. Whether `target_url` may be reached is the caller's to check.
    ///
    /// # Errors
    /// Every fault at once.
    pub fn read(body: &Value, environment: EnvironmentId) -> Result<Self, Faults> {
        let mut faults = Faults::default();
        let Some(mut fields) = Fields::new(body, "", &mut faults) else {
            return Err(faults);
        };
        accept_common(&mut fields, environment, &mut faults);
        refuse_read_only(&mut fields, READ_ONLY, &mut faults);
        let target_url = read_target_url(&mut fields, &mut faults);
        let input = Self {
            target_url: target_url.unwrap_or_default(),
            event_types: read_event_types(&mut fields, &mut faults),
            is_active: fields.boolean("is_active", &mut faults).unwrap_or(true),
            label: label(&mut fields, "label", &mut faults),
            headers: read_headers(&mut fields, &mut faults),
            delivery: read_delivery(&mut fields, &mut faults),
            legacy_signature_encoding: fields
                .choice(
                    "legacy_signature_encoding",
                    &[
                        ("hex", SignatureEncoding::Hex),
                        ("base64", SignatureEncoding::Base64),
                    ],
                    &mut faults,
                )
                .unwrap_or_default(),
        };
        fields.finish(&mut faults);
        faults.into_result(input)
    }
}

fn read_target_url(fields: &mut Fields<'_>, faults: &mut Faults) -> Option<String> {
    let text = fields.required_string("target_url", faults)?;
    let pointer = fields.pointer("target_url");
    if text.len() > MAX_URL_BYTES {
        faults.push(pointer, format!("must have at most {MAX_URL_BYTES} bytes"));
        return None;
    }
    match Url::parse(text) {
        Ok(url) => {
            if url.fragment().is_some() {
                faults.push(pointer, "must not have a fragment (`#…`)");
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

fn read_headers(fields: &mut Fields<'_>, faults: &mut Faults) -> BTreeMap<String, String> {
    let mut headers = BTreeMap::new();
    let Some(given) = fields.object("headers", faults) else {
        return headers;
    };
    let pointer = fields.pointer("headers");
    if given.len() > MAX_HEADERS {
        faults.push(&pointer, format!("must have at most {MAX_HEADERS} headers"));
    }
    for (name, value) in given.iter().filter(|(_, value)| !value.is_null()) {
        let pointer = child(&pointer, name);
        let Ok(header) = HeaderName::try_from(name.as_str()) else {
            faults.push(pointer, "is not a header name");
            continue;
        };
        if RESERVED_HEADERS.contains(&header.as_str())
            || header.as_str().starts_with(RESERVED_HEADER_PREFIX)
        {
            faults.push(
                pointer,
                "is set by the delivery itself; choose another name",
            );
            continue;
        }
        let Some(text) = value.as_str() else {
            faults.push(pointer, "must be a string");
            continue;
        };
        if text.len() > MAX_HEADER_VALUE_BYTES
            || !text.is_ascii()
            || HeaderValue::from_str(text).is_err()
        {
            faults.push(
                pointer,
                format!("must be at most {MAX_HEADER_VALUE_BYTES} printable ASCII characters"),
            );
            continue;
        }
        if headers
            .insert(header.as_str().to_owned(), text.to_owned())
            .is_some()
        {
            faults.push(pointer, "is given twice (names of headers ignore case)");
        }
    }
    headers
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
        let faults = WebhookInput::read(body, EnvironmentId::from_bits(1)).expect_err("faults");
        faults
            .as_slice()
            .iter()
            .map(|fault| (fault.pointer.clone(), fault.message.clone()))
            .collect()
    }

    #[test]
    fn a_webhook_needs_no_more_than_its_target() {
        let input = WebhookInput::read(
            &json!({"target_url": "https://example.com/hook"}),
            EnvironmentId::from_bits(1),
        )
        .expect("a valid webhook");
        assert!(input.is_active && input.event_types.is_empty());
        assert_eq!(input.delivery, Delivery::default());
    }

    #[test]
    fn every_fault_of_a_webhook_is_named_at_once() {
        let found = faults_of(&json!({
            "event_types": ["sync_job_run:recrd"],
            "headers": {"Webhook-Id": "1", "x-ok": "fine", "bad name": "1", "x-line": "a\r\nb"},
            "delivery": {"batch_records": 0, "windw": 1, "window": 17, "rate_per_second": 0, "retry": {"first_ms": 60000, "max_ms": 1000}},
            "secret": "mine", "targeturl": "x",
        }));
        let pointers: Vec<&str> = found.iter().map(|(pointer, _)| pointer.as_str()).collect();
        assert_eq!(
            pointers,
            [
                "/secret",
                "/target_url",
                "/event_types/0",
                "/headers/Webhook-Id",
                "/headers/bad name",
                "/headers/x-line",
                "/delivery/batch_records",
                "/delivery/window",
                "/delivery/rate_per_second",
                "/delivery/retry/first_ms",
                "/delivery/windw",
                "/targeturl",
            ]
        );
        assert!(found[2].1.contains("did you mean `sync_job_run:record`?"));
    }

    #[test]
    fn what_a_client_set_can_be_read_again_as_it_is() {
        let input = WebhookInput::read(
            &json!({"target_url": "https://example.com/hook", "label": "orders", "headers": {"X-A": "1"}}),
            EnvironmentId::from_bits(1),
        )
        .expect("a valid webhook");
        let again = serde_json::to_value(&input).expect("JSON");
        assert_eq!(
            WebhookInput::read(&again, EnvironmentId::from_bits(1)),
            Ok(input)
        );
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
