//! The sample source: a small order API over HTTP, the way real ones behave.
//!
//! | request | answer |
//! |---|---|
//! | `GET /me` | who the API key belongs to |
//! | `GET /orders?page&limit&updated_at[gt]` | `{"data":[…],"page":1,"has_more":true}`; 50 a page, at most 100; `updated_after` means the same |
//! | `GET /orders/{id}` | the order |
//! | `GET /orders/{id}/lines` | `{"data":[…]}` |
//!
//! Every request needs `X-Api-Key`; without it the answer is 401. The lines of
//! one order fail once with 500, those of another are gone ([`orders`]).

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use serde::Serialize;
use serde_json::json;
use shared::{clock::Timestamp, http::serve::serve};
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{
    ledger::Ledger,
    orders::{self, FLAKY_ORDER, GONE_ORDER, Order},
};

/// What the source takes for a valid `X-Api-Key`. It guards made-up data on this machine only.
pub const API_KEY: &str = "sample-api-key";
/// Connections at once; more wait.
const MAX_CONNECTIONS: usize = 256;
/// Orders a page when the request names no `limit`.
pub const DEFAULT_LIMIT: usize = 50;
/// The largest `limit`.
pub const MAX_LIMIT: usize = 100;
/// What orders and lines are called in a sync job.
pub const ORDERS: &str = "wms/orders";
pub const LINES: &str = "wms/order-items";

/// A running sample source; stops when it is dropped.
pub struct SampleSource {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    _stop: DropGuard,
    _server: JoinHandle<()>,
}

struct State {
    orders: Vec<Order>,
    flaky_failed: bool,
    ledger: Ledger,
}

impl SampleSource {
    /// Serves on a free port of 127.0.0.1.
    ///
    /// # Errors
    /// When no port can be opened.
    pub async fn start() -> std::io::Result<Self> {
        let listener = TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let state = Arc::new(Mutex::new(State {
            orders: orders::all(),
            flaky_failed: false,
            ledger: Ledger::default(),
        }));
        let shutdown = CancellationToken::new();
        let handler = {
            let state = Arc::clone(&state);
            move |request: Request<Incoming>| {
                let response = lock(&state).handle(&request);
                async move { response }
            }
        };
        let server = tokio::spawn(serve(listener, MAX_CONNECTIONS, shutdown.clone(), handler));
        Ok(Self {
            address,
            state,
            _stop: shutdown.drop_guard(),
            _server: server,
        })
    }

    /// Where it listens, without a slash at the end.
    #[must_use]
    pub fn base_url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Takes the ledger and begins a new one.
    #[must_use]
    pub fn take_ledger(&self) -> Ledger {
        std::mem::take(&mut lock(&self.state).ledger)
    }

    /// Ships `count` orders now, which changes their `updated_at`; answers their numbers.
    #[must_use]
    pub fn ship(&self, count: usize) -> Vec<String> {
        let now = Timestamp::now();
        lock(&self.state)
            .orders
            .iter_mut()
            .filter(|order| order.status != "shipped" && order.id != GONE_ORDER)
            .take(count)
            .map(|order| {
                order.status = "shipped";
                order.updated_at = now;
                order.number.clone()
            })
            .collect()
    }

    /// Records that a full sync finds: orders, and lines that can be fetched.
    #[must_use]
    pub fn full_sync_records(&self) -> u64 {
        let state = lock(&self.state);
        let reachable = state.orders.iter().filter(|order| order.id != GONE_ORDER);
        let lines: usize = reachable.map(|order| orders::lines(order.id).len()).sum();
        u64::try_from(state.orders.len() + lines).unwrap_or(u64::MAX)
    }
}

/// The state is consistent after every statement that holds the lock, so a
/// panic elsewhere doesn't spoil it.
fn lock(state: &Mutex<State>) -> std::sync::MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl State {
    fn handle(&mut self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        let response = self.answer(request.method(), request.uri(), request.headers());
        let target = request
            .uri()
            .path_and_query()
            .map_or_else(String::new, ToString::to_string);
        self.ledger.request(target, response.status());
        response
    }

    fn answer(
        &mut self,
        method: &Method,
        uri: &http::Uri,
        headers: &http::HeaderMap,
    ) -> Response<Full<Bytes>> {
        if headers
            .get("x-api-key")
            .is_none_or(|key| key.as_bytes() != API_KEY.as_bytes())
        {
            return fault(
                StatusCode::UNAUTHORIZED,
                "the header X-Api-Key is missing or wrong",
            );
        }
        if method != Method::GET {
            return fault(StatusCode::METHOD_NOT_ALLOWED, "this API is read only");
        }
        let segments: Vec<_> = uri.path().trim_matches('/').split('/').collect();
        match segments.as_slice() {
            ["me"] => reply(
                StatusCode::OK,
                &json!({"account": "Sample Warehouse", "plan": "demo"}),
            ),
            ["orders"] => self.list(uri.query().unwrap_or_default()),
            ["orders", id] => match self.find(id) {
                Some(order) => reply(StatusCode::OK, &order),
                None => fault(StatusCode::NOT_FOUND, "no such order"),
            },
            ["orders", id, "lines"] => self.lines(id),
            _ => fault(StatusCode::NOT_FOUND, "no such path"),
        }
    }

    fn find(&self, id: &str) -> Option<Order> {
        let id: u64 = id.parse().ok()?;
        self.orders.iter().find(|order| order.id == id).cloned()
    }

    fn list(&mut self, query: &str) -> Response<Full<Bytes>> {
        let query = match ListQuery::parse(query) {
            Ok(query) => query,
            Err(message) => return fault(StatusCode::BAD_REQUEST, &message),
        };
        let found: Vec<_> = self
            .orders
            .iter()
            .filter(|order| {
                query
                    .updated_after
                    .is_none_or(|after| order.updated_at > after)
            })
            .cloned()
            .collect();
        let start = (query.page - 1)
            .saturating_mul(query.limit)
            .min(found.len());
        let end = start.saturating_add(query.limit).min(found.len());
        let page = &found[start..end];
        for order in page {
            self.ledger.record(
                ORDERS,
                order.id,
                serde_json::to_string(order).unwrap_or_default(),
            );
        }
        reply(
            StatusCode::OK,
            &json!({"data": page, "page": query.page, "has_more": end < found.len()}),
        )
    }

    fn lines(&mut self, id: &str) -> Response<Full<Bytes>> {
        let Some(order) = self.find(id) else {
            return fault(StatusCode::NOT_FOUND, "no such order");
        };
        if order.id == GONE_ORDER {
            return fault(StatusCode::NOT_FOUND, "the lines of this order are gone");
        }
        if order.id == FLAKY_ORDER && !std::mem::replace(&mut self.flaky_failed, true) {
            return fault(
                StatusCode::INTERNAL_SERVER_ERROR,
                "something went wrong; try again",
            );
        }
        let lines = orders::lines(order.id);
        for line in &lines {
            self.ledger.record(
                LINES,
                line.id,
                serde_json::to_string(line).unwrap_or_default(),
            );
        }
        reply(StatusCode::OK, &json!({"data": lines}))
    }
}

/// What a list of orders can be asked for.
struct ListQuery {
    /// From 1.
    page: usize,
    limit: usize,
    updated_after: Option<Timestamp>,
}

impl ListQuery {
    fn parse(query: &str) -> Result<Self, String> {
        let mut parsed = Self {
            page: 1,
            limit: DEFAULT_LIMIT,
            updated_after: None,
        };
        for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
            match name.as_ref() {
                "page" => {
                    parsed.page = value
                        .parse()
                        .ok()
                        .filter(|page| *page >= 1)
                        .ok_or("page must be a number from 1")?;
                }
                "limit" => {
                    parsed.limit = value
                        .parse()
                        .ok()
                        .filter(|limit| (1..=MAX_LIMIT).contains(limit))
                        .ok_or_else(|| format!("limit must be a number from 1 to {MAX_LIMIT}"))?;
                }
                "updated_at[gt]" | "updated_after" => {
                    parsed.updated_after = Some(
                        value
                            .parse()
                            .map_err(|_| format!("{name} must be an RFC 3339 time"))?,
                    );
                }
                _ => {}
            }
        }
        Ok(parsed)
    }
}

fn fault(status: StatusCode, message: &str) -> Response<Full<Bytes>> {
    reply(status, &json!({"error": message}))
}

pub(super) fn reply(status: StatusCode, body: &impl Serialize) -> Response<Full<Bytes>> {
    let body = serde_json::to_vec(body).unwrap_or_default();
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        http::HeaderValue::from_static("application/json"),
    );
    response
}

#[cfg(test)]
mod tests;
