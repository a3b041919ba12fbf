//! Option sets: options with order, color and allowed transitions.

use super::requests::{humanize, refresh_reference_data, send};
use crate::client::http::Method;
use crate::hooks::{catalog, datalabels};
use crate::ui::error_message::error_message;
use crate::ui::reactive::{reactive_attr, reactive_view};
use crate::ui::value_view::icon;
use leptos::prelude::*;
use pmo_domain::ColumnKind;
use pmo_domain::catalog::Datalabel;
use serde_json::{Value, json};

const COLORS: [&str; 6] = ["grey", "blue", "green", "amber", "red", "purple"];

/// Size of the key range of one revision of the form.
///
/// The range exceeds any option id: a set has at most 200 options, and ids are never reused.
const KEYS_PER_REVISION: u32 = 1_000_000;

/// Editable state of an option.
///
/// Other drafts refer to it by `key`, so that a reference survives a rename.
#[derive(Clone, Copy)]
struct OptionDraft {
    key: u32,
    id: Option<i32>,
    name: RwSignal<String>,
    descr: RwSignal<String>,
    color: RwSignal<String>,
    terminal: RwSignal<bool>,
    active: RwSignal<bool>,
    predecessors: RwSignal<Vec<u32>>,
}

impl OptionDraft {
    fn new(key: u32, id: Option<i32>, name: &str) -> Self {
        Self {
            key,
            id,
            name: RwSignal::new(name.to_owned()),
            descr: RwSignal::new(String::new()),
            color: RwSignal::new("grey".to_owned()),
            terminal: RwSignal::new(false),
            active: RwSignal::new(true),
            predecessors: RwSignal::new(Vec::new()),
        }
    }
}

/// Creates the drafts of a set.
///
/// Each revision has its own key range, so that keyed rows are re-created after a save.
fn drafts(set: &Datalabel, revision: u32) -> Vec<OptionDraft> {
    let key = |id: i32| revision * KEYS_PER_REVISION + u32::try_from(id).unwrap_or_default();
    let to_draft = |option: &pmo_domain::catalog::LabelOption| {
        let draft = OptionDraft::new(key(option.id), Some(option.id), &option.name);
        draft.descr.set(option.descr.clone().unwrap_or_default());
        draft.color.set(option.color_code.clone().unwrap_or_else(|| "grey".to_owned()));
        draft.terminal.set(option.terminal_flag);
        draft.active.set(option.active_flag);
        draft.predecessors.set(option.parent_ids.iter().map(|id| key(*id)).collect());
        draft
    };
    set.options.iter().map(to_draft).collect()
}

/// Returns the plural labels of the types with a column of this set, separated by commas.
fn types_using_set(set: &str) -> String {
    let catalog = catalog();
    let uses_set = |t: &&pmo_domain::EntityType| {
        t.columns.iter().any(|c| matches!(&c.kind, ColumnKind::Datalabel { set: column_set } if column_set == set))
    };
    catalog.types.values().filter(uses_set).map(|t| t.ui_label.clone()).collect::<Vec<_>>().join(", ")
}

#[component]
pub(crate) fn OptionSets() -> impl IntoView {
    let selected_set = RwSignal::new(String::new());
    let codes = crate::hooks::use_datalabel("task_stage");
    let names = reactive_view(move || {
        codes.track();
        let all = datalabels();
        let selected = selected_set.get();
        let set_button = |set: &Datalabel| {
            let (name, is_selected) = (set.name.clone(), set.name == selected);
            view! { <li><button type="button" aria-current=is_selected.then_some("true") on:click=move |_| selected_set.set(name.clone())><span class="grow">{humanize(&set.name)}</span><span class="softer num">{set.options.len()}</span></button></li> }
        };
        all.iter().map(set_button).collect::<Vec<_>>()
    });
    view! {
        <div class="admin two">
            <nav class="admin-list" aria-label="Option sets"><ul>{names}</ul></nav>
            {reactive_view(move || match selected_set.get() {
                name if name.is_empty() => view! { <div class="blank"><h2>"Choose an option set"</h2><p>"Options, order, colors and allowed transitions."</p></div> }.into_any(),
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
    let revision = RwSignal::new(0_u32);
    let rows = RwSignal::new(drafts(&set, 0));
    let (busy, error, saved) = (RwSignal::new(false), RwSignal::new(None), RwSignal::new(false));
    // Keys of new options count down from the end of the range of the revision.
    let next_key = RwSignal::new(KEYS_PER_REVISION - 1);
    let name = StoredValue::new(set.name.clone());
    // The options as loaded: the server rejects the save if another user changed them meanwhile.
    let original = StoredValue::new(set.options.clone());
    let shift = move |key: u32, by: isize| {
        rows.update(|rows| {
            if let Some(at) = rows.iter().position(|d| d.key == key)
                && let Some(to) = at.checked_add_signed(by).filter(|to| *to < rows.len())
            {
                rows.swap(at, to);
            }
        });
    };
    let add = move |_| {
        let key = next_key.get_untracked();
        next_key.set(key - 1);
        rows.update(|rows| rows.push(OptionDraft::new(key, None, "")));
    };
    let save = move |event: leptos::ev::SubmitEvent| {
        event.prevent_default();
        saved.set(false);
        let current = rows.get_untracked();
        let name_of = |key: &u32| current.iter().find(|d| d.key == *key).map(|d| d.name.get_untracked());
        let option = |d: &OptionDraft| {
            json!({"id": d.id, "name": d.name.get_untracked().trim(), "descr": d.descr.get_untracked(), "color_code": d.color.get_untracked(), "terminal_flag": d.terminal.get_untracked(),
                "active_flag": d.active.get_untracked(), "after": d.predecessors.get_untracked().iter().filter_map(name_of).collect::<Vec<_>>()})
        };
        let options: Vec<Value> = current.iter().map(option).collect();
        let path = format!("/datalabel/{}", name.get_value());
        send(
            Method::PUT,
            path,
            Some(json!({"options": options, "before": original.get_value()})),
            busy,
            error,
            move |response| {
                if let Ok(set) = serde_json::from_value::<Datalabel>(response) {
                    let next_revision = revision.try_get_untracked().unwrap_or_default() + 1;
                    revision.try_set(next_revision);
                    next_key.try_set((next_revision + 1) * KEYS_PER_REVISION - 1);
                    rows.try_set(drafts(&set, next_revision));
                    original.try_set_value(set.options);
                }
                saved.try_set(true);
                refresh_reference_data();
            },
        );
    };
    // A rejection may mean that the set is stale: refetch it for the next time it is opened.
    Effect::new(move || {
        if error.with(Option::is_some) {
            refresh_reference_data();
        }
    });
    let option_row = move |draft: OptionDraft| {
        let OptionDraft { key, name, descr, color, terminal, active, predecessors, .. } = draft;
        let color_options: Vec<_> = COLORS
            .iter()
            .map(|c| view! { <option value=*c selected=color.get_untracked() == *c>{humanize(c)}</option> })
            .collect();
        let label = move |action: &str| format!("{action}: {}", name.get());
        let predecessor_choices = reactive_view(move || {
            let others: Vec<_> = rows.get().into_iter().filter(|other| other.key != key).map(|other| {
                let (other_key, other_name) = (other.key, other.name);
                let change = move |event| { let checked = event_target_checked(&event); predecessors.update(|keys| { keys.retain(|k| *k != other_key); if checked { keys.push(other_key); } }); };
                view! { <label class="check"><input type="checkbox" class="i-check" prop:checked=move || predecessors.with(|a| a.contains(&other_key)) on:change=change/>{reactive_view(move || other_name.get())}</label> }
            }).collect();
            others
        });
        let summary = reactive_view(move || {
            predecessors.with(|a| if a.is_empty() { "From any".to_owned() } else { format!("From {}", a.len()) })
        });
        view! {
            <li class="option-row">
                <span class="order"><button type="button" class="btn quiet icon sm" aria-label=move || label("Move up") title="Move up" on:click=move |_| shift(key, -1)>{icon("chevron-up")}</button>
                    <button type="button" class="btn quiet icon sm" aria-label=move || label("Move down") title="Move down" on:click=move |_| shift(key, 1)>{icon("chevron-down")}</button></span>
                <i class=move || format!("dot dot-{}", color.get()) aria-hidden="true"></i>
                <input class="input grow" required maxlength="200" aria-label="Name" prop:value=move || name.get() on:input=move |e| name.set(event_target_value(&e))/>
                <select class="input" aria-label=move || label("Color") on:change=move |e| color.set(event_target_value(&e))>{color_options}</select>
                <details class="transitions"><summary class="btn sm">{summary}</summary><div class="box"><p class="softer">"Allowed after:"</p>{predecessor_choices}</div></details>
                <label class="check" title="Final state"><input type="checkbox" class="i-check" prop:checked=move || terminal.get() on:change=move |e| terminal.set(event_target_checked(&e))/>"Final"</label>
                <label class="check" title="Active"><input type="checkbox" class="i-check" prop:checked=move || active.get() on:change=move |e| active.set(event_target_checked(&e))/>"Active"</label>
                <button type="button" class="btn quiet icon sm" aria-label=move || label("Remove") title="Remove" on:click=move |_| rows.update(|rows| rows.retain(|d| d.key != key))>{icon("x")}</button>
                <input class="input option-description" maxlength="1000" placeholder="Description" aria-label=move || label("Description") prop:value=move || descr.get() on:input=move |e| descr.set(event_target_value(&e))/>
            </li>
        }
    };
    let used = types_using_set(&set.name);
    view! {
        <form class="admin-edit" on:submit=save on:input=move |_| saved.set(false) aria-label=format!("Options of {}", humanize(&set.name))>
            <header><h2>{humanize(&set.name)}</h2><p class="softer">{if used.is_empty() { "Not used".to_owned() } else { format!("Used by {used}. A new name is written to every row.") }}</p></header>
            <ul class="option-rows"><For each=move || rows.get() key=|d| d.key children=option_row/></ul>
            {error_message(error)}
            {reactive_view(move || saved.get().then(|| view! { <p class="hint" role="status">{icon("check")}"Saved. Other users see the change within minutes."</p> }))}
            <footer class="buttons start"><button type="button" class="btn" on:click=add>{icon("plus")}"Add option"</button><button class="btn primary" disabled=reactive_attr(move || busy.get())>"Save"</button></footer>
        </form>
    }
}
