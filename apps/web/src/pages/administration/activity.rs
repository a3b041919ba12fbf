//! What happened lately to things that one may see.

use crate::client::http::{self, Method};
use crate::hooks::catalogue;
use crate::ui::format;
use crate::ui::reactive::reactive_view;
use crate::ui::value_view::{self, icon};
use leptos::prelude::*;
use leptos_router::components::A;
use serde_json::Value;
use wasm_bindgen_futures::spawn_local;

#[component]
pub fn Activity() -> impl IntoView {
    let (lines, next) = (RwSignal::new(Vec::<Value>::new()), RwSignal::new(None::<String>));
    let (here, error) = (RwSignal::new(false), RwSignal::new(None::<String>));
    let load = move |cursor: Option<String>| {
        let path = format!(
            "/activity?limit=50{}",
            cursor.map(|c| format!("&cursor={}", pmo_sync::percent_encode(&c))).unwrap_or_default()
        );
        spawn_local(async move {
            match http::request(Method::GET, &path, None, None).await {
                Ok(told) => {
                    next.try_set(told["next_cursor"].as_str().map(ToOwned::to_owned));
                    lines.try_update(|all| all.extend(told["data"].as_array().cloned().unwrap_or_default()));
                }
                Err(message) => drop(error.try_set(Some(message))),
            }
            here.try_set(true);
        });
    };
    load(None);
    let line = |entry: &Value| {
        let text = |name: &str| entry[name].as_str().unwrap_or_default().to_owned();
        let code = text("entity");
        let kind = catalogue().get(&code).cloned();
        let what = match text("action").as_str() {
            "created" => "made",
            "deleted" => "deleted",
            "restored" => "brought back",
            "commented" => "commented on",
            _ => "changed",
        };
        let columns: Vec<String> = entry["changed"]
            .as_object()
            .into_iter()
            .flatten()
            .map(|(name, _)| name)
            .filter_map(|name| {
                kind.as_ref()?.column(name).filter(|c| !c.hidden && !c.read_only).map(|c| c.label.clone())
            })
            .collect();
        let (who, id) = (text("person_name"), text("person_id"));
        let who = if who.is_empty() { "The system".to_owned() } else { who };
        let title =
            entry["title"].as_str().filter(|t| !t.is_empty()).map_or_else(|| text("entity_id"), ToOwned::to_owned);
        let label = kind.map_or(code.clone(), |k| k.name.to_lowercase());
        let of =
            if what == "changed" && !columns.is_empty() { format!(" ({})", columns.join(", ")) } else { String::new() };
        view! { <li>{value_view::avatar(&id, &who)}<span class="grow"><strong>{who}</strong>{format!(" {what} the {label} ")}<A href=format!("/{code}/{}", text("entity_id"))>{title}</A><span class="softer">{of}</span></span><time class="softer num">{format::local_datetime(&text("at"))}</time></li> }
    };
    view! {
        <div class="admin">
            {reactive_view(move || error.get().map(|message| view! { <p class="hint error" role="alert">{icon("circle-alert")}{message}</p> }))}
            {reactive_view(move || (!here.get()).then(|| view! { <div class="skeletons" aria-busy="true"><span class="skeleton"></span></div> }))}
            <ul class="rows tray activity">{reactive_view(move || lines.get().iter().map(line).collect::<Vec<_>>())}</ul>
            {reactive_view(move || next.get().map(|cursor| view! { <button type="button" class="btn sm" on:click=move |_| load(Some(cursor.clone()))>"More"</button> }))}
        </div>
    }
}
