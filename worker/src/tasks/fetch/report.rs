//! A fetch that is given up: what is listed and told about it.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use shared::{
    clock::Timestamp,
    integration::errors::Classified,
    model::run::ErrorHandling,
    store::fetches::{FetchFailure, FetchHandle},
};

use super::{outcome, until_available};
use crate::context::{Context, LoadError, LoadedRun};

/// What went wrong in one attempt.
pub(super) struct Problem<'a> {
    pub failure: &'a Classified,
    /// Requests made since the last commit.
    pub requests: u32,
    /// Method and URL without query, for people.
    pub url: Option<(String, String)>,
    /// Attempts that failed before this one.
    pub attempt: u32,
}

/// What is needed to give up.
pub(super) struct Failing<'a> {
    pub context: &'a Context,
    pub run: &'a LoadedRun,
    pub handle: &'a FetchHandle,
    pub parents: &'a BTreeMap<String, Value>,
}

/// Gives up a fetch whose run can't be compiled, from what is stored about it.
pub(super) async fn give_up_unreadable(
    context: &Context,
    handle: &FetchHandle,
    message: &str,
    attempts: u32,
) -> Result<&'static str, LoadError> {
    let code = "invalid_sync_job";
    let runs = context.store.runs();
    let policy = runs
        .spec(handle.run)
        .await?
        .map_or(ErrorHandling::Ignore, |spec| spec.error_handling);
    let state = runs.state(handle.run).await?;
    let resource = state
        .get(&format!("n{}:resource", handle.node))
        .map_or("", String::as_str);
    tracing::warn!(run.id = %handle.run, task.id = %handle.task, resource, error = message, "a fetch was given up");
    let field = |name: &str| state.get(&format!("n{}:{name}", handle.node));
    let error = json!({
        "resource": resource, "name": field("name"), "method": field("method"), "parent": null, "code": code,
        "message": message, "status": null, "attempts": attempts, "request": null, "at": Timestamp::now(),
    });
    let failure = FetchFailure {
        requests: 0,
        error: error.to_string(),
        policy,
        code,
        message,
        resource,
    };
    let step = until_available(|| context.store.fail_fetch(handle, &failure)).await?;
    Ok(outcome(step, "failed"))
}

impl Failing<'_> {
    pub async fn give_up(&self, problem: &Problem<'_>) -> Result<&'static str, LoadError> {
        let request = problem
            .url
            .as_ref()
            .map(|(method, url)| json!({"method": method, "url": url}));
        self.record(
            problem.failure.code,
            &problem.failure.message,
            problem.failure.status,
            request,
            problem.attempt + 1,
            problem.requests,
        )
        .await
    }

    pub async fn give_up_because(
        &self,
        code: &'static str,
        message: &str,
        attempts: u32,
        requests: u32,
    ) -> Result<&'static str, LoadError> {
        self.record(code, message, None, None, attempts, requests)
            .await
    }

    async fn record(
        &self,
        code: &'static str,
        message: &str,
        status: Option<u16>,
        request: Option<Value>,
        attempts: u32,
        requests: u32,
    ) -> Result<&'static str, LoadError> {
        let node = self.run.plan.nodes.get(self.handle.node);
        let resource = node.map_or("", |node| node.resource.as_str());
        let policy = node
            .and_then(|node| node.error_handling)
            .unwrap_or(self.run.spec.error_handling);
        let error = json!({
            "resource": resource,
            "name": node.map(|node| &node.name),
            "method": node.map(|node| &node.method),
            "parent": if self.parents.is_empty() { Value::Null } else { json!(self.parents) },
            "code": code,
            "message": message,
            "status": status,
            "attempts": attempts,
            "request": request,
            "at": Timestamp::now(),
        });
        tracing::warn!(
            run.id = %self.handle.run, task.id = %self.handle.task, resource, code, status, attempts, error = message,
            "a fetch was given up"
        );
        let failure = FetchFailure {
            requests,
            error: error.to_string(),
            policy,
            code,
            message,
            resource,
        };
        let step = until_available(|| self.context.store.fail_fetch(self.handle, &failure)).await?;
        Ok(outcome(step, "failed"))
    }
}
