//! Typed durations: `3d`, `4h`, `2ed`, `1.5 days`, `3d?`.
//!
//! Units are those that Microsoft Project takes, in short and long form, in English and German. A
//! decimal sign is a point or a comma.

use crate::{DurationUnit, UnitSizes};
use pmo_planning::Span;
use std::fmt;

/// Maximum number of digits before and after the decimal sign.
const MAX_DIGITS: usize = 9;

/// Duration as entered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DurationEntry {
    /// Duration; elapsed time if the unit is.
    pub duration: Span,
    /// Unit.
    pub unit: DurationUnit,
    /// Whether the duration is an estimate, `?`.
    pub is_estimated: bool,
}

/// Reason why a text is not a duration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DurationError {
    /// The text is empty.
    Empty,
    /// The text does not begin with a number.
    NoNumber,
    /// The unit is not known.
    UnknownUnit(String),
    /// The duration is negative or longer than what the engine computes with.
    OutOfRange,
}

impl fmt::Display for DurationError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => formatter.write_str("a duration is missing"),
            Self::NoNumber => formatter.write_str("a duration begins with a number, as in 3d"),
            Self::UnknownUnit(unit) => {
                write!(
                    formatter,
                    "the unit {unit} is not known; use m, h, d, w, mo, or the same after e for elapsed time"
                )
            }
            Self::OutOfRange => formatter.write_str("the duration is out of range"),
        }
    }
}

impl std::error::Error for DurationError {}

/// Words of each unit of working time.
const WORDS: [(DurationUnit, &[&str]); 5] = [
    (DurationUnit::Minutes, &["m", "min", "mins", "minute", "minutes", "minuten"]),
    (DurationUnit::Hours, &["h", "hr", "hrs", "hour", "hours", "std", "stunde", "stunden"]),
    (DurationUnit::Days, &["d", "dy", "day", "days", "t", "tag", "tage"]),
    (DurationUnit::Weeks, &["w", "wk", "wks", "week", "weeks", "woche", "wochen"]),
    (DurationUnit::Months, &["mo", "mon", "mons", "month", "months", "monat", "monate"]),
];

/// Parses a duration; a number without a unit counts in `default_unit`.
pub fn parse(text: &str, sizes: &UnitSizes, default_unit: DurationUnit) -> Result<DurationEntry, DurationError> {
    let text = text.trim();
    let (text, is_estimated) = text.strip_suffix('?').map_or((text, false), |text| (text.trim_end(), true));
    if text.is_empty() {
        return Err(DurationError::Empty);
    }
    if text.starts_with('-') {
        return Err(DurationError::OutOfRange);
    }
    let (number, rest) = split_number(text).ok_or(DurationError::NoNumber)?;
    let word = rest.trim();
    let unit = if word.is_empty() {
        default_unit
    } else {
        unit_of_word(word).ok_or_else(|| DurationError::UnknownUnit(word.chars().take(20).collect()))?
    };
    let duration = number.of(unit.size(sizes)).ok_or(DurationError::OutOfRange)?;
    Ok(DurationEntry { duration, unit, is_estimated })
}

/// Formats a duration in its unit, so that [`parse`] gives the same duration.
pub fn format(entry: DurationEntry, sizes: &UnitSizes) -> String {
    let estimate = if entry.is_estimated { "?" } else { "" };
    format!("{}{}{estimate}", format_number(entry.duration, entry.unit.size(sizes)), entry.unit.code())
}

/// Returns the unit with a name, in short or long form.
pub(crate) fn unit_of_word(word: &str) -> Option<DurationUnit> {
    let word = word.to_lowercase();
    let word = word.strip_suffix('.').unwrap_or(&word);
    let find = |word: &str| WORDS.iter().find(|(_, words)| words.contains(&word)).map(|(unit, _)| *unit);
    find(word).or_else(|| find(word.strip_prefix('e')?).map(DurationUnit::to_elapsed))
}

/// Decimal number: `digits` divided by a power of ten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Decimal {
    digits: i64,
    scale: i64,
}

impl Decimal {
    /// Returns this number of units, rounded half up; `None` beyond the range of the engine.
    pub(crate) fn of(self, unit: Span) -> Option<Span> {
        let product = i128::from(self.digits) * i128::from(unit.0);
        let rounded = (product * 2 + i128::from(self.scale)).div_euclid(i128::from(self.scale) * 2);
        i32::try_from(rounded).ok().map(Span).filter(|span| *span <= Span::MAX)
    }
}

/// Splits a text into the number that it begins with and the rest.
pub(crate) fn split_number(text: &str) -> Option<(Decimal, &str)> {
    let end_of_digits = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
    let (whole, rest) = text.split_at(end_of_digits(text));
    let (fraction, rest) = match rest.strip_prefix(['.', ',']) {
        Some(after) => after.split_at(end_of_digits(after)),
        None => ("", rest),
    };
    if whole.len() + fraction.len() == 0 || whole.len() > MAX_DIGITS || fraction.len() > MAX_DIGITS {
        return None;
    }
    let digits = format!("{whole}{fraction}").parse().ok()?;
    let scale = (0..fraction.len()).fold(1, |scale, _| scale * 10);
    Some((Decimal { digits, scale }, rest))
}

/// Returns how often a unit fits into a length, with as few decimals as give the same length.
pub(crate) fn format_number(length: Span, unit: Span) -> String {
    let (length, unit) = (length.0.max(0), unit.0.max(1));
    let mut scale: i64 = 1;
    for decimals in 0..=MAX_DIGITS {
        let digits = (i64::from(length) * scale * 2 + i64::from(unit)).div_euclid(i64::from(unit) * 2);
        if (Decimal { digits, scale }).of(Span(unit)) == Some(Span(length)) {
            return if decimals == 0 {
                digits.to_string()
            } else {
                format!("{}.{:0decimals$}", digits / scale, digits % scale)
            };
        }
        scale *= 10;
    }
    String::from("0")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn minutes(text: &str) -> Result<(i32, &'static str, bool), DurationError> {
        let entry = parse(text, &UnitSizes::default(), DurationUnit::Days)?;
        Ok((entry.duration.0 / 10, entry.unit.code(), entry.is_estimated))
    }

    #[test]
    fn durations_are_read_in_every_unit() {
        for (text, expected) in [
            ("3d", (1_440, "d", false)),
            (" 4 h ", (240, "h", false)),
            ("30m", (30, "m", false)),
            ("2w", (4_800, "w", false)),
            ("1mo", (9_600, "mo", false)),
            ("2ed", (2_880, "ed", false)),
            ("1 emon", (43_200, "emo", false)),
            ("3d?", (1_440, "d", true)),
            ("3 days ?", (1_440, "d", true)),
            ("1.5 days", (720, "d", false)),
            ("1,5 Tage", (720, "d", false)),
            (".5 hrs", (30, "h", false)),
            ("90 mins", (90, "m", false)),
            ("2 wks", (4_800, "w", false)),
            ("2 Std.", (120, "h", false)),
            ("7", (3_360, "d", false)),
            ("0", (0, "d", false)),
            ("3 EDAYS", (4_320, "ed", false)),
        ] {
            assert_eq!(minutes(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn other_texts_are_refused_with_a_reason() {
        for (text, expected) in [
            ("", DurationError::Empty),
            ("?", DurationError::Empty),
            ("d", DurationError::NoNumber),
            ("1.2.3d", DurationError::UnknownUnit(".3d".into())),
            ("3 fortnights", DurationError::UnknownUnit("fortnights".into())),
            ("-3d", DurationError::OutOfRange),
            ("999999999mo", DurationError::OutOfRange),
            ("9999999999d", DurationError::NoNumber),
            ("٣d", DurationError::NoNumber),
        ] {
            assert_eq!(minutes(text), Err(expected), "{text}");
        }
    }
}
