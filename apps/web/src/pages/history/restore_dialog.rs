//! Confirmation before an earlier version is restored.

use super::log::{HistoryPage, change_view, is_displayed};
use crate::client::{client, http, new_id};
use crate::hooks::invalidate_entity_queries;
use crate::ui::dialog::Dialog;
use crate::ui::error_message::error_message;
use crate::ui::reactive::reactive_attr;
use leptos::prelude::*;
use pmo_domain::{EntityRef, EntityType, Row};
use serde_json::{Value, json};
use wasm_bindgen_futures::spawn_local;

/// Confirmation before an earlier version is restored; lists the fields that will change.
#[component]
pub(super) fn RestoreDialog(
    entity: EntityRef,
    kind: EntityType,
    version: i64,
    pages: RwSignal<HistoryPage>,
    restoring: RwSignal<Option<i64>>,
) -> impl IntoView {
    let (busy, error) = (RwSignal::new(false), RwSignal::new(None::<String>));
    let close = Callback::new(move |()| restoring.set(None));
    // Entries are sorted newest first, so the last insert per field is the value before the
    // earliest of the later changes.
    let mut restored = Row::new();
    let references = pages.with_untracked(|pages| {
        for entry in pages.data.iter().filter(|entry| entry.version > version) {
            for (name, change) in &entry.changed {
                restored.insert(name.clone(), change.get("old").cloned().unwrap_or(Value::Null));
            }
        }
        pages.references.clone()
    });
    let current = client().read(|e| e.row(&entity)).map(|row| (*row.data).clone()).unwrap_or_default();
    let changes: Vec<AnyView> = restored
        .iter()
        .filter_map(|(name, old)| {
            let column = kind.column(name).filter(|c| is_displayed(c))?;
            let current_value = current.get(name).cloned().unwrap_or(Value::Null);
            (current_value != *old).then(|| change_view(column, &current_value, old, &references))
        })
        .collect();
    let no_changes = changes.is_empty();
    let confirm = move |_| {
        busy.set(true);
        let entity = entity.clone();
        spawn_local(async move {
            let path = format!("/{}/{}/history/{version}/restore", entity.code, entity.id);
            match http::request(http::Method::POST, &path, Some(&json!({})), Some(&new_id().to_string())).await {
                Ok(_) => {
                    invalidate_entity_queries(&entity.code, Some(entity.id));
                    restoring.set(None);
                }
                Err(failure) => error.set(Some(failure.to_string())),
            }
            busy.set(false);
        });
    };
    view! {
        <Dialog title=format!("Restore version {version}?") lead="The fields return to their values of that version, as a new change. The current values stay in the history." close=close>
            <div class="body history">
                {changes}
                {no_changes.then(|| view! { <p class="softer">"No displayed field differs from the current version."</p> })}
                {error_message(error)}
            </div>
            <footer class="buttons"><button class="btn quiet" on:click=move |_| close.run(())>"Cancel"</button>
                <button class="btn primary" disabled=reactive_attr(move || busy.get()) on:click=confirm>"Restore"</button></footer>
        </Dialog>
    }
}
