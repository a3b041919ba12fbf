//! People of tasks: which assignments a task has and what working time each takes.
//!
//! The duration of a task is an input. If all people of a task work at the same times, the
//! assignment that ends last ends with the duration, whatever work and units say; so a new duration
//! holds without new work. With different calendars, work divided by units counts.

use crate::calendar_json::CalendarSet;
use crate::calendars::Calendars;
use crate::project_plan::ProjectPlan;
use crate::{AssignmentInput, TaskInput};
use pmo_planning::{Assignment, CalendarIndex, Resource, ResourceKind, Segment, Span, TaskType, Units};
use std::collections::HashMap;
use uuid::Uuid;

/// Maximum number of people of a task.
pub(crate) const MAX_PEOPLE: usize = 500;

/// Adds assignments of the tasks of a plan.
pub(crate) struct Assigner<'input> {
    by_task: HashMap<Uuid, Vec<&'input AssignmentInput>>,
    employees: &'input CalendarSet,
    /// Position of each person; people without a calendar share one resource.
    resources: HashMap<Option<CalendarIndex>, u32>,
}

impl<'input> Assigner<'input> {
    pub(crate) fn new(assignments: &[&'input AssignmentInput], employees: &'input CalendarSet) -> Self {
        let mut by_task: HashMap<Uuid, Vec<&AssignmentInput>> = HashMap::new();
        for assignment in assignments {
            by_task.entry(assignment.task_id).or_default().push(assignment);
        }
        for rows in by_task.values_mut() {
            rows.sort_by_key(|row| row.id);
        }
        Self { by_task, employees, resources: HashMap::new() }
    }

    /// Adds the assignments of a task.
    pub(crate) fn add(
        &mut self,
        project: &mut ProjectPlan,
        calendars: &mut Calendars,
        position: u32,
        task: &TaskInput,
        duration: Span,
    ) {
        let rows = self.by_task.get(&task.id).map_or(&[][..], Vec::as_slice);
        let stated: Vec<_> = rows.iter().filter(|row| is_on_task(row, task)).take(MAX_PEOPLE).copied().collect();
        if stated.is_empty() && task.assignee_ids.is_empty() {
            return;
        }
        let first = project.plan.assignments.len();
        for row in &stated {
            let calendar = self.calendar_of(row.employee_id, calendars);
            let resource = self.resource(project, calendar);
            let assignment = assignment_of(row, position, resource, duration);
            let index = u32::try_from(project.plan.assignments.len()).unwrap_or(u32::MAX);
            project.plan.assignments.push(assignment);
            if row.segments.len() > 1 {
                project.plan.segments.extend(row.segments.iter().map(|&(offset, length)| Segment {
                    task: position,
                    assignment: Some(index),
                    offset,
                    length,
                }));
            }
        }
        for &person in task.assignee_ids.iter().take(MAX_PEOPLE) {
            if stated.iter().any(|row| row.employee_id == Some(person)) {
                continue;
            }
            let calendar = self.calendar_of(Some(person), calendars);
            let resource = self.resource(project, calendar);
            project.plan.assignments.push(Assignment {
                task: position,
                resource,
                work: duration,
                duration: Some(duration),
                ..Assignment::default()
            });
        }
        if task.task_type != TaskType::FixedDuration {
            fit_to_duration(project, first, task, duration);
        }
    }

    fn calendar_of(&self, employee: Option<Uuid>, calendars: &mut Calendars) -> Option<CalendarIndex> {
        let calendar = self.employees.employees.get(&employee?)?;
        calendars.find(*calendar)
    }

    fn resource(&mut self, project: &mut ProjectPlan, calendar: Option<CalendarIndex>) -> u32 {
        *self.resources.entry(calendar).or_insert_with(|| {
            project.plan.resources.push(Resource { kind: ResourceKind::Work, calendar });
            u32::try_from(project.plan.resources.len() - 1).unwrap_or(u32::MAX)
        })
    }
}

/// Returns whether an assignment counts: its person is one of the task's, or it is a role.
fn is_on_task(row: &AssignmentInput, task: &TaskInput) -> bool {
    row.employee_id.is_none_or(|person| task.assignee_ids.iter().take(MAX_PEOPLE).any(|one| *one == person))
}

fn assignment_of(row: &AssignmentInput, task: u32, resource: u32, duration: Span) -> Assignment {
    let units = row.units;
    let by_work = row.work.filter(|_| units > Units(0)).map(|work| work.scale(10_000, i64::from(units.0)));
    let extent = row.segments.iter().map(|(offset, length)| offset.plus(*length)).max();
    let length = row.duration.or(extent).or(by_work).unwrap_or(duration);
    Assignment {
        task,
        resource,
        units,
        work: row.work.unwrap_or_else(|| duration.scale(i64::from(units.0), 10_000)),
        delay: row.delay,
        leveling_delay: row.leveling_delay,
        duration: Some(length),
    }
}

/// Makes what the assignments cover together the duration, if all people work at the same times.
///
/// A difference is put to the assignments that end last.
fn fit_to_duration(project: &mut ProjectPlan, first: usize, task: &TaskInput, duration: Span) {
    let resources = &project.plan.resources;
    let is_split = |part: &Segment| part.assignment.is_some_and(|one| one as usize >= first);
    if project.plan.segments.last().is_some_and(is_split) {
        return;
    }
    let Some(added) = project.plan.assignments.get_mut(first..) else { return };
    let calendar = |one: &Assignment| resources.get(one.resource as usize).and_then(|one| one.calendar);
    let own_calendar_only = task.ignores_resource_calendars && task.calendar_id.is_some();
    if !own_calendar_only && added.windows(2).any(|pair| calendar(&pair[0]) != calendar(&pair[1])) {
        return;
    }
    let delay = |one: &Assignment| one.delay.plus(one.leveling_delay);
    let end = |one: &Assignment| delay(one).plus(one.duration.unwrap_or_default());
    let (covered, last) = covered(added.iter().map(|one| (delay(one), end(one))).collect());
    let new_last = last.plus(duration.minus(covered));
    for assignment in added.iter_mut().filter(|one| end(one) >= last.min(new_last) && end(one) > delay(one)) {
        assignment.duration = Some(Span(new_last.minus(delay(assignment)).0.max(0)));
    }
}

/// Returns the time in which at least one of some stretches runs, and the end of the last.
///
/// Levelling and delays leave gaps between the assignments of a task; gaps are no part of its
/// duration.
fn covered(mut stretches: Vec<(Span, Span)>) -> (Span, Span) {
    stretches.sort_unstable();
    let (mut covered, mut end) = (Span::ZERO, Span::ZERO);
    for (from, to) in stretches.into_iter().filter(|(from, to)| from < to) {
        covered = covered.plus(Span(to.minus(from.max(end)).0.max(0)));
        end = end.max(to);
    }
    (covered, end)
}
