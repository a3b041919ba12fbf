//! Baselines: snapshots of a schedule and their comparison with the present one.

use crate::cell::{Cell, decimal_value, minutes_value, moment_value};
use crate::{ProjectPlan, Row};
use pmo_planning::{Moment, Schedule, Span, WorkingTime};
use serde_json::Value;
use std::collections::BTreeMap;
use uuid::Uuid;

/// Snapshot of a schedule: `{"tasks": {id: {...}}, "finish_ts"}`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Snapshot {
    /// Values of each task.
    pub tasks: BTreeMap<Uuid, TaskSnapshot>,
    /// Finish of the project; [`Moment::NONE`] if unknown.
    pub finish: Moment,
}

/// Values of a task in a snapshot.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TaskSnapshot {
    /// Start.
    pub start: Moment,
    /// Finish.
    pub finish: Moment,
    /// Duration.
    pub duration: Span,
    /// Work; `None` if unknown.
    pub work: Option<Span>,
    /// Cost in ten-thousandths; `None` if unknown.
    pub cost: Option<i64>,
}

/// Difference of a task to a baseline: present value minus that of the baseline.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TaskVariance {
    /// Slip of the start in working time; negative if earlier.
    pub start: Span,
    /// Slip of the finish in working time; negative if earlier.
    pub finish: Span,
    /// Change of the duration.
    pub duration: Span,
    /// Change of the work.
    pub work: Option<Span>,
    /// Change of the cost in ten-thousandths.
    pub cost: Option<i64>,
}

/// Comparison of the present schedule with a baseline.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Comparison {
    /// Differences of the tasks that are in both.
    pub tasks: BTreeMap<Uuid, TaskVariance>,
    /// Tasks that the baseline does not contain.
    pub added: Vec<Uuid>,
    /// Tasks that only the baseline contains.
    pub removed: Vec<Uuid>,
    /// Slip of the finish of the project in working time.
    pub finish: Span,
}

/// Returns a field of a row; null if it is missing.
fn cell<'a>(row: &'a Value, field: &str) -> Cell<'a> {
    row.get(field).map_or(Cell::Null, Cell::from)
}

/// Maximum number of tasks of a snapshot.
const MAX_TASKS: usize = crate::MAX_TASKS;

/// Returns the snapshot of a schedule; `costs` has the cost of each task in ten-thousandths.
///
/// The work of a task is that of its assignments. Inactive tasks are left out.
pub fn take(plan: &ProjectPlan, schedule: &Schedule, costs: &BTreeMap<Uuid, i64>) -> Snapshot {
    let mut work: Vec<Option<Span>> = vec![None; plan.task_count];
    for assignment in &plan.plan.assignments {
        if let Some(sum) = work.get_mut(assignment.task as usize) {
            *sum = Some(sum.unwrap_or_default().plus(assignment.work));
        }
    }
    let at = |moments: &[Moment], task: usize| moments.get(task).copied().unwrap_or_default();
    let tasks = plan.task_ids.iter().take(plan.task_count).enumerate().filter_map(|(task, id)| {
        let start = at(&schedule.start, task).get()?;
        let finish = at(&schedule.finish, task);
        let duration = schedule.duration.get(task).copied().unwrap_or_default();
        Some((*id, TaskSnapshot { start, finish, duration, work: work[task], cost: costs.get(id).copied() }))
    });
    let tasks: BTreeMap<_, _> = tasks.collect();
    let finish = if tasks.is_empty() { Moment::NONE } else { schedule.project_finish };
    Snapshot { tasks, finish }
}

/// Compares the present state with a baseline, in the working time of the project.
pub fn compare(baseline: &Snapshot, current: &Snapshot, time: &WorkingTime) -> Comparison {
    let slip = |before: Moment, after: Moment| match (before.get(), after.get()) {
        (Some(before), Some(after)) => time.between(before, after),
        _ => Span::ZERO,
    };
    let mut comparison = Comparison { finish: slip(baseline.finish, current.finish), ..Comparison::default() };
    for (id, after) in &current.tasks {
        let Some(before) = baseline.tasks.get(id) else {
            comparison.added.push(*id);
            continue;
        };
        let variance = TaskVariance {
            start: slip(before.start, after.start),
            finish: slip(before.finish, after.finish),
            duration: after.duration.minus(before.duration),
            work: before.work.zip(after.work).map(|(before, after)| after.minus(before)),
            cost: before.cost.zip(after.cost).map(|(before, after)| after.saturating_sub(before)),
        };
        comparison.tasks.insert(*id, variance);
    }
    let removed = baseline.tasks.keys().filter(|id| !current.tasks.contains_key(*id));
    comparison.removed = removed.copied().collect();
    comparison
}

impl Snapshot {
    /// Reads a snapshot; what cannot be read is left out.
    pub fn from_json(value: &Value) -> Self {
        let moment = |row: &Value, field: &str| cell(row, field).moment().ok().flatten().unwrap_or_default();
        let tasks = value.get("tasks").and_then(Value::as_object).into_iter().flatten().take(MAX_TASKS);
        let tasks = tasks.filter_map(|(id, row)| {
            let snapshot = TaskSnapshot {
                start: moment(row, "start_ts"),
                finish: moment(row, "finish_ts"),
                duration: cell(row, "duration_minutes").positive_minutes().ok().flatten().unwrap_or_default(),
                work: cell(row, "work_hours").span(600.0).ok().flatten(),
                cost: cell(row, "cost_amt").scaled(10_000.0).ok().flatten(),
            };
            Some((Uuid::try_parse(id).ok()?, snapshot))
        });
        Self { tasks: tasks.collect(), finish: moment(value, "finish_ts") }
    }

    /// Returns the snapshot as JSON.
    pub fn to_json(&self) -> Value {
        let mut tasks = Row::new();
        for (id, task) in &self.tasks {
            let mut row = Row::new();
            let mut add = |field: &str, value: Value| row.insert(field.to_owned(), value);
            add("start_ts", moment_value(task.start));
            add("finish_ts", moment_value(task.finish));
            add("duration_minutes", minutes_value(task.duration));
            add("work_hours", task.work.map_or(Value::Null, |work| decimal_value(i64::from(work.0), 600)));
            add("cost_amt", task.cost.map_or(Value::Null, |cost| decimal_value(cost, 10_000)));
            tasks.insert(id.to_string(), Value::Object(row));
        }
        let mut snapshot = Row::new();
        snapshot.insert("tasks".to_owned(), Value::Object(tasks));
        snapshot.insert("finish_ts".to_owned(), moment_value(self.finish));
        Value::Object(snapshot)
    }
}
