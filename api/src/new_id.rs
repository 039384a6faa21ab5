//! Ids of new objects: ULIDs that rise strictly within this process, so that what was
//! made later is listed before what was made earlier, in the same millisecond too.

use std::sync::{Mutex, PoisonError};

use ulid::{Generator, Ulid};

/// The bits of a new id.
pub fn new_id() -> u128 {
    static GENERATOR: Mutex<Generator> = Mutex::new(Generator::new());
    let mut generator = GENERATOR.lock().unwrap_or_else(PoisonError::into_inner);
    // The error is 2^80 ids within a millisecond; then order is lost, not uniqueness.
    generator.generate().unwrap_or_else(|_| Ulid::generate()).0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_rise_within_a_millisecond() {
        let ids: Vec<u128> = (0..1000).map(|_| new_id()).collect();
        assert!(ids.is_sorted_by(|before, after| before < after));
    }
}
