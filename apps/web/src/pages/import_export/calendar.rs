//! Calendar URLs.

use crate::client::http;
use crate::ui::copy_button::CopyButton;
use crate::ui::dialog::Dialog;
use crate::ui::error_message::error_message;
use crate::ui::format;
use crate::ui::reactive::reactive_view;
use crate::ui::value_view::icon;
use leptos::prelude::*;
use pmo_domain::EntityRef;
use serde_json::{Value, json};
use wasm_bindgen_futures::spawn_local;

/// Manages calendar URLs, to which calendar apps can subscribe: create, list and revoke.
///
/// A new URL is shown only once, because the server stores only its hash.
#[component]
pub(super) fn CalendarDialog(
    /// Entity that the calendar covers; `None` for the tasks of the user.
    entity: Option<EntityRef>,
    /// Name of that entity.
    title: String,
    /// Whether the dialog is open.
    open: RwSignal<bool>,
) -> impl IntoView {
    let (list, created_url, error) =
        (RwSignal::new(Vec::<Value>::new()), RwSignal::new(None::<String>), RwSignal::new(None::<String>));
    let load = move || {
        spawn_local(async move {
            match http::request(http::Method::GET, "/calendar_feed", None, None).await {
                Ok(response) => list.set(response["data"].as_array().cloned().unwrap_or_default()),
                Err(failure) => error.set(Some(failure.to_string())),
            }
        });
    };
    load();
    let create = move |_| {
        let body = entity.as_ref().map_or_else(|| json!({}), |entity| json!({"entity": entity.code, "id": entity.id}));
        spawn_local(async move {
            match http::request(http::Method::POST, "/calendar_feed", Some(&body), None).await {
                Ok(response) => {
                    let origin = window().location().origin().unwrap_or_default();
                    created_url.set(response["path"].as_str().map(|path| format!("{origin}{path}")));
                    load();
                }
                Err(failure) => error.set(Some(failure.to_string())),
            }
        });
    };
    let revoke = move |id: String| {
        spawn_local(async move {
            match http::request(http::Method::DELETE, &format!("/calendar_feed/{id}"), None, None).await {
                Ok(_) => load(),
                Err(failure) => error.set(Some(failure.to_string())),
            }
        });
    };
    let feed_item = move |feed: Value| {
        let text = |key: &str| feed[key].as_str().unwrap_or_default().to_owned();
        let entity_name = feed["about_id"]
            .as_str()
            .and_then(|id| id.parse().ok())
            .and_then(|id| crate::client::client().read(|e| e.name(&text("about_code"), id)));
        let label = if feed["about_id"].is_null() {
            "My tasks".to_owned()
        } else {
            entity_name.unwrap_or_else(|| "A plan".to_owned())
        };
        let usage = if feed["used_ts"].is_null() {
            "never used".to_owned()
        } else {
            format!("last used {}", format::local_datetime(&text("used_ts")))
        };
        let id = text("id");
        view! { <li>{icon("calendar")}<span class="grow"><strong>{label}</strong><span class="meta">{usage}</span></span><button class="btn quiet sm" on:click=move |_| revoke(id.clone())>"Revoke"</button></li> }
    };
    let select = |event: leptos::ev::FocusEvent| event_target::<web_sys::HtmlInputElement>(&event).select();
    view! {
        <Dialog title=format!("Calendar: {title}") lead="A URL to which calendar apps can subscribe. Anyone with the URL sees these dates, with your permissions, until you revoke it." close=Callback::new(move |()| open.set(false))>
            <div class="body new-form">
                {error_message(error)}
                {reactive_view(move || created_url.get().map(|address| view! { <div class="field"><label for="calendar-address">"URL (shown once)"</label><span class="copy-field"><span class="input"><input id="calendar-address" readonly=true prop:value=address.clone() on:focus=select/></span><CopyButton text=address/></span></div> }))}
                <button class="btn" on:click=create>{icon("plus")}"Create calendar URL"</button>
                <ul class="rows tray">{reactive_view(move || list.get().into_iter().map(feed_item).collect_view())}</ul>
            </div>
        </Dialog>
    }
}
