//! Assignments of people, and of resources that are no known employees as roles.

use super::column::{decimal, hours, minutes, row, truncate};
use super::mapping::Mapping;
use crate::file::{FileAssignment, FileResource};
use crate::xml::{Error, invalid};
use pmo_planning::{Assignment, Span, Units};
use serde_json::{Value, json};
use std::collections::{HashMap, HashSet};
use uuid::Uuid;

/// Greatest share that a column contains, in hundredths of a percent.
const MAX_UNITS: u32 = 99_999_999;

/// Checks that every assignment names a task of the file.
pub(super) fn check_tasks(mapping: &Mapping<'_, '_>) -> Result<(), Error> {
    let known: HashSet<i64> = mapping.file.tasks.iter().map(|task| task.uid).collect();
    let stray = mapping.file.assignments.iter().map(|one| one.task).find(|task| *task != 0 && !known.contains(task));
    stray.map_or(Ok(()), |task| {
        let message = format!("An assignment refers to task {task}, which is not in the plan.");
        Err(invalid("Assignments", message))
    })
}

/// Adds the rows of assignments, and the people of the tasks.
pub(super) fn add_assignments(mapping: &mut Mapping<'_, '_>) {
    let file = mapping.file;
    let mut resources: HashMap<i64, &FileResource> = HashMap::new();
    for resource in &file.resources {
        resources.entry(resource.uid).or_insert(resource);
    }
    for resource in &file.resources {
        match (resource.kind, &resource.name) {
            (0 | 2, _) => mapping.skip("Resource", "material and cost resources are not people"),
            (_, None) => mapping.skip("Resource", "has no name"),
            _ => {}
        }
    }
    let lengths = lengths(mapping);
    let mut seen = HashSet::new();
    for (place, assignment) in file.assignments.iter().enumerate() {
        let Some(&position) = mapping.positions.get(&assignment.task) else {
            if assignment.task != 0 {
                mapping.skip("Assignment", "its task is an empty row");
            }
            continue;
        };
        let known = resources.get(&assignment.resource).filter(|_| assignment.resource > 0);
        let Some((resource, name)) = known.and_then(|one| Some((*one, one.name.as_deref()?))) else {
            // Microsoft Project stores the work of tasks without people as an assignment of nobody.
            if assignment.resource > 0 {
                mapping.skip("Assignment", "does not refer to a person of the plan");
            }
            continue;
        };
        if resource.kind != 1 {
            mapping.skip("Assignment", "material and cost resources are not people");
            continue;
        }
        let employee = mapping.context.people.get(&resource.uid).copied();
        if !seen.insert((position, employee.ok_or(name))) {
            mapping.skip("Assignment", "the same person has another assignment of the task");
            continue;
        }
        add_assignment(mapping, position, assignment, (employee, name), lengths.get(&place));
    }
}

/// Length and parts of each assignment that shapes dates, by position in the file.
fn lengths(mapping: &Mapping<'_, '_>) -> HashMap<usize, (Assignment, Vec<Value>)> {
    let converted = &mapping.converted;
    let mut parts: HashMap<usize, Vec<Value>> = HashMap::new();
    for part in &converted.plan.segments {
        let row = part.assignment.and_then(|index| converted.assignment_rows.get(index as usize));
        if let Some(&row) = row {
            parts.entry(row).or_default().push(json!([minutes(part.offset), minutes(part.length)]));
        }
    }
    // The work of a summary does not shape dates.
    let summaries: HashSet<u32> = converted.plan.tasks.iter().filter_map(|task| task.parent).collect();
    let rows = converted.plan.assignments.iter().zip(&converted.assignment_rows);
    let rows = rows.filter(|(assignment, _)| !summaries.contains(&assignment.task));
    rows.map(|(assignment, row)| (*row, (*assignment, parts.remove(row).unwrap_or_default()))).collect()
}

fn add_assignment(
    mapping: &mut Mapping<'_, '_>,
    position: usize,
    source: &FileAssignment,
    (employee, name): (Option<Uuid>, &str),
    length: Option<&(Assignment, Vec<Value>)>,
) {
    let units = Units(source.units.unwrap_or(Units::WHOLE.0).min(MAX_UNITS));
    let (delay, leveling_delay) = (source.delay.unwrap_or_default(), source.leveling_delay.unwrap_or_default());
    // A column contains no negative delay; together they count if they are positive.
    let negative = delay < Span::ZERO || leveling_delay < Span::ZERO;
    let (delay, leveling_delay) =
        if negative { (delay.plus(leveling_delay), Span::ZERO) } else { (delay, leveling_delay) };
    // Without a stated length, work divided by units counts.
    let by_work = source.work.filter(|_| units.0 > 0).map(|work| work.scale(10_000, i64::from(units.0)));
    // If the file states no work, the assignment takes as long as the task.
    let own = length.filter(|_| source.work.is_some()).and_then(|(assignment, _)| assignment.duration);
    let own = own.filter(|duration| Some(*duration) != by_work);
    let parts = length.map(|(_, parts)| parts.clone()).unwrap_or_default();
    let work = |work: Option<Span>| work.map_or(Value::Null, |work| hours(Span(work.0.max(0))));
    let done = source.actual_work.unwrap_or_default();
    let remaining = source.remaining_work.or(source.work.map(|work| work.minus(done)));
    let id = mapping.new_id();
    if let Some(employee) = employee
        && let Some(Value::Array(people)) =
            mapping.rows.tasks.get_mut(position).and_then(|task| task.get_mut("assignee__employee_ids"))
    {
        people.push(json!(employee));
    }
    // Not everyone who may view the task may view its people: the row has no name of a person.
    let title = if employee.is_some() { "Assignment" } else { name };
    mapping.rows.assignments.push(row(json!({
        "id": id, "name": truncate(title, 500), "task_id": mapping.task_ids[position], "employee_id": employee,
        "placeholder_role": if employee.is_none() { json!(truncate(name, 500)) } else { Value::Null },
        "units_pct": decimal(i64::from(units.0), 100), "work_hours": work(source.work),
        "actual_work_hours": work(source.actual_work), "remaining_work_hours": work(remaining),
        "delay_minutes": minutes(Span(delay.0.max(0))), "leveling_delay_minutes": minutes(leveling_delay),
        "duration_minutes": own.map_or(Value::Null, |own| minutes(Span(own.0.max(0)))), "segments": parts,
    })));
}
