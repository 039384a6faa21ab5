//! A task's place in its process: one of the slots, or, while it waits for somebody
//! else, a place in the waiting room, so that what hangs takes no slot from what works.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Bytes of one place in the waiting room.
const PLACE_BYTES: usize = 64 * 1024;
/// Places of a waiting room: so many tasks wait at most, with 128 MiB among them.
pub const WAITING_PLACES: usize = 2048;

/// The slot of a claimed task; free again when this is dropped or the task waits.
pub struct Slot {
    permit: Mutex<Option<OwnedSemaphorePermit>>,
    waiting_room: Arc<Semaphore>,
}

impl Slot {
    #[must_use]
    pub fn new(permit: OwnedSemaphorePermit, waiting_room: Arc<Semaphore>) -> Self {
        Self {
            permit: Mutex::new(Some(permit)),
            waiting_room,
        }
    }

    /// Gives the slot to another task, for one that waits for `requests` answers at most and holds `bytes` for each
    /// meanwhile. Once given it is gone: the task begins nothing more and ends its turn. Without room to wait the slot is kept.
    pub fn wait(&self, bytes: usize, requests: u32) {
        let places = u32::try_from(bytes.div_ceil(PLACE_BYTES).max(1)).unwrap_or(u32::MAX);
        let places = places.saturating_mul(requests);
        if let Ok(place) = self.waiting_room.clone().try_acquire_many_owned(places) {
            // The old permit, the slot, is dropped.
            *self.permit.lock().unwrap_or_else(PoisonError::into_inner) = Some(place);
        }
    }
}
