//! Working time of a calendar, for callers outside of the engine.

use crate::calendar::{Calendar, CalendarIndex};
use crate::compile_calendar::compile;
use crate::moment::{Moment, Span};
use crate::recurrence::MAX_EXCEPTION_DAYS;
use crate::work_table::WorkTable;

/// Working time of a calendar, for conversions between moments and amounts of work.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct WorkingTime(WorkTable);

impl WorkingTime {
    /// Returns the working time of a calendar; all time if it is missing or has no work.
    ///
    /// Its exceptions may name as many days as those of a whole plan; what goes beyond is ignored.
    pub fn of_calendar(calendars: &[Calendar], calendar: CalendarIndex) -> Self {
        Self::within(calendars, calendar, &mut { MAX_EXCEPTION_DAYS })
    }

    /// Returns the working time of a calendar, with a limit that calendars share.
    ///
    /// `budget` is the number of days that exceptions may name; what goes beyond it is ignored.
    pub fn within(calendars: &[Calendar], calendar: CalendarIndex, budget: &mut usize) -> Self {
        Self(compile(calendars, calendar, budget, &mut Vec::new()))
    }

    /// Returns the number of days that differ from the regular week.
    pub fn exception_days(&self) -> usize {
        self.0.exception_days()
    }

    /// Returns the time in which both work, or `None` if there is none.
    pub fn intersect(&self, other: &Self) -> Option<Self> {
        Some(self.0.intersect(&other.0)).filter(|table| !table.is_empty()).map(Self)
    }

    /// Returns the work between two moments; negative if the second is earlier.
    pub fn between(&self, from: Moment, to: Moment) -> Span {
        self.0.between(from, to)
    }

    /// Returns the moment after some work; a negative amount goes back, zero gives the moment
    /// itself.
    #[must_use]
    pub fn add(&self, moment: Moment, work: Span) -> Moment {
        self.0.add(moment, work)
    }

    /// Returns the moment itself if work is done right after it, otherwise the next such moment.
    pub fn start_form(&self, moment: Moment) -> Moment {
        self.0.start_form(moment)
    }

    /// Returns the moment itself if work was done right before it, otherwise the last such moment.
    pub fn finish_form(&self, moment: Moment) -> Moment {
        self.0.finish_form(moment)
    }
}
