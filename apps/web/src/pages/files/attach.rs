//! File picker and drop zone.

use crate::client::uploads;
use crate::ui::reactive::reactive_attr;
use crate::ui::value_view::icon;
use leptos::prelude::*;
use pmo_domain::EntityRef;
use wasm_bindgen::JsCast;

fn to_vec(list: Option<web_sys::FileList>) -> Vec<web_sys::File> {
    list.map(|list| (0..list.length()).filter_map(|n| list.get(n)).collect()).unwrap_or_default()
}

/// Button that opens the file picker and uploads the chosen files.
#[component]
pub(super) fn FilePickerButton(
    /// Entity to which the files are attached; for an artifact, the file becomes its content.
    entity: EntityRef,
    /// Label of the button.
    label: &'static str,
    /// Whether several files can be chosen at once.
    multiple: bool,
) -> impl IntoView {
    let input = NodeRef::<leptos::html::Input>::new();
    let on_change = move |event: leptos::ev::Event| {
        let input = event_target::<web_sys::HtmlInputElement>(&event);
        uploads::upload(&entity, to_vec(input.files()));
        // Reset the input so that the same file can be chosen again, which resumes its upload.
        input.set_value("");
    };
    view! {
        <button type="button" class="btn sm" on:click=move |_| { if let Some(input) = input.get_untracked() { input.click(); } }>{icon("paperclip")}{label}</button>
        <input type="file" class="vh" tabindex="-1" aria-hidden="true" multiple=multiple node_ref=input on:change=on_change/>
    }
}

/// Drop zone for files, above the list of artifacts of an entity.
#[component]
pub(crate) fn FileDropZone(
    /// Entity to which the files are attached.
    entity: EntityRef,
) -> impl IntoView {
    let dragging = RwSignal::new(false);
    let target = entity.clone();
    let on_drop = move |event: leptos::ev::DragEvent| {
        event.prevent_default();
        dragging.set(false);
        uploads::upload(&target, to_vec(event.data_transfer().and_then(|transfer| transfer.files())));
    };
    view! {
        <div class="drop-zone" class:over=reactive_attr(move || dragging.get()) on:dragover=move |event: leptos::ev::DragEvent| { event.prevent_default(); dragging.set(true); } on:dragleave=move |_| dragging.set(false) on:drop=on_drop>
            <span class="desk softer">"Drop files here, or"</span><FilePickerButton entity=entity label="Choose files" multiple=true/>
        </div>
    }
}

/// Prevents the browser from opening a file that is dropped outside of a drop zone.
pub(crate) fn prevent_window_drop() {
    for name in ["dragover", "drop"] {
        let listener = wasm_bindgen::prelude::Closure::<dyn Fn(web_sys::Event)>::new(|event: web_sys::Event| {
            let transfer = event.dyn_ref::<web_sys::DragEvent>().and_then(web_sys::DragEvent::data_transfer);
            if transfer.is_some_and(|transfer| transfer.types().includes(&"Files".into(), 0)) {
                event.prevent_default();
            }
        });
        let _ = window().add_event_listener_with_callback(name, listener.as_ref().unchecked_ref());
        listener.forget();
    }
}
