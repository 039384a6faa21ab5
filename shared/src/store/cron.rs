//! Cron triggers as they stand in the schedule: due, claimed, fired.
//!
//! State: a zset of all that are switched on, and a hash a trigger
//! (`lua/lib/cron.lua`). Authority: `due` in the hash; a fire is settled by the one
//! script that finds it as it was claimed, which makes the run too. Failures: who
//! claims and dies leaves the trigger due again when its lease ends; who settles and
//! loses the answer finds the fire settled.

use std::{collections::HashMap, time::Duration};

use redis::AsyncCommands;

use super::{
    Store, StoreResult,
    effects::{Effect, add_effects},
    queue::millis,
    runs::add_acceptance,
    scripts,
    scripts::unexpected,
};
use crate::{
    clock::Timestamp,
    ids::{CronTriggerId, EnvironmentId, RunId},
    model::{
        cron_trigger::{CronTrigger, NextFire, Overlap},
        run::RunSpec,
    },
};

/// Until a claimed trigger is due again when nobody settles its fire.
pub const CRON_LEASE: Duration = Duration::from_secs(30);
/// Until the next look at a fire that waits for a run, should its end not have hastened it.
const WAIT_LOOK: Duration = Duration::from_mins(1);

/// A claimed fire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DueTrigger {
    pub id: CronTriggerId,
    pub environment: EnvironmentId,
    pub due: Timestamp,
}

/// What follows a settled fire.
#[derive(Debug, Clone, Copy)]
pub struct Advance {
    /// `None`: the trigger doesn't fire again.
    pub next: Option<NextFire>,
    /// Fires passed over before this one.
    pub missed: u64,
}

/// How a fire was settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fired {
    /// The run was accepted.
    Fired,
    /// Its last run is still active.
    Skipped,
    /// It stays due until its last run has ended.
    Waits,
    /// It was settled before.
    Stale,
}

/// Where a trigger stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TriggerState {
    pub next_run_at: Option<Timestamp>,
    pub last_run_at: Option<Timestamp>,
    pub last_run_id: Option<RunId>,
    /// Fires passed over since nobody was there to make them.
    pub missed: u64,
    /// Fires that made no run since the last one was active.
    pub skipped: u64,
    /// Fires whose run could not be made.
    pub failed: u64,
    /// Why the last one could not.
    pub error: Option<String>,
}

/// What follows from a change of a trigger: it is put into the schedule, or taken out.
pub(super) fn effects(trigger: &CronTrigger, before: Option<&CronTrigger>) -> Vec<Effect> {
    let timing = |of: &CronTrigger| {
        let input = &of.input;
        let (expression, timezone) = (input.cron_expression.clone(), input.timezone.clone());
        (expression, timezone, input.jitter_seconds, input.is_active)
    };
    if trigger.deleted_at.is_some() {
        return vec![Effect::ForgetCron(trigger.id)];
    }
    if before.is_some_and(|before| timing(before) == timing(trigger)) {
        return Vec::new();
    }
    let schedule = trigger.schedule().ok();
    let next = schedule.and_then(|schedule| {
        let next = trigger.next_fire(&schedule, trigger.updated_at)?;
        Some((next, trigger.next_fire(&schedule, next.due)))
    });
    match next {
        Some((next, following)) => vec![Effect::Schedule(trigger.id, next, following)],
        None if before.is_none() => Vec::new(),
        None => vec![Effect::Unschedule(trigger.id)],
    }
}

impl Store {
    /// Claims up to `most` triggers that are due, for [`CRON_LEASE`]; gives Redis's time with them.
    ///
    /// # Errors
    /// [`super::StoreError::Unavailable`].
    pub async fn claim_cron(&self, most: usize) -> StoreResult<(Timestamp, Vec<DueTrigger>)> {
        let mut call = self.call(&scripts::CRON_CLAIM);
        call.arg(most).arg(millis(CRON_LEASE));
        let answer: Vec<String> = self.invoke(&call).await?;
        let number = |text: &str| {
            let ms = text.parse().map_err(|_| unexpected("cron_claim", text));
            ms.map(Timestamp)
        };
        let [now, triggers @ ..] = &answer[..] else {
            return Err(unexpected("cron_claim", "nothing"));
        };
        let triggers = triggers.chunks_exact(3).map(|row| {
            Ok(DueTrigger {
                id: row[0]
                    .parse()
                    .map_err(|_| unexpected("cron_claim", &row[0]))?,
                environment: row[1]
                    .parse()
                    .map_err(|_| unexpected("cron_claim", &row[1]))?,
                due: number(&row[2])?,
            })
        });
        Ok((number(now)?, triggers.collect::<StoreResult<_>>()?))
    }

    /// Settles a claimed fire with the run it makes.
    ///
    /// # Errors
    /// [`super::StoreError::Unavailable`]: call again, with the same run.
    pub async fn fire_cron(
        &self,
        trigger: &DueTrigger,
        advance: &Advance,
        overlap: Overlap,
        spec: &RunSpec,
    ) -> StoreResult<Fired> {
        let mut call = self.call(&scripts::CRON_FIRE);
        add_advance(&mut call, trigger, advance);
        call.arg(overlap.as_str()).arg(millis(WAIT_LOOK));
        add_acceptance(&mut call, spec, None)?;
        match self.invoke::<String>(&call).await?.as_str() {
            "fired" => Ok(Fired::Fired),
            "skipped" => Ok(Fired::Skipped),
            "waits" => Ok(Fired::Waits),
            "stale" => Ok(Fired::Stale),
            other => Err(unexpected("cron_fire", other)),
        }
    }

    /// Settles a claimed fire that can make no run, with the event that tells so. False: it was settled before.
    ///
    /// # Errors
    /// [`super::StoreError::Unavailable`]: call again.
    pub async fn fail_cron(
        &self,
        trigger: &DueTrigger,
        advance: &Advance,
        reason: &str,
        event: Effect,
    ) -> StoreResult<bool> {
        let mut call = self.call(&scripts::CRON_FAIL);
        add_advance(&mut call, trigger, advance);
        call.arg(trigger.environment.to_string()).arg(reason);
        add_effects(&mut call, &[event]);
        match self.invoke::<String>(&call).await?.as_str() {
            "failed" => Ok(true),
            "stale" => Ok(false),
            other => Err(unexpected("cron_fail", other)),
        }
    }

    /// Takes a claimed trigger that is switched off out of the schedule, and forgets one that is `gone`.
    ///
    /// # Errors
    /// [`super::StoreError::Unavailable`]: call again.
    pub async fn drop_cron(&self, trigger: &DueTrigger, gone: bool) -> StoreResult<()> {
        let mut call = self.call(&scripts::CRON_DROP);
        call.arg(trigger.id.to_string())
            .arg(trigger.due.0)
            .arg(u8::from(gone));
        let _word: String = self.invoke(&call).await?;
        Ok(())
    }

    /// Where triggers stand, in the order asked.
    ///
    /// # Errors
    /// [`super::StoreError::Unavailable`].
    pub async fn cron_states(&self, triggers: &[CronTriggerId]) -> StoreResult<Vec<TriggerState>> {
        if triggers.is_empty() {
            return Ok(Vec::new());
        }
        let mut pipeline = redis::pipe();
        for trigger in triggers {
            pipeline.hgetall(self.keys().cron(*trigger));
        }
        let rows: Vec<HashMap<String, String>> =
            pipeline.query_async(&mut self.connection()).await?;
        Ok(rows.iter().map(trigger_state).collect())
    }

    /// Triggers that are switched on.
    ///
    /// # Errors
    /// [`super::StoreError::Unavailable`].
    pub async fn scheduled_triggers(&self) -> StoreResult<u64> {
        Ok(self.connection().zcard(self.keys().cron_schedule()).await?)
    }
}

fn add_advance(call: &mut redis::ScriptInvocation<'_>, trigger: &DueTrigger, advance: &Advance) {
    let text = |time: Option<Timestamp>| time.map(|time| time.0.to_string()).unwrap_or_default();
    call.arg(trigger.id.to_string())
        .arg(trigger.due.0)
        .arg(text(advance.next.map(|next| next.due)))
        .arg(text(advance.next.map(|next| next.run_at)))
        .arg(advance.missed);
}

fn trigger_state(row: &HashMap<String, String>) -> TriggerState {
    let time = |name: &str| row.get(name).and_then(|text| text.parse().ok());
    let count = |name: &str| row.get(name).and_then(|text| text.parse().ok());
    TriggerState {
        next_run_at: time("next_run_at").map(Timestamp),
        last_run_at: time("last_run_at").map(Timestamp),
        last_run_id: row.get("last_run_id").and_then(|text| text.parse().ok()),
        missed: count("missed").unwrap_or(0),
        skipped: count("skipped").unwrap_or(0),
        failed: count("failed").unwrap_or(0),
        error: row.get("error").cloned(),
    }
}
