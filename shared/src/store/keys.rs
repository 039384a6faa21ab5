//! Every key of the store.
//!
//! All keys start with `{prefix}:{p0}:`; the braces make `p0` the hash tag, so the
//! keys of one partition are in one slot of a Redis Cluster and a script may touch
//! any of them. Scripts get that base as `KEYS[1]` and derive the rest by the names
//! in this table (`lua/lib/*.lua` use the same words):
//!
//! | key after the base | type | what |
//! |---|---|---|
//! | `<queue>:turns` | zset | environment with lanes that may run → its pass; the lowest is next |
//! | `<queue>:turns:<place>` | list | lanes of a place that may run, next one first; a place is `<env>` or, listed in it, `<env>/<integration>` |
//! | `<queue>:rotation` | list | lanes of all environments, as an earlier version left them; emptied by the next claim |
//! | `fetches:groups` | set | places that are in the list of their environment |
//! | `fetches:in_flight` | hash | place → fetches in flight |
//! | `fetches:full`, `fetches:paced` | set, zset | places at a limit; of those that wait for their pace, until when |
//! | `environment:<env>:place` | set | places of integrations whose accounts share a budget |
//! | `environment:<place>:limits` | hash | `weight`, `fetches` (most in flight), where they are set |
//! | `<queue>:ready:<lane>` | list | ready tasks, payload inline |
//! | `<queue>:lane:<lane>` | hash | `in_flight`, `limit`, `blocked_until`, `in_rotation`, `place`, `awaits_account`, `limited_until`, `circuit`, `circuit_until` |
//! | `<queue>:blocked` | zset | lane → time it is free again |
//! | `<queue>:delayed` | zset | task → time it is due |
//! | `<queue>:claimed` | zset | task → end of its lease |
//! | `<queue>:task:<task>` | hash | a delayed or claimed task |
//! | `<queue>:idle` | string | set while a worker waits for this queue |
//! | `run:<run>` | hash | state and counters of a run, its nodes and streams |
//! | `run:<run>:spec` | string | what the run was started with |
//! | `run:<run>:stream:<n>`, `run:<run>:index:<n>` | list | undelivered chunks of a stream, and their sizes |
//! | `run:<run>:error`, `run:<run>:event` | list | what went wrong; what was sent |
//! | `workflow_run:<workflow run>` | string | what a workflow did for one event, as JSON |
//! | `environment:<env>:workflow_run`, `workflow:<workflow>:run` | zset | workflow runs of an environment, of a workflow |
//! | `cron` | zset | cron trigger → when it is looked at next |
//! | `cron:<trigger>` | hash | where a cron trigger stands |
//! | `account:<account>:run` | set | runs of an account that aren't told to their end |
//! | `account:<account>:ended`, `account:<account>:dead` | zset | its runs that were; dead letters that tell of it |
//! | `account:<account>:webhook` | set | webhooks that its runs send to |
//! | `outbox:<webhook>` and what follows it | | events that belong to no run: the fields of a run's stream `c`, and its lists |
//! | `outbox_dropped` | string | events that full outboxes did not take |
//! | `run:<run>:timeline` | list | what happened, and when |
//! | `run:<run>:failed`, `run:<run>:retry` | list | tasks of fetches that were given up; of a retry, those it begins with |
//! | `mutex:<env>:<key>`, `mutex_waiting:<env>:<key>` | set, list | runs of a mutex key that are active; that wait |
//! | `deadlines` | zset | run → time until which it may last |
//! | `state:<env>:<state_key>`, `state_index:<env>:<state_key>` | hash, zset | entries of a `sync-job-run-state` by key; their keys in order |
//! | `state_sizes:<env>` | hash | state key → number of its entries |
//! | `flow:<webhook>` | hash | undelivered bytes and records, whether they are over a mark |
//! | `flow:<webhook>:parked` | list | fetch tasks waiting for the receiver |
//! | `health:<webhook>` | hash | while its deliveries fail: how often, since when (`lua/lib/health.lua`) |
//! | `source:<account>` | hash | failures of a source in a row, since when, pauses made for it |
//! | `released:<webhook>` | string | when it was last switched on or got another target, ms |
//! | `pace:<webhook>`, `pace:<account>`, `pace:<place>` | string | when a webhook with a rate may be sent to again, or a source with a pace be asked, µs |
//! | `full` | string | set, for some seconds, while Redis has little memory left |
//! | `undelivered_bytes` | string | undelivered bytes of all webhooks |
//! | `parked` | set | webhooks with parked tasks |
//! | `retention`, `retention_place` | zset, hash | environment → when expired runs leave its list next; how far that is |
//! | `dead:<webhook>` | zset | dead letters of a webhook, in the order of their ids |
//! | `dead_letter:<event>` | hash | one dead letter with its bytes |
//! | `attempts:<webhook>:delivered`, `attempts:<webhook>:failed` | stream | the newest attempts at a webhook, as JSON |
//! | `redrive:<redrive>` | hash | a redrive of dead letters, and how far it is |
//! | `redrives:<webhook>` | zset | redrives of a webhook, in the order of their ids |
//! | `redriving:<webhook>` | string | the redrive of a webhook that is running |
//! | `watermark:<account>:<job>` | hash | resource → `previous_run_date` |
//! | `watermark:<account>` | set | jobs of which there are watermarks |
//! | `environment:<env>:run` | zset | runs of an environment |
//! | `document:<hash>` | string | an integration document |
//! | `document_users:<hash>`, `environment:<env>:document` | set | environments that use it, and `bundled`; documents of an environment |
//! | `clock_shift` | string | milliseconds tests add to Redis's clock |

use crate::{
    ids::{
        AccountId, CronTriggerId, EnvironmentId, EventId, RedriveId, RunId, SyncJobId, WebhookId,
        WorkflowId,
    },
    model::attempt::AttemptOutcome,
};

/// The keys under one prefix.
#[derive(Debug, Clone)]
pub struct Keys {
    base: String,
}

impl Keys {
    #[must_use]
    pub fn new(prefix: &str) -> Self {
        Self {
            base: format!("{prefix}:{{p0}}"),
        }
    }

    /// What every key starts with, without the last colon: `KEYS[1]` of the scripts.
    #[must_use]
    pub fn base(&self) -> &str {
        &self.base
    }

    /// `{base}:a:b:c`.
    #[must_use]
    pub fn join(&self, parts: &[&str]) -> String {
        let mut key = self.base.clone();
        for part in parts {
            key.push(':');
            key.push_str(part);
        }
        key
    }

    /// The channel on which idle workers are woken; a message names the queue.
    #[must_use]
    pub fn wake_channel(&self) -> String {
        self.join(&["wake"])
    }

    #[must_use]
    pub fn run(&self, run: RunId) -> String {
        self.join(&["run", &run.to_string()])
    }

    #[must_use]
    pub fn run_spec(&self, run: RunId) -> String {
        self.join(&["run", &run.to_string(), "spec"])
    }

    #[must_use]
    pub fn run_errors(&self, run: RunId) -> String {
        self.join(&["run", &run.to_string(), "error"])
    }

    #[must_use]
    pub fn run_events(&self, run: RunId) -> String {
        self.join(&["run", &run.to_string(), "event"])
    }

    #[must_use]
    pub fn run_timeline(&self, run: RunId) -> String {
        self.join(&["run", &run.to_string(), "timeline"])
    }

    /// The active runs of a mutex key.
    #[must_use]
    pub fn mutex(&self, environment: EnvironmentId, key: &str) -> String {
        self.join(&["mutex", &environment.to_string(), key])
    }

    #[must_use]
    pub fn runs_of(&self, environment: EnvironmentId) -> String {
        self.join(&["environment", &environment.to_string(), "run"])
    }

    #[must_use]
    pub fn flow(&self, webhook: WebhookId) -> String {
        self.join(&["flow", &webhook.to_string()])
    }

    #[must_use]
    pub fn health(&self, webhook: WebhookId) -> String {
        self.join(&["health", &webhook.to_string()])
    }

    /// All cron triggers that are switched on.
    #[must_use]
    pub fn cron_schedule(&self) -> String {
        self.join(&["cron"])
    }

    #[must_use]
    pub fn cron(&self, trigger: CronTriggerId) -> String {
        self.join(&["cron", &trigger.to_string()])
    }

    #[must_use]
    pub fn workflow_run(&self, id: &str) -> String {
        self.join(&["workflow_run", id])
    }

    #[must_use]
    pub fn workflow_runs_of(&self, environment: EnvironmentId) -> String {
        self.join(&["environment", &environment.to_string(), "workflow_run"])
    }

    #[must_use]
    pub fn runs_of_workflow(&self, workflow: WorkflowId) -> String {
        self.join(&["workflow", &workflow.to_string(), "run"])
    }

    #[must_use]
    pub fn outbox(&self, webhook: WebhookId) -> String {
        self.join(&["outbox", &webhook.to_string()])
    }

    #[must_use]
    pub fn dead_letters(&self, webhook: WebhookId) -> String {
        self.join(&["dead", &webhook.to_string()])
    }

    #[must_use]
    pub fn dead_letter(&self, event: EventId) -> String {
        self.join(&["dead_letter", &event.to_string()])
    }

    /// The log of attempts at a webhook that ended so.
    #[must_use]
    pub fn attempts(&self, webhook: WebhookId, outcome: AttemptOutcome) -> String {
        let outcome = match outcome {
            AttemptOutcome::Delivered => "delivered",
            AttemptOutcome::Failed => "failed",
        };
        self.join(&["attempts", &webhook.to_string(), outcome])
    }

    #[must_use]
    pub fn redrive(&self, redrive: RedriveId) -> String {
        self.join(&["redrive", &redrive.to_string()])
    }

    #[must_use]
    pub fn redrives_of(&self, webhook: WebhookId) -> String {
        self.join(&["redrives", &webhook.to_string()])
    }

    #[must_use]
    pub fn watermarks(&self, account: AccountId, job: SyncJobId) -> String {
        self.join(&["watermark", &account.to_string(), &job.to_string()])
    }

    #[must_use]
    pub fn document(&self, hash: &str) -> String {
        self.join(&["document", hash])
    }

    #[must_use]
    pub fn clock_shift(&self) -> String {
        self.join(&["clock_shift"])
    }
}
