//! Button that copies a text to the clipboard, for secrets that are shown once.

use super::reactive::{reactive_attr, reactive_view};
use super::value_view::icon;
use leptos::prelude::*;
use wasm_bindgen::JsValue;
use wasm_bindgen_futures::{JsFuture, spawn_local};

/// Copies a text; renders nothing if the clipboard is not available, as on insecure pages.
#[component]
pub(crate) fn CopyButton(
    /// The text to copy.
    #[prop(into)]
    text: String,
) -> impl IntoView {
    let copied = RwSignal::new(None::<bool>);
    let navigator = window().navigator();
    let clipboard = js_sys::Reflect::get(&navigator, &JsValue::from_str("clipboard")).unwrap_or_default();
    (!clipboard.is_undefined()).then(|| {
        let copy = move |_| {
            let promise = window().navigator().clipboard().write_text(&text);
            spawn_local(async move {
                copied.try_set(Some(JsFuture::from(promise).await.is_ok()));
            });
        };
        let label = move || match copied.get() {
            None => "Copy",
            Some(true) => "Copied",
            Some(false) => "Copy failed: select the text",
        };
        view! { <button type="button" class="btn sm" on:click=copy aria-live="polite">{reactive_view(move || icon(if copied.get() == Some(true) { "check" } else { "copy" }))}{reactive_attr(label)}</button> }
    })
}
