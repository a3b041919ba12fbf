//! Title, description, fields and properties.

use super::state::EntityPageState;
use crate::hooks::row_with;
use crate::table::editor::OptionEditor;
use crate::ui::field::{Field, FieldControl, field_error, property_value, validated_input};
use crate::ui::markdown::MarkdownField;
use crate::ui::picker::PickerExit;
use crate::ui::reactive::{reactive_attr, reactive_view};
use crate::ui::value_view::icon;
use leptos::prelude::*;
use pmo_domain::{Column, ColumnKind};
use serde_json::{Value, json};

/// Returns whether a column belongs to the side panel: stage, dates, progress and people.
pub(super) fn is_property(column: &Column) -> bool {
    match &column.kind {
        ColumnKind::Datalabel { set } => !set.ends_with("_type"),
        ColumnKind::Date | ColumnKind::Percent => true,
        ColumnKind::Days => column.name == "duration_days",
        ColumnKind::Reference { entity } | ColumnKind::References { entity } => entity == "employee",
        _ => false,
    }
}

#[component]
pub(super) fn Title(page: EntityPageState, column: Option<Column>) -> impl IntoView {
    let node = NodeRef::<leptos::html::Textarea>::new();
    let value = move || page.value("name").as_str().unwrap_or_default().to_owned();
    let change = Callback::new(move |value| page.draft.set("name", value));
    let (error, change) = column.map_or((RwSignal::new(None), change), |column| {
        validated_input(column, Signal::derive(move || page.value("name")), change)
    });
    view! {
        <textarea class="doc-title first" class:changed=reactive_attr(move || page.changed("name")) rows="1" aria-label="Name" maxlength="500" node_ref=node disabled=reactive_attr(move || !page.can_edit.get())
            prop:value=reactive_attr(value) on:input=move |e| change.run(json!(event_target_value(&e).replace('\n', " ")))></textarea>
        {field_error(error)}
    }
}

#[component]
pub(super) fn Description(page: EntityPageState) -> impl IntoView {
    let placeholder =
        Signal::derive(move || if page.can_edit.get() { "Add a description" } else { "No description" }.to_owned());
    let change = Callback::new(move |value: Value| page.draft.set("descr", value));
    view! {
        <section class="section first description">
            <MarkdownField id="description" label="Description" value=Signal::derive(move || page.value("descr")) disabled=Signal::derive(move || !page.can_edit.get())
                change=change placeholder=placeholder class=Signal::derive(move || if page.changed("descr") { "changed" } else { "" }.to_owned())/>
        </section>
    }
}

pub(super) fn field_view(page: EntityPageState, column: Column) -> impl IntoView {
    let name = StoredValue::new(column.name.clone());
    let value = Signal::derive(move || page.value(&name.get_value()));
    let changed = Signal::derive(move || page.changed(&name.get_value()));
    let change = Callback::new(move |value: Value| page.draft.set(&name.get_value(), value));
    view! { <Field column=column value=value changed=changed enabled=page.can_edit change=change/> }
}

/// Property with in-place editing: a click opens a picker beside it or an input in its place.
pub(super) fn property_view(page: EntityPageState, column: Column) -> impl IntoView {
    let name = StoredValue::new(column.name.clone());
    let label = column.label.clone();
    let uses_picker = matches!(
        column.kind,
        ColumnKind::Datalabel { .. } | ColumnKind::Reference { .. } | ColumnKind::References { .. }
    );
    let column = StoredValue::new(column);
    let editing = RwSignal::new(false);
    let value = Signal::derive(move || page.value(&name.get_value()));
    let change = Callback::new(move |value: Value| page.draft.set(&name.get_value(), value));
    let (error, change) = validated_input(column.get_value(), value, change);
    let display = move || {
        let shown_row = row_with(&name.get_value(), value.get());
        let empty = matches!(value.get(), Value::Null) || value.get() == json!([]);
        if empty {
            view! { <span class="softer">"None"</span> }.into_any()
        } else {
            column.with_value(|c| property_value(c, &shown_row))
        }
    };
    let read_only = column.with_value(|c| c.read_only);
    let id = format!("p-{}", name.get_value());
    let button = {
        let id = id.clone();
        move || view! { <button type="button" id=id.clone() on:click=move |_| editing.set(true)><span class="vh">{format!("Edit {label}: ")}</span>{reactive_view(display)}</button> }
    };
    let label = column.with_value(|c| c.label.clone());
    view! {
        <dt>{label}</dt>
        <dd class:changed=reactive_attr(move || page.changed(&name.get_value()))>
            {reactive_view(move || match (editing.get(), page.can_edit.get() && !read_only) {
                (true, true) if uses_picker => {
                    let close = Callback::new(move |_: PickerExit| editing.set(false));
                    view! { {button()}<OptionEditor column=column.get_value() anchor=id.clone() value=value change=change close=close/> }.into_any()
                }
                (true, true) => view! { <div class="property-edit"><FieldControl column=column.get_value() id=id.clone() value=value enabled=page.can_edit change=change/>
                    <button type="button" class="btn quiet icon sm" aria-label="Done" disabled=reactive_attr(move || error.with(Option::is_some)) on:click=move |_| editing.set(false)>{icon("check")}</button>{field_error(error)}</div> }.into_any(),
                (false, true) => button().into_any(),
                _ => view! { <span class="ro">{reactive_view(display)}</span> }.into_any(),
            })}
        </dd>
    }
}
