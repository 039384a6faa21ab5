//! Starting a run.
//!
//! Triggered by the acceptance of a run. Lays out its nodes, reads the watermarks,
//! queues the root fetches and the `started` event, all in one script that also
//! ends this task; running it twice is harmless because the second script finds
//! the token or the status changed. A run that can't be planned fails with the
//! reason.

use std::collections::HashMap;

use shared::{
    clock::Timestamp,
    ids::RunId,
    integration::BudgetScope,
    model::{
        event,
        run::{ErrorHandling, RunSpec},
    },
    queue::task::FetchBody,
    store::{
        fetches::FetchStep,
        queue::{Claim, MAX_RESCUES},
        runs::{NodeLayout, RunStart, SharedBudget},
    },
};

use super::patience::until_available;
use crate::context::{Context, LoadError, LoadedRun};

/// Fetches of one integrated account at once, over all workers, unless its integration has a budget of its own.
pub const FETCHES_PER_ACCOUNT: u32 = 16;

/// Runs the task; the word is its outcome in metrics and logs.
///
/// # Errors
/// What the store can't do; the task stays claimed and is rescued.
pub async fn execute(
    context: &Context,
    claim: &Claim,
    run_id: RunId,
) -> Result<&'static str, LoadError> {
    if claim.rescues > MAX_RESCUES {
        tracing::error!(run.id = %run_id, "the worker crashed each time it started this run");
        let message = "the worker crashed each time it started this run; it was given up";
        return fail(context, claim, run_id, "worker_crashed", message).await;
    }
    let run = match context.run(run_id).await {
        Ok(Some(run)) => run,
        Ok(None) => return finish(context, claim).await,
        Err(LoadError::Store(error)) => return Err(error.into()),
        Err(error) => {
            tracing::warn!(run.id = %run_id, error = %error, "the run can't be planned");
            return fail(
                context,
                claim,
                run_id,
                "invalid_sync_job",
                &error.to_string(),
            )
            .await;
        }
    };
    let nodes = layout(context, &run).await?;
    let resources: Vec<String> = run
        .plan
        .nodes
        .iter()
        .map(|node| node.resource.clone())
        .collect();
    let details = event::started_details(&run.spec, &resources);
    // A retry begins with what failed; the script knows that.
    let retries = run.spec.retry_of.is_some();
    let roots = run.plan.nodes.iter();
    let roots = roots.filter(|node| node.parent.is_none() && !retries);
    let budget = run.integration.budget();
    let own = budget.concurrency.unwrap_or(FETCHES_PER_ACCOUNT);
    let (fetch_limit, shared_budget) = match budget.scope {
        BudgetScope::Account => (own, None),
        BudgetScope::Integration => {
            let shared = SharedBudget {
                environment: run.spec.environment_id,
                integration: &run.integration.name,
                most: budget.concurrency,
            };
            (own.min(FETCHES_PER_ACCOUNT), Some(shared))
        }
    };
    let start = RunStart {
        task: &claim.id,
        token: &claim.token,
        run: run_id,
        started: serde_json::Value::Object(details).to_string(),
        fetch_limit,
        pace: budget.pace,
        shared_budget,
        nodes: &nodes,
        roots: roots
            .map(|node| (node.index, FetchBody::default().to_json()))
            .collect(),
    };
    let runs = context.store.runs();
    // Not waited for here: a Redis that is full refuses it for long, and what would make room needs the slot.
    let step = runs.start(&start).await?;
    if step == FetchStep::Done {
        tracing::info!(run.id = %run_id, job.id = %run.spec.sync_job_id, account.id = %run.spec.integrated_account_id, "run started");
    }
    Ok(word(step))
}

async fn finish(context: &Context, claim: &Claim) -> Result<&'static str, LoadError> {
    let queue = shared::store::queue::Queue::Runs;
    until_available(|| context.store.finish_task(queue, &claim.id, &claim.token)).await?;
    Ok("dropped")
}

async fn fail(
    context: &Context,
    claim: &Claim,
    run: RunId,
    code: &str,
    message: &str,
) -> Result<&'static str, LoadError> {
    let runs = context.store.runs();
    let step =
        until_available(|| runs.fail_start(&claim.id, &claim.token, run, code, message)).await?;
    Ok(if step == FetchStep::Done {
        "failed"
    } else {
        word(step)
    })
}

fn word(step: FetchStep) -> &'static str {
    match step {
        FetchStep::Done => "done",
        FetchStep::Stale => "stale",
        FetchStep::RunEnded => "run_ended",
    }
}

/// `previous_run_date`; a retry has that of the run it mends, which looked back already.
fn previous_run(spec: &RunSpec, watermark: Option<Timestamp>) -> Option<i64> {
    let previous = if spec.retry.is_some() {
        watermark
    } else {
        spec.options.previous_run(watermark)
    };
    previous.map(|time| time.0)
}

/// Each node with the gate that orders its stream behind its parents' and with its watermark.
async fn layout(context: &Context, run: &LoadedRun) -> Result<Vec<NodeLayout>, LoadError> {
    let spec = &run.spec;
    let watermarks: HashMap<_, _> = if let Some(retry) = &spec.retry {
        retry.previous.clone().into_iter().collect()
    } else if spec.ignore_previous_run {
        HashMap::new()
    } else {
        let (account, job) = (spec.integrated_account_id, spec.sync_job_id);
        context.store.runs().watermarks(account, job).await?
    };
    let records_wanted = spec.subscribes(event::RECORD);
    let mut nodes: Vec<NodeLayout> = run
        .plan
        .nodes
        .iter()
        .map(|node| NodeLayout {
            name: node.name.clone(),
            resource: node.resource.clone(),
            method: node.method.clone(),
            parent: node.parent,
            kids: node.children.clone(),
            stored: node.persist && records_wanted,
            gate: None,
            gated: Vec::new(),
            previous_run_ms: previous_run(spec, watermarks.get(&node.name).copied()),
            batch_errors: node.policy(spec) == ErrorHandling::Batch,
        })
        .collect();
    for index in 0..nodes.len() {
        // Parents stand before their children, so theirs is known already.
        nodes[index].gate = nodes[index].parent.and_then(|parent| {
            if nodes[parent].stored {
                Some(parent)
            } else {
                nodes[parent].gate
            }
        });
        if let Some(gate) = nodes[index].gate {
            nodes[gate].gated.push(index);
        }
    }
    Ok(nodes)
}
