//! Toolbar above a table: filter chips, column choice and export.
//!
//! Filters and columns are stored in the URL of the page.

use super::column_picker::ColumnPicker;
use super::columns_dialog::ColumnsDialog;
use super::context::TableContext;
use super::filter_form::{FilterForm, describe_filter};
use crate::client::http::export_file;
use crate::ui::reactive::{reactive_attr, reactive_view};
use crate::ui::value_view::icon;
use leptos::prelude::*;
use pmo_domain::query::Filter;
use pmo_domain::{Column, ColumnKind};

/// Toolbar of a table.
#[component]
pub(crate) fn TableToolbar(
    /// Table to which the toolbar belongs.
    grid: TableContext,
) -> impl IntoView {
    // The URL can be edited by hand or be older than the type: remove invalid filters from it.
    Effect::new(move || {
        let (current, valid) =
            grid.table_view.with(|a| (a.clone(), grid.entity.with_value(|e| a.clone().without_invalid_filters(e))));
        if current != valid {
            grid.set_view.run(valid);
        }
    });
    // Filter in the form: its column, and its index if it exists already.
    let open = RwSignal::new(None::<(Column, Option<usize>)>);
    let (choosing_filter, choosing_columns) = (RwSignal::new(false), RwSignal::new(false));
    let columns: Vec<Column> = grid
        .entity
        .with_value(|e| e.columns.iter().filter(|c| !c.hidden && c.kind != ColumnKind::Json).cloned().collect());
    let columns = StoredValue::new(columns);
    let add_filter = Callback::new(move |column: Column| open.set(Some((column, None))));
    let remove_filter = move |n: usize| {
        let mut table_view = grid.table_view.get_untracked();
        if n < table_view.filters.len() {
            table_view.filters.remove(n);
        }
        grid.set_view.run(table_view);
    };
    let chips = reactive_view(move || {
        let filters = grid.table_view.with(|a| a.filters.clone());
        let chip = |(n, filter): (usize, Filter)| {
            let column = grid.entity.with_value(|e| e.column(&filter.column).cloned())?;
            let (operator_label, value_text) = describe_filter(&column, &filter);
            let label = column.label.clone();
            let edit = move |_| open.set(Some((column.clone(), Some(n))));
            Some(view! {
                <span class="chip"><span>{label.clone()}</span><button on:click=edit.clone()>{operator_label}</button>{(!value_text.is_empty()).then(|| view! { <button class="value" on:click=edit title=value_text.clone()>{value_text.clone()}</button> })}
                    <button aria-label=format!("Remove filter {label}") on:click=move |_| remove_filter(n)>{icon("x")}</button></span>
            })
        };
        filters.into_iter().enumerate().filter_map(chip).collect_view()
    });
    let error = RwSignal::new(None::<String>);
    let row_count = move || grid.rows.with(|rows| rows.loaded.then(|| rows.ids.len()));
    view! {
        <div class="chips">{chips}<button class="btn quiet sm" id="add-filter" aria-haspopup="listbox" on:click=move |_| choosing_filter.set(true)>{icon("list-filter")}"Filter"</button></div>
        <span class="meta softer num desk" data-testid="row-count">{reactive_view(move || row_count().map(|n| if n == 1 { "1 row".to_owned() } else { format!("{n} rows") }))}</span>
        {reactive_view(move || error.get().map(|message| view! { <span class="hint error" role="alert">{icon("circle-alert")}{message}</span> }))}
        <button class="btn quiet sm phone" aria-pressed=reactive_attr(move || grid.touch_selecting.get().to_string()) on:click=move |_| grid.touch_selecting.update(|on| *on = !*on)>{icon("check")}"Select"</button>
        <button class="btn quiet sm" title="Export this table as CSV" on:click=move |_| export_rows(grid, error)>{icon("file-down")}"Export"</button>
        <button class="btn quiet sm" on:click=move |_| choosing_columns.set(true)>{icon("columns-3")}"Columns"</button>
        <ColumnPicker label="Filter by" anchor="add-filter" columns=columns open=choosing_filter on_pick=add_filter/>
        {reactive_view(move || open.get().map(|(column, index)| view! { <FilterForm grid=grid column=column index=index open=open/> }))}
        {reactive_view(move || choosing_columns.get().then(|| view! { <ColumnsDialog grid=grid open=choosing_columns/> }))}
    }
}

/// Exports the rows of a table as CSV; `error` receives the message of a failure.
fn export_rows(grid: TableContext, error: RwSignal<Option<String>>) {
    let code = grid.entity.with_value(|e| e.code.clone());
    let columns: Vec<String> = grid.columns.with_untracked(|all| all.iter().map(|c| c.name.clone()).collect());
    // The code comes first, because an import identifies the rows by it.
    let fields: Vec<String> =
        ["code".to_owned()].into_iter().chain(columns.into_iter().filter(|c| c != "code")).collect();
    let mut table_view = grid.table_view.get_untracked();
    (table_view.columns, table_view.widths) = (Vec::new(), Vec::new());
    table_view.sort.get_or_insert_with(|| ("name".to_owned(), false));
    if let Some(parent_filter) = grid.parent_filter.get_value() {
        table_view.filters.push(parent_filter);
    }
    let query = table_view.to_query();
    let separator = if query.is_empty() { "?" } else { "&" };
    // A filter cannot express free links, so the parent is a parameter of its own.
    let parent = grid.linked_parent.get_value().map(|parent| format!("&parent={}:{}", parent.code, parent.id));
    let parent = parent.unwrap_or_default();
    export_file(
        format!("/{code}/export{query}{separator}fields={}{parent}", fields.join(",")),
        format!("{code}.csv"),
        error,
    );
}
