//! Commands of the keyboard.

use super::edits::Direction;
use super::pointer::PointerHandlers;
use super::state::GanttState;
use crate::ui::overlay_state::OverlayState;
use leptos::prelude::*;
use pmo_gantt::{Command, Gesture, Layer, Modifiers, command, stepped_finish, stepped_start};
use pmo_planning::LinkKind;
use uuid::Uuid;
use wasm_bindgen::JsCast;
use web_sys::KeyboardEvent;

/// Performs the commands of the keyboard.
#[derive(Clone, Copy)]
pub(super) struct KeyHandlers {
    pub(super) state: GanttState,
    pub(super) pointer: PointerHandlers,
    pub(super) overlays: Option<OverlayState>,
}

/// Returns whether a key belongs to a control that has the focus.
fn is_in_control(event: &KeyboardEvent) -> bool {
    let element = event.target().and_then(|target| target.dyn_into::<web_sys::Element>().ok());
    element.is_some_and(|element| {
        element.closest("input, textarea, select, button, [role=dialog], [role=separator]").ok().flatten().is_some()
    })
}

impl KeyHandlers {
    /// Handles a key; `open` opens the page of a task.
    pub(super) fn on_keydown(self, event: &KeyboardEvent, open: &dyn Fn(Uuid)) {
        let modifiers =
            Modifiers { shift: event.shift_key(), alt: event.alt_key(), control: event.ctrl_key() || event.meta_key() };
        let Some(command) = command(&event.key(), modifiers) else { return };
        let is_global = matches!(command, Command::Cancel | Command::Undo | Command::Redo);
        if is_in_control(event) && !is_global {
            return;
        }
        if self.perform(command, open) {
            event.prevent_default();
        }
    }

    /// Performs a command; returns whether the key is used up.
    fn perform(self, command: Command, open: &dyn Fn(Uuid)) -> bool {
        let state = self.state;
        match command {
            Command::Select(_) | Command::SelectPage(_) | Command::First | Command::Last => self.select(command),
            Command::Collapse => self.set_collapsed(true),
            Command::Expand => self.set_collapsed(false),
            Command::Open => {
                if let Some(task) = state.selected.get_untracked() {
                    open(task);
                }
            }
            Command::Move(_) | Command::Resize(_) | Command::Progress(_) => self.change(command),
            Command::Link => self.link(),
            Command::Why => state.explained.set(state.selected.get_untracked()),
            Command::Problems => state.problems_open.update(|open| *open = !*open),
            Command::Zoom(steps) => state.zoom_by(1.5_f64.powi(steps)),
            Command::Fit => state.fit(),
            Command::Today => state.scroll_to_today(),
            Command::Reveal => {
                if let Some(task) = state.selected.get_untracked() {
                    state.reveal(task);
                }
            }
            Command::Critical => state.toggle_layer(Layer::Critical),
            Command::Undo => self.take_back(Direction::Undo),
            Command::Redo => self.take_back(Direction::Redo),
            Command::Cancel => return self.cancel(),
        }
        true
    }

    /// Takes back or repeats a change; the toast about the last one is then out of date.
    fn take_back(self, direction: Direction) {
        if let Some(overlays) = self.overlays {
            overlays.toast.set(None);
        }
        self.state.take_back(direction);
    }

    /// Cancels a drag or else closes the topmost open part; returns whether there was one.
    fn cancel(self) -> bool {
        let state = self.state;
        if self.pointer.cancel_drag() {
            return true;
        }
        if state.linking.get_untracked().is_some() {
            state.linking.set(None);
            state.message.set(None);
        } else if state.explained.get_untracked().is_some() {
            state.explained.set(None);
        } else if state.problems_open.get_untracked() {
            state.problems_open.set(false);
        } else {
            return false;
        }
        true
    }

    fn select(self, command: Command) {
        let state = self.state;
        let count = state.row_count();
        let Some(last) = count.checked_sub(1) else { return };
        let current = state.selected.get_untracked().and_then(|id| state.row_of(id));
        let view = state.view();
        #[allow(clippy::cast_possible_truncation)] // rows of a screen
        let page = ((view.height - view.header) / view.row_height - 1.0).max(1.0) as i32;
        let moved = |by: i32| match current {
            Some(row) if by < 0 => row.saturating_sub(by.unsigned_abs() as usize),
            Some(row) => (row + by.unsigned_abs() as usize).min(last),
            None => view.rows(count).start,
        };
        state.select_row(match command {
            Command::Select(by) => moved(by),
            Command::SelectPage(by) => moved(by * page),
            Command::First => 0,
            _ => last,
        });
    }

    /// Collapses or expands the selected summary; on any other row, collapsing selects the parent.
    fn set_collapsed(self, collapse: bool) {
        let state = self.state;
        let Some(id) = state.selected.get_untracked() else { return };
        let Some((summary, parent)) = state.core.with_value(|core| {
            let position = core.plan.plan.position(id)?;
            let parent = core.plan.tasks.get(position as usize)?.parent;
            Some((core.plan.is_summary(position), parent.and_then(|parent| core.plan.plan.task_id(parent))))
        }) else {
            return;
        };
        let is_collapsed = state.collapsed.with_untracked(|collapsed| collapsed.contains(&id));
        if summary && is_collapsed != collapse {
            state.toggle_collapsed(id);
        } else if collapse && let Some(row) = parent.and_then(|parent| state.row_of(parent)) {
            state.select_row(row);
        }
    }

    /// Moves or resizes the selected bar, or sets its progress.
    fn change(self, command: Command) {
        let state = self.state;
        let selected = state.selected.get_untracked().filter(|_| state.can_edit.get_untracked());
        let Some(id) = selected else { return };
        let gesture = state.core.with_value(|core| {
            let position = core.plan.plan.position(id)?;
            let row = core.visible.row(position)?;
            let (dates, time) = (core.plan.dates(position), core.plan.time_of(position));
            if dates.start.is_none() {
                return None;
            }
            Some(match command {
                Command::Move(days) => Gesture::Move { row, start: stepped_start(dates.start, days, &time) },
                Command::Resize(days) => {
                    Gesture::ResizeFinish { row, finish: stepped_finish(dates.finish, days, &time).max(dates.start) }
                }
                Command::Progress(percent) => Gesture::Progress { row, percent },
                _ => return None,
            })
        });
        if let Some(gesture) = gesture {
            state.show_preview(gesture);
            state.commit(gesture, self.overlays);
        }
    }

    /// Begins a link at the selected bar, or ends it there.
    fn link(self) {
        let state = self.state;
        let Some(id) = state.selected.get_untracked().filter(|_| state.can_edit.get_untracked()) else { return };
        match state.linking.get_untracked() {
            Some(from) if from != id => {
                state.linking.set(None);
                state.message.set(None);
                state.create_link(from, id, LinkKind::FinishToStart);
            }
            Some(_) => {
                state.linking.set(None);
                state.message.set(None);
            }
            None => {
                state.linking.set(Some(id));
                state.message.set(Some("Select the successor and press L again; Esc cancels".into()));
            }
        }
    }
}

impl GanttState {
    /// Shows or hides a part of the chart.
    pub(super) fn toggle_layer(self, layer: Layer) {
        self.layers.update(|layers| match layers.iter().position(|shown| *shown == layer) {
            Some(place) => drop(layers.remove(place)),
            None => layers.push(layer),
        });
    }

    /// Hides or shows the rows below a summary.
    pub(super) fn toggle_collapsed(self, summary: Uuid) {
        self.collapsed.update(|collapsed| {
            if !collapsed.remove(&summary) {
                collapsed.insert(summary);
            }
        });
        self.refresh();
    }
}
