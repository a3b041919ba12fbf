//! Moments and lengths of time in tenths of a minute, the unit of Microsoft Project.
//!
//! Microsoft: `LinkLag` and all slacks are stored in tenths of a minute, so an import is exact.

use std::fmt;

/// Tenths of a minute in a day.
pub(crate) const DAY_TENTHS: i32 = 14_400;

/// Civil local time of the project, in tenths of a minute since 2000-01-01 00:00.
///
/// Has no time zone. Covers 1796 to 2203; Microsoft Project covers 1984 to 2149.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(pub i32);

/// Length of time in tenths of a minute: working time, or elapsed time where that is stated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span(pub i32);

/// Calendar day, in days since 2000-01-01.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Day(pub i32);

impl Default for Moment {
    fn default() -> Self {
        Self::NONE
    }
}

impl Moment {
    /// Absent moment; smaller than every other.
    pub const NONE: Self = Self(i32::MIN);
    /// Earliest moment that the engine computes with.
    pub const MIN: Self = Self(i32::MIN / 2);
    /// Latest moment that the engine computes with.
    pub const MAX: Self = Self(i32::MAX / 2);

    /// Returns the moment at a civil date and time.
    ///
    /// Months and days beyond their range carry over, as in `2026-02-30` = `2026-03-02`.
    pub fn from_civil(year: i32, month: u32, day: u32, hour: u32, minute: u32) -> Self {
        let minutes = i64::from(hour) * 60 + i64::from(minute);
        let day = Day::from_civil(year, month, day);
        Self::clamped(i64::from(day.0) * i64::from(DAY_TENTHS) + minutes * 10)
    }

    /// Returns the moment nearest to a number of tenths of a minute since 2000-01-01.
    pub fn clamped(tenths: i64) -> Self {
        // The bounds are values of i32, so the conversion never fails.
        Self(i32::try_from(tenths.clamp(i64::from(Self::MIN.0), i64::from(Self::MAX.0))).unwrap_or(0))
    }

    /// Returns `None` for [`Moment::NONE`].
    pub fn get(self) -> Option<Self> {
        if self.is_none() { None } else { Some(self) }
    }

    /// Returns true for [`Moment::NONE`].
    pub const fn is_none(self) -> bool {
        self.0 == i32::MIN
    }

    /// Returns true for every moment but [`Moment::NONE`].
    pub const fn is_some(self) -> bool {
        self.0 != i32::MIN
    }

    /// Adds elapsed time; stops at the bounds.
    #[must_use]
    pub fn plus(self, span: Span) -> Self {
        Self::clamped(i64::from(self.0) + i64::from(span.0))
    }

    /// Subtracts elapsed time; stops at the bounds.
    #[must_use]
    pub fn minus(self, span: Span) -> Self {
        Self::clamped(i64::from(self.0) - i64::from(span.0))
    }

    /// Returns the elapsed time from `earlier` to this moment; negative if it is later.
    pub fn since(self, earlier: Self) -> Span {
        Span::clamped(i64::from(self.0) - i64::from(earlier.0))
    }

    /// Returns the day that contains this moment.
    pub const fn day(self) -> Day {
        Day(self.0.div_euclid(DAY_TENTHS))
    }

    /// Returns the time since midnight.
    pub const fn time_of_day(self) -> Span {
        Span(self.0.rem_euclid(DAY_TENTHS))
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_none() {
            return formatter.write_str("-");
        }
        let (year, month, day) = self.day().to_civil();
        let tenths = self.time_of_day().0;
        write!(
            formatter,
            "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}",
            tenths / 600,
            tenths / 10 % 60,
            tenths % 10 * 6
        )
    }
}

impl Span {
    /// No time.
    pub const ZERO: Self = Self(0);
    /// Longest length that the engine computes with.
    pub const MAX: Self = Self(i32::MAX / 2);

    /// Returns a number of minutes.
    pub fn minutes(minutes: i32) -> Self {
        Self::clamped(i64::from(minutes) * 10)
    }

    /// Returns a number of hours.
    pub fn hours(hours: i32) -> Self {
        Self::clamped(i64::from(hours) * 600)
    }

    /// Returns the length nearest to a number of tenths of a minute.
    pub fn clamped(tenths: i64) -> Self {
        let bound = i64::from(Self::MAX.0);
        Self(i32::try_from(tenths.clamp(-bound, bound)).unwrap_or(0))
    }

    /// Returns the sum; stops at the bounds.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self::clamped(i64::from(self.0) + i64::from(other.0))
    }

    /// Returns the difference; stops at the bounds.
    #[must_use]
    pub fn minus(self, other: Self) -> Self {
        Self::clamped(i64::from(self.0) - i64::from(other.0))
    }

    /// Returns the length multiplied by `numerator / denominator`, rounded half up.
    ///
    /// Returns zero if the denominator is zero.
    #[must_use]
    pub fn scale(self, numerator: i64, denominator: i64) -> Self {
        if denominator == 0 {
            return Self::ZERO;
        }
        let product = i128::from(self.0) * i128::from(numerator) * 2 + i128::from(denominator);
        let quotient = product.div_euclid(i128::from(denominator) * 2);
        let bound = i128::from(Self::MAX.0);
        Self(i32::try_from(quotient.clamp(-bound, bound)).unwrap_or(0))
    }
}

impl Day {
    /// Returns the day of a date of the Gregorian calendar; months and days may carry over.
    pub fn from_civil(year: i32, month: u32, day: u32) -> Self {
        // Days from civil with years that begin in March, so that a leap day is the last of its
        // year.
        let months = i64::from(year) * 12 + i64::from(month) - 1 - 2;
        let (year, month) = (months.div_euclid(12), months.rem_euclid(12));
        let days = year * 365 + year.div_euclid(4) - year.div_euclid(100)
            + year.div_euclid(400)
            + (month * 153 + 2) / 5
            + i64::from(day)
            - 1;
        // 2000-01-01 is day 306 of the year that begins in March 1999.
        let epoch = 1999 * 365 + 1999 / 4 - 1999 / 100 + 1999 / 400 + 306;
        let bound = i64::from(i32::MAX / DAY_TENTHS);
        Self(i32::try_from((days - epoch).clamp(-bound, bound)).unwrap_or(0))
    }

    /// Returns year, month (1 to 12) and day (1 to 31).
    pub fn to_civil(self) -> (i32, u32, u32) {
        // 2000-03-01 is day 60; eras have 400 years, 146,097 days.
        let days = i64::from(self.0) - 60;
        let era = days.div_euclid(146_097);
        let in_era = days.rem_euclid(146_097);
        let year_of_era = (in_era - in_era / 1_460 + in_era / 36_524 - in_era / 146_096) / 365;
        let in_year = in_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month = (5 * in_year + 2) / 153;
        let day = in_year - (153 * month + 2) / 5 + 1;
        let year = 2000 + era * 400 + year_of_era + i64::from(month >= 10);
        let month = if month < 10 { month + 3 } else { month - 9 };
        (i32::try_from(year).unwrap_or(0), u32::try_from(month).unwrap_or(1), u32::try_from(day).unwrap_or(1))
    }

    /// Returns the weekday: 0 for Sunday to 6 for Saturday.
    pub const fn weekday(self) -> usize {
        // 2000-01-01 is a Saturday.
        ((self.0 as i64 + 6).rem_euclid(7)) as usize
    }

    /// Returns the midnight with which the day begins.
    pub fn midnight(self) -> Moment {
        Moment::clamped(i64::from(self.0) * i64::from(DAY_TENTHS))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_convert_to_civil_dates_and_back() {
        assert_eq!(Day::from_civil(2000, 1, 1), Day(0));
        assert_eq!(Day::from_civil(2026, 3, 2), Day(9_557));
        assert_eq!(Day::from_civil(2026, 3, 2).weekday(), 1);
        for number in (-70_000..70_000).step_by(97) {
            let (year, month, day) = Day(number).to_civil();
            assert_eq!(Day::from_civil(year, month, day), Day(number), "{year}-{month}-{day}");
        }
    }

    #[test]
    fn moments_stop_at_their_bounds() {
        assert_eq!(Moment::MAX.plus(Span::MAX), Moment::MAX);
        assert_eq!(Moment::MIN.minus(Span::MAX), Moment::MIN);
        assert_eq!(Moment::from_civil(9_999, 1, 1, 0, 0).day(), Moment::MAX.day());
        assert_eq!(Moment::from_civil(2026, 3, 2, 8, 0).to_string(), "2026-03-02T08:00:00");
    }

    #[test]
    fn scaling_rounds_half_up() {
        assert_eq!(Span(5).scale(1, 2), Span(3));
        assert_eq!(Span(-5).scale(1, 2), Span(-2));
        assert_eq!(Span(7).scale(1, 0), Span(0));
        assert_eq!(Span(i32::MAX).scale(i64::MAX, 1), Span::MAX);
    }
}
