//! Keeping a thing offline, with all that hangs below it: a button that says how it stands.

use super::reactive::{reactive_attr, reactive_view};
use super::value_view::icon;
use crate::client::client;
use crate::hooks::{set_pinned, use_pinned};
use leptos::prelude::*;
use pmo_domain::EntityRef;

/// The button.
#[component]
pub fn OfflineButton(
    /// The thing.
    entity: EntityRef,
) -> impl IntoView {
    // Where the device keeps nothing there is nothing to offer.
    let trouble = client().device_trouble.clone();
    let kept = use_pinned(entity.clone());
    let words = Memo::new(move |_| match kept.get() {
        None => "Keep offline: everything of it, on this device".to_owned(),
        Some(tree) if !tree.complete && tree.failed => {
            "Could not be brought to this device yet; it is tried again".to_owned()
        }
        Some(tree) if !tree.complete => "Being brought to this device".to_owned(),
        Some(tree) if tree.failed => {
            format!("Kept on this device with {} things; it could not be brought up to date", tree.rows)
        }
        Some(tree) => format!("Kept on this device with {} things", tree.rows),
    });
    let sign = reactive_view(move || match kept.get() {
        None => icon("download"),
        Some(tree) if !tree.complete => icon("refresh-cw"),
        Some(_) => icon("hard-drive"),
    });
    let turn = move |()| set_pinned(entity.clone(), kept.get_untracked().is_none());
    let turn = Callback::new(turn);
    view! {
        <button class="btn quiet icon" class:hidden=reactive_attr(move || trouble.get().is_some()) data-testid="keep" aria-pressed=reactive_attr(move || kept.get().is_some().to_string()) aria-label=reactive_attr(move || words.get())
            title=reactive_attr(move || words.get()) on:click=move |_| turn.run(())>{sign}</button>
    }
}
