//! A menu of what can be done with what a page is about.

use super::popover::{close_when_outside, open_beside};
use super::reactive::reactive_view;
use super::value_view::icon;
use leptos::prelude::*;

/// Something that can be done: its icon, its words, what does it.
#[derive(Clone)]
pub struct Action {
    /// An icon, by name.
    pub sign: &'static str,
    /// What it does, in words.
    pub words: String,
    /// Does it.
    pub run: Callback<()>,
}

/// The button with the dots, and its menu.
#[component]
pub fn Actions(
    /// What can be done, asked for when it is opened.
    actions: Callback<(), Vec<Action>>,
) -> impl IntoView {
    let open = RwSignal::new(false);
    view! {
        <button class="btn quiet icon" id="more-actions" aria-label="More actions" title="More actions" aria-haspopup="menu" on:click=move |_| open.update(|o| *o = !*o)>{icon("ellipsis")}</button>
        {reactive_view(move || open.get().then(|| view! { <Menu actions=actions.run(()) open=open/> }))}
    }
}

#[component]
fn Menu(actions: Vec<Action>, open: RwSignal<bool>) -> impl IntoView {
    let place = NodeRef::<leptos::html::Div>::new();
    Effect::new(move || {
        if let Some(menu) = place.get() {
            open_beside(&menu, "more-actions");
            focus(&menu, 0);
        }
    });
    close_when_outside(place, move || open.set(false));
    let keys = move |event: leptos::ev::KeyboardEvent| {
        let Some(menu) = place.get_untracked() else { return };
        match event.key().as_str() {
            "ArrowDown" => focus(&menu, 1),
            "ArrowUp" => focus(&menu, -1),
            "Escape" | "Tab" => open.set(false),
            _ => return,
        }
        event.prevent_default();
        event.stop_propagation();
    };
    let items: Vec<_> = actions
        .into_iter()
        .map(|Action { sign, words, run }| {
            let act = move |_| {
                open.set(false);
                run.run(());
            };
            view! { <button role="menuitem" tabindex="-1" on:click=act>{icon(sign)}<span class="grow">{words}</span></button> }
        })
        .collect();
    view! { <div class="menu option-menu" role="menu" aria-label="More actions" popover="manual" node_ref=place on:keydown=keys>{items}</div> }
}

/// Brings the keyboard to an item, so many after the present one.
fn focus(menu: &web_sys::HtmlElement, by: i32) {
    use wasm_bindgen::JsCast;
    let Ok(items) = menu.query_selector_all("[role=menuitem]") else { return };
    let count = items.length().cast_signed();
    let active = document().active_element();
    let now = (0..count).find(|n| {
        items.get(n.cast_unsigned()).is_some_and(|item| active.as_ref().is_some_and(|a| item.is_same_node(Some(a))))
    });
    let to = now.map_or(0, |now| (now + by).rem_euclid(count.max(1)));
    if let Some(item) = items.get(to.cast_unsigned()) {
        let _ = item.unchecked_into::<web_sys::HtmlElement>().focus();
    }
}
