//! Validation of values by the kind of their column.

use super::{Column, ColumnKind, MAX_NAME_LEN, MAX_REFERENCES, MAX_TEXT_LEN, NumericDigits};
use crate::datetime;
use serde_json::{Value, json};
use uuid::Uuid;

/// Maximum length of the name of an option, in characters.
const MAX_OPTION_LEN: usize = 200;
/// Maximum length of a timestamp, in characters.
const MAX_TIMESTAMP_LEN: usize = 64;
/// Maximum length of an element of a text list, in bytes.
const MAX_LIST_TEXT_BYTES: usize = 1000;
/// Maximum number of minutes, positive or negative: the range of the scheduling engine, 204 years.
const MAX_MINUTES: f64 = 107_374_182.0;
/// Maximum number of digits of an amount before and after the decimal point.
const MAX_MONEY_DIGITS: (usize, usize) = (13, 4);

/// Error for a value that a column does not accept.
///
/// The text is a message for people. It is a predicate for the name of the field, which the caller
/// knows; only [`ColumnError::Required`] names the column itself.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ColumnError {
    /// A required column has no value.
    #[error("{label} is required")]
    Required {
        /// Label of the column.
        label: String,
    },
    /// The value has another type, form or range.
    #[error("must be {expected}")]
    Invalid {
        /// Description of valid values.
        expected: &'static str,
    },
    /// A text is too long, or a list has too many elements.
    #[error("must have at most {limit} {unit}")]
    TooLong {
        /// Maximum number of units.
        limit: usize,
        /// Counted unit, in the plural.
        unit: &'static str,
    },
    /// A text contains the NUL character, which the database cannot store.
    #[error("must not contain the NUL character")]
    ContainsNul,
    /// A number is less than zero.
    #[error("must not be negative")]
    Negative,
    /// An id has a meaning of its own.
    #[error("is reserved: use another id")]
    ReservedId,
}

impl Column {
    /// Validates a value for storage and returns its normal form.
    ///
    /// Does not check whether a referenced entity or an option exists.
    pub fn validate(&self, value: &Value) -> Result<Value, ColumnError> {
        let value = self.validate_kind(value)?;
        self.check_digits(&value)?;
        Ok(value)
    }

    /// Checks that a number, after rounding, has at most as many digits as the database stores.
    fn check_digits(&self, value: &Value) -> Result<(), ColumnError> {
        let Some(digits) = self.digits else { return Ok(()) };
        let text = match value {
            Value::Number(number) => number.as_f64().map(|number| number.to_string()),
            Value::String(text) => Some(text.clone()),
            _ => None,
        };
        if text.is_some_and(|text| exceeds_digits(&text, digits)) {
            return Err(ColumnError::TooLong { limit: digits.integer.into(), unit: "digits before the decimal point" });
        }
        Ok(())
    }

    fn validate_kind(&self, value: &Value) -> Result<Value, ColumnError> {
        if self.required && is_blank(value) {
            return Err(ColumnError::Required { label: self.label.clone() });
        }
        if value.is_null() {
            return Ok(Value::Null);
        }
        match &self.kind {
            ColumnKind::Id => validate_id(value),
            ColumnKind::ShortText => self.validate_short_text(value),
            ColumnKind::LongText => validate_text(value, MAX_TEXT_LEN).map(|text| json!(text)),
            ColumnKind::Datalabel { .. } => validate_text(value, MAX_OPTION_LEN).map(|text| json!(text)),
            ColumnKind::Json => validate_json(value),
            ColumnKind::Boolean => value.as_bool().map(Value::Bool).ok_or(invalid("true or false")),
            ColumnKind::Timestamp => validate_timestamp(value),
            ColumnKind::LocalTimestamp => validate_local_timestamp(value),
            ColumnKind::Date => validate_date(value),
            ColumnKind::Money => validate_money(value),
            ColumnKind::Percent => validate_percent(value),
            ColumnKind::Hours => validate_hours(value),
            ColumnKind::Minutes => validate_minutes(value),
            ColumnKind::Days | ColumnKind::Number => parse_number(value).map(|number| json!(number)),
            ColumnKind::Integer => validate_integer(value, &self.sql_type),
            ColumnKind::Uuid | ColumnKind::Reference { .. } => parse_uuid(value).map(|id| json!(id)),
            ColumnKind::References { .. } => validate_references(value),
            ColumnKind::TextList => validate_text_list(value),
        }
    }

    fn validate_short_text(&self, value: &Value) -> Result<Value, ColumnError> {
        let limit = if self.name == "name" { MAX_NAME_LEN } else { MAX_TEXT_LEN };
        validate_text(value, limit).map(|text| json!(text.trim()))
    }
}

/// Returns whether a value is null, a text of white space or an empty list.
fn is_blank(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.trim().is_empty(),
        Value::Array(items) => items.is_empty(),
        _ => false,
    }
}

fn invalid(expected: &'static str) -> ColumnError {
    ColumnError::Invalid { expected }
}

/// Returns the text of a value, which has at most `limit` characters and no NUL character.
fn validate_text(value: &Value, limit: usize) -> Result<&str, ColumnError> {
    let text = value.as_str().ok_or(invalid("text"))?;
    if text.contains('\0') {
        return Err(ColumnError::ContainsNul);
    }
    if text.chars().count() > limit {
        return Err(ColumnError::TooLong { limit, unit: "characters" });
    }
    Ok(text)
}

/// Returns the number that a JSON number or a text states.
fn parse_number(value: &Value) -> Result<f64, ColumnError> {
    let number = match value {
        Value::Number(n) => n.as_f64(),
        Value::String(s) => s.trim().parse().ok(),
        _ => None,
    };
    let number = number.filter(|n: &f64| n.is_finite()).ok_or(invalid("a number"))?;
    if number.abs() < 1e12 { Ok(number) } else { Err(ColumnError::TooLong { limit: 12, unit: "digits" }) }
}

fn parse_uuid(value: &Value) -> Result<Uuid, ColumnError> {
    value.as_str().and_then(|s| s.parse().ok()).ok_or(invalid("an id (a UUID)"))
}

/// Validates the id of a new row.
///
/// [`crate::EVERY_INSTANCE`] is reserved: the owner of an entity with that id would own its whole
/// type.
fn validate_id(value: &Value) -> Result<Value, ColumnError> {
    match parse_uuid(value)? {
        id if id == crate::EVERY_INSTANCE || id.is_nil() => Err(ColumnError::ReservedId),
        id => Ok(json!(id)),
    }
}

fn validate_json(value: &Value) -> Result<Value, ColumnError> {
    if contains_nul(value) { Err(ColumnError::ContainsNul) } else { Ok(value.clone()) }
}

fn validate_timestamp(value: &Value) -> Result<Value, ColumnError> {
    let text = validate_text(value, MAX_TIMESTAMP_LEN)?;
    let timestamp = datetime::normalize_timestamp(text).ok_or(invalid("a timestamp such as 2026-01-31T09:00:00Z"))?;
    Ok(json!(timestamp))
}

fn validate_local_timestamp(value: &Value) -> Result<Value, ColumnError> {
    let text = validate_text(value, MAX_TIMESTAMP_LEN)?;
    let timestamp = datetime::normalize_local_timestamp(text);
    timestamp.map(Value::String).ok_or(invalid("a date and time without a time zone such as 2026-01-31T09:00:00"))
}

fn validate_date(value: &Value) -> Result<Value, ColumnError> {
    let text = validate_text(value, 10)?;
    if datetime::is_valid_date(text) { Ok(json!(text)) } else { Err(invalid("a date such as 2026-01-31")) }
}

fn validate_money(value: &Value) -> Result<Value, ColumnError> {
    let text = match value {
        Value::String(s) => s.trim().to_owned(),
        Value::Number(n) if n.is_i64() || n.is_u64() => n.to_string(),
        _ => return Err(invalid("an amount as text, such as \"1250.00\"")),
    };
    if is_amount(&text) { Ok(json!(text)) } else { Err(invalid("an amount such as \"1250.00\"")) }
}

fn validate_percent(value: &Value) -> Result<Value, ColumnError> {
    let number = parse_number(value)?;
    if (0.0..=100.0).contains(&number) { Ok(json!(number)) } else { Err(invalid("between 0 and 100")) }
}

fn validate_hours(value: &Value) -> Result<Value, ColumnError> {
    let number = parse_number(value)?;
    if number >= 0.0 { Ok(json!(number)) } else { Err(ColumnError::Negative) }
}

/// Validates a number of minutes and rounds it to a tenth.
fn validate_minutes(value: &Value) -> Result<Value, ColumnError> {
    let number = parse_number(value)?;
    if number.abs() <= MAX_MINUTES {
        Ok(json!((number * 10.0).round() / 10.0))
    } else {
        Err(invalid("at most 107,374,182 minutes"))
    }
}

/// Validates a whole number in the range of its PostgreSQL type.
fn validate_integer(value: &Value, sql_type: &str) -> Result<Value, ColumnError> {
    let limit = match sql_type {
        "smallint" => 32_768.0,
        // `parse_number` has the limit of the other kinds of numbers.
        "bigint" => f64::INFINITY,
        _ => 2_147_483_648.0,
    };
    let number = parse_number(value)?;
    if number.fract() == 0.0 && number.abs() < limit {
        #[allow(clippy::cast_possible_truncation)] // range checked in the condition
        let integer = number as i64;
        Ok(json!(integer))
    } else {
        Err(invalid("a whole number"))
    }
}

/// Validates a list of ids and removes duplicates.
fn validate_references(value: &Value) -> Result<Value, ColumnError> {
    let items = value.as_array().ok_or(invalid("a list of ids"))?;
    if items.len() > MAX_REFERENCES {
        return Err(ColumnError::TooLong { limit: MAX_REFERENCES, unit: "elements" });
    }
    let mut ids = Vec::new();
    for item in items {
        let id = parse_uuid(item)?;
        if !ids.contains(&id) {
            ids.push(id);
        }
    }
    Ok(json!(ids))
}

fn validate_text_list(value: &Value) -> Result<Value, ColumnError> {
    let items = value.as_array().ok_or(invalid("a list of texts"))?;
    let is_valid = |i: &Value| i.as_str().is_some_and(|s| !s.contains('\0') && s.len() <= MAX_LIST_TEXT_BYTES);
    if items.len() <= MAX_REFERENCES && items.iter().all(is_valid) {
        Ok(value.clone())
    } else {
        Err(invalid("a list of short texts"))
    }
}

/// Returns whether `text` is a decimal number within [`MAX_MONEY_DIGITS`].
fn is_amount(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let (integer, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
    let is_number = |part: &str, max_digits: usize| {
        (1..=max_digits).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit())
    };
    is_number(integer, MAX_MONEY_DIGITS.0) && is_number(fraction, MAX_MONEY_DIGITS.1)
}

/// Returns whether a decimal number, when rounded, has too many digits before the point.
fn exceeds_digits(text: &str, digits: NumericDigits) -> bool {
    let (integer, fraction) = text.split_once('.').unwrap_or((text, ""));
    let integer = integer.trim_start_matches(['-', '0']).as_bytes();
    let (limit, scale) = (usize::from(digits.integer), usize::from(digits.fraction));
    let (kept, rounded) = fraction.as_bytes().split_at(fraction.len().min(scale));
    // 999.995 with two digits after the point is rounded to 1000.00.
    let rounds_up = kept.len() == scale && rounded.first().is_some_and(|digit| *digit >= b'5');
    let is_nines = |digits: &[u8]| digits.iter().all(|digit| *digit == b'9');
    integer.len() > limit || (integer.len() == limit && rounds_up && is_nines(integer) && is_nines(kept))
}

fn contains_nul(value: &Value) -> bool {
    match value {
        Value::String(s) => s.contains('\0'),
        Value::Array(items) => items.iter().any(contains_nul),
        Value::Object(map) => map.iter().any(|(k, v)| k.contains('\0') || contains_nul(v)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::column::tests::column;
    use proptest::prelude::*;

    #[test]
    fn invalid_values_are_rejected_with_a_message() {
        let cases = [
            (column("name", "text"), json!("  "), "required"),
            (column("name", "text"), json!(7), "text"),
            (column("name", "text"), json!("a\0b"), "NUL"),
            (column("name", "text"), json!("x".repeat(501)), "500"),
            (column("due_date", "date"), json!("2026-02-30"), "date"),
            (column("due_date", "date"), json!("31.01.2026"), "date"),
            (column("budget_amt", "numeric"), json!(1.5), "amount"),
            (column("budget_amt", "numeric"), json!("1e9"), "amount"),
            (column("completion_pct", "numeric"), json!(101), "100"),
            (column("project_id", "uuid"), json!("1"), "UUID"),
            (column("assignee__employee_ids", "uuid[]"), json!("x"), "list"),
            (column("metadata", "jsonb"), json!({"a": ["\0"]}), "NUL"),
        ];
        for (column, value, expected) in cases {
            let message = column.validate(&value).expect_err(&column.name).to_string();
            assert!(message.contains(expected), "{}: {message}", column.name);
        }
    }

    #[test]
    fn whole_numbers_have_the_range_of_their_sql_type() {
        for (sql_type, accepted, rejected) in [
            ("smallint", 32_767_i64, 32_768),
            ("integer", 2_147_483_647, 2_147_483_648),
            ("bigint", 5_000_000_000, i64::MAX),
        ] {
            let column = column("display_order", sql_type);
            assert_eq!(column.validate(&json!(accepted)), Ok(json!(accepted)), "{sql_type}");
            assert!(column.validate(&json!(rejected)).is_err(), "{sql_type}");
        }
    }

    #[test]
    fn numbers_have_at_most_the_digits_that_the_database_stores() {
        let with_digits = |name, integer, fraction| Column {
            digits: Some(NumericDigits { integer, fraction }),
            ..column(name, "numeric")
        };
        let (hours, amount) = (with_digits("estimated_hours", 8, 2), with_digits("budget_amt", 13, 4));
        let share = with_digits("share", 0, 2);
        for (column, accepted, rejected) in [
            (&hours, json!(99_999_999.994), json!(99_999_999.995)),
            (&hours, json!(0.001), json!(123_456_789)),
            (&amount, json!("-9999999999999.9999"), json!("99999999999999")),
            (&share, json!(0.994), json!(-0.995)),
        ] {
            assert!(column.validate(&accepted).is_ok(), "{accepted}");
            let message = column.validate(&rejected).expect_err(&column.name).to_string();
            assert!(message.contains("digits") || message.contains("amount"), "{rejected}: {message}");
        }
    }

    #[test]
    fn required_column_rejects_blank_values_of_every_kind() {
        let required = |name, sql_type| Column { required: true, ..column(name, sql_type) };
        for (column, blank) in [
            (required("body", "text"), json!(" \n")),
            (required("dl__task_stage", "text"), json!("")),
            (required("assignee__employee_ids", "uuid[]"), json!([])),
            (required("tags", "text[]"), json!([])),
            (required("due_date", "date"), Value::Null),
        ] {
            let label = column.label.clone();
            assert_eq!(column.validate(&blank), Err(ColumnError::Required { label }));
        }
        assert_eq!(column("body", "text").validate(&json!("")), Ok(json!("")));
    }

    proptest! {
        #[test]
        fn validate_is_idempotent(text in ".{0,40}", number in -1e6..1e6f64) {
            for (name, sql_type) in [("name", "text"), ("budget_amt", "numeric"), ("due_date", "date"), ("x_hours", "numeric")] {
                let column = column(name, sql_type);
                for value in [json!(text), json!(number)] {
                    if let Ok(normalized) = column.validate(&value) {
                        prop_assert_eq!(column.validate(&normalized), Ok(normalized));
                    }
                }
            }
        }
    }
}
