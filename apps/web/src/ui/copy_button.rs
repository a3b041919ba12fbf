//! A button that copies a text which is told once.

use super::reactive::{reactive_attr, reactive_view};
use super::value_view::icon;
use leptos::prelude::*;
use wasm_bindgen::JsValue;
use wasm_bindgen_futures::{JsFuture, spawn_local};

/// Copies a text. Not there where the browser lets no page write to its clipboard, as over plain HTTP.
#[component]
pub fn CopyButton(
    /// What is copied.
    #[prop(into)]
    text: String,
) -> impl IntoView {
    let copied = RwSignal::new(None::<bool>);
    let navigator = window().navigator();
    let clipboard = js_sys::Reflect::get(&navigator, &JsValue::from_str("clipboard")).unwrap_or_default();
    (!clipboard.is_undefined()).then(|| {
        let copy = move |_| {
            let done = window().navigator().clipboard().write_text(&text);
            spawn_local(async move {
                copied.try_set(Some(JsFuture::from(done).await.is_ok()));
            });
        };
        let words = move || match copied.get() {
            None => "Copy",
            Some(true) => "Copied",
            Some(false) => "Not copied: select it",
        };
        view! { <button type="button" class="btn sm" on:click=copy aria-live="polite">{reactive_view(move || icon(if copied.get() == Some(true) { "check" } else { "copy" }))}{reactive_attr(words)}</button> }
    })
}
