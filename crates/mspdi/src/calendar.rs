//! Reads calendars: weekdays, work weeks, exceptions.
//!
//! Microsoft: `DayType` 1 to 7 is Sunday to Saturday; 0 is an exception, as files before 2007 write
//! them. `ToTime` 00:00 is the end of the day.

use crate::field::{flag, integer};
use crate::file::FileCalendar;
use crate::value;
use crate::xml::Element;
use pmo_planning::{Calendar, CalendarException, Day, DayHours, HourRange, Recurrence, WorkWeek};

/// Reads a calendar.
pub(crate) fn read_calendar(element: &Element) -> FileCalendar {
    let mut definition = Calendar { week: read_week(element), ..Calendar::default() };
    definition.work_weeks = element.list("WorkWeeks", "WorkWeek").filter_map(read_work_week).collect();
    let named = |element: &Element| Some((read_exception(element)?, element.text_of("Name").map(str::to_owned)));
    let exceptions: Vec<_> = if element.child("Exceptions").is_some() {
        element.list("Exceptions", "Exception").filter_map(named).collect()
    } else {
        let days = element.list("WeekDays", "WeekDay").filter(|day| integer(day, "DayType") == Some(0));
        days.filter_map(named).collect()
    };
    let (exceptions, exception_names) = exceptions.into_iter().unzip();
    definition.exceptions = exceptions;
    let is_base = flag(element, "IsBaseCalendar").unwrap_or(true);
    let has_days = definition.week.iter().any(|day| *day != DayHours::Inherited);
    if is_base && !has_days {
        // Microsoft Project always states the days of a base calendar; without any, Standard holds.
        definition.week = Calendar::standard().week;
    }
    FileCalendar {
        uid: integer(element, "UID").unwrap_or(-1),
        name: element.text_of("Name").map(str::to_owned),
        is_base,
        base: integer(element, "BaseCalendarUID").filter(|uid| *uid >= 0),
        definition,
        exception_names,
    }
}

fn read_week(element: &Element) -> [DayHours; 7] {
    let mut week: [DayHours; 7] = Default::default();
    for day in element.list("WeekDays", "WeekDay") {
        let weekday = integer(day, "DayType").and_then(|kind| usize::try_from(kind.checked_sub(1)?).ok());
        if let Some(slot) = weekday.and_then(|weekday| week.get_mut(weekday)) {
            *slot = DayHours::Ranges(read_hours(day));
        }
    }
    week
}

/// Maximum number of ranges of hours of a day, by the schema of Microsoft; others are ignored.
const MAX_RANGES: usize = 5;

/// Reads the hours of a day or an exception; a working day without hours has those of Standard.
fn read_hours(day: &Element) -> Vec<HourRange> {
    let ranges = day.list("WorkingTimes", "WorkingTime").filter_map(read_range);
    let hours: Vec<HourRange> = ranges.take(MAX_RANGES).collect();
    if !flag(day, "DayWorking").unwrap_or(!hours.is_empty()) {
        return Vec::new();
    }
    if hours.is_empty() { vec![HourRange::hours(8, 12), HourRange::hours(13, 17)] } else { hours }
}

fn read_range(element: &Element) -> Option<HourRange> {
    let from = value::time_of_day(element.text_of("FromTime")?)?;
    let to = value::time_of_day(element.text_of("ToTime")?)?;
    let to = if to == 0 { 14_400 } else { to };
    Some(HourRange { from: u16::try_from(from).ok()?, to: u16::try_from(to).ok()? })
}

fn read_period(element: &Element) -> Option<(Day, Day)> {
    let period = element.child("TimePeriod")?;
    let from = value::day(period.text_of("FromDate")?)?;
    Some((from, period.text_of("ToDate").and_then(value::day).unwrap_or(from)))
}

fn read_work_week(element: &Element) -> Option<WorkWeek> {
    let (from, to) = read_period(element)?;
    Some(WorkWeek { from, to, days: read_week(element) })
}

fn read_exception(element: &Element) -> Option<CalendarException> {
    let (from, to) = read_period(element)?;
    let occurrences = flag(element, "EnteredByOccurrences").unwrap_or(false);
    let occurrences = integer(element, "Occurrences").filter(|count| occurrences && *count > 0);
    let recurrence = read_recurrence(element, from)?;
    // A plain range counts its days as occurrences, or is stored with an occurrence of 1.
    let plain = recurrence == Recurrence::Daily { period: 1 };
    let occurrences = occurrences.filter(|_| !plain).and_then(|count| u16::try_from(count).ok());
    Some(CalendarException { from, to, recurrence, occurrences, hours: read_hours(element) })
}

fn read_recurrence(element: &Element, from: Day) -> Option<Recurrence> {
    let small = |name: &str| integer(element, name).and_then(|number| u8::try_from(number).ok()).unwrap_or(0);
    let period = integer(element, "Period").and_then(|number| u16::try_from(number).ok()).unwrap_or(1).max(1);
    // MonthItem 3 to 9 is Sunday to Saturday; 0 is any day, so that a position is a day of the
    // month.
    let weekday = small("MonthItem").checked_sub(3).filter(|weekday| *weekday < 7);
    let position = small("MonthPosition");
    let day = if small("MonthItem") == 0 { Some(if position >= 4 { 31 } else { position + 1 }) } else { None };
    let month = small("Month").saturating_add(1);
    match integer(element, "Type").unwrap_or(1) {
        2 => Some(Recurrence::YearlyByDay { month, day: small("MonthDay").max(1) }),
        3 => match (weekday, day) {
            (Some(weekday), _) => Some(Recurrence::YearlyByPosition { month, position, weekday }),
            (None, day) => day.map(|day| Recurrence::YearlyByDay { month, day }),
        },
        4 => Some(Recurrence::MonthlyByDay { day: small("MonthDay").max(1), period }),
        5 => match (weekday, day) {
            (Some(weekday), _) => Some(Recurrence::MonthlyByPosition { position, weekday, period }),
            (None, day) => day.map(|day| Recurrence::MonthlyByDay { day, period }),
        },
        6 => {
            let days = integer(element, "DaysOfWeek").and_then(|bits| u8::try_from(bits).ok());
            let own_day = u8::try_from(from.weekday()).map_or(1, |weekday| 1 << weekday);
            Some(Recurrence::Weekly { days: days.unwrap_or(own_day), period })
        }
        _ => Some(Recurrence::Daily { period }),
    }
}
