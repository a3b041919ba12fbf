//! Dates of calendar exceptions.
//!
//! Microsoft: exception types are daily, weekly with weekdays, monthly and yearly by day or by
//! position; `Period` counts days, weeks or months; a position of 4 is the last.

use crate::calendar::{CalendarException, Recurrence};
use crate::moment::{Day, Moment};

/// Maximum number of days that all exceptions of a calendar may name.
pub(crate) const MAX_EXCEPTION_DAYS: usize = 400_000;

/// Rank of an exception where several name a day; the smallest holds.
///
/// Microsoft Project applies single exceptions before recurring ones, and of those daily before
/// yearly before monthly before weekly.
pub(crate) fn rank(exception: &CalendarException) -> u8 {
    match exception.recurrence {
        Recurrence::Daily { period: 0 | 1 } => 0,
        Recurrence::Daily { .. } => 1,
        Recurrence::YearlyByDay { .. } | Recurrence::YearlyByPosition { .. } => 2,
        Recurrence::MonthlyByDay { .. } | Recurrence::MonthlyByPosition { .. } => 3,
        Recurrence::Weekly { .. } => 4,
    }
}

/// Calls `visit` for each date of an exception, in order, and stops when it returns false.
pub(crate) fn for_each_day(exception: &CalendarException, mut visit: impl FnMut(Day) -> bool) {
    let from = exception.from.0.max(Moment::MIN.day().0);
    let to = exception.to.0.min(Moment::MAX.day().0);
    let mut remaining = exception.occurrences.map_or(usize::MAX, usize::from);
    let mut emit = |day: i32| {
        if day < from || day > to {
            return day <= to;
        }
        if remaining == 0 {
            return false;
        }
        remaining -= 1;
        visit(Day(day))
    };
    match exception.recurrence {
        Recurrence::Daily { period } => {
            let mut day = from;
            while day <= to && emit(day) {
                day += i32::from(period.max(1));
            }
        }
        Recurrence::Weekly { days, period } => {
            let mut sunday = from - Day(from).weekday() as i32;
            while sunday <= to && days & 127 != 0 {
                let mut week = (0..7).filter(|weekday| days & (1 << weekday) != 0);
                if !week.all(|weekday| emit(sunday + weekday)) {
                    return;
                }
                sunday += 7 * i32::from(period.max(1));
            }
        }
        Recurrence::MonthlyByDay { day, period } => {
            months(from, to, i32::from(period), |year, month| emit(day_of_month(year, month, day)));
        }
        Recurrence::MonthlyByPosition { position, weekday, period } => {
            months(from, to, i32::from(period), |year, month| emit(nth_weekday(year, month, position, weekday)));
        }
        Recurrence::YearlyByDay { month, day } => {
            years(from, to, |year| emit(day_of_month(year, u32::from(month), day)));
        }
        Recurrence::YearlyByPosition { month, position, weekday } => {
            years(from, to, |year| emit(nth_weekday(year, u32::from(month), position, weekday)));
        }
    }
}

fn months(from: i32, to: i32, period: i32, mut visit: impl FnMut(i32, u32) -> bool) {
    let (year, month, _) = Day(from).to_civil();
    let (mut year, mut month) = (year, i32::try_from(month).unwrap_or(1));
    while Day::from_civil(year, u32::try_from(month).unwrap_or(1), 1).0 <= to {
        if !visit(year, u32::try_from(month).unwrap_or(1)) {
            return;
        }
        let next = month - 1 + period.max(1);
        (year, month) = (year + next / 12, next % 12 + 1);
    }
}

fn years(from: i32, to: i32, mut visit: impl FnMut(i32) -> bool) {
    let (first, last) = (Day(from).to_civil().0, Day(to).to_civil().0);
    for year in first..=last {
        if !visit(year) {
            return;
        }
    }
}

/// Returns a day of a month; a day that the month lacks is its last.
fn day_of_month(year: i32, month: u32, day: u8) -> i32 {
    let first = Day::from_civil(year, month, 1).0;
    let last = Day::from_civil(year, month + 1, 1).0 - 1;
    (first + i32::from(day.max(1)) - 1).min(last)
}

/// Returns the n-th weekday of a month, the last for positions from 4 on.
fn nth_weekday(year: i32, month: u32, position: u8, weekday: u8) -> i32 {
    let weekday = i32::from(weekday % 7);
    if position >= 4 {
        let last = Day::from_civil(year, month + 1, 1).0 - 1;
        return last - (Day(last).weekday() as i32 - weekday).rem_euclid(7);
    }
    let first = Day::from_civil(year, month, 1).0;
    first + (weekday - Day(first).weekday() as i32).rem_euclid(7) + 7 * i32::from(position)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dates(recurrence: Recurrence, occurrences: Option<u16>) -> Vec<String> {
        let (from, to) = (Day::from_civil(2026, 3, 2), Day::from_civil(2028, 2, 29));
        let exception = CalendarException { from, to, recurrence, occurrences, hours: Vec::new() };
        let mut dates = Vec::new();
        for_each_day(&exception, |day| {
            let (year, month, day) = day.to_civil();
            dates.push(format!("{year}-{month:02}-{day:02}"));
            dates.len() < 4
        });
        dates
    }

    #[test]
    fn recurrences_name_their_dates() {
        assert_eq!(dates(Recurrence::Daily { period: 3 }, Some(2)), ["2026-03-02", "2026-03-05"]);
        // Tuesday and Saturday of every second week.
        let weekly = dates(Recurrence::Weekly { days: 4 | 64, period: 2 }, None);
        assert_eq!(weekly, ["2026-03-03", "2026-03-07", "2026-03-17", "2026-03-21"]);
        let monthly = dates(Recurrence::MonthlyByDay { day: 1, period: 1 }, None);
        assert_eq!(monthly, ["2026-04-01", "2026-05-01", "2026-06-01", "2026-07-01"]);
        let last_friday = dates(Recurrence::MonthlyByPosition { position: 4, weekday: 5, period: 2 }, None);
        assert_eq!(last_friday, ["2026-03-27", "2026-05-29", "2026-07-31", "2026-09-25"]);
        assert_eq!(dates(Recurrence::YearlyByDay { month: 12, day: 25 }, None), ["2026-12-25", "2027-12-25"]);
        let thanksgiving = dates(Recurrence::YearlyByPosition { month: 11, position: 3, weekday: 4 }, None);
        assert_eq!(thanksgiving, ["2026-11-26", "2027-11-25"]);
    }

    #[test]
    fn absurd_recurrences_end() {
        let (from, to) = (Day(i32::MIN), Day(i32::MAX));
        for recurrence in [
            Recurrence::Daily { period: 0 },
            Recurrence::Weekly { days: 0, period: 0 },
            Recurrence::Weekly { days: 255, period: u16::MAX },
            Recurrence::MonthlyByDay { day: 255, period: 0 },
            Recurrence::MonthlyByPosition { position: 255, weekday: 255, period: 1 },
            Recurrence::YearlyByDay { month: 255, day: 0 },
        ] {
            let exception = CalendarException { from, to, recurrence, occurrences: None, hours: Vec::new() };
            let mut count = 0;
            for_each_day(&exception, |_| {
                count += 1;
                true
            });
            assert!(count <= MAX_EXCEPTION_DAYS, "{recurrence:?}");
        }
    }
}
