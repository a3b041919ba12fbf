//! Points in time as milliseconds since the Unix epoch.

use serde::{Deserialize, Serialize};
use std::ops::{Add, Sub};
use std::time::Duration;

/// Point in time: milliseconds since 1970-01-01 00:00 UTC.
///
/// The difference of two points is a [`Duration`] and never negative. Sums saturate. The JSON form
/// is an integer; a number with a fraction is accepted and rounded, because earlier clients stored
/// the value of `Date.now()` as a floating-point number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct UnixMillis(i64);

impl UnixMillis {
    /// 1970-01-01 00:00 UTC.
    pub const EPOCH: Self = Self(0);
    /// Later than every other point.
    pub const MAX: Self = Self(i64::MAX);

    /// Creates a point from milliseconds since the epoch.
    pub const fn new(millis: i64) -> Self {
        Self(millis)
    }

    /// Creates a point from the value of JavaScript's `Date.now()`; fractions are rounded.
    pub fn from_js(millis: f64) -> Self {
        Self(saturating_round(millis))
    }

    /// Returns the milliseconds since the epoch.
    pub const fn get(self) -> i64 {
        self.0
    }

    /// Returns the time from `earlier` to `self`; zero if `earlier` is later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

/// Rounds to the nearest integer; values outside its range saturate, and NaN becomes 0.
#[expect(clippy::cast_possible_truncation, reason = "the conversion of a float saturates")]
fn saturating_round(value: f64) -> i64 {
    value.round() as i64
}

/// Milliseconds of a duration, limited to the range of `i64`.
fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

impl Add<Duration> for UnixMillis {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(millis(duration)))
    }
}

impl Sub<Duration> for UnixMillis {
    type Output = Self;

    fn sub(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(millis(duration)))
    }
}

impl<'de> Deserialize<'de> for UnixMillis {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // An `f64` holds every millisecond of the years that can occur, and its reader is small.
        f64::deserialize(deserializer).map(Self::from_js)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_are_never_negative_and_sums_saturate() {
        let point = UnixMillis::new(5_000);
        assert_eq!(point.since(UnixMillis::new(2_000)), Duration::from_secs(3));
        assert_eq!(UnixMillis::new(2_000).since(point), Duration::ZERO);
        assert_eq!(UnixMillis::MAX + Duration::from_secs(1), UnixMillis::MAX);
        assert_eq!(point - Duration::from_secs(7), UnixMillis::new(-2_000));
        assert_eq!(UnixMillis::MAX.since(UnixMillis::new(i64::MIN)), Duration::from_millis(i64::MAX.unsigned_abs()));
    }

    #[test]
    fn integers_and_fractions_are_read_and_integers_are_written() {
        let read = |text: &str| serde_json::from_str::<UnixMillis>(text);
        assert_eq!(read("1714000000123").unwrap(), UnixMillis::new(1_714_000_000_123));
        assert_eq!(read("1714000000123.0").unwrap(), UnixMillis::new(1_714_000_000_123));
        assert_eq!(read("12.6").unwrap(), UnixMillis::new(13));
        assert!(read("\"12\"").is_err() && read("null").is_err());
        assert_eq!(serde_json::to_string(&UnixMillis::new(7)).unwrap(), "7");
    }
}
