//! Working time of one task: that of its calendar and of its people.

use crate::assignments::MAX_PEOPLE;
use crate::calendars::{self, Calendars, STANDARD};
use crate::{CalendarSet, ProjectInput, TaskInput};
use pmo_planning::{CalendarIndex, Day, Mode, Moment, Span, TaskType, WorkingTime};
use uuid::Uuid;

/// Maximum number of different calendars of a task's people that count.
const MAX_TIMES: usize = 20;

/// Working time of a task: conversions between its dates and its duration.
#[derive(Clone, Debug)]
pub(crate) struct TaskTime {
    /// Working times of the people, or of the task if people do not matter; never empty.
    times: Vec<WorkingTime>,
    /// Working time of the task's calendar, or else that of the project.
    pub(crate) own: WorkingTime,
    is_elapsed: bool,
}

impl TaskTime {
    pub(crate) fn new(task: &TaskInput, project: &ProjectInput, set: &CalendarSet) -> Self {
        let assignees = &task.assignee_ids[..task.assignee_ids.len().min(MAX_PEOPLE)];
        let people = assignees.iter().filter_map(|person| set.employees.get(person));
        let used = [project.calendar_id, task.calendar_id].into_iter().flatten().chain(people.copied());
        let mut calendars = Calendars::new(&with_bases(set, used.collect()));
        let standard = project.calendar_id.and_then(|id| calendars.find(id)).unwrap_or(STANDARD);
        let own = task.calendar_id.and_then(|id| calendars.find(id));
        let mut people: Vec<Option<CalendarIndex>> = Vec::new();
        let own_only = task.mode == Mode::Manual
            || task.task_type == TaskType::FixedDuration
            || (own.is_some() && task.ignores_resource_calendars);
        if !own_only {
            people = assignees.iter().map(|person| calendars.find(*set.employees.get(person)?)).collect();
            people.sort_unstable();
            people.dedup();
            people.truncate(MAX_TIMES);
        }
        let mut time = |calendar| calendars.time(calendar).clone();
        let mut times: Vec<WorkingTime> = people
            .into_iter()
            .map(|person| match own {
                None => time(person.unwrap_or(standard)),
                Some(own) => {
                    let own = time(own);
                    own.intersect(&time(person.unwrap_or(standard))).unwrap_or(own)
                }
            })
            .collect();
        let own = time(own.unwrap_or(standard));
        if times.is_empty() {
            times.push(own.clone());
        }
        Self { times, own, is_elapsed: task.duration_unit.is_elapsed() }
    }

    /// Returns the longest duration with which the task, begun at `start`, ends by `finish`.
    pub(crate) fn between(&self, start: Moment, finish: Moment) -> Span {
        if self.is_elapsed {
            return finish.since(start);
        }
        self.times.iter().map(|time| time.between(start, finish)).min().unwrap_or_default()
    }

    /// Returns the finish of the task if it begins at `start`.
    pub(crate) fn finish_after(&self, start: Moment, duration: Span) -> Moment {
        if self.is_elapsed {
            return start.plus(duration);
        }
        self.times.iter().map(|time| time.add(start, duration)).max().unwrap_or(start)
    }

    /// Returns the latest start with which the task ends by `finish`.
    pub(crate) fn start_before(&self, finish: Moment, duration: Span) -> Moment {
        if self.is_elapsed {
            return finish.minus(duration);
        }
        self.times.iter().map(|time| time.add(finish, Span(-duration.0))).min().unwrap_or(finish)
    }

    /// Returns the first moment at or after `moment` at which somebody works.
    pub(crate) fn start_form(&self, moment: Moment) -> Moment {
        if self.is_elapsed {
            return moment;
        }
        self.times.iter().map(|time| time.start_form(moment)).min().unwrap_or(moment)
    }

    /// Returns the last moment at or before `moment` at which somebody worked.
    pub(crate) fn finish_form(&self, moment: Moment) -> Moment {
        if self.is_elapsed {
            return moment;
        }
        self.times.iter().map(|time| time.finish_form(moment)).max().unwrap_or(moment)
    }

    /// Returns the first working moment of a day; midnight if nobody works on it.
    pub(crate) fn day_start(&self, day: Day) -> Moment {
        let midnight = day.midnight();
        let starts = self.times.iter().map(|time| calendars::day_start(time, day));
        starts.filter(|start| *start > midnight).min().unwrap_or(midnight)
    }

    /// Returns the last working moment of a day; the midnight after it if nobody works on it.
    pub(crate) fn day_end(&self, day: Day) -> Moment {
        let midnight = day.midnight().plus(Span::hours(24));
        let ends = self.times.iter().map(|time| calendars::day_end(time, day));
        ends.filter(|end| *end < midnight).max().unwrap_or(midnight)
    }
}

/// Returns the calendars with some ids and their bases; a set may have many others.
fn with_bases(set: &CalendarSet, mut ids: Vec<Uuid>) -> CalendarSet {
    let mut subset = CalendarSet::default();
    while let Some(id) = ids.pop() {
        if let (Some(definition), false) = (set.calendars.get(&id), subset.calendars.contains_key(&id)) {
            ids.extend(definition.base);
            subset.calendars.insert(id, definition.clone());
        }
    }
    subset
}
