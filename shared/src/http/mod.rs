//! The guarded outbound client: every call to a webhook or a source goes through it.
use crate::integration::HttpRequest;
use bytes::Bytes;
use std::{sync::Arc, time::Duration};
use url::Url;

/// Which targets outbound calls may reach.
#[derive(Debug, Clone, Default)]
pub struct TargetPolicy {}
impl TargetPolicy {
    /// `allow`: CIDR or CIDR:port rules (`SYNCLINE_ALLOW_TARGETS`); `allow_http`: plain http to allowed targets.
    /// # Errors
    /// One message a rule that can't be read.
    pub fn new(allow: &[String], allow_http: bool) -> Result<Self, Vec<String>> {
        let _ = (allow, allow_http);
        unimplemented!()
    }
    /// Checks what can be checked without a look-up: scheme, host form, literal addresses, user info.
    /// # Errors
    /// A message for the person who gave the URL.
    pub fn check_url(&self, url: &Url) -> Result<(), String> {
        let _ = url;
        unimplemented!()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Redirects {
    /// 3xx is returned as it is
    None,
    /// followed within the same origin, at most 5
    SameOrigin,
}

/// Why an exchange failed below HTTP.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct OutboundError {
    pub kind: OutboundErrorKind,
    pub message: String,
}
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutboundErrorKind {
    Blocked,
    Dns,
    Connect,
    Tls,
    Timeout,
    Reset,
    BodyTooLarge,
    Protocol,
}

/// One per process; cheap to clone.
#[derive(Debug, Clone)]
pub struct Outbound {
    inner: Arc<()>,
}
impl Outbound {
    /// # Errors
    /// When the TLS roots can't be loaded.
    pub fn new(policy: TargetPolicy) -> Result<Self, OutboundError> {
        let _ = policy;
        unimplemented!()
    }
    /// Sends; `request.timeout` bounds the whole exchange, reading of the body included.
    /// # Errors
    /// See [`OutboundErrorKind`].
    pub async fn send(
        &self,
        request: HttpRequest,
        redirects: Redirects,
        max_body_bytes: u64,
    ) -> Result<Response, OutboundError> {
        let _ = (request, redirects, max_body_bytes, &self.inner);
        unimplemented!()
    }
}

/// An answer whose body is read piece by piece, under the request's deadline.
#[derive(Debug)]
pub struct Response {
    pub status: http::StatusCode,
    pub headers: http::HeaderMap,
    pub elapsed: Duration,
}
impl Response {
    /// The next piece of the (decompressed) body.
    /// # Errors
    /// Deadline, reset, or more than `max_body_bytes`.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, OutboundError> {
        unimplemented!()
    }
    /// At most `limit` bytes of the body; the rest is not read.
    /// # Errors
    /// Deadline or reset.
    pub async fn prefix(&mut self, limit: usize) -> Result<Bytes, OutboundError> {
        let _ = limit;
        unimplemented!()
    }
}
