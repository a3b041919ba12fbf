//! Edits of a Gantt chart as patches.

use crate::cell::{decimal_value, minutes_value};
use crate::edit::{CurrentDates, EditContext, EditError, ImpliedChange};
use crate::options::OptionName;
use crate::task_editor::TaskEditor;
use crate::{AssignmentInput, DependencyInput, DurationUnit, LagUnit, Percent, ProjectPlan, Row, TaskInput};
use pmo_planning::{LinkKind, Mode, Moment, Schedule, Span, WorkChange, WorkTriangle, WorkingTime};
use serde_json::Value;
use uuid::Uuid;

/// Patch of a row and what it implies.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RowEdit {
    /// Columns to write; contains inputs only.
    pub patch: Row,
    /// Consequences to state.
    pub implied: Vec<ImpliedChange>,
}

/// Lag of a link as a person enters it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LagEntry {
    /// Time with the unit in which it was entered.
    Time(Span, DurationUnit),
    /// Percentage of the predecessor's duration, as working time.
    Percent(Percent),
    /// The same as elapsed time.
    ElapsedPercent(Percent),
}

impl LagEntry {
    /// Returns the lag of a dependency in the unit in which it was entered.
    pub fn of(dependency: &DependencyInput) -> Self {
        match (dependency.lag_percent, dependency.lag_unit) {
            (Some(percent), LagUnit::ElapsedPercent) => Self::ElapsedPercent(percent),
            (Some(percent), _) => Self::Percent(percent),
            (None, LagUnit::Time(unit)) => Self::Time(dependency.lag, unit),
            (None, LagUnit::Percent) => Self::Time(dependency.lag, DurationUnit::Days),
            (None, LagUnit::ElapsedPercent) => Self::Time(dependency.lag, DurationUnit::ElapsedDays),
        }
    }
}

/// Moves a task to a new start; its duration stays.
///
/// An automatic task gets a constraint, a manual task its dates, a started task its actual start.
pub fn move_task(task: &TaskInput, context: &EditContext<'_>, start: Moment) -> Result<RowEdit, EditError> {
    let mut editor = editor_of(task, context)?;
    let start = editor.time.start_form(start);
    let present = editor.start_or_default();
    let finish = editor.current.finish.get().unwrap_or_else(|| editor.time.finish_after(present, editor.duration()));
    if task.mode == Mode::Manual {
        let duration = Span(editor.time.between(present, finish).0.max(0));
        let finish = editor.time.finish_after(start, duration);
        editor.set_manual_dates(start, finish);
    } else if task.actual_end_date.is_some() && task.actual_start_date.is_some() {
        let duration = Span(editor.time.between(present, finish).0.max(0));
        let finish = editor.time.finish_after(start, duration);
        editor.set_actual_start(start);
        editor.set_actual_finish(start, finish);
    } else {
        editor.set_start(start);
    }
    Ok(RowEdit { patch: editor.patch, implied: editor.implied })
}

/// Moves the start of a task; its finish stays.
pub fn resize_start(task: &TaskInput, context: &EditContext<'_>, start: Moment) -> Result<RowEdit, EditError> {
    let mut editor = editor_of(task, context)?;
    require_leaf(&editor, "start_date")?;
    let start = editor.time.start_form(start);
    let present = editor.start_or_default();
    let finish = editor.current.finish.get().unwrap_or_else(|| editor.time.finish_after(present, editor.duration()));
    let duration = editor.time.between(start, finish);
    if duration <= Span::ZERO {
        return Err(EditError::FinishBeforeStart);
    }
    if task.mode == Mode::Manual {
        editor.set_manual_dates(start, finish);
    } else {
        editor.set_start(start);
    }
    editor.set_duration(duration);
    Ok(RowEdit { patch: editor.patch, implied: editor.implied })
}

/// Moves the finish of a task; its start stays.
pub fn resize_finish(task: &TaskInput, context: &EditContext<'_>, finish: Moment) -> Result<RowEdit, EditError> {
    let mut editor = editor_of(task, context)?;
    require_leaf(&editor, "due_date")?;
    let start = editor.start_or_default();
    let finish = editor.time.finish_form(finish);
    let duration = editor.time.between(start, finish);
    if duration <= Span::ZERO {
        return Err(EditError::FinishBeforeStart);
    }
    if task.mode == Mode::Manual {
        editor.set_manual_dates(start, finish);
    }
    if task.actual_end_date.is_some() {
        editor.set_actual_finish(start, finish);
    }
    editor.set_duration(duration);
    Ok(RowEdit { patch: editor.patch, implied: editor.implied })
}

/// Sets the progress of a task.
pub fn set_progress(task: &TaskInput, context: &EditContext<'_>, completion: Percent) -> Result<RowEdit, EditError> {
    let mut editor = editor_of(task, context)?;
    require_leaf(&editor, "completion_pct")?;
    let completion = Percent(completion.0.clamp(0, 10_000));
    editor.put("completion_pct", decimal_value(i64::from(completion.0), 100));
    editor.set_completion(completion, task.completion);
    Ok(RowEdit { patch: editor.patch, implied: editor.implied })
}

/// Returns the editor of a task that is scheduled.
fn editor_of<'a>(task: &TaskInput, context: &EditContext<'a>) -> Result<TaskEditor<'a>, EditError> {
    let project = context.project.filter(|_| task.is_scheduled() && task.mode != Mode::Inactive);
    let project = project.ok_or(EditError::NotScheduled)?;
    let current = context.current.unwrap_or_else(|| CurrentDates::stored_in(task));
    Ok(TaskEditor::new(task.clone(), project, context.calendars, current, Row::new()))
}

fn require_leaf(editor: &TaskEditor<'_>, column: &'static str) -> Result<(), EditError> {
    let computed = editor.current.is_summary && editor.task.mode == Mode::Automatic;
    if computed { Err(EditError::SummaryIsComputed { column }) } else { Ok(()) }
}

/// Reason why two tasks cannot be linked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkError {
    /// Both ends are the same task.
    Itself,
    /// One task contains the other.
    SummaryAndDescendant,
    /// The tasks are linked already, by this dependency.
    Duplicate(Uuid),
    /// The tasks would wait for each other; the path from the successor to the predecessor.
    Ring(Vec<Uuid>),
    /// A task is not part of the plan.
    UnknownTask(Uuid),
}

/// Returns the columns of a new dependency, or why the tasks cannot be linked.
pub fn link(
    plan: &ProjectPlan,
    predecessor: Uuid,
    successor: Uuid,
    kind: LinkKind,
    lag: LagEntry,
) -> Result<Row, LinkError> {
    check_link(plan, predecessor, successor)?;
    let mut row = relag(kind, lag);
    row.insert("project_id".to_owned(), Value::from(plan.project.id.to_string()));
    row.insert("predecessor__task_id".to_owned(), Value::from(predecessor.to_string()));
    row.insert("successor__task_id".to_owned(), Value::from(successor.to_string()));
    Ok(row)
}

/// Checks whether a task can wait for another.
pub fn check_link(plan: &ProjectPlan, predecessor: Uuid, successor: Uuid) -> Result<(), LinkError> {
    let before = plan.position(predecessor).ok_or(LinkError::UnknownTask(predecessor))?;
    let after = plan.position(successor).ok_or(LinkError::UnknownTask(successor))?;
    if before == after {
        return Err(LinkError::Itself);
    }
    if is_within(plan, before, after) || is_within(plan, after, before) {
        return Err(LinkError::SummaryAndDescendant);
    }
    let same = plan.plan.links.iter().position(|link| (link.predecessor, link.successor) == (before, after));
    if let Some(same) = same.and_then(|link| plan.link_ids.get(link)) {
        return Err(LinkError::Duplicate(*same));
    }
    match ring(plan, before, after) {
        Some(path) => Err(LinkError::Ring(path.into_iter().filter_map(|task| plan.task_id(task)).collect())),
        None => Ok(()),
    }
}

/// Returns the path from `successor` to `predecessor`, if the first already holds the second.
///
/// A summary holds what is below it, and what is below it holds the summary.
pub fn ring(plan: &ProjectPlan, predecessor: u32, successor: u32) -> Option<Vec<u32>> {
    let tasks = &plan.plan.tasks;
    let mut out: Vec<Vec<u32>> = vec![Vec::new(); tasks.len()];
    for link in &plan.plan.links {
        out.get_mut(link.predecessor as usize)?.push(link.successor);
    }
    // Two states of a task: 0 for its start, which a link holds, 1 for its finish, which a link
    // leaves. A summary passes from its start to those below, and from those to its finish.
    let state = |task: u32, finish: u32| task as usize * 2 + finish as usize;
    let mut came_from: Vec<Option<usize>> = vec![None; tasks.len() * 2];
    let children = children_of(plan);
    let mut queue = std::collections::VecDeque::from([state(successor, 0)]);
    came_from[state(successor, 0)] = Some(state(successor, 0));
    while let Some(current) = queue.pop_front() {
        let (task, finish) = (current / 2, current % 2);
        if task == predecessor as usize && finish == 1 {
            return Some(path_to(&came_from, current));
        }
        let mut next: Vec<usize> = Vec::new();
        if finish == 0 {
            next.extend(children[task].iter().map(|&child| state(child, 0)));
            if children[task].is_empty() {
                next.push(current + 1);
            }
        } else {
            next.extend(out[task].iter().map(|&after| state(after, 0)));
            next.extend(tasks[task].parent.map(|parent| state(parent, 1)));
        }
        for step in next {
            if came_from[step].is_none() {
                came_from[step] = Some(current);
                queue.push_back(step);
            }
        }
    }
    None
}

fn children_of(plan: &ProjectPlan) -> Vec<Vec<u32>> {
    let mut children = vec![Vec::new(); plan.plan.tasks.len()];
    for (position, task) in plan.plan.tasks.iter().enumerate() {
        if let Some(below) = task.parent.and_then(|parent| children.get_mut(parent as usize)) {
            below.push(u32::try_from(position).unwrap_or(u32::MAX));
        }
    }
    children
}

/// Returns the tasks on the way to a state, each once.
fn path_to(came_from: &[Option<usize>], mut state: usize) -> Vec<u32> {
    let mut path = Vec::new();
    loop {
        path.push(u32::try_from(state / 2).unwrap_or(u32::MAX));
        match came_from[state] {
            Some(before) if before != state => state = before,
            _ => break,
        }
    }
    path.reverse();
    path.dedup();
    path
}

/// Returns true if `task` is `summary` or below it.
fn is_within(plan: &ProjectPlan, task: u32, summary: u32) -> bool {
    let mut current = Some(task);
    while let Some(position) = current {
        if position == summary {
            return true;
        }
        current = plan.plan.tasks.get(position as usize).and_then(|task| task.parent);
    }
    false
}

/// Returns the patch that gives a dependency another type and lag.
pub fn relag(kind: LinkKind, lag: LagEntry) -> Row {
    let (minutes, percent, unit) = match lag {
        LagEntry::Time(lag, unit) => (minutes_value(lag), Value::Null, unit.code()),
        LagEntry::Percent(percent) => (Value::from(0), decimal_value(i64::from(percent.0), 100), "%"),
        LagEntry::ElapsedPercent(percent) => (Value::from(0), decimal_value(i64::from(percent.0), 100), "e%"),
    };
    let mut row = Row::new();
    row.insert("dl__dependency_type".to_owned(), Value::from(kind.name()));
    row.insert("lag_minutes".to_owned(), minutes);
    row.insert("lag_pct".to_owned(), percent);
    row.insert("lag_unit".to_owned(), Value::from(unit));
    row
}

/// Returns the work of the assignments after the duration of their task changed, as patches by id.
///
/// `task` has the new duration, `before` is the one before. With fixed work, units change instead.
pub fn rescale_work(task: &TaskInput, assignments: &[AssignmentInput], before: Span) -> Vec<(Uuid, Row)> {
    let Some(duration) = task.duration.filter(|duration| *duration != before && before > Span::ZERO) else {
        return Vec::new();
    };
    let own = assignments.iter().filter(|row| row.is_active && row.task_id == task.id);
    own.filter_map(|row| {
        let work = row.work?;
        let triangle = WorkTriangle { work, duration: before, units: row.units };
        let after = triangle.changed(task.task_type, WorkChange::Duration(duration));
        let mut patch = Row::new();
        if after.work != work {
            // Work that is not spread evenly keeps its shape: it grows with the duration.
            let scaled = work.scale(i64::from(duration.0), i64::from(before.0));
            patch.insert("work_hours".to_owned(), decimal_value(i64::from(scaled.0), 600));
        }
        if after.units != row.units {
            patch.insert("units_pct".to_owned(), decimal_value(i64::from(after.units.0), 100));
        }
        (!patch.is_empty()).then_some((row.id, patch))
    })
    .collect()
}

/// Returns how many leaves an edit moves, and the slip of the finish in working time.
pub fn impact(plan: &ProjectPlan, before: &Schedule, after: &Schedule) -> (usize, Span) {
    let moved = (0..plan.task_count).filter(|&task| {
        !plan.is_summary[task]
            && (before.start.get(task) != after.start.get(task) || before.finish.get(task) != after.finish.get(task))
    });
    let time = WorkingTime::of_calendar(&plan.plan.calendars, plan.plan.settings.calendar);
    (moved.count(), time.between(before.project_finish, after.project_finish))
}
