//! Dialog that chooses the visible columns of a table.

use super::context::TableContext;
use super::view_state::TableView;
use crate::ui::dialog::Dialog;
use crate::ui::reactive::reactive_attr;
use crate::ui::value_view::icon;
use leptos::prelude::*;
use pmo_domain::{Column, ColumnKind};

/// Dialog that chooses the visible columns and their order.
#[component]
pub(super) fn ColumnsDialog(grid: TableContext, open: RwSignal<bool>) -> impl IntoView {
    let all: Vec<Column> = grid.entity.with_value(|e| {
        e.columns
            .iter()
            .filter(|c| !c.hidden || matches!(c.name.as_str(), "created_ts" | "updated_ts" | "version"))
            .filter(|c| c.kind != ColumnKind::Json)
            .cloned()
            .collect()
    });
    let all = StoredValue::new(all);
    let default_names: Vec<String> = grid.default_columns().into_iter().map(|c| c.name).collect();
    let default_names = StoredValue::new(default_names);
    let visible =
        Memo::new(move |_| grid.columns.with(|columns| columns.iter().map(|c| c.name.clone()).collect::<Vec<_>>()));
    let set_columns = move |columns: Vec<String>| {
        let columns =
            if default_names.with_value(|default_names| *default_names == columns) { Vec::new() } else { columns };
        grid.set_view.run(TableView { columns, ..grid.table_view.get_untracked() });
    };
    // Visible columns come first, in their order. Lines are keyed by name, so that a moved line
    // keeps its element and the keyboard focus.
    let ordered = move || {
        let visible = visible.get();
        let rest = all.with_value(|all| {
            all.iter().map(|c| c.name.clone()).filter(|name| !visible.contains(name)).collect::<Vec<_>>()
        });
        visible.into_iter().chain(rest).collect::<Vec<_>>()
    };
    let column_line = move |name: String| {
        let label =
            all.with_value(|all| all.iter().find(|c| c.name == name).map(|c| c.label.clone())).unwrap_or_default();
        let (move_label, always_visible) = (format!("Move {label} up"), name == "name");
        let name = StoredValue::new(name);
        let position = Memo::new(move |_| visible.with(|visible| visible.iter().position(|c| *c == name.get_value())));
        let toggle = move |_| {
            let mut columns = visible.get_untracked();
            match position.get_untracked() {
                Some(index) => drop(columns.remove(index)),
                None => columns.push(name.get_value()),
            }
            set_columns(columns);
        };
        let move_up = move |_| {
            let mut columns = visible.get_untracked();
            if let Some(index) = position.get_untracked().filter(|index| *index > 0) {
                columns.swap(index, index - 1);
                set_columns(columns);
            }
        };
        // The name column cannot be hidden, because it contains the link to the row.
        view! {
            <li><label class="check grow"><input type="checkbox" class="i-check" prop:checked=reactive_attr(move || position.get().is_some()) disabled=always_visible on:change=toggle/>{label}</label>
                <button class="btn quiet icon sm" aria-label=move_label disabled=reactive_attr(move || position.get().is_none_or(|index| index == 0)) on:click=move_up>{icon("chevron-up")}</button></li>
        }
    };
    let close = Callback::new(move |()| {
        open.set(false);
        grid.focus();
    });
    let reset = move |_| {
        grid.set_view.run(TableView { columns: Vec::new(), widths: Vec::new(), ..grid.table_view.get_untracked() })
    };
    view! {
        <Dialog title="Columns" lead="Visible columns. Saved in the URL." close=close>
            <div class="body"><ul class="rows columns"><For each=ordered key=|name| name.clone() children=column_line/></ul></div>
            <footer class="buttons"><button class="btn quiet" on:click=reset>"Reset to default"</button><button class="btn primary" on:click=move |_| close.run(())>"Done"</button></footer>
        </Dialog>
    }
}
