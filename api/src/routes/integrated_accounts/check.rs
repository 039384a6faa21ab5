//! The check of an account's credentials: the integration's `validation` action,
//! made through the guarded client, within `CHECK_DEADLINE`.
//!
//! What is shown of a failure holds no secret: the source's answer is not repeated,
//! and values of credentials are struck out of every message.

use std::time::Duration;

use serde_json::{Map, Value, json};
use shared::{
    clock::Timestamp,
    expr::template::Scope,
    http::{OutboundErrorKind, Redirects},
    integration::{Integration, errors::Secrets},
    model::account::{Account, AccountError, AccountStatus},
};

use crate::{error::ApiError, state::AppState};

/// All requests of one check together take no longer.
const CHECK_DEADLINE: Duration = Duration::from_secs(10);
/// Bytes of an answer at most; its content doesn't matter.
const MAX_ANSWER_BYTES: u64 = 1024 * 1024;

/// Why a check failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    code: &'static str,
    message: String,
    /// Whether the source has refused the credentials; else it could not be asked.
    conclusive: bool,
}

/// What a check needs to know of an account.
pub struct Subject<'a> {
    pub credentials: &'a Value,
    pub context: &'a Map<String, Value>,
    pub account_id: String,
    pub tenant_id: &'a str,
}

/// The credentials of an account, in the clear.
pub fn open_credentials(state: &AppState, account: &Account) -> Result<Value, ApiError> {
    state.sealer.open_json(&account.id.to_string(), &account.sealed_credentials).map_err(|error| {
        tracing::error!(%error, account.id = %account.id, "the credentials of an account can't be opened");
        ApiError::internal()
    })
}

/// Runs the integration's check, if it has one.
pub async fn check(
    state: &AppState,
    integration: &Integration,
    subject: &Subject<'_>,
) -> Result<(), Failure> {
    let outcome = tokio::time::timeout(CHECK_DEADLINE, requests(state, integration, subject)).await;
    let outcome = outcome.unwrap_or_else(|_| {
        Err(Failure {
            code: "timeout",
            conclusive: false,
            message: format!(
                "the source did not answer within {} s",
                CHECK_DEADLINE.as_secs()
            ),
        })
    });
    outcome.map_err(|failure| Failure {
        message: Secrets::of(subject.credentials, None).redact(&failure.message),
        ..failure
    })
}

async fn requests(
    state: &AppState,
    integration: &Integration,
    subject: &Subject<'_>,
) -> Result<(), Failure> {
    let context = Value::Object(subject.context.clone());
    let account = json!({"id": subject.account_id, "tenant_id": subject.tenant_id});
    let empty = json!({});
    let scope = Scope {
        roots: vec![
            ("credentials", subject.credentials),
            ("context", &context),
            ("account", &account),
            ("query", &empty),
            ("body", &empty),
            ("args", &empty),
        ],
        ..Scope::default()
    };
    for method in integration.validation() {
        let request = method
            .request(&scope, &method.first_cursor())
            .map_err(|error| Failure {
                code: "invalid_request",
                conclusive: true,
                message: error.to_string(),
            })?;
        let response = state
            .outbound
            .send(request, Redirects::SameOrigin, MAX_ANSWER_BYTES)
            .await
            .map_err(|error| Failure {
                code: code_of(error.kind),
                conclusive: error.kind == OutboundErrorKind::Blocked,
                message: error.message,
            })?;
        if !response.status.is_success() {
            let status = response.status.as_u16();
            let (code, hint) = match status {
                401 | 403 => ("unauthorized", ": the source refuses these credentials"),
                _ => ("upstream_error", ""),
            };
            return Err(Failure {
                code,
                conclusive: !response.status.is_server_error() && status != 429,
                message: format!("the source answered the check with status {status}{hint}"),
            });
        }
    }
    Ok(())
}

fn code_of(kind: OutboundErrorKind) -> &'static str {
    match kind {
        OutboundErrorKind::Blocked => "target_blocked",
        OutboundErrorKind::Dns => "dns_failed",
        OutboundErrorKind::Connect => "connect_failed",
        OutboundErrorKind::Tls => "tls_failed",
        OutboundErrorKind::Timeout => "timeout",
        OutboundErrorKind::Reset => "connection_reset",
        OutboundErrorKind::BodyTooLarge => "body_too_large",
        OutboundErrorKind::Protocol => "protocol_error",
    }
}

/// Writes the outcome of a check into the account. An account that was switched
/// off meanwhile stays so.
pub fn settle(account: &mut Account, outcome: &Result<(), Failure>) {
    let now = Timestamp::now();
    account.last_validated_at = Some(now);
    account.updated_at = now;
    match outcome {
        Ok(()) => {
            account.last_error = None;
            account.status = AccountStatus::Active;
            account.activated_at = account.activated_at.or(Some(now));
        }
        Err(failure) => {
            let (code, message) = (failure.code.to_owned(), failure.message.clone());
            account.last_error = Some(AccountError {
                code,
                message,
                at: now,
            });
            // A source that is away says nothing about credentials that worked before.
            if failure.conclusive || account.status != AccountStatus::Active {
                account.status = AccountStatus::ValidationError;
            }
        }
    }
}
