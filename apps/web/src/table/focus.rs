//! Focused cell of a table: marks it in the document and handles key presses.

use super::context::{TableContext, cell_id};
use super::keyboard::{self, KeyAction, KeyPress};
use super::viewport::Viewport;
use leptos::prelude::*;
use std::collections::BTreeSet;
use uuid::Uuid;

/// Marks the focused cell in the document.
///
/// Screen readers follow the cell by its id (`aria-activedescendant`). The class is set directly,
/// so that the row is not re-rendered.
pub(super) fn mark_focused_cell(grid: TableContext) {
    let set_class = |position: Option<(Uuid, usize)>, on: bool| {
        if let Some(cell) = position.and_then(|(id, column)| document().get_element_by_id(&cell_id(id, column))) {
            let _ = cell.class_list().toggle_with_force("focused", on);
        }
    };
    Effect::new(move |previous: Option<Option<(Uuid, usize)>>| {
        let position = grid.focused_cell.get();
        set_class(previous.flatten(), false);
        set_class(position, true);
        position
    });
}

/// Handles a key press; `open_page` opens the URL of a row.
pub(super) fn on_keydown(
    grid: TableContext,
    viewport: Viewport,
    event: &leptos::ev::KeyboardEvent,
    open_page: &dyn Fn(&str),
) {
    // Inputs and buttons inside the table handle their own keys.
    let from_child = event.target() != event.current_target();
    if from_child || grid.editing.get_untracked().is_some() || event.alt_key() {
        return;
    }
    let focused = grid.focused_cell.get_untracked();
    let position = focused.and_then(|(id, column)| Some((grid.index_of(id)?, column)));
    let size = (grid.rows.with_untracked(|rows| rows.ids.len()), grid.columns.with_untracked(Vec::len));
    let name = event.key();
    let key = KeyPress { name: &name, shift: event.shift_key(), command: event.ctrl_key() || event.meta_key() };
    let Some(action) = keyboard::key_action(key, position, size, viewport.rows_per_page()) else { return };
    let has_selection = || grid.selected.with_untracked(|s| !s.is_empty());
    match (action, focused) {
        (KeyAction::Go((row, column), extend), _) => {
            let Some(id) = grid.rows.with_untracked(|rows| rows.ids.get(row).copied()) else { return };
            if extend && matches!(name.as_str(), "ArrowDown" | "ArrowUp" | "PageDown" | "PageUp") {
                if let (None, Some((from, _))) = (grid.anchor.get_untracked(), focused) {
                    grid.select(from, false);
                }
                grid.select(id, true);
            }
            viewport.scroll_to_row(row);
            grid.focused_cell.set(Some((id, column)));
        }
        (KeyAction::Edit, Some((id, column))) => grid.edit(id, column),
        (KeyAction::Open, Some((id, _))) => open_page(&format!("/{}/{id}", grid.entity_ref(id).code)),
        (KeyAction::Select, Some((id, _))) => grid.select(id, key.shift),
        (KeyAction::All, _) => grid.select_all(true),
        (KeyAction::Clear, _) if has_selection() => grid.selected.set(BTreeSet::new()),
        (KeyAction::Delete, _) if has_selection() => grid.deleting.set(true),
        _ => return,
    }
    event.prevent_default();
}
