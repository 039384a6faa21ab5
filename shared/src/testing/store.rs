//! Looking at and moving what only the store sees.

use std::time::Duration;

use redis::AsyncCommands;

use crate::{ids::WebhookId, store::Store};

/// Moves Redis's clock, as the scripts see it.
pub async fn advance_clock(store: &Store, by: Duration) {
    let ms = i64::try_from(by.as_millis()).expect("a duration");
    let key = store.keys().clock_shift();
    let _: i64 = store.connection().incr(key, ms).await.expect("shifted");
}

/// Types of the events that belong to no run and wait for a webhook, in order.
pub async fn waiting_events(store: &Store, webhook: WebhookId) -> Vec<String> {
    let key = format!("{}:index:c", store.keys().outbox(webhook));
    let rows: Vec<String> = store.connection().lrange(key, 0, -1).await.expect("rows");
    let event_type = |row: &String| row.split(' ').next().unwrap_or_default().to_owned();
    rows.iter().map(event_type).collect()
}
