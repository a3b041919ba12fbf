//! Form with the fields of a new entity.

use crate::client::client;
use crate::hooks::{catalog, row_with, use_entity_mutation};
use crate::ui::field::{Field, FormState};
use crate::ui::reactive::{reactive_attr, reactive_view};
use leptos::prelude::*;
use leptos_router::hooks::use_location;
use pmo_domain::{Column, ColumnKind, EntityCode, EntityRef, Row};
use serde_json::{Value, json};
use uuid::Uuid;

/// Returns the most likely parent of type `parent_code` for a new entity, from the URL `path`.
///
/// The result is the entity of the open page, or the entity of that type to which its row refers.
fn current_parent(path: &str, parent_code: &str) -> Option<Uuid> {
    let mut segments = path.trim_matches('/').split('/');
    let current = EntityRef::new(EntityCode::new(segments.next()?).ok()?, segments.next()?.parse().ok()?);
    if current.code == parent_code {
        return Some(current.id);
    }
    let row = client().read(|e| e.row(&current))?;
    let catalog = catalog();
    let columns = &catalog.get(current.code.as_str())?.columns;
    let refers_to_parent = |c: &&Column| matches!(&c.kind, ColumnKind::Reference { entity } if entity == parent_code);
    columns.iter().filter(refers_to_parent).find_map(|c| row.data.get(&c.name)?.as_str()?.parse().ok())
}

/// Form with the fields of a new entity.
#[component]
pub(super) fn NewForm(
    code: EntityCode,
    parent: Option<(EntityRef, String)>,
    initial: Row,
    /// Whether all fields are shown initially, not only the required ones.
    all_fields: bool,
    done: Callback<Uuid>,
    cancel: Callback<()>,
) -> impl IntoView {
    let catalog = catalog();
    let entity = catalog.get(code.as_str()).cloned();
    let mut initial_row = initial;
    // Without a given parent, use the entity of the current page if its type fits; otherwise the
    // form shows the parent columns as fields.
    let root = entity.as_ref().is_none_or(|e| e.root_flag);
    let parent_columns: Vec<(String, String)> = catalog
        .parent_relations(code.as_str())
        .filter(|(parent_type, relation)| {
            parent.is_none() && relation.owned && relation.parent_type_column.is_none() && parent_type.code != code
        })
        .filter_map(|(parent_type, relation)| Some((parent_type.code.to_string(), relation.parent_column.clone()?)))
        .filter(|(_, column)| !root || entity.as_ref().and_then(|e| e.column(column)).is_some_and(|c| c.required))
        .collect();
    let path = use_location().pathname.get_untracked();
    let has_parent_value = parent_columns.iter().any(|(_, column)| initial_row.contains_key(column));
    let page_parent = parent_columns
        .iter()
        .filter(|_| !has_parent_value)
        .find_map(|(parent_code, column)| Some((column.clone(), current_parent(&path, parent_code)?)));
    let owner_columns: Vec<String> = match &page_parent {
        Some((column, id)) => {
            initial_row.insert(column.clone(), json!(id));
            vec![column.clone()]
        }
        None => parent_columns.into_iter().map(|(_, column)| column).filter(|_| !has_parent_value).collect(),
    };
    let is_required = |c: &Column| c.required || owner_columns.contains(&c.name);
    let has_name = entity.as_ref().and_then(|e| e.column("name")).is_none_or(|c| !c.hidden);
    let parent_column = parent.as_ref().map(|(_, column)| column.clone());
    let fields: Vec<Column> = entity
        .iter()
        .flat_map(|e| e.columns.clone())
        .filter(|c| c.name != "name" && Some(&c.name) != parent_column.as_ref() && !c.read_only)
        .filter(|c| {
            is_required(c) || !c.hidden && !matches!(c.kind, ColumnKind::Json | ColumnKind::Uuid | ColumnKind::TextList)
        })
        .collect();
    let (required_fields, optional_fields): (Vec<Column>, Vec<Column>) = fields.into_iter().partition(is_required);
    let required: Vec<String> = required_fields
        .iter()
        .filter(|c| c.required)
        .map(|c| c.name.clone())
        .chain(has_name.then(|| "name".to_owned()))
        .collect();
    let values = RwSignal::new(initial_row);
    let parent_ref = parent.clone();
    let form = FormState::from_row(move || {
        let mut row = values.get();
        row.extend(parent_ref.iter().flat_map(|(parent, column)| row_with(column, json!(parent.id))));
        row
    });
    let complete = Memo::new(move |_| {
        let has_value = |v: &Row, name: &String| {
            v.get(name).is_some_and(|x| !x.is_null() && x.as_str().is_none_or(|s| !s.trim().is_empty()))
        };
        form.invalid_fields.with(Vec::is_empty) && values.with(|v| required.iter().all(|name| has_value(v, name)))
    });
    let submit = move |event: leptos::ev::SubmitEvent| {
        event.prevent_default();
        if !complete.get_untracked() {
            return;
        }
        let mut row = values.get_untracked();
        row.retain(|_, value| !value.is_null());
        if let Some((parent, column)) = &parent {
            row.insert(column.clone(), json!(parent.id));
        }
        done.run(use_entity_mutation(code.clone()).create(row));
    };
    let field = move |column: Column| {
        let name = StoredValue::new(column.name.clone());
        let value = Signal::derive(move || values.with(|v| v.get(&name.get_value()).cloned().unwrap_or(Value::Null)));
        let change = Callback::new(move |value: Value| values.update(|v| v.extend(row_with(&name.get_value(), value))));
        view! { <Field column=column value=value changed=false enabled=true change=change/> }
    };
    let expanded = RwSignal::new(all_fields);
    let has_optional = !optional_fields.is_empty();
    let optional_fields = StoredValue::new(optional_fields);
    let required_fields = required_fields.into_iter().map(field).collect_view();
    let focus = NodeRef::<leptos::html::Input>::new();
    Effect::new(move || {
        if let Some(input) = focus.get() {
            let _ = input.focus();
        }
    });
    view! {
        <form class="body new-form" on:submit=submit>
            {has_name.then(|| view! { <div class="field"><label for="new-name">"Name"</label><span class="input"><input id="new-name" node_ref=focus maxlength="500" autocomplete="off"
                on:input=move |e| values.update(|v| v.extend(row_with("name", json!(event_target_value(&e)))))/></span></div> })}
            {required_fields}
            {reactive_view(move || expanded.get().then(|| view! { <div class="form more-fields">{optional_fields.get_value().into_iter().map(field).collect_view()}</div> }))}
            <footer class="buttons">{reactive_view(move || (has_optional && !expanded.get()).then(|| view! { <button type="button" class="btn quiet first" on:click=move |_| expanded.set(true)>"More fields"</button> }))}
                <button type="button" class="btn quiet" on:click=move |_| cancel.run(())>"Cancel"</button>
                <button class="btn primary" disabled=reactive_attr(move || !complete.get())>"Create"</button></footer>
        </form>
    }
}
