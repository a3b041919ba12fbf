//! Converts the contents of a file to a plan.
//!
//! Only inputs are taken over. Start and finish count for manual tasks, and for tasks whose dates
//! come from another project.

use crate::converted::{Converted, Indexes, position};
use crate::file::{File, FileLink, FileTask};
use crate::runs;
use pmo_planning::{
    Calendar, CalendarIndex, Constraint, Direction, Lag, Link, LinkKind, Mode, Moment, Plan, Resource, ResourceKind,
    Settings, Span, Task, TaskId, TaskType, WorkingTime,
};
use std::collections::{BTreeMap, HashMap};

/// Converts a file to a plan, without empty rows and the row of the project itself.
pub fn to_plan(file: &File) -> Converted {
    let mut converted = Converted::default();
    let mut indexes = Indexes { calendars: HashMap::new(), tasks: HashMap::new(), resources: HashMap::new() };
    add_calendars(file, &mut converted.plan, &mut indexes);
    converted.plan.settings = settings(file, &indexes);
    add_tasks(file, &mut converted, &mut indexes);
    derive_durations(file, &mut converted);
    add_links(file, &mut converted, &indexes);
    for resource in &file.resources {
        let position = position(converted.plan.resources.len());
        indexes.resources.entry(resource.uid).or_insert(position);
        converted.plan.resources.push(Resource {
            kind: match resource.kind {
                0 => ResourceKind::Material,
                2 => ResourceKind::Cost,
                _ => ResourceKind::Work,
            },
            calendar: resource.calendar.and_then(|uid| indexes.calendars.get(&uid)).copied(),
        });
    }
    runs::add_assignments(file, &mut converted, &indexes);
    converted
}

/// Adds the calendars; a file without any gets the calendar Standard.
fn add_calendars(file: &File, plan: &mut Plan, indexes: &mut Indexes) {
    for calendar in file.calendars.iter().take(usize::from(u16::MAX)) {
        let index = CalendarIndex(u16::try_from(plan.calendars.len()).unwrap_or(u16::MAX));
        indexes.calendars.entry(calendar.uid).or_insert(index);
        plan.calendars.push(calendar.definition.clone());
    }
    let project = file.project.calendar.and_then(|uid| indexes.calendars.get(&uid)).copied();
    for (index, calendar) in file.calendars.iter().take(plan.calendars.len()).enumerate() {
        let own = CalendarIndex(u16::try_from(index).unwrap_or(u16::MAX));
        let stated = calendar.base.and_then(|uid| indexes.calendars.get(&uid)).copied();
        // A derived calendar whose base is missing takes over from the calendar of the project.
        let base = if calendar.is_base { None } else { stated.or(project) };
        plan.calendars[index].base = base.filter(|base| *base != own);
    }
    if plan.calendars.is_empty() {
        plan.calendars.push(Calendar::standard());
    }
}

/// Returns the settings of the plan.
///
/// `HonorConstraints` is ignored: Microsoft Project writes 0 whatever the setting is.
fn settings(file: &File, indexes: &Indexes) -> Settings {
    let project = &file.project;
    let from_start = project.schedule_from_start.unwrap_or(true);
    let minutes_per_day = project.minutes_per_day.filter(|minutes| *minutes > 0).unwrap_or(480);
    let limit = project.critical_slack_limit.unwrap_or(0);
    Settings {
        start: project.start.unwrap_or(Moment::NONE),
        finish: project.finish.unwrap_or(Moment::NONE),
        direction: if from_start { Direction::FromStart } else { Direction::FromFinish },
        calendar: project.calendar.and_then(|uid| indexes.calendars.get(&uid)).copied().unwrap_or(CalendarIndex(0)),
        status_date: project.status_date.unwrap_or(Moment::NONE),
        critical_slack_limit: Span::clamped(limit.saturating_mul(minutes_per_day).saturating_mul(10)),
        multiple_critical_paths: project.multiple_critical_paths.unwrap_or(false),
        split_in_progress: project.splits_in_progress.unwrap_or(true),
        ..Settings::default()
    }
}

fn add_tasks(file: &File, converted: &mut Converted, indexes: &mut Indexes) {
    // Summaries above the current row, with their levels.
    let mut above: Vec<(i64, u32)> = Vec::new();
    for (row, task) in file.tasks.iter().enumerate() {
        if task.is_null || task.id == Some(0) || (task.uid == 0 && task.outline_level < 1) {
            continue;
        }
        let index = position(converted.uids.len());
        if indexes.tasks.contains_key(&task.uid) {
            continue;
        }
        while above.last().is_some_and(|(level, _)| *level >= task.outline_level) {
            above.pop();
        }
        // A copy of a task in another project adds nothing to the summary above it.
        let parent = if task.external { None } else { above.last().map(|(_, parent)| *parent) };
        indexes.tasks.insert(task.uid, index);
        converted.uids.push(task.uid);
        converted.rows.push(row);
        converted.plan.tasks.push(convert_task(task, index, parent, indexes));
        if !task.external {
            above.push((task.outline_level, index));
        }
    }
}

fn convert_task(task: &FileTask, index: u32, parent: Option<u32>, indexes: &Indexes) -> Task {
    let given = task.external || task.inserted_project;
    let mode = match (task.active, task.manual || (given && task.start.is_some())) {
        (false, _) => Mode::Inactive,
        (true, true) => Mode::Manual,
        (true, false) => Mode::Automatic,
    };
    let moment = |moment: Option<Moment>| moment.unwrap_or(Moment::NONE);
    let (manual_start, manual_finish) = if mode == Mode::Manual {
        (task.manual_start.or(task.start), task.manual_finish.or(task.finish))
    } else {
        (None, None)
    };
    let elapsed = task.duration_format.is_some_and(is_elapsed);
    let stated = if mode == Mode::Manual { task.manual_duration.or(task.duration) } else { task.duration };
    let duration = stated.unwrap_or_default();
    let moved = task.resume.zip(task.stop).filter(|(resume, stop)| resume > stop).map(|(resume, _)| resume);
    Task {
        id: TaskId(index),
        parent,
        mode,
        manual_start: moment(manual_start),
        manual_finish: moment(manual_finish),
        duration: Span(duration.0.max(0)),
        elapsed,
        task_type: match task.task_type {
            Some(1) => TaskType::FixedDuration,
            Some(2) => TaskType::FixedWork,
            _ => TaskType::FixedUnits,
        },
        effort_driven: task.effort_driven,
        calendar: task.calendar.and_then(|uid| indexes.calendars.get(&uid)).copied(),
        ignore_resource_calendars: task.ignore_resource_calendar,
        constraint: constraint(task),
        deadline: moment(task.deadline),
        priority: u16::try_from(task.priority.unwrap_or(500).clamp(0, 1_000)).unwrap_or(500),
        leveling_delay: task.leveling_delay.unwrap_or_default(),
        actual_start: moment(task.actual_start),
        actual_finish: moment(task.actual_finish),
        actual_duration: task.actual_duration.unwrap_or_else(|| derived_actual_duration(task, duration)),
        stop: moment(task.stop.filter(|_| task.actual_start.is_some())),
        resume: moment(moved.filter(|_| task.actual_start.is_some())),
    }
}

/// Derives durations that a file does not state from the dates that it states.
fn derive_durations(file: &File, converted: &mut Converted) {
    let mut times: BTreeMap<CalendarIndex, WorkingTime> = BTreeMap::new();
    let Converted { plan, rows, .. } = converted;
    for (task, row) in plan.tasks.iter_mut().zip(rows.iter()) {
        let source = &file.tasks[*row];
        let stated = source.duration.is_some() || (task.mode == Mode::Manual && source.manual_duration.is_some());
        let Some((start, finish)) = source.start.zip(source.finish).filter(|_| !stated && !source.milestone) else {
            continue;
        };
        let calendar = task.calendar.unwrap_or(plan.settings.calendar);
        let time = times.entry(calendar).or_insert_with(|| WorkingTime::of_calendar(&plan.calendars, calendar));
        task.duration = if task.elapsed { finish.since(start) } else { time.between(start, finish) };
        task.duration = Span(task.duration.0.max(0));
        if source.actual_duration.is_none() {
            task.actual_duration = derived_actual_duration(source, task.duration);
        }
    }
}

/// Returns the part of the duration that is done, by what is left or by the percentage.
fn derived_actual_duration(task: &FileTask, duration: Span) -> Span {
    if let Some(left) = task.remaining_duration {
        return duration.minus(left);
    }
    let percent = task.percent_complete.unwrap_or(0).clamp(0, 100);
    if task.actual_finish.is_some() { duration } else { duration.scale(percent, 100) }
}

/// Returns true for the units of elapsed time; units of estimated durations are 32 higher.
fn is_elapsed(format: i64) -> bool {
    let format = if format >= 35 { format - 32 } else { format };
    matches!(format, 4 | 6 | 8 | 10 | 12 | 20)
}

fn constraint(task: &FileTask) -> Constraint {
    let dated = |make: fn(Moment) -> Constraint| task.constraint_date.map(make);
    match task.constraint_type {
        Some(1) => Some(Constraint::AsLateAsPossible),
        Some(2) => dated(Constraint::MustStartOn),
        Some(3) => dated(Constraint::MustFinishOn),
        Some(4) => dated(Constraint::StartNoEarlierThan),
        Some(5) => dated(Constraint::StartNoLaterThan),
        Some(6) => dated(Constraint::FinishNoEarlierThan),
        Some(7) => dated(Constraint::FinishNoLaterThan),
        _ => None,
    }
    .unwrap_or_default()
}

fn add_links(file: &File, converted: &mut Converted, indexes: &Indexes) {
    for (successor, row) in converted.rows.iter().enumerate() {
        for link in &file.tasks[*row].links {
            let Some(&predecessor) = indexes.tasks.get(&link.predecessor) else { continue };
            // The UID of a predecessor in another project counts only where the file has a copy of
            // it.
            if link.cross_project && !file.tasks[converted.rows[predecessor as usize]].external {
                continue;
            }
            let kind = match link.kind {
                0 => LinkKind::FinishToFinish,
                2 => LinkKind::StartToFinish,
                3 => LinkKind::StartToStart,
                _ => LinkKind::FinishToStart,
            };
            let entry = Link { predecessor, successor: position(successor), kind, lag: lag(link) };
            converted.plan.links.push(entry);
        }
    }
}

/// Returns the lag: tenths of a minute, or a whole percentage if the unit is one.
fn lag(link: &FileLink) -> Lag {
    let percent = i16::try_from(link.lag.clamp(-10_000, 10_000)).unwrap_or(0);
    match link.lag_format {
        19 | 51 => Lag::Percent(percent),
        20 | 52 => Lag::ElapsedPercent(percent),
        format if is_elapsed(format) => Lag::Elapsed(Span::clamped(link.lag)),
        _ => Lag::Working(Span::clamped(link.lag)),
    }
}
