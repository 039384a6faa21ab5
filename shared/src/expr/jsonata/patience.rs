//! The time of an evaluation is what it computes. The engine looks at the clock on the wall, which
//! also runs while the machine is busy or a container has used up its share of the processor; a record
//! must not fail for that. So who ran out of time without having computed as long gets more of it, from
//! the beginning: an evaluation changes nothing.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// An evaluation that hardly gets a processor is given up after waiting for so long, the last time.
const LONGEST: Duration = Duration::from_secs(8);

/// Calls `attempt` with the time on the wall that it may take, until it has another outcome than
/// `too_late`, has computed for nearly `time` by the clock `computed`, or has waited for [`LONGEST`].
pub(super) fn patiently<T>(
    time: Duration,
    computed: impl Fn() -> Duration,
    too_late: impl Fn(&T) -> bool,
    mut attempt: impl FnMut(Duration) -> T,
) -> T {
    let mut wall = time;
    loop {
        let began = computed();
        let outcome = attempt(wall);
        // Asked last, since it is a system call and nearly every evaluation ends in time.
        let is_starved = || computed().saturating_sub(began) < time / 10 * 9;
        if !too_late(&outcome) || wall >= LONGEST || !is_starved() {
            return outcome;
        }
        wall *= 2;
    }
}

/// What this thread has computed so far.
pub(super) fn computed_by_thread() -> Duration {
    // POSIX, `CLOCK_THREAD_CPUTIME_ID`.
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::try_from(time).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    const TIME: Duration = Duration::from_millis(250);

    /// The times that attempts got, each of which was too late after computing for `computing`.
    fn attempts(computing: Duration) -> Vec<Duration> {
        let (computed, mut given) = (Cell::new(Duration::ZERO), Vec::new());
        let late = patiently(
            TIME,
            || computed.get(),
            |late| *late,
            |wall| {
                computed.set(computed.get() + computing);
                given.push(wall);
                true
            },
        );
        assert!(late);
        given
    }

    #[test]
    fn an_evaluation_that_computed_for_its_time_is_over() {
        assert_eq!(attempts(TIME), [TIME]);
    }

    #[test]
    fn an_evaluation_that_waited_for_the_processor_gets_more_time_up_to_a_bound() {
        let given = attempts(TIME / 10);
        assert_eq!(given[..3], [TIME, TIME * 2, TIME * 4]);
        assert_eq!(given.last(), Some(&LONGEST));
    }

    #[test]
    fn what_is_not_too_late_is_made_once() {
        let mut calls = 0;
        let outcome = patiently(
            TIME,
            || Duration::ZERO,
            |late| *late,
            |_| {
                calls += 1;
                false
            },
        );
        assert_eq!((outcome, calls), (false, 1));
    }

    #[test]
    fn the_clock_of_the_thread_stands_still_while_it_sleeps() {
        let began = computed_by_thread();
        let mut sum = 0_u64;
        while computed_by_thread() == began {
            sum = std::hint::black_box(sum.wrapping_add(1));
        }
        let (before, wall) = (computed_by_thread(), std::time::Instant::now());
        std::thread::sleep(TIME);
        assert!(wall.elapsed() >= TIME);
        assert!(computed_by_thread() < before + TIME / 2);
    }
}
