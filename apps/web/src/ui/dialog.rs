//! Dialogs: over everything, closed by Esc or a click beside them, a sheet from the bottom edge on a phone.

use super::value_view::icon;
use leptos::prelude::*;
use wasm_bindgen::JsCast;

/// A dialog with a title, a body and a row of buttons at its foot.
#[component]
pub fn Dialog(
    /// What it is about.
    #[prop(into)]
    title: String,
    /// A sentence below the title.
    #[prop(optional, into)]
    lead: Option<String>,
    /// Runs when it is to go.
    #[prop(into)]
    close: Callback<()>,
    /// What is typed or chosen in it would be lost: neither Esc nor a click beside it closes it then.
    #[prop(optional, into)]
    firm: Signal<bool>,
    /// More of its look.
    #[prop(optional, into)]
    class: String,
    /// The body.
    children: Children,
) -> impl IntoView {
    let key = window_event_listener(leptos::ev::keydown, move |event| {
        if event.key() == "Escape" && !firm.get_untracked() {
            close.run(());
        }
    });
    on_cleanup(move || key.remove());
    let beside = move |event: leptos::ev::MouseEvent| {
        if event.target() == event.current_target() && !firm.get_untracked() {
            close.run(());
        }
    };
    // The keyboard goes on inside, unless something in it has asked for it.
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
        <div class="scrim" on:mousedown=beside>
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
