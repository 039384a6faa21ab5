//! A time zone as a row of stretches of time, in each of which the offset from
//! UTC is one and the same. Within a stretch, wall clock arithmetic is plain
//! addition; what is special about daylight saving sits between two stretches.
//!
//! Only this file names `jiff`. Instants are seconds since the Unix epoch; wall
//! clock times are the same count for a clock in UTC that shows them.

use std::{ops::Range, sync::LazyLock};

use jiff::tz::{TimeZone, TimeZoneDatabase};

use crate::fault::{Faults, suggestion};

/// Longest name of a zone that is looked up. The longest there is has 30 bytes.
const MAX_NAME_BYTES: usize = 64;

/// The zones that are compiled in.
static ZONES: LazyLock<TimeZoneDatabase> = LazyLock::new(TimeZoneDatabase::bundled);

#[derive(Debug, Clone)]
pub(super) struct Zone {
    zone: TimeZone,
    name: String,
}

/// A span of time with one offset from UTC, within the span asked for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Stretch {
    instants: Range<i64>,
    offset: i64,
    /// When the offset began, and the one before it; `None` when this zone
    /// never had another.
    began: Option<(i64, i64)>,
}

/// The clock going forward.
pub(super) struct Jump {
    /// The first instant after it.
    pub at: i64,
    /// The wall clock times that it left out.
    pub skipped: Range<i64>,
}

impl Zone {
    /// `None`, with a fault at `pointer`, when there is no zone `name`.
    pub(super) fn read(name: &str, pointer: &str, faults: &mut Faults) -> Option<Self> {
        const FORM: &str = "write an IANA name such as `Europe/Berlin` or `UTC`";
        let name = name.trim();
        if name.is_empty() {
            faults.push(pointer, format!("must not be empty; {FORM}"));
            return None;
        }
        if name.len() > MAX_NAME_BYTES {
            faults.push(pointer, format!("is not a time zone; {FORM}"));
            return None;
        }
        let found = ZONES.get(name).ok().filter(|zone| !zone.is_unknown());
        let Some(zone) = found else {
            let hint = similar(name);
            faults.push(
                pointer,
                format!("`{name}` is not a time zone; {FORM}{hint}"),
            );
            return None;
        };
        let name = zone.iana_name().unwrap_or(name).to_owned();
        Some(Self { zone, name })
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The stretches that make up `span`, in order; nothing when it is empty or
    /// can't be dated.
    pub(super) fn stretches(&self, span: Range<i64>) -> impl Iterator<Item = Stretch> + '_ {
        // The clipped bounds can be dated; one second is kept for `preceding` below.
        let first = jiff::Timestamp::MIN.as_second() + 1;
        let last = jiff::Timestamp::MAX.as_second() - 1;
        let span = span.start.max(first)..span.end.min(last);
        let start = jiff::Timestamp::from_second(span.start)
            .ok()
            .filter(|_| !span.is_empty());

        let mut later = start
            .into_iter()
            .flat_map(|start| self.zone.following(start))
            .map(|change| (change.timestamp().as_second(), offset(change.offset())));
        let mut current = start.map(|start| {
            let began = self
                .zone
                // It answers what is strictly before, and a change at `start` counts.
                .preceding(start + jiff::SignedDuration::from_secs(1))
                .next()
                .map(|change| {
                    let before = change.timestamp() - jiff::SignedDuration::from_secs(1);
                    (
                        change.timestamp().as_second(),
                        offset(self.zone.to_offset(before)),
                    )
                });
            (began, span.start, offset(self.zone.to_offset(start)))
        });
        std::iter::from_fn(move || {
            let (began, start, offset) = current.take()?;
            let change = later.next().filter(|(at, _)| *at < span.end);
            current = change.map(|(at, next)| (Some((at, offset)), at, next));
            Some(Stretch {
                instants: start..change.map_or(span.end, |(at, _)| at),
                offset,
                began,
            })
        })
    }
}

impl Stretch {
    /// What a clock shows at `instant`.
    pub(super) fn wall(&self, instant: i64) -> i64 {
        instant + self.offset
    }

    /// When a clock shows `wall`.
    pub(super) fn instant(&self, wall: i64) -> i64 {
        wall - self.offset
    }

    /// What a clock shows during the stretch.
    pub(super) fn walls(&self) -> Range<i64> {
        self.wall(self.instants.start)..self.wall(self.instants.end)
    }

    /// The jump forward with which the stretch begins, if it begins with one
    /// and its beginning is in the span asked for.
    pub(super) fn jump(&self) -> Option<Jump> {
        let (at, before) = self.began?;
        (at == self.instants.start && before < self.offset).then(|| Jump {
            at,
            skipped: at + before..self.wall(at),
        })
    }

    /// The wall clock time before which the stretch only repeats what was
    /// shown before the clock went back; `i64::MIN` when it didn't.
    pub(super) fn repeated_until(&self) -> i64 {
        self.began.map_or(i64::MIN, |(at, before)| at + before)
    }
}

fn offset(offset: jiff::tz::Offset) -> i64 {
    i64::from(offset.seconds())
}

/// The zone that `name` may mean: one of the same spelling but for a letter or
/// two, or the one of the city that it names.
fn similar(name: &str) -> String {
    let zones: Vec<String> = ZONES
        .available()
        .map(|zone| zone.as_str().to_owned())
        .collect();
    let of_city = zones.iter().find(|zone| {
        zone.rsplit_once('/')
            .is_some_and(|(_, city)| city.eq_ignore_ascii_case(&name.replace(' ', "_")))
    });
    match of_city {
        Some(zone) => format!("; did you mean `{zone}`?"),
        None => suggestion(name, zones.iter().map(String::as_str)),
    }
}
