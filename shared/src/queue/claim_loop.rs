//! Takes tasks from a queue as slots become free.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{Notify, Semaphore, mpsc},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;
use ulid::Ulid;

use super::{Lease, LeaseKeeper, Slot, WAITING_PLACES};
use crate::{
    clock::Timestamp,
    store::{
        Outage, Store,
        queue::{Claim, LEASE, Queue},
    },
    telemetry::metrics as names,
};

/// An idle loop looks again after this long, should a wake-up have been lost.
const IDLE_LOOK: Duration = Duration::from_secs(2);
/// Between attempts while Redis is away.
const RETRY_DELAY: Duration = Duration::from_millis(250);
/// Tasks of one claim at most.
const CLAIM_AT_ONCE: usize = 64;

/// A claimed task with its lease and its slot; both are given up when it is dropped (the slot perhaps
/// earlier).
pub struct Leased {
    pub claim: Claim,
    pub lease: Lease,
    pub slot: Arc<Slot>,
}

/// Where claimed tasks arrive. Shared, since what nobody has taken when the process stops is handed back by the loop.
#[derive(Clone)]
pub struct Arrivals(Arc<Mutex<mpsc::Receiver<Leased>>>);

impl Arrivals {
    /// For whoever starts them; no call waits while it holds this.
    pub fn lock(&self) -> MutexGuard<'_, mpsc::Receiver<Leased>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes all that are there; no more arrive.
    fn close(&self) -> Vec<Claim> {
        let mut arrived = self.lock();
        arrived.close();
        std::iter::from_fn(|| arrived.try_recv().ok())
            .map(|leased| leased.claim)
            .collect()
    }
}

/// Claims for one queue of this process.
pub struct ClaimLoop {
    pub store: Store,
    pub queue: Queue,
    /// Tasks in work at once, beside those that wait for somebody else ([`Slot::wait`]).
    pub slots: usize,
    pub keeper: LeaseKeeper,
    pub wake: Arc<Notify>,
    pub stop: CancellationToken,
    /// Cancelled should the loop end though it isn't to stop.
    pub crashed: CancellationToken,
}

impl ClaimLoop {
    /// Starts the loop; claimed tasks arrive, never more than there are slots. Soon after `stop` it hands back what has arrived
    /// and nobody has taken, and ends: others needn't wait for what this process is still at.
    #[must_use]
    pub fn spawn(self) -> (Arrivals, JoinHandle<()>) {
        let (sender, receiver) = mpsc::channel(self.slots.max(1));
        let arrivals = Arrivals(Arc::new(Mutex::new(receiver)));
        let untaken = arrivals.clone();
        let crashed = self.crashed.clone().drop_guard();
        let ended = tokio::spawn(async move {
            self.run(sender).await;
            self.hand_back(untaken.close()).await;
            if self.stop.is_cancelled() {
                crashed.disarm();
            }
        });
        (arrivals, ended)
    }

    async fn run(&self, sender: mpsc::Sender<Leased>) {
        let slots = Arc::new(Semaphore::new(self.slots));
        let waiting_room = Arc::new(Semaphore::new(WAITING_PLACES));
        let mut outage = Outage::of(format!("claiming {}", self.queue.name()));
        let mut token = Ulid::generate().to_string();
        loop {
            let first = tokio::select! {
                biased;
                () = self.stop.cancelled() => return,
                permit = slots.clone().acquire_owned() => permit,
            };
            // The semaphore is never closed.
            let Ok(first) = first else { return };
            let mut permits = vec![first];
            while permits.len() < CLAIM_AT_ONCE
                && let Ok(permit) = slots.clone().try_acquire_owned()
            {
                permits.push(permit);
            }
            let wanted = permits.len();
            let claimed = if outage.is_on() {
                // The claim that failed may have been made.
                self.store
                    .claim_again(self.queue, wanted, LEASE, &token)
                    .await
            } else {
                self.store.claim(self.queue, wanted, LEASE, &token).await
            };
            let wait = match claimed {
                Ok(claimed) => {
                    token = Ulid::generate().to_string();
                    outage.over();
                    let found = claimed.tasks.len();
                    if self.stop.is_cancelled() {
                        return self.hand_back(claimed.tasks).await;
                    }
                    for claim in claimed.tasks {
                        let lease = self.keeper.hold(self.queue, &claim.id, &claim.token);
                        self.measure(&claim);
                        let Some(slot) = permits.pop() else { break };
                        let leased = Leased {
                            claim,
                            lease,
                            slot: Arc::new(Slot::new(slot, waiting_room.clone())),
                        };
                        // There is room for all that have a slot, and nobody closes the channel before this loop has ended.
                        if sender.send(leased).await.is_err() {
                            return;
                        }
                    }
                    if claimed.again || found == wanted {
                        continue;
                    }
                    claimed.next_timer.unwrap_or(IDLE_LOOK).min(IDLE_LOOK)
                }
                Err(error) => {
                    outage.goes_on(&error);
                    RETRY_DELAY
                }
            };
            drop(permits);
            tokio::select! {
                biased;
                () = self.stop.cancelled() => return,
                () = self.wake.notified() => {}
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    /// In reverse, since each goes to the front of its lane.
    async fn hand_back(&self, claims: Vec<Claim>) {
        for claim in claims.into_iter().rev() {
            let (id, token) = (&claim.id, &claim.token);
            if let Err(error) = self.store.hand_back(self.queue, id, token).await {
                tracing::warn!(task.id = %id, error = %error, "a task is left to its lease");
            }
        }
    }

    /// How long the task was ready; Redis and this machine may differ by some milliseconds.
    fn measure(&self, claim: &Claim) {
        let waited_ms = u32::try_from(Timestamp::now().0 - claim.ready_since_ms).unwrap_or(0);
        metrics::histogram!(names::CLAIM_LATENCY, names::QUEUE => self.queue.name())
            .record(f64::from(waited_ms) / 1000.0);
    }
}
