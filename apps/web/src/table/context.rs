//! State that the components of one table share, and the columns that a table shows.

use super::view_state::TableView;
use crate::client::client;
use crate::hooks::use_entity_mutation;
use leptos::prelude::*;
use pmo_domain::query::Filter;
use pmo_domain::{Column, ColumnKind, EntityRef, EntityType};
use pmo_sync::ListView;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use uuid::Uuid;

/// Returns the default columns of a type.
///
/// The type configures them in `config_datatable`; otherwise the first eight visible columns.
pub(crate) fn default_columns(entity: &EntityType) -> Vec<Column> {
    let configured = entity.config_datatable.get("columns").and_then(Value::as_array);
    let configured: Vec<Column> =
        configured.into_iter().flatten().filter_map(|name| entity.column(name.as_str()?).cloned()).collect();
    if configured.is_empty() {
        entity.columns.iter().filter(|c| !c.hidden).take(8).cloned().collect()
    } else {
        configured
    }
}

/// Returns the default columns of a table.
///
/// If the list is not limited to one parent (`unscoped`), the column that names the owner is added
/// after the name, unless a filter already limits it.
pub(super) fn default_columns_for(entity: &EntityType, unscoped: bool, table_view: &TableView) -> Vec<Column> {
    let mut columns = default_columns(entity);
    if let Some(owner) = Some(()).filter(|()| unscoped).and_then(|()| entity.column(&owner_column(entity)?).cloned())
        && !columns.contains(&owner)
        && !table_view.filters.iter().any(|f| f.column == owner.name)
    {
        columns.insert(columns.iter().position(|c| c.name == "name").map_or(0, |index| index + 1), owner);
    }
    columns
}

/// Returns the column that names the owner of an entity; `None` for root types.
fn owner_column(entity: &EntityType) -> Option<String> {
    let catalog = crate::hooks::catalog();
    catalog
        .parent_relations(entity.code.as_str())
        .filter(|(parent, relation)| {
            !entity.root_flag && relation.owned && relation.parent_type_column.is_none() && parent.code != entity.code
        })
        .find_map(|(_, relation)| relation.parent_column.clone())
}

/// State shared by the components of a table.
#[derive(Clone, Copy)]
pub(crate) struct TableContext {
    /// Entity type of the rows.
    pub entity: StoredValue<EntityType>,
    /// Parent, if the rows are its children by free links; such rows can be unlinked.
    pub linked_parent: StoredValue<Option<EntityRef>>,
    /// Filter on the parent column, if the rows are limited to one parent by a column.
    pub parent_filter: StoredValue<Option<Filter>>,
    /// Sort order, filters, columns and widths, as in the URL.
    pub table_view: Memo<TableView>,
    /// View that is applied to the query; it follows `table_view` after the next paint.
    pub(super) applied_view: RwSignal<TableView>,
    /// Changes the view by writing it into the URL.
    pub set_view: Callback<TableView>,
    /// Visible columns, in order.
    pub columns: Memo<Vec<Column>>,
    /// Ids of the rows, in order.
    pub rows: Memo<ListView>,
    /// Ids of the selected rows.
    pub selected: RwSignal<BTreeSet<Uuid>>,
    /// Focused cell: row id and column index.
    pub focused_cell: RwSignal<Option<(Uuid, usize)>>,
    /// Cell that is being edited: row id and column index.
    pub editing: RwSignal<Option<(Uuid, usize)>>,
    /// Column that is being resized, and its current width in pixels.
    pub(super) resizing: RwSignal<Option<(String, u32)>>,
    /// Whether a touch selects rows (on small screens).
    pub touch_selecting: RwSignal<bool>,
    /// Whether the confirmation to delete the selected rows is open.
    pub deleting: RwSignal<bool>,
    /// First row of a range selection.
    pub(super) anchor: RwSignal<Option<Uuid>>,
    /// Element that receives the key events.
    pub(super) node: NodeRef<leptos::html::Div>,
}

impl TableContext {
    /// Returns the entity of the row `id`.
    pub(crate) fn entity_ref(&self, id: Uuid) -> EntityRef {
        EntityRef::new(self.entity.with_value(|e| e.code.clone()), id)
    }

    /// Returns the default columns of this table.
    pub(crate) fn default_columns(&self) -> Vec<Column> {
        let unscoped = self.parent_filter.with_value(Option::is_none) && self.linked_parent.with_value(Option::is_none);
        self.entity.with_value(|entity| self.table_view.with_untracked(|a| default_columns_for(entity, unscoped, a)))
    }

    /// Returns the width of a column in pixels, if it was changed or is being resized.
    pub(super) fn width(&self, column: &str) -> Option<u32> {
        let resized =
            self.resizing.with(|resized| resized.as_ref().filter(|(name, _)| name == column).map(|(_, width)| *width));
        resized.or_else(|| self.table_view.with(|a| a.width(column)))
    }

    /// Moves the keyboard focus to the table without scrolling.
    pub(crate) fn focus(&self) {
        if let Some(node) = self.node.get_untracked() {
            let options = web_sys::FocusOptions::new();
            options.set_prevent_scroll(true);
            let _ = node.focus_with_options(&options);
        }
    }

    /// Returns the index of a row in the list.
    pub(crate) fn index_of(&self, id: Uuid) -> Option<usize> {
        self.rows.with_untracked(|rows| rows.ids.iter().position(|row| *row == id))
    }

    /// Toggles the selection of a row.
    ///
    /// With `extend`, selects all rows between this row and the row that was toggled last.
    pub(crate) fn select(&self, id: Uuid, extend: bool) {
        let (index, anchor_index) =
            (self.index_of(id), self.anchor.get_untracked().and_then(|anchor| self.index_of(anchor)));
        if let (true, Some(index), Some(anchor_index)) = (extend, index, anchor_index) {
            let range =
                self.rows.with_untracked(|rows| rows.ids[index.min(anchor_index)..=index.max(anchor_index)].to_vec());
            self.selected.update(|selected| selected.extend(range));
            return;
        }
        self.anchor.set(Some(id));
        self.selected.update(|selected| {
            if !selected.remove(&id) {
                selected.insert(id);
            }
        });
    }

    /// Selects all rows, or none.
    pub(super) fn select_all(&self, on: bool) {
        self.selected.set(if on {
            self.rows.with_untracked(|rows| rows.ids.iter().copied().collect())
        } else {
            BTreeSet::new()
        });
    }

    /// Starts to edit a cell.
    ///
    /// A boolean cell is toggled immediately; a cell that is not editable only receives the focus.
    pub(crate) fn edit(&self, id: Uuid, column: usize) {
        self.focused_cell.set(Some((id, column)));
        let Some(column_kind) = self.columns.with_untracked(|all| all.get(column).cloned()) else { return };
        if !editable(&column_kind) {
            return;
        }
        let entity = self.entity_ref(id);
        if column_kind.kind == ColumnKind::Boolean {
            let checked = client()
                .read(|e| e.row(&entity))
                .is_some_and(|row| row.data.get(&column_kind.name) == Some(&json!(true)));
            use_entity_mutation(entity.code).update(id, crate::hooks::row_with(&column_kind.name, json!(!checked)));
        } else {
            self.editing.set(Some((id, column)));
        }
    }
}

/// Returns whether a column can be edited in a table.
pub(crate) fn editable(column: &Column) -> bool {
    use ColumnKind as K;
    !column.read_only && !matches!(column.kind, K::Id | K::Uuid | K::Json | K::TextList)
}

/// Returns the DOM id of a cell.
pub(crate) fn cell_id(id: Uuid, column: usize) -> String {
    format!("c{column}-{id}")
}
