//! Entity types: names, icons and order, and labels and visibility of their columns.

use super::requests::{refresh_reference_data, send, type_choices};
use crate::client::http::Method;
use crate::hooks::{catalog, use_entity_codes};
use crate::ui::error_message::error_message;
use crate::ui::reactive::{reactive_attr, reactive_view};
use crate::ui::value_view::icon;
use leptos::prelude::*;
use pmo_domain::{Column, ColumnKind, EntityType};
use serde_json::{Map, Value, json};

#[component]
pub(crate) fn Types() -> impl IntoView {
    let codes = use_entity_codes();
    let selected_code = RwSignal::new(String::new());
    let names = reactive_view(move || {
        codes.track();
        let selected = selected_code.get();
        let type_button = |(code, label): (pmo_domain::EntityCode, String)| {
            let icon_name = catalog().get(code.as_str()).map(|t| t.ui_icon.clone()).unwrap_or_default();
            let is_selected = code.as_str() == selected;
            view! { <li><button type="button" aria-current=is_selected.then_some("true") on:click=move |_| selected_code.set(code.to_string())>{icon(&icon_name)}<span class="grow">{label}</span></button></li> }
        };
        type_choices().into_iter().map(type_button).collect::<Vec<_>>()
    });
    view! {
        <div class="admin two">
            <nav class="admin-list" aria-label="Types"><ul>{names}</ul></nav>
            {reactive_view(move || match catalog().get(&selected_code.get()).cloned() {
                Some(kind) => view! { <EntityTypeEditor kind=kind/> }.into_any(),
                None => view! { <div class="blank"><h2>"Choose a type"</h2><p>"Names, and which columns are visible and required. New columns are added by a database migration."</p></div> }.into_any(),
            })}
        </div>
    }
}

/// Describes the kind of a column for display.
fn kind_label(kind: &ColumnKind) -> String {
    let type_name = |code: &str| catalog().get(code).map_or_else(|| code.to_owned(), |t| t.name.to_lowercase());
    match kind {
        ColumnKind::Datalabel { set } => format!("option from {}", set.replace('_', " ")),
        ColumnKind::Reference { entity } => format!("reference to {}", type_name(entity)),
        ColumnKind::References { entity } => format!("references to {}", type_name(entity)),
        other => format!("{other:?}").to_lowercase(),
    }
}

#[component]
fn EntityTypeEditor(kind: EntityType) -> impl IntoView {
    let (busy, error, saved) = (RwSignal::new(false), RwSignal::new(None), RwSignal::new(false));
    let values = RwSignal::new(Map::new());
    let columns = RwSignal::new(Map::<String, Value>::new());
    let code = kind.code.to_string();
    let save = move |event: leptos::ev::SubmitEvent| {
        event.prevent_default();
        saved.set(false);
        let mut body = values.get_untracked();
        let changed = columns.get_untracked();
        if !changed.is_empty() {
            body.insert("columns".into(), Value::Object(changed));
        }
        send(Method::PATCH, format!("/entity/{code}"), Some(Value::Object(body)), busy, error, move |_| {
            values.try_set(Map::new());
            columns.try_set(Map::new());
            saved.try_set(true);
            refresh_reference_data();
        });
    };
    let set_value =
        move |name: &'static str, value: Value| values.update(|all| drop(all.insert(name.to_owned(), value)));
    let set_column_value = move |column: &str, property: &str, value: Value| {
        columns.update(|all| {
            let entry = all.entry(column.to_owned()).or_insert_with(|| json!({}));
            entry[property] = value;
        });
    };
    let mut icon_options: Vec<String> = catalog().types.values().map(|t| t.ui_icon.clone()).collect();
    icon_options.sort();
    icon_options.dedup();
    let icon_options: Vec<_> = icon_options
        .into_iter()
        .map(|name| {
            let is_selected = name == kind.ui_icon;
            view! { <option value=name.clone() selected=is_selected>{name.replace('-', " ")}</option> }
        })
        .collect();
    let column_row = |column: &Column| {
        let [name, hidden_name, required_name] = [(); 3].map(|()| column.name.clone());
        let always_visible = column.name == "name" || column.required;
        let required_locked = column.read_only || column.not_null;
        view! {
            <tr><td><input class="input" maxlength="100" aria-label=format!("Label of {}", column.name) value=column.label.clone() on:input=move |e| set_column_value(&name, "label", json!(event_target_value(&e).trim()))/></td>
                <td class="softer">{column.name.clone()}</td><td class="softer">{kind_label(&column.kind)}</td>
                <td><label class="check"><input type="checkbox" class="i-check" checked=!column.hidden disabled=always_visible aria-label=format!("{} visible", column.label) on:change=move |e| set_column_value(&hidden_name, "hidden", json!(!event_target_checked(&e)))/></label></td>
                <td><label class="check"><input type="checkbox" class="i-check" checked=column.required disabled=required_locked aria-label=format!("{} required", column.label) on:change=move |e| set_column_value(&required_name, "required", json!(event_target_checked(&e)))/></label></td></tr>
        }
    };
    let is_configurable = |c: &&Column| {
        !matches!(c.kind, ColumnKind::Json)
            && !matches!(
                c.name.as_str(),
                "id" | "version"
                    | "active_flag"
                    | "metadata"
                    | "from_ts"
                    | "to_ts"
                    | "created_ts"
                    | "updated_ts"
                    | "storage_key"
            )
    };
    let column_rows: Vec<_> = kind.columns.iter().filter(is_configurable).map(column_row).collect();
    view! {
        <form class="admin-edit" on:submit=save aria-label=format!("Type settings: {}", kind.ui_label)>
            <header><h2>{kind.ui_label.clone()}</h2><p class="softer">{format!("Type {}", kind.code)}</p></header>
            <div class="form">
                <label class="field"><span>"Singular name"</span><input class="input" required maxlength="100" value=kind.name.clone() on:input=move |e| set_value("name", json!(event_target_value(&e).trim()))/></label>
                <label class="field"><span>"Plural name"</span><input class="input" required maxlength="100" value=kind.ui_label.clone() on:input=move |e| set_value("ui_label", json!(event_target_value(&e).trim()))/></label>
                <label class="field"><span>"Icon"</span><select class="input" on:change=move |e| set_value("ui_icon", json!(event_target_value(&e)))>{icon_options}</select></label>
                <label class="field"><span>"Sort order"</span><input class="input num" type="number" value=kind.display_order.to_string() on:input=move |e| { if let Ok(order) = event_target_value(&e).parse::<i32>() { set_value("display_order", json!(order)); } }/></label>
            </div>
            <div class="scroll-x"><table class="plain-table"><thead><tr><th>"Label"</th><th>"Column"</th><th>"Kind"</th><th>"Visible"</th><th>"Required"</th></tr></thead><tbody>{column_rows}</tbody></table></div>
            {error_message(error)}
            {reactive_view(move || saved.get().then(|| view! { <p class="hint" role="status">{icon("check")}"Saved. Other users see the change within minutes."</p> }))}
            <footer class="buttons start"><button class="btn primary" disabled=reactive_attr(move || busy.get())>"Save"</button></footer>
        </form>
    }
}
