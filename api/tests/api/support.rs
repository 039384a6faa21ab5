//! An API process's worth of state on a port of its own, and a client for it.

use std::{
    net::TcpListener,
    sync::Arc,
    time::{Duration, Instant},
};

use api::state::{AppState, TESTS_AT_ONCE};
use reqwest::{Method, StatusCode, header::HeaderMap};
use serde_json::{Value, json};
use shared::catalog::Catalog;
use shared::{
    http::{Outbound, TargetPolicy},
    ids::EnvironmentId,
    model::token::Scope,
    seal::{Sealer, token::new_token},
    store::Store,
    testing,
};
use tokio::sync::Semaphore;
use tokio_util::sync::{CancellationToken, DropGuard};

/// What every path starts with.
pub const BASE: &str = "/api/v1/ipaas";

/// A running API and an admin token of its one environment.
pub struct Api {
    pub origin: String,
    pub store: Store,
    pub client: Client,
    stop: DropGuard,
}

/// Calls with one token.
#[derive(Clone)]
pub struct Client {
    origin: String,
    token: String,
    pub environment: EnvironmentId,
    http: reqwest::Client,
}

/// An answer, read.
#[derive(Debug)]
pub struct Reply {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub text: String,
}

impl Reply {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error} in {}", self.text))
    }

    /// The `id` of the object in the answer.
    pub fn id(&self) -> String {
        self.json()["id"]
            .as_str()
            .unwrap_or_else(|| panic!("no id in {}", self.text))
            .to_owned()
    }

    /// Asserts status and error code; gives the pointers of the details.
    #[track_caller]
    pub fn refused(&self, status: u16, code: &str) -> Vec<String> {
        assert_eq!(self.status.as_u16(), status, "{}", self.text);
        let error = &self.json()["error"];
        assert_eq!(error["code"], code, "{}", self.text);
        assert_eq!(
            error["request_id"].as_str(),
            self.headers["x-request-id"].to_str().ok()
        );
        assert!(
            error["message"]
                .as_str()
                .is_some_and(|message| !message.is_empty())
        );
        let details = error["details"].as_array().expect("details");
        details
            .iter()
            .map(|detail| detail["pointer"].as_str().expect("a pointer").to_owned())
            .collect()
    }

    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status.as_u16(), status, "{}", self.text);
        self
    }
}

impl Api {
    /// Tells it to stop, as a signal does.
    pub fn stop(self) {
        drop(self.stop);
    }
}

/// Starts an API on a store of its own.
pub async fn start() -> Api {
    start_on(testing::redis::store()).await
}

/// Starts an API on this store, with a token in a new environment.
pub async fn start_on(store: Store) -> Api {
    let targets = TargetPolicy::new(&["127.0.0.0/8".to_owned()], true).expect("a policy");
    let outbound = Outbound::new(targets.clone()).expect("a client");
    let state = AppState {
        store: store.clone(),
        store_checked: Arc::new(true.into()),
        sealer: Sealer::new(Sealer::new_master_key().expose()).expect("a key"),
        receivers: outbound.for_receivers(),
        outbound,
        tests: Arc::new(Semaphore::new(TESTS_AT_ONCE)),
        targets,
        catalog: Arc::new(catalog()),
        retention_days: 14,
        metrics: None,
    };
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let origin = format!("http://{}", listener.local_addr().expect("an address"));
    let stop = CancellationToken::new();
    let serving = api::serve(state, listener, Duration::from_secs(5), stop.clone());
    tokio::spawn(async move { serving.await.expect("the server") });
    let client = client(&store, &origin, "first", Scope::Admin).await;
    Api {
        origin,
        store,
        client,
        stop: stop.drop_guard(),
    }
}

fn catalog() -> Catalog {
    let documents = shared::integration::bundled()
        .iter()
        .map(|(_, text)| serde_json::from_str(text).expect("JSON"));
    Catalog::new(documents).expect("bundled integrations")
}

/// A client with a new token in a new environment.
pub async fn client(store: &Store, origin: &str, environment: &str, scope: Scope) -> Client {
    let made = store.tokens().create_environment(environment).await;
    // Without Redis there is no environment, and a test of that needs none.
    let id = made
        .ok()
        .flatten()
        .map_or(EnvironmentId::from_bits(0), |environment| environment.id);
    client_in(store, origin, id, scope).await
}

/// A client with a new token in this environment.
pub async fn client_in(
    store: &Store,
    origin: &str,
    environment: EnvironmentId,
    scope: Scope,
) -> Client {
    let token = new_token().expose().to_owned();
    let _ = store
        .tokens()
        .create(environment, scope, None, &token)
        .await;
    Client {
        origin: origin.to_owned(),
        token,
        environment,
        http: reqwest::Client::new(),
    }
}

impl Client {
    /// The token it calls with.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// A request under [`BASE`] (or an absolute path, after `//`), to be finished by the caller.
    pub fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        let path = path
            .strip_prefix('/')
            .filter(|rest| rest.starts_with('/'))
            .map_or_else(|| format!("{BASE}{path}"), str::to_owned);
        self.http
            .request(method, format!("{}{path}", self.origin))
            .bearer_auth(&self.token)
    }

    /// As [`Self::request`], without the token.
    pub fn anonymous(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.http
            .request(method, format!("{}{BASE}{path}", self.origin))
    }

    pub async fn get(&self, path: &str) -> Reply {
        send(self.request(Method::GET, path)).await
    }

    pub async fn delete(&self, path: &str) -> Reply {
        send(self.request(Method::DELETE, path)).await
    }

    pub async fn post(&self, path: &str, body: Value) -> Reply {
        send(self.request(Method::POST, path).json(&body)).await
    }

    pub async fn put(&self, path: &str, body: Value) -> Reply {
        send(self.request(Method::PUT, path).json(&body)).await
    }

    pub async fn patch(&self, path: &str, body: Value) -> Reply {
        send(self.request(Method::PATCH, path).json(&body)).await
    }

    /// An active account of the bundled sample, on this source; its id.
    pub async fn account(&self, source: &str) -> String {
        let reply = self
            .post("/integrated-account", sample_account(source, GOOD_KEY))
            .await
            .expect(201);
        assert_eq!(reply.json()["status"], "active", "{}", reply.text);
        reply.id()
    }

    /// The reference sync job on the bundled sample; its id.
    pub async fn sync_job(&self) -> String {
        self.post("/sync-job", reference_job())
            .await
            .expect(201)
            .id()
    }

    /// An integration of the environment's own, `shop`, with `orders`, that nobody answers for.
    pub async fn shop(&self) {
        let document = json!({"label": "Shop", "config": {
            "base_url": "http://127.0.0.1:1",
            "authorization": {"format": "none"},
            "resources": {"orders": {"list": {"path": "/orders"}}},
        }});
        self.put("/integration/shop", document).await.expect(201);
    }

    /// A webhook with nothing special; its id.
    pub async fn webhook(&self) -> String {
        self.post(
            "/webhook",
            json!({"target_url": "https://example.com/hook"}),
        )
        .await
        .expect(201)
        .id()
    }
}

/// The API key that the sample source takes.
pub const GOOD_KEY: &str = "good-key-of-the-source";

/// The body that connects an account of the bundled sample.
pub fn sample_account(source: &str, key: &str) -> Value {
    json!({"integration_name": "sample", "tenant_id": "tenant-1", "credentials": {"api_key": key},
           "context": {"base_url": source}})
}

/// Orders, and the lines of each.
pub fn reference_job() -> Value {
    json!({
        "integration_name": "sample",
        "label": "orders and lines",
        "error_handling": "ignore",
        "resources": [
            {"resource": "wms/orders", "method": "list", "query": {"updated_at": {"gt": "{{previous_run_date}}"}}},
            {"resource": "wms/order-items", "method": "list", "depends_on": "wms/orders",
             "query": {"order_id": "{{resources.wms.orders.id}}"}},
        ],
    })
}

pub async fn send(request: reqwest::RequestBuilder) -> Reply {
    let response = request.send().await.expect("an answer");
    let (status, headers) = (response.status(), response.headers().clone());
    let text = response.text().await.expect("a body");
    Reply {
        status,
        headers,
        text,
    }
}

/// How long anything may take to come true.
const PATIENCE: Duration = Duration::from_secs(20);

/// Waits until `condition` holds.
pub async fn wait_until(what: &str, condition: impl AsyncFn() -> bool) {
    let started = Instant::now();
    while !condition().await {
        assert!(started.elapsed() < PATIENCE, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
