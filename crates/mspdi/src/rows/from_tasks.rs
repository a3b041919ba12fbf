//! Rows of tasks to tasks of a file.

use super::column::{hours_of, text_of};
use super::format;
use super::source::{Exported, Source};
use crate::file::{FileBaseline, FileLink, FileTask};
use crate::write::ComputedTask;
use pmo_planning::{LinkKind, Mode, Moment, Span, TaskType};
use pmo_project_plan::baseline::Snapshot;
use pmo_project_plan::{ConstraintType, LagUnit, TaskInput};
use serde_json::Value;

/// Adds the tasks with their links and baselines.
pub(super) fn add_tasks(exported: &mut Exported, source: &Source<'_>) {
    let mut levels: Vec<i64> = Vec::new();
    let links = links(source);
    let baselines = baselines(source);
    for (position, links) in links.into_iter().enumerate() {
        let parent = source.built.plan.tasks[position].parent;
        let level = parent.and_then(|parent| levels.get(parent as usize)).map_or(1, |level| level + 1);
        levels.push(level);
        let mut task = task(source, position);
        task.outline_level = level;
        task.links = links;
        let id = source.built.task_ids[position];
        task.baselines = baselines.iter().filter_map(|(number, snapshot)| baseline(*number, snapshot, id)).collect();
        exported.file.tasks.push(task);
        exported.computed.tasks.push(computed(source, position));
    }
}

/// Returns a moment on a day: the stated one if it is on the day, or else that of the schedule.
fn actual(day: Option<pmo_planning::Day>, stated: Moment, scheduled: Moment, planned: Moment) -> Option<Moment> {
    day?;
    // The plan has resolved days without an hour to moments.
    planned.get().or_else(|| stated.get()).or_else(|| scheduled.get())
}

fn task(source: &Source<'_>, position: usize) -> FileTask {
    let input = &source.input.tasks[source.task_inputs[position]];
    let (row, planned) = (source.task_rows[position], &source.built.plan.tasks[position]);
    let summary = source.built.is_summary[position];
    let (start, finish) = source.dates(position);
    let manual = input.mode == Mode::Manual || input.manual_start.is_some() || input.manual_finish.is_some();
    let duration = duration(source, position, summary);
    let text = |column| Some(text_of(row, column).to_owned()).filter(|text| !text.is_empty());
    let constraint = input.constraint();
    // A summary has no actual dates of its own in a plan; those of its row are written.
    let of_row = |day: Option<pmo_planning::Day>, stated: Moment| day.and(stated.get());
    let actual_start = if summary {
        of_row(input.actual_start_date, input.actual_start)
    } else {
        actual(input.actual_start_date, input.actual_start, start, planned.actual_start)
    };
    let actual_finish = if summary {
        of_row(input.actual_end_date, input.actual_end)
    } else {
        actual(input.actual_end_date, input.actual_end, finish, planned.actual_finish)
    };
    let percent = percent(source, position, summary);
    let done = input.actual_duration.or_else(|| actual_start.map(|_| duration.scale(percent, 100)));
    let (stop, resume) = stop_and_resume(source, position, input);
    FileTask {
        uid: source.uids[position],
        id: i64::try_from(position).ok().map(|position| position + 1),
        name: text("name"),
        notes: text("descr"),
        wbs: text("wbs"),
        active: input.mode != Mode::Inactive,
        manual,
        milestone: input.is_milestone,
        summary,
        start: start.get(),
        finish: finish.get(),
        manual_start: input.manual_start.get(),
        manual_finish: input.manual_finish.get(),
        manual_duration: manual.then_some(duration),
        duration: Some(duration),
        duration_format: Some(format::duration_format(input.duration_unit, input.is_estimated)),
        task_type: Some(match input.task_type {
            TaskType::FixedUnits => 0,
            TaskType::FixedDuration => 1,
            TaskType::FixedWork => 2,
        }),
        effort_driven: input.is_effort_driven,
        constraint_type: Some(constraint_number(ConstraintType::of(constraint))),
        constraint_date: constraint.date(),
        deadline: input.deadline.get(),
        calendar: input.calendar_id.and_then(|id| source.calendars.get(id)),
        ignore_resource_calendar: input.ignores_resource_calendars,
        priority: Some(priority(input, text_of(row, "dl__task_priority"))),
        leveling_delay: Some(input.leveling_delay),
        // 8: elapsed days.
        leveling_delay_format: Some(8),
        actual_start,
        actual_finish,
        actual_duration: done.filter(|_| actual_start.is_some()),
        remaining_duration: Some(Span(duration.minus(done.unwrap_or_default()).0.max(0))),
        percent_complete: Some(percent),
        physical_percent_complete: row.get("physical_pct").and_then(whole),
        stop,
        resume,
        work: hours_of(row, "estimated_hours"),
        actual_work: hours_of(row, "actual_hours"),
        ..FileTask::default()
    }
}

fn whole(value: &Value) -> Option<i64> {
    let number = value.as_f64().or_else(|| value.as_str()?.parse().ok())?;
    (0.0..=100.0).contains(&number).then(|| number.round() as i64)
}

/// Returns the duration: the computed one of a summary, otherwise the stated one.
fn duration(source: &Source<'_>, position: usize, summary: bool) -> Span {
    let planned = &source.built.plan.tasks[position];
    let derived = summary && planned.mode == Mode::Automatic && source.schedule.start[position].is_some();
    if derived && !source.is_partial { source.schedule.duration[position] } else { planned.duration }
}

fn percent(source: &Source<'_>, position: usize, summary: bool) -> i64 {
    let automatic = source.built.plan.tasks[position].mode == Mode::Automatic;
    if summary && automatic && !source.is_partial && source.schedule.start[position].is_some() {
        return i64::from(source.schedule.percent_complete[position]);
    }
    let input = &source.input.tasks[source.task_inputs[position]];
    i64::from(input.completion.0 + 50).div_euclid(100)
}

/// Returns the end of the done part and the beginning of a rest that does not follow it.
fn stop_and_resume(source: &Source<'_>, position: usize, input: &TaskInput) -> (Option<Moment>, Option<Moment>) {
    let planned = &source.built.plan.tasks[position];
    let derived_stop = || {
        let time = source.built.working_time(u32::try_from(position).unwrap_or(u32::MAX));
        planned.actual_start.get().map(|start| time.add(start, planned.actual_duration))
    };
    // Without the end of the done part, the beginning of the rest has no effect in a file.
    let stop = input.stop.get().or_else(|| input.resume.get().and_then(|_| derived_stop()));
    (stop, input.resume.get().or(stop))
}

fn constraint_number(constraint: ConstraintType) -> i64 {
    match constraint {
        ConstraintType::AsSoonAsPossible => 0,
        ConstraintType::AsLateAsPossible => 1,
        ConstraintType::MustStartOn => 2,
        ConstraintType::MustFinishOn => 3,
        ConstraintType::StartNoEarlierThan => 4,
        ConstraintType::StartNoLaterThan => 5,
        ConstraintType::FinishNoEarlierThan => 6,
        ConstraintType::FinishNoLaterThan => 7,
    }
}

/// Returns the priority as a number.
///
/// A task whose priority was chosen by name and not by number has the number of that name.
fn priority(input: &TaskInput, name: &str) -> i64 {
    match (input.priority, name) {
        (500, "Low") => 100,
        (500, "High") => 700,
        (500, "Critical") => 900,
        (number, _) => i64::from(number),
    }
}

fn links(source: &Source<'_>) -> Vec<Vec<FileLink>> {
    let mut links: Vec<Vec<FileLink>> = vec![Vec::new(); source.task_rows.len()];
    for dependency in source.input.dependencies.iter().filter(|dependency| dependency.is_active) {
        let position = |id| source.built.position(id).map(|position| position as usize);
        let ends = position(dependency.predecessor_id).zip(position(dependency.successor_id));
        let Some((predecessor, successor)) = ends else { continue };
        let unit = match (dependency.lag_percent, dependency.lag_unit) {
            (None, LagUnit::Percent) => LagUnit::default(),
            (None, LagUnit::ElapsedPercent) => LagUnit::Time(pmo_project_plan::DurationUnit::ElapsedDays),
            (Some(_), LagUnit::Time(_)) => LagUnit::Percent,
            (_, unit) => unit,
        };
        let lag = dependency
            .lag_percent
            .map_or(i64::from(dependency.lag.0), |percent| i64::from(percent.0.saturating_add(50)).div_euclid(100));
        links[successor].push(FileLink {
            predecessor: source.uids[predecessor],
            kind: match dependency.kind {
                LinkKind::FinishToFinish => 0,
                LinkKind::FinishToStart => 1,
                LinkKind::StartToFinish => 2,
                LinkKind::StartToStart => 3,
            },
            lag,
            lag_format: format::lag_format(unit),
            cross_project: false,
        });
    }
    for links in &mut links {
        links.sort_by_key(|link| link.predecessor);
    }
    links
}

/// Returns the snapshots by number, 0 to 10.
///
/// The others get the free numbers; if there are more than eleven, the first ones.
fn baselines(source: &Source<'_>) -> Vec<(i64, Snapshot)> {
    let number_of = |row: &pmo_project_plan::Row| row.get("metadata")?.get("mspdi_number")?.as_i64();
    let mut free: Vec<i64> = (0..=10).rev().collect();
    let mut numbered = Vec::new();
    for row in &source.rows.baselines {
        let number = number_of(row).filter(|number| free.contains(number));
        if let Some(number) = number {
            free.retain(|free| *free != number);
        }
        numbered.push((number, row));
    }
    let mut snapshots: Vec<(i64, Snapshot)> = Vec::new();
    for (number, row) in numbered {
        let Some(number) = number.or_else(|| free.pop()) else { continue };
        snapshots.push((number, Snapshot::from_json(row.get("snapshot").unwrap_or(&Value::Null))));
    }
    snapshots.sort_by_key(|(number, _)| *number);
    snapshots
}

fn baseline(number: i64, snapshot: &Snapshot, task: uuid::Uuid) -> Option<FileBaseline> {
    let task = snapshot.tasks.get(&task)?;
    Some(FileBaseline {
        number,
        start: task.start.get(),
        finish: task.finish.get(),
        duration: Some(task.duration),
        work: task.work,
        cost: task.cost.map(|cost| cost.saturating_add(50).div_euclid(100)),
    })
}

fn computed(source: &Source<'_>, position: usize) -> ComputedTask {
    let schedule = &source.schedule;
    if source.is_partial {
        let stored = &source.input.tasks[source.task_inputs[position]].stored;
        let total = stored.total_slack.unwrap_or_default();
        return ComputedTask {
            early_start: stored.start,
            early_finish: stored.finish,
            late_start: stored.late_start,
            late_finish: stored.late_finish,
            free_slack: stored.free_slack.unwrap_or_default(),
            total_slack: total,
            start_slack: total,
            finish_slack: total,
            critical: stored.is_critical,
        };
    }
    ComputedTask {
        early_start: schedule.early_start[position],
        early_finish: schedule.early_finish[position],
        late_start: schedule.late_start[position],
        late_finish: schedule.late_finish[position],
        free_slack: schedule.free_slack[position],
        total_slack: schedule.total_slack[position],
        start_slack: schedule.start_slack[position],
        finish_slack: schedule.finish_slack[position],
        critical: schedule.critical[position],
    }
}
