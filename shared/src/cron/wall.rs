//! The wall clock times at which an expression fires, without a time zone: on
//! which days, and on such a day at which minutes.
//!
//! Times are as in [`super::zone`]: seconds of a clock in UTC that shows them.

use std::ops::Range;

use croner::{Cron, time::Weekday};
use time::Date;

const SECONDS_A_MINUTE: i64 = 60;
const MINUTES_A_DAY: i64 = 24 * 60;
/// The Julian day of 1970-01-01.
const EPOCH_JULIAN_DAY: i64 = 2_440_588;
/// 1970-01-01 was a Thursday.
const EPOCH_WEEKDAY: i64 = 4;

#[derive(Debug, Clone)]
pub(super) struct WallTimes {
    cron: Cron,
    /// The minutes of a day on which it fires, ascending.
    minutes: Vec<u16>,
}

impl WallTimes {
    pub(super) fn new(cron: Cron) -> Self {
        let of_hour = cron.pattern.minutes.values();
        let minutes = cron
            .pattern
            .hours
            .values()
            .iter()
            .flat_map(|hour| of_hour.iter().map(move |minute| (hour, minute)))
            .map(|(hour, minute)| hour * 60 + minute)
            .collect();
        Self { cron, minutes }
    }

    pub(super) fn fires_at(&self, wall: i64) -> bool {
        self.next_in(wall..wall + 1).is_some()
    }

    pub(super) fn next_in(&self, span: Range<i64>) -> Option<i64> {
        let (day, minutes) = self.days_in(span).next()?;
        Some(wall(day, *minutes.first()?))
    }

    pub(super) fn last_in(&self, span: Range<i64>) -> Option<i64> {
        let (day, minutes) = self.days_in(span).next_back()?;
        Some(wall(day, *minutes.last()?))
    }

    pub(super) fn count_in(&self, span: Range<i64>) -> u64 {
        self.days_in(span)
            .map(|(_, minutes)| minutes.len() as u64)
            .sum()
    }

    /// The days since the epoch on which it fires within `span`, each with the
    /// minutes of the day that are in it, of which there is at least one.
    fn days_in(&self, span: Range<i64>) -> impl DoubleEndedIterator<Item = (i64, &[u16])> {
        // It fires when a minute begins, so only beginnings count.
        let from = begun_minute(span.start);
        let to = begun_minute(span.end).max(from);
        let days = from.div_euclid(MINUTES_A_DAY)..(to - 1).div_euclid(MINUTES_A_DAY) + 1;
        days.filter(|day| self.fires_on(*day))
            .map(move |day| {
                let of_day = |minute: i64| {
                    let minute = minute - day * MINUTES_A_DAY;
                    self.minutes
                        .partition_point(|fire| i64::from(*fire) < minute)
                };
                (day, &self.minutes[of_day(from)..of_day(to)])
            })
            .filter(|(_, minutes)| !minutes.is_empty())
    }

    fn fires_on(&self, day: i64) -> bool {
        let date = i32::try_from(day + EPOCH_JULIAN_DAY)
            .ok()
            .and_then(|julian| Date::from_julian_day(julian).ok());
        let (Some(date), Ok(weekday)) = (date, u32::try_from((day + EPOCH_WEEKDAY).rem_euclid(7)))
        else {
            return false;
        };
        let month = u32::from(u8::from(date.month()));
        let pattern = &self.cron.pattern;
        // An error means a date that doesn't exist; this one does.
        pattern.month_match(month).unwrap_or(false)
            && pattern
                .day_match(
                    date.year(),
                    month,
                    u32::from(date.day()),
                    Weekday::from_days_from_sunday(weekday),
                )
                .unwrap_or(false)
    }
}

/// The first minute that begins at `wall` or later, counted from the epoch.
fn begun_minute(wall: i64) -> i64 {
    -(-wall).div_euclid(SECONDS_A_MINUTE)
}

fn wall(day: i64, minute_of_day: u16) -> i64 {
    (day * MINUTES_A_DAY + i64::from(minute_of_day)) * SECONDS_A_MINUTE
}
