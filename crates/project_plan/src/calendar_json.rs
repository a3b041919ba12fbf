//! Calendars as JSON, in both directions.
//!
//! Weeks have seven days from Monday. A day is null (that of the base calendar), `[]` (no work) or
//! a list of `[from, to]` in minutes after midnight. An exception is `{"from", "to", "hours",
//! "recurrence"}`. A recurrence is null for every day of the period, else an object with `type`:
//!
//! | type | further fields |
//! | --- | --- |
//! | `daily` | `every` (days) |
//! | `weekly` | `every` (weeks), `days_of_week` |
//! | `monthly_by_day` | `every` (months), `day` |
//! | `monthly_by_position` | `every` (months), `position`, `day_of_week` |
//! | `yearly_by_day` | `month`, `day` |
//! | `yearly_by_position` | `month`, `position`, `day_of_week` |
//!
//! Each may have `occurrences`, the maximum number of dates. Weekdays are 1 (Monday) to 7 (Sunday),
//! months and days count from 1, positions are 1 to 4, and 5 for the last.

use crate::Row;
use crate::cell::{Cell, format_day, minutes_value};
use pmo_planning::{Calendar, CalendarException, Day, DayHours, HourRange, Recurrence, Span, WorkWeek};
use serde::de::{Deserialize, Deserializer};
use serde::ser::{Serialize, Serializer};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use uuid::Uuid;

/// Maximum number of exceptions of a calendar.
const MAX_EXCEPTIONS: usize = 10_000;
/// Maximum number of work weeks of a calendar.
const MAX_WORK_WEEKS: usize = 1_000;
/// Maximum number of ranges of a day; Microsoft Project has five.
const MAX_RANGES: usize = 24;
/// Maximum number of calendars and of people in a set.
const MAX_CALENDARS: usize = 20_000;

/// Calendars of a plan, as the column `calendars` of a schedule contains them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CalendarSet {
    /// Calendars by id.
    pub calendars: BTreeMap<Uuid, CalendarDefinition>,
    /// Calendar of each person who has one, by id of the employee.
    pub employees: BTreeMap<Uuid, Uuid>,
}

/// Calendar whose base is named by id.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CalendarDefinition {
    /// Calendar that states what this one does not.
    pub base: Option<Uuid>,
    /// Working times; the base in it is absent.
    pub times: Calendar,
    /// Number of values that could not be read, or that are beyond the limits.
    pub fault_count: usize,
}

impl<'de> Deserialize<'de> for CalendarSet {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Value::deserialize(deserializer).map(|value| Self::from_json(&value))
    }
}

impl Serialize for CalendarSet {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.to_json().serialize(serializer)
    }
}

impl CalendarSet {
    /// Reads a set; what cannot be read is left out.
    pub fn from_json(value: &Value) -> Self {
        let entries = |name: &str| value.get(name).and_then(Value::as_object).into_iter().flatten().take(MAX_CALENDARS);
        let calendars = entries("calendars")
            .filter_map(|(id, calendar)| Some((Uuid::try_parse(id).ok()?, CalendarDefinition::from_json(calendar))));
        let employees = entries("employees")
            .filter_map(|(id, calendar)| Some((Uuid::try_parse(id).ok()?, read_id(Some(calendar))?)));
        Self { calendars: calendars.collect(), employees: employees.collect() }
    }

    /// Returns the set as JSON.
    pub fn to_json(&self) -> Value {
        let calendars: Row = self.calendars.iter().map(|(id, one)| (id.to_string(), one.to_json())).collect();
        let employees: Row =
            self.employees.iter().map(|(id, calendar)| (id.to_string(), Value::from(calendar.to_string()))).collect();
        object([("calendars", Value::from(calendars)), ("employees", Value::from(employees))])
    }
}

impl CalendarDefinition {
    /// Reads `{"base", "week", "work_weeks", "exceptions"}`.
    pub fn from_json(value: &Value) -> Self {
        let mut read = Self { base: read_id(value.get("base")), ..Self::default() };
        read.set_weeks(value.get("week"), value.get("work_weeks"));
        for exception in limited(value.get("exceptions"), MAX_EXCEPTIONS, &mut read.fault_count) {
            let fields = ["from", "to", "hours", "recurrence"];
            read.add_exception(read_exception(fields.map(|field| exception.get(field))));
        }
        read
    }

    /// Reads the row of a calendar and the rows of its exceptions.
    pub fn from_rows<'a>(calendar: &Row, exceptions: impl IntoIterator<Item = &'a Row>) -> Self {
        let mut read = Self { base: read_id(calendar.get("base__calendar_id")), ..Self::default() };
        read.set_weeks(calendar.get("week"), calendar.get("work_weeks"));
        for row in exceptions.into_iter().take(MAX_EXCEPTIONS) {
            read.add_exception(exception_from_row(row));
        }
        read
    }

    /// Returns `{"base", "week", "work_weeks", "exceptions"}`.
    pub fn to_json(&self) -> Value {
        let exceptions = self.times.exceptions.iter().map(|exception| {
            object([
                ("from", Value::from(format_day(exception.from))),
                ("to", Value::from(format_day(exception.to))),
                ("hours", hours_to_json(&exception.hours)),
                ("recurrence", recurrence_to_json(exception)),
            ])
        });
        object([
            ("base", self.base.map_or(Value::Null, |base| Value::from(base.to_string()))),
            ("week", self.week_json()),
            ("work_weeks", self.work_weeks_json()),
            ("exceptions", exceptions.collect()),
        ])
    }

    /// Returns the column `week` of a calendar.
    pub fn week_json(&self) -> Value {
        week_to_json(&self.times.week)
    }

    /// Returns the column `work_weeks` of a calendar.
    pub fn work_weeks_json(&self) -> Value {
        let weeks = self.times.work_weeks.iter().map(|week| {
            object([
                ("from", Value::from(format_day(week.from))),
                ("to", Value::from(format_day(week.to))),
                ("week", week_to_json(&week.days)),
            ])
        });
        weeks.collect()
    }

    fn set_weeks(&mut self, week: Option<&Value>, work_weeks: Option<&Value>) {
        self.times.week = read_week(week, &mut self.fault_count);
        for work_week in limited(work_weeks, MAX_WORK_WEEKS, &mut self.fault_count) {
            let days = (read_day(work_week.get("from")), read_day(work_week.get("to")));
            let (Some(from), Some(to)) = days else {
                self.fault_count += 1;
                continue;
            };
            let days = read_week(work_week.get("week"), &mut self.fault_count);
            self.times.work_weeks.push(WorkWeek { from, to, days });
        }
    }

    fn add_exception(&mut self, exception: Option<CalendarException>) {
        match exception {
            Some(exception) => self.times.exceptions.push(exception),
            None => self.fault_count += 1,
        }
    }
}

/// Reads the row of a calendar exception; `None` if a value cannot be read.
pub fn exception_from_row(row: &Row) -> Option<CalendarException> {
    read_exception(["start_date", "end_date", "working_times", "recurrence"].map(|column| row.get(column)))
}

/// Reads working hours: a list of `[from, to]` in minutes after midnight.
///
/// Returns `None` for anything else, and for hours outside of the day.
pub fn hours_from_json(value: &Value) -> Option<Vec<HourRange>> {
    let ranges = value.as_array().filter(|ranges| ranges.len() <= MAX_RANGES)?;
    ranges.iter().map(read_range).collect()
}

/// Returns working hours as JSON.
pub fn hours_to_json(hours: &[HourRange]) -> Value {
    let minutes = |tenths: u16| minutes_value(Span(i32::from(tenths)));
    hours.iter().map(|range| Value::from(vec![minutes(range.from), minutes(range.to)])).collect()
}

/// Reads a recurrence and its maximum number of dates; `None` if it cannot be read.
pub fn recurrence_from_json(value: &Value) -> Option<(Recurrence, Option<u16>)> {
    if value.is_null() {
        return Some((Recurrence::Daily { period: 1 }, None));
    }
    let number = |name: &str| value.get(name).map_or(Some(1), Value::as_u64);
    let small = |name: &str, max: u64| {
        number(name).filter(|number| (1..=max).contains(number)).and_then(|number| u8::try_from(number).ok())
    };
    let period = number("every").and_then(|every| u16::try_from(every).ok()).filter(|every| *every > 0);
    let position = || small("position", 5).map(|position| position - 1);
    // The engine counts weekdays from Sunday.
    let weekday = || small("day_of_week", 7).map(|day| day % 7);
    let recurrence = match value.get("type").and_then(Value::as_str)? {
        "daily" => Recurrence::Daily { period: period? },
        "weekly" => Recurrence::Weekly { days: read_weekdays(value.get("days_of_week")?)?, period: period? },
        "monthly_by_day" => Recurrence::MonthlyByDay { day: small("day", 31)?, period: period? },
        "monthly_by_position" => {
            Recurrence::MonthlyByPosition { position: position()?, weekday: weekday()?, period: period? }
        }
        "yearly_by_day" => Recurrence::YearlyByDay { month: small("month", 12)?, day: small("day", 31)? },
        "yearly_by_position" => {
            Recurrence::YearlyByPosition { month: small("month", 12)?, position: position()?, weekday: weekday()? }
        }
        _ => return None,
    };
    let occurrences = match value.get("occurrences") {
        None | Some(Value::Null) => None,
        Some(count) => Some(u16::try_from(count.as_u64()?).ok()?),
    };
    Some((recurrence, occurrences))
}

/// Returns the recurrence of an exception as JSON; null for every day of its period.
pub fn recurrence_to_json(exception: &CalendarException) -> Value {
    let position = |position: u8| ("position", Value::from(position.min(4) + 1));
    let weekday = |weekday: u8| ("day_of_week", Value::from(if weekday.is_multiple_of(7) { 7 } else { weekday % 7 }));
    let every = |period: u16| ("every", Value::from(period.max(1)));
    let kind = |kind: &str| ("type", Value::from(kind));
    let mut fields = match exception.recurrence {
        Recurrence::Daily { period: 0 | 1 } if exception.occurrences.is_none() => return Value::Null,
        Recurrence::Daily { period } => vec![kind("daily"), every(period)],
        Recurrence::Weekly { days, period } => {
            let weekdays = (1..=7_u8).filter(|day| days & (1 << (day % 7)) != 0).map(Value::from).collect();
            vec![kind("weekly"), every(period), ("days_of_week", weekdays)]
        }
        Recurrence::MonthlyByDay { day, period } => {
            vec![kind("monthly_by_day"), every(period), ("day", Value::from(day.clamp(1, 31)))]
        }
        Recurrence::MonthlyByPosition { position: nth, weekday: day, period } => {
            vec![kind("monthly_by_position"), every(period), position(nth), weekday(day)]
        }
        Recurrence::YearlyByDay { month, day } => {
            vec![
                kind("yearly_by_day"),
                ("month", Value::from(month.clamp(1, 12))),
                ("day", Value::from(day.clamp(1, 31))),
            ]
        }
        Recurrence::YearlyByPosition { month, position: nth, weekday: day } => {
            vec![kind("yearly_by_position"), ("month", Value::from(month.clamp(1, 12))), position(nth), weekday(day)]
        }
    };
    fields.extend(exception.occurrences.map(|count| ("occurrences", Value::from(count))));
    object(fields)
}

fn read_exception([from, to, hours, recurrence]: [Option<&Value>; 4]) -> Option<CalendarException> {
    let (recurrence, occurrences) = recurrence_from_json(recurrence.unwrap_or(&Value::Null))?;
    let hours = match hours {
        None | Some(Value::Null) => Vec::new(),
        Some(hours) => hours_from_json(hours)?,
    };
    Some(CalendarException { from: read_day(from)?, to: read_day(to)?, recurrence, occurrences, hours })
}

fn read_week(value: Option<&Value>, fault_count: &mut usize) -> [DayHours; 7] {
    let mut week: [DayHours; 7] = Default::default();
    for (place, day) in limited(value, 7, fault_count).iter().enumerate() {
        if !day.is_null() {
            match hours_from_json(day) {
                // The engine counts weekdays from Sunday.
                Some(hours) => week[(place + 1) % 7] = DayHours::Ranges(hours),
                None => *fault_count += 1,
            }
        }
    }
    week
}

fn week_to_json(week: &[DayHours; 7]) -> Value {
    let days = (0..7).map(|place| match &week[(place + 1) % 7] {
        DayHours::Inherited => Value::Null,
        DayHours::Ranges(hours) => hours_to_json(hours),
    });
    days.collect()
}

fn read_range(value: &Value) -> Option<HourRange> {
    let [from, to] = value.as_array()?.as_slice() else { return None };
    let tenths = |minutes: &Value| {
        let span = Cell::from(minutes).minutes().ok()??;
        u16::try_from(span.0).ok().filter(|tenths| *tenths <= 14_400)
    };
    Some(HourRange { from: tenths(from)?, to: tenths(to)? })
}

fn read_weekdays(value: &Value) -> Option<u8> {
    let mut days = value.as_array()?.iter().map(Value::as_u64);
    days.try_fold(0_u8, |bits, day| match day? {
        day @ 1..=7 => Some(bits | 1 << (day % 7)),
        _ => None,
    })
}

fn read_id(value: Option<&Value>) -> Option<Uuid> {
    Cell::from(value?).id().ok()?
}

fn read_day(value: Option<&Value>) -> Option<Day> {
    Cell::from(value?).day().ok()?
}

/// Returns the entries of a list up to a limit, and counts those beyond it.
fn limited<'a>(value: Option<&'a Value>, limit: usize, fault_count: &mut usize) -> &'a [Value] {
    let entries = value.and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    *fault_count += entries.len().saturating_sub(limit);
    &entries[..entries.len().min(limit)]
}

fn object(fields: impl IntoIterator<Item = (&'static str, Value)>) -> Value {
    Value::Object(fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect::<Map<_, _>>())
}
