//! Builds the plan of a project from its rows.

use crate::actuals::actuals_of;
use crate::assignments::Assigner;
use crate::calendars::{Calendars, STANDARD, day_end, finish_on, start_on};
use crate::derived_columns::{DerivedColumns, due_day};
use crate::links::{self, Others};
use crate::outline::{self, Outline};
use crate::project_plan::{InputFault, MAX_LINKS, MAX_TASKS, Missing, ProjectPlan};
use crate::{ExternalTask, PlanInput, ProjectInput, TaskInput};
use pmo_planning::{
    CalendarIndex, Constraint, Day, Direction, Mode, Moment, Segment, Settings, Task, TaskId, WorkingTime,
};
use std::collections::HashMap;
use uuid::Uuid;

/// Maximum number of parts of split tasks.
const MAX_SEGMENTS: usize = 100_000;

/// Builds the plan of a project.
///
/// Never fails: what the rows lack or state wrongly is in [`ProjectPlan::incomplete`] and
/// [`ProjectPlan::faults`].
pub fn build(input: &PlanInput) -> ProjectPlan {
    let project = &input.project;
    let mut calendars = Calendars::new(&input.calendars);
    let tasks = &input.tasks[..input.tasks.len().min(MAX_TASKS)];
    let is_member = |task: &TaskInput| task.is_active && task.project_id == Some(project.id);
    let mut outline = outline::sort(tasks, is_member);
    let calendar = project.calendar_id.and_then(|id| calendars.find(id)).unwrap_or(STANDARD);
    let count = outline.inputs.len();
    let mut built = ProjectPlan {
        task_count: count,
        task_ids: outline.inputs.iter().map(|&index| tasks[index].id).collect(),
        is_summary: vec![false; count],
        project: project.clone(),
        unit_sizes: project.unit_sizes(),
        incomplete: std::mem::take(&mut outline.missing),
        faults: std::mem::take(&mut outline.faults),
        positions: std::mem::take(&mut outline.positions),
        ..ProjectPlan::default()
    };
    for parent in outline.parents.iter().flatten() {
        built.is_summary[*parent as usize] = true;
    }
    add_tasks(&mut built, input, tasks, &outline, calendar, &mut calendars);
    keep_inactive(&mut built, tasks, &outline);
    built.plan.settings = settings(project, calendar, &built.plan.tasks, &mut calendars);
    let mut dependencies: Vec<_> = input.dependencies.iter().take(MAX_LINKS).filter(|one| one.is_active).collect();
    dependencies.sort_unstable_by_key(|dependency| dependency.id);
    let others = Others {
        external: external_tasks(input, project.id),
        unscheduled: tasks.iter().filter(|task| !task.is_scheduled()).map(|task| task.id).collect(),
        time: calendars.time(calendar).clone(),
    };
    links::add_links(&mut built, &dependencies, others);
    report(&mut built, input, &calendars);
    built.plan.calendars = calendars.list;
    built.calendar_ids = calendars.ids;
    built
}

fn add_tasks(
    built: &mut ProjectPlan,
    input: &PlanInput,
    tasks: &[TaskInput],
    outline: &Outline,
    project_calendar: CalendarIndex,
    calendars: &mut Calendars,
) {
    let assignments: Vec<_> = input.assignments.iter().take(MAX_LINKS).filter(|row| row.is_active).collect();
    let mut assigner = Assigner::new(&assignments, &input.calendars);
    for (place, (&index, &parent)) in outline.inputs.iter().zip(&outline.parents).enumerate() {
        let (task, position) = (&tasks[index], u32::try_from(place).unwrap_or(u32::MAX));
        let calendar = task.calendar_id.and_then(|id| calendars.find(id));
        let duration = task.duration_or_default(built.unit_sizes.day);
        let summary = built.is_summary[place];
        let actuals = if summary {
            crate::actuals::Actuals::default()
        } else {
            actuals_of(task, duration, calendar.unwrap_or(project_calendar), calendars)
        };
        let started = actuals.start.is_some();
        built.plan.tasks.push(Task {
            id: TaskId(position),
            parent,
            mode: task.mode,
            manual_start: task.manual_start,
            manual_finish: task.manual_finish,
            duration,
            elapsed: task.duration_unit.is_elapsed(),
            task_type: task.task_type,
            effort_driven: task.is_effort_driven,
            calendar,
            ignore_resource_calendars: task.ignores_resource_calendars,
            constraint: task.constraint(),
            deadline: task.deadline,
            priority: task.priority,
            leveling_delay: task.leveling_delay,
            actual_start: actuals.start,
            actual_finish: actuals.finish,
            actual_duration: actuals.duration,
            stop: if started { task.stop } else { Moment::NONE },
            resume: if started { task.resume } else { Moment::NONE },
        });
        if summary {
            continue;
        }
        if task.segments.len() > 1 && built.plan.segments.len() < MAX_SEGMENTS {
            let segment = |&(offset, length)| Segment { task: position, assignment: None, offset, length };
            built.plan.segments.extend(task.segments.iter().map(segment));
        }
        assigner.add(built, calendars, position, task, duration);
    }
}

/// Keeps the dates of the tasks that take no part in the schedule.
///
/// These are inactive tasks, all tasks below them, and summaries without a task that takes part.
fn keep_inactive(built: &mut ProjectPlan, tasks: &[TaskInput], outline: &Outline) {
    if built.plan.tasks.iter().all(|task| task.mode != Mode::Inactive) {
        return;
    }
    let count = built.task_count;
    let mut takes_part = vec![true; count];
    for place in 0..count {
        let above = outline.parents[place].is_none_or(|parent| takes_part[parent as usize]);
        takes_part[place] = above && built.plan.tasks[place].mode != Mode::Inactive;
    }
    let mut has_part = vec![false; count];
    for place in (0..count).rev() {
        takes_part[place] &= has_part[place] || !built.is_summary[place];
        if let Some(parent) = outline.parents[place].filter(|_| takes_part[place]) {
            has_part[parent as usize] = true;
        }
    }
    for place in (0..count).filter(|&place| !takes_part[place]) {
        let is_summary = built.is_summary[place];
        let columns = DerivedColumns { is_summary, ..kept_columns(&tasks[outline.inputs[place]]) };
        built.kept.insert(u32::try_from(place).unwrap_or(u32::MAX), columns);
    }
}

/// Returns the derived columns of a task that takes no part: its dates stay, it has no slack.
fn kept_columns(task: &TaskInput) -> DerivedColumns {
    let stored = &task.stored;
    let start = stored.start.get().filter(|start| Some(start.day()) == stored.start_date);
    let due = |finish: &Moment| start.is_some_and(|start| Some(due_day(start, *finish)) == stored.due_date);
    let finish = stored.finish.get().filter(due);
    DerivedColumns {
        start: start.unwrap_or_default(),
        finish: finish.unwrap_or_default(),
        start_date: stored.start_date,
        due_date: stored.due_date,
        ..DerivedColumns::default()
    }
}

/// Returns the settings of the plan.
fn settings(project: &ProjectInput, calendar: CalendarIndex, tasks: &[Task], calendars: &mut Calendars) -> Settings {
    let time = calendars.time(calendar);
    let finish = project.planned_end_date.filter(|_| project.direction() == Direction::FromFinish);
    let end_of = |day: Day, hour: Moment| finish_on(day, hour).unwrap_or_else(|| day_end(time, day));
    Settings {
        start: project_start(project, time, tasks),
        finish: finish.map_or(Moment::NONE, |day| end_of(day, project.planned_end)),
        direction: project.direction(),
        calendar,
        status_date: project.status_date.map_or(Moment::NONE, |day| end_of(day, Moment::NONE)),
        reschedule_remaining: project.reschedule_remaining,
        honor_constraints: project.honor_constraints,
        critical_slack_limit: project.critical_slack_limit(),
        multiple_critical_paths: project.multiple_critical_paths,
        split_in_progress: project.splits_in_progress,
    }
}

/// Returns the start of the project.
///
/// Without a planned start, it is the day of the earliest date that a task states; without any, the
/// day on which the project was created.
pub(crate) fn project_start(project: &ProjectInput, time: &WorkingTime, tasks: &[Task]) -> Moment {
    let start_of =
        |day: Day, hour: Moment| start_on(day, hour).unwrap_or_else(|| crate::calendars::day_start(time, day));
    if let Some(day) = project.planned_start_date {
        return start_of(day, project.planned_start);
    }
    let stated = tasks.iter().filter(|task| task.mode != Mode::Inactive).flat_map(dates_of);
    let earliest = stated.filter(|date| date.is_some()).min();
    let day = earliest.map(Moment::day).or(project.created_date).unwrap_or(Day(0));
    start_of(day, Moment::NONE)
}

fn dates_of(task: &Task) -> [Moment; 5] {
    let constraint = match task.constraint {
        Constraint::AsSoonAsPossible | Constraint::AsLateAsPossible => Moment::NONE,
        constraint => constraint.date().unwrap_or_default(),
    };
    let manual = task.mode == Mode::Manual;
    let of_manual = |moment: Moment| if manual { moment } else { Moment::NONE };
    let of_automatic = if manual { Moment::NONE } else { constraint };
    [of_automatic, task.actual_start, task.actual_finish, of_manual(task.manual_start), of_manual(task.manual_finish)]
}

fn external_tasks(input: &PlanInput, project: Uuid) -> HashMap<Uuid, ExternalTask> {
    let of_task = |task: &TaskInput| ExternalTask { id: task.id, start: task.stored.start, finish: task.stored.finish };
    let foreign = input.tasks.iter().filter(|task| task.is_scheduled() && task.project_id != Some(project));
    let stated = input.external_tasks.iter().take(MAX_TASKS).cloned();
    foreign.take(MAX_TASKS).map(of_task).chain(stated).map(|task| (task.id, task)).collect()
}

/// Collects what is missing and which values could not be read.
fn report(built: &mut ProjectPlan, input: &PlanInput, calendars: &Calendars) {
    built.incomplete.extend(&calendars.missing);
    if input.tasks.len() > MAX_TASKS {
        built.incomplete.push(Missing::Tasks);
    }
    if input.dependencies.len() > MAX_LINKS || input.assignments.len() > MAX_LINKS {
        built.incomplete.push(Missing::Links);
    }
    let rows = std::iter::once((input.project.id, &input.project.unreadable))
        .chain(input.tasks.iter().map(|row| (row.id, &row.unreadable)))
        .chain(input.dependencies.iter().map(|row| (row.id, &row.unreadable)))
        .chain(input.assignments.iter().map(|row| (row.id, &row.unreadable)));
    for (row, columns) in rows.filter(|(_, columns)| !columns.is_empty()) {
        built.faults.extend(columns.iter().map(|column| InputFault::Unreadable { row, column: column.clone() }));
    }
    let bad_calendars = input.calendars.calendars.iter().filter(|(_, definition)| definition.fault_count > 0);
    built.faults.extend(bad_calendars.map(|(id, _)| InputFault::Calendar(*id)));
}
