//! Searchable choice list for options, people and other referenced entities.
//!
//! The list is operated by typing, arrow keys or digits, and opens next to its anchor element.

use super::popover::{close_when_outside, open_at_anchor};
use super::reactive::{reactive_attr, reactive_view};
use super::value_view::{avatar, icon};
use leptos::prelude::*;
use pmo_domain::sort;

/// Maximum number of choices that are rendered; the search covers all of them.
const MAX_RENDERED: usize = 60;
/// Maximum number of choices for which the digit keys are shortcuts.
const MAX_DIGIT_SHORTCUTS: usize = 9;

/// One entry of a choice list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Choice {
    /// Value that is passed to the callback.
    pub value: String,
    /// Displayed text.
    pub label: String,
    /// Icon before the label.
    pub icon: ChoiceIcon,
}

/// Icon before a choice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ChoiceIcon {
    /// No icon.
    Bare,
    /// Icon with this name.
    Icon(String),
    /// Avatar of the person whose id is the value.
    Person,
}

/// Reason why a picker was closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PickerExit {
    /// A choice was made, or the picker was dismissed.
    Done,
    /// The Tab key was pressed; `true` with Shift (backwards).
    Tab(bool),
}

/// Returns the choices that contain `query`, ignoring case, best match first.
///
/// Labels that begin with the query come first, then labels with a word that does, then the rest.
pub(crate) fn filter_choices(choices: Vec<Choice>, query: &str) -> Vec<Choice> {
    let query = query.trim().to_lowercase();
    if query.is_empty() {
        return choices;
    }
    let rank = |choice: &Choice| {
        let label = choice.label.to_lowercase();
        if label.starts_with(&query) {
            Some(0)
        } else if label.split_whitespace().any(|word| word.starts_with(&query)) {
            Some(1)
        } else {
            label.contains(&query).then_some(2)
        }
    };
    let ranked = choices.into_iter().filter_map(|choice| Some((rank(&choice)?, choice))).collect();
    sort::sorted_by_key(ranked, |(rank, _): &(i32, Choice)| *rank).into_iter().map(|(_, choice)| choice).collect()
}

/// Searchable list of choices in a popover.
#[component]
pub(crate) fn Picker(
    /// Accessible name and placeholder of the search field.
    #[prop(into)]
    label: String,
    /// Available choices.
    #[prop(into)]
    choices: Signal<Vec<Choice>>,
    /// Values that are selected.
    #[prop(into)]
    chosen: Signal<Vec<String>>,
    /// Id of the anchor element.
    #[prop(into)]
    anchor: String,
    /// Whether the picker stays open after a choice.
    #[prop(optional)]
    multiple: bool,
    /// Called with the value of a choice.
    #[prop(into)]
    pick: Callback<String>,
    /// Called when the picker must be closed.
    #[prop(into)]
    close: Callback<PickerExit>,
) -> impl IntoView {
    let query = RwSignal::new(String::new());
    let active = RwSignal::new(0usize);
    let matches = Memo::new(move |_| {
        let mut matches = filter_choices(choices.get(), &query.get());
        matches.truncate(MAX_RENDERED);
        matches
    });
    // The selected choice is active first.
    let initial = Memo::new(move |_| {
        let selected = chosen.get();
        matches.with(|matches| matches.iter().position(|c| selected.contains(&c.value)).unwrap_or(0))
    });
    if !multiple {
        Effect::new(move || active.set(initial.get()));
    }
    let digits = Memo::new(move |_| query.with(String::is_empty) && choices.with(Vec::len) <= MAX_DIGIT_SHORTCUTS);
    let list_id = format!("{anchor}-list");
    let select = Callback::new(move |value: String| {
        pick.run(value);
        if !multiple {
            close.run(PickerExit::Done);
        }
    });
    let on_keydown = move |event: leptos::ev::KeyboardEvent| {
        let last = matches.with_untracked(Vec::len).saturating_sub(1);
        let current = active.get_untracked();
        event.stop_propagation();
        match event.key().as_str() {
            "ArrowDown" => active.set(if current >= last { 0 } else { current + 1 }),
            "ArrowUp" => active.set(if current == 0 { last } else { current - 1 }),
            "Enter" => {
                if let Some(choice) = matches.with_untracked(|matches| matches.get(current).cloned()) {
                    select.run(choice.value);
                }
            }
            "Escape" => close.run(PickerExit::Done),
            "Tab" => close.run(PickerExit::Tab(event.shift_key())),
            key => {
                let digit = key.parse::<usize>().ok().filter(|_| digits.get_untracked());
                let Some(choice) = digit.and_then(|n| matches.with_untracked(|m| m.get(n.wrapping_sub(1)).cloned()))
                else {
                    return;
                };
                select.run(choice.value);
            }
        }
        event.prevent_default();
    };
    let option_id = {
        let list_id = list_id.clone();
        move |n: usize| format!("{list_id}-{n}")
    };
    let active_id = {
        let option_id = option_id.clone();
        move || matches.with(|m| !m.is_empty()).then(|| option_id(active.get()))
    };
    let items = reactive_view(move || {
        let selected = chosen.get();
        let numbered = digits.get();
        let option = |(n, choice): (usize, Choice)| {
            let (is_selected, value) = (selected.contains(&choice.value), choice.value.clone());
            let icon_view = match &choice.icon {
                ChoiceIcon::Bare => ().into_any(),
                ChoiceIcon::Icon(name) => icon(name).into_any(),
                ChoiceIcon::Person => avatar(&choice.value, &choice.label).into_any(),
            };
            view! {
                <div role="option" id=option_id(n) class:is-active=reactive_attr(move || active.get() == n) aria-selected=is_selected.to_string() on:mousedown=|e| e.prevent_default()
                    on:click=move |_| select.run(value.clone()) on:pointermove=move |_| active.set(n)>
                    {icon_view}<span class="grow">{choice.label}</span>{is_selected.then(|| icon("check"))}{numbered.then(|| view! { <kbd class="desk">{n + 1}</kbd> })}</div>
            }
        };
        let items: Vec<_> = matches.get().into_iter().enumerate().map(option).collect();
        if items.is_empty() { view! { <p class="none">"No matches"</p> }.into_any() } else { items.into_any() }
    });
    let node = NodeRef::<leptos::html::Div>::new();
    let input = NodeRef::<leptos::html::Input>::new();
    Effect::new(move || {
        if let (Some(menu), Some(input)) = (node.get(), input.get()) {
            open_at_anchor(&menu, &anchor);
            let _ = input.focus();
        }
    });
    // Scrolls the active choice into view.
    Effect::new(move || {
        let n = active.get();
        if let Some(item) =
            node.get().and_then(|menu| menu.query_selector_all("[role=option]").ok()?.get(u32::try_from(n).ok()?))
        {
            use wasm_bindgen::JsCast;
            item.unchecked_into::<web_sys::Element>()
                .scroll_into_view_with_scroll_into_view_options(&scroll_nearest_options());
        }
    });
    close_when_outside(node, move || close.run(PickerExit::Done));
    let placeholder = label.clone();
    view! {
        <div class="menu option-menu picker" popover="manual" node_ref=node on:click=|e| e.stop_propagation()>
            <label class="menu-search">{icon("search")}<input node_ref=input role="combobox" aria-expanded="true" aria-controls=list_id.clone() aria-label=label placeholder=placeholder autocomplete="off"
                aria-activedescendant=reactive_attr(active_id) on:keydown=on_keydown on:input=move |e| { query.set(event_target_value(&e)); active.set(0); }/></label>
            <div role="listbox" id=list_id class="choices" aria-label="Choices">{items}</div>
        </div>
    }
}

fn scroll_nearest_options() -> web_sys::ScrollIntoViewOptions {
    let options = web_sys::ScrollIntoViewOptions::new();
    options.set_block(web_sys::ScrollLogicalPosition::Nearest);
    options
}

#[cfg(test)]
mod tests {
    use super::*;
    use wasm_bindgen_test::wasm_bindgen_test;

    #[wasm_bindgen_test]
    fn choices_that_begin_with_the_query_come_first() {
        let choice = |label: &str| Choice { value: label.into(), label: label.into(), icon: ChoiceIcon::Bare };
        let all: Vec<_> = ["Sedan review", "In Review", "Review", "Preview", "Done"].map(choice).into();
        let matches: Vec<_> = filter_choices(all.clone(), " rev").into_iter().map(|c| c.label).collect();
        assert_eq!(matches, ["Review", "Sedan review", "In Review", "Preview"]);
        assert_eq!(filter_choices(all, "").len(), 5);
    }
}
