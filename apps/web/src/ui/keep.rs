//! Keeping a thing offline, with all that hangs below it: a button that says how it stands, and asks before it lets go.

use super::cell::icon;
use super::live::{follow, live};
use crate::hooks::{keep_offline, use_kept};
use leptos::prelude::*;
use pmo_domain::EntityRef;

/// The button.
#[component]
pub fn KeepButton(
    /// The thing.
    entity: EntityRef,
) -> impl IntoView {
    let kept = use_kept(entity.clone());
    let words = Memo::new(move |_| match kept.get() {
        None => "Keep offline: everything of it, on this device".to_owned(),
        Some(tree) if tree.fetching && !tree.whole => "Being brought to this device".to_owned(),
        Some(tree) if tree.failed && !tree.whole => "Waits for the network to be brought to this device".to_owned(),
        Some(tree) if tree.rows > 0 => format!("Kept on this device with {} things, and kept current", tree.rows),
        Some(_) => "Kept on this device, and kept current".to_owned(),
    });
    let sign = live(move || match kept.get() {
        None => icon("download"),
        Some(tree) if !tree.whole => icon("refresh-cw"),
        Some(_) => icon("hard-drive"),
    });
    let turn = move |_| keep_offline(entity.clone(), kept.get_untracked().is_none());
    view! {
        <button class="btn quiet icon" data-testid="keep" aria-pressed=follow(move || kept.get().is_some().to_string()) aria-label=follow(move || words.get())
            title=follow(move || words.get()) on:click=turn>{sign}</button>
    }
}
