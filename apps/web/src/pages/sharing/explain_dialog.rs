//! Dialog that explains the access of a person.

use super::grants::permission_label;
use crate::client::http;
use crate::hooks::catalog;
use crate::ui::dialog::Dialog;
use crate::ui::format;
use crate::ui::reactive::reactive_view;
use crate::ui::value_view::icon;
use leptos::prelude::*;
use pmo_domain::EntityRef;
use serde_json::Value;
use uuid::Uuid;
use wasm_bindgen_futures::spawn_local;

/// Dialog that explains the access of a person: each grant that applies, with its path.
#[component]
pub(super) fn ExplainAccessDialog(
    entity: EntityRef,
    person: Uuid,
    name: String,
    explaining: RwSignal<Option<(Uuid, String)>>,
) -> impl IntoView {
    let (response, error) = (RwSignal::new(None::<Value>), RwSignal::new(None::<String>));
    let path = format!("/{}/{}/access/explain?person_id={person}", entity.code, entity.id);
    spawn_local(async move {
        match http::request(http::Method::GET, &path, None, None).await {
            Ok(result) => response.set(Some(result)),
            Err(failure) => error.set(Some(failure.to_string())),
        }
    });
    let close = Callback::new(move |()| explaining.set(None));
    let reason = |reason: &Value| {
        let level = reason["permission"].as_u64().unwrap_or_default();
        let deny = reason["is_deny"] == Value::Bool(true);
        let source = match reason["role_name"].as_str() {
            Some(role) => format!("Through role {role}"),
            None => "Direct".to_owned(),
        };
        let titles: Vec<String> = reason["path"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|step| {
                let kind = step["entity"].as_str().unwrap_or_default();
                let kind = catalog().get(kind).map_or_else(|| kind.to_owned(), |t| t.name.clone());
                step["title"]
                    .as_str()
                    .map_or_else(|| format!("{kind} (no access)"), |title| format!("{kind} “{title}”"))
            })
            .collect();
        let target = if reason["on_every"] == Value::Bool(true) {
            "on all items of the type".to_owned()
        } else {
            format!("on {}", titles.join(" → "))
        };
        let expires = reason["expires_ts"]
            .as_str()
            .map(|expires| format!(", expires {}", format::date(expires, true)))
            .unwrap_or_default();
        let effective = reason["effective_permission"]
            .as_u64()
            .filter(|effective| *effective != level && !deny)
            .map(|effective| format!("; effective here: {}", permission_label(effective).to_lowercase()));
        view! { <li class="stacked"><strong>{if deny { "Denied" } else { permission_label(level) }}</strong><span class="meta">{format!("{source}, {target}{expires}{}", effective.unwrap_or_default())}</span></li> }
    };
    let body = reactive_view(move || match response.get() {
        Some(result) => {
            let reasons: Vec<_> = result["reasons"].as_array().into_iter().flatten().map(reason).collect();
            let level = result["permission"].as_u64().map_or("No access", permission_label);
            let no_reasons = reasons.is_empty();
            view! { <p>"Effective permission: "<strong>{level}</strong></p><ul class="rows tray">{reasons}</ul>{no_reasons.then(|| view! { <p class="softer">"No matching grants"</p> })} }.into_any()
        }
        None => error.get().map_or_else(
            || view! { <span class="skeleton"></span> }.into_any(),
            |message| view! { <p class="hint error" role="alert">{icon("circle-alert")}{message}</p> }.into_any(),
        ),
    });
    view! { <Dialog title=format!("Why {}", if name == "You" { "you have access".to_owned() } else { format!("{name} has access") }) lead="Each grant that applies, and the path along which it is inherited. The highest permission counts, unless access is denied." close=close><div class="body">{body}</div></Dialog> }
}
