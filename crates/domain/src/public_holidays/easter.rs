//! Calculations with days: civil dates, weekdays, Easter.

/// Number of days since 1970-01-01.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct DayNumber(i32);

/// Day of the week; the value counts from Monday.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Weekday {
    Monday = 0,
    Thursday = 3,
    Friday = 4,
    Saturday = 5,
}

impl DayNumber {
    /// Returns the day of a date of the Gregorian calendar.
    pub(super) fn from_civil(year: i32, month: u8, day: u8) -> Self {
        // Years begin in March here, so that the leap day is the last one.
        let (month, day) = (i32::from(month), i32::from(day));
        let year = if month <= 2 { year - 1 } else { year };
        let era = year.div_euclid(400);
        let year_of_era = year.rem_euclid(400);
        let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
        let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
        Self(era * 146_097 + day_of_era - 719_468)
    }

    /// Returns year, month and day of the month.
    pub(super) fn to_civil(self) -> (i32, u8, u8) {
        let shifted = self.0 + 719_468;
        let era = shifted.div_euclid(146_097);
        let day_of_era = shifted.rem_euclid(146_097);
        let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted_month = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
        let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
        let year = year_of_era + era * 400 + i32::from(month <= 2);
        (year, u8::try_from(month).unwrap_or(1), u8::try_from(day).unwrap_or(1))
    }

    /// Returns Easter Sunday of a year, by the anonymous Gregorian algorithm.
    pub(super) fn easter(year: i32) -> Self {
        let golden = year.rem_euclid(19);
        let (century, rest) = (year.div_euclid(100), year.rem_euclid(100));
        let correction = (8 * century + 13) / 25;
        let epact = (19 * golden + century - century / 4 - correction + 15).rem_euclid(30);
        let weekday = (32 + 2 * (century % 4) + 2 * (rest / 4) - epact - rest % 4).rem_euclid(7);
        let shift = (golden + 11 * epact + 22 * weekday) / 451;
        let days = epact + weekday - 7 * shift + 114;
        Self::from_civil(year, u8::try_from(days / 31).unwrap_or(3), u8::try_from(days % 31 + 1).unwrap_or(1))
    }

    /// Returns the day a number of days later.
    pub(super) fn plus(self, days: i32) -> Self {
        Self(self.0 + days)
    }

    /// Returns the first day from this one on that is on a weekday.
    pub(super) fn next(self, weekday: Weekday) -> Self {
        self.plus((weekday as i32 - self.weekday()).rem_euclid(7))
    }

    /// Returns the last day up to this one that is on a weekday.
    pub(super) fn previous(self, weekday: Weekday) -> Self {
        self.plus(-(self.weekday() - weekday as i32).rem_euclid(7))
    }

    /// Returns Friday for a Saturday, Monday for a Sunday, and other days unchanged.
    pub(super) fn nearest_weekday(self) -> Self {
        match self.weekday() {
            5 => self.plus(-1),
            6 => self.plus(1),
            _ => self,
        }
    }

    /// Returns true on Saturday and Sunday.
    pub(super) fn is_weekend(self) -> bool {
        self.weekday() >= 5
    }

    /// Returns true on a weekday of the week.
    pub(super) fn is_on(self, weekday: Weekday) -> bool {
        self.weekday() == weekday as i32
    }

    /// Returns the day of the week, from 0 (Monday) to 6.
    fn weekday(self) -> i32 {
        (self.0 + 3).rem_euclid(7)
    }
}
