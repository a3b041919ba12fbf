//! Typed predecessors: `12FS+2d, 7SS, 3FF-50%`.
//!
//! An entry is the number of a row, a type (finish-to-start if missing) and a lag in time or in
//! percent of the predecessor's duration. Types may be typed in English or German.

use crate::duration_text::{self, DurationError, format_number, split_number, unit_of_word};
use crate::gantt_edit::LagEntry;
use crate::options::OptionName;
use crate::{DurationUnit, Percent, UnitSizes};
use pmo_planning::{LinkKind, Span};
use std::fmt;

/// Maximum number of entries.
const MAX_ENTRIES: usize = 500;

/// Predecessor as entered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PredecessorEntry {
    /// Number of the row, from 1.
    pub row: u32,
    /// Type.
    pub kind: LinkKind,
    /// Lag.
    pub lag: LagEntry,
}

/// Reason why an entry is not a predecessor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PredecessorError {
    /// The entry, as typed.
    pub entry: String,
    /// Reason.
    pub reason: PredecessorFault,
}

/// Fault of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PredecessorFault {
    /// The entry does not begin with the number of a row.
    NoRow,
    /// No row has the number.
    UnknownRow,
    /// The row is the task itself.
    Itself,
    /// The row was named before.
    Duplicate,
    /// The tasks would wait for each other; numbers of the rows on the path.
    Ring(Vec<u32>),
    /// The type is not FS, SS, FF or SF.
    UnknownKind,
    /// The lag is not a duration or a percentage.
    Lag(DurationError),
    /// The list has too many entries.
    TooMany,
}

impl fmt::Display for PredecessorError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: ", self.entry)?;
        match &self.reason {
            PredecessorFault::NoRow => formatter.write_str("an entry begins with the number of a row, as in 12FS+2d"),
            PredecessorFault::UnknownRow => formatter.write_str("no row has this number"),
            PredecessorFault::Itself => formatter.write_str("a task cannot wait for itself"),
            PredecessorFault::Duplicate => formatter.write_str("the row is named twice"),
            PredecessorFault::Ring(rows) => {
                let path: Vec<String> = rows.iter().map(u32::to_string).collect();
                write!(formatter, "the tasks would wait for each other: {}", path.join(" → "))
            }
            PredecessorFault::UnknownKind => formatter.write_str("the type is FS, SS, FF or SF"),
            PredecessorFault::Lag(error) => write!(formatter, "{error}"),
            PredecessorFault::TooMany => write!(formatter, "at most {MAX_ENTRIES} predecessors are possible"),
        }
    }
}

impl std::error::Error for PredecessorError {}

/// Parses the predecessors of the task in `own_row`, separated by commas or semicolons.
///
/// `row_count` is the number of rows. `ring` returns the path by which a row would wait for
/// itself, if it becomes a predecessor.
pub fn parse(
    text: &str,
    own_row: u32,
    row_count: u32,
    sizes: &UnitSizes,
    ring: impl Fn(u32) -> Option<Vec<u32>>,
) -> Result<Vec<PredecessorEntry>, PredecessorError> {
    let mut entries: Vec<PredecessorEntry> = Vec::new();
    for part in split_entries(text) {
        let fail = |reason| PredecessorError { entry: part.chars().take(40).collect(), reason };
        if entries.len() == MAX_ENTRIES {
            return Err(fail(PredecessorFault::TooMany));
        }
        let entry = parse_entry(part, sizes).map_err(fail)?;
        if entry.row == own_row {
            return Err(fail(PredecessorFault::Itself));
        }
        if entry.row == 0 || entry.row > row_count {
            return Err(fail(PredecessorFault::UnknownRow));
        }
        if entries.iter().any(|known| known.row == entry.row) {
            return Err(fail(PredecessorFault::Duplicate));
        }
        if let Some(path) = ring(entry.row) {
            return Err(fail(PredecessorFault::Ring(path)));
        }
        entries.push(entry);
    }
    Ok(entries)
}

/// Formats predecessors, so that [`parse`] gives the same entries.
pub fn format(entries: &[PredecessorEntry], sizes: &UnitSizes) -> String {
    let entries: Vec<String> = entries.iter().map(|entry| format_entry(entry, sizes)).collect();
    entries.join(", ")
}

fn format_entry(entry: &PredecessorEntry, sizes: &UnitSizes) -> String {
    let sign = |number: i32| if number < 0 { '-' } else { '+' };
    let percent = |percent: Percent, code: &str| {
        let number = format_number(Span(percent.0.saturating_abs()), Span(100));
        format!("{}{number}{code}", sign(percent.0))
    };
    let lag = match entry.lag {
        LagEntry::Time(Span(0), _) | LagEntry::Percent(Percent(0)) | LagEntry::ElapsedPercent(Percent(0)) => {
            String::new()
        }
        LagEntry::Time(lag, unit) => {
            let number = format_number(Span(lag.0.saturating_abs()), unit.size(sizes));
            format!("{}{number}{}", sign(lag.0), unit.code())
        }
        LagEntry::Percent(lag) => percent(lag, "%"),
        LagEntry::ElapsedPercent(lag) => percent(lag, "e%"),
    };
    if lag.is_empty() && entry.kind == LinkKind::FinishToStart {
        return entry.row.to_string();
    }
    format!("{}{}{lag}", entry.row, entry.kind.name())
}

/// Splits a list at semicolons and at those commas that are not the decimal sign of a lag.
fn split_entries(text: &str) -> impl Iterator<Item = &str> {
    let mut parts = Vec::new();
    let mut start = 0;
    for (place, sign) in text.char_indices() {
        let is_end = match sign {
            ';' | '\n' => true,
            ',' => !is_decimal_sign(&text[start..place], &text[place + 1..]),
            _ => false,
        };
        if is_end {
            parts.push(&text[start..place]);
            start = place + sign.len_utf8();
        }
        if parts.len() > MAX_ENTRIES {
            break;
        }
    }
    parts.push(&text[start..]);
    parts.into_iter().map(str::trim).filter(|part| !part.is_empty())
}

/// Returns whether a comma is within the number of a lag: digits and a unit follow it.
fn is_decimal_sign(before: &str, after: &str) -> bool {
    let in_lag = before.contains(['+', '-']) && before.ends_with(|sign: char| sign.is_ascii_digit());
    let rest = after.trim_start_matches(|sign: char| sign.is_ascii_digit());
    if !in_lag || rest.len() == after.len() {
        return false;
    }
    let rest = rest.trim_start();
    let word: &str = rest.split(|sign: char| !sign.is_alphabetic() && sign != '%').next().unwrap_or("");
    matches!(word, "%" | "e%" | "E%") || unit_of_word(word).is_some()
}

fn parse_entry(text: &str, sizes: &UnitSizes) -> Result<PredecessorEntry, PredecessorFault> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    if digits == 0 {
        return Err(PredecessorFault::NoRow);
    }
    let row = text[..digits].parse().map_err(|_| PredecessorFault::UnknownRow)?;
    let rest = text[digits..].trim_start();
    let (word, lag) = rest.split_at(rest.find(['+', '-']).unwrap_or(rest.len()));
    let kind = match word.trim().to_uppercase().as_str() {
        "" | "FS" | "EA" => LinkKind::FinishToStart,
        "SS" | "AA" => LinkKind::StartToStart,
        "FF" | "EE" => LinkKind::FinishToFinish,
        "SF" | "AE" => LinkKind::StartToFinish,
        _ => return Err(PredecessorFault::UnknownKind),
    };
    Ok(PredecessorEntry { row, kind, lag: parse_lag(lag.trim(), sizes).map_err(PredecessorFault::Lag)? })
}

/// Parses a lag with its sign; an empty text is no lag.
fn parse_lag(text: &str, sizes: &UnitSizes) -> Result<LagEntry, DurationError> {
    let (sign, lag) = match text.split_at_checked(1) {
        Some(("+", lag)) => (1, lag.trim()),
        Some(("-", lag)) => (-1, lag.trim()),
        _ => return Ok(LagEntry::Time(Span::ZERO, DurationUnit::Days)),
    };
    if let Some(number) = lag.strip_suffix('%') {
        let elapsed = number.trim_end().strip_suffix(['e', 'E']);
        let (number, rest) = split_number(elapsed.unwrap_or(number)).ok_or(DurationError::NoNumber)?;
        if !rest.trim().is_empty() {
            return Err(DurationError::UnknownUnit(rest.trim().chars().take(20).collect()));
        }
        let hundredths =
            number.of(Span(100)).filter(|number| number.0 <= 1_000_000).ok_or(DurationError::OutOfRange)?;
        let percent = Percent(sign * hundredths.0);
        return Ok(if elapsed.is_some() { LagEntry::ElapsedPercent(percent) } else { LagEntry::Percent(percent) });
    }
    let entry = duration_text::parse(lag, sizes, DurationUnit::Days)?;
    Ok(LagEntry::Time(Span(sign * entry.duration.0), entry.unit))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<String, PredecessorError> {
        let sizes = UnitSizes::default();
        let ring = |row: u32| (row == 13).then(|| vec![5, 13]);
        parse(text, 5, 100, &sizes, ring).map(|entries| format(&entries, &sizes))
    }

    #[test]
    fn lists_of_predecessors_are_read() {
        for (text, expected) in [
            ("", ""),
            ("12", "12"),
            ("12FS+2d, 7SS, 3FF-50%", "12FS+2d, 7SS, 3FF-50%"),
            ("4SF+2ed", "4SF+2ed"),
            ("12 fs + 2 days; 7 ss", "12FS+2d, 7SS"),
            ("7FS+1,5d,8", "7FS+1.5d, 8"),
            ("7FS+2,8SS", "7FS+2d, 8SS"),
            ("7FS+2,8", "7FS+2d, 8"),
            ("7FF-12,5%,8", "7FF-12.5%, 8"),
            ("7FS+50e%", "7FS+50e%"),
            ("7EA+1t,8AA", "7FS+1d, 8SS"),
            ("7-4h", "7FS-4h"),
            (",,7,", "7"),
        ] {
            assert_eq!(parsed(text), Ok(expected.to_owned()), "{text}");
        }
    }

    #[test]
    fn errors_name_the_entry() {
        for (text, entry, reason) in [
            ("7, x", "x", PredecessorFault::NoRow),
            ("7, 101", "101", PredecessorFault::UnknownRow),
            ("0", "0", PredecessorFault::UnknownRow),
            ("99999999999", "99999999999", PredecessorFault::UnknownRow),
            ("5SS", "5SS", PredecessorFault::Itself),
            ("7, 7SS", "7SS", PredecessorFault::Duplicate),
            ("13", "13", PredecessorFault::Ring(vec![5, 13])),
            ("7XY", "7XY", PredecessorFault::UnknownKind),
            ("7FS+", "7FS+", PredecessorFault::Lag(DurationError::Empty)),
            ("7FS+2q", "7FS+2q", PredecessorFault::Lag(DurationError::UnknownUnit("q".into()))),
            ("7FS+99999999%", "7FS+99999999%", PredecessorFault::Lag(DurationError::OutOfRange)),
        ] {
            assert_eq!(parsed(text), Err(PredecessorError { entry: entry.into(), reason }), "{text}");
        }
        let many = "7,".repeat(2_000);
        assert_eq!(parsed(&many).expect_err("too many").reason, PredecessorFault::Duplicate);
    }
}
