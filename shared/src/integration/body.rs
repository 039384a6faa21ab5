//! The body of a request, as JSON, form or raw text.

use bytes::Bytes;
use http::HeaderValue;
use serde_json::Value;
use url::form_urlencoded::Serializer;

use super::{
    query::{ArrayFormat, pairs},
    request::RequestError,
};

/// How a body is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum BodyFormat {
    #[default]
    Json,
    /// `application/x-www-form-urlencoded`, nested values as in a query.
    Form,
    /// The text as it is.
    Raw,
}

pub(super) const BODY_FORMATS: &[(&str, BodyFormat)] = &[
    ("json", BodyFormat::Json),
    ("form", BodyFormat::Form),
    ("raw", BodyFormat::Raw),
];

impl BodyFormat {
    /// The content type, unless the document sets one.
    pub fn content_type(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::Json => "application/json",
            Self::Form => "application/x-www-form-urlencoded",
            Self::Raw => "text/plain; charset=utf-8",
        })
    }

    /// The bytes of `body`.
    pub fn write(self, body: &Value, arrays: ArrayFormat) -> Result<Bytes, RequestError> {
        let text = match (self, body) {
            (Self::Form, Value::Object(object)) => Serializer::new(String::new())
                .extend_pairs(pairs(object, arrays))
                .finish(),
            (Self::Form, _) => {
                return Err(RequestError::Invalid(
                    "a body with `body_format` `form` must be an object".to_owned(),
                ));
            }
            (Self::Raw, Value::String(text)) => text.clone(),
            (Self::Json | Self::Raw, body) => body.to_string(),
        };
        Ok(Bytes::from(text))
    }
}
