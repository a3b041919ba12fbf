//! Compiles calendar definitions to work tables.
//!
//! Precedence on a day (Microsoft Project): exceptions of the calendar, exceptions of its base, own
//! work weeks, work weeks of the base, own weekday, weekday of the base. So a holiday of the base
//! beats a working Saturday of a derived calendar.

use crate::calendar::{Calendar, CalendarIndex, DayHours, WorkWeek};
use crate::moment::{Day, Moment};
use crate::recurrence::{MAX_EXCEPTION_DAYS, for_each_day, rank};
use crate::result::Problem;
use crate::work_table::{DayPattern, WorkTable};
use std::collections::BTreeMap;

/// Maximum number of calendars that a chain of bases may have.
const MAX_BASES: usize = 16;

/// Returns the table of a calendar, and reports what it states wrongly.
///
/// A calendar that is missing, or without any work, counts all time as working time. `budget` is
/// the number of days that exceptions and work weeks may name; what goes beyond it is ignored.
pub(crate) fn compile(
    calendars: &[Calendar],
    index: CalendarIndex,
    budget: &mut usize,
    problems: &mut Vec<Problem>,
) -> WorkTable {
    let chain = base_chain(calendars, index, problems);
    if chain.is_empty() {
        return WorkTable::elapsed();
    }
    let week: [DayPattern; 7] = std::array::from_fn(|weekday| regular_day(&chain, weekday));
    let mut special = BTreeMap::new();
    let before = (*budget).min(MAX_EXCEPTION_DAYS);
    let mut left = before;
    add_work_weeks(&chain, &week, &mut left, &mut special);
    add_exceptions(&chain, &mut left, &mut special);
    *budget -= before - left;
    let table = WorkTable::new(&week, &special);
    if table.is_empty() {
        problems.push(Problem::NoWorkingTime(index));
        return WorkTable::elapsed();
    }
    table
}

/// Returns a calendar and its bases; a base that is missing or was visited ends the chain.
fn base_chain<'plan>(
    calendars: &'plan [Calendar],
    index: CalendarIndex,
    problems: &mut Vec<Problem>,
) -> Vec<&'plan Calendar> {
    let mut chain: Vec<&Calendar> = Vec::new();
    let mut next = Some(index);
    while let Some(current) = next {
        match calendars.get(usize::from(current.0)) {
            Some(calendar) if chain.len() < MAX_BASES && !chain.iter().any(|known| std::ptr::eq(*known, calendar)) => {
                chain.push(calendar);
                next = calendar.base;
            }
            _ => {
                problems.push(Problem::CalendarIgnored(current));
                break;
            }
        }
    }
    chain
}

fn regular_day(chain: &[&Calendar], weekday: usize) -> DayPattern {
    for calendar in chain {
        if let Some(DayHours::Ranges(hours)) = calendar.week.get(weekday) {
            return DayPattern::new(hours);
        }
    }
    DayPattern::default()
}

fn add_work_weeks(
    chain: &[&Calendar],
    week: &[DayPattern; 7],
    left: &mut usize,
    special: &mut BTreeMap<i32, DayPattern>,
) {
    for calendar in chain {
        for work_week in &calendar.work_weeks {
            let (from, to) = clamp_days(work_week);
            for day in from..=to {
                if *left == 0 {
                    return;
                }
                *left -= 1;
                let weekday = Day(day).weekday();
                if let Some(DayHours::Ranges(hours)) = work_week.days.get(weekday) {
                    special.entry(day).or_insert_with(|| DayPattern::new(hours));
                }
            }
        }
    }
    special.retain(|day, pattern| week.get(Day(*day).weekday()) != Some(pattern));
}

fn clamp_days(week: &WorkWeek) -> (i32, i32) {
    (week.from.0.max(Moment::MIN.day().0), week.to.0.min(Moment::MAX.day().0))
}

fn add_exceptions(chain: &[&Calendar], left: &mut usize, special: &mut BTreeMap<i32, DayPattern>) {
    let mut taken: BTreeMap<i32, DayPattern> = BTreeMap::new();
    for calendar in chain {
        let mut exceptions: Vec<_> = calendar.exceptions.iter().collect();
        exceptions.sort_by_key(|exception| rank(exception));
        for exception in exceptions {
            let pattern = DayPattern::new(&exception.hours);
            for_each_day(exception, |day| {
                if *left > 0 {
                    *left -= 1;
                    taken.entry(day.0).or_insert_with(|| pattern.clone());
                }
                *left > 0
            });
        }
    }
    special.extend(taken);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calendar::{CalendarException, HourRange};
    use crate::moment::Span;

    fn at(day: u32, hour: u32) -> Moment {
        Moment::from_civil(2026, 3, day, hour, 0)
    }

    #[test]
    fn an_exception_of_the_base_beats_a_weekday_of_the_derived_calendar() {
        let monday = Day::from_civil(2026, 3, 2);
        let mut base = Calendar::standard();
        base.exceptions.push(CalendarException::days(monday, monday, Vec::new()));
        let mut derived = Calendar::derived(CalendarIndex(0));
        derived.week[6] = DayHours::Ranges(vec![HourRange::hours(8, 12), HourRange::hours(13, 17)]);
        let mut problems = Vec::new();
        let table = compile(&[base, derived], CalendarIndex(1), &mut 1_000, &mut problems);
        let saturday = Moment::from_civil(2026, 2, 28, 8, 0);
        assert_eq!(table.add(saturday, Span::hours(16)), at(3, 17));
        assert_eq!(problems, []);
    }

    #[test]
    fn an_exception_beats_a_work_week() {
        let ranges = vec![HourRange::hours(7, 12), HourRange { from: 7_500, to: 10_500 }];
        let mut days: [DayHours; 7] = std::array::from_fn(|_| DayHours::Ranges(ranges.clone()));
        days[5] = DayHours::Ranges(Vec::new());
        let mut calendar = Calendar::standard();
        calendar.work_weeks.push(WorkWeek { from: Day::from_civil(2026, 3, 2), to: Day::from_civil(2026, 3, 6), days });
        let wednesday = Day::from_civil(2026, 3, 4);
        let hours = vec![HourRange::hours(8, 12), HourRange::hours(13, 17)];
        calendar.exceptions.push(CalendarException::days(wednesday, wednesday, hours));
        let table = compile(&[calendar], CalendarIndex(0), &mut 1_000, &mut Vec::new());
        assert_eq!(table.start_form(Moment::from_civil(2026, 3, 1, 8, 0)), at(2, 7));
        assert_eq!(table.add(at(2, 7), Span::hours(30)), at(5, 9));
    }

    #[test]
    fn calendars_without_work_or_with_a_ring_of_bases_are_reported() {
        let mut problems = Vec::new();
        let table = compile(&[Calendar::default()], CalendarIndex(0), &mut 0, &mut problems);
        assert_eq!(table, WorkTable::elapsed());
        let cycle = Calendar::derived(CalendarIndex(0));
        compile(&[cycle], CalendarIndex(0), &mut 0, &mut problems);
        compile(&[], CalendarIndex(7), &mut 0, &mut problems);
        assert_eq!(
            problems,
            [
                Problem::NoWorkingTime(CalendarIndex(0)),
                Problem::CalendarIgnored(CalendarIndex(0)),
                Problem::NoWorkingTime(CalendarIndex(0)),
                Problem::CalendarIgnored(CalendarIndex(7)),
            ]
        );
    }
}
