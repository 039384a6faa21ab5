//! The Lua scripts, each put together from the library files it needs, and the
//! one place that calls them.
//!
//! Each state transition of the engine is one script. Their headers say what they
//! take, return and keep true; the typed wrappers beside this file turn their
//! answers into enums. A script that Redis has forgotten (`SCRIPT FLUSH`, a
//! restart) is loaded again by the call that misses it.

use std::{
    ops::{Deref, DerefMut},
    sync::LazyLock,
};

use redis::{FromRedisValue, Script, ScriptInvocation};

use super::{Store, StoreError, StoreResult};
use crate::failure::{self, Side};

/// A script with its name, which is that of its file.
pub(super) struct EngineScript {
    name: &'static str,
    script: LazyLock<Script>,
}

/// `$when_full`: what Redis does with the script when its memory is used up. Steps
/// that bring in work are refused; steps that give memory back, or that must not
/// be lost half way, run all the same, so that a full Redis empties itself.
macro_rules! scripts {
    ($(($script:ident, $when_full:ident, [$($library:literal),*], $file:literal);)+) => {
        $(
            pub(super) static $script: EngineScript = EngineScript {
                name: $file,
                script: LazyLock::new(|| {
                    Script::new(concat!(
                        scripts!(@$when_full),
                        $(include_str!(concat!("lua/lib/", $library, ".lua")),)*
                        include_str!(concat!("lua/", $file, ".lua"))
                    ))
                }),
            };
        )+

        /// Names of all scripts.
        pub const SCRIPT_NAMES: &[&str] = &[$($file,)+];
    };
    (@refused) => { "#!lua\n" };
    (@allowed) => { "#!lua flags=allow-oom\n" };
}

scripts! {
    (PUSH_TASKS, refused, ["clock", "entries", "queue"], "push_tasks");
    (CLAIM, allowed, [
        "clock", "entries", "queue", "pace", "timeline", "mutex", "flow", "stream", "cron", "workflow", "index", "run"
    ], "claim");
    (EXTEND, allowed, ["clock"], "extend");
    (RESCUE_EXPIRED, allowed, ["clock", "entries", "queue"], "rescue_expired");
    (HAND_BACK, allowed, ["clock", "entries", "queue"], "hand_back");
    (FINISH_TASK, allowed, ["clock", "entries", "queue"], "finish_task");
    (RETRY_TASK, allowed, ["clock", "entries", "queue"], "retry_task");
    (QUEUE_GAUGES, allowed, ["clock"], "queue_gauges");
    (IS_OVER, allowed, ["clock", "entries", "queue", "timeline", "flow"], "is_over");
    (UNPARK, allowed, ["clock", "entries", "queue", "timeline", "flow"], "unpark");
    (ENVIRONMENT_LIMITS, allowed, ["clock", "entries", "queue"], "environment_limits");
    (MARK_FULL, allowed, [], "mark_full");
    (PROBE, allowed, [], "probe");
    (CREATE_RUN, refused, ["clock", "entries", "queue", "timeline", "mutex", "flow", "stream", "index", "accept"], "create_run");
    (START_RUN, refused, [
        "clock", "entries", "queue", "timeline", "mutex", "flow", "stream", "cron", "workflow", "index", "run"
    ], "start_run");
    (RETRY_RUN, refused, ["clock", "entries", "queue", "timeline", "mutex", "flow", "stream", "index", "accept"], "retry_run");
    (DELETE_RUN, allowed, [
        "clock", "entries", "queue", "timeline", "mutex", "flow", "stream", "cron", "workflow", "index", "run"
    ], "delete_run");
    (FAIL_OVERDUE, allowed, [
        "clock", "entries", "queue", "timeline", "mutex", "flow", "stream", "cron", "workflow", "index", "run"
    ], "fail_overdue");
    (STATE_PUT, refused, ["clock"], "state_put");
    (STATE_DELETE, allowed, [], "state_delete");
    (SET_WATERMARKS, refused, [], "set_watermarks");
    (FAIL_START, allowed, [
        "clock", "entries", "queue", "timeline", "mutex", "flow", "stream", "cron", "workflow", "index", "run"
    ], "fail_start");
    (STOP_RUN, allowed, [
        "clock", "entries", "queue", "timeline", "mutex", "flow", "stream", "cron", "workflow", "index", "run"
    ], "stop_run");
    (COMMIT_PAGE, refused, [
        "clock", "entries", "queue", "timeline", "mutex", "flow", "stream", "cron", "workflow", "index", "run", "source"
    ], "commit_page");
    (FETCH_RETRY, allowed, [
        "clock", "entries", "queue", "timeline", "mutex", "flow", "stream", "cron", "workflow", "index", "run", "source"
    ], "fetch_retry");
    (FETCH_LIMITED, allowed, [
        "clock", "entries", "queue", "timeline", "mutex", "flow", "stream", "cron", "workflow", "index", "run", "source"
    ], "fetch_limited");
    (FETCH_FAILED, allowed, [
        "clock", "entries", "queue", "timeline", "mutex", "flow", "stream", "cron", "workflow", "index", "run", "source"
    ], "fetch_failed");
    (TAKE_BATCH, allowed, [
        "clock", "entries", "queue", "pace", "health", "timeline", "mutex", "flow", "stream", "cron", "workflow", "index", "run", "batch"
    ], "take_batch");
    (SETTLE_BATCH, allowed, [
        "clock", "entries", "queue", "pace", "health", "timeline", "mutex", "flow", "stream", "cron", "workflow", "index", "run", "batch", "dead_letter"
    ], "settle_batch");
    (DELIVERY_RETRY, allowed, [
        "clock", "entries", "queue", "pace", "health", "timeline", "mutex", "flow", "stream", "cron", "workflow", "index", "run", "batch"
    ], "delivery_retry");
    (SPLIT_BATCH, allowed, [
        "clock", "entries", "queue", "pace", "health", "timeline", "mutex", "flow", "stream", "cron", "workflow", "index", "run", "batch"
    ], "split_batch");
    (DELIVERY_OFF, allowed, ["clock", "entries", "queue"], "delivery_off");
    (DEAD_LETTER_DELETE, allowed, ["index", "dead_letter"], "dead_letter_delete");
    (REDRIVE_CREATE, refused, ["clock", "entries", "queue", "index"], "redrive_create");
    (REDRIVE_TAKE, allowed, ["clock", "entries", "queue", "pace", "health"], "redrive_take");
    (REDRIVE_SETTLE, allowed, [
        "clock", "entries", "queue", "pace", "health", "index", "dead_letter", "redrive"
    ], "redrive_settle");
    (REDRIVE_WAIT, allowed, ["clock", "entries", "queue", "pace", "health", "index", "dead_letter", "redrive"], "redrive_wait");
    (REDRIVE_FINISH, allowed, ["clock", "entries", "queue", "index", "dead_letter", "redrive"], "redrive_finish");
    (REDRIVE_CANCEL, allowed, ["clock", "entries", "queue", "index", "dead_letter", "redrive"], "redrive_cancel");
    (OBJECT_CREATE, refused, [
        "clock", "entries", "queue", "pace", "health", "timeline", "mutex", "flow", "stream", "cron", "workflow", "index", "run", "outbox", "effects"
    ], "object_create");
    (OBJECT_UPDATE, allowed, [
        "clock", "entries", "queue", "pace", "health", "timeline", "mutex", "flow", "stream", "cron", "workflow", "index", "run", "outbox", "effects"
    ], "object_update");
    (OBJECT_DELETE, allowed, [
        "clock", "entries", "queue", "pace", "health", "timeline", "mutex", "flow", "stream", "cron", "workflow", "index", "run", "outbox", "effects"
    ], "object_delete");
    (AWAIT_ACCOUNT, allowed, [
        "clock", "entries", "queue", "timeline", "mutex", "flow", "stream", "cron", "workflow", "index", "run", "source"
    ], "await_account");
    (CRON_CLAIM, allowed, ["clock"], "cron_claim");
    (CRON_FIRE, refused, [
        "clock", "entries", "queue", "timeline", "mutex", "flow", "stream", "index", "accept", "cron"
    ], "cron_fire");
    (CRON_FAIL, allowed, [
        "clock", "entries", "queue", "pace", "health", "timeline", "mutex", "flow", "stream", "cron", "workflow", "index", "run", "outbox", "effects"
    ], "cron_fail");
    (CRON_DROP, allowed, ["cron"], "cron_drop");
    (WORKFLOW_RUN_PUT, allowed, ["entries", "queue", "index"], "workflow_run_put");
    (BOOTSTRAP, allowed, [], "bootstrap");
    (ENVIRONMENT_CREATE, refused, [], "environment_create");
    (TOKEN_CREATE, refused, [], "token_create");
    (TOKEN_REVOKE, allowed, [], "token_revoke");
    (IDEMPOTENCY_RESERVE, refused, ["clock"], "idempotency_reserve");
    (IDEMPOTENCY_SETTLE, allowed, [], "idempotency_settle");
    (RETENTION, allowed, ["clock"], "retention");
    (CHECKPOINT_TASK, allowed, ["clock", "entries", "queue"], "checkpoint_task");
    (PURGE_RUNS, allowed, [
        "clock", "entries", "queue", "timeline", "mutex", "flow", "stream", "cron", "workflow", "index", "run", "purge"
    ], "purge_runs");
    (PURGE_LETTERS, allowed, ["index", "dead_letter"], "purge_letters");
    (PURGE_WEBHOOK, allowed, [
        "clock", "entries", "queue", "timeline", "mutex", "flow", "stream", "cron", "workflow", "index", "run", "purge"
    ], "purge_webhook");
    (PURGE_ACCOUNT, allowed, [
        "clock", "entries", "queue", "timeline", "mutex", "flow", "stream", "cron", "workflow", "index", "run", "purge"
    ], "purge_account");
    (PURGE_TASKS, allowed, [
        "clock", "entries", "queue", "timeline", "mutex", "flow", "stream", "cron", "workflow", "index", "run", "purge"
    ], "purge_tasks");
    (ENVIRONMENT_DELETE, allowed, ["clock", "entries", "queue"], "environment_delete");
    (DOCUMENT_PUT, refused, [], "document_put");
    (DOCUMENT_RELEASE, allowed, [], "document_release");
}

/// A script with what it is called with.
pub(super) struct Call<'s> {
    name: &'static str,
    invocation: ScriptInvocation<'s>,
}

impl<'s> Deref for Call<'s> {
    type Target = ScriptInvocation<'s>;

    fn deref(&self) -> &Self::Target {
        &self.invocation
    }
}

impl DerefMut for Call<'_> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.invocation
    }
}

impl EngineScript {
    /// A call without keys yet.
    pub(super) fn prepare(&self) -> Call<'_> {
        Call {
            name: self.name,
            invocation: self.script.prepare_invoke(),
        }
    }
}

impl Store {
    /// A call of `script` with the base key already in place.
    pub(super) fn call<'s>(&self, script: &'s EngineScript) -> Call<'s> {
        let mut call = script.prepare();
        call.key(self.keys().base());
        call
    }

    pub(super) async fn invoke<T: FromRedisValue>(&self, call: &Call<'_>) -> StoreResult<T> {
        failure::script(call.name, Side::Before)?;
        let answer = call.invoke_async(&mut self.connection()).await?;
        failure::script(call.name, Side::After)?;
        Ok(answer)
    }
}

/// An answer that no version of the script gives.
pub(super) fn unexpected(script: &str, answer: impl std::fmt::Debug) -> StoreError {
    let answer: String = format!("{answer:?}").chars().take(200).collect();
    StoreError::Unexpected(format!("{script} answered {answer}"))
}
