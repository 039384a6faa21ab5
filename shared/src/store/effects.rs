//! What follows from a change of an object, made in the same script as the change
//! (`lua/lib/effects.lua`), so that neither is there without the other.

use std::time::Duration;

use redis::ScriptInvocation;
use serde_json::Value;

use super::{purge::purge_task, queue::millis};
use crate::{
    clock::Timestamp,
    ids::{AccountId, CronTriggerId, EventId, WebhookId},
    model::{cron_trigger::NextFire, purge::Purge},
    queue::task::TaskBody,
};

/// How long a dead letter of an event that belongs to no run is kept.
pub const DEAD_EVENT_KEPT: Duration = Duration::from_hours(14 * 24);

/// One thing that follows from a change.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// An event is told to the webhooks and workflows of the environment.
    Event {
        /// Names the event for workflows; each webhook gets a copy with an id of its own.
        id: EventId,
        event_type: &'static str,
        payload: Value,
    },
    /// Fetches that waited for the account's credentials go on.
    ReleaseAccount(AccountId),
    /// The account's runs fail; what they committed is delivered.
    EndRuns {
        account: AccountId,
        code: &'static str,
        message: &'static str,
    },
    /// A cron trigger fires next at the first of these times; at the second, should the first be settled already.
    Schedule(CronTriggerId, NextFire, Option<NextFire>),
    /// A cron trigger doesn't fire any more.
    Unschedule(CronTriggerId),
    /// A cron trigger is gone.
    ForgetCron(CronTriggerId),
    /// A webhook was changed so that it is worth trying at once, whatever its receiver did before.
    ReleaseWebhook(WebhookId),
    /// All that an account leaves behind is taken away, by a task.
    PurgeAccount(AccountId),
}

impl Effect {
    /// An event with an id of its own.
    #[must_use]
    pub fn event(event_type: &'static str, payload: Value) -> Self {
        Self::Event {
            id: EventId::generate(),
            event_type,
            payload,
        }
    }
}

/// Adds effects to the end of a script's arguments.
pub(super) fn add_effects(call: &mut ScriptInvocation<'_>, effects: &[Effect]) {
    for effect in effects {
        match effect {
            Effect::Event {
                id,
                event_type,
                payload,
            } => {
                call.arg("event")
                    .arg(id.to_string())
                    .arg(event_type)
                    .arg(payload.to_string())
                    .arg(millis(DEAD_EVENT_KEPT));
            }
            Effect::ReleaseAccount(account) => {
                call.arg("release_account").arg(account.to_string());
            }
            Effect::EndRuns {
                account,
                code,
                message,
            } => {
                call.arg("end_runs")
                    .arg(account.to_string())
                    .arg(code)
                    .arg(message);
            }
            Effect::Schedule(trigger, next, following) => {
                let text = |time: Option<Timestamp>| {
                    time.map(|time| time.0.to_string()).unwrap_or_default()
                };
                call.arg("schedule")
                    .arg(trigger.to_string())
                    .arg(next.due.0)
                    .arg(next.run_at.0)
                    .arg(text(following.map(|fire| fire.due)))
                    .arg(text(following.map(|fire| fire.run_at)));
            }
            Effect::ForgetCron(trigger) => {
                call.arg("forget_cron").arg(trigger.to_string());
            }
            Effect::ReleaseWebhook(webhook) => {
                call.arg("release_webhook").arg(webhook.to_string());
            }
            Effect::PurgeAccount(account) => {
                call.arg("task")
                    .arg(purge_task(account))
                    .arg(TaskBody::Purge(Purge::of_account(*account)).to_string());
            }
            Effect::Unschedule(trigger) => {
                call.arg("unschedule").arg(trigger.to_string());
            }
        }
    }
}
