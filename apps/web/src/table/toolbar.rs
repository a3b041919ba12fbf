//! Toolbar above a table: filter chips, column choice and export.
//!
//! Filters and columns are stored in the URL of the page.

use super::context::TableContext;
use super::view_state::TableView;
use crate::client::client;
use crate::client::http::export_file;
use crate::ui::dialog::Dialog;
use crate::ui::field::{FieldControl, choices_of, parse_input, to_input_text};
use crate::ui::format;
use crate::ui::picker::{Choice, ChoiceIcon, Picker, PickerExit};
use crate::ui::popover::{close_when_outside, open_at_anchor};
use crate::ui::reactive::{reactive_attr, reactive_view};
use crate::ui::value_view::icon;
use leptos::prelude::*;
use pmo_domain::query::{Filter, Operator};
use pmo_domain::{Column, ColumnKind};
use serde_json::{Value, json};

/// Returns the filter operators of a column kind, each with its label.
fn operators(kind: &ColumnKind) -> &'static [(Operator, &'static str)] {
    use ColumnKind as K;
    use Operator as O;
    match kind {
        K::Datalabel { .. } | K::Reference { .. } | K::Id | K::Uuid => {
            &[(O::In, "is any of"), (O::Ne, "is not"), (O::IsNull, "is empty")]
        }
        K::References { .. } => &[(O::Eq, "includes"), (O::IsNull, "is empty")],
        K::Boolean => &[(O::Eq, "is")],
        K::Date | K::Timestamp => &[(O::Gte, "from"), (O::Lte, "until"), (O::Eq, "on"), (O::IsNull, "is empty")],
        K::Money | K::Percent | K::Hours | K::Days | K::Integer | K::Number => {
            &[(O::Gte, "at least"), (O::Lte, "at most"), (O::Eq, "is"), (O::IsNull, "is empty")]
        }
        K::ShortText | K::LongText => &[(O::Contains, "contains"), (O::Eq, "is"), (O::IsNull, "is empty")],
        K::Json | K::TextList => &[(O::IsNull, "is empty")],
    }
}

/// Describes a filter for display: label of the operator, and the values.
fn describe_filter(column: &Column, filter: &Filter) -> (String, String) {
    let operator_label =
        operators(&column.kind).iter().find(|(o, _)| *o == filter.operator).map_or("is", |(_, words)| words);
    if filter.operator == Operator::IsNull {
        let empty = filter.values.first().is_some_and(|v| v == "true");
        return (if empty { "is empty" } else { "is not empty" }.to_owned(), String::new());
    }
    let value_text = |value: &String| match &column.kind {
        ColumnKind::Reference { entity } | ColumnKind::References { entity } => {
            let name = value.parse().ok().and_then(|id| client().read(|e| e.name(entity, id)));
            name.unwrap_or_else(|| "No access".to_owned())
        }
        ColumnKind::Date => format::date(value, true),
        ColumnKind::Boolean => if value == "true" { "yes" } else { "no" }.to_owned(),
        _ => value.clone(),
    };
    let operator_label =
        if filter.operator == Operator::In && filter.values.len() == 1 { "is" } else { operator_label };
    (operator_label.to_owned(), filter.values.iter().map(value_text).collect::<Vec<_>>().join(", "))
}

/// Toolbar of a table.
#[component]
pub(crate) fn TableTools(
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
    let choices = Signal::derive({
        let columns = columns.clone();
        move || {
            columns
                .iter()
                .map(|c| Choice { value: c.name.clone(), label: c.label.clone(), icon: ChoiceIcon::Bare })
                .collect::<Vec<_>>()
        }
    });
    let stored_columns = StoredValue::new(columns);
    let pick = Callback::new(move |name: String| {
        if let Some(column) = stored_columns.with_value(|all| all.iter().find(|c| c.name == name).cloned()) {
            open.set(Some((column, None)));
        }
    });
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
    let export_rows = move |_| {
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
    };
    let row_count = move || grid.rows.with(|rows| rows.loaded.then(|| rows.ids.len()));
    view! {
        <div class="chips">{chips}<button class="btn quiet sm" id="add-filter" aria-haspopup="listbox" on:click=move |_| choosing_filter.set(true)>{icon("list-filter")}"Filter"</button></div>
        <span class="meta softer num desk" data-testid="row-count">{reactive_view(move || row_count().map(|n| if n == 1 { "1 row".to_owned() } else { format!("{n} rows") }))}</span>
        {reactive_view(move || error.get().map(|message| view! { <span class="hint error" role="alert">{icon("circle-alert")}{message}</span> }))}
        <button class="btn quiet sm phone" aria-pressed=reactive_attr(move || grid.touch_selecting.get().to_string()) on:click=move |_| grid.touch_selecting.update(|on| *on = !*on)>{icon("check")}"Select"</button>
        <button class="btn quiet sm" title="Export this table as CSV" on:click=export_rows>{icon("file-down")}"Export"</button>
        <button class="btn quiet sm" on:click=move |_| choosing_columns.set(true)>{icon("columns-3")}"Columns"</button>
        {reactive_view(move || choosing_filter.get().then(|| view! { <Picker label="Filter by" choices=choices chosen=Signal::derive(Vec::new) beside="add-filter" pick=pick close=Callback::new(move |_: PickerExit| choosing_filter.set(false))/> }))}
        {reactive_view(move || open.get().map(|(column, which)| view! { <FilterForm grid=grid column=column which=which open=open/> }))}
        {reactive_view(move || choosing_columns.get().then(|| view! { <ColumnsDialog grid=grid open=choosing_columns/> }))}
    }
}

/// Form for one filter: operator and value.
#[component]
fn FilterForm(
    grid: TableContext,
    column: Column,
    which: Option<usize>,
    open: RwSignal<Option<(Column, Option<usize>)>>,
) -> impl IntoView {
    let existing = which.and_then(|n| grid.table_view.with_untracked(|a| a.filters.get(n).cloned()));
    let supported = operators(&column.kind);
    let operator = RwSignal::new(existing.as_ref().map_or(supported[0].0, |f| f.operator));
    // Values to compare with; several for the operator 'is any of'.
    let values = RwSignal::new(existing.map(|f| f.values).unwrap_or_default());
    let error = RwSignal::new(None::<String>);
    let choosing = RwSignal::new(false);
    let label = column.label.clone();
    let popover = NodeRef::<leptos::html::Div>::new();
    Effect::new(move || {
        if let Some(menu) = popover.get() {
            open_at_anchor(&menu, "add-filter");
            if let Ok(Some(field)) = menu.query_selector("input, button.add, select") {
                use wasm_bindgen::JsCast;
                let _ = field.unchecked_into::<web_sys::HtmlElement>().focus();
            }
        }
    });
    close_when_outside(popover, move || {
        if !choosing.get_untracked() {
            open.set(None);
        }
    });
    let stored_column = StoredValue::new(column.clone());
    let apply = move |event: leptos::ev::SubmitEvent| {
        event.prevent_default();
        let operator = operator.get_untracked();
        let mut inputs = values.get_untracked();
        if operator == Operator::IsNull {
            inputs = vec![inputs.first().filter(|t| *t == "false").cloned().unwrap_or_else(|| "true".to_owned())];
        }
        if stored_column.with_value(|c| c.kind == ColumnKind::Boolean) && inputs.is_empty() {
            inputs = vec!["false".to_owned()];
        }
        if inputs.iter().all(|t| t.trim().is_empty()) {
            return error.set(Some("Enter a value".to_owned()));
        }
        let filter = Filter { column: stored_column.with_value(|c| c.name.clone()), operator, values: inputs };
        let (name, value) = filter.to_query_pair();
        // Use the parser of the server, so that an invalid filter is reported immediately.
        match grid.entity.with_value(|e| pmo_domain::query::ListQuery::parse(&[(name, value)], e)) {
            Err(errors) => error.set(errors.into_iter().next().map(|e| e.message)),
            Ok(parsed) => {
                let mut target = grid.table_view.get_untracked();
                match which.filter(|n| *n < target.filters.len()) {
                    Some(n) => target.filters.splice(n..=n, parsed.filters).for_each(drop),
                    None => target.filters.extend(parsed.filters),
                }
                grid.set_view.run(target);
                open.set(None);
            }
        }
    };
    let options = supported
        .iter()
        .map(|(choice, label_text)| view! { <option value=label_text.to_string() selected=operator.get_untracked() == *choice>{*label_text}</option> })
        .collect_view();
    let choose_operator = move |event| {
        let label_text = event_target_value(&event);
        if let Some((choice, _)) = supported.iter().find(|(_, w)| *w == label_text) {
            operator.set(*choice);
            error.set(None);
        }
    };
    let uses_picker = matches!(
        column.kind,
        ColumnKind::Datalabel { .. } | ColumnKind::Reference { .. } | ColumnKind::References { .. }
    );
    let value_view = reactive_view(move || {
        let column = stored_column.get_value();
        match operator.get() {
            Operator::IsNull => ().into_any(),
            choice if uses_picker => {
                let multiple = choice == Operator::In;
                let choices = choices_of(&Column { not_null: true, ..column.clone() }, Signal::derive(|| Value::Null), RwSignal::new(true));
                let pick = Callback::new(move |picked: String| values.update(|all| {
                    if !multiple {
                        *all = vec![picked];
                    } else if let Some(position) = all.iter().position(|v| *v == picked) {
                        all.remove(position);
                    } else {
                        all.push(picked);
                    }
                }));
                let chosen = Signal::derive(move || values.get());
                let label_text = move || {
                    let filter = Filter { column: String::new(), operator: Operator::Eq, values: values.get() };
                    let (_, value_text) = stored_column.with_value(|c| describe_filter(c, &filter));
                    if value_text.is_empty() { "Choose…".to_owned() } else { value_text }
                };
                let label = column.label.clone();
                view! {
                    <button type="button" class="input picked add" id="filter-value" aria-haspopup="listbox" on:click=move |_| choosing.set(true)><span class="grow">{reactive_view(label_text)}</span><i class="i i-chevron-down sm" aria-hidden="true"></i></button>
                    {reactive_view(move || choosing.get().then(|| view! { <Picker label=label.clone() choices=choices chosen=chosen beside="filter-value" several=multiple pick=pick
                        close=Callback::new(move |_: PickerExit| choosing.set(false))/> }))}
                }
                .into_any()
            }
            _ if column.kind == ColumnKind::Boolean => view! {
                <select class="input" aria-label="Value" on:change=move |e| values.set(vec![event_target_value(&e)])>
                    <option value="false" selected=values.with_untracked(|v| v.first().is_some_and(|v| v == "false"))>"no"</option>
                    <option value="true" selected=values.with_untracked(|v| v.first().is_some_and(|v| v == "true"))>"yes"</option></select>
            }
            .into_any(),
            _ if column.kind == ColumnKind::LongText => view! {
                <input class="input" aria-label="Value" prop:value=values.with_untracked(|v| v.first().cloned().unwrap_or_default()) on:input=move |e| values.set(vec![event_target_value(&e)])/>
            }
            .into_any(),
            _ => {
                let kind = column.kind.clone();
                let value = Signal::derive(move || values.with(|v| v.first().map_or(Value::Null, |text| match parse_input(&stored_column.get_value(), text) {
                    Ok(value) => value,
                    Err(_) => json!(text),
                })));
                let change = Callback::new(move |new: Value| {
                    error.set(None);
                    // Dates and timestamps use the wire format; numbers use the input format.
                    let text = match &new {
                        Value::String(s) => s.clone(),
                        other => to_input_text(&kind, other),
                    };
                    values.set(if text.is_empty() { Vec::new() } else { vec![text] });
                });
                view! { <FieldControl column=column id="filter-value" value=value enabled=true change=change/> }.into_any()
            }
        }
    });
    let on_keydown = move |event: leptos::ev::KeyboardEvent| {
        if event.key() == "Escape" {
            open.set(None);
        }
    };
    let is_null_operator = move || operator.get() == Operator::IsNull;
    view! {
        <div class="menu filter-form" popover="manual" node_ref=popover on:keydown=on_keydown>
            <form on:submit=apply aria-label=format!("Filter by {label}")>
                <strong>{label.clone()}</strong>
                <select class="input" aria-label="Operator" on:change=choose_operator>{options}</select>
                {value_view}
                {reactive_view(move || is_null_operator().then(|| view! { <label class="check"><input type="checkbox" class="i-check" on:change=move |e| values.set(vec![(!event_target_checked(&e)).to_string()])/>"Is not empty"</label> }))}
                {reactive_view(move || error.get().map(|message| view! { <span class="hint error" role="alert">{icon("circle-alert")}{message}</span> }))}
                <footer class="buttons"><button type="button" class="btn quiet sm" on:click=move |_| open.set(None)>"Cancel"</button><button class="btn primary sm">"Apply"</button></footer>
            </form>
        </div>
    }
}

/// Dialog that chooses the visible columns and their order.
#[component]
fn ColumnsDialog(grid: TableContext, open: RwSignal<bool>) -> impl IntoView {
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
