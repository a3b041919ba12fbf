//! Entity table: sorting, filters, column choice, editing in place and bulk actions.
//!
//! Only visible rows are in the document, and a change re-renders only its own row. The editors,
//! the toolbar and the selection bar are lazy views.

pub(crate) mod bulk_actions; // changes of all selected rows
mod column_picker; // picker of a column
mod columns_dialog; // choice of the visible columns
pub(crate) mod context; // state that the components of a table share
pub(crate) mod editor; // cell editors
mod filter_form; // form for one filter
mod focus; // focused cell and key presses
pub(crate) mod keyboard; // key bindings
pub(crate) mod keyed_rows; // keyed reconciliation of the rendered rows
pub(crate) mod lazy_views; // toolbar, editors and bulk actions, loaded later
mod row; // rendering of one row
pub(crate) mod toolbar; // filter chips, columns, export
pub(crate) mod view_state; // sort, filters and columns in the URL
pub(crate) mod viewport; // virtual scrolling

use crate::hooks::{use_entity_list_when, use_offline_entity, use_status};
use crate::ui::reactive::{after_paint, reactive_attr, reactive_view};
use crate::ui::value_view::{self, icon};
use context::{TableContext, cell_id, default_columns_for};
use keyed_rows::render_keyed_rows;
use lazy_views::lazy_table_view;
use leptos::prelude::*;
use leptos_router::NavigateOptions;
use leptos_router::hooks::{use_location, use_navigate, use_query_map};
use pmo_domain::query::{Filter, Operator};
use pmo_domain::{Column, ColumnKind, EntityRef, EntityType};
use pmo_sync::{ListKey, RowView};
use row::row_view;
use serde_json::Value;
use std::collections::BTreeSet;
use uuid::Uuid;
use view_state::{COLUMN_WIDTH_RANGE, TableView};
use viewport::use_viewport;
use wasm_bindgen::JsCast;

pub(crate) use row::sync_badge;

/// Table of the entities in a list.
#[component]
pub(crate) fn EntityTable(
    /// Entity type of the rows.
    entity: EntityType,
    /// List to show; the view adds sort order and filters.
    list: ListKey,
    /// Parent, if the rows are its children by free links; such rows can be unlinked.
    #[prop(optional_no_strip)]
    linked_parent: Option<EntityRef>,
) -> impl IntoView {
    let label = entity.ui_label.clone();
    let grid = use_table_context(entity, list, linked_parent);
    let TableContext { rows, columns, .. } = grid;
    let viewport = use_viewport(96.0);
    let count = Memo::new(move |_| rows.with(|rows| rows.ids.len()));
    deselect_removed_rows(grid);
    focus::mark_focused_cell(grid);
    let navigate = use_navigate();
    let on_keydown = move |event: leptos::ev::KeyboardEvent| {
        focus::on_keydown(grid, viewport, &event, &|path| navigate(path, NavigateOptions::default()));
    };
    let window = Memo::new(move |_| viewport.window(count.get()));
    let visible_ids = move || {
        let window = window.get();
        rows.with(|rows| rows.ids.get(window.first..window.end).map(<[Uuid]>::to_vec).unwrap_or_default())
    };
    // One reactive view per row: a change re-renders only its own row.
    let render_row = move |id: Uuid| {
        let row = use_offline_entity::<RowView>(grid.entity_ref(id));
        let is_selected = Memo::new(move |_| grid.selected.with(|selected| selected.contains(&id)));
        reactive_view(move || match row.get() {
            Some(row) => row_view(grid, id, &row, is_selected).into_any(),
            None => view! { <tr data-id=id.to_string()><td colspan="99"><span class="skeleton"></span></td></tr> }
                .into_any(),
        })
        .into_any()
    };
    let has_selection = Memo::new(move |_| grid.selected.with(|s| !s.is_empty()));
    // Columns change rarely, so header and rows are re-rendered completely when they do.
    let table_body = move || {
        let end = NodeRef::new();
        render_keyed_rows(visible_ids, render_row, end);
        view! {
            {column_widths(grid)}
            {header_view(grid, count, has_selection)}
            <tbody>
                {viewport.spacer(move || window.get().first, NodeRef::new())}
                {viewport.spacer(move || count.get().saturating_sub(window.get().end), end)}
            </tbody>
        }
    };
    let empty_state = reactive_view(move || state_view(grid));
    // Set only while the focused cell is in the document.
    let active_descendant = move || {
        let (id, column) = grid.focused_cell.get()?;
        let window = window.get();
        let rendered = rows.with(|rows| rows.ids.get(window.first..window.end).is_some_and(|ids| ids.contains(&id)));
        rendered.then(|| cell_id(id, column))
    };
    view! {
        <div class="toolbar" role="toolbar" aria-label="Filters and columns">{lazy_table_view(move |views| (views.toolbar)(grid))}</div>
        <div class="content" node_ref=viewport.node on:scroll=move |_| viewport.on_scroll()>
            <div class="grid" class:selecting=reactive_attr(move || grid.touch_selecting.get()) node_ref=grid.node tabindex="0" role="grid" aria-label=label aria-multiselectable="true" aria-activedescendant=reactive_attr(active_descendant)
                aria-rowcount=reactive_attr(move || count.get().to_string()) on:keydown=on_keydown>
                <table class="table cards virtual" class:few-columns=reactive_attr(move || columns.with(|c| c.len() < 6)) role="presentation">{reactive_view(table_body)}</table>
            </div>
            {empty_state}
        </div>
        {reactive_view(move || has_selection.get().then(|| lazy_table_view(move |views| (views.selection_bar)(grid))))}
        {reactive_view(move || grid.editing.get().map(|(id, column)| lazy_table_view(move |views| (views.cell_editor)(grid, id, column))))}
    }
}

/// Creates the state of a table: its view from the URL, its query and its selection.
fn use_table_context(entity: EntityType, list: ListKey, linked_parent: Option<EntityRef>) -> TableContext {
    let stored_type = StoredValue::new(entity);
    let query = use_query_map();
    let table_view = Memo::new(move |_| {
        let pairs = query.get().into_iter().map(|(name, value)| (name.into_owned(), value));
        stored_type.with_value(|entity| TableView::from_query(pairs, entity))
    });
    let (navigate, location) = (use_navigate(), use_location());
    let set_view = Callback::new(move |target: TableView| {
        let address = format!("{}{}", location.pathname.get_untracked(), target.to_query());
        navigate(&address, NavigateOptions { replace: true, scroll: false, ..NavigateOptions::default() });
    });
    let unscoped = list.parent_filter.is_none();
    let columns = Memo::new(move |_| {
        let selected_columns = table_view.with(|a| a.columns.clone());
        stored_type.with_value(|entity| match selected_columns.is_empty() {
            true => table_view.with(|a| default_columns_for(entity, unscoped, a)),
            false => selected_columns.iter().filter_map(|name| entity.column(name).cloned()).collect(),
        })
    });
    let parent_filter = list.parent_filter.as_ref().and_then(|parent| {
        let column = parent.column.clone()?;
        Some(Filter { column, operator: Operator::Eq, values: vec![parent.parent.id.to_string()] })
    });
    // Paint the sort marker in the header first, before the engine sorts thousands of rows.
    let applied_view = RwSignal::new(table_view.get_untracked());
    Effect::new(move |first: Option<()>| {
        let current = table_view.get();
        if first.is_some() {
            after_paint(move || drop(applied_view.try_set(current)));
        }
    });
    let key = Memo::new(move |_| {
        let (sort, filters) = applied_view.with(|a| (a.sort.clone(), a.filters.clone()));
        let sort = sort.unwrap_or_else(|| ("name".to_owned(), false));
        Some(ListKey { filters, sort: vec![sort.into()], ..list.clone() })
    });
    let rows = use_entity_list_when(key);
    TableContext {
        entity: stored_type,
        linked_parent: StoredValue::new(linked_parent),
        parent_filter: StoredValue::new(parent_filter),
        table_view,
        applied_view,
        set_view,
        columns,
        rows,
        selected: RwSignal::default(),
        focused_cell: RwSignal::new(None),
        editing: RwSignal::new(None),
        resizing: RwSignal::new(None),
        touch_selecting: RwSignal::new(false),
        deleting: RwSignal::new(false),
        anchor: RwSignal::new(None),
        node: NodeRef::new(),
    }
}

/// Deselects rows that are no longer in the list.
fn deselect_removed_rows(grid: TableContext) {
    Effect::new(move || {
        let removed = grid.rows.with(|rows| {
            if grid.selected.with_untracked(BTreeSet::is_empty) {
                return Vec::new();
            }
            let present: BTreeSet<Uuid> = rows.ids.iter().copied().collect();
            grid.selected.with_untracked(|selected| {
                selected.iter().filter(|id| !present.contains(id)).copied().collect::<Vec<_>>()
            })
        });
        if !removed.is_empty() {
            grid.selected.update(|selected| selected.retain(|id| !removed.contains(id)));
        }
    });
}

/// Column elements with the widths of the visible columns.
fn column_widths(grid: TableContext) -> impl IntoView {
    let widths = grid
        .columns
        .get()
        .iter()
        .map(|c| {
            let name = c.name.clone();
            view! { <col class=value_view::column_class(c) style=reactive_attr(move || grid.width(&name).map(|w| format!("inline-size:{w}px")))/> }
        })
        .collect_view();
    view! { <colgroup><col class="c-check"/>{widths}<col class=if grid.linked_parent.with_value(Option::is_some) { "c-actions" } else { "c-mark" }/></colgroup> }
}

/// Header row: selects all rows, then one cell per column.
fn header_view(grid: TableContext, count: Memo<usize>, has_selection: Memo<bool>) -> impl IntoView {
    let all_selected = Memo::new(move |_| grid.selected.with(|s| s.len()) >= count.get());
    let toggle_all = move |event| grid.select_all(event_target_checked(&event));
    let headers = grid.columns.get().into_iter().map(|column| head_view(grid, column)).collect_view();
    view! {
        <thead><tr role="row"><th role="columnheader"><label class="check"><input type="checkbox" class="i-check" aria-label="Select all" prop:checked=reactive_attr(move || has_selection.get()) prop:indeterminate=reactive_attr(move || has_selection.get() && !all_selected.get()) on:change=toggle_all/></label></th>
            {headers}<th role="columnheader"><span class="vh">"Sync"</span></th></tr></thead>
    }
}

/// Message or placeholder for a table without rows.
fn state_view(grid: TableContext) -> AnyView {
    let status = use_status();
    let list = grid.rows.get();
    if !list.ids.is_empty() {
        return ().into_any();
    }
    if list.loaded && grid.applied_view.with(|a| !a.filters.is_empty()) {
        let clear = move |_| grid.set_view.run(TableView { filters: Vec::new(), ..grid.table_view.get_untracked() });
        return view! { <div class="blank"><span class="glyph">{icon("list-filter")}</span><h2>"No matches"</h2><p>"Edit or clear the filters."</p>
            <button class="btn" on:click=clear>"Clear filters"</button></div> }
        .into_any();
    }
    if list.loaded {
        let entity = grid.entity.get_value();
        // The type that an empty installation starts with, if the user can create it.
        let unscoped = grid.parent_filter.with_value(Option::is_none) && grid.linked_parent.with_value(Option::is_none);
        if unscoped && entity.can_create && entity.config_datatable.get("start_type") == Some(&Value::Bool(true)) {
            return lazy_table_view(move |views| (views.onboarding)(entity.code.clone())).into_any();
        }
        let title = format!("No {} yet", entity.ui_label.to_lowercase());
        let hint = entity.config_datatable.get("empty_text").and_then(Value::as_str).unwrap_or_default();
        let text = format!("{hint} New and shared items appear here immediately.");
        view! { <div class="blank"><span class="glyph">{icon("inbox")}</span><h2>{title}</h2><p>{text}</p></div> }
            .into_any()
    } else if list.failed || !status.get().online {
        view! { <div class="blank"><span class="glyph">{icon("cloud-off")}</span><h2>"This list could not be loaded"</h2><p>"It has not been opened on this device before. It loads when the connection is restored."</p></div> }.into_any()
    } else {
        view! { <div class="skeletons" aria-busy="true">{(0..8).map(|_| view! { <span class="skeleton"></span> }).collect_view()}</div> }.into_any()
    }
}

/// Width in pixels that is reported to assistive technology for a column of automatic width.
const DEFAULT_COLUMN_WIDTH: u32 = 100;

/// Header cell: sorts by the column, and resizes it by pointer or arrow keys.
fn head_view(grid: TableContext, column: Column) -> impl IntoView {
    let name = StoredValue::new(column.name.clone());
    let sort_direction = move || {
        let sort = grid.table_view.with(|a| a.sort.clone()).unwrap_or_else(|| ("name".to_owned(), false));
        (sort.0 == name.get_value()).then_some(if sort.1 { "descending" } else { "ascending" })
    };
    let sortable = !matches!(column.kind, ColumnKind::Json | ColumnKind::References { .. } | ColumnKind::TextList);
    let toggle_sort = move |_| grid.set_view.run(grid.table_view.get_untracked().toggle_sort(&name.get_value()));
    let header_node = NodeRef::<leptos::html::Th>::new();
    let current_width = move || header_node.get_untracked().map(|th| th.offset_width()).unwrap_or_default();
    let resize = move |target_width: i32| {
        let target_width = u32::try_from(target_width)
            .unwrap_or_default()
            .clamp(*COLUMN_WIDTH_RANGE.start(), *COLUMN_WIDTH_RANGE.end());
        grid.resizing.set(Some((name.get_value(), target_width)));
    };
    // Write the width into the URL only at the end: browsers limit the rate of history updates.
    let commit_width = move || {
        if let Some((column, width)) = grid.resizing.get_untracked() {
            grid.set_view.run(grid.table_view.get_untracked().with_column_width(&column, width));
            grid.resizing.set(None);
        }
    };
    // Start of the drag: pointer position and column width in pixels.
    let drag_start = StoredValue::new(None::<(i32, i32)>);
    let on_pointerdown = move |event: leptos::ev::PointerEvent| {
        event.prevent_default();
        drag_start.set_value(Some((event.client_x(), current_width())));
        if let Some(edge) = event.target().and_then(|t| t.dyn_into::<web_sys::Element>().ok()) {
            let _ = edge.set_pointer_capture(event.pointer_id());
        }
    };
    let on_pointermove = move |event: leptos::ev::PointerEvent| {
        if let Some((x, start_width)) = drag_start.get_value() {
            resize(start_width + event.client_x() - x);
        }
    };
    let on_keydown = move |event: leptos::ev::KeyboardEvent| {
        let delta = match event.key().as_str() {
            "ArrowRight" => 16,
            "ArrowLeft" => -16,
            _ => return,
        };
        event.prevent_default();
        resize(current_width() + delta);
    };
    let label = column.label.clone();
    let edge_label = format!("Width of {label}");
    let content = if sortable {
        view! { <button tabindex="-1" on:click=toggle_sort>{label}{reactive_view(move || sort_direction().map(|d| icon(if d == "ascending" { "chevron-up" } else { "chevron-down" })))}</button> }.into_any()
    } else {
        label.into_any()
    };
    view! {
        <th role="columnheader" class:end=value_view::is_right_aligned(&column.kind) node_ref=header_node aria-sort=reactive_attr(sort_direction)>{content}
            <span class="edge" role="separator" tabindex="0" aria-orientation="vertical" aria-label=edge_label aria-valuenow=reactive_attr(move || grid.width(&name.get_value()).unwrap_or(DEFAULT_COLUMN_WIDTH).to_string())
                on:pointerdown=on_pointerdown on:pointermove=on_pointermove on:pointerup=move |_| { drag_start.set_value(None); commit_width(); } on:keyup=move |_| commit_width() on:keydown=on_keydown></span></th>
    }
}
