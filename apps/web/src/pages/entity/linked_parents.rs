//! Parents by free links.

use crate::client::http;
use crate::hooks::{catalog, use_status};
use crate::ui::reactive::reactive_view;
use crate::ui::value_view::icon;
use leptos::prelude::*;
use leptos_router::components::A;
use pmo_domain::EntityRef;
use serde_json::Value;
use wasm_bindgen_futures::spawn_local;

/// Lists the parents that an entity has by free links, fetched from the server while online.
#[component]
pub(super) fn LinkedParents(
    /// Entity at the child end of the links.
    entity: EntityRef,
) -> impl IntoView {
    let parents = RwSignal::new(Vec::<Value>::new());
    let status = use_status();
    let online = Memo::new(move |_| status.with(|s| s.online));
    let entity = StoredValue::new(entity);
    let is_free_link = move |parent: &str| {
        let code = entity.with_value(|entity| entity.code.clone());
        catalog().child_relation(parent, code.as_str()).is_some_and(|relation| relation.parent_column.is_none())
    };
    Effect::new(move || {
        if !online.get() {
            return;
        }
        let path = entity.with_value(|entity| format!("/{}/{}/parents", entity.code, entity.id));
        spawn_local(async move {
            if let Ok(response) = http::request(http::Method::GET, &path, None, None).await {
                parents.try_set(response["data"].as_array().cloned().unwrap_or_default());
            }
        });
    });
    reactive_view(move || {
        let parent_item = |parent: &Value| {
            let (code, id) =
                (parent["code"].as_str().filter(|code| is_free_link(code))?.to_owned(), parent["id"].as_str()?);
            let kind = catalog().get(&code).map(|k| (k.name.clone(), k.ui_icon.clone())).unwrap_or_default();
            let title = parent["title"].as_str().unwrap_or_default().to_owned();
            Some(view! { <li>{icon(&kind.1)}<A href=format!("/{code}/{id}")>{title}</A><small>{kind.0}</small></li> })
        };
        let items: Vec<_> = parents.get().iter().filter_map(parent_item).collect();
        (!items.is_empty()).then(|| view! { <h3>"Linked from"</h3><ul class="links">{items}</ul> })
    })
}
