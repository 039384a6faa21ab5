//! How long a source asks to be left alone.

use std::time::Duration;

use ::http::{HeaderMap, HeaderName};

use crate::{clock::Timestamp, http};

/// What is taken for a misunderstanding when a source asks for more.
pub const MAX_WAIT: Duration = Duration::from_hours(24);

/// The wait after a 429 that says nothing, and the shortest one after one that does.
pub(super) const SILENT_WAIT: Duration = Duration::from_secs(1);

/// Headers that say when the limit is lifted, looked at after `Retry-After`.
const RESETS: [HeaderName; 2] = [
    HeaderName::from_static("ratelimit-reset"),
    HeaderName::from_static("x-ratelimit-reset"),
];

/// From here on a number of seconds is a point in time (1973), no delay.
const EPOCH_SECONDS_FROM: f64 = 1e8;

/// From here on a point in time is in milliseconds (1973; as seconds it would be the year 5138).
const EPOCH_MILLISECONDS_FROM: f64 = 1e11;

/// The wait after a 429.
pub(super) fn wait(headers: &HeaderMap, now: Timestamp) -> Duration {
    retry_after(headers, now)
        .or_else(|| {
            RESETS
                .iter()
                .find_map(|name| reset(headers.get(name)?.to_str().ok()?, now))
        })
        .unwrap_or(SILENT_WAIT)
}

/// What `Retry-After` asks for. `None` when that is nothing, past, or more than [`MAX_WAIT`].
pub(super) fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    sensible(http::retry_after(headers, now)?.as_secs_f64() * 1000.0)
}

/// A reset time: delay in seconds, epoch seconds or epoch milliseconds, told apart by size.
fn reset(text: &str, now: Timestamp) -> Option<Duration> {
    let number: f64 = text.trim().parse().ok()?;
    if number < EPOCH_SECONDS_FROM {
        sensible(number * 1000.0)
    } else if number < EPOCH_MILLISECONDS_FROM {
        future(number * 1000.0, now)
    } else {
        future(number, now)
    }
}

fn future(epoch_milliseconds: f64, now: Timestamp) -> Option<Duration> {
    let wait = epoch_milliseconds - now.0 as f64;
    if wait > 0.0 { sensible(wait) } else { None }
}

fn sensible(milliseconds: f64) -> Option<Duration> {
    let wait = Duration::try_from_secs_f64((milliseconds / 1000.0).max(-1.0)).ok()?;
    (wait <= MAX_WAIT).then(|| wait.max(SILENT_WAIT))
}
