//! Derived columns of the tasks of a plan, from its schedule.

use crate::derived_columns::{DERIVED_TASK_COLUMNS, DerivedColumns, due_day};
use crate::project_plan::ProjectPlan;
use crate::{Percent, Row, TaskInput};
use pmo_planning::{Mode, Schedule, Span};

impl ProjectPlan {
    /// Returns the derived columns of the task at a position; its stored ones if it is inactive.
    ///
    /// Returns `None` for a position without a task of the project.
    pub fn derived(&self, schedule: &Schedule, position: u32) -> Option<DerivedColumns> {
        let task = position as usize;
        if task >= self.task_count {
            return None;
        }
        let entry = self.plan.tasks.get(task)?;
        if let Some(kept) = self.kept.get(&position) {
            return Some(kept.clone());
        }
        let (start, finish) = (*schedule.start.get(task)?, *schedule.finish.get(task)?);
        let is_summary = *self.is_summary.get(task)?;
        if start.is_none() {
            return Some(DerivedColumns { is_summary, ..DerivedColumns::default() });
        }
        // An actual finish before the start makes the duration of a summary negative.
        let duration = Span(schedule.duration.get(task)?.0.max(0));
        let done = *schedule.percent_complete.get(task)?;
        let automatic_summary = is_summary && entry.mode == Mode::Automatic;
        Some(DerivedColumns {
            start,
            finish,
            start_date: Some(start.day()),
            due_date: Some(due_day(start, finish)),
            late_start: *schedule.late_start.get(task)?,
            late_finish: *schedule.late_finish.get(task)?,
            total_slack: Some(*schedule.total_slack.get(task)?),
            free_slack: Some(*schedule.free_slack.get(task)?),
            remaining_duration: Some(remaining(entry, duration, done, is_summary)),
            is_critical: *schedule.critical.get(task)?,
            is_summary,
            duration: automatic_summary.then_some(duration),
            completion: automatic_summary.then_some(Percent(i32::from(done) * 100)),
        })
    }
}

fn remaining(task: &pmo_planning::Task, duration: Span, done: u8, is_summary: bool) -> Span {
    if task.actual_finish.is_some() {
        return Span::ZERO;
    }
    if is_summary {
        return duration.scale(100 - i64::from(done.min(100)), 100);
    }
    let started = task.actual_start.is_some();
    Span(duration.minus(if started { task.actual_duration } else { Span::ZERO }).0.max(0))
}

/// Removes the derived columns of a scheduled task from a patch, after [`crate::expand_patch`].
///
/// Derived values are neither queued nor sent. Typed dates of other tasks stay.
pub fn remove_derived(patch: &mut Row, row: Option<&Row>) {
    let mut after = row.cloned().unwrap_or_default();
    after.extend(patch.clone());
    let task = TaskInput::from_row(&after);
    let typed_dates_hold = !task.is_scheduled() || task.mode == Mode::Inactive;
    for column in DERIVED_TASK_COLUMNS {
        if !(typed_dates_hold && matches!(column, "start_date" | "due_date")) {
            patch.remove(column);
        }
    }
}
