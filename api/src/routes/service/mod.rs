//! What needs no token: health, figures, the API's own description.

use std::time::Duration;

use actix_web::{
    HttpResponse,
    http::header,
    web::{Data, Redirect},
};
use serde_json::json;
use shared::telemetry::MetricsHandle;

use crate::{error::ApiError, openapi, state::AppState};

/// How long the store may take to answer before this process isn't ready.
const READY_TIMEOUT: Duration = Duration::from_secs(1);

/// Whether the process runs.
#[utoipa::path(get, path = "/livez", tag = "service", operation_id = "livez", security(()),
    responses((status = 200, description = "It does")))]
pub async fn livez() -> HttpResponse {
    HttpResponse::Ok().json(json!({"status": "live"}))
}

/// Whether the process can accept work: the store answers.
#[utoipa::path(get, path = "/readyz", tag = "service", operation_id = "readyz", security(()),
    responses((status = 200, description = "It can"), (status = 503, description = "The store is away", body = crate::error::ErrorBody)))]
pub async fn readyz(state: Data<AppState>) -> Result<HttpResponse, ApiError> {
    if !state.is_store_checked() {
        return Err(ApiError::store_unavailable());
    }
    match tokio::time::timeout(READY_TIMEOUT, state.store.ping()).await {
        Ok(Ok(())) => Ok(HttpResponse::Ok().json(json!({"status": "ready"}))),
        Ok(Err(_)) | Err(_) => Err(ApiError::store_unavailable()),
    }
}

/// Figures in the Prometheus text format.
#[utoipa::path(get, path = "/metrics", tag = "service", operation_id = "metrics", security(()),
    responses((status = 200, description = "Figures", content_type = "text/plain", body = String)))]
pub async fn metrics(state: Data<AppState>) -> HttpResponse {
    let text = state
        .metrics
        .as_ref()
        .map(MetricsHandle::render)
        .unwrap_or_default();
    HttpResponse::Ok()
        .insert_header((header::CONTENT_TYPE, MetricsHandle::CONTENT_TYPE))
        .body(text)
}

/// This document.
#[utoipa::path(get, path = "/openapi.json", tag = "service", operation_id = "openapi", security(()),
    responses((status = 200, description = "OpenAPI 3.1", body = Object)))]
pub async fn openapi_document() -> HttpResponse {
    HttpResponse::Ok().json(openapi::document())
}

/// `/docs` → `/docs/`, where the rendered page is.
pub async fn docs() -> Redirect {
    Redirect::to("/docs/")
}
