//! Answers that aren't errors.

use actix_web::{HttpResponse, http::StatusCode};
use serde::Serialize;
use serde_json::{Value, json};
use shared::store::{Page, PageRequest};

use crate::{error::ApiError, extract};

/// A status and a JSON body; what an idempotent replay repeats.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: StatusCode,
    pub body: Value,
}

impl Answer {
    /// 200 with an object.
    pub fn ok(body: &impl Serialize) -> Result<Self, ApiError> {
        Self::with(StatusCode::OK, body)
    }

    /// 201 with what was made.
    pub fn created(body: &impl Serialize) -> Result<Self, ApiError> {
        Self::with(StatusCode::CREATED, body)
    }

    fn with(status: StatusCode, body: &impl Serialize) -> Result<Self, ApiError> {
        let body = serde_json::to_value(body).map_err(|error| {
            tracing::error!(%error, "an answer can't be written");
            ApiError::internal()
        })?;
        Ok(Self { status, body })
    }

    /// What a deletion answers.
    pub fn deleted(id: impl Serialize) -> Result<Self, ApiError> {
        Self::ok(&json!({ "id": id }))
    }

    /// A page of a list.
    pub fn page<T: Serialize>(page: &Page<T>, request: &PageRequest) -> Result<Self, ApiError> {
        Self::ok(&json!({
            "result": page.items,
            "next_cursor": page.next.as_deref().map(extract::encode_cursor),
            "limit": request.limit,
        }))
    }
}

impl From<Answer> for HttpResponse {
    fn from(answer: Answer) -> Self {
        Self::build(answer.status).json(answer.body)
    }
}
