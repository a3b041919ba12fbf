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
use std::collections::HashMap;
use std::rc::Rc;

/// Shortest time without work that counts as a split; shorter ones come from rounding to seconds.
const SHORTEST_GAP: Span = Span(10);

/// Working times by calendar of the task and of the person.
#[derive(Default)]
pub(crate) struct Calendars {
    by_pair: HashMap<(Option<CalendarIndex>, Option<CalendarIndex>), Rc<WorkingTime>>,
}

impl Calendars {
    /// Returns the time in which an assignment works.
    pub(crate) fn of(&mut self, plan: &Plan, task: &Task, person: Option<CalendarIndex>) -> Rc<WorkingTime> {
        let person = if task.ignore_resource_calendars && task.calendar.is_some() { None } else { person };
        let key = (task.calendar, person);
        let time = self.by_pair.entry(key).or_insert_with(|| {
            let of = |calendar| WorkingTime::of_calendar(&plan.calendars, calendar);
            Rc::new(match key {
                (None, None) => of(plan.settings.calendar),
                (Some(calendar), None) | (None, Some(calendar)) => of(calendar),
                (Some(task), Some(person)) => of(task).intersect(&of(person)).unwrap_or_else(|| of(task)),
            })
        });
        Rc::clone(time)
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
    if candidates.is_empty() || candidates.iter().any(|candidate| candidate.time != candidates[0].time) {
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
