//! How types and columns are called and shown.

use super::{error_banner, refresh_reference_data, send, type_choices};
use crate::client::http::Method;
use crate::hooks::{catalogue, use_entity_codes};
use crate::ui::reactive::{reactive_attr, reactive_view};
use crate::ui::value_view::icon;
use leptos::prelude::*;
use pmo_domain::{Column, ColumnKind, EntityType};
use serde_json::{Map, Value, json};

#[component]
pub fn Types() -> impl IntoView {
    let codes = use_entity_codes();
    let chosen = RwSignal::new(String::new());
    let names = reactive_view(move || {
        codes.track();
        let now = chosen.get();
        let line = |(code, label): (pmo_domain::EntityCode, String)| {
            let sign = catalogue().get(code.as_str()).map(|t| t.ui_icon.clone()).unwrap_or_default();
            let here = code.as_str() == now;
            view! { <li><button type="button" aria-current=here.then_some("true") on:click=move |_| chosen.set(code.to_string())>{icon(&sign)}<span class="grow">{label}</span></button></li> }
        };
        type_choices().into_iter().map(line).collect::<Vec<_>>()
    });
    view! {
        <div class="admin two">
            <nav class="admin-list" aria-label="Types"><ul>{names}</ul></nav>
            {reactive_view(move || match catalogue().get(&chosen.get()).cloned() {
                Some(kind) => view! { <EntityTypeEditor kind=kind/> }.into_any(),
                None => view! { <div class="blank"><h2>"Choose a type"</h2><p>"What it is called, and which of its columns are shown and needed. New columns come by a migration."</p></div> }.into_any(),
            })}
        </div>
    }
}

/// The kind of a column in words.
fn kind_label(kind: &ColumnKind) -> String {
    let named = |code: &str| catalogue().get(code).map_or_else(|| code.to_owned(), |t| t.name.to_lowercase());
    match kind {
        ColumnKind::Datalabel { set } => format!("option of {}", set.replace('_', " ")),
        ColumnKind::Reference { entity } => format!("a {}", named(entity)),
        ColumnKind::References { entity } => format!("several of {}", named(entity)),
        other => format!("{other:?}").to_lowercase(),
    }
}

#[component]
fn EntityTypeEditor(kind: EntityType) -> impl IntoView {
    let (busy, error, saved) = (RwSignal::new(false), RwSignal::new(None), RwSignal::new(false));
    let words = RwSignal::new(Map::new());
    let columns = RwSignal::new(Map::<String, Value>::new());
    let code = kind.code.to_string();
    let save = move |event: leptos::ev::SubmitEvent| {
        event.prevent_default();
        saved.set(false);
        let mut body = words.get_untracked();
        let changed = columns.get_untracked();
        if !changed.is_empty() {
            body.insert("columns".into(), Value::Object(changed));
        }
        send(Method::PATCH, format!("/entity/{code}"), Some(Value::Object(body)), busy, error, move |_| {
            words.try_set(Map::new());
            columns.try_set(Map::new());
            saved.try_set(true);
            refresh_reference_data();
        });
    };
    let put = move |name: &'static str, value: Value| words.update(|all| drop(all.insert(name.to_owned(), value)));
    let put_column = move |column: &str, part: &str, value: Value| {
        columns.update(|all| {
            let entry = all.entry(column.to_owned()).or_insert_with(|| json!({}));
            entry[part] = value;
        });
    };
    let mut signs: Vec<String> = catalogue().types.values().map(|t| t.ui_icon.clone()).collect();
    signs.sort();
    signs.dedup();
    let signs: Vec<_> = signs
        .into_iter()
        .map(|sign| {
            let here = sign == kind.ui_icon;
            view! { <option value=sign.clone() selected=here>{sign.replace('-', " ")}</option> }
        })
        .collect();
    let line = |column: &Column| {
        let [name, hide, need] = [(); 3].map(|()| column.name.clone());
        let fixed = column.name == "name" || column.required;
        let unneeded = column.read_only || column.not_null;
        view! {
            <tr><td><input class="input" maxlength="100" aria-label=format!("Label of {}", column.name) value=column.label.clone() on:input=move |e| put_column(&name, "label", json!(event_target_value(&e).trim()))/></td>
                <td class="softer">{column.name.clone()}</td><td class="softer">{kind_label(&column.kind)}</td>
                <td><label class="check"><input type="checkbox" class="i-check" checked=!column.hidden disabled=fixed aria-label=format!("{} is shown", column.label) on:change=move |e| put_column(&hide, "hidden", json!(!event_target_checked(&e)))/></label></td>
                <td><label class="check"><input type="checkbox" class="i-check" checked=column.required disabled=unneeded aria-label=format!("{} is needed", column.label) on:change=move |e| put_column(&need, "required", json!(event_target_checked(&e)))/></label></td></tr>
        }
    };
    let told = |c: &&Column| {
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
    let lines: Vec<_> = kind.columns.iter().filter(told).map(line).collect();
    view! {
        <form class="admin-edit" on:submit=save aria-label=format!("How {} are called", kind.ui_label)>
            <header><h2>{kind.ui_label.clone()}</h2><p class="softer">{format!("Type {}", kind.code)}</p></header>
            <div class="form">
                <label class="field"><span>"One of them"</span><input class="input" required maxlength="100" value=kind.name.clone() on:input=move |e| put("name", json!(event_target_value(&e).trim()))/></label>
                <label class="field"><span>"Several of them"</span><input class="input" required maxlength="100" value=kind.ui_label.clone() on:input=move |e| put("ui_label", json!(event_target_value(&e).trim()))/></label>
                <label class="field"><span>"Icon"</span><select class="input" on:change=move |e| put("ui_icon", json!(event_target_value(&e)))>{signs}</select></label>
                <label class="field"><span>"Place among the types"</span><input class="input num" type="number" value=kind.display_order.to_string() on:input=move |e| { if let Ok(place) = event_target_value(&e).parse::<i32>() { put("display_order", json!(place)); } }/></label>
            </div>
            <div class="scroll-x"><table class="plain-table"><thead><tr><th>"Label"</th><th>"Column"</th><th>"Kind"</th><th>"Shown"</th><th>"Needed"</th></tr></thead><tbody>{lines}</tbody></table></div>
            {error_banner(error)}
            {reactive_view(move || saved.get().then(|| view! { <p class="hint" role="status">{icon("check")}"Saved. Others see it within minutes."</p> }))}
            <footer class="buttons start"><button class="btn primary" disabled=reactive_attr(move || busy.get())>"Save"</button></footer>
        </form>
    }
}
