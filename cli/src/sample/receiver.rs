//! The sample receiver: a webhook endpoint as its user would write it. It
//! verifies the signatures, answers 204, and lets the [`Inbox`] judge.
//!
//! | answer | when |
//! |---|---|
//! | 204 | the event was taken, for the first time or again |
//! | 401 | a signature doesn't hold |
//! | 400 | the body isn't an event |
//! | 413 | the body is larger than [`MAX_BODY_BYTES`] |
//! | 503 | the secret isn't known yet |

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use serde_json::json;
use shared::http::serve::serve;
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{
    inbox::{Inbox, Outcome},
    signature,
    source::reply,
};

/// Connections at once; more wait.
const MAX_CONNECTIONS: usize = 256;
/// The largest event taken.
pub const MAX_BODY_BYTES: usize = 8 * 1024 * 1024;

/// A running sample receiver; stops when it is dropped.
pub struct SampleReceiver {
    address: SocketAddr,
    shared: Arc<Shared>,
    _stop: DropGuard,
    _server: JoinHandle<()>,
}

struct Shared {
    secret: Mutex<Option<String>>,
    inbox: Mutex<Inbox>,
}

impl SampleReceiver {
    /// Serves on a free port of 127.0.0.1.
    ///
    /// # Errors
    /// When no port can be opened.
    pub async fn start() -> std::io::Result<Self> {
        let listener = TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            secret: Mutex::default(),
            inbox: Mutex::default(),
        });
        let shutdown = CancellationToken::new();
        let handler = {
            let shared = Arc::clone(&shared);
            move |request| {
                let shared = Arc::clone(&shared);
                async move { shared.handle(request).await }
            }
        };
        let server = tokio::spawn(serve(listener, MAX_CONNECTIONS, shutdown.clone(), handler));
        Ok(Self {
            address,
            shared,
            _stop: shutdown.drop_guard(),
            _server: server,
        })
    }

    /// Where a webhook should send to.
    #[must_use]
    pub fn target_url(&self) -> String {
        format!("http://{}/webhook", self.address)
    }

    /// The secret that came with the webhook's creation.
    pub fn set_secret(&self, secret: String) {
        *lock(&self.shared.secret) = Some(secret);
    }

    /// Looks at what has come so far; deliveries wait meanwhile.
    pub fn look<R>(&self, look: impl FnOnce(&Inbox) -> R) -> R {
        look(&lock(&self.shared.inbox))
    }
}

/// Both are valid after every statement that holds the lock, so a panic elsewhere doesn't spoil them.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    async fn handle(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let (head, body) = request.into_parts();
        let Ok(body) = Limited::new(body, MAX_BODY_BYTES).collect().await else {
            return refuse(
                StatusCode::PAYLOAD_TOO_LARGE,
                "the body is too large or was cut off",
            );
        };
        let body = body.to_bytes();
        let Some(secret) = lock(&self.secret).clone() else {
            return refuse(
                StatusCode::SERVICE_UNAVAILABLE,
                "the secret isn't known yet",
            );
        };
        let now_s = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            .as_secs();
        let id = match signature::verify(&secret, &head.headers, &body, now_s) {
            Ok(id) => id,
            Err(fault) => {
                let reason = fault.to_string();
                lock(&self.inbox).reject(&reason);
                return refuse(StatusCode::UNAUTHORIZED, &reason);
            }
        };
        let text = String::from_utf8_lossy(&body);
        let outcome = lock(&self.inbox).receive(&id, &text);
        if outcome == Outcome::Unreadable {
            return refuse(StatusCode::BAD_REQUEST, "not an event");
        }
        let mut response = Response::new(Full::default());
        *response.status_mut() = StatusCode::NO_CONTENT;
        response
    }
}

fn refuse(status: StatusCode, message: &str) -> Response<Full<Bytes>> {
    reply(status, &json!({"error": message}))
}

#[cfg(test)]
mod tests {
    use super::{
        super::signature::tests::{SECRET, signed},
        *,
    };

    fn now_s() -> u64 {
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .expect("after 1970")
            .as_secs()
    }

    async fn post(receiver: &SampleReceiver, headers: http::HeaderMap, body: String) -> u16 {
        let client = reqwest::Client::builder()
            .no_proxy()
            .build()
            .expect("a client");
        let request = client
            .post(receiver.target_url())
            .headers(headers)
            .body(body);
        request.send().await.expect("an answer").status().as_u16()
    }

    fn event(id: &str) -> String {
        json!({"id": id, "event": "test", "event_type": "test", "payload": {}}).to_string()
    }

    #[tokio::test]
    async fn a_signed_event_is_taken_and_counted_once_however_often_it_comes() {
        let receiver = SampleReceiver::start().await.expect("a receiver");
        receiver.set_secret(SECRET.to_owned());
        let body = event("evt_1");
        for _ in 0..2 {
            let headers = signed(SECRET, "evt_1", now_s(), body.as_bytes());
            assert_eq!(post(&receiver, headers, body.clone()).await, 204);
        }
        assert_eq!(
            receiver.look(|inbox| (inbox.verified, inbox.duplicates)),
            (2, 1)
        );
    }

    #[tokio::test]
    async fn a_bad_signature_is_refused_and_remembered() {
        let receiver = SampleReceiver::start().await.expect("a receiver");
        let headers = signed(SECRET, "evt_1", now_s(), b"another body");
        assert_eq!(post(&receiver, headers.clone(), event("evt_1")).await, 503);
        receiver.set_secret(SECRET.to_owned());
        assert_eq!(post(&receiver, headers, event("evt_1")).await, 401);
        assert_eq!(
            post(&receiver, http::HeaderMap::new(), event("evt_1")).await,
            401
        );
        assert_eq!(
            receiver.look(|inbox| (inbox.verified, inbox.rejected, inbox.fault_count)),
            (0, 2, 2)
        );
    }

    #[tokio::test]
    async fn a_body_that_is_no_event_is_refused() {
        let receiver = SampleReceiver::start().await.expect("a receiver");
        receiver.set_secret(SECRET.to_owned());
        let headers = signed(SECRET, "evt_1", now_s(), b"[]");
        assert_eq!(post(&receiver, headers, "[]".to_owned()).await, 400);
    }
}
