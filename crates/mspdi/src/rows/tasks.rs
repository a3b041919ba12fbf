//! Tasks of a file to rows.

use super::column::{day, finish_day, hours, id, minutes, moment, row, truncate};
use super::format;
use super::mapping::Mapping;
use super::project::{in_days, unit_sizes};
use crate::file::FileTask;
use crate::xml::{Error, invalid};
use pmo_planning::{CalendarIndex, Mode, Moment, Span, Task};
use pmo_project_plan::{ConstraintType, OptionName, Row};
use serde_json::{Value, json};
use std::collections::{HashMap, HashSet};

/// Checks that every task has its own UID.
pub(super) fn check_uids(mapping: &Mapping<'_, '_>) -> Result<(), Error> {
    let mut seen = HashSet::new();
    let rows = mapping.file.tasks.iter().filter(|task| !task.is_null);
    match rows.map(|task| task.uid).find(|uid| !seen.insert(*uid)) {
        None => Ok(()),
        Some(uid) => Err(invalid(format!("Task {uid}"), "Two tasks have the same UID.")),
    }
}

/// Adds the rows of the tasks, without their people.
pub(super) fn add_tasks(mapping: &mut Mapping<'_, '_>) {
    count_skipped(mapping);
    let mut numbering = Numbering::default();
    let mut segments: HashMap<u32, Vec<Value>> = HashMap::new();
    for part in mapping.converted.plan.segments.iter().filter(|part| part.assignment.is_none()) {
        segments.entry(part.task).or_default().push(json!([minutes(part.offset), minutes(part.length)]));
    }
    let parents = mapping.converted.plan.tasks.iter().filter_map(|task| task.parent);
    let summaries: HashSet<usize> = parents.map(|parent| parent as usize).collect();
    for position in 0..mapping.converted.rows.len() {
        let source = &mapping.file.tasks[mapping.converted.rows[position]];
        let task = mapping.converted.plan.tasks[position];
        let duration = duration(source, &task);
        let mut columns = identity(mapping, position, source, &task, &mut numbering);
        columns.extend(rules(mapping, source, &task, duration));
        columns.extend(progress(
            source,
            &task,
            if summaries.contains(&position) { Work::OfChildren } else { Work::Own },
            duration,
        ));
        let parts = u32::try_from(position).ok().and_then(|position| segments.remove(&position));
        columns.insert("segments".into(), Value::from(parts.unwrap_or_default()));
        mapping.rows.tasks.push(columns);
    }
}

fn count_skipped(mapping: &mut Mapping<'_, '_>) {
    let file = mapping.file;
    for task in &file.tasks {
        if task.is_null {
            mapping.skip("Task", "empty row of the plan");
        } else if !mapping.positions.contains_key(&task.uid) {
            mapping.skip("Task", "the project summary task becomes the project itself");
        } else if task.external || task.inserted_project {
            mapping.skip("ExternalTask", "the link to the other project; the task keeps its dates as a manual one");
        } else if task.recurring {
            mapping.skip("Recurring", "the rule; the occurrences are imported as tasks");
        }
    }
}

/// Whether a task has work of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Work {
    /// It is no summary.
    Own,
    /// It is a summary.
    OfChildren,
}

/// Numbers of siblings and outline numbers.
#[derive(Default)]
struct Numbering {
    siblings: HashMap<Option<u32>, u64>,
    outline: Vec<String>,
}

impl Numbering {
    /// Returns the number of the next task among its siblings, and its outline code.
    fn next(&mut self, parent: Option<u32>, wbs: Option<&str>) -> (u64, String) {
        let number = self.siblings.entry(parent).or_default();
        *number += 1;
        let above = parent.and_then(|parent| self.outline.get(parent as usize));
        let code = match (wbs, above) {
            (Some(wbs), _) => truncate(wbs, 200),
            (None, Some(above)) => truncate(&format!("{above}.{number}"), 200),
            (None, None) => number.to_string(),
        };
        self.outline.push(code.clone());
        (*number, code)
    }
}

/// Returns the rank of the n-th sibling, in the format of `app.fractional_index_after`.
///
/// Ranks are base 36 numbers of six digits, in steps of 36².
fn sibling_rank(number: u64) -> String {
    let mut number = number * 1_296;
    let mut digits = [b'0'; 6];
    for digit in digits.iter_mut().rev() {
        *digit = b"0123456789abcdefghijklmnopqrstuvwxyz"[(number % 36) as usize];
        number /= 36;
    }
    String::from_utf8_lossy(&digits).into_owned()
}

fn identity(
    mapping: &Mapping<'_, '_>,
    position: usize,
    source: &FileTask,
    task: &Task,
    numbering: &mut Numbering,
) -> Row {
    let (number, wbs) = numbering.next(task.parent, source.wbs.as_deref());
    let parent = task.parent.and_then(|parent| mapping.task_ids.get(parent as usize)).copied();
    row(json!({
        "id": mapping.task_ids[position], "project_id": mapping.context.project_id, "parent__task_id": id(parent),
        "name": truncate(source.name.as_deref().unwrap_or("Untitled task"), 500),
        "descr": source.notes.as_deref().map(|notes| truncate(notes, 100_000)),
        "wbs": wbs, "rank": sibling_rank(number), "milestone_flag": source.milestone,
        "metadata": {"mspdi_uid": source.uid}, "assignee__employee_ids": [],
    }))
}

/// Returns the duration, unless the file states neither it nor the dates that it follows from.
fn duration(source: &FileTask, task: &Task) -> Option<Span> {
    let of_manual = source.manual_duration.filter(|_| task.mode == Mode::Manual);
    let is_known = source.duration.or(of_manual).is_some() || source.milestone;
    Some(task.duration).filter(|_| is_known || source.start.is_some() && source.finish.is_some())
}

fn rules(mapping: &Mapping<'_, '_>, source: &FileTask, task: &Task, duration: Option<Span>) -> Row {
    let calendar = task.calendar.and_then(|CalendarIndex(index)| mapping.calendar_ids.get(&usize::from(index)));
    let unit = format::duration_unit(source.duration_format);
    let day = unit_sizes(mapping.file).day;
    let of_manual =
        |stated: Option<Moment>, date| stated.or(date).filter(|_| task.mode == Mode::Manual || source.manual);
    row(json!({
        "dl__schedule_mode": task.mode.name(),
        "dl__constraint_type": ConstraintType::of(task.constraint).name(),
        "constraint_ts": moment(task.constraint.date()),
        "deadline_ts": moment(source.deadline),
        "manual_start_ts": moment(of_manual(source.manual_start, source.start)),
        "manual_finish_ts": moment(of_manual(source.manual_finish, source.finish)),
        "calendar_id": id(calendar.copied()),
        "ignore_resource_calendars_flag": source.ignore_resource_calendar,
        "duration_minutes": duration.map_or(Value::Null, minutes),
        "duration_days": duration.filter(|_| !unit.is_elapsed()).map_or(Value::Null, |duration| in_days(duration, day)),
        "duration_unit": unit.code(),
        "estimated_flag": source.duration_format.is_some_and(format::is_estimated),
        "dl__effort_type": task.task_type.name(),
        "effort_driven_flag": source.effort_driven,
        "leveling_priority": task.priority,
        "leveling_delay_minutes": minutes(Span(task.leveling_delay.0.max(0))),
        "estimated_hours": source.work.map_or(Value::Null, hours),
    }))
}

/// Returns the progress; that of summaries is derived from the tasks in them.
fn progress(source: &FileTask, task: &Task, work: Work, duration: Option<Span>) -> Row {
    let started = source.actual_start.is_some() && work == Work::Own;
    let percent = source.percent_complete.unwrap_or(0).clamp(0, 100);
    let physical = source.physical_percent_complete.filter(|percent| (1..=100).contains(percent));
    // A part that the percentage gives follows it after an edit.
    let by_percent = duration.unwrap_or_default().scale(percent, 100);
    let done = source.actual_duration.filter(|_| started).map(|done| Span(done.0.max(0)));
    let done = done.filter(|done| *done != by_percent);
    // Dates of a task without a part in the schedule stay as they are.
    let kept = |moment: Option<Moment>| moment.filter(|_| task.mode == Mode::Inactive);
    row(json!({
        "actual_start_date": day(source.actual_start.map(Moment::day)),
        "actual_start_ts": moment(source.actual_start),
        "actual_end_date": day(source.actual_finish.map(finish_day)),
        "actual_end_ts": moment(source.actual_finish),
        "actual_duration_minutes": done.map_or(Value::Null, minutes),
        "completion_pct": percent,
        "physical_pct": physical,
        "actual_hours": source.actual_work.map_or(Value::Null, hours),
        "stop_ts": moment(source.stop.filter(|_| started)),
        "resume_ts": moment(task.resume.get().filter(|_| started)),
        "start_ts": moment(kept(source.start)), "start_date": day(kept(source.start).map(Moment::day)),
        "finish_ts": moment(kept(source.finish)), "due_date": day(kept(source.finish).map(finish_day)),
    }))
}
