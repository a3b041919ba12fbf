//! Values of columns that are options, units, percentages or lists of parts.

use crate::cell::{Cell, Unreadable};
use crate::options::OptionName;
use crate::units::Percent;
use pmo_planning::{Span, Units};

/// Reads the name of an option.
pub(crate) fn read_option<T: OptionName>(cell: &Cell<'_>) -> Result<Option<T>, Unreadable> {
    read_code(cell, T::from_name)
}

/// Reads a text that `parse` knows.
pub(crate) fn read_code<T>(cell: &Cell<'_>, parse: impl Fn(&str) -> Option<T>) -> Result<Option<T>, Unreadable> {
    cell.text()?.map(|text| parse(text).ok_or(Unreadable)).transpose()
}

/// Reads a percentage.
pub(crate) fn read_percent(cell: &Cell<'_>) -> Result<Option<Percent>, Unreadable> {
    let Some(hundredths) = cell.scaled(100.0)? else { return Ok(None) };
    i32::try_from(hundredths).map(|hundredths| Some(Percent(hundredths))).map_err(|_| Unreadable)
}

/// Reads units of an assignment; null is the whole.
pub(crate) fn read_units(cell: &Cell<'_>) -> Result<Units, Unreadable> {
    let Some(hundredths) = cell.scaled(100.0)? else { return Ok(Units::WHOLE) };
    u32::try_from(hundredths).map(Units).map_err(|_| Unreadable)
}

/// Reads parts of a split: pairs of offset and length in working minutes.
pub(crate) fn read_segments(cell: &Cell<'_>) -> Result<Vec<(Span, Span)>, Unreadable> {
    cell.list(|part| match &*part.list(Cell::positive_minutes)? {
        [offset, length] => Ok(Some((*offset, *length))),
        _ => Err(Unreadable),
    })
}
