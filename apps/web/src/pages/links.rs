//! What a thing is tied to by links alone, which its row does not say.

use crate::client::http;
use crate::hooks::{catalogue, use_status};
use crate::ui::reactive::reactive_view;
use crate::ui::value_view::icon;
use leptos::prelude::*;
use leptos_router::components::A;
use pmo_domain::EntityRef;
use serde_json::Value;
use wasm_bindgen_futures::spawn_local;

/// What a thing stands in by links alone, as the server tells: its row does not say.
#[component]
pub fn LinkedParents(
    /// The thing.
    entity: EntityRef,
) -> impl IntoView {
    let told = RwSignal::new(Vec::<Value>::new());
    let status = use_status();
    let online = Memo::new(move |_| status.with(|s| s.online));
    let of = StoredValue::new(entity);
    let linked = move |parent: &str| {
        let code = of.with_value(|of| of.code.clone());
        catalogue().child_relation(parent, code.as_str()).is_some_and(|tie| tie.parent_column.is_none())
    };
    Effect::new(move || {
        if !online.get() {
            return;
        }
        let path = of.with_value(|of| format!("/{}/{}/parents", of.code, of.id));
        spawn_local(async move {
            if let Ok(answer) = http::request(http::Method::GET, &path, None, None).await {
                told.try_set(answer["data"].as_array().cloned().unwrap_or_default());
            }
        });
    });
    reactive_view(move || {
        let line = |parent: &Value| {
            let (code, id) = (parent["code"].as_str().filter(|code| linked(code))?.to_owned(), parent["id"].as_str()?);
            let kind = catalogue().get(&code).map(|k| (k.name.clone(), k.ui_icon.clone())).unwrap_or_default();
            let title = parent["title"].as_str().unwrap_or_default().to_owned();
            Some(view! { <li>{icon(&kind.1)}<A href=format!("/{code}/{id}")>{title}</A><small>{kind.0}</small></li> })
        };
        let lines: Vec<_> = told.get().iter().filter_map(line).collect();
        (!lines.is_empty()).then(|| view! { <h3>"Stands in"</h3><ul class="links">{lines}</ul> })
    })
}
