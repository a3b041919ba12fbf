//! Global settings, such as currency, date format and log retention.

use super::requests::{humanize, refresh_reference_data, send};
use crate::client::http::Method;
use crate::hooks::use_global_settings;
use crate::ui::error_message::error_message;
use crate::ui::reactive::{reactive_attr, reactive_view};
use crate::ui::value_view::icon;
use leptos::prelude::*;
use serde_json::{Map, Value, json};

#[component]
pub(crate) fn Settings() -> impl IntoView {
    let settings = use_global_settings();
    let loaded = Memo::new(move |_| settings.with(Option::is_some));
    reactive_view(move || {
        // Untracked: input on the page is preserved when the settings are refetched.
        let all = loaded.get().then(|| settings.get_untracked()).flatten();
        let all = all.as_ref().and_then(|all| all.as_object().cloned());
        let Some(all) = all else {
            return view! { <div class="skeletons" aria-busy="true"><span class="skeleton"></span></div> }.into_any();
        };
        let editors: Vec<_> = all
            .into_iter()
            .filter_map(|(name, value)| Some(view! { <SettingEditor name=name value=value.as_object()?.clone()/> }))
            .collect();
        view! { <div class="admin">{editors}</div> }.into_any()
    })
}

#[component]
fn SettingEditor(name: String, value: Map<String, Value>) -> impl IntoView {
    let (busy, error, saved) = (RwSignal::new(false), RwSignal::new(None), RwSignal::new(false));
    let current = RwSignal::new(value.clone());
    let key = StoredValue::new(name.clone());
    let save = move |event: leptos::ev::SubmitEvent| {
        event.prevent_default();
        saved.set(false);
        let body = json!({key.get_value(): current.get_untracked()});
        send(Method::PATCH, "/settings/global".to_owned(), Some(body), busy, error, move |_| {
            saved.try_set(true);
            refresh_reference_data();
        });
    };
    let field = |(part, value): (String, Value)| {
        let label = humanize(&part);
        let set_part = move |value: Value| {
            current.update(|all| drop(all.insert(part.clone(), value)));
            saved.set(false);
        };
        match value {
            Value::Bool(checked) => view! { <label class="field"><span>{label}</span><span class="check"><input type="checkbox" class="i-check" checked=checked on:change=move |e| set_part(json!(event_target_checked(&e)))/></span></label> }.into_any(),
            Value::Number(n) => view! { <label class="field"><span>{label}</span><input class="input num" type="number" required value=n.to_string() on:input=move |e| { if let Ok(n) = event_target_value(&e).parse::<i64>() { set_part(json!(n)); } }/></label> }.into_any(),
            Value::String(text) => view! { <label class="field"><span>{label}</span><input class="input" required maxlength="200" value=text on:input=move |e| set_part(json!(event_target_value(&e)))/></label> }.into_any(),
            _ => ().into_any(),
        }
    };
    let fields: Vec<_> = value.into_iter().map(field).collect();
    view! {
        <form class="admin-box" on:submit=save aria-label=humanize(&name)>
            <h2>{humanize(&name)}</h2>
            <div class="form">{fields}</div>
            {error_message(error)}
            <footer class="buttons start"><button class="btn" disabled=reactive_attr(move || busy.get())>"Save"</button>{reactive_view(move || saved.get().then(|| view! { <span class="hint" role="status">{icon("check")}"Saved"</span> }))}</footer>
        </form>
    }
}
