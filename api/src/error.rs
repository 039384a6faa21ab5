//! The one shape of every error answer, and the only file with status codes of errors.
//!
//! ```json
//! {"error":{"code":"validation_failed","message":"…","details":[{"pointer":"/label","message":"…"}],"request_id":"…"}}
//! ```

use std::{fmt, time::Duration};

use actix_web::{
    HttpResponse, ResponseError,
    http::{StatusCode, header},
};
use serde::Serialize;
use serde_json::json;
use shared::{
    fault::Faults,
    ids::RunId,
    model::token::Scope,
    store::{StoreError, objects::ChangeError},
    submit::SubmitError,
};

use crate::middleware::request::current_request_id;

/// What a client is told to wait when the store is away.
const STORE_RETRY_AFTER: Duration = Duration::from_secs(1);
/// Detail of a body or a parameter that is shown at most, characters.
const MAX_ECHO_CHARS: usize = 64;

/// Why a request was refused or failed.
#[derive(Debug)]
pub struct ApiError(Box<Refusal>);

/// What an error consists of; boxed, so that results stay small.
#[derive(Debug)]
struct Refusal {
    status: StatusCode,
    code: &'static str,
    message: String,
    details: Vec<Detail>,
    retry_after: Option<Duration>,
    allow: Option<String>,
    sync_job_run_id: Option<RunId>,
}

/// One fault of a document or a parameter.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct Detail {
    /// JSON pointer into the body; the name for a parameter.
    pub pointer: String,
    pub message: String,
}

/// The body of every error answer.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct ErrorBody {
    pub error: ErrorContent,
}

/// What went wrong.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct ErrorContent {
    /// For programs: `validation_failed`, `not_found`, ….
    #[schema(example = "validation_failed")]
    pub code: String,
    /// For people: what happened and how to mend it.
    pub message: String,
    pub details: Vec<Detail>,
    /// Of `run_already_active`: that run.
    #[schema(required = false)]
    pub sync_job_run_id: Option<String>,
    /// Also in the header `x-request-id`, and in the log.
    pub request_id: String,
}

impl ApiError {
    fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self(Box::new(Refusal {
            status,
            code,
            message: message.into(),
            details: Vec::new(),
            retry_after: None,
            allow: None,
            sync_job_run_id: None,
        }))
    }

    /// A body that isn't JSON.
    pub fn invalid_json(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_json", message)
    }

    /// A body that isn't JSON, with the place.
    pub fn unreadable_json(error: &serde_json::Error) -> Self {
        let text = error.to_string();
        let reason = text.split(" at line ").next().unwrap_or("it can't be read");
        let (line, column) = (error.line(), error.column());
        Self::invalid_json(format!(
            "the body is not valid JSON at line {line}, column {column}: {reason}"
        ))
    }

    /// A query parameter or header that can't be used.
    pub fn invalid_parameter(name: &str, message: impl fmt::Display) -> Self {
        let name: String = name
            .chars()
            .take(MAX_ECHO_CHARS)
            .filter(|c| !c.is_control())
            .collect();
        let mut error = Self::new(
            StatusCode::BAD_REQUEST,
            "invalid_parameter",
            format!("the parameter `{name}` {message}"),
        );
        error.0.details.push(Detail {
            pointer: name,
            message: message.to_string(),
        });
        error
    }

    /// Missing, malformed, unknown and revoked tokens alike.
    pub fn unauthorized() -> Self {
        Self::new(
            StatusCode::UNAUTHORIZED,
            "unauthorized",
            "a valid API token is needed: send `Authorization: Bearer <token>`",
        )
    }

    /// The token's scope is too small.
    pub fn forbidden(needed: Scope, has: Scope) -> Self {
        Self::new(
            StatusCode::FORBIDDEN,
            "forbidden",
            format!("this needs a token with the scope `{needed}`; this one has `{has}`"),
        )
    }

    /// No such object in the token's environment.
    pub fn not_found(what: &str) -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "not_found",
            format!("there is no such {what}"),
        )
    }

    /// No such route.
    pub fn no_route() -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "not_found",
            "there is no such route; see /docs",
        )
    }

    /// The route exists for other verbs.
    pub fn method_not_allowed(allow: &str) -> Self {
        let mut error = Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "method_not_allowed",
            format!("this route answers {allow} only"),
        );
        error.0.allow = Some(allow.to_owned());
        error
    }

    /// As many as may be are being worked on.
    pub fn too_many_requests(message: impl Into<String>, wait: Duration) -> Self {
        let mut error = Self::new(StatusCode::TOO_MANY_REQUESTS, "too_many_requests", message);
        error.0.retry_after = Some(wait);
        error
    }

    /// The state of things forbids it.
    pub fn conflict(message: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, "conflict", message)
    }

    /// The same idempotency key is being worked on.
    pub fn in_progress(rest: Duration) -> Self {
        let mut error = Self::conflict(
            "a request with the same Idempotency-Key is being worked on; try again later",
        );
        error.0.retry_after = Some(rest);
        error
    }

    /// An idempotency key with another request.
    pub fn idempotency_key_reused() -> Self {
        Self::new(
            StatusCode::CONFLICT,
            "idempotency_key_reused",
            "this Idempotency-Key was used with another request within 24 hours; choose a new one",
        )
    }

    /// The body took longer than `limit` to arrive.
    pub fn request_timeout(limit: Duration) -> Self {
        Self::new(
            StatusCode::REQUEST_TIMEOUT,
            "request_timeout",
            format!(
                "the body must arrive within {} s; send the request again",
                limit.as_secs()
            ),
        )
    }

    /// The body is larger than `limit` bytes.
    pub fn payload_too_large(limit: usize) -> Self {
        Self::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "payload_too_large",
            format!("the body must have at most {limit} bytes"),
        )
    }

    /// The body isn't declared as JSON.
    pub fn unsupported_media_type() -> Self {
        Self::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported_media_type",
            "send JSON in UTF-8, uncompressed, with `Content-Type: application/json`",
        )
    }

    /// Everything wrong with a body.
    pub fn validation(faults: &Faults) -> Self {
        let count = faults.as_slice().len();
        let message = match faults.as_slice() {
            [only] if only.pointer.is_empty() => format!("the body {}", only.message),
            [only] => format!("{} {}", only.pointer, only.message),
            _ => format!("the body has {count} faults; see details"),
        };
        let mut error = Self::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "validation_failed",
            message,
        );
        error.0.details = faults
            .as_slice()
            .iter()
            .map(|fault| Detail {
                pointer: fault.pointer.clone(),
                message: fault.message.clone(),
            })
            .collect();
        error
    }

    /// A run that must end first.
    pub fn run_already_active(run: RunId, message: impl Into<String>) -> Self {
        let mut error = Self::new(StatusCode::CONFLICT, "run_already_active", message);
        error.0.sync_job_run_id = Some(run);
        error
    }

    /// The store is away. What was asked for may have been done when only its answer was lost, so a client that must
    /// not do it twice sends an `Idempotency-Key`.
    pub fn store_unavailable() -> Self {
        let mut error = Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "store_unavailable",
            "the store is away, full or read-only; try again, with an Idempotency-Key where it may not happen twice",
        );
        error.0.retry_after = Some(STORE_RETRY_AFTER);
        error
    }

    /// A defect; the log has the cause.
    pub fn internal() -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal_error",
            "something went wrong here; the log has the cause under this request_id",
        )
    }

    /// Whether the request was refused before anything was made.
    pub fn nothing_was_made(&self) -> bool {
        self.0.status.is_client_error()
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} ({}): {}",
            self.0.code,
            self.0.status.as_u16(),
            self.0.message
        )
    }
}

impl std::error::Error for ApiError {}

impl From<SubmitError> for ApiError {
    fn from(error: SubmitError) -> Self {
        match error {
            SubmitError::Store(error) => error.into(),
            SubmitError::Invalid(faults) => Self::validation(&faults),
        }
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unavailable(cause) => {
                tracing::warn!(error = %cause, request.id = current_request_id(), "the store is unavailable");
                Self::store_unavailable()
            }
            StoreError::Unexpected(_) | StoreError::Unsafe(_) => {
                tracing::error!(%error, request.id = current_request_id(), "the store could not be used");
                Self::internal()
            }
        }
    }
}

impl From<ChangeError<ApiError>> for ApiError {
    fn from(error: ChangeError<ApiError>) -> Self {
        match error {
            ChangeError::Store(error) => error.into(),
            ChangeError::Refused(error) => error,
            ChangeError::Contended => Self::contended(),
        }
    }
}

impl From<ChangeError<std::convert::Infallible>> for ApiError {
    fn from(error: ChangeError<std::convert::Infallible>) -> Self {
        match error {
            ChangeError::Store(error) => error.into(),
            ChangeError::Refused(never) => match never {},
            ChangeError::Contended => Self::contended(),
        }
    }
}

impl ApiError {
    /// Others were faster each time.
    pub fn contended() -> Self {
        let mut error =
            Self::conflict("others are changing this object at the same time; try again");
        error.0.retry_after = Some(Duration::from_secs(1));
        error
    }
}

impl ResponseError for ApiError {
    fn status_code(&self) -> StatusCode {
        self.0.status
    }

    fn error_response(&self) -> HttpResponse {
        let mut answer = HttpResponse::build(self.0.status);
        if let Some(wait) = self.0.retry_after {
            // Whole seconds, rounded up: a client that comes back on time is not refused again.
            answer.insert_header((
                header::RETRY_AFTER,
                wait.as_millis().div_ceil(1000).max(1).to_string(),
            ));
        }
        if let Some(allow) = &self.0.allow {
            answer.insert_header((header::ALLOW, allow.as_str()));
        }
        if self.0.status == StatusCode::UNAUTHORIZED {
            answer.insert_header((header::WWW_AUTHENTICATE, "Bearer"));
        }
        let mut error = json!({
            "code": self.0.code,
            "message": self.0.message,
            "details": self.0.details,
            "request_id": current_request_id(),
        });
        if let Some(run) = self.0.sync_job_run_id {
            error["sync_job_run_id"] = json!(run);
        }
        answer.json(json!({ "error": error }))
    }
}
