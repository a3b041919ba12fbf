//! State that the components of the page share.

use super::tree::{OutlineRow, id_of, outline};
use crate::hooks::{ListRows, use_datalabel, use_rows};
use crate::table::viewport::{Viewport, use_viewport};
use leptos::prelude::*;
use pmo_domain::{EntityCode, EntityRef, Permission};
use pmo_sync::{ListKey, RowView};
use serde_json::Value;
use std::collections::HashSet;
use uuid::Uuid;

/// State shared by the components of the outline.
#[derive(Clone, Copy)]
pub(super) struct OutlineState {
    /// Tasks of the project.
    pub(super) list: Memo<ListRows<RowView>>,
    /// Visible rows, in depth-first order.
    pub(super) rows: Memo<Vec<OutlineRow>>,
    /// Collapsed rows: their descendants are hidden.
    pub(super) collapsed: RwSignal<HashSet<Uuid>>,
    /// Row and column of the open option menu.
    pub(super) editing: RwSignal<Option<(Uuid, &'static str)>>,
    /// Row with the keyboard focus.
    pub(super) focused: RwSignal<Option<Uuid>>,
    /// Whether the dialog for a new task is open.
    pub(super) adding: RwSignal<bool>,
    /// Task that was just created and is not yet scrolled into view.
    pub(super) created_id: RwSignal<Option<Uuid>>,
    pub(super) viewport: Viewport,
    pub(super) can_edit: Memo<bool>,
    pub(super) can_create: Memo<bool>,
}

/// Creates the state of the outline of `project`, whose row grants the permissions.
pub(super) fn use_outline(project: &EntityRef, task: EntityCode, row: Memo<Option<RowView>>) -> OutlineState {
    let list = use_rows::<RowView>(ListKey::children_of(task, project.clone(), "project_id"));
    use_datalabel("task_stage");
    let permission = Memo::new(move |_| {
        row.get().and_then(|r| r.data.get("permission").and_then(Value::as_u64)).unwrap_or_default()
    });
    let has_permission =
        move |required: Permission| Memo::new(move |_| permission.get() >= u64::from(u8::from(required)));
    let collapsed = RwSignal::<HashSet<Uuid>>::default();
    let state = OutlineState {
        list,
        rows: Memo::new(move |_| collapsed.with(|collapsed| list.with(|list| outline(&list.rows, collapsed)))),
        collapsed,
        editing: RwSignal::new(None),
        focused: RwSignal::new(None),
        adding: RwSignal::new(false),
        created_id: RwSignal::new(None),
        viewport: use_viewport(72.0),
        can_edit: has_permission(Permission::Edit),
        can_create: has_permission(Permission::Create),
    };
    Effect::new(move || state.scroll_to_created());
    state
}

impl OutlineState {
    /// Scrolls to a task that was just created, wherever it was sorted in.
    fn scroll_to_created(&self) {
        let Some(id) = self.created_id.get() else { return };
        let Some(index) = self.rows.with(|rows| rows.iter().position(|row| row.id == id)) else {
            // Its parent is collapsed: expand it.
            let row = self.list.with(|list| list.rows.iter().find(|r| id_of(&r.data, "id") == Some(id)).cloned());
            if let Some(parent) = row.and_then(|r| id_of(&r.data, "parent__task_id"))
                && self.collapsed.with_untracked(|collapsed| collapsed.contains(&parent))
            {
                self.collapsed.update(|collapsed| {
                    collapsed.remove(&parent);
                });
            }
            return;
        };
        self.focused.set(self.created_id.get_untracked());
        self.viewport.scroll_to_row(index);
        self.created_id.set(None);
    }

    /// Returns the parent for a new task: the focused task, if it has sub-tasks.
    pub(super) fn new_task_parent(&self) -> Option<Uuid> {
        let focused = self.focused.get()?;
        self.rows.with(|rows| rows.iter().any(|row| row.id == focused && row.descendants > 0)).then_some(focused)
    }

    /// Collapses or expands the focused row, if it has descendants.
    fn set_focused_collapsed(&self, rows: &[OutlineRow], index: Option<usize>, collapse: bool) {
        if let Some(row) = index.and_then(|index| rows.get(index)).filter(|row| row.descendants > 0) {
            self.collapsed.update(|collapsed| {
                if collapse {
                    collapsed.insert(row.id);
                } else {
                    collapsed.remove(&row.id);
                }
            });
        }
    }

    /// Handles a key press; `open_page` opens the URL of a task.
    pub(super) fn on_keydown(&self, event: &leptos::ev::KeyboardEvent, open_page: &dyn Fn(&str)) {
        let rows = self.rows.get_untracked();
        let index = self.focused.get_untracked().and_then(|focused| rows.iter().position(|row| row.id == focused));
        let focus_row = |target: usize| {
            if let Some(row) = rows.get(target) {
                self.focused.set(Some(row.id));
                self.viewport.scroll_to_row(target);
            }
        };
        match event.key().as_str() {
            "Escape" => self.editing.set(None),
            _ if self.editing.get_untracked().is_some() => return,
            "ArrowDown" => focus_row(index.map_or(0, |index| index + 1)),
            "ArrowUp" => focus_row(index.map_or(0, |index| index.saturating_sub(1))),
            "ArrowLeft" => self.set_focused_collapsed(&rows, index, true),
            "ArrowRight" => self.set_focused_collapsed(&rows, index, false),
            "Enter" => {
                if let Some(id) = self.focused.get_untracked() {
                    open_page(&format!("/task/{id}"));
                }
            }
            "s" if self.can_edit.get_untracked() => {
                self.editing.set(self.focused.get_untracked().map(|id| (id, "dl__task_stage")))
            }
            "n" if self.can_create.get_untracked() => self.adding.set(true),
            _ => return,
        }
        event.prevent_default();
    }
}
