//! The palette: everything on this device by name, what the server knows beyond it, and what can be done from where one is. Ctrl K or ⌘ K; `C` for making something.

use super::field::choices_of;
use super::layout::OverlayState;
use super::picker::{Choice, ChoiceIcon, filter_choices};
use super::reactive::{reactive_attr, reactive_view};
use super::value_view::{self, icon};
use crate::client::{client, http};
use crate::hooks::{catalogue, row_with, use_entity_mutation, use_offline_entity};
use crate::pages::known_permission;
use crate::ui::field::FormState;
use leptos::prelude::*;
use leptos_router::NavigateOptions;
use leptos_router::hooks::{use_location, use_navigate};
use pmo_domain::{Column, ColumnKind, EntityCode, EntityRef, Permission};
use pmo_sync::{Event, RowView};
use serde_json::{Value, json};
use std::time::Duration;
use wasm_bindgen_futures::spawn_local;

/// Most things that are told of each source.
const MAX_RESULTS: usize = 12;
/// How long typing must rest before the server is asked.
const SEARCH_DEBOUNCE: Duration = Duration::from_millis(120);

/// What is asked of the palette.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PaletteMode {
    /// Anything.
    Anything,
    /// What to make.
    Make,
    /// A value for a column of the thing that is open: its number among what can be set.
    Set(usize),
}

/// What a line does.
#[derive(Clone, Debug, PartialEq)]
enum PaletteAction {
    Go(String),
    Make(EntityCode),
    Ask(usize),
    Set(Value),
}

/// A line.
#[derive(Clone, Debug, PartialEq)]
struct PaletteItem {
    group: String,
    sign: ChoiceIcon,
    label: String,
    meta: String,
    /// A person's sign is made of their id.
    id: String,
    act: PaletteAction,
}

/// The thing that the present page is about.
fn current_entity(path: &str) -> Option<EntityRef> {
    let mut parts = path.trim_matches('/').split('/');
    let code = EntityCode::new(parts.next()?).ok()?;
    Some(EntityRef::new(code, parts.next()?.parse().ok()?))
}

/// The columns of a thing that are set from here: how far it is, who does it, when it is due.
fn quick_edit_columns(code: &str) -> Vec<Column> {
    let catalogue = catalogue();
    let Some(kind) = catalogue.get(code) else { return Vec::new() };
    let stage = kind.stage_column().cloned();
    let labels = kind
        .columns
        .iter()
        .filter(|c| matches!(c.kind, ColumnKind::Datalabel { .. }) && Some(&c.name) != stage.as_ref().map(|s| &s.name))
        .cloned();
    let people = kind.columns.iter().filter(|c| matches!(&c.kind, ColumnKind::Reference { entity } | ColumnKind::References { entity } if entity == "employee")).cloned();
    stage.clone().into_iter().chain(people).chain(labels).filter(|c| !c.read_only && !c.hidden).collect()
}

/// The palette, when it is asked something.
#[component]
pub fn Palette() -> impl IntoView {
    let overlays = expect_context::<OverlayState>();
    reactive_view(move || overlays.palette_mode.get().map(|asked| view! { <PaletteDialog asked=asked/> }))
}

#[component]
fn PaletteDialog(asked: PaletteMode) -> impl IntoView {
    let overlays = expect_context::<OverlayState>();
    let (navigate, location) = (use_navigate(), use_location());
    let thing = StoredValue::new(current_entity(&location.pathname.get_untracked()));
    let words = RwSignal::new(String::new());
    let at = RwSignal::new(0usize);
    // All that the device holds is read in, so that all of it is found.
    client().dispatch(Event::LoadAll);
    let read = RwSignal::new(0u32);
    let again = set_interval_with_handle(
        move || {
            if client().read(pmo_sync::Engine::is_reading) {
                read.update(|n| *n += 1);
            }
        },
        Duration::from_millis(100),
    );
    on_cleanup(move || {
        if let Ok(again) = again {
            again.clear();
        }
    });
    // The server's answer to the words that it was asked for.
    let told = RwSignal::new((String::new(), Vec::<PaletteItem>::new()));
    let asking = StoredValue::new(None::<TimeoutHandle>);
    let drop_asking = move || {
        if let Some(handle) = asking.try_update_value(Option::take).flatten() {
            handle.clear();
        }
    };
    on_cleanup(drop_asking);
    Effect::new(move || {
        let text = words.get().trim().to_owned();
        drop_asking();
        if text.chars().count() < 2 || asked != PaletteMode::Anything {
            return;
        }
        let ask = move || {
            spawn_local(async move {
                let path = format!("/search?limit={MAX_RESULTS}&q={}", pmo_sync::percent_encode(&text));
                if let Ok(answer) = http::request(http::Method::GET, &path, None, None).await {
                    let lines = answer["data"].as_array().into_iter().flatten().filter_map(item_from_hit).collect();
                    told.try_set((text, lines));
                }
            })
        };
        asking.set_value(set_timeout_with_handle(ask, SEARCH_DEBOUNCE).ok());
    });
    // Nothing is offered that one may not do, as far as this device knows.
    let may = |t: &EntityRef| {
        let row = client().read(|e| e.row(t));
        row.and_then(|row| known_permission(&t.code, &row))
            .is_none_or(|level| level >= u64::from(u8::from(Permission::Edit)))
    };
    let columns = thing
        .with_value(|t| t.as_ref().filter(|t| may(t)).map(|t| quick_edit_columns(t.code.as_str())).unwrap_or_default());
    let columns = StoredValue::new(columns);
    let row = thing.get_value().map(use_offline_entity::<RowView>);
    FormState::from_row(move || row.and_then(|row| row.get()).map(|r| (*r.data).clone()).unwrap_or_default());
    let column = match asked {
        PaletteMode::Set(n) => columns.with_value(|all| all.get(n).cloned()),
        _ => None,
    };
    let value = {
        let name = column.as_ref().map(|c| c.name.clone()).unwrap_or_default();
        Signal::derive(move || {
            row.and_then(|row| row.get()).and_then(|r| r.data.get(&name).cloned()).unwrap_or(Value::Null)
        })
    };
    let choices = column.as_ref().map(|c| choices_of(c, value, RwSignal::new(true)));
    let several = column.as_ref().is_some_and(|c| matches!(c.kind, ColumnKind::References { .. }));
    let lines = Memo::new(move |_| {
        let text = words.get();
        match (asked, choices) {
            (PaletteMode::Set(_), Some(choices)) => {
                let now = value_view::reference_ids(Some(&value.get()));
                filter_choices(choices.get(), &text)
                    .into_iter()
                    .take(MAX_RESULTS * 3)
                    .map(|choice| choice_line(choice, several.then_some(&now)))
                    .collect()
            }
            (PaletteMode::Make, _) => create_actions(&text),
            _ => {
                read.track();
                all_items(&text, &told.get(), thing.get_value().as_ref(), &columns.get_value())
            }
        }
    });
    let close = move || overlays.palette_mode.set(None);
    let run = StoredValue::new(move |act: PaletteAction| match act {
        PaletteAction::Go(address) => {
            close();
            navigate(&address, NavigateOptions::default());
        }
        PaletteAction::Make(code) => {
            close();
            overlays.creating.set(Some(code));
        }
        PaletteAction::Ask(n) => overlays.palette_mode.set(Some(PaletteMode::Set(n))),
        PaletteAction::Set(value) => {
            if let (Some(thing), PaletteMode::Set(n)) = (thing.get_value(), asked)
                && let Some(column) = columns.with_value(|all| all.get(n).cloned())
            {
                use_entity_mutation(thing.code).update(thing.id, row_with(&column.name, value));
            }
            close();
        }
    });
    let act = move |n: usize| {
        if let Some(line) = lines.with_untracked(|l| l.get(n).cloned()) {
            run.with_value(|run| run(line.act));
        }
    };
    let keys = move |event: leptos::ev::KeyboardEvent| {
        let count = lines.with_untracked(Vec::len).max(1);
        match event.key().as_str() {
            "ArrowDown" => at.update(|n| *n = (*n + 1) % count),
            "ArrowUp" => at.update(|n| *n = (*n + count - 1) % count),
            "Enter" => act(at.get_untracked()),
            "Escape" => close(),
            "Backspace" if words.with_untracked(String::is_empty) && asked != PaletteMode::Anything => {
                overlays.palette_mode.set(Some(PaletteMode::Anything))
            }
            "Tab" => {}
            _ => return,
        }
        event.prevent_default();
        event.stop_propagation();
    };
    let list = NodeRef::<leptos::html::Div>::new();
    Effect::new(move || {
        let n = at.get();
        let found = list.get().and_then(|l| l.query_selector(&format!("#palette-{n}")).ok().flatten());
        if let Some(item) = found {
            let options = web_sys::ScrollIntoViewOptions::new();
            options.set_block(web_sys::ScrollLogicalPosition::Nearest);
            item.scroll_into_view_with_scroll_into_view_options(&options);
        }
    });
    let items = reactive_view(move || {
        let mut group = String::new();
        let shown: Vec<AnyView> = lines
            .get()
            .into_iter()
            .enumerate()
            .map(|(n, line)| {
                let head = (line.group != group).then(|| {
                    group.clone_from(&line.group);
                    view! { <div class="group" role="presentation">{line.group.clone()}</div> }
                });
                let sign = match &line.sign {
                    ChoiceIcon::Bare => ().into_any(),
                    ChoiceIcon::Icon(name) => icon(name).into_any(),
                    ChoiceIcon::Person => value_view::avatar(&line.id, &line.label).into_any(),
                };
                view! {
                    {head}
                    <div role="option" id=format!("palette-{n}") class:is-active=reactive_attr(move || at.get() == n) aria-selected=reactive_attr(move || (at.get() == n).to_string())
                        on:mousedown=|e| e.prevent_default() on:click=move |_| act(n) on:pointermove=move |_| at.set(n)>{sign}<span class="grow">{highlight_matches(&line.label, &words.get_untracked())}</span>
                        <span class="meta desk">{line.meta}</span>{reactive_view(move || (at.get() == n).then(|| view! { <kbd class="desk">"↵"</kbd> }))}</div>
                }
                .into_any()
            })
            .collect();
        let some = words.with(|w| !w.trim().is_empty());
        if shown.is_empty() && some {
            view! { <p class="none">"Nothing is called that"</p> }.into_any()
        } else {
            shown.into_any()
        }
    });
    let (placeholder, badge) = match (&column, asked) {
        (Some(column), _) => (
            format!("{} to…", column.label),
            thing.get_value().and_then(|t| client().read(|e| e.name(t.code.as_str(), t.id))),
        ),
        (None, PaletteMode::Make) => ("What to make".to_owned(), None),
        _ => ("Search, or say what to do".to_owned(), None),
    };
    let input = NodeRef::<leptos::html::Input>::new();
    Effect::new(move || {
        if let Some(input) = input.get() {
            let _ = input.focus();
        }
    });
    let beside = move |event: leptos::ev::MouseEvent| {
        if event.target() == event.current_target() {
            close();
        }
    };
    view! {
        <div class="scrim top" on:mousedown=beside>
            <div class="palette" role="dialog" aria-modal="true" aria-label="Command palette">
                <label class="ask">{icon("search")}<span class="vh">"Search or run a command"</span><input node_ref=input role="combobox" aria-expanded="true" aria-controls="palette-list" autocomplete="off" placeholder=placeholder prop:value=reactive_attr(move || words.get())
                    aria-activedescendant=reactive_attr(move || format!("palette-{}", at.get())) on:keydown=keys on:input=move |e| { at.set(0); words.set(event_target_value(&e)); }/>
                    {badge.map(|badge| view! { <span class="badge">{badge}</span> })}</label>
                <div class="menu" role="listbox" id="palette-list" aria-label="Results" node_ref=list>{items}</div>
                <footer><span><kbd>"↑"</kbd><kbd>"↓"</kbd>" move"</span><span><kbd>"↵"</kbd>" open"</span><span><kbd>"Esc"</kbd>" close"</span><span class="grow"></span><span class="desk">"From this device, works offline"</span></footer>
            </div>
        </div>
    }
}

/// A text with what fits the words marked.
fn highlight_matches(text: &str, words: &str) -> Vec<AnyView> {
    let (lower, words) = (text.to_lowercase(), words.trim().to_lowercase());
    // Where small letters are longer than capitals the places would not be the same.
    match lower.find(&words).filter(|_| !words.is_empty() && lower.len() == text.len()) {
        Some(from) if text.is_char_boundary(from) && text.is_char_boundary(from + words.len()) => {
            let (before, rest) = text.split_at(from);
            let (hit, after) = rest.split_at(words.len());
            vec![
                before.to_owned().into_any(),
                view! { <mark>{hit.to_owned()}</mark> }.into_any(),
                after.to_owned().into_any(),
            ]
        }
        _ => vec![text.to_owned().into_any()],
    }
}

fn choice_line(choice: Choice, several: Option<&Vec<String>>) -> PaletteItem {
    let value = match several {
        Some(now) => {
            let mut all = now.clone();
            match all.iter().position(|id| *id == choice.value) {
                Some(at) => drop(all.remove(at)),
                None => all.push(choice.value.clone()),
            }
            json!(all)
        }
        None if choice.value.is_empty() => Value::Null,
        None => json!(choice.value),
    };
    let meta = several.filter(|now| now.contains(&choice.value)).map_or("", |_| "take away").to_owned();
    PaletteItem {
        group: String::new(),
        sign: choice.sign,
        label: choice.label,
        meta,
        id: choice.value,
        act: PaletteAction::Set(value),
    }
}

fn create_actions(words: &str) -> Vec<PaletteItem> {
    let catalogue = catalogue();
    let may = |code: &str| {
        let below = |(_, tie): (&pmo_domain::EntityType, &pmo_domain::ChildRelation)| {
            tie.owned && tie.parent_column.is_some() && tie.parent_type_column.is_none()
        };
        catalogue.get(code).is_some_and(|kind| kind.can_create) || catalogue.parent_relations(code).any(below)
    };
    let kinds = catalogue.types.values().filter(|kind| kind.code != "message" && may(kind.code.as_str()));
    let choices = kinds.map(|kind| Choice {
        value: kind.code.to_string(),
        label: format!("New {}", kind.name.to_lowercase()),
        sign: ChoiceIcon::Icon(kind.ui_icon.clone()),
    });
    let line = |choice: Choice| {
        let act = PaletteAction::Make(EntityCode::new(&choice.value).ok()?);
        Some(PaletteItem {
            group: "Make".to_owned(),
            sign: choice.sign,
            label: choice.label,
            meta: String::new(),
            id: choice.value,
            act,
        })
    };
    filter_choices(choices.collect(), words.trim().trim_start_matches("new ")).into_iter().filter_map(line).collect()
}

/// A hit of the server.
fn item_from_hit(hit: &Value) -> Option<PaletteItem> {
    let (code, id, title) = (hit["entity"].as_str()?, hit["id"].as_str()?, hit["title"].as_str()?);
    let catalogue = catalogue();
    let kind = catalogue.get(code)?;
    Some(PaletteItem {
        group: "From the server".to_owned(),
        sign: ChoiceIcon::Icon(kind.ui_icon.clone()),
        label: title.to_owned(),
        meta: kind.name.clone(),
        id: id.to_owned(),
        act: PaletteAction::Go(format!("/{code}/{id}")),
    })
}

fn all_items(
    words: &str,
    told: &(String, Vec<PaletteItem>),
    thing: Option<&EntityRef>,
    columns: &[Column],
) -> Vec<PaletteItem> {
    let catalogue = catalogue();
    let text = words.trim();
    let mut lines: Vec<PaletteItem> = client()
        .read(|e| e.find(text, MAX_RESULTS))
        .into_iter()
        .filter_map(|found| {
            let kind = catalogue.get(found.entity.code.as_str())?;
            let act = PaletteAction::Go(format!("/{}/{}", found.entity.code, found.entity.id));
            let meta =
                if found.code.is_empty() { kind.name.clone() } else { format!("{} · {}", found.code, kind.name) };
            Some(PaletteItem {
                group: "On this device".to_owned(),
                sign: ChoiceIcon::Icon(kind.ui_icon.clone()),
                label: found.name,
                meta,
                id: found.entity.id.to_string(),
                act,
            })
        })
        .collect();
    // An answer to other words is passed over, and what is there already is not told twice.
    if told.0 == text {
        let known: Vec<String> = lines.iter().map(|l| l.id.clone()).collect();
        lines.extend(told.1.iter().filter(|l| !known.contains(&l.id)).cloned());
    }
    let command = |group: String, sign: &str, label: String, act: PaletteAction| PaletteItem {
        group,
        sign: ChoiceIcon::Icon(sign.to_owned()),
        label,
        meta: String::new(),
        id: String::new(),
        act,
    };
    let mut commands = Vec::new();
    if let Some(thing) = thing {
        let name = client().read(|e| e.name(thing.code.as_str(), thing.id)).unwrap_or_default();
        for (n, column) in columns.iter().enumerate() {
            let (verb, sign) = match &column.kind {
                ColumnKind::Datalabel { .. } => (format!("Change {}…", column.label.to_lowercase()), "circle"),
                _ if column.name.starts_with("assignee") => ("Assign to…".to_owned(), "user"),
                _ => (format!("Set {}…", column.label.to_lowercase()), "user"),
            };
            commands.push(command(format!("Actions on “{name}”"), sign, verb, PaletteAction::Ask(n)));
        }
    }
    let go = catalogue
        .types
        .values()
        .filter(|k| k.root_flag)
        .chain(catalogue.types.values().filter(|k| !k.root_flag && k.code != "message"));
    commands.extend(go.map(|kind| {
        command("Go to".to_owned(), &kind.ui_icon, kind.ui_label.clone(), PaletteAction::Go(format!("/{}", kind.code)))
    }));
    let lower = text.to_lowercase();
    let fits = |line: &PaletteItem| {
        lower.is_empty() || lower.split_whitespace().all(|word| line.label.to_lowercase().contains(word))
    };
    let most = if lower.is_empty() { 14 } else { MAX_RESULTS };
    lines.extend(commands.into_iter().filter(fits).take(most));
    if !lower.is_empty() {
        lines.extend(create_actions(text).into_iter().take(4));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;
    use wasm_bindgen_test::wasm_bindgen_test;

    #[wasm_bindgen_test]
    fn the_page_says_which_thing_is_open() {
        let id = Uuid::now_v7();
        assert_eq!(current_entity(&format!("/task/{id}")).map(|t| t.id), Some(id));
        assert_eq!(
            current_entity(&format!("/project/{id}/risk")).map(|t| t.code.to_string()),
            Some("project".to_owned())
        );
        for none in ["/", "/task", "/task/x", "/admin/people"] {
            assert_eq!(current_entity(none), None, "{none}");
        }
    }
}
