//! Cell editors: a picker for options and references, an input for other values.
//!
//! `Enter` saves and moves down, `Tab` saves and moves to the next cell, `Esc` cancels.

use super::context::{TableContext, cell_id};
use super::keyboard::cell_after_edit;
use crate::hooks::{row_with, use_entity, use_entity_mutation};
use crate::ui::field::{FormState, choices_of, parse_input, to_input_text};
use crate::ui::picker::{Picker, PickerExit};
use crate::ui::popover::{close_when_outside, open_covering};
use crate::ui::reactive::reactive_view;
use crate::ui::value_view::{self, icon};
use leptos::prelude::*;
use pmo_domain::{Column, ColumnKind, Permission};
use pmo_sync::RowView;
use serde_json::{Value, json};
use uuid::Uuid;

/// Editor of one cell; a note instead, if the user has no EDIT permission on the row.
#[component]
pub(crate) fn CellEditor(
    /// Table that contains the cell.
    grid: TableContext,
    /// Id of the row.
    id: Uuid,
    /// Index of the column.
    column: usize,
) -> impl IntoView {
    let Some(definition) = grid.columns.with_untracked(|all| all.get(column).cloned()) else { return ().into_any() };
    let entity = grid.entity_ref(id);
    // Fetch the complete row, because rows of lists carry no permission.
    let row = use_entity::<RowView>(entity.clone());
    let name = StoredValue::new(definition.name.clone());
    FormState::from_row(move || row.get().map(|r| (*r.data).clone()).unwrap_or_default());
    let value =
        Signal::derive(move || row.get().and_then(|r| r.data.get(&name.get_value()).cloned()).unwrap_or(Value::Null));
    let close = Callback::new(move |exit: PickerExit| {
        grid.editing.set(None);
        if let PickerExit::Tab(back) = exit
            && let Some(row) = grid.index_of(id)
        {
            let size = (grid.rows.with_untracked(|r| r.ids.len()), grid.columns.with_untracked(Vec::len));
            let (row, target_column) = cell_after_edit((row, column), size, true, back);
            if let Some(id) = grid.rows.with_untracked(|r| r.ids.get(row).copied()) {
                grid.focused_cell.set(Some((id, target_column)));
            }
        }
        grid.focus();
    });
    let change = {
        let mutation = use_entity_mutation(entity.code.clone());
        Callback::new(move |new: Value| {
            if value.get_untracked() != new {
                mutation.update(id, row_with(&name.get_value(), new));
            }
        })
    };
    let read_only = {
        let code = entity.code.clone();
        Memo::new(move |_| {
            let level = row.get().and_then(|row| crate::hooks::known_permission(&code, &row));
            level.is_some_and(|level| level < u64::from(u8::from(Permission::Edit)))
        })
    };
    let anchor = cell_id(id, column);
    reactive_view(move || {
        if read_only.get() {
            let close_note = Callback::new(move |()| close.run(PickerExit::Done));
            return view! { <Note anchor=anchor.clone() text="You can view this item, but not edit it" close=close_note/> }.into_any();
        }
        match &definition.kind {
            ColumnKind::Datalabel { .. } | ColumnKind::Reference { .. } | ColumnKind::References { .. } => {
                view! { <OptionEditor column=definition.clone() anchor=anchor.clone() value=value change=change close=close/> }.into_any()
            }
            _ => {
                let done = Callback::new(move |(new, exit): (Option<Value>, PickerExit)| {
                    if let Some(new) = new {
                        change.run(new);
                    }
                    close.run(exit);
                    if exit == PickerExit::Done
                        && let Some(row) = grid.index_of(id)
                        && let Some(next) = grid.rows.with_untracked(|r| r.ids.get(row + 1).copied())
                    {
                        grid.focused_cell.set(Some((next, column)));
                    }
                });
                view! { <TextEditor column=definition.clone() anchor=anchor.clone() value=value.get_untracked() done=done cancel=close/> }.into_any()
            }
        }
    })
    .into_any()
}

/// Picker for the value of an option or reference column.
#[component]
pub(crate) fn OptionEditor(
    /// Column of the value.
    column: Column,
    /// DOM id of the element beside which the picker opens.
    #[prop(into)]
    anchor: String,
    /// Current value.
    #[prop(into)]
    value: Signal<Value>,
    /// Called with the new value.
    change: Callback<Value>,
    /// Called when the picker closes.
    close: Callback<PickerExit>,
) -> impl IntoView {
    let multiple = matches!(column.kind, ColumnKind::References { .. });
    let chosen = Signal::derive(move || match value.get() {
        Value::String(id) => vec![id],
        other => value_view::reference_ids(Some(&other)),
    });
    let choices = choices_of(&column, value, RwSignal::new(true));
    let pick = Callback::new(move |picked: String| {
        if multiple {
            let mut all = chosen.get_untracked();
            match all.iter().position(|id| *id == picked) {
                Some(index) => drop(all.remove(index)),
                None => all.push(picked),
            }
            change.run(json!(all));
        } else {
            change.run(if picked.is_empty() { Value::Null } else { json!(picked) });
        }
    });
    view! { <Picker label=column.label.clone() choices=choices chosen=chosen anchor=anchor multiple=multiple pick=pick close=close/> }
}

/// Input for the value of a column that is not chosen from a list.
#[component]
fn TextEditor(
    column: Column,
    #[prop(into)] anchor: String,
    value: Value,
    done: Callback<(Option<Value>, PickerExit)>,
    cancel: Callback<PickerExit>,
) -> impl IntoView {
    let error = RwSignal::new(None::<String>);
    let text = RwSignal::new(to_input_text(&column.kind, &value));
    let (kind, label) = (column.kind.clone(), column.label.clone());
    let initial_text = text.get_untracked();
    let column = StoredValue::new(column);
    let commit = move |exit: PickerExit| {
        let input = text.get_untracked();
        if input == initial_text {
            // The text was not changed: do not overwrite a newer value of another user.
            return done.run((None, exit));
        }
        let parsed = column.with_value(|column| match parse_input(column, &input) {
            Ok(value) => column.validate(&value).map_err(|error| error.to_string()),
            Err(invalid) => Err(invalid.message().to_owned()),
        });
        match parsed {
            Ok(value) => done.run((Some(value), exit)),
            Err(message) => error.set(Some(message)),
        }
    };
    let commit = StoredValue::new(commit);
    let multiline = kind == ColumnKind::LongText;
    let on_keydown = move |event: leptos::ev::KeyboardEvent| {
        event.stop_propagation();
        let command = event.ctrl_key() || event.meta_key();
        match event.key().as_str() {
            "Enter" if !multiline || command => commit.with_value(|commit| commit(PickerExit::Done)),
            "Tab" => commit.with_value(|commit| commit(PickerExit::Tab(event.shift_key()))),
            "Escape" => cancel.run(PickerExit::Done),
            _ => return,
        }
        event.prevent_default();
    };
    let popover = NodeRef::<leptos::html::Div>::new();
    Effect::new(move || {
        let Some(menu) = popover.get() else { return };
        open_covering(&menu, &anchor);
        if let Ok(Some(field)) = menu.query_selector("input, textarea") {
            use wasm_bindgen::JsCast;
            if let Some(input) = field.dyn_ref::<web_sys::HtmlInputElement>() {
                let _ = input.focus();
                input.select();
            } else if let Some(area) = field.dyn_ref::<web_sys::HtmlTextAreaElement>() {
                let _ = area.focus();
            }
        }
    });
    // A click outside saves a valid value and discards an invalid one.
    close_when_outside(popover, move || {
        commit.with_value(|commit| commit(PickerExit::Done));
        if error.with_untracked(Option::is_some) {
            cancel.run(PickerExit::Done);
        }
    });
    let input_type = match kind {
        ColumnKind::Date => "date",
        ColumnKind::Timestamp | ColumnKind::LocalTimestamp => "datetime-local",
        _ => "text",
    };
    let on_input = move |event| {
        error.set(None);
        text.set(event_target_value(&event));
    };
    let field = if multiline {
        view! { <textarea class="input" rows="6" aria-label=label on:keydown=on_keydown on:input=on_input prop:value=text.get_untracked()></textarea> }.into_any()
    } else {
        view! { <input class="input" type=input_type aria-label=label autocomplete="off" on:keydown=on_keydown on:input=on_input prop:value=text.get_untracked()/> }.into_any()
    };
    view! {
        <div class="menu cell-editor" popover="manual" node_ref=popover>{field}
            {reactive_view(move || error.get().map(|message| view! { <span class="hint error" role="alert">{icon("circle-alert")}{message}</span> }))}
            {multiline.then(|| view! { <span class="hint">"Ctrl Enter saves"</span> })}</div>
    }
}

/// Message beside a cell, closed by any key or by a click outside.
#[component]
fn Note(#[prop(into)] anchor: String, text: &'static str, close: Callback<()>) -> impl IntoView {
    let popover = NodeRef::<leptos::html::Div>::new();
    Effect::new(move || {
        if let Some(menu) = popover.get() {
            crate::ui::popover::open_at_anchor(&menu, &anchor);
            let _ = menu.focus();
        }
    });
    close_when_outside(popover, move || close.run(()));
    let on_keydown = move |event: leptos::ev::KeyboardEvent| {
        event.stop_propagation();
        event.prevent_default();
        close.run(());
    };
    view! { <div class="menu note" popover="manual" tabindex="-1" role="status" node_ref=popover on:keydown=on_keydown>{icon("lock")}{text}</div> }
}
