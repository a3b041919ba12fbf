//! Changes of the plan: one write when a drag ends, and their undo.

use super::bars::{fill_chart, update_dates};
use super::history::Change;
use super::plan::GanttPlan;
use super::state::{GanttState, Preview};
use crate::hooks::use_entity_mutation;
use crate::ui::overlay_state::{OverlayState, UndoableAction};
use leptos::prelude::*;
use pmo_domain::{EntityCode, Row};
use pmo_gantt::{Gesture, Impact, link_kind, preview};
use pmo_planning::{Edit, LinkKind, Span};
use pmo_project_plan::gantt_edit::{self, LagEntry, LinkError, RowEdit};
use pmo_project_plan::{DurationUnit, EditError, Percent};
use serde_json::Value;
use std::sync::Arc;
use uuid::Uuid;

/// Largest chart whose rows are all computed again in each frame of a drag.
const MAX_REFILLED_ROWS: usize = 500;
/// Direction in which a change is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    Undo,
    Redo,
}

impl GanttState {
    /// Shows what a gesture would do, with the dates of all tasks.
    pub(super) fn show_preview(self, gesture: Gesture) {
        if let Gesture::Link { from, to } = gesture {
            return self.message.set(to.and_then(|to| self.link_refusal(from.row, to.row)));
        }
        let message = self.core.try_update_value(|core| {
            let task = core.visible.task(gesture.row())?;
            if core.preview.is_none() {
                let entry = *core.plan.live.plan().tasks.get(task as usize)?;
                let schedule = core.plan.live.schedule();
                let dates = schedule.start.iter().copied().zip(schedule.finish.iter().copied()).collect();
                let (finish, time) = (schedule.project_finish, core.plan.time_of(task));
                core.preview = Some(Preview { task, entry, dates, finish, time });
            }
            let before = core.preview.as_ref()?;
            let (start, finish) = before.dates.get(task as usize).copied()?;
            let dates = pmo_gantt::TaskDates { start, finish };
            let entry = preview(&before.entry, dates, gesture, &before.time)?;
            let changed = core.plan.live.change(Edit::Task { task, entry });
            let tasks = changed.tasks.to_vec();
            if core.visible.tasks.len() <= MAX_REFILLED_ROWS {
                fill_chart(&mut core.chart, &core.plan, &core.visible, &core.baselines);
            } else {
                update_dates(&mut core.chart, &core.plan, &core.visible, &tasks);
                update_dates(&mut core.chart, &core.plan, &core.visible, &[task]);
            }
            let schedule = core.plan.live.schedule();
            let after = schedule.start.iter().copied().zip(schedule.finish.iter().copied());
            let finish = (before.finish, schedule.project_finish);
            Some(match gesture {
                Gesture::Progress { percent, .. } => format!("{percent} % complete"),
                _ => Impact::compare(before.dates.iter().copied(), after, finish).to_string(),
            })
        });
        if let Some(message) = message.flatten() {
            self.message.set(Some(message));
            self.version.update(|version| *version += 1);
        }
    }

    /// Withdraws the preview.
    pub(super) fn withdraw_preview(self) {
        self.message.set(None);
        let withdrawn = self.core.try_update_value(|core| {
            let Some(preview) = core.preview.take() else { return false };
            core.plan.live.change(Edit::Task { task: preview.task, entry: preview.entry });
            true
        });
        if withdrawn == Some(true) {
            self.refresh();
        }
        self.apply_late_rows();
        self.request_frame();
    }

    /// Makes the change of a gesture.
    pub(super) fn commit(self, gesture: Gesture, overlays: Option<OverlayState>) {
        if let Gesture::Link { from, to } = gesture {
            self.message.set(None);
            self.request_frame();
            if let (Some(to), Some(predecessor)) = (to, self.task_of(from.row))
                && let Some(successor) = self.task_of(to.row)
            {
                self.create_link(predecessor, successor, link_kind(from.end, to.end));
            }
            return self.apply_late_rows();
        }
        let described = self.message.get_untracked();
        // Rows that arrived meanwhile may move the task.
        let Some(id) = self.task_of(gesture.row()) else { return self.withdraw_preview() };
        self.withdraw_preview();
        let edited = self.core.with_value(|core| {
            let task = core.plan.plan.position(id)?;
            let (input, context) = (core.plan.task_input(task)?, core.plan.edit_context(task));
            let edit = match gesture {
                Gesture::Move { start, .. } => gantt_edit::move_task(input, &context, start),
                Gesture::ResizeStart { start, .. } => gantt_edit::resize_start(input, &context, start),
                Gesture::ResizeFinish { finish, .. } => gantt_edit::resize_finish(input, &context, finish),
                Gesture::Progress { percent, .. } => {
                    gantt_edit::set_progress(input, &context, Percent(i32::from(percent) * 100))
                }
                Gesture::Link { .. } => return None,
            };
            let before = core.plan.live.plan().tasks.get(task as usize).map(|task| task.duration).unwrap_or_default();
            Some(edit.map(|edit| (edit, work_changes(&core.plan, task, before, gesture))))
        });
        match edited {
            Some(Ok((edit, mut work))) => {
                work.extend(self.task_change(id, edit));
                self.apply(work, described, overlays);
            }
            Some(Err(error)) => self.refuse(edit_error(&error)),
            None => {}
        }
    }

    /// Returns the change of a task with the values before; `None` if nothing changes.
    pub(super) fn task_change(self, id: Uuid, edit: RowEdit) -> Option<Change> {
        if edit.patch.is_empty() {
            return None;
        }
        let row = self.core.with_value(|core| {
            let position = core.plan.plan.position(id)?;
            core.plan.tasks.get(position as usize).map(|task| task.row.clone())
        })?;
        let before =
            edit.patch.keys().map(|column| (column.clone(), row.get(column).cloned().unwrap_or(Value::Null))).collect();
        Some(Change::Update { code: EntityCode::new("task").ok()?, id, before, after: edit.patch })
    }

    /// Makes changes, and remembers them for undo.
    pub(super) fn apply(self, changes: Vec<Change>, described: Option<String>, overlays: Option<OverlayState>) {
        if changes.is_empty() {
            return;
        }
        let changes: Vec<Change> = changes.into_iter().map(|change| make(change, Direction::Redo)).collect();
        self.core.update_value(|core| core.history.push(changes.clone()));
        if let (Some(overlays), Some(message)) = (overlays, described) {
            let message = message.replacen("Moves", "Moved", 1);
            // The history is gone once the page is left; the toast stays.
            let undo = Arc::new(move || {
                if self.core.is_disposed() {
                    changes.iter().for_each(|change| drop(make(change.clone(), Direction::Undo)));
                } else {
                    self.take_back(Direction::Undo);
                }
            });
            overlays.toast.set(Some(UndoableAction { message, undo: Some(undo) }));
        }
    }

    /// Takes back the last change, or makes it again.
    pub(super) fn take_back(self, direction: Direction) {
        let changes = self.core.try_update_value(|core| match direction {
            Direction::Undo => core.history.done.pop(),
            Direction::Redo => core.history.undone.pop(),
        });
        let Some(changes) = changes.flatten() else { return };
        let changes: Vec<Change> = changes.into_iter().map(|change| make(change, direction)).collect();
        self.core.try_update_value(|core| match direction {
            Direction::Undo => core.history.undone.push(changes),
            Direction::Redo => core.history.done.push(changes),
        });
    }

    /// Creates a dependency, unless it is refused.
    pub(super) fn create_link(self, predecessor: Uuid, successor: Uuid, kind: LinkKind) {
        let lag = LagEntry::Time(Span::ZERO, DurationUnit::Days);
        let row = self.core.with_value(|core| gantt_edit::link(&core.plan.plan, predecessor, successor, kind, lag));
        match row {
            Ok(row) => {
                let Ok(code) = EntityCode::new("task_dependency") else { return };
                self.apply(vec![Change::Link { code, id: Uuid::nil(), row }], None, None);
            }
            Err(error) => {
                let message = self.link_error(&error);
                self.refuse(message);
            }
        }
    }

    /// Returns why a link between two rows is refused; `None` if it is possible.
    fn link_refusal(self, from: usize, to: usize) -> Option<String> {
        let (predecessor, successor) = (self.task_of(from)?, self.task_of(to)?);
        let checked = self.core.with_value(|core| gantt_edit::check_link(&core.plan.plan, predecessor, successor));
        checked.err().map(|error| self.link_error(&error))
    }

    fn link_error(self, error: &LinkError) -> String {
        let name = |id: &Uuid| {
            self.core.with_value(|core| {
                let position = core.plan.plan.position(*id);
                let task = position.and_then(|position| core.plan.tasks.get(position as usize));
                task.map(|task| task.name.clone()).unwrap_or_default()
            })
        };
        match error {
            LinkError::Itself => "A task cannot wait for itself".into(),
            LinkError::SummaryAndDescendant => "A summary and a task below it cannot be linked".into(),
            LinkError::Duplicate(_) => "The tasks are linked already".into(),
            LinkError::UnknownTask(_) => "The task is not part of this plan".into(),
            LinkError::Ring(path) => {
                let path: Vec<String> = path.iter().map(name).collect();
                format!("This link would close a ring: {}", path.join(" → "))
            }
        }
    }

    /// Shows why a change is refused.
    pub(super) fn refuse(self, message: String) {
        self.message.set(Some(message));
        set_timeout(
            move || {
                let _ = self.message.try_set(None);
            },
            std::time::Duration::from_secs(6),
        );
    }
}

/// Returns the changes of assigned work that follow from another duration.
fn work_changes(plan: &GanttPlan, task: u32, before: Span, gesture: Gesture) -> Vec<Change> {
    let (Some(input), Ok(code)) = (plan.task_input(task), EntityCode::new("assignment")) else {
        return Vec::new();
    };
    let dates = plan.dates(task);
    let time = plan.time_of(task);
    let duration = match gesture {
        Gesture::ResizeStart { start, .. } => time.between(start, dates.finish),
        Gesture::ResizeFinish { finish, .. } => time.between(dates.start, finish),
        _ => return Vec::new(),
    };
    let mut resized = input.clone();
    resized.duration = Some(duration);
    let of_row = |(id, after): (Uuid, Row)| {
        let row = plan.input.assignments.iter().find(|row| row.id == id)?;
        let before = after
            .keys()
            .map(|column| {
                let value = match column.as_str() {
                    "work_hours" => row.work.map(|work| Value::from(f64::from(work.0) / 600.0)),
                    _ => Some(Value::from(f64::from(row.units.0) / 100.0)),
                };
                (column.clone(), value.unwrap_or(Value::Null))
            })
            .collect();
        Some(Change::Update { code: code.clone(), id, before, after })
    };
    gantt_edit::rescale_work(&resized, &plan.input.assignments, before).into_iter().filter_map(of_row).collect()
}

/// Makes a change or takes it back; returns the change as it can be made again.
fn make(change: Change, direction: Direction) -> Change {
    match (change, direction) {
        (Change::Update { code, id, before, after }, direction) => {
            let patch = if direction == Direction::Undo { &before } else { &after };
            use_entity_mutation(code.clone()).update(id, patch.clone());
            Change::Update { code, id, before, after }
        }
        (Change::Link { code, id, row }, Direction::Undo) => {
            use_entity_mutation(code.clone()).delete(id);
            Change::Link { code, id, row }
        }
        // A deleted id is not used again.
        (Change::Link { code, row, .. }, Direction::Redo) => {
            let id = use_entity_mutation(code.clone()).create(row.clone());
            Change::Link { code, id, row }
        }
    }
}

/// Returns why an edit is refused.
pub(super) fn edit_error(error: &EditError) -> String {
    match error {
        EditError::SummaryIsComputed { .. } => "A summary gets its dates from the tasks below it".into(),
        EditError::FinishBeforeStart => "The finish would be before the start".into(),
        EditError::Invalid { .. } | EditError::OutOfRange { .. } => "This date is not possible".into(),
        EditError::NotScheduled => "The task is inactive".into(),
    }
}
