//! Dead letters: events that were given up, kept with the bytes that were sent for
//! the retention time of their run, from the moment they were given up.

use std::collections::HashMap;

use redis::AsyncCommands;

use super::{Page, PageRequest, Store, StoreError, StoreResult, scripts, scripts::unexpected};
use crate::{
    clock::Timestamp,
    ids::{EventId, WebhookId},
    model::dead_letter::{Cause, DeadLetter, LetterFilter},
};

/// Letters read from the list at once, without their bytes.
const CHUNK: usize = 200;
/// Letters looked at for one page of a filtered list; then the page ends short, with a cursor.
const MAX_SCANNED: usize = 10_000;
/// Letters looked at to count those that match.
const MAX_COUNTED: usize = 10_000;

/// A letter with the bytes that were sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptLetter {
    pub letter: DeadLetter,
    /// Empty when they could not be made.
    pub body: Vec<u8>,
}

impl Store {
    /// Dead letters of a webhook that match, newest event first. A page may end short of its limit, with a cursor.
    ///
    /// # Errors
    /// [`super::StoreError::Unavailable`].
    pub async fn dead_letters(
        &self,
        webhook: WebhookId,
        filter: &LetterFilter,
        page: &PageRequest,
    ) -> StoreResult<Page<DeadLetter>> {
        let limit = page.limit as usize;
        let (mut items, mut after, mut scanned) = (Vec::new(), page.after.clone(), 0);
        loop {
            let newest = bound(after.as_deref(), "+");
            let ids = self
                .letter_ids("ZREVRANGEBYLEX", webhook, &newest, "-")
                .await?;
            if ids.is_empty() {
                return Ok(Page { items, next: None });
            }
            for (id, letter) in self.read_letters(webhook, ids).await? {
                if let Some(letter) = letter.filter(|letter| filter.matches(letter)) {
                    if items.len() == limit {
                        return Ok(Page { items, next: after });
                    }
                    items.push(letter);
                }
                after = Some(id);
                scanned += 1;
            }
            if scanned >= MAX_SCANNED {
                return Ok(Page { items, next: after });
            }
        }
    }

    /// Dead letters of a webhook that match among the next ones after `after`, oldest event first; `next` is how far
    /// they were looked at, `None` at the end.
    ///
    /// # Errors
    /// [`super::StoreError::Unavailable`].
    pub async fn dead_letters_after(
        &self,
        webhook: WebhookId,
        filter: &LetterFilter,
        after: Option<&str>,
    ) -> StoreResult<Page<DeadLetter>> {
        let ids = match filter.event_id.map(|event| event.to_string()) {
            Some(event) if after.is_none_or(|after| after < event.as_str()) => vec![event],
            Some(_) => Vec::new(),
            None => {
                let oldest = bound(after, "-");
                self.letter_ids("ZRANGEBYLEX", webhook, &oldest, "+")
                    .await?
            }
        };
        let next = ids.last().filter(|_| ids.len() == CHUNK).cloned();
        let letters = self.read_letters(webhook, ids).await?;
        let items = letters
            .into_iter()
            .filter_map(|(_, letter)| letter.filter(|letter| filter.matches(letter)))
            .collect();
        Ok(Page { items, next })
    }

    /// How many letters match; `None` when there are more than 10,000 to look at.
    ///
    /// # Errors
    /// [`super::StoreError::Unavailable`].
    pub async fn count_dead_letters(
        &self,
        webhook: WebhookId,
        filter: &LetterFilter,
    ) -> StoreResult<Option<u64>> {
        let (mut count, mut after, mut scanned) = (0, None, 0);
        while scanned < MAX_COUNTED {
            let page = self
                .dead_letters_after(webhook, filter, after.as_deref())
                .await?;
            count += page.items.len() as u64;
            scanned += CHUNK;
            after = page.next;
            if after.is_none() {
                return Ok(Some(count));
            }
        }
        Ok(None)
    }

    /// One dead letter of a webhook, with its bytes.
    ///
    /// # Errors
    /// [`super::StoreError::Unavailable`].
    pub async fn dead_letter(
        &self,
        webhook: WebhookId,
        event: EventId,
    ) -> StoreResult<Option<KeptLetter>> {
        let ids = vec![event.to_string()];
        let found = self.read_letters(webhook, ids).await?.pop();
        let Some((_, Some(letter))) = found else {
            return Ok(None);
        };
        let key = self.keys().dead_letter(event);
        let body: Option<Vec<u8>> = self.connection().hget(key, "body").await?;
        // Gone between the two calls.
        Ok(body.map(|body| KeptLetter { letter, body }))
    }

    /// Deletes a dead letter; false when there is none. Counters of its run stay.
    ///
    /// # Errors
    /// [`super::StoreError::Unavailable`].
    pub async fn delete_dead_letter(
        &self,
        webhook: WebhookId,
        event: EventId,
    ) -> StoreResult<bool> {
        let mut call = self.call(&scripts::DEAD_LETTER_DELETE);
        call.arg(webhook.to_string()).arg(event.to_string());
        match self.invoke::<String>(&call).await?.as_str() {
            "deleted" => Ok(true),
            "not_found" => Ok(false),
            other => Err(unexpected("dead_letter_delete", other)),
        }
    }

    async fn letter_ids(
        &self,
        command: &str,
        webhook: WebhookId,
        from: &str,
        to: &str,
    ) -> StoreResult<Vec<String>> {
        redis::cmd(command)
            .arg(self.keys().dead_letters(webhook))
            .arg(from)
            .arg(to)
            .arg(&["LIMIT", "0"])
            .arg(CHUNK)
            .query_async(&mut self.connection())
            .await
            .map_err(StoreError::from)
    }

    /// Those of these letters that are still kept, without their bytes. Expired ones leave the list.
    async fn read_letters(
        &self,
        webhook: WebhookId,
        ids: Vec<String>,
    ) -> StoreResult<Vec<(String, Option<DeadLetter>)>> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let mut pipeline = redis::pipe();
        for id in &ids {
            // All but the bytes.
            pipeline.hmget(self.keys().join(&["dead_letter", id]), &FIELDS);
        }
        let mut connection = self.connection();
        let rows: Vec<Vec<Option<String>>> = pipeline.query_async(&mut connection).await?;
        let webhook_id = webhook.to_string();
        let letters: Vec<_> = ids
            .into_iter()
            .zip(rows)
            .map(|(id, row)| {
                let is_its = row.first() == Some(&Some(webhook_id.clone()));
                let letter = is_its.then(|| dead_letter(id.clone(), row));
                (id, letter)
            })
            .collect();
        let expired: Vec<_> = letters
            .iter()
            .filter(|(_, letter)| letter.is_none())
            .map(|(id, _)| id)
            .collect();
        if !expired.is_empty() {
            let index = self.keys().dead_letters(webhook);
            let _removed: u64 = connection.zrem(index, expired).await?;
        }
        Ok(letters)
    }
}

/// Where a range begins that leaves out what was seen.
fn bound(after: Option<&str>, end: &str) -> String {
    after.map_or_else(|| end.to_owned(), |seen| format!("({seen}"))
}

const FIELDS: [&str; 13] = [
    "webhook",
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
        sync_job_run_id: Some(text("run")).filter(|run| !run.is_empty()),
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
