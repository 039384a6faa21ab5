//! Taking away what deleted accounts and environments leave behind, in bounded steps.
//!
//! State: the indexes themselves; what is gone is in none of them any more, and how
//! far a walk is, is in the body of its task. Authority: the task's lease, for its
//! body only: each step may be made again, by anybody, and changes nothing the second
//! time. Failures: a step that was cut off leaves the object in its index until all
//! else of it is gone, so it is found again.

use std::collections::{BTreeSet, HashMap, HashSet};

use redis::{AsyncCommands, streams::StreamRangeReply};
use serde_json::Value;

use super::{
    Store, StoreResult,
    attempts::attempt_of,
    queue::{Held, Queue, held, millis},
    scripts,
    scripts::unexpected,
};
use crate::{
    ids::{AccountId, CronTriggerId, EnvironmentId, WebhookId, WorkflowId},
    model::{attempt::AttemptOutcome, purge::Purge},
    queue::task::TaskBody,
};

/// Runs in any state that are taken away in one step, each with up to 50 streams.
const RUNS_AT_ONCE: usize = 20;
/// Dead letters of a step.
const LETTERS_AT_ONCE: usize = 500;
/// Attempts looked at in one step.
const ATTEMPTS_AT_ONCE: usize = 500;
/// Ended runs, redrives, watermarks, states, idempotency keys, documents and workflow runs of a step.
const ROWS_AT_ONCE: usize = 500;
/// Claimed or delayed tasks looked at in one step.
const TASKS_AT_ONCE: usize = 1_000;

/// Where a step of a walk ended; `None`: at the end.
pub type Place = Option<String>;

/// Sets of tasks that are walked through.
pub const TASK_SETS: [(Queue, &str); 4] = [
    (Queue::Runs, "claimed"),
    (Queue::Runs, "delayed"),
    (Queue::Fetches, "claimed"),
    (Queue::Fetches, "delayed"),
];

/// Whose dead letters are taken away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LettersOf {
    Webhook(WebhookId),
    /// Those that tell of it, at whatever webhook.
    Account(AccountId),
}

/// What becomes of the task of a purge after a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Checkpoint {
    /// The same worker goes on.
    Keep,
    /// Other tasks of the lane have their turn first.
    Turn,
    /// It waits.
    Wait(std::time::Duration),
}

/// The id of the task that purges an account or an environment.
#[must_use]
pub fn purge_task(of: impl std::fmt::Display) -> String {
    format!("{of}.purge")
}

fn is_done(script: &str, answer: &str) -> StoreResult<bool> {
    match answer {
        "done" => Ok(true),
        "more" => Ok(false),
        other => Err(unexpected(script, other)),
    }
}

impl Store {
    /// Writes how far a purge is, under the lease of its task.
    ///
    /// # Errors
    /// [`super::StoreError::Unavailable`]: call again.
    pub async fn checkpoint_purge(
        &self,
        task: &str,
        token: &str,
        purge: &Purge,
        then: Checkpoint,
    ) -> StoreResult<Held> {
        let mut call = self.call(&scripts::CHECKPOINT_TASK);
        call.arg(Queue::Runs.name())
            .arg(task)
            .arg(token)
            .arg(TaskBody::Purge(purge.clone()).to_string())
            .arg(match then {
                Checkpoint::Keep => "keep".to_owned(),
                Checkpoint::Turn => "turn".to_owned(),
                Checkpoint::Wait(delay) => millis(delay).to_string(),
            });
        held("checkpoint_task", &self.invoke::<String>(&call).await?)
    }

    /// Runs of an account that weren't told to their end.
    ///
    /// # Errors
    /// [`super::StoreError::Unavailable`].
    pub async fn untold_runs(&self, account: AccountId) -> StoreResult<u64> {
        let key = self.keys().join(&["account", &account.to_string(), "run"]);
        Ok(self.connection().scard(key).await?)
    }

    /// Takes away runs of an environment, whatever their state, or those of `account` that were told to their end; false:
    /// call again.
    ///
    /// # Errors
    /// [`super::StoreError::Unavailable`]: call again.
    pub async fn purge_runs(
        &self,
        environment: EnvironmentId,
        account: Option<AccountId>,
    ) -> StoreResult<bool> {
        let mut call = self.call(&scripts::PURGE_RUNS);
        call.arg(environment.to_string())
            .arg(
                account
                    .map(|account| account.to_string())
                    .unwrap_or_default(),
            )
            .arg(if account.is_some() {
                ROWS_AT_ONCE
            } else {
                RUNS_AT_ONCE
            });
        is_done("purge_runs", &self.invoke::<String>(&call).await?)
    }

    /// Takes away the dead letters of a webhook, or those that tell of an account; false: call again.
    ///
    /// # Errors
    /// [`super::StoreError::Unavailable`]: call again.
    pub async fn purge_letters(&self, of: LettersOf) -> StoreResult<bool> {
        let mut call = self.call(&scripts::PURGE_LETTERS);
        call.arg(match of {
            LettersOf::Webhook(webhook) => webhook.to_string(),
            LettersOf::Account(account) => account.to_string(),
        });
        call.arg(LETTERS_AT_ONCE);
        is_done("purge_letters", &self.invoke::<String>(&call).await?)
    }

    /// Webhooks that runs of an account send to, or sent to, in order.
    ///
    /// # Errors
    /// [`super::StoreError::Unavailable`].
    pub async fn webhooks_of(&self, account: AccountId) -> StoreResult<BTreeSet<String>> {
        let account = account.to_string();
        let key = self.keys().join(&["account", &account, "webhook"]);
        Ok(self.connection().smembers(key).await?)
    }

    /// A step through the attempts at a webhook that ended so: takes away those for runs of `account`, and those for runs
    /// that are gone, of which nobody can tell any more whose they were.
    ///
    /// # Errors
    /// [`super::StoreError::Unavailable`]: call again.
    pub async fn purge_attempts(
        &self,
        webhook: WebhookId,
        outcome: AttemptOutcome,
        account: AccountId,
        after: Option<&str>,
    ) -> StoreResult<Place> {
        let key = self.keys().attempts(webhook, outcome);
        let oldest = after.map_or_else(|| "-".to_owned(), |after| format!("({after}"));
        let mut connection = self.connection();
        let page: StreamRangeReply = connection
            .xrange_count(&key, oldest, "+", ATTEMPTS_AT_ONCE)
            .await?;
        let mut of_run = HashMap::new();
        for entry in &page.ids {
            if let Some(run) = attempt_of(entry)?.sync_job_run_id {
                of_run.insert(entry.id.clone(), run);
            }
        }
        let runs: Vec<_> = of_run
            .values()
            .collect::<HashSet<_>>()
            .into_iter()
            .collect();
        if !runs.is_empty() {
            let mut pipeline = redis::pipe();
            for run in &runs {
                pipeline.hget(self.keys().run(**run), "account");
            }
            let accounts: Vec<Option<String>> = pipeline.query_async(&mut connection).await?;
            let account = account.to_string();
            let others: HashSet<_> = runs
                .iter()
                .zip(accounts)
                .filter(|(_, of)| of.as_ref().is_some_and(|of| *of != account))
                .map(|(run, _)| **run)
                .collect();
            let goes: Vec<&String> = of_run
                .iter()
                .filter(|(_, run)| !others.contains(run))
                .map(|(entry, _)| entry)
                .collect();
            if !goes.is_empty() {
                let _removed: u64 = connection.xdel(&key, &goes).await?;
            }
        }
        let last = page.ids.last().map(|entry| entry.id.clone());
        Ok(last.filter(|_| page.ids.len() == ATTEMPTS_AT_ONCE))
    }

    /// Takes away what a webhook has beside its runs and dead letters; false: call again.
    ///
    /// # Errors
    /// [`super::StoreError::Unavailable`]: call again.
    pub async fn purge_webhook(&self, webhook: WebhookId) -> StoreResult<bool> {
        let mut call = self.call(&scripts::PURGE_WEBHOOK);
        call.arg(webhook.to_string()).arg(ROWS_AT_ONCE);
        is_done("purge_webhook", &self.invoke::<String>(&call).await?)
    }

    /// Takes away what an account has beside its ended runs; false: call again.
    ///
    /// # Errors
    /// [`super::StoreError::Unavailable`]: call again.
    pub async fn purge_account(
        &self,
        environment: EnvironmentId,
        account: AccountId,
    ) -> StoreResult<bool> {
        let mut call = self.call(&scripts::PURGE_ACCOUNT);
        call.arg(environment.to_string())
            .arg(account.to_string())
            .arg(RUNS_AT_ONCE)
            .arg(ROWS_AT_ONCE);
        is_done("purge_account", &self.invoke::<String>(&call).await?)
    }

    /// A step through one of [`TASK_SETS`]: takes away tasks of an environment's lane but `own`, and fetches of runs that
    /// are gone.
    ///
    /// # Errors
    /// [`super::StoreError::Unavailable`]: call again.
    pub async fn purge_tasks(
        &self,
        (queue, set): (Queue, &str),
        environment: Option<EnvironmentId>,
        own: &str,
        after: Option<&str>,
    ) -> StoreResult<Place> {
        let mut call = self.call(&scripts::PURGE_TASKS);
        call.arg(queue.name())
            .arg(set)
            .arg(environment.map(|lane| lane.to_string()).unwrap_or_default())
            .arg(own)
            .arg(after.unwrap_or("0"))
            .arg(TASKS_AT_ONCE);
        let cursor: String = self.invoke(&call).await?;
        Ok(Some(cursor).filter(|cursor| cursor != "0"))
    }

    /// A step through the workflow runs of an environment: takes away those about `account`, or all.
    ///
    /// # Errors
    /// [`super::StoreError::Unavailable`]: call again.
    pub async fn purge_workflow_runs(
        &self,
        environment: EnvironmentId,
        account: Option<AccountId>,
        after: Option<&str>,
    ) -> StoreResult<Place> {
        let keys = self.keys();
        let index = keys.workflow_runs_of(environment);
        let mut connection = self.connection();
        let oldest = after.map_or_else(|| "-".to_owned(), |after| format!("({after}"));
        let ids: Vec<String> = redis::cmd("ZRANGEBYLEX")
            .arg(&index)
            .arg(oldest)
            .arg("+")
            .arg(&["LIMIT", "0"])
            .arg(ROWS_AT_ONCE)
            .query_async(&mut connection)
            .await?;
        if ids.is_empty() {
            return Ok(None);
        }
        let rows: Vec<_> = ids.iter().map(|id| keys.workflow_run(id)).collect();
        let rows: Vec<Option<String>> = connection.mget(rows).await?;
        let account = account.map(|account| account.to_string());
        let mut pipeline = redis::pipe();
        for (id, row) in ids.iter().zip(rows) {
            let row: Value = row
                .and_then(|json| serde_json::from_str(&json).ok())
                .unwrap_or_default();
            let of = row["integrated_account_id"].as_str();
            let goes = account.is_none() || row.is_null() || of == account.as_deref();
            if !goes {
                continue;
            }
            let workflow = row["workflow_id"].as_str().unwrap_or_default();
            if let Ok(workflow) = workflow.parse::<WorkflowId>() {
                pipeline.zrem(keys.runs_of_workflow(workflow), id).ignore();
            }
            pipeline.unlink(keys.workflow_run(id)).ignore();
            pipeline.zrem(&index, id).ignore();
        }
        let () = pipeline.query_async(&mut connection).await?;
        let last = ids.last().cloned();
        Ok(last.filter(|_| ids.len() == ROWS_AT_ONCE))
    }

    /// Takes cron triggers out of the schedule, with what is known of their fires.
    ///
    /// # Errors
    /// [`super::StoreError::Unavailable`]: call again.
    pub async fn purge_schedule(&self, triggers: &[CronTriggerId]) -> StoreResult<()> {
        if triggers.is_empty() {
            return Ok(());
        }
        let mut pipeline = redis::pipe();
        for trigger in triggers {
            let schedule = self.keys().cron_schedule();
            pipeline.zrem(schedule, trigger.to_string()).ignore();
            pipeline.unlink(self.keys().cron(*trigger)).ignore();
        }
        Ok(pipeline.query_async(&mut self.connection()).await?)
    }

    /// Forgets the lists of what workflows did.
    ///
    /// # Errors
    /// [`super::StoreError::Unavailable`]: call again.
    pub async fn purge_workflows(&self, workflows: &[WorkflowId]) -> StoreResult<()> {
        let keys = workflows.iter().map(|id| self.keys().runs_of_workflow(*id));
        let keys: Vec<_> = keys.collect();
        if !keys.is_empty() {
            let _removed: u64 = self.connection().unlink(keys).await?;
        }
        Ok(())
    }

    /// Takes away `sync-job-run-state`s of an environment, some state keys at a time; false: call again.
    ///
    /// # Errors
    /// [`super::StoreError::Unavailable`]: call again.
    pub async fn purge_states(&self, environment: EnvironmentId) -> StoreResult<bool> {
        let environment = environment.to_string();
        let sizes = self.keys().join(&["state_sizes", &environment]);
        let mut connection = self.connection();
        let names: Vec<String> = redis::cmd("HRANDFIELD")
            .arg(&sizes)
            .arg(ROWS_AT_ONCE)
            .query_async(&mut connection)
            .await?;
        if names.is_empty() {
            return Ok(true);
        }
        let mut pipeline = redis::pipe();
        for name in &names {
            let kinds = ["state", "state_index"];
            let both = kinds.map(|kind| self.keys().join(&[kind, &environment, name]));
            pipeline.unlink(&both).ignore();
            // Last, so that they are found again.
            pipeline.hdel(&sizes, name).ignore();
        }
        let () = pipeline.query_async(&mut connection).await?;
        Ok(false)
    }

    /// Takes away idempotency keys of an environment, some at a time; false: call again.
    ///
    /// # Errors
    /// [`super::StoreError::Unavailable`]: call again.
    pub async fn purge_idempotency_keys(&self, environment: EnvironmentId) -> StoreResult<bool> {
        let index = self.keys().idempotency_index(environment);
        let mut connection = self.connection();
        let last = isize::try_from(ROWS_AT_ONCE).unwrap_or(isize::MAX) - 1;
        let keys: Vec<String> = connection.zrange(&index, 0, last).await?;
        if keys.is_empty() {
            return Ok(true);
        }
        let () = redis::pipe()
            .unlink(&keys)
            .ignore()
            .zrem(&index, &keys)
            .ignore()
            .query_async(&mut connection)
            .await?;
        Ok(false)
    }

    /// An environment uses its integration documents no more; those that nobody else uses go. False: call again.
    ///
    /// # Errors
    /// [`super::StoreError::Unavailable`]: call again.
    pub async fn release_documents(&self, environment: EnvironmentId) -> StoreResult<bool> {
        let mut call = self.call(&scripts::DOCUMENT_RELEASE);
        call.arg(environment.to_string()).arg(ROWS_AT_ONCE);
        is_done("document_release", &self.invoke::<String>(&call).await?)
    }

    /// Takes away what is left of an environment when everything in it is gone: its limits, those of its integrations,
    /// and its place among those whose list of runs is looked after.
    ///
    /// # Errors
    /// [`super::StoreError::Unavailable`]: call again.
    pub async fn purge_environment(&self, environment: EnvironmentId) -> StoreResult<()> {
        let id = environment.to_string();
        let keys = self.keys();
        let mut connection = self.connection();
        let places = keys.join(&["environment", &id, "place"]);
        let integrations: Vec<String> = connection.smembers(&places).await?;
        let limited = integrations.iter().chain([&id]);
        let limits = limited.map(|place| keys.join(&["environment", place, "limits"]));
        let () = redis::pipe()
            .del(limits.chain([places.clone()]).collect::<Vec<_>>())
            .ignore()
            .zrem(keys.join(&["retention"]), &id)
            .ignore()
            .hdel(keys.join(&["retention_place"]), &id)
            .ignore()
            .query_async(&mut connection)
            .await?;
        Ok(())
    }
}
