//! Writes calendars: weekdays, exceptions, work weeks.

use crate::file::FileCalendar;
use crate::write_value::{day, time_of_day};
use crate::xml_writer::XmlWriter;
use pmo_planning::{CalendarException, Day, DayHours, HourRange, Recurrence, WorkWeek};

/// Writes a calendar.
///
/// A base calendar states all weekdays; one that inherits a day has no work on it.
pub(crate) fn write_calendar(xml: &mut XmlWriter, calendar: &FileCalendar) {
    xml.group("Calendar", |xml| {
        xml.value("UID", calendar.uid);
        if let Some(name) = &calendar.name {
            xml.text("Name", name);
        }
        xml.flag("IsBaseCalendar", calendar.is_base);
        xml.value("BaseCalendarUID", calendar.base.unwrap_or(-1));
        write_week(xml, &calendar.definition.week, calendar.is_base);
        let exceptions = &calendar.definition.exceptions;
        if !exceptions.is_empty() {
            xml.group("Exceptions", |xml| {
                for (index, exception) in exceptions.iter().enumerate() {
                    let name = calendar.exception_names.get(index).and_then(Option::as_deref);
                    xml.group("Exception", |xml| write_exception(xml, exception, name));
                }
            });
        }
        if !calendar.definition.work_weeks.is_empty() {
            xml.group("WorkWeeks", |xml| {
                calendar.definition.work_weeks.iter().for_each(|week| write_work_week(xml, week));
            });
        }
    });
}

fn write_week(xml: &mut XmlWriter, week: &[DayHours; 7], states_all_days: bool) {
    if !states_all_days && week.iter().all(|hours| *hours == DayHours::Inherited) {
        return;
    }
    xml.group("WeekDays", |xml| {
        for (weekday, hours) in week.iter().enumerate() {
            let hours = match hours {
                DayHours::Ranges(hours) => hours.as_slice(),
                DayHours::Inherited if states_all_days => &[],
                DayHours::Inherited => continue,
            };
            xml.group("WeekDay", |xml| {
                xml.value("DayType", weekday + 1);
                write_hours(xml, hours);
            });
        }
    });
}

fn write_hours(xml: &mut XmlWriter, hours: &[HourRange]) {
    xml.flag("DayWorking", !hours.is_empty());
    if hours.is_empty() {
        return;
    }
    xml.group("WorkingTimes", |xml| {
        for range in hours {
            xml.group("WorkingTime", |xml| {
                xml.value("FromTime", time_of_day(range.from));
                xml.value("ToTime", time_of_day(range.to));
            });
        }
    });
}

fn write_period(xml: &mut XmlWriter, from: Day, to: Day) {
    xml.group("TimePeriod", |xml| {
        xml.value("FromDate", format_args!("{}T00:00:00", day(from)));
        xml.value("ToDate", format_args!("{}T23:59:00", day(to)));
    });
}

fn write_work_week(xml: &mut XmlWriter, week: &WorkWeek) {
    xml.group("WorkWeek", |xml| {
        write_period(xml, week.from, week.to);
        write_week(xml, &week.days, false);
    });
}

fn write_exception(xml: &mut XmlWriter, exception: &CalendarException, name: Option<&str>) {
    let plain = matches!(exception.recurrence, Recurrence::Daily { period: 0 | 1 });
    // A plain range is limited by its dates only.
    let count = exception.occurrences.filter(|_| plain).map(|count| i32::from(count.max(1)) - 1);
    let to = count.map_or(exception.to, |days| exception.to.min(Day(exception.from.0.saturating_add(days))));
    let occurrences = exception.occurrences.filter(|count| !plain && *count > 0);
    let days = i64::from(to.0) - i64::from(exception.from.0) + 1;
    xml.flag("EnteredByOccurrences", occurrences.is_some());
    write_period(xml, exception.from, to);
    xml.value("Occurrences", occurrences.map_or(if plain { days.max(1) } else { 1 }, i64::from));
    if let Some(name) = name {
        xml.text("Name", name);
    }
    write_recurrence(xml, exception.recurrence);
    write_hours(xml, &exception.hours);
}

/// Writes a recurrence; months count from 0, weekdays are 3 (Sunday) to 9.
fn write_recurrence(xml: &mut XmlWriter, recurrence: Recurrence) {
    match recurrence {
        Recurrence::Daily { period } => {
            xml.value("Type", 1);
            if period > 1 {
                xml.value("Period", period);
            }
        }
        Recurrence::Weekly { days, period } => {
            xml.value("Type", 6);
            xml.value("Period", period);
            xml.value("DaysOfWeek", days);
        }
        Recurrence::MonthlyByDay { day, period } => {
            xml.value("Type", 4);
            xml.value("Period", period);
            xml.value("MonthDay", day);
        }
        Recurrence::MonthlyByPosition { position, weekday, period } => {
            xml.value("Type", 5);
            xml.value("Period", period);
            xml.value("MonthItem", weekday + 3);
            xml.value("MonthPosition", position);
        }
        Recurrence::YearlyByDay { month, day } => {
            xml.value("Type", 2);
            xml.value("Month", month.max(1) - 1);
            xml.value("MonthDay", day);
        }
        Recurrence::YearlyByPosition { month, position, weekday } => {
            xml.value("Type", 3);
            xml.value("MonthItem", weekday + 3);
            xml.value("MonthPosition", position);
            xml.value("Month", month.max(1) - 1);
        }
    }
}
