//! Cells of task lines: durations, predecessors, people.

use super::lines::Keys;
use pmo_planning::{LinkKind, Span};
use pmo_project_plan::{DurationUnit, OptionName, UnitSizes};

/// Duration or lag as written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Length {
    /// Working time, or elapsed time if the unit is elapsed.
    pub span: Span,
    /// Unit.
    pub unit: DurationUnit,
}

/// Predecessor as written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Predecessor {
    /// Position of the task.
    pub task: usize,
    /// Type of the link.
    pub kind: LinkKind,
    /// Lag; negative for a lead.
    pub lag: Length,
}

/// Person of a task as written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PersonText {
    /// Role.
    pub role: String,
    /// Number of the person among those of the role, from 1; `None` if there is no person yet.
    pub number: Option<usize>,
    /// Share of the person's time in percent.
    pub units: u32,
}

impl Length {
    /// Returns a number of working days.
    pub(crate) fn days(days: i32) -> Self {
        Self { span: Span(Span::hours(8).0 * days), unit: DurationUnit::Days }
    }

    /// Returns the time of a day in the unit: 24 hours if it is elapsed.
    pub(crate) fn day(self) -> Span {
        Span::hours(if self.unit.is_elapsed() { 24 } else { 8 })
    }
}

/// Parses a duration such as `3d`, `4h`, `2w` or `3ed`.
pub(super) fn parse_length(text: &str) -> Result<Length, String> {
    let invalid = || format!("{text:?} is not a duration");
    let digits = text.find(|c: char| c.is_ascii_alphabetic()).ok_or_else(invalid)?;
    let (number, unit) = text.split_at(digits);
    let unit = DurationUnit::from_code(unit).ok_or_else(invalid)?;
    let number: i32 = number.trim_start_matches('+').parse().map_err(|_| invalid())?;
    let size = unit.size(&UnitSizes::default());
    let span = size.0.checked_mul(number).filter(|span| span.abs() < Span::MAX.0).ok_or_else(invalid)?;
    Ok(Length { span: Span(span), unit })
}

/// Parses predecessors such as `key, other SS+2d`.
pub(super) fn parse_predecessors(text: &str, keys: &Keys) -> Result<Vec<Predecessor>, String> {
    let entries = text.split(',').map(str::trim).filter(|entry| !entry.is_empty());
    entries.map(|entry| parse_predecessor(entry, keys)).collect()
}

fn parse_predecessor(entry: &str, keys: &Keys) -> Result<Predecessor, String> {
    let (key, link) = entry.split_once(' ').unwrap_or((entry, "FS"));
    let task = *keys.get(key).ok_or_else(|| format!("no task has the key {key}"))?;
    let (kind, lag) = link.split_at_checked(2).ok_or_else(|| format!("{link:?} is not a link"))?;
    let kind = LinkKind::from_name(kind).ok_or_else(|| format!("{kind} is not a type of link"))?;
    let lag = if lag.is_empty() { Length::days(0) } else { parse_length(lag)? };
    Ok(Predecessor { task, kind, lag })
}

/// Parses people such as `Role, Role 2 50%, ?Role`.
pub(super) fn parse_people(text: &str) -> Result<Vec<PersonText>, String> {
    text.split(',').map(str::trim).filter(|entry| !entry.is_empty()).map(parse_person).collect()
}

fn parse_person(entry: &str) -> Result<PersonText, String> {
    let mut words: Vec<&str> = entry.split(' ').collect();
    let mut units = 100;
    if let Some(percent) = words.last().and_then(|word| word.strip_suffix('%')) {
        units = percent.parse().map_err(|_| format!("{entry}: not a percentage"))?;
        words.pop();
    }
    let mut number = 1;
    if let Some(stated) = words.last().and_then(|word| word.parse().ok()) {
        number = stated;
        words.pop();
    }
    let role = words.join(" ");
    match role.strip_prefix('?') {
        Some(role) if !role.is_empty() => Ok(PersonText { role: role.to_owned(), number: None, units }),
        None if !role.is_empty() => Ok(PersonText { role, number: Some(number), units }),
        _ => Err(format!("{entry:?} names no role")),
    }
}
