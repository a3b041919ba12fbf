//! Calendars and their exceptions.
//!
//! Base calendars become rows, and those of people that state hours of their own. The calendar
//! Standard, if only the project uses it, needs none: a project without a calendar has it.

use super::column::{day, id, row, truncate};
use super::mapping::Mapping;
use crate::file::FileCalendar;
use pmo_planning::{Calendar, CalendarIndex, DayHours};
use pmo_project_plan::{CalendarDefinition, hours_to_json, recurrence_to_json};
use serde_json::json;
use std::collections::{BTreeSet, HashMap};

/// Adds the rows of calendars, and the calendars of people.
pub(super) fn add_calendars(mapping: &mut Mapping<'_, '_>) {
    let people = calendars_of_people(mapping);
    let mut kept = kept_calendars(mapping, people.iter().map(|(_, calendar)| *calendar));
    omit_standard(mapping, &people, &mut kept);
    for &index in &kept {
        let id = mapping.new_id();
        mapping.calendar_ids.insert(index, id);
    }
    let mut added = BTreeSet::new();
    for &index in &kept {
        add_with_bases(mapping, index, &mut added);
    }
    for (employee, calendar) in people {
        if let Some(&id) = mapping.calendar_ids.get(&calendar) {
            mapping.rows.employee_calendars.entry(employee).or_insert(id);
        }
    }
    let lost = (0..mapping.file.calendars.len())
        .filter(|index| !kept.contains(index) && !mapping.file.calendars[*index].is_base)
        .filter(|index| states_hours(&mapping.file.calendars[*index]) && !is_of_person(mapping, *index))
        .count();
    mapping.skip_many("Calendar", "it belongs to a resource that is no known employee", lost);
}

fn is_of_person(mapping: &Mapping<'_, '_>, index: usize) -> bool {
    let uid = mapping.file.calendars[index].uid;
    let is_user = |uid_of: Option<i64>| uid_of == Some(uid);
    mapping.file.resources.iter().any(|one| is_user(one.calendar) && mapping.context.people.contains_key(&one.uid))
}

/// Returns whether a calendar states anything that its base does not.
fn states_hours(calendar: &FileCalendar) -> bool {
    let definition = &calendar.definition;
    definition.week.iter().any(|hours| *hours != DayHours::Inherited)
        || !definition.exceptions.is_empty()
        || !definition.work_weeks.is_empty()
}

fn position_of(mapping: &Mapping<'_, '_>, uid: i64) -> Option<usize> {
    mapping.file.calendars.iter().position(|calendar| calendar.uid == uid)
}

fn base_of(mapping: &Mapping<'_, '_>, index: usize) -> Option<usize> {
    mapping.converted.plan.calendars.get(index)?.base.map(|CalendarIndex(base)| usize::from(base))
}

/// Returns the people on the plan whose calendar matters, with its position.
///
/// The calendar of the project matters only for people on tasks that have a calendar: such a task
/// runs when both calendars have working time.
fn calendars_of_people(mapping: &Mapping<'_, '_>) -> Vec<(uuid::Uuid, usize)> {
    let plan = &mapping.converted.plan;
    let project = usize::from(plan.settings.calendar.0);
    let mut has_task_calendar: HashMap<i64, bool> = HashMap::new();
    for assignment in &mapping.file.assignments {
        let task = mapping.positions.get(&assignment.task).and_then(|position| plan.tasks.get(*position));
        let is_paired = task.is_some_and(|task| task.calendar.is_some() && !task.ignore_resource_calendars);
        *has_task_calendar.entry(assignment.resource).or_default() |= is_paired;
    }
    let mut people = Vec::new();
    for resource in &mapping.file.resources {
        let Some(&employee) = mapping.context.people.get(&resource.uid) else { continue };
        let Some(&is_paired) = has_task_calendar.get(&resource.uid) else { continue };
        let Some(mut calendar) = resource.calendar.and_then(|uid| position_of(mapping, uid)) else { continue };
        // A calendar that states nothing is its base; the limit ends a circle of bases.
        for _ in 0..mapping.file.calendars.len() {
            match base_of(mapping, calendar) {
                Some(base) if !states_hours(&mapping.file.calendars[calendar]) => calendar = base,
                _ => break,
            }
        }
        if calendar != project || is_paired {
            people.push((employee, calendar));
        }
    }
    people
}

/// Returns the positions of the calendars that get a row: base calendars, used ones, and the bases
/// of those.
fn kept_calendars(mapping: &Mapping<'_, '_>, people: impl Iterator<Item = usize>) -> BTreeSet<usize> {
    let calendars = &mapping.file.calendars;
    let plan = &mapping.converted.plan;
    let of_tasks = plan.tasks.iter().filter_map(|task| task.calendar).map(|CalendarIndex(index)| usize::from(index));
    let project = usize::from(plan.settings.calendar.0);
    let used = of_tasks.chain(people).chain([project]);
    let base = (0..calendars.len()).filter(|index| calendars[*index].is_base);
    let mut kept = BTreeSet::new();
    let mut open: Vec<usize> = used.chain(base).filter(|index| *index < calendars.len()).collect();
    while let Some(index) = open.pop() {
        if kept.insert(index) {
            open.extend(base_of(mapping, index));
        }
    }
    kept
}

/// Leaves out the calendar of the project if it is Standard and nothing else uses it.
fn omit_standard(mapping: &Mapping<'_, '_>, people: &[(uuid::Uuid, usize)], kept: &mut BTreeSet<usize>) {
    let plan = &mapping.converted.plan;
    let CalendarIndex(project) = plan.settings.calendar;
    let index = usize::from(project);
    let Some(calendar) = mapping.file.calendars.get(index) else { return };
    let is_standard = calendar.definition == Calendar::standard() && calendar.name.as_deref() == Some("Standard");
    let is_used = people.iter().any(|(_, calendar)| *calendar == index)
        || plan.tasks.iter().any(|task| task.calendar == Some(CalendarIndex(project)))
        || kept.iter().any(|other| base_of(mapping, *other) == Some(index));
    if is_standard && !is_used {
        kept.remove(&index);
    }
}

/// Adds a calendar after its base, and that after its own.
fn add_with_bases(mapping: &mut Mapping<'_, '_>, index: usize, added: &mut BTreeSet<usize>) {
    let mut chain = vec![index];
    while let Some(base) = chain.last().and_then(|last| base_of(mapping, *last)) {
        if added.contains(&base) || chain.contains(&base) {
            break;
        }
        chain.push(base);
    }
    while let Some(index) = chain.pop() {
        if !added.contains(&index) {
            let base = base_of(mapping, index).filter(|base| added.contains(base));
            add_calendar(mapping, index, base);
            added.insert(index);
        }
    }
}

fn add_calendar(mapping: &mut Mapping<'_, '_>, index: usize, base: Option<usize>) {
    let file = mapping.file;
    let calendar = &file.calendars[index];
    let Some(&own_id) = mapping.calendar_ids.get(&index) else { return };
    let base = base.and_then(|base| mapping.calendar_ids.get(&base)).copied();
    let mut times = calendar.definition.clone();
    if base.is_none() {
        // Without a base, a day that states nothing has no work.
        for hours in times.week.iter_mut().filter(|hours| **hours == DayHours::Inherited) {
            *hours = DayHours::Ranges(Vec::new());
        }
    }
    let definition = CalendarDefinition { times, ..CalendarDefinition::default() };
    let name = calendar.name.clone().unwrap_or_else(|| format!("Calendar {}", calendar.uid));
    mapping.rows.calendars.push(row(json!({
        "id": own_id, "name": truncate(&name, 500), "project_id": mapping.context.project_id,
        "base__calendar_id": id(base), "week": definition.week_json(), "work_weeks": definition.work_weeks_json(),
    })));
    for (place, exception) in calendar.definition.exceptions.iter().enumerate() {
        if exception.to < exception.from {
            mapping.skip("Exception", "it ends before it begins");
            continue;
        }
        let name = calendar.exception_names.get(place).and_then(Option::as_deref).unwrap_or("Exception");
        let exception_id = mapping.new_id();
        mapping.rows.exceptions.push(row(json!({
            "id": exception_id, "name": truncate(name, 500), "calendar_id": own_id,
            "start_date": day(Some(exception.from)), "end_date": day(Some(exception.to)),
            "working_times": hours_to_json(&exception.hours), "recurrence": recurrence_to_json(exception),
        })));
    }
}
