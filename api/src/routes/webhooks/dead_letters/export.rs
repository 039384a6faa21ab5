//! `GET /webhook/{id}/dead-letter/export`
//!
//! A line is read from the store when the client has taken the one before, so an
//! export of any length needs the memory of one page of metadata and one event.

use std::{collections::VecDeque, io};

use actix_web::{HttpResponse, http::header};
use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use futures::{Stream, stream};
use serde::Serialize;
use serde_json::value::RawValue;
use shared::{
    ids::WebhookId,
    model::dead_letter::{Cause, DeadLetter, LetterFilter},
    store::{Store, StoreError},
};

use super::{FILTERS, filter, webhook};
use crate::{
    error::ApiError,
    extract::{Caller, Read},
};

/// One line of an export.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct ExportedLetter<'a> {
    #[serde(flatten)]
    letter: &'a DeadLetter,
    /// The event, byte for byte as it was sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    body: Option<&'a RawValue>,
    /// The same bytes in base64, when they are no JSON that stands on one line.
    #[serde(skip_serializing_if = "Option::is_none")]
    body_base64: Option<String>,
}

/// All dead letters that match with what was sent, oldest first, one JSON object a line. An export that breaks off
/// before its end is not whole.
#[utoipa::path(
    get, path = "/api/v1/ipaas/webhook/{id}/dead-letter/export", tag = "webhook", operation_id = "export_webhook_dead_letters",
    params(
        ("sync_job_run_id" = Option<String>, Query, description = "Only those of this run"),
        ("resource" = Option<String>, Query, description = "Only those of this resource, by itself or by its name in the job"),
        ("cause" = Option<Cause>, Query, description = "Only those that failed on this side"),
        ("reason" = Option<String>, Query, description = "Only those whose reason has this text in it, whatever its case"),
    ),
    responses((status = 200, description = "Lines", body = ExportedLetter, content_type = "application/x-ndjson"))
)]
pub async fn export(caller: Caller<Read>) -> Result<HttpResponse, ApiError> {
    let filter = filter(&caller.query(&FILTERS)?)?;
    let lines = Export {
        store: caller.state.store.clone(),
        webhook: webhook(&caller).await?.id,
        filter,
        page: VecDeque::new(),
        after: None,
        read_all: false,
    };
    Ok(HttpResponse::Ok()
        .insert_header((header::CONTENT_TYPE, "application/x-ndjson"))
        .streaming(lines.stream()))
}

struct Export {
    store: Store,
    webhook: WebhookId,
    filter: LetterFilter,
    /// Read and not yet written.
    page: VecDeque<DeadLetter>,
    after: Option<String>,
    read_all: bool,
}

impl Export {
    fn stream(self) -> impl Stream<Item = Result<Bytes, io::Error>> {
        stream::try_unfold(self, async |mut export| {
            let line = export.next_line().await.map_err(|error| {
                tracing::warn!(webhook.id = %export.webhook, %error, "an export of dead letters broke off");
                io::Error::other("the export broke off")
            })?;
            Ok(line.map(|line| (line, export)))
        })
    }

    async fn next_line(&mut self) -> Result<Option<Bytes>, StoreError> {
        loop {
            while let Some(letter) = self.page.pop_front() {
                // A letter that is gone since its page was read is left out.
                let Ok(event) = letter.id.parse() else {
                    continue;
                };
                if let Some(kept) = self.store.dead_letter(self.webhook, event).await? {
                    return line(&kept.letter, &kept.body).map(Some);
                }
            }
            if self.read_all {
                return Ok(None);
            }
            let after = self.after.as_deref();
            let page = self
                .store
                .dead_letters_after(self.webhook, &self.filter, after)
                .await?;
            self.page = page.items.into();
            self.read_all = page.next.is_none();
            self.after = page.next;
        }
    }
}

fn line(letter: &DeadLetter, bytes: &[u8]) -> Result<Bytes, StoreError> {
    // Line breaks between the tokens of an event, as records may have them, would end the line.
    let in_one_line = !bytes.iter().any(|byte| matches!(byte, b'\n' | b'\r'));
    let body = in_one_line
        .then(|| serde_json::from_slice::<&RawValue>(bytes).ok())
        .flatten()
        // It leaves out blanks around the value.
        .filter(|raw| raw.get().len() == bytes.len());
    let body_base64 = body.is_none().then(|| STANDARD.encode(bytes));
    let exported = ExportedLetter {
        letter,
        body,
        body_base64,
    };
    let mut line = serde_json::to_vec(&exported).map_err(|error| {
        StoreError::Unexpected(format!("a dead letter can't be written: {error}"))
    })?;
    line.push(b'\n');
    Ok(line.into())
}
