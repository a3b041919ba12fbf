//! Typed fields of elements; values of another type count as absent.

use crate::value;
use crate::xml::Element;
use pmo_planning::{Moment, Span};

/// Returns a field that is a civil date and time.
pub(crate) fn moment(element: &Element, name: &str) -> Option<Moment> {
    element.text_of(name).and_then(value::moment)
}

/// Returns a field that is a whole number.
pub(crate) fn integer(element: &Element, name: &str) -> Option<i64> {
    element.text_of(name).and_then(value::integer)
}

/// Returns a field that is a duration.
pub(crate) fn span(element: &Element, name: &str) -> Option<Span> {
    element.text_of(name).and_then(value::span)
}

/// Returns a number of tenths of a minute.
pub(crate) fn tenths(element: &Element, name: &str) -> Option<Span> {
    integer(element, name).map(Span::clamped)
}

/// Returns a field that is true or false.
pub(crate) fn flag(element: &Element, name: &str) -> Option<bool> {
    element.text_of(name).map(|text| text == "1" || text == "true")
}

/// Returns a field that is a number of units, in hundredths of a percent.
pub(crate) fn units(element: &Element, name: &str) -> Option<u32> {
    let thousandths = element.text_of(name).and_then(value::thousandths)?;
    u32::try_from(thousandths.saturating_mul(10)).ok()
}

/// Returns a field that is text.
pub(crate) fn text(element: &Element, name: &str) -> Option<String> {
    element.text_of(name).map(str::to_owned)
}
