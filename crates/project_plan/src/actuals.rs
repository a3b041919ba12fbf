//! Actual dates and progress of a task.

use crate::TaskInput;
use crate::calendars::{Calendars, finish_on, start_on};
use pmo_planning::{CalendarIndex, Moment, Span};

/// Actual dates and the duration that is done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Actuals {
    pub(crate) start: Moment,
    pub(crate) finish: Moment,
    pub(crate) duration: Span,
}

/// Returns what of a task is done.
///
/// The hours of actual dates are those stated for the same days, else the start and the end of the
/// day. A finished task without an actual start has the start that its duration gives.
pub(crate) fn actuals_of(
    task: &TaskInput,
    duration: Span,
    calendar: CalendarIndex,
    calendars: &mut Calendars,
) -> Actuals {
    let finish = task.actual_end_date.map_or(Moment::NONE, |day| {
        finish_on(day, task.actual_end).unwrap_or_else(|| calendars.day_end(calendar, day))
    });
    let start = match task.actual_start_date {
        Some(day) => start_on(day, task.actual_start).unwrap_or_else(|| calendars.day_start(calendar, day)),
        None if finish.is_none() => return Actuals::default(),
        None if task.duration_unit.is_elapsed() => finish.minus(duration),
        None => calendars.time(calendar).add(finish, Span(-duration.0)),
    };
    let done = if finish.is_some() {
        duration
    } else {
        task.actual_duration.unwrap_or_else(|| duration.scale(i64::from(task.completion.0), 10_000))
    };
    Actuals { start, finish, duration: Span(done.0.min(duration.0)) }
}
