//! An API process's worth of state on a port of its own, and a client for it.

use std::{net::TcpListener, sync::Arc, time::Duration};

use api::{catalog::Catalog, state::AppState};
use reqwest::{Method, StatusCode, header::HeaderMap};
use serde_json::{Value, json};
use shared::{
    http::{Outbound, TargetPolicy},
    ids::EnvironmentId,
    model::token::Scope,
    seal::{Sealer, token::new_token},
    store::Store,
    testing,
};
use tokio_util::sync::{CancellationToken, DropGuard};

/// What every path starts with.
pub const BASE: &str = "/api/v1/ipaas";

/// A running API and an admin token of its one environment.
pub struct Api {
    pub origin: String,
    pub store: Store,
    pub client: Client,
    _stop: DropGuard,
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
        self.json()["id"].as_str().unwrap_or_else(|| panic!("no id in {}", self.text)).to_owned()
    }

    /// Asserts status and error code; gives the pointers of the details.
    #[track_caller]
    pub fn refused(&self, status: u16, code: &str) -> Vec<String> {
        assert_eq!(self.status.as_u16(), status, "{}", self.text);
        let error = &self.json()["error"];
        assert_eq!(error["code"], code, "{}", self.text);
        assert_eq!(error["request_id"].as_str(), self.headers["x-request-id"].to_str().ok());
        assert!(error["message"].as_str().is_some_and(|message| !message.is_empty()));
        let details = error["details"].as_array().expect("details");
        details.iter().map(|detail| detail["pointer"].as_str().expect("a pointer").to_owned()).collect()
    }

    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status.as_u16(), status, "{}", self.text);
        self
    }
}

/// Starts an API on a store of its own.
pub async fn start() -> Api {
    start_on(testing::redis::store().await).await
}

/// Starts an API on this store, with a token in a new environment.
pub async fn start_on(store: Store) -> Api {
    let targets = TargetPolicy::new(&["127.0.0.0/8".to_owned()], true).expect("a policy");
    let state = AppState {
        store: store.clone(),
        store_checked: Arc::new(true.into()),
        sealer: Sealer::new(Sealer::new_master_key().expose()).expect("a key"),
        outbound: Outbound::new(targets.clone()).expect("a client"),
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
    Api { origin, store, client, _stop: stop.drop_guard() }
}

fn catalog() -> Catalog {
    Catalog::default()
}

/// A client with a new token in a new environment.
pub async fn client(store: &Store, origin: &str, environment: &str, scope: Scope) -> Client {
    let made = store.tokens().create_environment(environment).await;
    // Without Redis there is no environment, and a test of that needs none.
    let id = made.ok().flatten().map_or(EnvironmentId::from_bits(0), |environment| environment.id);
    client_in(store, origin, id, scope).await
}

/// A client with a new token in this environment.
pub async fn client_in(store: &Store, origin: &str, environment: EnvironmentId, scope: Scope) -> Client {
    let token = new_token().expose().to_owned();
    let _ = store.tokens().create(environment, scope, None, &token).await;
    Client { origin: origin.to_owned(), token, environment, http: reqwest::Client::new() }
}

impl Client {
    /// A request under [`BASE`] (or an absolute path, after `//`), to be finished by the caller.
    pub fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        let path = path.strip_prefix('/').filter(|rest| rest.starts_with('/')).map_or_else(|| format!("{BASE}{path}"), str::to_owned);
        self.http.request(method, format!("{}{path}", self.origin)).bearer_auth(&self.token)
    }

    /// As [`Self::request`], without the token.
    pub fn anonymous(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.http.request(method, format!("{}{BASE}{path}", self.origin))
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

    /// A webhook with nothing special; its id.
    pub async fn webhook(&self) -> String {
        self.post("/webhook", json!({"target_url": "https://example.com/hook"})).await.expect(201).id()
    }
}

pub async fn send(request: reqwest::RequestBuilder) -> Reply {
    let response = request.send().await.expect("an answer");
    let (status, headers) = (response.status(), response.headers().clone());
    let text = response.text().await.expect("a body");
    Reply { status, headers, text }
}
