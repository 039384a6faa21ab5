//! Wakes idle claim loops when a task is pushed.
//!
//! A claim that finds less than it wants marks its queue idle; the next push sees
//! the mark and publishes. The mark is set in the same script that looked, so no
//! push slips through between looking and waiting. A message can still be lost
//! with the connection; after each reconnect all loops look again, and they look
//! once in a while anyway.
//!
//! A connection on which nothing is asked doesn't notice that its peer is gone, or
//! isn't the master any more. So the channel is subscribed anew whenever the
//! connection on which the process asks was replaced.

use std::{sync::Arc, time::Duration};

use futures::StreamExt;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::store::{Outage, Store, queue::Queue};

const RECONNECT_DELAY: Duration = Duration::from_millis(500);

/// One listener a process; hands each message to the loop of its queue.
#[derive(Clone, Default)]
pub struct WakeListener {
    runs: Arc<Notify>,
    fetches: Arc<Notify>,
    deliveries: Arc<Notify>,
}

impl WakeListener {
    /// What the claim loop of `queue` waits on. A permit is kept while nobody waits.
    #[must_use]
    pub fn of(&self, queue: Queue) -> Arc<Notify> {
        match queue {
            Queue::Runs => self.runs.clone(),
            Queue::Fetches => self.fetches.clone(),
            Queue::Deliveries => self.deliveries.clone(),
        }
    }

    fn wake_all(&self) {
        for queue in Queue::ALL {
            self.of(queue).notify_one();
        }
    }

    /// Listens until `stop`.
    pub async fn run(&self, store: &Store, stop: CancellationToken) {
        let mut outage = Outage::of("listening for wake-ups");
        let mut replacements = store.replacements();
        while !stop.is_cancelled() {
            replacements.mark_unchanged();
            match store.subscribe_wake().await {
                Ok(mut messages) => {
                    outage.over();
                    self.wake_all();
                    loop {
                        tokio::select! {
                            () = stop.cancelled() => return,
                            // The sender lives as long as the store.
                            _ = replacements.changed() => break,
                            message = messages.next() => match message.as_deref().map(Queue::from_name) {
                                Some(Some(queue)) => self.of(queue).notify_one(),
                                Some(None) => {}
                                None => {
                                    outage.goes_on(&"the connection was closed");
                                    break;
                                }
                            },
                        }
                    }
                }
                Err(error) => outage.goes_on(&error),
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(RECONNECT_DELAY) => {}
            }
        }
    }
}
