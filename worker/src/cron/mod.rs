//! Firing cron triggers. Every worker does so at the same time; each claims what is
//! due in one script, and each fire is settled, with the run it makes, in another, so
//! that it makes one run, whoever dies between the two.
//!
//! After an outage the last fire that was missed is made up, older ones are counted.
//! A run that can't be made (a job that was deleted, an account that isn't active, a
//! webhook that is off, …) is told by `sync_job_cron_trigger:failed`.

#[cfg(test)]
mod tests;

use std::{sync::Arc, time::Duration};

use futures::StreamExt;
use serde_json::{Value, json};
use shared::{
    clock::Timestamp,
    failure::FailurePoint,
    fault::Faults,
    ids::RunId,
    model::{
        cron_trigger::CronTrigger,
        run::{RunSpec, Trigger},
    },
    store::{
        Outage, StoreError, StoreResult,
        cron::{Advance, DueTrigger, Fired},
        effects::Effect,
    },
    submit::{StartedBy, SubmitError},
};
use tokio_util::sync::CancellationToken;

use crate::context::Context;

/// Between two looks.
const EVERY: Duration = Duration::from_secs(1);
/// Triggers claimed at once; there is another look at once while there are more.
const AT_ONCE: usize = 200;
/// Of those, settled side by side.
const SIDE_BY_SIDE: usize = 16;
const FAILED: &str = "sync_job_cron_trigger:failed";

/// Fires triggers until `stop`; while Redis is away it waits for it.
pub async fn run(context: Arc<Context>, stop: CancellationToken) {
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut outage = Outage::of("firing cron triggers");
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = ticks.tick() => {}
        }
        while !stop.is_cancelled() {
            match pass(&context).await {
                Ok(claimed) => {
                    outage.over();
                    if claimed < AT_ONCE {
                        break;
                    }
                }
                Err(error) => {
                    outage.goes_on(&error);
                    break;
                }
            }
        }
    }
}

/// Settles what is due now, up to a bound; gives how many were claimed.
///
/// # Errors
/// The store is away. What was claimed then is due again when its lease ends.
pub async fn pass(context: &Context) -> StoreResult<usize> {
    let (now, due) = context.store.claim_cron(AT_ONCE).await?;
    let claimed = due.len();
    let mut settled = futures::stream::iter(due)
        .map(|trigger| fire(context, trigger, now))
        .buffer_unordered(SIDE_BY_SIDE);
    let mut outcome = Ok(claimed);
    while let Some(fired) = settled.next().await {
        if let Err(error) = fired {
            outcome = Err(error);
        }
    }
    outcome
}

async fn fire(context: &Context, due: DueTrigger, now: Timestamp) -> StoreResult<()> {
    FailurePoint::TriggerClaimed.reach()?;
    let store = &context.store;
    let trigger = store
        .objects()
        .get::<CronTrigger>(due.environment, due.id)
        .await?;
    let Some(trigger) = trigger else {
        return store.drop_cron(&due, true).await;
    };
    if !trigger.input.is_active {
        return store.drop_cron(&due, false).await;
    }
    let advance = match trigger.schedule() {
        Ok(schedule) => Advance {
            next: trigger.next_fire(&schedule, now),
            // `due` itself is one of them.
            missed: schedule
                .last_between(due.due, now)
                .map_or(0, |fires| fires.count),
        },
        Err(faults) => {
            let advance = Advance {
                next: None,
                missed: 0,
            };
            return fail(context, &trigger, &due, &advance, &faults).await;
        }
    };
    let started_by = StartedBy {
        trigger: Trigger::Cron,
        id: Some(due.id.to_string()),
        workflow_chain: 0,
    };
    let run = RunId::generate();
    let input = trigger.input.run_input();
    let prepared = context
        .submitter()
        .prepare(due.environment, run, started_by, input, Faults::default())
        .await;
    match prepared {
        Ok(spec) => make_run(context, &trigger, &due, &advance, &spec).await,
        Err(SubmitError::Store(error @ StoreError::Unavailable(_))) => Err(error),
        // Trying again would end the same way.
        Err(SubmitError::Store(error)) => {
            tracing::error!(cron_trigger.id = %due.id, error = %error, "a cron trigger's run can't be prepared");
            let mut faults = Faults::default();
            faults.push("", format!("the run could not be prepared: {error}"));
            fail(context, &trigger, &due, &advance, &faults).await
        }
        Err(SubmitError::Invalid(faults)) => fail(context, &trigger, &due, &advance, &faults).await,
    }
}

async fn make_run(
    context: &Context,
    trigger: &CronTrigger,
    due: &DueTrigger,
    advance: &Advance,
    spec: &RunSpec,
) -> StoreResult<()> {
    let fired = context
        .store
        .fire_cron(due, advance, trigger.input.overlap, spec)
        .await?;
    let (id, due, missed) = (due.id, due.due, advance.missed);
    match fired {
        Fired::Fired => {
            tracing::info!(cron_trigger.id = %id, run.id = %spec.id, due = %due, missed, "a cron trigger fired");
        }
        Fired::Skipped => {
            tracing::info!(cron_trigger.id = %id, due = %due, "a cron trigger made no run: its last one is still active");
        }
        Fired::Waits => {
            tracing::info!(cron_trigger.id = %id, due = %due, "a cron trigger waits for the end of its last run");
        }
        Fired::Stale => {}
    }
    Ok(())
}

async fn fail(
    context: &Context,
    trigger: &CronTrigger,
    due: &DueTrigger,
    advance: &Advance,
    faults: &Faults,
) -> StoreResult<()> {
    let reason = faults.to_string();
    let event = Effect::event(FAILED, payload(trigger, due, faults));
    if context
        .store
        .fail_cron(due, advance, &reason, event)
        .await?
    {
        tracing::warn!(cron_trigger.id = %due.id, due = %due.due, reason, "a cron trigger could make no run");
    }
    Ok(())
}

fn payload(trigger: &CronTrigger, due: &DueTrigger, faults: &Faults) -> Value {
    let input = &trigger.input;
    json!({
        "sync_job_cron_trigger_id": trigger.id,
        "sync_job_id": input.sync_job_id,
        "integrated_account_id": input.integrated_account_id,
        "webhook_id": input.webhook_id,
        "cron_expression": input.cron_expression,
        "timezone": input.timezone,
        "due_at": due.due,
        "error": {"code": "validation_failed", "message": faults.to_string(), "details": faults.as_slice()},
    })
}
