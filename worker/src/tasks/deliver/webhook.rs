//! The webhook that a task sends to: opened, resting while it is off, switched off when its receiver is dead.

use std::{sync::Arc, time::Duration};

use shared::{
    delivery::Target,
    store::{
        deliveries::{Off, Outage},
        queue::{Claim, CountsAs, Queue},
        webhooks::DISABLED_AFTER,
    },
};

use super::{Delivery, Step};
use crate::{
    context::{Context, DeliveredSource, LoadError},
    tasks::patience::until_available,
};

/// Before the next try when a webhook can't be used for a reason of ours.
const OWN_FAULT_DELAY: Duration = Duration::from_secs(30);
/// Before the next look at a webhook that is being switched on and off.
const CHANGED_DELAY: Duration = Duration::from_secs(1);

pub(in crate::tasks) enum Opened {
    /// `None`: it was deleted.
    Ready(Option<Arc<Target>>),
    /// The task is no longer ours.
    Ended(&'static str),
}

/// Opens the webhook of a claimed task, as it was a second ago at most.
pub(in crate::tasks) async fn open(
    context: &Context,
    claim: &Claim,
    source: &DeliveredSource,
) -> Result<Opened, LoadError> {
    let (environment, id) = (source.environment(), source.webhook());
    match context.webhook(environment, id).await {
        Ok(Some(webhook)) if !webhook.active => rest(context, claim, source).await,
        Ok(webhook) => Ok(Opened::Ready(webhook)),
        Err(LoadError::Store(error)) => Err(error.into()),
        Err(error) => {
            tracing::error!(run.id = source.run_id(), webhook.id = %id, error = %error,
                "a delivery can't be prepared; it is tried again");
            delay(context, claim, OWN_FAULT_DELAY).await
        }
    }
}

/// What waits for a webhook that is off stays where it is.
async fn rest(
    context: &Context,
    claim: &Claim,
    source: &DeliveredSource,
) -> Result<Opened, LoadError> {
    let (environment, id) = (source.environment(), source.webhook());
    let off = || {
        context
            .store
            .delivery_off((&claim.id, &claim.token), environment)
    };
    match until_available(off).await? {
        Off::Rests => Ok(Opened::Ended("webhook_off")),
        Off::Stale => Ok(Opened::Ended("stale")),
        Off::Changed => {
            context.forget_webhook(id).await;
            match context.webhook(environment, id).await? {
                Some(webhook) if !webhook.active => delay(context, claim, CHANGED_DELAY).await,
                webhook => Ok(Opened::Ready(webhook)),
            }
        }
    }
}

async fn delay(context: &Context, claim: &Claim, delay: Duration) -> Result<Opened, LoadError> {
    let counts = CountsAs::Nothing;
    until_available(|| {
        context
            .store
            .delay_task(Queue::Deliveries, &claim.id, &claim.token, delay, counts)
    })
    .await?;
    Ok(Opened::Ended("retried"))
}

impl Delivery<'_> {
    /// A receiver that has taken nothing for days is given up.
    pub(super) async fn told(
        &self,
        webhook: &Target,
        outage: Outage,
        reason: &str,
    ) -> Result<(), LoadError> {
        let id = self.source.webhook();
        if outage.opened {
            tracing::warn!(webhook.id = %id, failures = outage.failures, failing_ms = outage.since.as_millis(),
                "the circuit is open: one delivery at a time probes the receiver");
        }
        if outage.since >= DISABLED_AFTER {
            switch_off_dead(self.context, self.source, webhook, reason).await?;
        }
        Ok(())
    }

    /// Switches the webhook off and lets its lane rest; the batch stays as it is.
    pub(super) async fn disable(&self, webhook: &Target, reason: &str) -> Result<Step, LoadError> {
        switch_off(self.context, self.source, webhook, reason).await?;
        Ok(match rest(self.context, self.claim, self.source).await? {
            Opened::Ended(word) => Step::Ended(word),
            // It was changed meanwhile: the batch is tried again, there.
            Opened::Ready(_) => Step::Next(self.take(&[]).await?),
        })
    }
}

/// Switches off a webhook that has taken nothing for days.
pub(in crate::tasks) async fn switch_off_dead(
    context: &Context,
    source: &DeliveredSource,
    webhook: &Target,
    reason: &str,
) -> Result<(), LoadError> {
    let days = DISABLED_AFTER.as_secs() / 86_400;
    let reason = format!("nothing was accepted for {days} days; the last answer: {reason}");
    tracing::warn!(webhook.id = %source.webhook(), reason, "a webhook is switched off");
    switch_off(context, source, webhook, &reason).await
}

async fn switch_off(
    context: &Context,
    source: &DeliveredSource,
    webhook: &Target,
    reason: &str,
) -> Result<(), LoadError> {
    let (environment, id) = (source.environment(), source.webhook());
    let store = &context.store;
    until_available(|| store.disable_webhook(environment, id, &webhook.url, reason)).await?;
    context.forget_webhook(id).await;
    Ok(())
}
