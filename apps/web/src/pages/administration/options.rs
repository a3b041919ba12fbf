//! Option sets: what may be chosen, in which order and colour, and what may follow what.

use super::{error_banner, humanize, refresh_reference_data, send};
use crate::client::http::Method;
use crate::hooks::{catalogue, datalabels};
use crate::ui::reactive::{reactive_attr, reactive_view};
use crate::ui::value_view::icon;
use leptos::prelude::*;
use pmo_domain::ColumnKind;
use pmo_domain::catalog::Datalabel;
use serde_json::{Value, json};

const COLORS: [&str; 6] = ["grey", "blue", "green", "amber", "red", "purple"];

/// Keys of one reading of a set; a set has at most 200 options, whose ids are never given again.
const KEYS_PER_REVISION: u32 = 1_000_000;

/// An option that is being changed; others name it by `key`, whatever it is called.
#[derive(Clone, Copy)]
struct OptionDraft {
    key: u32,
    id: Option<i32>,
    name: RwSignal<String>,
    descr: RwSignal<String>,
    colour: RwSignal<String>,
    ends: RwSignal<bool>,
    offered: RwSignal<bool>,
    after: RwSignal<Vec<u32>>,
}

impl OptionDraft {
    fn new(key: u32, id: Option<i32>, name: &str) -> Self {
        Self {
            key,
            id,
            name: RwSignal::new(name.to_owned()),
            descr: RwSignal::new(String::new()),
            colour: RwSignal::new("grey".to_owned()),
            ends: RwSignal::new(false),
            offered: RwSignal::new(true),
            after: RwSignal::new(Vec::new()),
        }
    }
}

/// Drafts of a set as it is; each reading of it has keys of its own, so that what is drawn follows the new ones.
fn drafts(set: &Datalabel, reading: u32) -> Vec<OptionDraft> {
    let key = |id: i32| reading * KEYS_PER_REVISION + u32::try_from(id).unwrap_or_default();
    let one = |option: &pmo_domain::catalog::LabelOption| {
        let draft = OptionDraft::new(key(option.id), Some(option.id), &option.name);
        draft.descr.set(option.descr.clone().unwrap_or_default());
        draft.colour.set(option.color_code.clone().unwrap_or_else(|| "grey".to_owned()));
        draft.ends.set(option.terminal_flag);
        draft.offered.set(option.active_flag);
        draft.after.set(option.parent_ids.iter().map(|id| key(*id)).collect());
        draft
    };
    set.options.iter().map(one).collect()
}

/// Types whose things hold options of a set.
fn types_using_set(set: &str) -> String {
    let catalogue = catalogue();
    let holds = |t: &&pmo_domain::EntityType| {
        t.columns.iter().any(|c| matches!(&c.kind, ColumnKind::Datalabel { set: of } if of == set))
    };
    catalogue.types.values().filter(holds).map(|t| t.ui_label.clone()).collect::<Vec<_>>().join(", ")
}

#[component]
pub fn OptionSets() -> impl IntoView {
    let chosen = RwSignal::new(String::new());
    let codes = crate::hooks::use_datalabel("task_stage");
    let names = reactive_view(move || {
        codes.track();
        let all = datalabels();
        let now = chosen.get();
        let line = |set: &Datalabel| {
            let (name, here) = (set.name.clone(), set.name == now);
            view! { <li><button type="button" aria-current=here.then_some("true") on:click=move |_| chosen.set(name.clone())><span class="grow">{humanize(&set.name)}</span><span class="softer num">{set.options.len()}</span></button></li> }
        };
        all.iter().map(line).collect::<Vec<_>>()
    });
    view! {
        <div class="admin two">
            <nav class="admin-list" aria-label="Option sets"><ul>{names}</ul></nav>
            {reactive_view(move || match chosen.get() {
                name if name.is_empty() => view! { <div class="blank"><h2>"Choose an option set"</h2><p>"Its options, their order and colours, and which may follow which."</p></div> }.into_any(),
                name => match datalabels().iter().find(|set| set.name == name).cloned() {
                    Some(set) => view! { <OptionSetEditor set=set/> }.into_any(),
                    None => ().into_any(),
                },
            })}
        </div>
    }
}

#[component]
fn OptionSetEditor(set: Datalabel) -> impl IntoView {
    let reading = RwSignal::new(0_u32);
    let all = RwSignal::new(drafts(&set, 0));
    let (busy, error, saved) = (RwSignal::new(false), RwSignal::new(None), RwSignal::new(false));
    // New ones from the other end of what a reading may have.
    let next = RwSignal::new(KEYS_PER_REVISION - 1);
    let name = StoredValue::new(set.name.clone());
    // As it was read: who saves what somebody else has changed meanwhile is told so.
    let before = StoredValue::new(set.options.clone());
    let shift = move |key: u32, by: isize| {
        all.update(|all| {
            if let Some(at) = all.iter().position(|d| d.key == key)
                && let Some(to) = at.checked_add_signed(by).filter(|to| *to < all.len())
            {
                all.swap(at, to);
            }
        });
    };
    let add = move |_| {
        let key = next.get_untracked();
        next.set(key - 1);
        all.update(|all| all.push(OptionDraft::new(key, None, "")));
    };
    let save = move |event: leptos::ev::SubmitEvent| {
        event.prevent_default();
        saved.set(false);
        let now = all.get_untracked();
        let called = |key: &u32| now.iter().find(|d| d.key == *key).map(|d| d.name.get_untracked());
        let option = |d: &OptionDraft| {
            json!({"id": d.id, "name": d.name.get_untracked().trim(), "descr": d.descr.get_untracked(), "color_code": d.colour.get_untracked(), "terminal_flag": d.ends.get_untracked(),
                "active_flag": d.offered.get_untracked(), "after": d.after.get_untracked().iter().filter_map(called).collect::<Vec<_>>()})
        };
        let options: Vec<Value> = now.iter().map(option).collect();
        let path = format!("/datalabel/{}", name.get_value());
        send(
            Method::PUT,
            path,
            Some(json!({"options": options, "before": before.get_value()})),
            busy,
            error,
            move |told| {
                if let Ok(set) = serde_json::from_value::<Datalabel>(told) {
                    let now = reading.try_get_untracked().unwrap_or_default() + 1;
                    reading.try_set(now);
                    next.try_set((now + 1) * KEYS_PER_REVISION - 1);
                    all.try_set(drafts(&set, now));
                    before.try_set_value(set.options);
                }
                saved.try_set(true);
                refresh_reference_data();
            },
        );
    };
    // Refused, perhaps because it is another by now: what is opened next is as it is.
    Effect::new(move || {
        if error.with(Option::is_some) {
            refresh_reference_data();
        }
    });
    let line = move |draft: OptionDraft| {
        let OptionDraft { key, name, descr, colour, ends, offered, after, .. } = draft;
        let colours: Vec<_> = COLORS
            .iter()
            .map(|c| view! { <option value=*c selected=colour.get_untracked() == *c>{humanize(c)}</option> })
            .collect();
        let label = move |what: &str| format!("{what} of {}", name.get());
        let before = reactive_view(move || {
            let others: Vec<_> = all.get().into_iter().filter(|other| other.key != key).map(|other| {
                let (of, title) = (other.key, other.name);
                let change = move |event| { let yes = event_target_checked(&event); after.update(|all| { all.retain(|k| *k != of); if yes { all.push(of); } }); };
                view! { <label class="check"><input type="checkbox" class="i-check" prop:checked=move || after.with(|a| a.contains(&of)) on:change=change/>{reactive_view(move || title.get())}</label> }
            }).collect();
            others
        });
        let from = reactive_view(move || {
            after.with(|a| if a.is_empty() { "from any".to_owned() } else { format!("from {}", a.len()) })
        });
        view! {
            <li class="option-row">
                <span class="order"><button type="button" class="btn quiet icon sm" aria-label=move || label("Up, place") title="Up" on:click=move |_| shift(key, -1)>{icon("chevron-up")}</button>
                    <button type="button" class="btn quiet icon sm" aria-label=move || label("Down, place") title="Down" on:click=move |_| shift(key, 1)>{icon("chevron-down")}</button></span>
                <i class=move || format!("dot dot-{}", colour.get()) aria-hidden="true"></i>
                <input class="input grow" required maxlength="200" aria-label="Name" prop:value=move || name.get() on:input=move |e| name.set(event_target_value(&e))/>
                <select class="input" aria-label=move || label("Colour") on:change=move |e| colour.set(event_target_value(&e))>{colours}</select>
                <details class="follows"><summary class="btn sm">{from}</summary><div class="box"><p class="softer">"May come after:"</p>{before}</div></details>
                <label class="check" title="Nothing comes after it"><input type="checkbox" class="i-check" prop:checked=move || ends.get() on:change=move |e| ends.set(event_target_checked(&e))/>"End"</label>
                <label class="check" title="Offered for choice"><input type="checkbox" class="i-check" prop:checked=move || offered.get() on:change=move |e| offered.set(event_target_checked(&e))/>"Offered"</label>
                <button type="button" class="btn quiet icon sm" aria-label=move || label("Take away, option") title="Take away" on:click=move |_| all.update(|all| all.retain(|d| d.key != key))>{icon("x")}</button>
                <input class="input meaning" maxlength="1000" placeholder="What it means" aria-label=move || label("Meaning") prop:value=move || descr.get() on:input=move |e| descr.set(event_target_value(&e))/>
            </li>
        }
    };
    let used = types_using_set(&set.name);
    view! {
        <form class="admin-edit" on:submit=save on:input=move |_| saved.set(false) aria-label=format!("Options of {}", humanize(&set.name))>
            <header><h2>{humanize(&set.name)}</h2><p class="softer">{if used.is_empty() { "Held by nothing".to_owned() } else { format!("Held by {used}. A new name goes into every row.") }}</p></header>
            <ul class="option-rows"><For each=move || all.get() key=|d| d.key children=line/></ul>
            {error_banner(error)}
            {reactive_view(move || saved.get().then(|| view! { <p class="hint" role="status">{icon("check")}"Saved. Others see it within minutes."</p> }))}
            <footer class="buttons start"><button type="button" class="btn" on:click=add>{icon("plus")}"Add option"</button><button class="btn primary" disabled=reactive_attr(move || busy.get())>"Save"</button></footer>
        </form>
    }
}
