//! Keeping a thing offline, with all that hangs below it: a button that says how it stands.

use super::cell::icon;
use super::live::{follow, live};
use crate::client::client;
use crate::hooks::{keep_offline, use_kept};
use leptos::prelude::*;
use pmo_domain::EntityRef;

/// The button.
#[component]
pub fn KeepButton(
    /// The thing.
    entity: EntityRef,
) -> impl IntoView {
    // Where the device keeps nothing there is nothing to offer.
    let trouble = client().device_trouble.clone();
    let kept = use_kept(entity.clone());
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
    let sign = live(move || match kept.get() {
        None => icon("download"),
        Some(tree) if !tree.complete => icon("refresh-cw"),
        Some(_) => icon("hard-drive"),
    });
    let turn = move |()| keep_offline(entity.clone(), kept.get_untracked().is_none());
    let turn = Callback::new(turn);
    view! {
        <button class="btn quiet icon" class:hidden=follow(move || trouble.get().is_some()) data-testid="keep" aria-pressed=follow(move || kept.get().is_some().to_string()) aria-label=follow(move || words.get())
            title=follow(move || words.get()) on:click=move |_| turn.run(())>{sign}</button>
    }
}
