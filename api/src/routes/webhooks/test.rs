//! `POST /webhook/{id}/test`, and `POST /webhook/test {"id":…}` as clients of the API
//! elsewhere send it.

use std::time::Duration;

use actix_web::HttpResponse;
use serde::Serialize;
use serde_json::Value;
use shared::{
    clock::Timestamp,
    delivery::{self, Message, Sent, Target},
    fault::{Faults, Fields},
    ids::{EnvironmentId, EventId, WebhookId},
    model::{
        attempt::{AttemptError, AttemptOutcome, AttemptRecord, Phases},
        event,
        webhook::Webhook,
    },
};

use crate::{
    answer::Answer,
    error::ApiError,
    extract::{Caller, Write},
    state::AppState,
};

/// What a client waits when as many tests as may be are under way.
const BUSY_RETRY_AFTER: Duration = Duration::from_secs(2);

/// Which webhook is tried.
#[derive(Debug, utoipa::ToSchema)]
#[expect(
    dead_code,
    reason = "describes the body in the OpenAPI document; it is read field by field"
)]
pub struct TestNamed {
    #[schema(example = "wh_01J8Z5T2V6N3Q4R7S8W9X0Y1Z2")]
    id: String,
}

/// What came of a test event.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct TestResult {
    /// Whether the receiver answered with a 2xx.
    pub success: bool,
    /// The event's id, sent as `webhook-id`.
    #[schema(value_type = String)]
    pub event_id: EventId,
    /// Status of the answer, also of one that broke off after it.
    pub status_code: Option<u16>,
    pub error: Option<AttemptError>,
    pub phases: Phases,
    pub bytes_sent: u64,
    pub bytes_received: u64,
    /// The first 2 KiB of the answer's body as text; `null` when no whole answer came.
    pub answer: Option<String>,
    /// Names of the keys it was signed with, the current one first.
    pub signing_key_ids: Vec<String>,
}

impl From<AttemptRecord> for TestResult {
    fn from(attempt: AttemptRecord) -> Self {
        Self {
            success: attempt.outcome == AttemptOutcome::Delivered,
            event_id: attempt.event_id,
            status_code: attempt.status_code,
            error: attempt.error,
            phases: attempt.phases,
            bytes_sent: attempt.bytes_sent,
            bytes_received: attempt.bytes_received,
            answer: attempt.answer,
            signing_key_ids: attempt.signing_key_ids,
        }
    }
}

/// Sends a `test` event to the webhook now, as a delivery is sent, and answers what
/// came back. Also when the webhook is switched off or didn't subscribe to it.
#[utoipa::path(
    post, path = "/api/v1/ipaas/webhook/{id}/test", tag = "webhook", operation_id = "test_webhook",
    responses(
        (status = 200, description = "Sent, or tried", body = TestResult),
        (status = 429, description = "`too_many_requests`: others are being tried; see `Retry-After`", body = crate::error::ErrorBody),
    )
)]
pub async fn test(mut caller: Caller<Write>) -> Result<HttpResponse, ApiError> {
    let id: WebhookId = caller.id("webhook")?;
    caller.query(&[])?;
    let body = caller.optional_json().await?;
    let send = async |event| {
        read_nothing(&body.value).map_err(|faults| ApiError::validation(&faults))?;
        send(&caller.state, caller.environment, id, event).await
    };
    caller.once(&body, send).await
}

/// As `POST /webhook/{id}/test`, with the webhook named in the body.
#[utoipa::path(
    post, path = "/api/v1/ipaas/webhook/test", tag = "webhook", operation_id = "test_named_webhook",
    request_body = TestNamed,
    responses(
        (status = 200, description = "Sent, or tried", body = TestResult),
        (status = 404, description = "`not_found`: there is no such webhook", body = crate::error::ErrorBody),
        (status = 429, description = "`too_many_requests`: others are being tried; see `Retry-After`", body = crate::error::ErrorBody),
    )
)]
pub async fn test_named(mut caller: Caller<Write>) -> Result<HttpResponse, ApiError> {
    caller.query(&[])?;
    let body = caller.json().await?;
    let send = async |event| {
        let named = read_id(&body.value).map_err(|faults| ApiError::validation(&faults))?;
        // As in a path: what can't be an id doesn't exist.
        let id = named.parse().map_err(|_| ApiError::not_found("webhook"))?;
        send(&caller.state, caller.environment, id, event).await
    };
    caller.once(&body, send).await
}

fn read_nothing(body: &Value) -> Result<(), Faults> {
    let mut faults = Faults::default();
    if let Some(fields) = Fields::new(body, "", &mut faults) {
        fields.finish(&mut faults);
    }
    faults.into_result(())
}

fn read_id(body: &Value) -> Result<&str, Faults> {
    let mut faults = Faults::default();
    let Some(mut fields) = Fields::new(body, "", &mut faults) else {
        return Err(faults);
    };
    let id = fields.required_string("id", &mut faults);
    fields.finish(&mut faults);
    faults.into_result(id.unwrap_or_default())
}

async fn send(
    state: &AppState,
    environment: EnvironmentId,
    id: WebhookId,
    event: u128,
) -> Result<Answer, ApiError> {
    let webhook = state
        .store
        .objects()
        .get::<Webhook>(environment, id)
        .await?;
    let webhook = webhook.ok_or_else(|| ApiError::not_found("webhook"))?;
    let _place = state.tests.try_acquire().map_err(|_| {
        let message = "as many webhooks as may be are being tried; try again later";
        ApiError::too_many_requests(message, BUSY_RETRY_AFTER)
    })?;
    let target = Target::open(&webhook, &state.sealer, Timestamp::now()).map_err(|error| {
        tracing::error!(%error, webhook.id = %id, "a webhook can't be sent to");
        ApiError::internal()
    })?;
    let event = EventId::from_bits(event);
    let message = Message {
        id: event.to_string(),
        body: event::test_event(environment, id, event).into(),
    };
    let attempt = delivery::send(&state.receivers, &target, &message).await;
    let sent = Sent {
        webhook: id,
        event,
        event_type: event::TEST,
        run: None,
        number: 1,
    };
    let record = attempt.record(&sent, &target.secrets);
    // The test is answered either way; the loss is counted.
    if let Err(error) = state
        .store
        .write_attempts(std::slice::from_ref(&record), state.retention_days)
        .await
    {
        tracing::warn!(%error, webhook.id = %id, "a test event could not be logged");
    }
    Answer::ok(&TestResult::from(record))
}
