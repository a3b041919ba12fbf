//! Calendars of a plan by id, and their working time.

use crate::calendar_json::CalendarSet;
use crate::project_plan::Missing;
use pmo_planning::{Calendar, CalendarIndex, Day, Moment, Span, WorkingTime};
use std::collections::{BTreeMap, HashMap};
use uuid::Uuid;

/// Maximum number of calendars of a plan.
const MAX_CALENDARS: usize = 60_000;

/// Position of the calendar Standard, which every plan has.
pub(crate) const STANDARD: CalendarIndex = CalendarIndex(0);

/// Calendars of a plan.
pub(crate) struct Calendars {
    pub(crate) list: Vec<Calendar>,
    /// Id of each calendar; `None` for Standard.
    pub(crate) ids: Vec<Option<Uuid>>,
    pub(crate) missing: Vec<Missing>,
    positions: HashMap<Uuid, CalendarIndex>,
    times: BTreeMap<CalendarIndex, WorkingTime>,
}

impl Calendars {
    /// Takes over the calendars of a set.
    pub(crate) fn new(set: &CalendarSet) -> Self {
        let mut calendars = Self {
            list: vec![Calendar::standard()],
            ids: vec![None],
            missing: Vec::new(),
            positions: HashMap::new(),
            times: BTreeMap::new(),
        };
        for (id, definition) in set.calendars.iter().take(MAX_CALENDARS) {
            let index = CalendarIndex(u16::try_from(calendars.list.len()).unwrap_or(0));
            calendars.positions.insert(*id, index);
            calendars.ids.push(Some(*id));
            calendars.list.push(definition.times.clone());
        }
        for (place, definition) in set.calendars.values().take(MAX_CALENDARS).enumerate() {
            let base = definition.base.and_then(|base| calendars.find(base));
            calendars.list[place + 1].base = base;
        }
        calendars
    }

    /// Returns the position of a calendar; one that is not there is reported.
    pub(crate) fn find(&mut self, id: Uuid) -> Option<CalendarIndex> {
        let found = self.positions.get(&id).copied();
        if found.is_none() && !self.missing.contains(&Missing::Calendar(id)) && self.missing.len() < 100 {
            self.missing.push(Missing::Calendar(id));
        }
        found
    }

    /// Returns the working time of a calendar.
    pub(crate) fn time(&mut self, calendar: CalendarIndex) -> &WorkingTime {
        let list = &self.list;
        self.times.entry(calendar).or_insert_with(|| WorkingTime::of_calendar(list, calendar))
    }

    /// Returns the first working moment of a day; midnight if there is no work on it.
    pub(crate) fn day_start(&mut self, calendar: CalendarIndex, day: Day) -> Moment {
        day_start(self.time(calendar), day)
    }

    /// Returns the last working moment of a day; the midnight after it if there is no work on it.
    pub(crate) fn day_end(&mut self, calendar: CalendarIndex, day: Day) -> Moment {
        day_end(self.time(calendar), day)
    }
}

/// Returns the first working moment of a day; midnight if there is no work on it.
pub(crate) fn day_start(time: &WorkingTime, day: Day) -> Moment {
    let start = time.start_form(day.midnight());
    if start.day() == day { start } else { day.midnight() }
}

/// Returns the last working moment of a day; the midnight after it if there is no work on it.
pub(crate) fn day_end(time: &WorkingTime, day: Day) -> Moment {
    let midnight = day.midnight().plus(Span::hours(24));
    let end = time.finish_form(midnight);
    if end > day.midnight() { end } else { midnight }
}

/// Returns the hour of a start if it is on the day.
pub(crate) fn start_on(day: Day, hour: Moment) -> Option<Moment> {
    hour.get().filter(|hour| hour.day() == day)
}

/// Returns the hour of a finish if it is on the day, which includes the midnight after it.
pub(crate) fn finish_on(day: Day, hour: Moment) -> Option<Moment> {
    let midnight = day.midnight();
    hour.get().filter(|hour| *hour > midnight && *hour <= midnight.plus(Span::hours(24)))
}
