//! Things of a type as a table: ordered, filtered, with columns of one's choice, changed in place, many at once. Only rows that are seen are in the document, and
//! a change draws its own row alone. What opens over it (editors, the tool bar's menus) comes with the later part of the app.

pub mod bulk_actions; // changing many rows
pub mod editor; // changing a cell
pub mod keyboard; // what a key does
pub mod keyed_rows; // those that are in the document
mod row; // drawing one row
pub mod toolbar; // filters, order, columns
pub mod view_state; // what the address says of it
pub mod viewport; // which rows are seen

use crate::client::client;
use crate::hooks::{use_entity_list_when, use_entity_mutation, use_offline_entity, use_status};
use crate::lazy::lazy_overlay;
use crate::ui::reactive::{after_paint, reactive_attr, reactive_view};
use crate::ui::value_view::{self, icon};
use keyboard::{KeyAction, KeyPress};
use keyed_rows::render_keyed_rows;
use leptos::prelude::*;
use leptos_router::NavigateOptions;
use leptos_router::hooks::{use_location, use_navigate, use_query_map};
use pmo_domain::query::{Filter, Operator};
use pmo_domain::{Column, ColumnKind, EntityRef, EntityType};
use pmo_sync::{ListKey, ListView, RowView};
use row::row_view;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use uuid::Uuid;
use view_state::{COLUMN_WIDTH_RANGE, TableView};
use viewport::use_viewport;
use wasm_bindgen::JsCast;

pub use row::sync_badge;

/// The columns that a type's table shows where nobody has chosen.
pub fn default_columns(entity: &EntityType) -> Vec<Column> {
    let chosen = entity.config_datatable.get("columns").and_then(Value::as_array);
    let chosen: Vec<Column> =
        chosen.into_iter().flatten().filter_map(|name| entity.column(name.as_str()?).cloned()).collect();
    if chosen.is_empty() { entity.columns.iter().filter(|c| !c.hidden).take(8).cloned().collect() } else { chosen }
}

/// The columns that a table shows where nobody has chosen: where things of many stand in one list, each says whose it is.
fn default_columns_for(entity: &EntityType, all: bool, arrangement: &TableView) -> Vec<Column> {
    let mut usual = default_columns(entity);
    if let Some(owner) = Some(()).filter(|()| all).and_then(|()| entity.column(&owner_column(entity)?).cloned())
        && !usual.contains(&owner)
        && !arrangement.filters.iter().any(|f| f.column == owner.name)
    {
        usual.insert(usual.iter().position(|c| c.name == "name").map_or(0, |at| at + 1), owner);
    }
    usual
}

/// The column that names what owns a thing of this type, where such things stand below others.
fn owner_column(entity: &EntityType) -> Option<String> {
    let catalogue = crate::hooks::catalogue();
    catalogue
        .parent_relations(entity.code.as_str())
        .filter(|(parent, tie)| {
            !entity.root_flag && tie.owned && tie.parent_type_column.is_none() && parent.code != entity.code
        })
        .find_map(|(_, tie)| tie.parent_column.clone())
}

/// What the parts of a table share.
#[derive(Clone, Copy)]
pub struct TableContext {
    /// The type of the rows.
    pub entity: StoredValue<EntityType>,
    /// The thing above, where links alone tie the rows to it: they can be taken out.
    pub linked: StoredValue<Option<EntityRef>>,
    /// The condition that says what is above the rows, where a column of theirs does.
    pub below: StoredValue<Option<Filter>>,
    /// How it is arranged.
    pub arrangement: Memo<TableView>,
    /// As its rows are arranged by now.
    applied_view: RwSignal<TableView>,
    /// Arranges it anew.
    pub arrange: Callback<TableView>,
    /// Columns, as they are shown.
    pub columns: Memo<Vec<Column>>,
    /// The list.
    pub rows: Memo<ListView>,
    /// Selected rows.
    pub selected: RwSignal<BTreeSet<Uuid>>,
    /// Where the keyboard is.
    pub focused_cell: RwSignal<Option<(Uuid, usize)>>,
    /// The cell that is being changed.
    pub editing: RwSignal<Option<(Uuid, usize)>>,
    /// The column that is being drawn to another width, and how wide it is by now.
    resizing: RwSignal<Option<(String, u32)>>,
    /// Rows are picked by touching them, on a phone.
    pub touch_selecting: RwSignal<bool>,
    /// Asked whether to delete what is selected.
    pub deleting: RwSignal<bool>,
    /// Where extending a selection began.
    anchor: RwSignal<Option<Uuid>>,
    /// The element that takes the keys.
    node: NodeRef<leptos::html::Div>,
}

impl TableContext {
    /// A thing of the table.
    pub fn entity_ref(&self, id: Uuid) -> EntityRef {
        EntityRef::new(self.entity.with_value(|e| e.code.clone()), id)
    }

    /// The columns that it shows where nobody has chosen.
    pub fn usual(&self) -> Vec<Column> {
        let all = self.below.with_value(Option::is_none) && self.linked.with_value(Option::is_none);
        self.entity.with_value(|entity| self.arrangement.with_untracked(|a| default_columns_for(entity, all, a)))
    }

    /// The width of a column, where it is another than usual.
    fn width(&self, column: &str) -> Option<u32> {
        let drawn =
            self.resizing.with(|drawn| drawn.as_ref().filter(|(name, _)| name == column).map(|(_, width)| *width));
        drawn.or_else(|| self.arrangement.with(|a| a.width(column)))
    }

    /// Gives the keyboard back to the table.
    pub fn focus(&self) {
        if let Some(node) = self.node.get_untracked() {
            let options = web_sys::FocusOptions::new();
            options.set_prevent_scroll(true);
            let _ = node.focus_with_options(&options);
        }
    }

    /// The number of a row among all.
    pub fn index_of(&self, id: Uuid) -> Option<usize> {
        self.rows.with_untracked(|rows| rows.ids.iter().position(|row| *row == id))
    }

    /// Selects a row or leaves it; with `extend` all between it and the last one that was selected.
    pub fn select(&self, id: Uuid, extend: bool) {
        let (here, from) = (self.index_of(id), self.anchor.get_untracked().and_then(|from| self.index_of(from)));
        if let (true, Some(here), Some(from)) = (extend, here, from) {
            let between = self.rows.with_untracked(|rows| rows.ids[here.min(from)..=here.max(from)].to_vec());
            self.selected.update(|selected| selected.extend(between));
            return;
        }
        self.anchor.set(Some(id));
        self.selected.update(|selected| {
            if !selected.remove(&id) {
                selected.insert(id);
            }
        });
    }

    /// Opens a cell to be changed: yes-or-no turns at once, what nobody may write stays.
    pub fn edit(&self, id: Uuid, column: usize) {
        self.focused_cell.set(Some((id, column)));
        let Some(column_kind) = self.columns.with_untracked(|all| all.get(column).cloned()) else { return };
        if !editable(&column_kind) {
            return;
        }
        let thing = self.entity_ref(id);
        if column_kind.kind == ColumnKind::Boolean {
            let on = client()
                .read(|e| e.row(&thing))
                .is_some_and(|row| row.data.get(&column_kind.name) == Some(&json!(true)));
            use_entity_mutation(thing.code).update(id, crate::hooks::row_with(&column_kind.name, json!(!on)));
        } else {
            self.editing.set(Some((id, column)));
        }
    }
}

/// Whether a person can write a column in a table.
pub fn editable(column: &Column) -> bool {
    use ColumnKind as K;
    !column.read_only && !matches!(column.kind, K::Id | K::Uuid | K::Json | K::TextList)
}

/// A cell's id in the document.
pub fn cell_id(id: Uuid, column: usize) -> String {
    format!("c{column}-{id}")
}

/// A table of things.
#[component]
pub fn EntityTable(
    /// Their type.
    entity: EntityType,
    /// The list.
    list: ListKey,
    /// The thing above, where links alone tie them: rows can be taken out.
    #[prop(optional_no_strip)]
    linked: Option<EntityRef>,
) -> impl IntoView {
    let label = entity.ui_label.clone();
    let stored = StoredValue::new(entity);
    let query = use_query_map();
    let arrangement = Memo::new(move |_| {
        let pairs = query.get().into_iter().map(|(name, value)| (name.into_owned(), value));
        stored.with_value(|entity| TableView::from_query(pairs, entity))
    });
    let (navigate, location) = (use_navigate(), use_location());
    let arrange = Callback::new(move |to: TableView| {
        let address = format!("{}{}", location.pathname.get_untracked(), to.to_query());
        navigate(&address, NavigateOptions { replace: true, scroll: false, ..NavigateOptions::default() });
    });
    let all = list.below.is_none();
    let columns = Memo::new(move |_| {
        let chosen = arrangement.with(|a| a.columns.clone());
        stored.with_value(|entity| match chosen.is_empty() {
            true => arrangement.with(|a| default_columns_for(entity, all, a)),
            false => chosen.iter().filter_map(|name| entity.column(name).cloned()).collect(),
        })
    });
    let below = list.below.as_ref().and_then(|below| {
        let column = below.column.clone()?;
        Some(Filter { column, operator: Operator::Eq, values: vec![below.parent.id.to_string()] })
    });
    // An order that is chosen is on its heading before ten thousand rows are put in it.
    let asked = RwSignal::new(arrangement.get_untracked());
    Effect::new(move |first: Option<()>| {
        let now = arrangement.get();
        if first.is_some() {
            after_paint(move || drop(asked.try_set(now)));
        }
    });
    let key = Memo::new(move |_| {
        let (sort, filters) = asked.with(|a| (a.sort.clone(), a.filters.clone()));
        let (by, down) = sort.unwrap_or_else(|| ("name".to_owned(), false));
        Some(ListKey { filters, ..list.clone().sorted(by, down) })
    });
    let rows = use_entity_list_when(key);
    let viewport = use_viewport(96.0);
    let grid = TableContext {
        entity: stored,
        linked: StoredValue::new(linked),
        below: StoredValue::new(below),
        arrangement,
        applied_view: asked,
        arrange,
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
    };
    let count = Memo::new(move |_| rows.with(|rows| rows.ids.len()));
    // What left the list is not selected any more.
    Effect::new(move || {
        let gone = rows.with(|rows| {
            if grid.selected.with_untracked(BTreeSet::is_empty) {
                return Vec::new();
            }
            let here: BTreeSet<Uuid> = rows.ids.iter().copied().collect();
            grid.selected
                .with_untracked(|selected| selected.iter().filter(|id| !here.contains(id)).copied().collect::<Vec<_>>())
        });
        if !gone.is_empty() {
            grid.selected.update(|selected| selected.retain(|id| !gone.contains(id)));
        }
    });
    // The cell where the keyboard is: told to the screen reader by its id, marked without drawing its row.
    let mark = |at: Option<(Uuid, usize)>, on: bool| {
        if let Some(cell) = at.and_then(|(id, column)| document().get_element_by_id(&cell_id(id, column))) {
            let _ = cell.class_list().toggle_with_force("at", on);
        }
    };
    Effect::new(move |before: Option<Option<(Uuid, usize)>>| {
        let at = grid.focused_cell.get();
        mark(before.flatten(), false);
        mark(at, true);
        at
    });
    let navigate = use_navigate();
    let keys = move |event: leptos::ev::KeyboardEvent| {
        // Fields and buttons inside the table have keys of their own.
        let inside = event.target() != event.current_target();
        if inside || grid.editing.get_untracked().is_some() || event.alt_key() {
            return;
        }
        let at = grid.focused_cell.get_untracked().and_then(|(id, column)| Some((grid.index_of(id)?, column)));
        let size = (count.get_untracked(), columns.with_untracked(Vec::len));
        let name = event.key();
        let key = KeyPress { name: &name, shift: event.shift_key(), command: event.ctrl_key() || event.meta_key() };
        let Some(step) = keyboard::step(key, at, size, viewport.rows_per_page()) else { return };
        let here = grid.focused_cell.get_untracked();
        match (step, here) {
            (KeyAction::Go((row, column), extend), _) => {
                let Some(id) = rows.with_untracked(|rows| rows.ids.get(row).copied()) else { return };
                if extend && matches!(name.as_str(), "ArrowDown" | "ArrowUp" | "PageDown" | "PageUp") {
                    if let (None, Some((from, _))) = (grid.anchor.get_untracked(), here) {
                        grid.select(from, false);
                    }
                    grid.select(id, true);
                }
                viewport.scroll_to_row(row);
                grid.focused_cell.set(Some((id, column)));
            }
            (KeyAction::Edit, Some((id, column))) => grid.edit(id, column),
            (KeyAction::Open, Some((id, _))) => {
                let thing = grid.entity_ref(id);
                navigate(&format!("/{}/{id}", thing.code), NavigateOptions::default());
            }
            (KeyAction::Select, Some((id, _))) => grid.select(id, key.shift),
            (KeyAction::All, _) => grid.selected.set(rows.with_untracked(|rows| rows.ids.iter().copied().collect())),
            (KeyAction::Leave, _) if grid.selected.with_untracked(|s| !s.is_empty()) => {
                grid.selected.set(BTreeSet::new())
            }
            (KeyAction::Delete, _) if grid.selected.with_untracked(|s| !s.is_empty()) => grid.deleting.set(true),
            _ => return,
        }
        event.prevent_default();
    };
    let window = Memo::new(move |_| viewport.window(count.get()));
    let seen = move || {
        let window = window.get();
        rows.with(|rows| rows.ids.get(window.first..window.end).map(<[Uuid]>::to_vec).unwrap_or_default())
    };
    // A row is drawn again when it changes, and no other with it.
    let draw = move |id: Uuid| {
        let row = use_offline_entity::<RowView>(grid.entity_ref(id));
        let chosen = Memo::new(move |_| grid.selected.with(|selected| selected.contains(&id)));
        reactive_view(move || match row.get() {
            Some(row) => row_view(grid, id, &row, chosen).into_any(),
            None => view! { <tr data-id=id.to_string()><td colspan="99"><span class="skeleton"></span></td></tr> }
                .into_any(),
        })
        .into_any()
    };
    let all_selected = move |event| {
        let on = event_target_checked(&event);
        grid.selected.set(if on {
            rows.with_untracked(|rows| rows.ids.iter().copied().collect())
        } else {
            BTreeSet::new()
        });
    };
    let some = Memo::new(move |_| grid.selected.with(|s| !s.is_empty()));
    let every = Memo::new(move |_| grid.selected.with(|s| s.len()) >= count.get());
    // Columns are few and seldom another: the head and all rows are drawn anew with them.
    let body = move || {
        let end = NodeRef::new();
        render_keyed_rows(seen, draw, end);
        let head = columns.get().into_iter().map(|column| head_view(grid, column)).collect_view();
        let widths = columns
            .get()
            .iter()
            .map(|c| {
                let name = c.name.clone();
                view! { <col class=value_view::column_class(c) style=reactive_attr(move || grid.width(&name).map(|w| format!("inline-size:{w}px")))/> }
            })
            .collect_view();
        view! {
            <colgroup><col class="c-check"/>{widths}<col class=if grid.linked.with_value(Option::is_some) { "c-acts" } else { "c-mark" }/></colgroup>
            <thead><tr role="row"><th role="columnheader"><label class="check"><input type="checkbox" class="i-check" aria-label="Select all" prop:checked=reactive_attr(move || some.get()) prop:indeterminate=reactive_attr(move || some.get() && !every.get()) on:change=all_selected/></label></th>
                {head}<th role="columnheader"><span class="vh">"Sync"</span></th></tr></thead>
            <tbody>
                {viewport.spacer(move || window.get().first, NodeRef::new())}
                {viewport.spacer(move || count.get().saturating_sub(window.get().end), end)}
            </tbody>
        }
    };
    let state = reactive_view(move || state_view(grid));
    // Told only while it is in the document.
    let active = move || {
        let (id, column) = grid.focused_cell.get()?;
        let seen = window.get();
        let row = rows.with(|rows| rows.ids.get(seen.first..seen.end).is_some_and(|seen| seen.contains(&id)));
        row.then(|| cell_id(id, column))
    };
    view! {
        <div class="toolbar" role="toolbar" aria-label="Filters and columns">{lazy_overlay(move |pages| (pages.table_tools)(grid))}</div>
        <div class="content" node_ref=viewport.node on:scroll=move |_| viewport.on_scroll()>
            <div class="grid" class:picking=reactive_attr(move || grid.touch_selecting.get()) node_ref=grid.node tabindex="0" role="grid" aria-label=label aria-multiselectable="true" aria-activedescendant=reactive_attr(active)
                aria-rowcount=reactive_attr(move || count.get().to_string()) on:keydown=keys>
                <table class="table cards virtual" class:few=reactive_attr(move || columns.with(|c| c.len() < 6)) role="presentation">{reactive_view(body)}</table>
            </div>
            {state}
        </div>
        {reactive_view(move || some.get().then(|| lazy_overlay(move |pages| (pages.selection_bar)(grid))))}
        {reactive_view(move || grid.editing.get().map(|(id, column)| lazy_overlay(move |pages| (pages.cell_editor)(grid, id, column))))}
    }
}

/// What is said where no rows are.
fn state_view(grid: TableContext) -> AnyView {
    let status = use_status();
    let list = grid.rows.get();
    if !list.ids.is_empty() {
        return ().into_any();
    }
    if list.loaded && grid.applied_view.with(|a| !a.filters.is_empty()) {
        let clear = move |_| grid.arrange.run(TableView { filters: Vec::new(), ..grid.arrangement.get_untracked() });
        return view! { <div class="blank"><span class="glyph">{icon("list-filter")}</span><h2>"Nothing passes these filters"</h2><p>"Change one of them, or take them away to see everything."</p>
            <button class="btn" on:click=clear>"Clear filters"</button></div> }
        .into_any();
    }
    if list.loaded {
        let entity = grid.entity.get_value();
        // The type with which an installation begins, and somebody who may begin.
        let whole = grid.below.with_value(Option::is_none) && grid.linked.with_value(Option::is_none);
        if whole && entity.can_create && entity.config_datatable.get("first") == Some(&Value::Bool(true)) {
            return lazy_overlay(move |pages| (pages.first_run)(entity.code.clone())).into_any();
        }
        let title = format!("No {} yet", entity.ui_label.to_lowercase());
        let words = entity.config_datatable.get("empty").and_then(Value::as_str).unwrap_or_default();
        let text = format!("{words} What is made or shared with you appears here at once.");
        view! { <div class="blank"><span class="glyph">{icon("inbox")}</span><h2>{title}</h2><p>{text}</p></div> }
            .into_any()
    } else if list.failed || !status.get().online {
        view! { <div class="blank"><span class="glyph">{icon("cloud-off")}</span><h2>"This could not be loaded"</h2><p>"It has not been opened on this device before, and the server can't be reached. It loads as soon as the network returns."</p></div> }.into_any()
    } else {
        view! { <div class="skeletons" aria-busy="true">{(0..8).map(|_| view! { <span class="skeleton"></span> }).collect_view()}</div> }.into_any()
    }
}

/// What is said of a column's width while nobody has chosen one.
const DEFAULT_COLUMN_WIDTH: u32 = 100;

/// The head of a column: sorts by it, and is drawn to another width.
fn head_view(grid: TableContext, column: Column) -> impl IntoView {
    let name = StoredValue::new(column.name.clone());
    let sorted = move || {
        let sort = grid.arrangement.with(|a| a.sort.clone()).unwrap_or_else(|| ("name".to_owned(), false));
        (sort.0 == name.get_value()).then_some(if sort.1 { "descending" } else { "ascending" })
    };
    let sortable = !matches!(column.kind, ColumnKind::Json | ColumnKind::References { .. } | ColumnKind::TextList);
    let turn = move |_| grid.arrange.run(grid.arrangement.get_untracked().toggle_sort(&name.get_value()));
    let head = NodeRef::<leptos::html::Th>::new();
    let width = move || head.get_untracked().map(|th| th.offset_width()).unwrap_or_default();
    let resize = move |to: i32| {
        let to = u32::try_from(to).unwrap_or_default().clamp(*COLUMN_WIDTH_RANGE.start(), *COLUMN_WIDTH_RANGE.end());
        grid.resizing.set(Some((name.get_value(), to)));
    };
    // Into the address once, when it is let go: browsers let a page change its address so often and no more.
    let settle = move || {
        if let Some((column, width)) = grid.resizing.get_untracked() {
            grid.arrange.run(grid.arrangement.get_untracked().with_column_width(&column, width));
            grid.resizing.set(None);
        }
    };
    // Where the drag began, and how wide the column was.
    let from = StoredValue::new(None::<(i32, i32)>);
    let grab = move |event: leptos::ev::PointerEvent| {
        event.prevent_default();
        from.set_value(Some((event.client_x(), width())));
        if let Some(edge) = event.target().and_then(|t| t.dyn_into::<web_sys::Element>().ok()) {
            let _ = edge.set_pointer_capture(event.pointer_id());
        }
    };
    let drag = move |event: leptos::ev::PointerEvent| {
        if let Some((x, wide)) = from.get_value() {
            resize(wide + event.client_x() - x);
        }
    };
    let by_key = move |event: leptos::ev::KeyboardEvent| {
        let by = match event.key().as_str() {
            "ArrowRight" => 16,
            "ArrowLeft" => -16,
            _ => return,
        };
        event.prevent_default();
        resize(width() + by);
    };
    let label = column.label.clone();
    let edge_label = format!("Width of {label}");
    let inner = if sortable {
        view! { <button tabindex="-1" on:click=turn>{label}{reactive_view(move || sorted().map(|d| icon(if d == "ascending" { "chevron-up" } else { "chevron-down" })))}</button> }.into_any()
    } else {
        label.into_any()
    };
    view! {
        <th role="columnheader" class:end=value_view::is_right_aligned(&column.kind) node_ref=head aria-sort=reactive_attr(sorted)>{inner}
            <span class="edge" role="separator" tabindex="0" aria-orientation="vertical" aria-label=edge_label aria-valuenow=reactive_attr(move || grid.width(&name.get_value()).unwrap_or(DEFAULT_COLUMN_WIDTH).to_string())
                on:pointerdown=grab on:pointermove=drag on:pointerup=move |_| { from.set_value(None); settle(); } on:keyup=move |_| settle() on:keydown=by_key></span></th>
    }
}
