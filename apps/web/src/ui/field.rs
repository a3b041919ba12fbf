//! A value to edit, by its column's kind. What is typed goes to `change` at once; checking it is the domain's business.

use super::cell::{self, icon};
use super::format;
use super::live::{follow, live};
use crate::client::client;
use crate::hooks::datalabel_sync;
use leptos::prelude::*;
use pmo_domain::{Column, ColumnKind};
use serde_json::{Value, json};

/// A labelled field. `value` is what it shows, `changed` whether a draft touches it.
#[component]
pub fn Field(
    /// The column.
    column: Column,
    /// The present value.
    #[prop(into)]
    value: Signal<Value>,
    /// A draft touches it.
    #[prop(into)]
    changed: Signal<bool>,
    /// May be written.
    #[prop(into)]
    enabled: Signal<bool>,
    /// Takes what was typed.
    #[prop(into)]
    change: Callback<Value>,
) -> impl IntoView {
    let id = format!("f-{}", column.name);
    let wide = matches!(column.kind, ColumnKind::Reference { .. } | ColumnKind::References { .. } | ColumnKind::Text);
    let error = RwSignal::new(None::<String>);
    let checked = {
        let column = column.clone();
        Callback::new(move |value: Value| match column.check(&value) {
            Ok(_) => {
                error.set(None);
                change.run(value);
            }
            Err(message) => error.set(Some(message)),
        })
    };
    let label = column.label.clone();
    view! {
        <div class="field" class:w2=wide class:changed=changed>
            <label for=id.clone()>{label}</label>
            <Widget column=column id=id value=value enabled=enabled change=checked/>
            {live(move || error.get().map(|message| view! { <span class="hint error" role="alert">{icon("circle-alert")}{message}</span> }))}
        </div>
    }
}

/// The control alone.
#[component]
pub fn Widget(
    /// The column.
    column: Column,
    /// The control's id.
    #[prop(into)]
    id: String,
    /// The present value.
    #[prop(into)]
    value: Signal<Value>,
    /// May be written.
    #[prop(into)]
    enabled: Signal<bool>,
    /// Takes what was typed.
    #[prop(into)]
    change: Callback<Value>,
) -> impl IntoView {
    let money = column.kind == ColumnKind::Money;
    let text = Signal::derive(move || match value.get() {
        Value::String(s) if money => format::amount(&s).to_owned(),
        Value::String(s) => s,
        Value::Number(n) => n.as_f64().map(format::plain).unwrap_or_default(),
        _ => String::new(),
    });
    let off = Signal::derive(move || !enabled.get());
    match column.kind.clone() {
        ColumnKind::Label { set } => {
            let options = move || {
                datalabel_sync(&set).map(|s| s.options.into_iter().filter(|o| o.active_flag).map(|o| (o.name.clone(), o.name)).collect()).unwrap_or_default()
            };
            choice(id, Box::new(options), text, off, change, !column.not_null)
        }
        ColumnKind::Reference { entity } => {
            let options = move || client().read(|e| e.known_names(&entity)).into_iter().map(|(id, name)| (id.to_string(), name)).collect();
            choice(id, Box::new(options), text, off, change, !column.not_null)
        }
        ColumnKind::References { entity } => references(id, entity, value, off, change),
        ColumnKind::Flag => view! {
            <label class="check">
                <input type="checkbox" class="i-check" id=id disabled=off prop:checked=follow(move || value.get() == Value::Bool(true))
                    on:change=move |e| change.run(json!(event_target_checked(&e)))/>
            </label>
        }
        .into_any(),
        ColumnKind::Text => view! {
            <textarea class="input" id=id rows="3" disabled=off prop:value=text on:input=move |e| change.run(json!(event_target_value(&e)))></textarea>
        }
        .into_any(),
        kind => {
            let (input_type, unit) = match kind {
                ColumnKind::Date => ("date", None),
                ColumnKind::Hours => ("text", Some("h")),
                ColumnKind::Days => ("text", Some("d")),
                ColumnKind::Percent => ("text", Some("%")),
                ColumnKind::Money => ("text", Some("€")),
                _ => ("text", None),
            };
            let numeric = matches!(
                kind,
                ColumnKind::Hours | ColumnKind::Days | ColumnKind::Percent | ColumnKind::Number | ColumnKind::Integer
            );
            let mode = if numeric || kind == ColumnKind::Money { "decimal" } else { "text" };
            let typed = move |text: String| {
                let trimmed = text.trim();
                change.run(if trimmed.is_empty() && column.name != "name" {
                    Value::Null
                } else if numeric {
                    trimmed.replace(',', ".").parse::<f64>().map_or_else(|_| json!(text), |n| json!(n))
                } else {
                    json!(text)
                });
            };
            view! {
                <span class="input">
                    <input id=id type=input_type inputmode=mode disabled=off prop:value=text on:input=move |e| typed(event_target_value(&e))/>
                    {unit.map(|unit| view! { <span class="unit">{unit}</span> })}
                </span>
            }
            .into_any()
        }
    }
}

fn choice(
    id: String,
    options: Box<dyn Fn() -> Vec<(String, String)> + Send>,
    present: Signal<String>,
    off: Signal<bool>,
    change: Callback<Value>,
    may_be_empty: bool,
) -> AnyView {
    let picked = move |event| {
        let picked = event_target_value(&event);
        change.run(if picked.is_empty() { Value::Null } else { json!(picked) });
    };
    let items = live(move || {
        let now = present.get();
        let mut options = options();
        if !now.is_empty() && !options.iter().any(|(value, _)| *value == now) {
            options.insert(0, (now.clone(), "Not visible to you".to_owned()));
        }
        let empty =
            (may_be_empty || now.is_empty()).then(|| view! { <option value="" selected=now.is_empty()>"–"</option> });
        let rest: Vec<_> = options
            .into_iter()
            .map(|(value, name)| {
                let selected = value == now;
                view! { <option value=value selected=selected>{name}</option> }
            })
            .collect();
        view! { {empty}{rest} }
    });
    view! {
        <span class="input">
            <select id=id disabled=off prop:value=present on:change=picked>{items}</select>
            <i class="i i-chevron-down sm" aria-hidden="true"></i>
        </span>
    }
    .into_any()
}

fn references(id: String, entity: String, value: Signal<Value>, off: Signal<bool>, change: Callback<Value>) -> AnyView {
    let entity = StoredValue::new(entity);
    let present = move || cell::ids(Some(&value.get()));
    let chips = live(move || {
        present()
            .into_iter()
            .map(|id| {
                let name = id.parse().ok().and_then(|u| client().read(|e| entity.with_value(|code| e.name(code, u)))).unwrap_or_else(|| "Somebody".into());
                let gone = id.clone();
                let remove = move |_| {
                    let rest: Vec<_> = present().into_iter().filter(|i| *i != gone).collect();
                    change.run(json!(rest));
                };
                view! {
                    <span class="chip"><span class="person">{cell::avatar(&id, &name)}<span>{name.clone()}</span></span>
                        <button type="button" disabled=off aria-label=format!("Remove {name}") on:click=remove>{icon("x")}</button></span>
                }
            })
            .collect_view()
    });
    let add = move |event| {
        let picked = event_target_value(&event);
        let mut all = present();
        if !picked.is_empty() && !all.contains(&picked) {
            all.push(picked);
            change.run(json!(all));
        }
    };
    let options = move || {
        let here = present();
        client()
            .read(|e| entity.with_value(|code| e.known_names(code)))
            .into_iter()
            .filter(|(id, _)| !here.contains(&id.to_string()))
            .map(|(id, name)| view! { <option value=id.to_string()>{name}</option> })
            .collect_view()
    };
    view! {
        <div class="references">
            {chips}
            <span class="input sm">
                <select id=id disabled=off prop:value="" on:change=add><option value="">"Add…"</option>{live(options)}</select>
                <i class="i i-chevron-down sm" aria-hidden="true"></i>
            </span>
        </div>
    }
    .into_any()
}

/// A value of a property, small, for the panel at the side.
pub fn shown(column: &Column, row: &pmo_domain::Row) -> AnyView {
    match column.kind {
        ColumnKind::Date => {
            let day = format::text(row, &column.name);
            view! { <time datetime=day.clone()>{format::date(&day, true)}</time> }.into_any()
        }
        _ => cell::value(column, row),
    }
}
