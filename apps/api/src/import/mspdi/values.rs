//! Values of elements: texts, dates and durations.

use jiff::civil::{Date, DateTime, Weekday};
use std::collections::BTreeMap;

/// Returns at most `max_chars` characters of a text, without NUL characters.
pub(super) fn truncate(text: &str, max_chars: usize) -> String {
    text.chars().filter(|ch| *ch != '\0').take(max_chars).collect()
}

/// Parses a point in time of the years 1900 to 2200.
pub(super) fn parse_datetime(text: &str) -> Option<DateTime> {
    text.trim().parse::<DateTime>().ok().filter(|datetime| (1900..=2200).contains(&datetime.year()))
}

/// Parses the day of a point in time.
pub(super) fn parse_date(text: &str) -> Option<Date> {
    parse_datetime(text).map(|datetime| datetime.date())
}

/// Returns the last day of a period.
///
/// A period that ends at midnight ends on the previous day, unless it also begins then.
pub(super) fn last_day(start: Option<DateTime>, end: DateTime) -> Date {
    let midnight = end.time() == jiff::civil::Time::midnight();
    if midnight && start.is_some_and(|start| start < end) {
        end.date().yesterday().unwrap_or(end.date())
    } else {
        end.date()
    }
}

/// Returns the minutes of an ISO 8601 duration of hours, minutes and seconds, such as `PT8H30M0S`.
pub(super) fn duration_minutes(text: &str) -> Option<f64> {
    let mut rest = text.trim().strip_prefix('P')?;
    let (mut minutes, mut in_time) = (0.0, false);
    while !rest.is_empty() {
        if let Some(time_part) = rest.strip_prefix('T') {
            in_time = true;
            rest = time_part;
            continue;
        }
        let end = rest.find(|ch: char| !(ch.is_ascii_digit() || ch == '.'))?;
        let number: f64 = rest[..end].parse().ok()?;
        let unit = rest[end..].chars().next()?;
        minutes += number
            * match (unit, in_time) {
                ('D', false) => 24.0 * 60.0,
                ('H', true) => 60.0,
                ('M', true) => 1.0,
                ('S', true) => 1.0 / 60.0,
                _ => return None,
            };
        rest = &rest[end + unit.len_utf8()..];
    }
    Some(minutes).filter(|minutes| minutes.is_finite() && *minutes < 60.0 * 24.0 * 365.0 * 200.0)
}

/// Returns the number of working days from `start` to `finish`, both included.
///
/// Days that the calendar of the file does not define default to Monday to Friday.
pub(super) fn working_days(working: &BTreeMap<i64, bool>, start: Option<Date>, finish: Option<Date>) -> f64 {
    let (Some(start), Some(finish)) = (start, finish) else { return 0.0 };
    // MSPDI numbers weekdays from Sunday = 1.
    let is_working_day = |weekday: Weekday| {
        let number = i64::from(weekday.to_sunday_one_offset());
        working.get(&number).copied().unwrap_or(!matches!(weekday, Weekday::Saturday | Weekday::Sunday))
    };
    if finish < start {
        return 0.0;
    }
    let span = i64::from(start.until(finish).map(|span| span.get_days()).unwrap_or_default()) + 1;
    let days_per_week = (0..7)
        .filter(|offset| {
            start.checked_add(jiff::Span::new().days(*offset)).is_ok_and(|day| is_working_day(day.weekday()))
        })
        .count();
    let remaining_days = (0..span % 7)
        .filter(|offset| {
            start.checked_add(jiff::Span::new().days(*offset)).is_ok_and(|day| is_working_day(day.weekday()))
        })
        .count();
    #[allow(clippy::cast_precision_loss)] // at most some hundred thousand days
    let days = (span / 7) as f64 * days_per_week as f64 + remaining_days as f64;
    days
}
