//! Dead letters: events that were given up, kept with the bytes that were sent for
//! the retention time of their run, from the moment they were given up.

use std::collections::HashMap;

use redis::AsyncCommands;

use super::{Page, PageRequest, Store, StoreResult};
use crate::{
    clock::Timestamp,
    ids::WebhookId,
    model::dead_letter::{Cause, DeadLetter},
};

impl Store {
    /// Dead letters of a webhook, newest event first.
    ///
    /// # Errors
    /// [`super::StoreError::Unavailable`].
    pub async fn dead_letters(
        &self,
        webhook: WebhookId,
        page: &PageRequest,
    ) -> StoreResult<Page<DeadLetter>> {
        let index = self.keys().dead_letters(webhook);
        let mut connection = self.connection();
        let max = page
            .after
            .as_ref()
            .map_or_else(|| "+".to_owned(), |seen| format!("({seen}"));
        let limit = page.limit as usize;
        let mut ids: Vec<String> = redis::cmd("ZREVRANGEBYLEX")
            .arg(&index)
            .arg(max)
            .arg("-")
            .arg("LIMIT")
            .arg(0)
            .arg(limit + 1)
            .query_async(&mut connection)
            .await?;
        let more = ids.len() > limit;
        ids.truncate(limit);
        let mut pipeline = redis::pipe();
        for id in &ids {
            // All but the bytes.
            pipeline.hmget(self.keys().join(&["dead_letter", id]), &FIELDS);
        }
        let rows: Vec<Vec<Option<String>>> = if ids.is_empty() {
            Vec::new()
        } else {
            pipeline.query_async(&mut connection).await?
        };
        let next = if more { ids.last().cloned() } else { None };
        let (kept, expired): (Vec<_>, Vec<_>) = ids
            .into_iter()
            .zip(rows)
            .partition(|(_, row)| row.iter().any(Option::is_some));
        if !expired.is_empty() {
            let expired: Vec<_> = expired.into_iter().map(|(id, _)| id).collect();
            let _removed: u64 = connection.zrem(&index, expired).await?;
        }
        let items = kept
            .into_iter()
            .map(|(id, row)| dead_letter(id, row))
            .collect();
        Ok(Page { items, next })
    }
}

const FIELDS: [&str; 12] = [
    "run",
    "resource",
    "name",
    "event_type",
    "first_seq",
    "records",
    "cause",
    "reason",
    "status",
    "attempts",
    "created_at",
    "dead_at",
];

fn dead_letter(id: String, row: Vec<Option<String>>) -> DeadLetter {
    let fields: HashMap<&str, String> = FIELDS
        .into_iter()
        .zip(row)
        .filter_map(|(name, value)| value.map(|value| (name, value)))
        .collect();
    let text = |name: &str| fields.get(name).cloned().unwrap_or_default();
    let number = |name: &str| text(name).parse::<u64>().unwrap_or(0);
    let time = |name: &str| Timestamp(text(name).parse().unwrap_or(0));
    let (first, records) = (number("first_seq"), number("records"));
    DeadLetter {
        id,
        event: text("event_type"),
        sync_job_run_id: text("run"),
        resource: Some(text("resource")).filter(|name| !name.is_empty()),
        name: Some(text("name")).filter(|name| !name.is_empty()),
        first_seq: (records > 0).then_some(first),
        last_seq: (records > 0).then(|| first + records - 1),
        count: records,
        cause: if text("cause") == Cause::Broken.as_str() {
            Cause::Broken
        } else {
            Cause::Refused
        },
        reason: text("reason"),
        status_code: u16::try_from(number("status"))
            .ok()
            .filter(|status| *status > 0),
        attempts: u32::try_from(number("attempts")).unwrap_or(u32::MAX),
        created_at: time("created_at"),
        dead_at: time("dead_at"),
    }
}
