//! Webhooks beyond their object: what follows from a change, how a receiver is doing,
//! and switching off what is dead.

use std::time::Duration;

use redis::AsyncCommands;
use serde_json::json;

use super::{Store, StoreError, StoreResult, effects::Effect, objects::ChangeError};
use crate::{
    clock::Timestamp,
    ids::{EnvironmentId, WebhookId},
    model::{
        event::WEBHOOK_DISABLED,
        webhook::{Health, SWITCHED_OFF_BY_REQUEST, Webhook},
    },
};

/// After so long without any success a webhook is switched off.
pub const DISABLED_AFTER: Duration = Duration::from_hours(5 * 24);

/// What follows from making (`before` is `None`), changing or deleting a webhook.
pub(super) fn effects(webhook: &Webhook, before: Option<&Webhook>) -> Vec<Effect> {
    let Some(before) = before else {
        return Vec::new();
    };
    let mut effects = Vec::new();
    let worth_trying = webhook.deleted_at.is_some()
        || (webhook.is_active && !before.is_active)
        || webhook.target_url != before.target_url;
    if worth_trying {
        effects.push(Effect::ReleaseWebhook(webhook.id));
    }
    let reason = webhook.disabled_reason.as_deref().unwrap_or_default();
    if before.is_active
        && !webhook.is_active
        && webhook.deleted_at.is_none()
        && reason != SWITCHED_OFF_BY_REQUEST
    {
        effects.push(Effect::event(
            WEBHOOK_DISABLED,
            json!({
                "webhook": {"id": webhook.id, "label": webhook.label, "target": origin(&webhook.target_url)},
                "reason": reason,
                "disabled_at": webhook.disabled_at,
            }),
        ));
    }
    effects
}

/// Fields of a hash that are numbers, if they are there.
type Row = Vec<Option<i64>>;

/// A path or a query may hold a secret; the host says enough.
fn origin(url: &str) -> String {
    url::Url::parse(url)
        .map(|url| url.origin().ascii_serialization())
        .unwrap_or_default()
}

impl Store {
    /// Switches a webhook off because of its receiver, unless it was changed since `tried`, the URL that failed. Its
    /// other webhooks are told.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn disable_webhook(
        &self,
        environment: EnvironmentId,
        webhook: WebhookId,
        tried: &url::Url,
        reason: &str,
    ) -> StoreResult<()> {
        let change = |webhook: &mut Webhook| {
            if !webhook.is_active || webhook.target_url != tried.as_str() {
                return Err(());
            }
            let now = Timestamp::now();
            webhook.is_active = false;
            webhook.disabled_at = Some(now);
            webhook.disabled_reason = Some(reason.to_owned());
            webhook.updated_at = now;
            Ok(())
        };
        match self.objects().update(environment, webhook, change).await {
            Ok(_) | Err(ChangeError::Refused(())) => Ok(()),
            Err(ChangeError::Store(error)) => Err(error),
            Err(ChangeError::Contended) => Err(StoreError::Unexpected(
                "others keep changing the webhook at the same time".to_owned(),
            )),
        }
    }

    /// How the receiver of a webhook is doing.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn webhook_health(&self, webhook: WebhookId) -> StoreResult<Health> {
        let id = webhook.to_string();
        let keys = self.keys();
        let (health, lane, flow): (Row, Row, Row) = redis::pipe()
            .hmget(keys.health(webhook), &["failures", "failing_since"])
            .hmget(
                keys.join(&["deliveries", "lane", &id]),
                &["circuit", "blocked_until"],
            )
            .hmget(keys.flow(webhook), &["bytes", "records", "over"])
            .query_async(&mut self.connection())
            .await?;
        let at = |row: &Row, index: usize| row.get(index).copied().flatten();
        let count = |row: &Row, index| u64::try_from(at(row, index).unwrap_or(0)).unwrap_or(0);
        Ok(Health {
            consecutive_failures: count(&health, 0),
            failing_since: at(&health, 1).map(Timestamp),
            circuit_open: at(&lane, 0).is_some(),
            blocked_until: at(&lane, 1).map(Timestamp),
            undelivered_bytes: count(&flow, 0),
            undelivered_records: count(&flow, 1),
            sources_wait: at(&flow, 2).is_some(),
        })
    }

    /// Since when the receiver of a webhook takes nothing.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn failing_since(&self, webhook: WebhookId) -> StoreResult<Option<Timestamp>> {
        let since: Option<i64> = self
            .connection()
            .hget(self.keys().health(webhook), "failing_since")
            .await?;
        Ok(since.map(Timestamp))
    }
}
