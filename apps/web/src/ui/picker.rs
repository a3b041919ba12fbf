//! Choosing from a list by typing, by arrows or by a digit: options, people, anything that a column refers to. Opens beside what it belongs to.

use super::popover::{close_when_outside, open_beside};
use super::reactive::{reactive_attr, reactive_view};
use super::value_view::{avatar, icon};
use leptos::prelude::*;
use pmo_domain::sort;

/// Most choices that are drawn at once; typing finds the others.
const MAX_RENDERED: usize = 60;
/// As many choices as there are digits can be made by one.
const MAX_DIGIT_SHORTCUTS: usize = 9;

/// What can be chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// What choosing it tells.
    pub value: String,
    /// What is read.
    pub label: String,
    /// Its mark.
    pub sign: ChoiceIcon,
}

/// The mark before a choice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChoiceIcon {
    /// None.
    Bare,
    /// An icon, by name.
    Icon(String),
    /// The round sign of a person.
    Person,
}

/// How a picker was left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PickerExit {
    /// Given up, or done.
    Done,
    /// By `Tab`, and whether backwards.
    Tab(bool),
}

/// Those of `choices` that `words` fit, best first: what begins with them, then words that do, then what contains them.
pub fn filter_choices(choices: Vec<Choice>, words: &str) -> Vec<Choice> {
    let words = words.trim().to_lowercase();
    if words.is_empty() {
        return choices;
    }
    let rank = |choice: &Choice| {
        let label = choice.label.to_lowercase();
        if label.starts_with(&words) {
            Some(0)
        } else if label.split_whitespace().any(|word| word.starts_with(&words)) {
            Some(1)
        } else {
            label.contains(&words).then_some(2)
        }
    };
    let ranked = choices.into_iter().filter_map(|choice| Some((rank(&choice)?, choice))).collect();
    sort::sorted_by_key(ranked, |(rank, _): &(i32, Choice)| *rank).into_iter().map(|(_, choice)| choice).collect()
}

/// A list to choose from.
#[component]
pub fn Picker(
    /// What is chosen, for the field's label.
    #[prop(into)]
    label: String,
    /// What can be chosen.
    #[prop(into)]
    choices: Signal<Vec<Choice>>,
    /// What is chosen now.
    #[prop(into)]
    chosen: Signal<Vec<String>>,
    /// The id of the element that it stands beside.
    #[prop(into)]
    beside: String,
    /// Stays open for more.
    #[prop(optional)]
    several: bool,
    /// Takes what was chosen.
    #[prop(into)]
    pick: Callback<String>,
    /// Hears that it is to go.
    #[prop(into)]
    close: Callback<PickerExit>,
) -> impl IntoView {
    let words = RwSignal::new(String::new());
    let at = RwSignal::new(0usize);
    let found = Memo::new(move |_| {
        let mut found = filter_choices(choices.get(), &words.get());
        found.truncate(MAX_RENDERED);
        found
    });
    // What is chosen is where one begins.
    let begin = Memo::new(move |_| {
        let now = chosen.get();
        found.with(|found| found.iter().position(|c| now.contains(&c.value)).unwrap_or(0))
    });
    if !several {
        Effect::new(move || at.set(begin.get()));
    }
    let digits = Memo::new(move |_| words.with(String::is_empty) && choices.with(Vec::len) <= MAX_DIGIT_SHORTCUTS);
    let list = format!("{beside}-list");
    let take = Callback::new(move |value: String| {
        pick.run(value);
        if !several {
            close.run(PickerExit::Done);
        }
    });
    let keys = move |event: leptos::ev::KeyboardEvent| {
        let last = found.with_untracked(Vec::len).saturating_sub(1);
        let at_now = at.get_untracked();
        event.stop_propagation();
        match event.key().as_str() {
            "ArrowDown" => at.set(if at_now >= last { 0 } else { at_now + 1 }),
            "ArrowUp" => at.set(if at_now == 0 { last } else { at_now - 1 }),
            "Enter" => {
                if let Some(choice) = found.with_untracked(|found| found.get(at_now).cloned()) {
                    take.run(choice.value);
                }
            }
            "Escape" => close.run(PickerExit::Done),
            "Tab" => close.run(PickerExit::Tab(event.shift_key())),
            key => {
                let digit = key.parse::<usize>().ok().filter(|_| digits.get_untracked());
                let Some(choice) = digit.and_then(|n| found.with_untracked(|f| f.get(n.wrapping_sub(1)).cloned()))
                else {
                    return;
                };
                take.run(choice.value);
            }
        }
        event.prevent_default();
    };
    let option_id = {
        let list = list.clone();
        move |n: usize| format!("{list}-{n}")
    };
    let active = {
        let option_id = option_id.clone();
        move || found.with(|f| !f.is_empty()).then(|| option_id(at.get()))
    };
    let items = reactive_view(move || {
        let now = chosen.get();
        let numbered = digits.get();
        let one = |(n, choice): (usize, Choice)| {
            let (here, value) = (now.contains(&choice.value), choice.value.clone());
            let sign = match &choice.sign {
                ChoiceIcon::Bare => ().into_any(),
                ChoiceIcon::Icon(name) => icon(name).into_any(),
                ChoiceIcon::Person => avatar(&choice.value, &choice.label).into_any(),
            };
            view! {
                <div role="option" id=option_id(n) class:is-active=reactive_attr(move || at.get() == n) aria-selected=here.to_string() on:mousedown=|e| e.prevent_default()
                    on:click=move |_| take.run(value.clone()) on:pointermove=move |_| at.set(n)>
                    {sign}<span class="grow">{choice.label}</span>{here.then(|| icon("check"))}{numbered.then(|| view! { <kbd class="desk">{n + 1}</kbd> })}</div>
            }
        };
        let items: Vec<_> = found.get().into_iter().enumerate().map(one).collect();
        if items.is_empty() { view! { <p class="none">"Nothing fits"</p> }.into_any() } else { items.into_any() }
    });
    let place = NodeRef::<leptos::html::Div>::new();
    let input = NodeRef::<leptos::html::Input>::new();
    Effect::new(move || {
        if let (Some(menu), Some(input)) = (place.get(), input.get()) {
            open_beside(&menu, &beside);
            let _ = input.focus();
        }
    });
    // What the arrows come to is brought into view.
    Effect::new(move || {
        let n = at.get();
        if let Some(item) =
            place.get().and_then(|menu| menu.query_selector_all("[role=option]").ok()?.get(u32::try_from(n).ok()?))
        {
            use wasm_bindgen::JsCast;
            item.unchecked_into::<web_sys::Element>()
                .scroll_into_view_with_scroll_into_view_options(&scroll_nearest_options());
        }
    });
    close_when_outside(place, move || close.run(PickerExit::Done));
    let placeholder = label.clone();
    view! {
        <div class="menu option-menu picker" popover="manual" node_ref=place on:click=|e| e.stop_propagation()>
            <label class="menu-search">{icon("search")}<input node_ref=input role="combobox" aria-expanded="true" aria-controls=list.clone() aria-label=label placeholder=placeholder autocomplete="off"
                aria-activedescendant=reactive_attr(active) on:keydown=keys on:input=move |e| { words.set(event_target_value(&e)); at.set(0); }/></label>
            <div role="listbox" id=list class="choices" aria-label="Choices">{items}</div>
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
    fn what_begins_with_the_words_comes_first() {
        let choice = |label: &str| Choice { value: label.into(), label: label.into(), sign: ChoiceIcon::Bare };
        let all: Vec<_> = ["Sedan review", "In Review", "Review", "Preview", "Done"].map(choice).into();
        let found: Vec<_> = filter_choices(all.clone(), " rev").into_iter().map(|c| c.label).collect();
        assert_eq!(found, ["Review", "Sedan review", "In Review", "Preview"]);
        assert_eq!(filter_choices(all, "").len(), 5);
    }
}
