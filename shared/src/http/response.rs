//! An answer whose body is read piece by piece, within the time that its request has.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::time::Instant;

use super::{OutboundError, OutboundErrorKind};

/// An answer whose body is read piece by piece. The request's time is that of the other side: it passes up to the head of the
/// answer and while a piece is waited for, not while the reader is busy with the pieces before.
#[derive(Debug)]
pub struct Response {
    pub status: http::StatusCode,
    pub headers: http::HeaderMap,
    /// From the start of the exchange to the head of the answer.
    pub elapsed: Duration,
    body: Body,
    timeout: Duration,
    /// What is left of it.
    left: Duration,
    max_body_bytes: u64,
    read: u64,
}

#[derive(Debug)]
enum Body {
    Open(Box<reqwest::Response>),
    /// Read to its end.
    Complete,
    /// Given up; the connection is closed.
    Abandoned,
}

impl Response {
    pub(super) fn new(
        mut answer: reqwest::Response,
        started: Instant,
        timeout: Duration,
        max_body_bytes: u64,
    ) -> Self {
        let elapsed = started.elapsed();
        Self {
            status: answer.status(),
            headers: std::mem::take(answer.headers_mut()),
            elapsed,
            body: Body::Open(Box::new(answer)),
            timeout,
            left: timeout.saturating_sub(elapsed),
            max_body_bytes,
            read: 0,
        }
    }

    /// The next piece of the (decompressed) body; `None` when it was read to its end.
    ///
    /// # Errors
    /// Deadline, reset, or more than `max_body_bytes`; then the connection is closed.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, OutboundError> {
        let piece = self.piece().await?;
        if self.read > self.max_body_bytes {
            self.body = Body::Abandoned;
            return Err(OutboundError::new(
                OutboundErrorKind::BodyTooLarge,
                format!("the body is larger than {} bytes", self.max_body_bytes),
            ));
        }
        Ok(piece)
    }

    /// At most `limit` bytes of the body (and at most `max_body_bytes`); the rest is not read.
    ///
    /// # Errors
    /// Deadline or reset.
    pub async fn prefix(&mut self, limit: usize) -> Result<Bytes, OutboundError> {
        let limit = limit.min(usize::try_from(self.max_body_bytes).unwrap_or(usize::MAX));
        let Some(mut first) = self.piece().await? else {
            return Ok(Bytes::new());
        };
        let mut rest = BytesMut::new();
        while first.len() + rest.len() < limit {
            match self.piece().await? {
                Some(piece) => rest.extend_from_slice(&piece),
                None => break,
            }
        }
        if matches!(self.body, Body::Open(_)) {
            self.body = Body::Abandoned;
        }
        if !rest.is_empty() {
            let mut whole = BytesMut::from(first);
            whole.extend_from_slice(&rest);
            first = whole.freeze();
        }
        first.truncate(limit);
        Ok(first)
    }

    /// Decoded bytes of the body so far.
    #[must_use]
    pub fn bytes_read(&self) -> u64 {
        self.read
    }

    async fn piece(&mut self) -> Result<Option<Bytes>, OutboundError> {
        let answer = match &mut self.body {
            Body::Open(answer) => answer,
            Body::Complete => return Ok(None),
            // Never `None`: half a body must not look like a whole one.
            Body::Abandoned => {
                return Err(OutboundError::new(
                    OutboundErrorKind::Reset,
                    "the body was given up",
                ));
            }
        };
        let began = Instant::now();
        // A body that is always ready never waits, so the timer alone would not cut it.
        let next = if self.left.is_zero() {
            None
        } else {
            tokio::time::timeout(self.left, answer.chunk()).await.ok()
        };
        self.left = self.left.saturating_sub(began.elapsed());
        match next {
            Some(Ok(Some(piece))) => {
                self.read += piece.len() as u64;
                Ok(Some(piece))
            }
            Some(Ok(None)) => {
                self.body = Body::Complete;
                Ok(None)
            }
            Some(Err(error)) => {
                self.body = Body::Abandoned;
                Err(OutboundError::from_reqwest(&error))
            }
            None => {
                self.body = Body::Abandoned;
                Err(Self::timed_out(self.timeout))
            }
        }
    }

    pub(super) fn timed_out(timeout: Duration) -> OutboundError {
        OutboundError::new(
            OutboundErrorKind::Timeout,
            format!("no complete answer within {} ms", timeout.as_millis()),
        )
    }
}
