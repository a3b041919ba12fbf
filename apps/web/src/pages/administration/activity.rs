//! Activity log: recent changes of all entities that are visible to the user.

use crate::client::http::{self, Method};
use crate::hooks::catalog;
use crate::ui::error_message::error_message;
use crate::ui::format;
use crate::ui::reactive::reactive_view;
use crate::ui::value_view;
use leptos::prelude::*;
use leptos_router::components::A;
use serde_json::Value;
use wasm_bindgen_futures::spawn_local;

#[component]
pub(crate) fn Activity() -> impl IntoView {
    let (entries, next) = (RwSignal::new(Vec::<Value>::new()), RwSignal::new(None::<String>));
    let (loaded, error) = (RwSignal::new(false), RwSignal::new(None::<String>));
    let load = move |cursor: Option<String>| {
        let path = format!(
            "/activity?limit=50{}",
            cursor.map(|c| format!("&cursor={}", pmo_sync::percent_encode(&c))).unwrap_or_default()
        );
        spawn_local(async move {
            match http::request(Method::GET, &path, None, None).await {
                Ok(response) => {
                    next.try_set(response["next_cursor"].as_str().map(ToOwned::to_owned));
                    entries.try_update(|all| all.extend(response["data"].as_array().cloned().unwrap_or_default()));
                }
                Err(failure) => drop(error.try_set(Some(failure.to_string()))),
            }
            loaded.try_set(true);
        });
    };
    load(None);
    let entry_view = |entry: &Value| {
        let text = |name: &str| entry[name].as_str().unwrap_or_default().to_owned();
        let code = text("entity");
        let kind = catalog().get(&code).cloned();
        let verb = match text("action").as_str() {
            "created" => "created",
            "deleted" => "deleted",
            "restored" => "restored",
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
        let (name, id) = (text("person_name"), text("person_id"));
        let name = if name.is_empty() { "System".to_owned() } else { name };
        let title =
            entry["title"].as_str().filter(|t| !t.is_empty()).map_or_else(|| text("entity_id"), ToOwned::to_owned);
        let label = kind.map_or(code.clone(), |k| k.name.to_lowercase());
        let columns_text =
            if verb == "changed" && !columns.is_empty() { format!(" ({})", columns.join(", ")) } else { String::new() };
        view! { <li>{value_view::avatar(&id, &name)}<span class="grow"><strong>{name}</strong>{format!(" {verb} the {label} ")}<A href=format!("/{code}/{}", text("entity_id"))>{title}</A><span class="softer">{columns_text}</span></span><time class="softer num">{format::local_datetime(&text("at"))}</time></li> }
    };
    view! {
        <div class="admin">
            {error_message(error)}
            {reactive_view(move || (!loaded.get()).then(|| view! { <div class="skeletons" aria-busy="true"><span class="skeleton"></span></div> }))}
            <ul class="rows tray activity">{reactive_view(move || entries.get().iter().map(entry_view).collect::<Vec<_>>())}</ul>
            {reactive_view(move || next.get().map(|cursor| view! { <button type="button" class="btn sm" on:click=move |_| load(Some(cursor.clone()))>"Load more"</button> }))}
        </div>
    }
}
