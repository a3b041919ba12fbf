//! Command palette: search by name on this device and on the server, and commands for the page.
//!
//! Opened with Ctrl K or ⌘ K; `C` opens it to create an entity.

use super::field::choices_of;
use super::overlay_state::{OverlayState, PaletteMode};
use super::picker::{Choice, ChoiceIcon, filter_choices};
use super::reactive::{reactive_attr, reactive_view};
use super::value_view::{self, icon};
use crate::client::{client, http};
use crate::hooks::{catalog, known_permission, row_with, use_entity_mutation, use_offline_entity};
use crate::ui::field::FormState;
use leptos::prelude::*;
use leptos_router::NavigateOptions;
use leptos_router::hooks::{use_location, use_navigate};
use pmo_domain::{Column, ColumnKind, EntityCode, EntityRef, Permission};
use pmo_sync::{Event, RowView};
use serde_json::{Value, json};
use std::time::Duration;
use wasm_bindgen_futures::spawn_local;

/// Maximum number of results per source (device, server, commands).
const MAX_RESULTS: usize = 12;
/// Delay after the last keystroke before the server is queried.
const SEARCH_DEBOUNCE: Duration = Duration::from_millis(120);

/// Effect of selecting an item.
#[derive(Clone, Debug, PartialEq)]
enum PaletteAction {
    Navigate(String),
    Create(EntityCode),
    ChooseColumn(usize),
    SetValue(Value),
}

/// An item of the result list.
#[derive(Clone, Debug, PartialEq)]
struct PaletteItem {
    group: String,
    icon: ChoiceIcon,
    label: String,
    meta: String,
    /// Id of the entity or value; the avatar of a person is derived from it.
    id: String,
    action: PaletteAction,
}

/// Returns the entity that a URL path refers to, if any.
fn current_entity(path: &str) -> Option<EntityRef> {
    let mut parts = path.trim_matches('/').split('/');
    let code = EntityCode::new(parts.next()?).ok()?;
    Some(EntityRef::new(code, parts.next()?.parse().ok()?))
}

/// Returns the columns of a type that can be set in the palette: stage, people and options.
fn quick_edit_columns(code: &str) -> Vec<Column> {
    let catalog = catalog();
    let Some(kind) = catalog.get(code) else { return Vec::new() };
    let stage = kind.stage_column().cloned();
    let labels = kind
        .columns
        .iter()
        .filter(|c| matches!(c.kind, ColumnKind::Datalabel { .. }) && Some(&c.name) != stage.as_ref().map(|s| &s.name))
        .cloned();
    let people = kind.columns.iter().filter(|c| matches!(&c.kind, ColumnKind::Reference { entity } | ColumnKind::References { entity } if entity == "employee")).cloned();
    stage.clone().into_iter().chain(people).chain(labels).filter(|c| !c.read_only && !c.hidden).collect()
}

/// Renders the palette while it is open.
#[component]
pub(crate) fn Palette() -> impl IntoView {
    let overlays = expect_context::<OverlayState>();
    reactive_view(move || overlays.palette_mode.get().map(|mode| view! { <PaletteDialog mode=mode/> }))
}

/// State of the open palette.
#[derive(Clone, Copy)]
struct PaletteState {
    overlays: OverlayState,
    mode: PaletteMode,
    /// Entity of the current page.
    entity: StoredValue<Option<EntityRef>>,
    /// Columns of the entity that the user can set.
    columns: StoredValue<Vec<Column>>,
    query: RwSignal<String>,
    /// Index of the active item.
    active: RwSignal<usize>,
    items: Memo<Vec<PaletteItem>>,
}

/// Counts loads of stored rows, which a search covers only after they are in memory.
fn use_load_count() -> RwSignal<u32> {
    client().dispatch(Event::LoadAll);
    let load_count = RwSignal::new(0u32);
    let interval = set_interval_with_handle(
        move || {
            if client().read(pmo_sync::Engine::is_reading) {
                load_count.update(|n| *n += 1);
            }
        },
        Duration::from_millis(100),
    );
    on_cleanup(move || {
        if let Ok(interval) = interval {
            interval.clear();
        }
    });
    load_count
}

/// Searches on the server while the user types; returns the last results with their query.
fn use_server_search(mode: PaletteMode, query: RwSignal<String>) -> RwSignal<(String, Vec<PaletteItem>)> {
    let server_results = RwSignal::new((String::new(), Vec::<PaletteItem>::new()));
    let debounce = StoredValue::new(None::<TimeoutHandle>);
    let cancel_search = move || {
        if let Some(handle) = debounce.try_update_value(Option::take).flatten() {
            handle.clear();
        }
    };
    on_cleanup(cancel_search);
    Effect::new(move || {
        let text = query.get().trim().to_owned();
        cancel_search();
        if text.chars().count() < 2 || mode != PaletteMode::Search {
            return;
        }
        let search = move || {
            spawn_local(async move {
                let path = format!("/search?limit={MAX_RESULTS}&q={}", pmo_sync::percent_encode(&text));
                if let Ok(response) = http::request(http::Method::GET, &path, None, None).await {
                    let items = response["data"].as_array().into_iter().flatten().filter_map(item_from_hit).collect();
                    server_results.try_set((text, items));
                }
            })
        };
        debounce.set_value(set_timeout_with_handle(search, SEARCH_DEBOUNCE).ok());
    });
    server_results
}

/// Returns the columns of an entity that the user may set, as far as this device knows.
fn settable_columns(entity: &EntityRef) -> Vec<Column> {
    let row = client().read(|e| e.row(entity));
    let can_edit = row
        .and_then(|row| known_permission(&entity.code, &row))
        .is_none_or(|level| level >= u64::from(u8::from(Permission::Edit)));
    if can_edit { quick_edit_columns(entity.code.as_str()) } else { Vec::new() }
}

/// Creates the state of the palette for the page at the URL `path`.
fn use_palette(mode: PaletteMode, path: &str) -> PaletteState {
    let entity = StoredValue::new(current_entity(path));
    let (query, load_count) = (RwSignal::new(String::new()), use_load_count());
    let server_results = use_server_search(mode, query);
    let columns =
        StoredValue::new(entity.with_value(|entity| entity.as_ref().map(settable_columns)).unwrap_or_default());
    let row = entity.get_value().map(use_offline_entity::<RowView>);
    FormState::from_row(move || row.and_then(|row| row.get()).map(|r| (*r.data).clone()).unwrap_or_default());
    let column = match mode {
        PaletteMode::SetColumn(n) => columns.with_value(|all| all.get(n).cloned()),
        _ => None,
    };
    let value = {
        let name = column.as_ref().map(|c| c.name.clone()).unwrap_or_default();
        Signal::derive(move || {
            row.and_then(|row| row.get()).and_then(|r| r.data.get(&name).cloned()).unwrap_or(Value::Null)
        })
    };
    let choices = column.as_ref().map(|c| choices_of(c, value, RwSignal::new(true)));
    let multiple = column.as_ref().is_some_and(|c| matches!(c.kind, ColumnKind::References { .. }));
    let items = Memo::new(move |_| {
        let text = query.get();
        match (mode, choices) {
            (PaletteMode::SetColumn(_), Some(choices)) => {
                let selected = value_view::reference_ids(Some(&value.get()));
                filter_choices(choices.get(), &text)
                    .into_iter()
                    .take(MAX_RESULTS * 3)
                    .map(|choice| item_from_choice(choice, multiple.then_some(&selected)))
                    .collect()
            }
            (PaletteMode::Create, _) => create_actions(&text),
            _ => {
                load_count.track();
                all_items(&text, &server_results.get(), entity.get_value().as_ref(), &columns.get_value())
            }
        }
    });
    let overlays = expect_context::<OverlayState>();
    PaletteState { overlays, mode, entity, columns, query, active: RwSignal::new(0), items }
}

impl PaletteState {
    fn close(&self) {
        self.overlays.palette_mode.set(None);
    }

    /// Returns the column whose value is being set.
    fn column(&self) -> Option<Column> {
        match self.mode {
            PaletteMode::SetColumn(n) => self.columns.with_value(|all| all.get(n).cloned()),
            _ => None,
        }
    }

    /// Performs the action of an item; `open_page` opens a URL.
    fn select(&self, index: usize, open_page: &dyn Fn(&str)) {
        let Some(item) = self.items.with_untracked(|items| items.get(index).cloned()) else { return };
        match item.action {
            PaletteAction::Navigate(path) => {
                self.close();
                open_page(&path);
            }
            PaletteAction::Create(code) => {
                self.close();
                self.overlays.creating.set(Some(code));
            }
            PaletteAction::ChooseColumn(n) => self.overlays.palette_mode.set(Some(PaletteMode::SetColumn(n))),
            PaletteAction::SetValue(value) => {
                if let (Some(entity), Some(column)) = (self.entity.get_value(), self.column()) {
                    use_entity_mutation(entity.code).update(entity.id, row_with(&column.name, value));
                }
                self.close();
            }
        }
    }

    /// Handles a key press in the search field; `select` performs the action of an item.
    fn on_keydown(&self, event: &leptos::ev::KeyboardEvent, select: impl Fn(usize)) {
        let count = self.items.with_untracked(Vec::len).max(1);
        match event.key().as_str() {
            "ArrowDown" => self.active.update(|n| *n = (*n + 1) % count),
            "ArrowUp" => self.active.update(|n| *n = (*n + count - 1) % count),
            "Enter" => select(self.active.get_untracked()),
            "Escape" => self.close(),
            "Backspace" if self.query.with_untracked(String::is_empty) && self.mode != PaletteMode::Search => {
                self.overlays.palette_mode.set(Some(PaletteMode::Search))
            }
            "Tab" => {}
            _ => return,
        }
        event.prevent_default();
        event.stop_propagation();
    }

    /// Returns the placeholder of the search field and the name of the edited entity.
    fn placeholder(&self) -> (String, Option<String>) {
        match (self.column(), self.mode) {
            (Some(column), _) => (
                format!("{} to…", column.label),
                self.entity.get_value().and_then(|t| client().read(|e| e.name(t.code.as_str(), t.id))),
            ),
            (None, PaletteMode::Create) => ("Create…".to_owned(), None),
            _ => ("Search or run a command".to_owned(), None),
        }
    }
}

/// Result list, with a heading per group.
fn items_view(state: PaletteState, select: Callback<usize>) -> AnyView {
    let (active, query) = (state.active, state.query);
    let mut group = String::new();
    let options: Vec<AnyView> = state
        .items
        .get()
        .into_iter()
        .enumerate()
        .map(|(n, item)| {
            let heading = (item.group != group).then(|| {
                group.clone_from(&item.group);
                view! { <div class="group" role="presentation">{item.group.clone()}</div> }
            });
            let icon_view = match &item.icon {
                ChoiceIcon::Bare => ().into_any(),
                ChoiceIcon::Icon(name) => icon(name).into_any(),
                ChoiceIcon::Person => value_view::avatar(&item.id, &item.label).into_any(),
            };
            view! {
                {heading}
                <div role="option" id=format!("palette-{n}") class:is-active=reactive_attr(move || active.get() == n) aria-selected=reactive_attr(move || (active.get() == n).to_string())
                    on:mousedown=|e| e.prevent_default() on:click=move |_| select.run(n) on:pointermove=move |_| active.set(n)>{icon_view}<span class="grow">{highlight_matches(&item.label, &query.get_untracked())}</span>
                    <span class="meta desk">{item.meta}</span>{reactive_view(move || (active.get() == n).then(|| view! { <kbd class="desk">"↵"</kbd> }))}</div>
            }
            .into_any()
        })
        .collect();
    let has_query = query.with(|q| !q.trim().is_empty());
    if options.is_empty() && has_query {
        view! { <p class="none">"No matches"</p> }.into_any()
    } else {
        options.into_any()
    }
}

#[component]
fn PaletteDialog(mode: PaletteMode) -> impl IntoView {
    let (navigate, location) = (use_navigate(), use_location());
    let state = use_palette(mode, &location.pathname.get_untracked());
    let (query, active) = (state.query, state.active);
    let select = Callback::new(move |n: usize| state.select(n, &|path| navigate(path, NavigateOptions::default())));
    let on_keydown = move |event: leptos::ev::KeyboardEvent| state.on_keydown(&event, |n| select.run(n));
    let list = NodeRef::<leptos::html::Div>::new();
    Effect::new(move || {
        let n = active.get();
        let element = list.get().and_then(|l| l.query_selector(&format!("#palette-{n}")).ok().flatten());
        if let Some(item) = element {
            let options = web_sys::ScrollIntoViewOptions::new();
            options.set_block(web_sys::ScrollLogicalPosition::Nearest);
            item.scroll_into_view_with_scroll_into_view_options(&options);
        }
    });
    let (placeholder, badge) = state.placeholder();
    let input = NodeRef::<leptos::html::Input>::new();
    Effect::new(move || {
        if let Some(input) = input.get() {
            let _ = input.focus();
        }
    });
    let on_mousedown = move |event: leptos::ev::MouseEvent| {
        if event.target() == event.current_target() {
            state.close();
        }
    };
    view! {
        <div class="scrim top" on:mousedown=on_mousedown>
            <div class="palette" role="dialog" aria-modal="true" aria-label="Command palette">
                <label class="palette-search">{icon("search")}<span class="vh">"Search or run a command"</span><input node_ref=input role="combobox" aria-expanded="true" aria-controls="palette-list" autocomplete="off" placeholder=placeholder prop:value=reactive_attr(move || query.get())
                    aria-activedescendant=reactive_attr(move || format!("palette-{}", active.get())) on:keydown=on_keydown on:input=move |e| { active.set(0); query.set(event_target_value(&e)); }/>
                    {badge.map(|badge| view! { <span class="badge">{badge}</span> })}</label>
                <div class="menu" role="listbox" id="palette-list" aria-label="Results" node_ref=list>{reactive_view(move || items_view(state, select))}</div>
                <footer><span><kbd>"↑"</kbd><kbd>"↓"</kbd>" move"</span><span><kbd>"↵"</kbd>" open"</span><span><kbd>"Esc"</kbd>" close"</span><span class="grow"></span><span class="desk">"Local search works offline"</span></footer>
            </div>
        </div>
    }
}

/// Returns a text with the first occurrence of the query highlighted, ignoring case.
fn highlight_matches(text: &str, query: &str) -> Vec<AnyView> {
    let (lower, query) = (text.to_lowercase(), query.trim().to_lowercase());
    // Byte offsets differ between the texts if lowercase letters have another encoded length.
    match lower.find(&query).filter(|_| !query.is_empty() && lower.len() == text.len()) {
        Some(from) if text.is_char_boundary(from) && text.is_char_boundary(from + query.len()) => {
            let (before, rest) = text.split_at(from);
            let (hit, after) = rest.split_at(query.len());
            vec![
                before.to_owned().into_any(),
                view! { <mark>{hit.to_owned()}</mark> }.into_any(),
                after.to_owned().into_any(),
            ]
        }
        _ => vec![text.to_owned().into_any()],
    }
}

/// Converts a choice of a column value.
///
/// `selected` is set for a list column: the choice is then added to the list or removed from it.
fn item_from_choice(choice: Choice, selected: Option<&Vec<String>>) -> PaletteItem {
    let value = match selected {
        Some(selected) => {
            let mut ids = selected.clone();
            match ids.iter().position(|id| *id == choice.value) {
                Some(index) => drop(ids.remove(index)),
                None => ids.push(choice.value.clone()),
            }
            json!(ids)
        }
        None if choice.value.is_empty() => Value::Null,
        None => json!(choice.value),
    };
    let meta = selected.filter(|selected| selected.contains(&choice.value)).map_or("", |_| "Remove").to_owned();
    PaletteItem {
        group: String::new(),
        icon: choice.icon,
        label: choice.label,
        meta,
        id: choice.value,
        action: PaletteAction::SetValue(value),
    }
}

/// Returns a “New …” item for each type that the user may create and whose name matches the query.
fn create_actions(query: &str) -> Vec<PaletteItem> {
    let catalog = catalog();
    let can_create = |code: &str| {
        let has_parent = |(_, relation): (&pmo_domain::EntityType, &pmo_domain::ChildRelation)| {
            relation.owned && relation.parent_column.is_some() && relation.parent_type_column.is_none()
        };
        catalog.get(code).is_some_and(|kind| kind.can_create) || catalog.parent_relations(code).any(has_parent)
    };
    let kinds = catalog.types.values().filter(|kind| kind.code != "message" && can_create(kind.code.as_str()));
    let choices = kinds.map(|kind| Choice {
        value: kind.code.to_string(),
        label: format!("New {}", kind.name.to_lowercase()),
        icon: ChoiceIcon::Icon(kind.ui_icon.clone()),
    });
    let item = |choice: Choice| {
        let action = PaletteAction::Create(EntityCode::new(&choice.value).ok()?);
        Some(PaletteItem {
            group: "Create".to_owned(),
            icon: choice.icon,
            label: choice.label,
            meta: String::new(),
            id: choice.value,
            action,
        })
    };
    filter_choices(choices.collect(), query.trim().trim_start_matches("new ")).into_iter().filter_map(item).collect()
}

/// Converts a search hit of the server; `None` if it is malformed or its type is unknown.
fn item_from_hit(hit: &Value) -> Option<PaletteItem> {
    let (code, id, title) = (hit["entity"].as_str()?, hit["id"].as_str()?, hit["title"].as_str()?);
    let catalog = catalog();
    let kind = catalog.get(code)?;
    Some(PaletteItem {
        group: "From the server".to_owned(),
        icon: ChoiceIcon::Icon(kind.ui_icon.clone()),
        label: title.to_owned(),
        meta: kind.name.clone(),
        id: id.to_owned(),
        action: PaletteAction::Navigate(format!("/{code}/{id}")),
    })
}

/// Returns all items for a query: entities on this device and from the server, then commands.
///
/// `server_results` holds the results of the last server search and its query.
fn all_items(
    query: &str,
    server_results: &(String, Vec<PaletteItem>),
    entity: Option<&EntityRef>,
    columns: &[Column],
) -> Vec<PaletteItem> {
    let catalog = catalog();
    let text = query.trim();
    let mut items: Vec<PaletteItem> = client()
        .read(|e| e.find(text, MAX_RESULTS))
        .into_iter()
        .filter_map(|hit| {
            let kind = catalog.get(hit.entity.code.as_str())?;
            let action = PaletteAction::Navigate(format!("/{}/{}", hit.entity.code, hit.entity.id));
            let meta = if hit.code.is_empty() { kind.name.clone() } else { format!("{} · {}", hit.code, kind.name) };
            Some(PaletteItem {
                group: "On this device".to_owned(),
                icon: ChoiceIcon::Icon(kind.ui_icon.clone()),
                label: hit.name,
                meta,
                id: hit.entity.id.to_string(),
                action,
            })
        })
        .collect();
    // Results of an older query are ignored; entities that are listed already are skipped.
    if server_results.0 == text {
        let listed: Vec<String> = items.iter().map(|item| item.id.clone()).collect();
        items.extend(server_results.1.iter().filter(|item| !listed.contains(&item.id)).cloned());
    }
    let command = |group: String, icon: &str, label: String, action: PaletteAction| PaletteItem {
        group,
        icon: ChoiceIcon::Icon(icon.to_owned()),
        label,
        meta: String::new(),
        id: String::new(),
        action,
    };
    let mut commands = Vec::new();
    if let Some(entity) = entity {
        let name = client().read(|e| e.name(entity.code.as_str(), entity.id)).unwrap_or_default();
        for (n, column) in columns.iter().enumerate() {
            let (label, icon) = match &column.kind {
                ColumnKind::Datalabel { .. } => (format!("Change {}…", column.label.to_lowercase()), "circle"),
                _ if column.name.starts_with("assignee") => ("Assign to…".to_owned(), "user"),
                _ => (format!("Set {}…", column.label.to_lowercase()), "user"),
            };
            commands.push(command(format!("Actions on “{name}”"), icon, label, PaletteAction::ChooseColumn(n)));
        }
    }
    let destinations = catalog
        .types
        .values()
        .filter(|k| k.root_flag)
        .chain(catalog.types.values().filter(|k| !k.root_flag && k.code != "message"));
    commands.extend(destinations.map(|kind| {
        let action = PaletteAction::Navigate(format!("/{}", kind.code));
        command("Go to".to_owned(), &kind.ui_icon, kind.ui_label.clone(), action)
    }));
    let lower = text.to_lowercase();
    let is_match = |item: &PaletteItem| {
        lower.is_empty() || lower.split_whitespace().all(|word| item.label.to_lowercase().contains(word))
    };
    let max_commands = if lower.is_empty() { 14 } else { MAX_RESULTS };
    items.extend(commands.into_iter().filter(is_match).take(max_commands));
    if !lower.is_empty() {
        items.extend(create_actions(text).into_iter().take(4));
    }
    items
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;
    use wasm_bindgen_test::wasm_bindgen_test;

    #[wasm_bindgen_test]
    fn current_entity_is_read_from_the_url_path() {
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
