//! Converts assignments: how long each takes, and where it is split.
//!
//! A file states work and units of each assignment, the duration of the task, and for work that is
//! not spread evenly its amounts by time. The duration is what the task takes: if all people work
//! at the same times, the longest assignment has it. Amounts by time are taken relative to their
//! beginning.

use crate::converted::{Converted, Indexes, position};
use crate::file::{File, FileAssignment};
use pmo_planning::{
    Assignment, CalendarIndex, Moment, Plan, ResourceKind, Segment, Span, Task, TaskType, Units, WorkingTime,
};
use std::collections::{HashMap, HashSet};
use std::rc::Rc;

/// Shortest time without work that counts as a split; shorter ones come from rounding to seconds.
const SHORTEST_GAP: Span = Span(10);

/// Maximum number of days that exceptions of all calendars may name, as in the engine.
const MAX_EXCEPTION_DAYS: usize = 2_000_000;

/// Calendars of the task and of the person.
type Pair = (Option<CalendarIndex>, Option<CalendarIndex>);

/// Working times by calendar; equal ones are the same object.
pub(crate) struct Calendars {
    by_pair: HashMap<Pair, Rc<WorkingTime>>,
    known: HashSet<Rc<WorkingTime>>,
    /// Number of days that exceptions of further calendars may name.
    budget: usize,
    /// Number of days of exceptions that further pairs of calendars may have.
    pair_budget: usize,
}

impl Default for Calendars {
    fn default() -> Self {
        Self::new(MAX_EXCEPTION_DAYS)
    }
}

impl Calendars {
    fn new(budget: usize) -> Self {
        Self { by_pair: HashMap::new(), known: HashSet::new(), budget, pair_budget: budget }
    }

    /// Returns the time in which an assignment works.
    pub(crate) fn of(&mut self, plan: &Plan, task: &Task, person: Option<CalendarIndex>) -> Rc<WorkingTime> {
        let person = if task.ignore_resource_calendars && task.calendar.is_some() { None } else { person };
        self.of_pair(plan, (task.calendar, person))
    }

    fn of_pair(&mut self, plan: &Plan, pair: Pair) -> Rc<WorkingTime> {
        if let Some(time) = self.by_pair.get(&pair) {
            return Rc::clone(time);
        }
        let time = match pair {
            (None, None) => self.compiled(plan, plan.settings.calendar),
            (Some(calendar), None) | (None, Some(calendar)) => self.compiled(plan, calendar),
            (task, person) => {
                let (own, other) = (self.of_pair(plan, (task, None)), self.of_pair(plan, (person, None)));
                self.common(&own, &other).unwrap_or(own)
            }
        };
        self.by_pair.insert(pair, Rc::clone(&time));
        time
    }

    fn compiled(&mut self, plan: &Plan, calendar: CalendarIndex) -> Rc<WorkingTime> {
        let time = WorkingTime::within(&plan.calendars, calendar, &mut self.budget);
        self.share(time)
    }

    /// Returns the time that both have, unless there is none or the budget is used up.
    fn common(&mut self, own: &WorkingTime, other: &WorkingTime) -> Option<Rc<WorkingTime>> {
        self.pair_budget = self.pair_budget.checked_sub(own.exception_days() + other.exception_days())?;
        own.intersect(other).map(|time| self.share(time))
    }

    fn share(&mut self, time: WorkingTime) -> Rc<WorkingTime> {
        if let Some(known) = self.known.get(&time) {
            return Rc::clone(known);
        }
        let time = Rc::new(time);
        self.known.insert(Rc::clone(&time));
        time
    }
}

/// Assignment of a task, with its length by work and units or by amounts.
struct Candidate<'file> {
    /// Position in the file.
    row: usize,
    source: &'file FileAssignment,
    resource: Option<u32>,
    /// Time in which the assignment works.
    time: Rc<WorkingTime>,
    parts: Vec<Segment>,
    /// Working time by work and units, or by the amounts by time.
    length: Span,
    delay: Span,
}

impl Candidate<'_> {
    /// Returns when the assignment is worked on, by working time from the start of the task.
    fn stretches(&self) -> Vec<(i32, i32)> {
        let stretch = |from: Span, length: Span| (self.delay.plus(from).0, self.delay.plus(from).plus(length).0);
        let parts = self.parts.iter().map(|part| stretch(part.offset, part.length));
        let mut stretches: Vec<_> =
            if self.parts.is_empty() { vec![stretch(Span::ZERO, self.length)] } else { parts.collect() };
        stretches.retain(|(from, to)| from < to);
        stretches
    }
}

/// Adds the assignments and segments of all tasks to the plan.
pub(crate) fn add_assignments(file: &File, converted: &mut Converted, indexes: &Indexes) {
    let mut by_task: HashMap<u32, Vec<(usize, &FileAssignment)>> = HashMap::new();
    for row in file.assignments.iter().enumerate() {
        if let Some(&task) = indexes.tasks.get(&row.1.task) {
            by_task.entry(task).or_default().push(row);
        }
    }
    let mut calendars = Calendars::default();
    for task in 0..converted.plan.tasks.len() {
        let Some(sources) = by_task.get(&position(task)) else { continue };
        if file.tasks[converted.rows[task]].duration == Some(Span::ZERO) {
            // A milestone takes no time, whatever work people have on it.
            continue;
        }
        let entry = converted.plan.tasks[task];
        let mut candidates: Vec<Candidate<'_>> = sources
            .iter()
            .filter_map(|source| candidate(&converted.plan, &entry, task, *source, indexes, &mut calendars))
            .collect();
        fit_to_duration(&entry, &mut candidates);
        add_candidates(converted, task, candidates);
    }
}

fn candidate<'file>(
    plan: &Plan,
    task: &Task,
    index: usize,
    (row, source): (usize, &'file FileAssignment),
    indexes: &Indexes,
    calendars: &mut Calendars,
) -> Option<Candidate<'file>> {
    let resource = indexes.resources.get(&source.resource).copied().filter(|_| source.resource > 0);
    let known = resource.and_then(|resource| plan.resources.get(resource as usize));
    if known.is_some_and(|resource| resource.kind != ResourceKind::Work) {
        return None;
    }
    let calendar = known.and_then(|resource| resource.calendar);
    let time = if task.task_type == TaskType::FixedDuration {
        calendars.of(plan, task, None)
    } else {
        calendars.of(plan, task, calendar)
    };
    let parts = if task.elapsed { Vec::new() } else { parts(source, &time, index) };
    let work = source.work.unwrap_or_default().minus(source.overtime_work.unwrap_or_default());
    let units = i64::from(source.units.unwrap_or(Units::WHOLE.0));
    let last = parts.last().map(|part| part.offset.plus(part.length));
    let length = last.unwrap_or_else(|| work.scale(10_000, units));
    let delay = source.delay.unwrap_or_default().plus(source.leveling_delay.unwrap_or_default());
    Some(Candidate { row, source, resource, time, parts, length, delay: Span(delay.0.max(0)) })
}

/// Returns the stretches of work of an assignment that is split or contoured, otherwise none.
fn parts(source: &FileAssignment, time: &WorkingTime, task: usize) -> Vec<Segment> {
    let mut rows: Vec<_> = source.timephased.iter().filter(|row| row.work > Span::ZERO).collect();
    rows.sort_by_key(|row| row.start);
    let Some(first) = rows.first().map(|row| row.start) else { return Vec::new() };
    let mut parts: Vec<(Moment, Moment)> = Vec::new();
    for row in rows {
        match parts.last_mut() {
            Some(last) if time.between(last.1, row.start) < SHORTEST_GAP => last.1 = last.1.max(row.finish),
            _ => parts.push((row.start, row.finish)),
        }
    }
    if parts.len() < 2 && source.contour == 0 {
        return Vec::new();
    }
    let segment = |(start, finish): (Moment, Moment)| Segment {
        task: position(task),
        assignment: None,
        offset: time.between(first, start),
        length: time.between(start, finish),
    };
    parts.into_iter().map(segment).collect()
}

/// Makes the assignments of a task take as long as the task, if all people work at the same times.
///
/// The duration is the time that all assignments cover together. A difference changes the length of
/// the assignments that end last.
fn fit_to_duration(task: &Task, candidates: &mut [Candidate<'_>]) {
    if candidates.is_empty() || candidates.iter().any(|candidate| !Rc::ptr_eq(&candidate.time, &candidates[0].time)) {
        return;
    }
    let mut stretches: Vec<(i32, i32)> = candidates.iter().flat_map(Candidate::stretches).collect();
    stretches.sort_unstable();
    let (mut covered, mut end) = (0, 0);
    for (from, to) in stretches {
        covered = to.saturating_sub(from.max(end)).max(0).saturating_add(covered);
        end = end.max(to);
    }
    let difference = task.duration.0.saturating_sub(covered);
    let new_end = end.saturating_add(difference);
    for candidate in candidates {
        let last = candidate.delay.plus(candidate.length).0 >= end.min(new_end);
        if last && candidate.length > Span::ZERO {
            let length = new_end.saturating_sub(candidate.delay.0);
            candidate.length = Span(length.max(0));
            if let Some(part) = candidate.parts.last_mut() {
                part.length = Span(candidate.length.minus(part.offset).0.max(0));
            }
        }
    }
}

fn add_candidates(converted: &mut Converted, task: usize, candidates: Vec<Candidate<'_>>) {
    let Converted { plan, assignment_rows, .. } = converted;
    let fixed = plan.tasks[task].task_type == TaskType::FixedDuration;
    for candidate in candidates {
        let Some(resource) = candidate.resource.filter(|_| !fixed) else {
            plan.segments.extend(candidate.parts.iter().filter(|_| candidate.parts.len() > 1));
            continue;
        };
        let assignment = position(plan.assignments.len());
        assignment_rows.push(candidate.row);
        plan.assignments.push(Assignment {
            task: position(task),
            resource,
            units: Units(candidate.source.units.unwrap_or(Units::WHOLE.0)),
            work: candidate.source.work.unwrap_or_default(),
            delay: candidate.delay,
            leveling_delay: Span::ZERO,
            duration: Some(candidate.length),
        });
        let parts = candidate.parts.iter().filter(|_| candidate.parts.len() > 1);
        plan.segments.extend(parts.map(|part| Segment { assignment: Some(assignment), ..*part }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pmo_planning::{Calendar, CalendarException, Day};

    /// Returns a plan with calendars that have an idle day each; the last two are the same.
    fn plan_with_calendars(count: i32) -> Plan {
        let calendar = |day: i32| {
            let day = Day(day.min(count - 2) * 7 + 2);
            Calendar { exceptions: vec![CalendarException::days(day, day, Vec::new())], ..Calendar::standard() }
        };
        Plan { calendars: (0..count).map(calendar).collect(), ..Plan::default() }
    }

    #[test]
    fn assignments_share_equal_working_times() {
        let plan = plan_with_calendars(4);
        let mut calendars = Calendars::new(100);
        let mut of = |task: Option<u16>, person: Option<u16>| {
            calendars.of_pair(&plan, (task.map(CalendarIndex), person.map(CalendarIndex)))
        };
        assert!(Rc::ptr_eq(&of(None, None), &of(None, None)));
        assert!(Rc::ptr_eq(&of(None, None), &of(None, Some(0))));
        assert!(Rc::ptr_eq(&of(Some(1), None), &of(None, Some(1))));
        assert!(Rc::ptr_eq(&of(Some(2), None), &of(None, Some(3))));
        assert!(Rc::ptr_eq(&of(Some(1), Some(2)), &of(Some(3), Some(1))));
        assert_eq!(of(Some(1), Some(2)).exception_days(), 2);
        assert_eq!(calendars.known.len(), 4);
    }

    #[test]
    fn all_working_times_have_one_budget() {
        let plan = plan_with_calendars(30);
        let mut calendars = Calendars::new(20);
        for task in 0..30 {
            for person in 0..30 {
                calendars.of_pair(&plan, (Some(CalendarIndex(task)), Some(CalendarIndex(person))));
            }
        }
        let days = calendars.known.iter().map(|time| time.exception_days()).sum::<usize>();
        assert!(days <= 40, "{days} days");
        assert!(calendars.budget == 0 && calendars.pair_budget <= 1);
    }
}
