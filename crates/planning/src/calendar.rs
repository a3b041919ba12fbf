//! Definitions of calendars: week, work weeks, exceptions, base calendar.
//!
//! Microsoft: a calendar has seven weekdays, each with up to five ranges of working hours; work
//! weeks replace the weekdays for a range of dates; exceptions replace single or recurring dates; a
//! derived calendar takes over what it does not state from its base.

use crate::moment::Day;

/// Position of a calendar in [`crate::Plan::calendars`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CalendarIndex(pub u16);

/// Working hours of a day, in tenths of a minute since midnight.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HourRange {
    /// Beginning, 0 to 14,400.
    pub from: u16,
    /// End, at most 14,400; a range whose end is not after its beginning has no work.
    pub to: u16,
}

/// What a weekday states about its hours.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum DayHours {
    /// As the base calendar; without one, not working.
    #[default]
    Inherited,
    /// Ranges in which work is done; an empty list is a day without work.
    Ranges(Vec<HourRange>),
}

/// Weekdays that hold for a range of dates in place of the week of the calendar.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkWeek {
    /// First day.
    pub from: Day,
    /// Last day.
    pub to: Day,
    /// Weekdays, Sunday first.
    pub days: [DayHours; 7],
}

/// Dates on which an exception recurs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recurrence {
    /// Every `period` days; a period of 1 is a plain range of dates.
    Daily {
        /// Days from one date to the next.
        period: u16,
    },
    /// The given weekdays of every `period`-th week.
    Weekly {
        /// Weekdays as bits: Sunday 1 to Saturday 64.
        days: u8,
        /// Weeks from one to the next.
        period: u16,
    },
    /// A day of every `period`-th month.
    MonthlyByDay {
        /// Day of the month, from 1.
        day: u8,
        /// Months from one to the next.
        period: u16,
    },
    /// The n-th weekday of every `period`-th month.
    MonthlyByPosition {
        /// 0 for the first to 3 for the fourth, 4 for the last.
        position: u8,
        /// Weekday, 0 for Sunday.
        weekday: u8,
        /// Months from one to the next.
        period: u16,
    },
    /// A day of every year.
    YearlyByDay {
        /// Month, 1 to 12.
        month: u8,
        /// Day of the month, from 1.
        day: u8,
    },
    /// The n-th weekday of a month of every year.
    YearlyByPosition {
        /// Month, 1 to 12.
        month: u8,
        /// 0 for the first to 3 for the fourth, 4 for the last.
        position: u8,
        /// Weekday, 0 for Sunday.
        weekday: u8,
    },
}

/// Dates with hours of their own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CalendarException {
    /// First day on which the exception may hold.
    pub from: Day,
    /// Last day on which it may hold.
    pub to: Day,
    /// Dates within that range.
    pub recurrence: Recurrence,
    /// Maximum number of dates; `None` if only the range limits them.
    pub occurrences: Option<u16>,
    /// Ranges in which work is done; an empty list is a day without work.
    pub hours: Vec<HourRange>,
}

/// Definition of working time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Calendar {
    /// Calendar that states what this one does not.
    pub base: Option<CalendarIndex>,
    /// Weekdays, Sunday first.
    pub week: [DayHours; 7],
    /// Weekdays for ranges of dates; the first that contains a day and states its hours holds.
    pub work_weeks: Vec<WorkWeek>,
    /// Exceptions; the first of equal rank holds.
    pub exceptions: Vec<CalendarException>,
}

impl HourRange {
    /// Returns the range from one full hour to another.
    pub const fn hours(from: u16, to: u16) -> Self {
        Self { from: from * 600, to: to * 600 }
    }
}

impl Calendar {
    /// Returns the calendar Standard: Monday to Friday, 8 to 12 and 13 to 17.
    pub fn standard() -> Self {
        Self::with_week(1..=5, &[HourRange::hours(8, 12), HourRange::hours(13, 17)])
    }

    /// Returns the calendar 24 Hours: every day, all day.
    pub fn always() -> Self {
        Self::with_week(0..=6, &[HourRange::hours(0, 24)])
    }

    /// Returns a base calendar with the same hours on some weekdays, and no work on the others.
    pub fn with_week(weekdays: impl IntoIterator<Item = usize>, hours: &[HourRange]) -> Self {
        let mut week: [DayHours; 7] = std::array::from_fn(|_| DayHours::Ranges(Vec::new()));
        for weekday in weekdays {
            if let Some(day) = week.get_mut(weekday) {
                *day = DayHours::Ranges(hours.to_vec());
            }
        }
        Self { week, ..Self::default() }
    }

    /// Returns a calendar that takes everything over from a base calendar.
    pub fn derived(base: CalendarIndex) -> Self {
        Self { base: Some(base), ..Self::default() }
    }
}

impl CalendarException {
    /// Returns an exception for a range of dates.
    pub fn days(from: Day, to: Day, hours: Vec<HourRange>) -> Self {
        Self { from, to, recurrence: Recurrence::Daily { period: 1 }, occurrences: None, hours }
    }
}
