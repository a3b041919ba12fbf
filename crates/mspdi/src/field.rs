//! Typed fields of elements; values of another type count as absent.

use crate::value;
use crate::xml::Element;
use pmo_planning::{Moment, Span};

/// Usual times of the day of a project, for dates that are stated without a time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct UsualTimes {
    start: Span,
    finish: Span,
}

impl UsualTimes {
    /// Returns the times that the fields of a project state, or else 8:00 and 17:00.
    pub(crate) fn of(project: &Element) -> Self {
        let time = |name: &str, usual: Span| project.text_of(name).and_then(value::time_of_day).map_or(usual, Span);
        Self { start: time("DefaultStartTime", Span::hours(8)), finish: time("DefaultFinishTime", Span::hours(17)) }
    }

    /// Returns a field that is the civil date and time of a start.
    pub(crate) fn start(self, element: &Element, name: &str) -> Option<Moment> {
        element.text_of(name).and_then(|text| value::moment(text, self.start))
    }

    /// Returns a field that is the civil date and time of a finish.
    pub(crate) fn finish(self, element: &Element, name: &str) -> Option<Moment> {
        element.text_of(name).and_then(|text| value::moment(text, self.finish))
    }
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
    element.text_of(name).and_then(value::ten_thousandths).and_then(|units| u32::try_from(units).ok())
}

/// Returns a field that is text.
pub(crate) fn text(element: &Element, name: &str) -> Option<String> {
    element.text_of(name).map(str::to_owned)
}
