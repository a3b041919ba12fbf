//! Rows of assignments to resources and assignments of a file.
//!
//! Splits have no field of their own: they are the gaps between amounts of work by time.

use super::from_calendars::add_calendar_of_person;
use super::source::{Exported, Source};
use crate::file::{FileAssignment, FileResource, TimephasedRow};
use crate::runs::Calendars;
use pmo_planning::{CalendarIndex, Moment, Span, TaskType, Units, WorkingTime};
use pmo_project_plan::AssignmentInput;
use std::collections::{BTreeMap, HashMap};
use uuid::Uuid;

/// UID of the resource of assignments that have no person.
const NOBODY: i64 = -65_535;
/// Contour of work that is not spread evenly.
const EDITED: i64 = 8;

/// Person or role, in the order in which a file lists them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Resource {
    Employee { name: String, id: Uuid },
    Role(String),
}

/// One assignment of a task.
struct Work<'a> {
    resource: Resource,
    row: Option<&'a AssignmentInput>,
}

/// Adds the resources and the assignments.
pub(super) fn add_assignments(exported: &mut Exported, source: &mut Source<'_>) {
    let mut uids = std::mem::take(&mut source.calendars);
    let source = &*source;
    let roles = roles(source);
    let by_task = work_by_task(source, &roles);
    let mut resources: BTreeMap<Resource, i64> = BTreeMap::new();
    for work in by_task.iter().flatten() {
        resources.entry(work.resource.clone()).or_insert(0);
    }
    for (number, (resource, uid)) in (1_i64..).zip(&mut resources) {
        *uid = number;
        let (name, email, own) = match resource {
            Resource::Role(name) => (name.clone(), None, None),
            Resource::Employee { name, id } => {
                let own = source.input.calendars.employees.get(id).and_then(|calendar| uids.get(*calendar));
                (name.clone(), source.people.get(id).and_then(|person| person.email.clone()), own)
            }
        };
        let calendar = own.map(|own| add_calendar_of_person(&mut exported.file, &mut uids, &name, own));
        exported.file.resources.push(FileResource {
            uid: number,
            name: Some(name),
            email,
            kind: 1,
            calendar,
            max_units: Some(Units::WHOLE.0),
        });
    }
    let mut times = Calendars::default();
    for (position, works) in by_task.iter().enumerate() {
        add_of_task(exported, source, &mut times, position, works, &resources);
    }
}

/// Returns the role of each assignment without a person, by id.
fn roles<'a>(source: &Source<'a>) -> HashMap<Uuid, &'a str> {
    let role = |row: &'a pmo_project_plan::Row| {
        let role = super::column::text_of(row, "placeholder_role");
        Some((super::column::id_of(row, "id")?, role)).filter(|(_, role)| !role.is_empty())
    };
    source.rows.assignments.iter().filter_map(role).collect()
}

/// Returns the work on each task, by position: rows in the order of their ids, then people without
/// a row.
fn work_by_task<'a>(source: &'a Source<'_>, roles: &HashMap<Uuid, &str>) -> Vec<Vec<Work<'a>>> {
    let mut by_task: Vec<Vec<Work<'a>>> = Vec::new();
    by_task.resize_with(source.task_rows.len(), Vec::new);
    let mut rows: Vec<&AssignmentInput> = source.input.assignments.iter().filter(|row| row.is_active).collect();
    rows.sort_by_key(|row| row.id);
    let employee = |id: Uuid| Some(Resource::Employee { name: source.people.get(&id)?.name.clone(), id });
    let task_of = |position: usize| &source.input.tasks[source.task_inputs[position]];
    for row in rows {
        let Some(position) = source.built.position(row.task_id).map(|position| position as usize) else { continue };
        let resource = match row.employee_id {
            Some(id) if task_of(position).assignee_ids.contains(&id) => employee(id),
            Some(_) => None,
            None => roles.get(&row.id).map(|role| Resource::Role((*role).to_owned())),
        };
        if let Some(resource) = resource {
            by_task[position].push(Work { resource, row: Some(row) });
        }
    }
    for (position, works) in by_task.iter_mut().enumerate() {
        for &id in &task_of(position).assignee_ids {
            let is_listed = |work: &Work<'_>| work.row.is_some_and(|row| row.employee_id == Some(id));
            if !works.iter().any(is_listed)
                && let Some(resource) = employee(id)
            {
                works.push(Work { resource, row: None });
            }
        }
    }
    by_task
}

fn add_of_task(
    exported: &mut Exported,
    source: &Source<'_>,
    times: &mut Calendars,
    position: usize,
    works: &[Work<'_>],
    resources: &BTreeMap<Resource, i64>,
) {
    let task = &source.input.tasks[source.task_inputs[position]];
    let planned = &source.built.plan.tasks[position];
    let (start, finish) = source.dates(position);
    let fixed = planned.task_type == TaskType::FixedDuration;
    // Parts of the task itself are stated by an assignment that takes no time of its own.
    let mut parts = Some(&task.segments).filter(|parts| parts.len() > 1 && start.is_some() && !planned.elapsed);
    for work in works {
        let calendar = match &work.resource {
            Resource::Employee { id, .. } => calendar_of(source, *id),
            Resource::Role(_) => None,
        };
        let time = times.of(&source.built.plan, planned, calendar.filter(|_| !fixed));
        let mut assignment = assignment(planned.duration, work);
        assignment.uid = next_uid(exported);
        assignment.task = source.uids[position];
        assignment.resource = resources.get(&work.resource).copied().unwrap_or(NOBODY);
        let delay = assignment.delay.unwrap_or_default().plus(assignment.leveling_delay.unwrap_or_default());
        let begin = start.get().map_or(Moment::NONE, |start| time.start_form(time.add(start, delay)));
        let own = parts_of(work.row, planned.elapsed).filter(|_| begin.is_some());
        let own = if fixed { parts.take().map(|parts| parts.as_slice()) } else { own.as_deref() };
        if let Some(parts) = own {
            assignment.contour = EDITED;
            assignment.timephased = timephased(&time, begin, parts, assignment.units);
        }
        exported.file.assignments.push(assignment);
        exported.computed.assignments.push((begin, finish));
    }
    if let Some(parts) = parts {
        let time = times.of(&source.built.plan, planned, None);
        let timephased = timephased(&time, start, parts, None);
        let work = Some(planned.duration);
        let uid = next_uid(exported);
        exported.file.assignments.push(FileAssignment {
            uid,
            task: source.uids[position],
            resource: NOBODY,
            units: Some(Units::WHOLE.0),
            work,
            contour: EDITED,
            timephased,
            ..FileAssignment::default()
        });
        exported.computed.assignments.push((start, finish));
    }
}

fn next_uid(exported: &Exported) -> i64 {
    i64::try_from(exported.file.assignments.len()).unwrap_or(i64::MAX - 1) + 1
}

fn calendar_of(source: &Source<'_>, employee: Uuid) -> Option<CalendarIndex> {
    let calendar = source.input.calendars.employees.get(&employee)?;
    let index = source.built.calendar_ids.iter().position(|id| *id == Some(*calendar))?;
    u16::try_from(index).ok().map(CalendarIndex)
}

/// Returns the parts of an assignment whose work is not spread evenly.
fn parts_of(row: Option<&AssignmentInput>, elapsed: bool) -> Option<Vec<(Span, Span)>> {
    let row = row.filter(|_| !elapsed)?;
    if row.segments.len() > 1 {
        return Some(row.segments.clone());
    }
    row.duration.map(|duration| vec![(Span::ZERO, duration)])
}

fn assignment(duration: Span, work: &Work<'_>) -> FileAssignment {
    let row = work.row;
    let units = row.map_or(Units::WHOLE, |row| row.units);
    let amount = row.and_then(|row| row.work).unwrap_or_else(|| duration.scale(i64::from(units.0), 10_000));
    let done = row.and_then(|row| row.actual_work);
    FileAssignment {
        units: Some(units.0),
        work: Some(amount),
        delay: Some(row.map_or(Span::ZERO, |row| row.delay)),
        leveling_delay: Some(row.map_or(Span::ZERO, |row| row.leveling_delay)),
        actual_work: done,
        remaining_work: row.and_then(|row| row.remaining_work).or(Some(amount.minus(done.unwrap_or_default()))),
        ..FileAssignment::default()
    }
}

/// Returns the amounts of work by time of parts that begin at a moment.
fn timephased(time: &WorkingTime, begin: Moment, parts: &[(Span, Span)], units: Option<u32>) -> Vec<TimephasedRow> {
    let units = i64::from(units.unwrap_or(Units::WHOLE.0));
    let row = |&(offset, length): &(Span, Span)| {
        let start = time.start_form(time.add(begin, offset));
        // Amounts of nothing are gaps.
        let work = Span(length.scale(units, 10_000).0.max(i32::from(length > Span::ZERO)));
        TimephasedRow { kind: 1, start, finish: time.add(start, length), work }
    };
    parts.iter().map(row).collect()
}
