//! Changing one cell in its place: a list to choose from, or what is typed. `Enter` takes it and goes down, `Tab` takes it and goes on, `Esc` gives it up.

use super::keyboard::after_edit;
use super::{TableContext, cell_id};
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

/// What changes the cell in `column` of a row.
#[component]
pub fn CellEditor(
    /// The table.
    grid: TableContext,
    /// The row.
    id: Uuid,
    /// The number of the column.
    column: usize,
) -> impl IntoView {
    let Some(of) = grid.columns.with_untracked(|all| all.get(column).cloned()) else { return ().into_any() };
    let thing = grid.entity_ref(id);
    // Asked for, so that what one may do with it is known soon.
    let row = use_entity::<RowView>(thing.clone());
    let name = StoredValue::new(of.name.clone());
    FormState::from_row(move || row.get().map(|r| (*r.data).clone()).unwrap_or_default());
    let value =
        Signal::derive(move || row.get().and_then(|r| r.data.get(&name.get_value()).cloned()).unwrap_or(Value::Null));
    let leave = Callback::new(move |left: PickerExit| {
        grid.editing.set(None);
        if let PickerExit::Tab(back) = left
            && let Some(row) = grid.index_of(id)
        {
            let size = (grid.rows.with_untracked(|r| r.ids.len()), grid.columns.with_untracked(Vec::len));
            let (row, to) = after_edit((row, column), size, true, back);
            if let Some(id) = grid.rows.with_untracked(|r| r.ids.get(row).copied()) {
                grid.focused_cell.set(Some((id, to)));
            }
        }
        grid.focus();
    });
    let take = {
        let mutation = use_entity_mutation(thing.code.clone());
        Callback::new(move |new: Value| {
            if value.get_untracked() != new {
                mutation.update(id, row_with(&name.get_value(), new));
            }
        })
    };
    let looks_only = {
        let code = thing.code.clone();
        Memo::new(move |_| {
            let level = row.get().and_then(|row| crate::pages::known_permission(&code, &row));
            level.is_some_and(|level| level < u64::from(u8::from(Permission::Edit)))
        })
    };
    let beside = cell_id(id, column);
    reactive_view(move || {
        if looks_only.get() {
            let close = Callback::new(move |()| leave.run(PickerExit::Done));
            return view! { <Note beside=beside.clone() text="You may look at this, and not change it" close=close/> }.into_any();
        }
        match &of.kind {
            ColumnKind::Datalabel { .. } | ColumnKind::Reference { .. } | ColumnKind::References { .. } => {
                view! { <OptionEditor column=of.clone() beside=beside.clone() value=value take=take leave=leave/> }.into_any()
            }
            _ => {
                let done = Callback::new(move |(new, left): (Option<Value>, PickerExit)| {
                    if let Some(new) = new {
                        take.run(new);
                    }
                    leave.run(left);
                    if left == PickerExit::Done
                        && let Some(row) = grid.index_of(id)
                        && let Some(next) = grid.rows.with_untracked(|r| r.ids.get(row + 1).copied())
                    {
                        grid.focused_cell.set(Some((next, column)));
                    }
                });
                view! { <TextEditor column=of.clone() beside=beside.clone() value=value.get_untracked() done=done leave=leave/> }.into_any()
            }
        }
    })
    .into_any()
}

/// Chooses a value for a column.
#[component]
pub fn OptionEditor(
    /// The column.
    column: Column,
    /// The id of what it stands beside.
    #[prop(into)]
    beside: String,
    /// The present value.
    #[prop(into)]
    value: Signal<Value>,
    /// Takes the new one.
    take: Callback<Value>,
    /// Hears that it is to go.
    leave: Callback<PickerExit>,
) -> impl IntoView {
    let several = matches!(column.kind, ColumnKind::References { .. });
    let chosen = Signal::derive(move || match value.get() {
        Value::String(one) => vec![one],
        other => value_view::reference_ids(Some(&other)),
    });
    let choices = choices_of(&column, value, RwSignal::new(true));
    let pick = Callback::new(move |picked: String| {
        if several {
            let mut all = chosen.get_untracked();
            match all.iter().position(|id| *id == picked) {
                Some(at) => drop(all.remove(at)),
                None => all.push(picked),
            }
            take.run(json!(all));
        } else {
            take.run(if picked.is_empty() { Value::Null } else { json!(picked) });
        }
    });
    view! { <Picker label=column.label.clone() choices=choices chosen=chosen beside=beside several=several pick=pick close=leave/> }
}

/// Types a value for a column.
#[component]
fn TextEditor(
    column: Column,
    #[prop(into)] beside: String,
    value: Value,
    done: Callback<(Option<Value>, PickerExit)>,
    leave: Callback<PickerExit>,
) -> impl IntoView {
    let error = RwSignal::new(None::<String>);
    let text = RwSignal::new(to_input_text(&column.kind, &value));
    let (kind, label) = (column.kind.clone(), column.label.clone());
    let unchanged = text.get_untracked();
    let column = StoredValue::new(column);
    let commit = move |left: PickerExit| {
        let typed = text.get_untracked();
        if typed == unchanged {
            // Looked at alone: what somebody else has made of it meanwhile stays.
            return done.run((None, left));
        }
        let read = column.with_value(|column| parse_input(column, &typed).and_then(|value| column.validate(&value)));
        match read {
            Ok(value) => done.run((Some(value), left)),
            Err(message) => error.set(Some(message)),
        }
    };
    let commit = StoredValue::new(commit);
    let long = kind == ColumnKind::LongText;
    let keys = move |event: leptos::ev::KeyboardEvent| {
        event.stop_propagation();
        let command = event.ctrl_key() || event.meta_key();
        match event.key().as_str() {
            "Enter" if !long || command => commit.with_value(|commit| commit(PickerExit::Done)),
            "Tab" => commit.with_value(|commit| commit(PickerExit::Tab(event.shift_key()))),
            "Escape" => leave.run(PickerExit::Done),
            _ => return,
        }
        event.prevent_default();
    };
    let place = NodeRef::<leptos::html::Div>::new();
    Effect::new(move || {
        let Some(menu) = place.get() else { return };
        open_covering(&menu, &beside);
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
    // Pressed beside it: what is right is taken, what is wrong is given up.
    close_when_outside(place, move || {
        commit.with_value(|commit| commit(PickerExit::Done));
        if error.with_untracked(Option::is_some) {
            leave.run(PickerExit::Done);
        }
    });
    let input_type = match kind {
        ColumnKind::Date => "date",
        ColumnKind::Timestamp => "datetime-local",
        _ => "text",
    };
    let typed = move |event| {
        error.set(None);
        text.set(event_target_value(&event));
    };
    let field = if long {
        view! { <textarea class="input" rows="6" aria-label=label on:keydown=keys on:input=typed prop:value=text.get_untracked()></textarea> }.into_any()
    } else {
        view! { <input class="input" type=input_type aria-label=label autocomplete="off" on:keydown=keys on:input=typed prop:value=text.get_untracked()/> }.into_any()
    };
    view! {
        <div class="menu cell-editor" popover="manual" node_ref=place>{field}
            {reactive_view(move || error.get().map(|message| view! { <span class="hint error" role="alert">{icon("circle-alert")}{message}</span> }))}
            {long.then(|| view! { <span class="hint">"Ctrl Enter takes it"</span> })}</div>
    }
}

/// A word beside a cell, until somebody goes on.
#[component]
fn Note(#[prop(into)] beside: String, text: &'static str, close: Callback<()>) -> impl IntoView {
    let place = NodeRef::<leptos::html::Div>::new();
    Effect::new(move || {
        if let Some(menu) = place.get() {
            crate::ui::popover::open_beside(&menu, &beside);
            let _ = menu.focus();
        }
    });
    close_when_outside(place, move || close.run(()));
    let keys = move |event: leptos::ev::KeyboardEvent| {
        event.stop_propagation();
        event.prevent_default();
        close.run(());
    };
    view! { <div class="menu note" popover="manual" tabindex="-1" role="status" node_ref=place on:keydown=keys>{icon("lock")}{text}</div> }
}
