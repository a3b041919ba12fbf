//! Menu of the actions that a page offers.

use super::popover::{close_when_outside, open_at_anchor};
use super::reactive::reactive_view;
use super::value_view::icon;
use leptos::prelude::*;

/// An item of the menu.
#[derive(Clone)]
pub(crate) struct Action {
    /// Name of the icon.
    pub icon: &'static str,
    /// Label of the item.
    pub label: String,
    /// Performs the action.
    pub run: Callback<()>,
}

/// The “More actions” button and its menu.
#[component]
pub(crate) fn Actions(
    /// Returns the actions; called when the menu is opened.
    actions: Callback<(), Vec<Action>>,
    /// Id of the button; pages with several menus give each its own.
    #[prop(default = "more-actions")]
    id: &'static str,
    /// Label of the button.
    #[prop(default = "More actions")]
    label: &'static str,
) -> impl IntoView {
    let open = RwSignal::new(false);
    view! {
        <button class="btn quiet icon" id=id aria-label=label title=label aria-haspopup="menu" on:click=move |_| open.update(|o| *o = !*o)>{icon("ellipsis")}</button>
        {reactive_view(move || open.get().then(|| view! { <Menu actions=actions.run(()) anchor=id open=open/> }))}
    }
}

#[component]
fn Menu(actions: Vec<Action>, anchor: &'static str, open: RwSignal<bool>) -> impl IntoView {
    let node = NodeRef::<leptos::html::Div>::new();
    Effect::new(move || {
        if let Some(menu) = node.get() {
            open_at_anchor(&menu, anchor);
            focus(&menu, 0);
        }
    });
    close_when_outside(node, move || open.set(false));
    let on_keydown = move |event: leptos::ev::KeyboardEvent| {
        let Some(menu) = node.get_untracked() else { return };
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
        .map(|Action { icon: name, label, run }| {
            let on_click = move |_| {
                open.set(false);
                run.run(());
            };
            view! { <button role="menuitem" tabindex="-1" on:click=on_click>{icon(name)}<span class="grow">{label}</span></button> }
        })
        .collect();
    view! { <div class="menu option-menu" role="menu" aria-label="More actions" popover="manual" node_ref=node on:keydown=on_keydown>{items}</div> }
}

/// Moves the focus by `offset` items, wrapping around; the first item if none has the focus.
fn focus(menu: &web_sys::HtmlElement, offset: i32) {
    use wasm_bindgen::JsCast;
    let Ok(items) = menu.query_selector_all("[role=menuitem]") else { return };
    let count = items.length().cast_signed();
    let active = document().active_element();
    let current = (0..count).find(|n| {
        items.get(n.cast_unsigned()).is_some_and(|item| active.as_ref().is_some_and(|a| item.is_same_node(Some(a))))
    });
    let target = current.map_or(0, |current| (current + offset).rem_euclid(count.max(1)));
    if let Some(item) = items.get(target.cast_unsigned()) {
        let _ = item.unchecked_into::<web_sys::HtmlElement>().focus();
    }
}
