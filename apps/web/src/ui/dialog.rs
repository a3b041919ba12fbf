//! Modal dialogs: closed by Esc or a click outside; bottom sheets on small screens.

use super::value_view::icon;
use leptos::prelude::*;
use wasm_bindgen::JsCast;

/// A modal dialog with a title; the children are its body and its footer with the buttons.
#[component]
pub(crate) fn Dialog(
    /// Title of the dialog, also its accessible name.
    #[prop(into)]
    title: String,
    /// Subtitle below the title.
    #[prop(optional, into)]
    lead: Option<String>,
    /// Called when the user closes the dialog.
    #[prop(into)]
    close: Callback<()>,
    /// Whether the dialog holds unsaved input: neither Esc nor a click outside closes it then.
    #[prop(optional, into)]
    keep_open: Signal<bool>,
    /// Additional CSS classes.
    #[prop(optional, into)]
    class: String,
    /// Content of the dialog.
    children: Children,
) -> impl IntoView {
    let listener = window_event_listener(leptos::ev::keydown, move |event| {
        if event.key() == "Escape" && !keep_open.get_untracked() {
            close.run(());
        }
    });
    on_cleanup(move || listener.remove());
    let on_mousedown = move |event: leptos::ev::MouseEvent| {
        if event.target() == event.current_target() && !keep_open.get_untracked() {
            close.run(());
        }
    };
    // Focus moves into the dialog, unless an element of the dialog has the focus already.
    let node = NodeRef::<leptos::html::Div>::new();
    Effect::new(move || {
        if let Some(dialog) = node.get()
            && !document().active_element().is_some_and(|active| dialog.contains(Some(&active)))
        {
            let first = dialog.query_selector("[autofocus]").ok().flatten();
            let _ = first
                .map_or_else(|| dialog.clone().into(), |first| first.unchecked_into::<web_sys::HtmlElement>())
                .focus();
        }
    });
    view! {
        <div class="scrim" on:mousedown=on_mousedown>
            <div class=format!("dialog {class}") role="dialog" aria-modal="true" tabindex="-1" node_ref=node aria-label=title.clone()>
                <header>
                    <div><h2>{title.clone()}</h2>{lead.map(|lead| view! { <p>{lead}</p> })}</div>
                    <button class="btn quiet icon" aria-label="Close" on:click=move |_| close.run(())>{icon("x")}</button>
                </header>
                {children()}
            </div>
        </div>
    }
}
