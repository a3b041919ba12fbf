//! Values of columns.

use pmo_planning::{Day, Moment, Span};
use pmo_project_plan::Row;
use serde_json::Value;
use uuid::Uuid;

/// Returns a text of at most `max_chars` characters, without NUL characters.
pub(super) fn truncate(text: &str, max_chars: usize) -> String {
    text.chars().filter(|ch| *ch != '\0').take(max_chars).collect()
}

/// Returns the columns of a JSON object.
pub(super) fn row(value: Value) -> Row {
    if let Value::Object(row) = value { row } else { Row::new() }
}

/// Returns a number of minutes.
pub(super) fn minutes(span: Span) -> Value {
    decimal(i64::from(span.0), 10)
}

/// Returns a number of hours with four decimals, which is finer than a tenth of a minute.
pub(super) fn hours(span: Span) -> Value {
    decimal((i64::from(span.0) * 10_000 + i64::from(span.0.signum()) * 300).div_euclid(600), 10_000)
}

/// Returns `number / scale`, a whole number if possible.
pub(super) fn decimal(number: i64, scale: i64) -> Value {
    if number % scale == 0 {
        return Value::from(number / scale);
    }
    let value = number as f64 / scale as f64;
    Value::from(value)
}

/// Returns a moment; null if absent.
pub(super) fn moment(moment: Option<Moment>) -> Value {
    moment.and_then(Moment::get).map_or(Value::Null, |moment| Value::from(moment.to_string()))
}

/// Returns a day; null if absent.
pub(super) fn day(day: Option<Day>) -> Value {
    day.map_or(Value::Null, |day| Value::from(crate::write_value::day(day)))
}

/// Returns the day of a finish; midnight belongs to the day before.
pub(super) fn finish_day(finish: Moment) -> Day {
    let day = finish.day();
    if finish == day.midnight() { Day(day.0 - 1) } else { day }
}

/// Returns an id; null if absent.
pub(super) fn id(id: Option<Uuid>) -> Value {
    id.map_or(Value::Null, |id| Value::from(id.to_string()))
}

/// Returns the text of a column; empty if absent.
pub(super) fn text_of<'a>(row: &'a Row, column: &str) -> &'a str {
    row.get(column).and_then(Value::as_str).unwrap_or_default()
}

/// Returns the id in a column.
pub(super) fn id_of(row: &Row, column: &str) -> Option<Uuid> {
    Uuid::try_parse(text_of(row, column)).ok()
}

/// Returns the hours in a column, as number or text.
pub(super) fn hours_of(row: &Row, column: &str) -> Option<Span> {
    let hours = match row.get(column)? {
        Value::Number(hours) => hours.as_f64()?,
        Value::String(hours) => hours.parse().ok()?,
        _ => return None,
    };
    let tenths = (hours * 600.0).round();
    (tenths.abs() < 1e15).then(|| Span::clamped(tenths as i64))
}
