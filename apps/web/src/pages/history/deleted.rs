//! Notice about a deleted entity.

use crate::client::{client, http};
use crate::ui::error_message::error_message;
use crate::ui::format;
use crate::ui::reactive::reactive_view;
use crate::ui::toast::restore_entity;
use crate::ui::value_view::icon;
use leptos::prelude::*;
use pmo_domain::EntityRef;
use pmo_sync::{Event, Query};
use serde_json::Value;
use wasm_bindgen_futures::spawn_local;

/// Notice about a deleted entity with a button that restores it.
///
/// Shown on the page of the entity to users who may restore it.
#[component]
pub(crate) fn DeletedEntityPage(
    /// Entity that was requested and may be deleted.
    entity: EntityRef,
) -> impl IntoView {
    let (name, error) = (RwSignal::new(None::<String>), RwSignal::new(None::<String>));
    let requested = entity.clone();
    spawn_local(async move {
        let path = format!("/{}?ids={}&include_deleted=true", requested.code, requested.id);
        if let Ok(response) = http::request(http::Method::GET, &path, None, None).await
            && let Some(row) = response["data"][0].as_object()
            && row.get("active_flag") == Some(&Value::Bool(false))
        {
            name.set(Some(format::text(row, "name")));
        }
    });
    let restore = move |_| {
        let entity = entity.clone();
        spawn_local(async move {
            match restore_entity(entity.clone()).await {
                // No row is cached that could be marked stale, so request a fetch explicitly.
                Ok(()) => client().dispatch(Event::Refetch(Query::Row(entity))),
                Err(failure) => drop(error.try_set(Some(failure.to_string()))),
            }
        });
    };
    let restore = StoredValue::new(restore);
    reactive_view(move || {
        name.get().map(|name| view! {
        <div class="notice-box" role="status"><h3>{format!("“{name}” was deleted")}</h3><p>"Restoring it also restores its children."</p>
            <button class="btn" on:click=move |e| restore.with_value(|restore| restore(e))>{icon("undo-2")}"Restore"</button>
            {error_message(error)}</div>
    })
    })
}
