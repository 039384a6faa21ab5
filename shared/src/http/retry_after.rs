//! The header with which a server asks to be left alone.

use std::time::Duration;

use http::{HeaderMap, header::RETRY_AFTER};

use crate::clock::Timestamp;

/// `Retry-After` (RFC 9110 section 10.2.3): seconds or a date. `None` when it is missing, unreadable or past.
#[must_use]
pub fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if text.bytes().all(|byte| byte.is_ascii_digit()) && !text.is_empty() {
        // More seconds than fit are for ever.
        return Some(Duration::from_secs(text.parse().unwrap_or(u64::MAX)));
    }
    // Decimals are no valid form, but say clearly what is meant.
    if let Ok(seconds) = text.parse::<f64>() {
        return Duration::try_from_secs_f64(seconds).ok();
    }
    let date = httpdate::parse_http_date(text).ok()?;
    let at = date.duration_since(std::time::UNIX_EPOCH).ok()?;
    let now = Duration::from_millis(u64::try_from(now.0).ok()?);
    at.checked_sub(now).filter(|wait| !wait.is_zero())
}
