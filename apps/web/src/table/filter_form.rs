//! Form for one filter of a table, and the description of a filter.

use super::context::TableContext;
use crate::client::client;
use crate::ui::field::{FieldControl, choices_of, parse_input, to_input_text};
use crate::ui::format;
use crate::ui::picker::{Picker, PickerExit};
use crate::ui::popover::{close_when_outside, open_at_anchor};
use crate::ui::reactive::reactive_view;
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
        K::Date | K::Timestamp | K::LocalTimestamp => {
            &[(O::Gte, "from"), (O::Lte, "until"), (O::Eq, "on"), (O::IsNull, "is empty")]
        }
        K::Money | K::Percent | K::Hours | K::Days | K::Minutes | K::Integer | K::Number => {
            &[(O::Gte, "at least"), (O::Lte, "at most"), (O::Eq, "is"), (O::IsNull, "is empty")]
        }
        K::ShortText | K::LongText => &[(O::Contains, "contains"), (O::Eq, "is"), (O::IsNull, "is empty")],
        K::Json | K::TextList => &[(O::IsNull, "is empty")],
    }
}

/// Describes a filter for display: label of the operator, and the values.
pub(super) fn describe_filter(column: &Column, filter: &Filter) -> (String, String) {
    let operator_label =
        operators(&column.kind).iter().find(|(o, _)| *o == filter.operator).map_or("is", |(_, label)| label);
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

/// State of the form for one filter.
#[derive(Clone, Copy)]
struct FilterState {
    grid: TableContext,
    column: StoredValue<Column>,
    /// Index of the filter in the view; `None` for a new filter.
    index: Option<usize>,
    /// Filter in the form; `None` closes the form.
    open: RwSignal<Option<(Column, Option<usize>)>>,
    operator: RwSignal<Operator>,
    /// Values to compare with; several for the operator 'is any of'.
    values: RwSignal<Vec<String>>,
    error: RwSignal<Option<String>>,
    /// Whether the picker of values is open.
    choosing: RwSignal<bool>,
}

impl FilterState {
    fn first_value(&self) -> String {
        self.values.with_untracked(|v| v.first().cloned().unwrap_or_default())
    }

    /// Adds the filter to the view, or replaces it, and closes the form.
    fn apply(&self) {
        let operator = self.operator.get_untracked();
        let mut inputs = self.values.get_untracked();
        if operator == Operator::IsNull {
            inputs = vec![inputs.first().filter(|t| *t == "false").cloned().unwrap_or_else(|| "true".to_owned())];
        }
        if self.column.with_value(|c| c.kind == ColumnKind::Boolean) && inputs.is_empty() {
            inputs = vec!["false".to_owned()];
        }
        if inputs.iter().all(|t| t.trim().is_empty()) {
            return self.error.set(Some("Enter a value".to_owned()));
        }
        let filter = Filter { column: self.column.with_value(|c| c.name.clone()), operator, values: inputs };
        let (name, value) = filter.to_query_pair();
        // Use the parser of the server, so that an invalid filter is reported immediately.
        match self.grid.entity.with_value(|e| pmo_domain::query::ListQuery::parse(&[(name, value)], e)) {
            Err(errors) => self.error.set(errors.first().map(|e| e.reason.to_string())),
            Ok(parsed) => {
                let mut target = self.grid.table_view.get_untracked();
                match self.index.filter(|n| *n < target.filters.len()) {
                    Some(n) => target.filters.splice(n..=n, parsed.filters).for_each(drop),
                    None => target.filters.extend(parsed.filters),
                }
                self.grid.set_view.run(target);
                self.open.set(None);
            }
        }
    }

    /// Adds a picked value, or removes it; without `multiple`, it becomes the only value.
    fn pick(&self, value: String, multiple: bool) {
        self.values.update(|all| {
            if !multiple {
                *all = vec![value];
            } else if let Some(position) = all.iter().position(|v| *v == value) {
                all.remove(position);
            } else {
                all.push(value);
            }
        });
    }
}

/// Form for one filter: operator and value.
#[component]
pub(super) fn FilterForm(
    grid: TableContext,
    column: Column,
    index: Option<usize>,
    open: RwSignal<Option<(Column, Option<usize>)>>,
) -> impl IntoView {
    let existing = index.and_then(|n| grid.table_view.with_untracked(|a| a.filters.get(n).cloned()));
    let supported = operators(&column.kind);
    let label = column.label.clone();
    let state = FilterState {
        grid,
        column: StoredValue::new(column),
        index,
        open,
        operator: RwSignal::new(existing.as_ref().map_or(supported[0].0, |f| f.operator)),
        values: RwSignal::new(existing.map(|f| f.values).unwrap_or_default()),
        error: RwSignal::new(None),
        choosing: RwSignal::new(false),
    };
    let FilterState { operator, values, error, .. } = state;
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
        if !state.choosing.get_untracked() {
            open.set(None);
        }
    });
    let submit = move |event: leptos::ev::SubmitEvent| {
        event.prevent_default();
        state.apply();
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
    let on_keydown = move |event: leptos::ev::KeyboardEvent| {
        if event.key() == "Escape" {
            open.set(None);
        }
    };
    let is_null_operator = move || operator.get() == Operator::IsNull;
    view! {
        <div class="menu filter-form" popover="manual" node_ref=popover on:keydown=on_keydown>
            <form on:submit=submit aria-label=format!("Filter by {label}")>
                <strong>{label.clone()}</strong>
                <select class="input" aria-label="Operator" on:change=choose_operator>{options}</select>
                {reactive_view(move || value_field(state))}
                {reactive_view(move || is_null_operator().then(|| view! { <label class="check"><input type="checkbox" class="i-check" on:change=move |e| values.set(vec![(!event_target_checked(&e)).to_string()])/>"Is not empty"</label> }))}
                {reactive_view(move || error.get().map(|message| view! { <span class="hint error" role="alert">{icon("circle-alert")}{message}</span> }))}
                <footer class="buttons"><button type="button" class="btn quiet sm" on:click=move |_| open.set(None)>"Cancel"</button><button class="btn primary sm">"Apply"</button></footer>
            </form>
        </div>
    }
}

/// Field for the value of a filter, by column kind; empty for operators without a value.
fn value_field(state: FilterState) -> AnyView {
    let (column, values) = (state.column.get_value(), state.values);
    let uses_picker = matches!(
        column.kind,
        ColumnKind::Datalabel { .. } | ColumnKind::Reference { .. } | ColumnKind::References { .. }
    );
    match state.operator.get() {
        Operator::IsNull => ().into_any(),
        operator if uses_picker => picker_field(state, column, operator == Operator::In),
        _ if column.kind == ColumnKind::Boolean => view! {
            <select class="input" aria-label="Value" on:change=move |e| values.set(vec![event_target_value(&e)])>
                <option value="false" selected=state.first_value() == "false">"no"</option>
                <option value="true" selected=state.first_value() == "true">"yes"</option></select>
        }
        .into_any(),
        _ if column.kind == ColumnKind::LongText => view! {
            <input class="input" aria-label="Value" prop:value=state.first_value() on:input=move |e| values.set(vec![event_target_value(&e)])/>
        }
        .into_any(),
        _ => typed_field(state, column),
    }
}

/// Button that opens a picker of values.
fn picker_field(state: FilterState, column: Column, multiple: bool) -> AnyView {
    let (choosing, values) = (state.choosing, state.values);
    let label = column.label.clone();
    let choices = choices_of(&Column { not_null: true, ..column }, Signal::derive(|| Value::Null), RwSignal::new(true));
    let pick = Callback::new(move |picked: String| state.pick(picked, multiple));
    let label_text = move || {
        let filter = Filter { column: String::new(), operator: Operator::Eq, values: values.get() };
        let (_, value_text) = state.column.with_value(|c| describe_filter(c, &filter));
        if value_text.is_empty() { "Choose…".to_owned() } else { value_text }
    };
    view! {
        <button type="button" class="input picker-button add" id="filter-value" aria-haspopup="listbox" on:click=move |_| choosing.set(true)><span class="grow">{reactive_view(label_text)}</span><i class="i i-chevron-down sm" aria-hidden="true"></i></button>
        {reactive_view(move || choosing.get().then(|| view! { <Picker label=label.clone() choices=choices chosen=Signal::derive(move || values.get()) anchor="filter-value" multiple=multiple pick=pick
            close=Callback::new(move |_: PickerExit| choosing.set(false))/> }))}
    }
    .into_any()
}

/// Input for a number, a date or a short text.
fn typed_field(state: FilterState, column: Column) -> AnyView {
    let (kind, values) = (column.kind.clone(), state.values);
    let value = Signal::derive(move || {
        let text = values.with(|v| v.first().cloned());
        text.map_or(Value::Null, |text| {
            state.column.with_value(|column| parse_input(column, &text)).unwrap_or_else(|_| json!(text))
        })
    });
    let change = Callback::new(move |new: Value| {
        state.error.set(None);
        // Dates and timestamps use the wire format; numbers use the input format.
        let text = match &new {
            Value::String(s) => s.clone(),
            other => to_input_text(&kind, other),
        };
        values.set(if text.is_empty() { Vec::new() } else { vec![text] });
    });
    view! { <FieldControl column=column id="filter-value" value=value enabled=true change=change/> }.into_any()
}
