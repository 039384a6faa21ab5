//! What becomes of a batch before it is sent.

use std::sync::Arc;

use shared::{
    delivery::{Message, Target},
    model::{chunk::split_chunk, event::Batch},
    store::queue::MAX_RESCUES,
};

use super::{
    Delivery, Step,
    webhook::{self, Opened},
};
use crate::context::LoadError;

pub(super) enum Prepared {
    Send(Arc<Target>, Message),
    Step(Step),
    /// Not while others are in flight.
    Later,
}

impl Delivery<'_> {
    /// `alone`: nothing is in flight, so the batch is at the head of its stream and the task may be given back.
    pub(super) async fn prepare(
        &self,
        batch: &Batch,
        rescues: u32,
        alone: bool,
    ) -> Result<Prepared, LoadError> {
        if !alone {
            return self.prepare_further(batch).await;
        }
        let step = match webhook::open(self.context, self.claim, self.source).await? {
            Opened::Ended(word) => Step::Ended(word),
            Opened::Ready(None) => {
                let reason = "the webhook was deleted";
                self.dead(batch, reason, Some("webhook_deleted")).await?
            }
            Opened::Ready(Some(_)) if rescues > MAX_RESCUES => {
                let reason = "the worker crashed each time it sent this batch";
                self.dead(batch, reason, None).await?
            }
            Opened::Ready(Some(webhook)) => {
                if let Some(parts) = parts_of(batch) {
                    self.split(batch, batch.most_bytes, &parts).await?
                } else {
                    match self.bytes(batch).await? {
                        Ok(body) => return Ok(Prepared::Send(webhook, message(batch, body))),
                        Err(reason) => self.dead(batch, &reason, None).await?,
                    }
                }
            }
        };
        Ok(Prepared::Step(step))
    }

    /// A batch beside others in flight is sent if nothing is in the way.
    async fn prepare_further(&self, batch: &Batch) -> Result<Prepared, LoadError> {
        let (environment, id) = (self.source.environment(), self.source.webhook());
        let webhook = match self.context.webhook(environment, id).await {
            Ok(Some(webhook)) if webhook.active && parts_of(batch).is_none() => webhook,
            Err(LoadError::Store(error)) => return Err(error.into()),
            // What is wrong is told once it stands in the way of the task.
            Ok(_) | Err(_) => return Ok(Prepared::Later),
        };
        Ok(match self.bytes(batch).await? {
            Ok(body) => Prepared::Send(webhook, message(batch, body)),
            Err(_) => Prepared::Later,
        })
    }
}

fn message(batch: &Batch, body: ::bytes::Bytes) -> Message {
    Message {
        id: batch.event.to_string(),
        body,
    }
}

/// The parts of a batch that is known to be too large for the receiver.
fn parts_of(batch: &Batch) -> Option<Vec<(u64, Vec<u8>)>> {
    let [chunk] = &batch.chunks[..] else {
        return None;
    };
    let most = batch.most_bytes;
    if most == 0 || batch.records < 2 || chunk.len() as u64 <= most {
        return None;
    }
    // One that can't be read can't be sent either, which is told when that is tried.
    split_chunk(chunk, most).ok()
}
