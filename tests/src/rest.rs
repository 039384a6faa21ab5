//! A REST client of the API, as a user would write one: a base URL and a token.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use reqwest::{Method, StatusCode};
use serde_json::Value;

/// Under the programs' own deadlines nothing takes that long.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Between two looks at a run.
const POLL_INTERVAL: Duration = Duration::from_millis(10);
/// States that a run doesn't leave.
const FINAL_STATES: [&str; 3] = ["completed", "failed", "stopped"];

/// Speaks to one API with one token; cheap to clone.
#[derive(Debug, Clone)]
pub struct Rest {
    client: reqwest::Client,
    base: String,
    token: String,
}

impl Rest {
    /// `base`: up to and including `/api/v1/ipaas`.
    pub fn new(base: String, token: String) -> Result<Self> {
        let client = reqwest::Client::builder().timeout(TIMEOUT).build()?;
        Ok(Self {
            client,
            base,
            token,
        })
    }

    /// The same API with another token.
    #[must_use]
    pub fn with_token(&self, token: &str) -> Self {
        Self {
            token: token.to_owned(),
            ..self.clone()
        }
    }

    /// The status and body of any call; a body that is no JSON is `null`.
    pub async fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<(StatusCode, Value)> {
        self.call_once(method, path, body, None).await
    }

    /// As [`Self::call`], under an `Idempotency-Key`.
    pub async fn call_once(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        idempotency_key: Option<&str>,
    ) -> Result<(StatusCode, Value)> {
        let mut request = self
            .client
            .request(method, format!("{}{path}", self.base))
            .bearer_auth(&self.token);
        if let Some(key) = idempotency_key {
            request = request.header("idempotency-key", key);
        }
        if let Some(body) = body {
            request = request
                .header("content-type", "application/json")
                .body(serde_json::to_vec(body)?);
        }
        let response = request.send().await?;
        let status = response.status();
        Ok((
            status,
            serde_json::from_slice(&response.bytes().await?).unwrap_or_default(),
        ))
    }

    /// The body of a call that must succeed.
    async fn expect(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Value> {
        let (status, answer) = self.call(method.clone(), path, body).await?;
        if !status.is_success() {
            bail!("{method} {path} answered {status}: {answer}");
        }
        Ok(answer)
    }

    pub async fn get(&self, path: &str) -> Result<Value> {
        self.expect(Method::GET, path, None).await
    }

    pub async fn post(&self, path: &str, body: &Value) -> Result<Value> {
        self.expect(Method::POST, path, Some(body)).await
    }

    pub async fn put(&self, path: &str, body: &Value) -> Result<Value> {
        self.expect(Method::PUT, path, Some(body)).await
    }

    pub async fn patch(&self, path: &str, body: &Value) -> Result<Value> {
        self.expect(Method::PATCH, path, Some(body)).await
    }

    /// Creates an object and gives its id.
    pub async fn create(&self, path: &str, body: &Value) -> Result<String> {
        let created = self.post(path, body).await?;
        let id = created["id"]
            .as_str()
            .with_context(|| format!("POST {path} answered no id: {created}"))?;
        Ok(id.to_owned())
    }

    /// Waits until the run has ended, in whichever way, and gives it; an error with its last state after `within`.
    pub async fn wait_for_end(&self, run_id: &str, within: Duration) -> Result<Value> {
        let deadline = tokio::time::Instant::now() + within;
        loop {
            let run = self.get(&format!("/sync-job-run/{run_id}")).await?;
            if FINAL_STATES.iter().any(|state| run["status"] == *state) {
                return Ok(run);
            }
            if tokio::time::Instant::now() > deadline {
                bail!(
                    "waited {}s for the end of the run; last seen: {run}",
                    within.as_secs()
                );
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }
}
