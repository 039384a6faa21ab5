//! Times as the API shows them: RFC 3339, UTC, milliseconds.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

/// Milliseconds since the Unix epoch. Text form: `2024-05-01T12:00:00.000Z`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// The system clock. Leases and schedules use Redis's clock instead.
    #[must_use]
    pub fn now() -> Self {
        let nanos = OffsetDateTime::now_utc().unix_timestamp_nanos();
        Self(i64::try_from(nanos / 1_000_000).unwrap_or(i64::MAX))
    }

    /// How long after `earlier` it is; nothing if it is before.
    #[must_use]
    pub fn since(self, earlier: Self) -> std::time::Duration {
        let ms = self.0.saturating_sub(earlier.0);
        std::time::Duration::from_millis(u64::try_from(ms).unwrap_or(0))
    }
}

impl std::fmt::Display for Timestamp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let time = OffsetDateTime::from_unix_timestamp_nanos(i128::from(self.0) * 1_000_000)
            .unwrap_or(OffsetDateTime::UNIX_EPOCH);
        let (hour, minute, second) = time.to_hms();
        write!(
            f,
            "{:04}-{:02}-{:02}T{hour:02}:{minute:02}:{second:02}.{:03}Z",
            time.year(),
            u8::from(time.month()),
            time.day(),
            time.millisecond()
        )
    }
}

/// Years of UTC that a time may be in: beyond them RFC 3339 has no text for it, so that it could be stored and not be read
/// again.
const YEARS: std::ops::RangeInclusive<i32> = 0..=9999;

/// Why a text is no time.
#[derive(Debug, thiserror::Error)]
pub enum TimestampError {
    #[error("no date and time of RFC 3339: {0}")]
    Text(#[from] time::error::Parse),
    #[error("not in the years {} to {} of UTC", YEARS.start(), YEARS.end())]
    Year,
}

impl TimestampError {
    /// The fault of a document that has this text for a time.
    #[must_use]
    pub fn of(&self, text: &str) -> String {
        match self {
            Self::Text(_) => {
                format!("`{text}` is no date and time of RFC 3339, such as `2024-05-01T00:00:00Z`")
            }
            Self::Year => format!("`{text}` is {self}"),
        }
    }
}

impl std::str::FromStr for Timestamp {
    type Err = TimestampError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let time = OffsetDateTime::parse(text, &Rfc3339)?;
        // The year here may differ from the one in UTC, which may be one that can't be converted to.
        let ms = i64::try_from(time.unix_timestamp_nanos().div_euclid(1_000_000))
            .map_err(|_| TimestampError::Year)?;
        let in_utc = OffsetDateTime::from_unix_timestamp_nanos(i128::from(ms) * 1_000_000)
            .map_err(|_| TimestampError::Year)?;
        if !YEARS.contains(&in_utc.year()) {
            return Err(TimestampError::Year);
        }
        Ok(Self(ms))
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timestamp_is_rfc_3339_in_utc_with_milliseconds() {
        assert_eq!(
            Timestamp(1_714_564_800_007).to_string(),
            "2024-05-01T12:00:00.007Z"
        );
        assert_eq!(
            "2024-05-01T14:00:00.007+02:00".parse::<Timestamp>().ok(),
            Some(Timestamp(1_714_564_800_007))
        );
    }

    #[test]
    fn a_time_that_could_not_be_told_again_is_refused() {
        for text in ["0000-01-01T00:00:00+05:00", "9999-12-31T23:59:59-05:00"] {
            assert!(
                matches!(text.parse::<Timestamp>(), Err(TimestampError::Year)),
                "{text}"
            );
        }
        for text in ["0000-01-01T00:00:00.000Z", "9999-12-31T23:59:59.999Z"] {
            let time = text.parse::<Timestamp>().expect("a time");
            assert_eq!(time.to_string(), text);
        }
    }
}
