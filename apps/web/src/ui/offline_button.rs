//! Button that makes an entity and all its descendants available offline, and shows the progress.

use super::reactive::{reactive_attr, reactive_view};
use super::value_view::icon;
use crate::client::client;
use crate::hooks::{set_pinned, use_pinned};
use leptos::prelude::*;
use pmo_domain::EntityRef;

/// Toggles whether the tree of an entity is pinned; hidden if the device store is not persistent.
#[component]
pub(crate) fn OfflineButton(
    /// Root of the tree.
    entity: EntityRef,
) -> impl IntoView {
    let storage_error = client().storage_error.clone();
    let pinned = use_pinned(entity.clone());
    let label = Memo::new(move |_| match pinned.get() {
        None => "Make available offline".to_owned(),
        Some(tree) if !tree.complete && tree.failed => "Download failed; retrying".to_owned(),
        Some(tree) if !tree.complete => "Downloading for offline use".to_owned(),
        Some(tree) if tree.failed => format!("Available offline ({} items); update failed", tree.rows),
        Some(tree) => format!("Available offline ({} items)", tree.rows),
    });
    let status_icon = reactive_view(move || match pinned.get() {
        None => icon("download"),
        Some(tree) if !tree.complete => icon("refresh-cw"),
        Some(_) => icon("hard-drive"),
    });
    let toggle = move |()| set_pinned(entity.clone(), pinned.get_untracked().is_none());
    let toggle = Callback::new(toggle);
    view! {
        <button class="btn quiet icon" class:hidden=reactive_attr(move || storage_error.get().is_some()) data-testid="offline-button" aria-pressed=reactive_attr(move || pinned.get().is_some().to_string()) aria-label=reactive_attr(move || label.get())
            title=reactive_attr(move || label.get()) on:click=move |_| toggle.run(())>{status_icon}</button>
    }
}
