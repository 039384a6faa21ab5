//! Spreading out triggers that are due at the same instant.

use std::time::Duration;

use sha2::{Digest, Sha256};

use crate::clock::Timestamp;

/// How long after `fire` trigger `trigger_id` fires: from zero up to and with
/// `max`, in whole milliseconds.
///
/// The same for the same trigger and fire, whoever asks and however often, so
/// that a fire can be claimed again after a crash; for another trigger or fire
/// as good as random.
#[must_use]
pub fn jitter(trigger_id: &[u8], fire: Timestamp, max: Duration) -> Duration {
    let hash = Sha256::new()
        .chain_update(trigger_id)
        .chain_update(fire.0.to_be_bytes())
        .finalize();
    let mut drawn = [0; 8];
    drawn.copy_from_slice(&hash[..8]);
    let choices = u64::try_from(max.as_millis())
        .unwrap_or(u64::MAX)
        .saturating_add(1);
    Duration::from_millis(u64::from_be_bytes(drawn) % choices)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRE: Timestamp = Timestamp(1_714_564_800_000);
    const MAX: Duration = Duration::from_secs(30);

    #[test]
    fn a_fire_has_the_same_jitter_whenever_it_is_asked_for() {
        // A fixed value, since a new release must not move fires that an old one has planned.
        assert_eq!(jitter(b"cron_1", FIRE, MAX), Duration::from_millis(20_837));
    }

    #[test]
    fn triggers_that_are_due_together_are_spread_over_the_whole_of_the_time_allowed() {
        let delays: Vec<_> = (0..1000_u32)
            .map(|trigger| jitter(&trigger.to_be_bytes(), FIRE, MAX))
            .collect();
        assert!(delays.iter().all(|delay| *delay <= MAX));
        for third in 0..3 {
            let from = MAX / 3 * third;
            let here = delays
                .iter()
                .filter(|delay| (from..from + MAX / 3).contains(*delay))
                .count();
            assert!((250..420).contains(&here), "{here} of 1000 from {from:?}");
        }
    }

    #[test]
    fn one_trigger_has_another_jitter_at_its_next_fire() {
        let next = Timestamp(FIRE.0 + 60_000);
        assert_ne!(jitter(b"cron_1", FIRE, MAX), jitter(b"cron_1", next, MAX));
    }

    #[test]
    fn no_time_allowed_means_no_jitter() {
        assert_eq!(jitter(b"cron_1", FIRE, Duration::ZERO), Duration::ZERO);
        assert!(jitter(b"cron_1", FIRE, Duration::MAX) <= Duration::MAX);
    }
}
