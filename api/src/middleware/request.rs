//! A request's id, its line in the log, its figures.
//!
//! The id is the client's `x-request-id` when that is sane, else a new one; it is in
//! the answer's header, in every error and in the log. The log line has the route's
//! pattern, never the query or a body.

use std::{
    fmt::Write as _,
    panic::AssertUnwindSafe,
    time::{Duration, Instant},
};

use actix_web::{
    Error, HttpMessage, ResponseError,
    body::MessageBody,
    dev::{ServiceRequest, ServiceResponse},
    error::InternalError,
    http::header::{HeaderName, HeaderValue},
    middleware::Next,
};
use futures::FutureExt;
use shared::{ids::EnvironmentId, telemetry::metrics::HTTP_DURATION};
use ulid::Ulid;

use crate::error::ApiError;

/// Characters of an incoming `x-request-id` at most.
const MAX_REQUEST_ID_CHARS: usize = 128;
/// The header of the request's id.
pub const REQUEST_ID_HEADER: HeaderName = HeaderName::from_static("x-request-id");

tokio::task_local! {
    static REQUEST_ID: String;
}

/// The environment that a request turned out to belong to, for the log.
#[derive(Debug, Clone, Copy)]
pub struct RequestEnvironment(pub EnvironmentId);

/// The id of the request that is being answered; empty outside of one.
pub fn current_request_id() -> String {
    REQUEST_ID.try_with(Clone::clone).unwrap_or_default()
}

/// A handler that panicked has answered with an internal error: its caller is told, the
/// others go on.
async fn without_panic<T>(answer: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    if let Ok(answer) = AssertUnwindSafe(answer).catch_unwind().await {
        return answer;
    }
    // The panic hook has printed where and why.
    tracing::error!(request.id = current_request_id(), "a handler panicked");
    let error = ApiError::internal();
    let response = error.error_response();
    Err(InternalError::from_response(error, response).into())
}

/// Wraps every request.
pub async fn observe(
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let started = Instant::now();
    let id = request_id(&request);
    let method = request.method().clone();
    let answer = REQUEST_ID.scope(id.clone(), without_panic(next.call(request)));
    let mut response = answer.await?;
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(REQUEST_ID_HEADER, value);
    }
    let route = response
        .request()
        .match_pattern()
        .unwrap_or_else(|| "unknown".to_owned());
    let environment = response
        .request()
        .extensions()
        .get::<RequestEnvironment>()
        .copied();
    record(
        method.as_str(),
        &route,
        response.status().as_u16(),
        started.elapsed(),
        &id,
        environment,
    );
    Ok(response)
}

/// Asked every few seconds by machines: a line for each answer that is as it should be would hide the others.
const PROBES: [&str; 3] = ["/livez", "/readyz", "/metrics"];

fn record(
    method: &str,
    route: &str,
    status: u16,
    elapsed: Duration,
    id: &str,
    environment: Option<RequestEnvironment>,
) {
    let mut line = String::new();
    // Writing to a string can't fail.
    let _ = write!(line, "{method} {route} answered {status}");
    let duration_ms = (elapsed.as_secs_f64() * 1_000_000.0).round() / 1000.0;
    macro_rules! log {
        ($level:ident) => {
            tracing::$level!(
                http.method = method,
                http.route = route,
                http.status = status,
                duration_ms,
                request.id = id,
                environment.id = environment.map(|RequestEnvironment(id)| id.to_string()),
                "{line}"
            )
        };
    }
    if PROBES.contains(&route) && status < 400 {
        log!(debug);
    } else {
        log!(info);
    }
    // Verbs come from clients; unknown ones share a label, so that they can't fill the registry.
    let verb = match method {
        "GET" | "POST" | "PUT" | "PATCH" | "DELETE" | "HEAD" | "OPTIONS" => method.to_owned(),
        _ => "other".to_owned(),
    };
    metrics::counter!(
        "syncline_http_requests_total",
        "method" => verb.clone(), "route" => route.to_owned(), "status" => status.to_string()
    )
    .increment(1);
    metrics::histogram!(HTTP_DURATION, "method" => verb, "route" => route.to_owned())
        .record(elapsed.as_secs_f64());
}

fn request_id(request: &ServiceRequest) -> String {
    request
        .headers()
        .get(REQUEST_ID_HEADER)
        .and_then(|value| value.to_str().ok())
        .filter(|text| is_sane(text))
        .map_or_else(|| Ulid::generate().to_string(), str::to_owned)
}

fn is_sane(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= MAX_REQUEST_ID_CHARS
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[actix_web::test]
    async fn a_handler_that_panics_answers_with_an_internal_error_and_its_request_id() {
        use actix_web::body::to_bytes;

        let broken =
            std::future::poll_fn(|_| -> std::task::Poll<Result<(), Error>> { panic!("a defect") });
        let outcome = REQUEST_ID
            .scope("abc".to_owned(), without_panic(broken))
            .await;
        let response = outcome.expect_err("an error").error_response();
        assert_eq!(response.status(), 500);
        let body = to_bytes(response.into_body()).await.expect("a body");
        let body: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
        assert_eq!(
            (&body["error"]["code"], &body["error"]["request_id"]),
            (&"internal_error".into(), &"abc".into())
        );
    }

    #[test]
    fn a_request_id_from_outside_is_plain_and_short() {
        assert!(is_sane("01J8-abc.d_e:f"));
        assert!(!is_sane("") && !is_sane("a b") && !is_sane("a\"b") && !is_sane(&"a".repeat(129)));
    }
}
