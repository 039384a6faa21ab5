//! The Lua scripts, each put together from the library files it needs, and the
//! one place that calls them.
//!
//! Each state transition of the engine is one script. Their headers say what they
//! take, return and keep true; the typed wrappers beside this file turn their
//! answers into enums. A script that Redis has forgotten (`SCRIPT FLUSH`, a
//! restart) is loaded again by the call that misses it.

use std::sync::LazyLock;

use redis::{FromRedisValue, Script, ScriptInvocation};

use super::{Store, StoreError, StoreResult};

/// `$when_full`: what Redis does with the script when its memory is used up. Steps
/// that bring in work are refused; steps that give memory back, or that must not
/// be lost half way, run all the same, so that a full Redis empties itself.
macro_rules! script {
    ($name:ident, $when_full:ident, [$($library:literal),*], $file:literal) => {
        pub(super) static $name: LazyLock<Script> = LazyLock::new(|| {
            Script::new(concat!(
                script!(@$when_full),
                $(include_str!(concat!("lua/lib/", $library, ".lua")),)*
                include_str!(concat!("lua/", $file, ".lua"))
            ))
        });
    };
    (@refused) => { "#!lua\n" };
    (@allowed) => { "#!lua flags=allow-oom\n" };
}

script!(PUSH_TASKS, refused, ["clock", "queue"], "push_tasks");
script!(
    CLAIM,
    allowed,
    [
        "clock", "queue", "timeline", "mutex", "flow", "stream", "cron", "workflow", "run"
    ],
    "claim"
);
script!(EXTEND, allowed, ["clock"], "extend");
script!(
    RESCUE_EXPIRED,
    allowed,
    ["clock", "queue"],
    "rescue_expired"
);
script!(HAND_BACK, allowed, ["clock", "queue"], "hand_back");
script!(FINISH_TASK, allowed, ["clock", "queue"], "finish_task");
script!(RETRY_TASK, allowed, ["clock", "queue"], "retry_task");
script!(QUEUE_GAUGES, allowed, ["clock"], "queue_gauges");
script!(
    IS_OVER,
    allowed,
    ["clock", "queue", "timeline", "flow"],
    "is_over"
);
script!(
    UNPARK,
    allowed,
    ["clock", "queue", "timeline", "flow"],
    "unpark"
);
script!(MARK_FULL, allowed, [], "mark_full");
script!(
    CREATE_RUN,
    refused,
    [
        "clock", "queue", "timeline", "mutex", "flow", "stream", "index", "accept"
    ],
    "create_run"
);
script!(
    START_RUN,
    refused,
    [
        "clock", "queue", "timeline", "mutex", "flow", "stream", "cron", "workflow", "run"
    ],
    "start_run"
);
script!(
    RETRY_RUN,
    refused,
    [
        "clock", "queue", "timeline", "mutex", "flow", "stream", "index", "accept"
    ],
    "retry_run"
);
script!(
    DELETE_RUN,
    allowed,
    [
        "clock", "queue", "timeline", "mutex", "flow", "stream", "cron", "workflow", "run"
    ],
    "delete_run"
);
script!(
    FAIL_OVERDUE,
    allowed,
    [
        "clock", "queue", "timeline", "mutex", "flow", "stream", "cron", "workflow", "run"
    ],
    "fail_overdue"
);
script!(STATE_PUT, refused, ["clock"], "state_put");
script!(STATE_DELETE, allowed, [], "state_delete");
script!(SET_WATERMARKS, refused, [], "set_watermarks");
script!(
    FAIL_START,
    allowed,
    [
        "clock", "queue", "timeline", "mutex", "flow", "stream", "cron", "workflow", "run"
    ],
    "fail_start"
);
script!(
    STOP_RUN,
    allowed,
    [
        "clock", "queue", "timeline", "mutex", "flow", "stream", "cron", "workflow", "run"
    ],
    "stop_run"
);
script!(
    COMMIT_PAGE,
    refused,
    [
        "clock", "queue", "timeline", "mutex", "flow", "stream", "cron", "workflow", "run"
    ],
    "commit_page"
);
script!(
    FETCH_RETRY,
    allowed,
    [
        "clock", "queue", "timeline", "mutex", "flow", "stream", "cron", "workflow", "run"
    ],
    "fetch_retry"
);
script!(
    FETCH_LIMITED,
    allowed,
    [
        "clock", "queue", "timeline", "mutex", "flow", "stream", "cron", "workflow", "run"
    ],
    "fetch_limited"
);
script!(
    FETCH_FAILED,
    allowed,
    [
        "clock", "queue", "timeline", "mutex", "flow", "stream", "cron", "workflow", "run"
    ],
    "fetch_failed"
);
script!(
    TAKE_BATCH,
    allowed,
    [
        "clock", "queue", "health", "timeline", "mutex", "flow", "stream", "cron", "workflow",
        "run", "batch"
    ],
    "take_batch"
);
script!(
    SETTLE_BATCH,
    allowed,
    [
        "clock",
        "queue",
        "health",
        "timeline",
        "mutex",
        "flow",
        "stream",
        "cron",
        "workflow",
        "run",
        "batch",
        "index",
        "dead_letter"
    ],
    "settle_batch"
);
script!(
    DELIVERY_RETRY,
    allowed,
    [
        "clock", "queue", "health", "timeline", "mutex", "flow", "stream", "cron", "workflow",
        "run", "batch"
    ],
    "delivery_retry"
);

script!(
    SPLIT_BATCH,
    allowed,
    [
        "clock", "queue", "health", "timeline", "mutex", "flow", "stream", "cron", "workflow",
        "run", "batch"
    ],
    "split_batch"
);
script!(DELIVERY_OFF, allowed, ["clock", "queue"], "delivery_off");
script!(
    DEAD_LETTER_DELETE,
    allowed,
    ["index", "dead_letter"],
    "dead_letter_delete"
);
script!(
    REDRIVE_CREATE,
    refused,
    ["clock", "queue", "index"],
    "redrive_create"
);
script!(
    REDRIVE_TAKE,
    allowed,
    ["clock", "queue", "health"],
    "redrive_take"
);
script!(
    REDRIVE_SETTLE,
    allowed,
    [
        "clock",
        "queue",
        "health",
        "index",
        "dead_letter",
        "redrive"
    ],
    "redrive_settle"
);
script!(
    REDRIVE_WAIT,
    allowed,
    [
        "clock",
        "queue",
        "health",
        "index",
        "dead_letter",
        "redrive"
    ],
    "redrive_wait"
);
script!(
    REDRIVE_FINISH,
    allowed,
    ["clock", "queue", "index", "dead_letter", "redrive"],
    "redrive_finish"
);
script!(
    REDRIVE_CANCEL,
    allowed,
    ["clock", "queue", "index", "dead_letter", "redrive"],
    "redrive_cancel"
);

script!(
    OBJECT_CREATE,
    refused,
    [
        "clock", "queue", "health", "timeline", "mutex", "flow", "stream", "cron", "workflow",
        "run", "outbox", "effects"
    ],
    "object_create"
);
script!(
    OBJECT_UPDATE,
    allowed,
    [
        "clock", "queue", "health", "timeline", "mutex", "flow", "stream", "cron", "workflow",
        "run", "outbox", "effects"
    ],
    "object_update"
);
script!(
    OBJECT_DELETE,
    allowed,
    [
        "clock", "queue", "health", "timeline", "mutex", "flow", "stream", "cron", "workflow",
        "run", "outbox", "effects"
    ],
    "object_delete"
);
script!(
    AWAIT_ACCOUNT,
    allowed,
    [
        "clock", "queue", "timeline", "mutex", "flow", "stream", "cron", "workflow", "run"
    ],
    "await_account"
);

script!(CRON_CLAIM, allowed, ["clock"], "cron_claim");
script!(
    CRON_FIRE,
    refused,
    [
        "clock", "queue", "timeline", "mutex", "flow", "stream", "index", "accept", "cron"
    ],
    "cron_fire"
);
script!(
    CRON_FAIL,
    allowed,
    [
        "clock", "queue", "health", "timeline", "mutex", "flow", "stream", "cron", "workflow",
        "run", "outbox", "effects"
    ],
    "cron_fail"
);
script!(CRON_DROP, allowed, ["cron"], "cron_drop");

script!(
    WORKFLOW_RUN_PUT,
    allowed,
    ["queue", "index"],
    "workflow_run_put"
);

impl Store {
    /// A call of `script` with the base key already in place.
    pub(super) fn call<'s>(&self, script: &'s Script) -> ScriptInvocation<'s> {
        let mut invocation = script.prepare_invoke();
        invocation.key(self.keys().base());
        invocation
    }

    pub(super) async fn invoke<T: FromRedisValue>(
        &self,
        call: &ScriptInvocation<'_>,
    ) -> StoreResult<T> {
        Ok(call.invoke_async(&mut self.connection()).await?)
    }
}

/// An answer that no version of the script gives.
pub(super) fn unexpected(script: &str, answer: impl std::fmt::Debug) -> StoreError {
    let answer: String = format!("{answer:?}").chars().take(200).collect();
    StoreError::Unexpected(format!("{script} answered {answer}"))
}
