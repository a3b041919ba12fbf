//! Typed durations: `3d`, `4h`, `2ed`, `1.5 days`, `3d?`.

use crate::{DurationUnit, UnitSizes};
use pmo_planning::Span;

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

/// Parses a duration; a number without a unit counts in `default_unit`.
pub fn parse(text: &str, sizes: &UnitSizes, default_unit: DurationUnit) -> Result<DurationEntry, DurationError> {
    let _ = (text, sizes, default_unit);
    Err(DurationError::Empty)
}

/// Formats a duration in a unit, so that [`parse`] gives the same duration.
pub fn format(entry: DurationEntry, sizes: &UnitSizes) -> String {
    let _ = (entry, sizes);
    String::new()
}
