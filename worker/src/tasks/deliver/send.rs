//! Sending a batch, in a task of its own: its answer is read in time whatever the store keeps its delivery task waiting for.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use shared::{
    delivery::{self, Attempt, Message, Target},
    ids::{RunId, WebhookId},
    model::event::Batch,
    queue::Slot,
};

use super::refusals::{Refusal, take_refused};
use crate::context::Context;

/// After so long a delivery that waits for the receiver makes room for another one.
const SLOT_HELD: Duration = Duration::from_millis(100);

/// Sends the batches of one delivery task.
#[derive(Clone)]
pub(super) struct Sender {
    pub context: Arc<Context>,
    pub slot: Arc<Slot>,
    pub webhook_id: WebhookId,
    pub run: Option<RunId>,
    /// Batches in flight at most.
    pub window: u32,
    /// Whether the slot was given to another task.
    pub waited: Arc<AtomicBool>,
}

/// A batch that was sent, and what came of it.
pub(super) struct Sent {
    pub batch: Batch,
    pub webhook: Arc<Target>,
    pub body: Bytes,
    pub attempt: Attempt,
    /// What was taken out of the answer.
    pub refused: Vec<Refusal>,
}

/// Sends once. `slow`: called when the receiver takes its time, to give the slot to another task.
pub(in crate::tasks) async fn send_patiently(
    context: &Context,
    webhook: &Target,
    message: &Message,
    slow: impl FnOnce(),
) -> Attempt {
    let sent = delivery::send(&context.receivers, webhook, message);
    tokio::pin!(sent);
    tokio::select! {
        attempt = &mut sent => return attempt,
        () = tokio::time::sleep(SLOT_HELD) => slow(),
    }
    sent.await
}

impl Sender {
    /// Sends once; while the receiver takes its time, another task gets the slot.
    pub async fn send(self, batch: Batch, webhook: Arc<Target>, message: Message) -> Sent {
        let mut attempt = send_patiently(&self.context, &webhook, &message, || {
            self.wait(&batch, &message);
        })
        .await;
        let refused = take_refused(&mut attempt, &batch);
        let sent = delivery::Sent {
            webhook: self.webhook_id,
            event: batch.event,
            event_type: &batch.event_type,
            run: self.run,
            number: batch.attempts + 1,
        };
        let record = attempt.record(&sent, &webhook.secrets);
        self.context.attempts.note(record);
        Sent {
            batch,
            webhook,
            body: message.body,
            attempt,
            refused,
        }
    }

    /// Once for all that the task may have in flight until its turn is over.
    fn wait(&self, batch: &Batch, message: &Message) {
        if !self.waited.swap(true, Ordering::Relaxed) {
            let chunks: usize = batch.chunks.iter().map(Vec::len).sum();
            self.slot.wait(chunks + message.body.len(), self.window);
        }
    }
}
