//! Days and moments of demo data: texts of columns, working days.

use pmo_planning::{Day, Moment, Span, WorkingTime};
use serde_json::Value;

/// Returns a day as `YYYY-MM-DD`.
pub(crate) fn day_text(day: Day) -> String {
    let (year, month, day) = day.to_civil();
    format!("{year:04}-{month:02}-{day:02}")
}

/// Returns a moment as `YYYY-MM-DDTHH:MM:SS`; null if there is none.
pub(crate) fn moment_value(moment: Moment) -> Value {
    let Some(moment) = moment.get() else { return Value::Null };
    let seconds = moment.since(moment.day().midnight()).0 * 6;
    let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
    Value::from(format!("{}T{hours:02}:{minutes:02}:{:02}", day_text(moment.day()), seconds % 60))
}

/// Returns the Monday of the week of a day.
pub(crate) fn monday_of(day: Day) -> Day {
    // The engine counts weekdays from Sunday.
    let weekday = i32::try_from(day.weekday()).unwrap_or_default();
    Day(day.0 - (weekday + 6) % 7)
}

/// Returns the moment a number of working days of eight hours after another; before, if negative.
pub(crate) fn add_working_days(time: &WorkingTime, moment: Moment, days: i32) -> Moment {
    time.add(moment, Span(Span::hours(8).0 * days))
}

/// Returns the working days of eight hours between two moments, rounded towards zero.
pub(crate) fn working_days_between(time: &WorkingTime, from: Moment, to: Moment) -> i32 {
    time.between(from, to).0 / Span::hours(8).0
}
