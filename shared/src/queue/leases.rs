//! Keeps the leases of tasks in work alive, from a task of its own, so that a
//! busy worker isn't taken for a dead one.
//!
//! While Redis is away nobody can extend, nor rescue. When it is back, leases that ended
//! meanwhile are extended all the same unless a rescue came first; rescues wait for
//! that ([`EXTEND_EVERY`], `maintenance.rs` of the worker). A lease that was rescued is
//! lost: whoever works under it stops, and its token changes nothing any more.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio_util::sync::CancellationToken;

use crate::store::{
    Outage, Store, StoreResult,
    queue::{LEASE, Queue},
};

/// Leases are extended this often: two attempts may fail before one expires.
pub const EXTEND_EVERY: Duration = Duration::from_secs(LEASE.as_secs() / 3);
/// Between attempts while Redis is away.
const RETRY_DELAY: Duration = Duration::from_secs(1);

type Key = (Queue, String);

struct Entry {
    token: String,
    lost: CancellationToken,
}

/// All leases this process holds.
#[derive(Clone, Default)]
pub struct LeaseKeeper {
    held: Arc<Mutex<HashMap<Key, Entry>>>,
}

/// One held lease; given up when dropped (the store is told by whoever ends the task).
pub struct Lease {
    key: Key,
    token: String,
    keeper: LeaseKeeper,
    lost: CancellationToken,
}

impl LeaseKeeper {
    /// Takes over a lease just claimed.
    #[must_use]
    pub fn hold(&self, queue: Queue, id: &str, token: &str) -> Lease {
        let key = (queue, id.to_owned());
        let lost = CancellationToken::new();
        let entry = Entry {
            token: token.to_owned(),
            lost: lost.clone(),
        };
        // A task that was taken from this process and comes back to it: what is still at it has lost its lease.
        if let Some(before) = self.entries().insert(key.clone(), entry) {
            before.lost.cancel();
        }
        Lease {
            key,
            token: token.to_owned(),
            keeper: self.clone(),
            lost,
        }
    }

    /// Extends what is held until `stop`; a lease that is gone is marked as lost.
    pub async fn run(&self, store: &Store, stop: CancellationToken) {
        let mut outage = Outage::of("extending leases");
        let mut wait = Duration::ZERO;
        while stop
            .run_until_cancelled(tokio::time::sleep(wait))
            .await
            .is_some()
        {
            wait = match self.extend_all(store).await {
                Ok(()) => {
                    outage.over();
                    EXTEND_EVERY
                }
                Err(error) => {
                    outage.goes_on(&error);
                    RETRY_DELAY
                }
            };
        }
    }

    async fn extend_all(&self, store: &Store) -> StoreResult<()> {
        for queue in Queue::ALL {
            self.extend(store, queue).await?;
        }
        Ok(())
    }

    async fn extend(&self, store: &Store, queue: Queue) -> StoreResult<()> {
        let tasks: Vec<(String, String)> = self
            .entries()
            .iter()
            .filter(|((of, _), _)| *of == queue)
            .map(|((_, id), entry)| (id.clone(), entry.token.clone()))
            .collect();
        if tasks.is_empty() {
            return Ok(());
        }
        for id in store.extend_leases(queue, LEASE, &tasks).await? {
            self.mark_lost(queue, &id, &tasks);
        }
        Ok(())
    }

    /// A lease may have ended, or changed hands, since `asked` was collected.
    fn mark_lost(&self, queue: Queue, id: &str, asked: &[(String, String)]) {
        let Some((_, token)) = asked.iter().find(|(of, _)| of == id) else {
            return;
        };
        if let Some(entry) = self
            .entries()
            .get(&(queue, id.to_owned()))
            .filter(|entry| entry.token == *token)
        {
            entry.lost.cancel();
        }
    }

    fn entries(&self) -> std::sync::MutexGuard<'_, HashMap<Key, Entry>> {
        // A panic while the map is locked can't leave it half changed.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lease {
    /// Ends when the lease is known to be lost.
    pub async fn lost(&self) {
        self.lost.cancelled().await;
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let mut entries = self.keeper.entries();
        // The same task may have been claimed anew in between, under another token.
        if entries
            .get(&self.key)
            .is_some_and(|entry| entry.token == self.token)
        {
            entries.remove(&self.key);
        }
    }
}
