//! Toasts: messages about completed actions, with undo where that is possible.

use super::overlay_state::{OverlayState, UndoableAction};
use super::value_view::icon;
use crate::client::{client, http, new_id};
use crate::hooks::{invalidate_entity_queries, use_entity_mutation};
use leptos::prelude::*;
use pmo_domain::EntityRef;
use pmo_sync::{Event, Operation, OutboxEntry};
use serde_json::json;
use std::sync::Arc;
use wasm_bindgen_futures::spawn_local;

/// Time for which a toast is shown.
const TOAST_DURATION: std::time::Duration = std::time::Duration::from_secs(8);

/// Interval between two checks of whether a deletion has been sent.
const STATUS_POLL_INTERVAL: std::time::Duration = std::time::Duration::from_millis(100);

/// Reports a completed action, with an undo button if it can be undone; closes after a timeout.
#[component]
pub(crate) fn Toast(action: UndoableAction) -> impl IntoView {
    let overlays = expect_context::<OverlayState>();
    let UndoableAction { message, undo } = action;
    let timeout = set_timeout_with_handle(move || overlays.toast.set(None), TOAST_DURATION);
    on_cleanup(move || {
        if let Ok(timeout) = timeout {
            timeout.clear();
        }
    });
    let icon_name = if undo.is_some() { "check" } else { "circle-alert" };
    let undo = undo.map(|undo| {
        let on_click = move |_| {
            overlays.toast.set(None);
            undo();
        };
        view! { <button class="btn quiet sm" on:click=on_click>"Undo"</button> }
    });
    view! { <div class="toast" role="status">{icon(icon_name)}<span class="grow">{message}</span>{undo}</div> }
}

/// Deletes entities and shows a toast with `message` and an undo button.
///
/// Undo discards a deletion that has not been sent, and asks the server to restore the entity
/// otherwise.
pub(crate) fn delete_with_undo(overlays: OverlayState, entities: Vec<EntityRef>, message: String) {
    for entity in &entities {
        use_entity_mutation(entity.code.clone()).delete(entity.id);
    }
    let undo = Arc::new(move || {
        for entity in entities.clone() {
            let is_unsent = |e: &&OutboxEntry| {
                e.entity == entity && matches!(e.operation, Operation::Delete { .. }) && !e.in_flight
            };
            match client().read(|e| e.outbox().iter().find(is_unsent).map(|e| e.id)) {
                Some(entry) => client().dispatch(Event::Discard(entry)),
                None => spawn_local(async move {
                    if let Err(failure) = restore_entity(entity).await {
                        overlays.toast.set(Some(UndoableAction { message: failure.to_string(), undo: None }));
                    }
                }),
            }
        }
    });
    overlays.toast.set(Some(UndoableAction { message, undo: Some(undo) }));
}

/// Restores a deleted entity on the server.
///
/// Waits up to 30 s until the deletion has left the outbox.
pub(crate) async fn restore_entity(entity: EntityRef) -> Result<(), http::HttpError> {
    let is_deletion = |e: &OutboxEntry| e.entity == entity && matches!(e.operation, Operation::Delete { .. });
    let max_polls = 30_000 / STATUS_POLL_INTERVAL.as_millis();
    for _ in 0..max_polls {
        if !client().read(|e| e.outbox().iter().any(is_deletion)) {
            break;
        }
        gloo_timers::future::sleep(STATUS_POLL_INTERVAL).await;
    }
    let path = format!("/{}/{}/restore", entity.code, entity.id);
    http::request(http::Method::POST, &path, Some(&json!({})), Some(&new_id().to_string())).await?;
    invalidate_entity_queries(&entity.code, None);
    Ok(())
}
