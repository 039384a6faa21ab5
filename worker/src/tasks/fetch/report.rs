//! A fetch that is given up: what is listed and told about it.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use shared::{
    clock::Timestamp,
    integration::errors::{BLOCKED, Classified, Verdict},
    model::run::ErrorHandling,
    queue::task::TaskFault,
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

impl Problem<'_> {
    /// Whether the source has answered, with something that another attempt would not change.
    fn was_answered(&self) -> bool {
        self.url.is_some() && self.failure.verdict == Verdict::Fail && self.failure.code != BLOCKED
    }
}

/// What is needed to give up.
pub(super) struct Failing<'a> {
    pub context: &'a Context,
    pub run: &'a LoadedRun,
    pub handle: &'a FetchHandle,
    pub parents: &'a BTreeMap<String, Value>,
}

/// What is listed of a fetch that is given up.
struct What<'a> {
    code: &'a str,
    message: &'a str,
    status: Option<u16>,
    request: Option<Value>,
    attempts: u32,
    requests: u32,
    /// Whether a retry of the run makes the fetch again.
    again: bool,
    answered: bool,
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
        again: true,
        answered: false,
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
        let of = What {
            code: problem.failure.code,
            message: &problem.failure.message,
            status: problem.failure.status,
            request,
            attempts: problem.attempt + 1,
            requests: problem.requests,
            again: true,
            answered: problem.was_answered(),
        };
        self.record(&of, self.policy()).await
    }

    pub async fn give_up_because(
        &self,
        code: &str,
        message: &str,
        attempts: u32,
        requests: u32,
    ) -> Result<&'static str, LoadError> {
        let of = What {
            code,
            message,
            status: None,
            request: None,
            attempts,
            requests,
            again: true,
            answered: false,
        };
        self.record(&of, self.policy()).await
    }

    /// Tells an error that was found before any request, and that none can mend.
    pub async fn tell(&self, fault: &TaskFault) -> Result<&'static str, LoadError> {
        let of = What {
            code: &fault.code,
            message: &fault.message,
            status: None,
            request: None,
            attempts: 0,
            requests: 0,
            again: false,
            answered: false,
        };
        self.record(&of, self.policy()).await
    }

    /// Whether the run fails with its first error.
    pub fn fails_fast(&self) -> bool {
        self.policy() == ErrorHandling::FailFast
    }

    fn policy(&self) -> ErrorHandling {
        let spec = &self.run.spec;
        let node = self.run.plan.nodes.get(self.handle.node);
        node.map_or(spec.error_handling, |node| node.policy(spec))
    }

    async fn record(
        &self,
        of: &What<'_>,
        policy: ErrorHandling,
    ) -> Result<&'static str, LoadError> {
        let node = self.run.plan.nodes.get(self.handle.node);
        let resource = node.map_or("", |node| node.resource.as_str());
        let error = json!({
            "resource": resource,
            "name": node.map(|node| &node.name),
            "method": node.map(|node| &node.method),
            "parent": if self.parents.is_empty() { Value::Null } else { json!(self.parents) },
            "code": of.code,
            "message": of.message,
            "status": of.status,
            "attempts": of.attempts,
            "request": of.request,
            "at": Timestamp::now(),
        });
        if of.again {
            tracing::warn!(
                run.id = %self.handle.run, task.id = %self.handle.task, resource, code = of.code, status = of.status,
                attempts = of.attempts, error = of.message, "a fetch was given up"
            );
        } else {
            // What an expression says may hold what it was given.
            tracing::debug!(run.id = %self.handle.run, task.id = %self.handle.task, resource, code = of.code, "a record could not be used");
        }
        let failure = FetchFailure {
            requests: of.requests,
            error: error.to_string(),
            policy,
            code: of.code,
            message: of.message,
            resource,
            again: of.again,
            answered: of.answered,
        };
        let step = until_available(|| self.context.store.fail_fetch(self.handle, &failure)).await?;
        Ok(outcome(step, "failed"))
    }
}
