//! Text field for a new comment or reply.

use super::mentions::{mention_prefix, resolve_mentions};
use crate::client::{client, http, local_storage};
use crate::hooks::{catalog, row_with, use_entity_mutation};
use crate::ui::picker::{Choice, ChoiceIcon, filter_choices};
use crate::ui::reactive::{reactive_attr, reactive_view};
use crate::ui::value_view;
use leptos::prelude::*;
use pmo_domain::EntityRef;
use serde_json::{Value, json};
use uuid::Uuid;
use wasm_bindgen_futures::spawn_local;

/// Maximum number of names that are suggested for a mention.
const MAX_SUGGESTIONS: usize = 6;

/// State of a composer.
#[derive(Clone, Copy)]
struct ComposerState {
    /// Entity that the comment is about.
    entity: StoredValue<EntityRef>,
    reply_to: Option<Uuid>,
    done: Callback<()>,
    storage_key: StoredValue<String>,
    text: RwSignal<String>,
    /// Candidates for mentions, as id and name; `None` until the first `@`.
    people: RwSignal<Option<Vec<(String, String)>>>,
    /// Partial name after the `@` before the caret.
    mention_query: RwSignal<Option<String>>,
    suggestions: Memo<Vec<Choice>>,
    /// Index of the active suggestion.
    selected: RwSignal<usize>,
    area: NodeRef<leptos::html::Textarea>,
}

fn use_composer(entity: EntityRef, reply_to: Option<Uuid>, done: Callback<()>) -> ComposerState {
    let storage_key = format!("saying.{}", reply_to.unwrap_or(entity.id));
    let text = local_storage::get(&storage_key).unwrap_or_default();
    let (people, mention_query) = (RwSignal::new(None::<Vec<(String, String)>>), RwSignal::new(None::<String>));
    let suggestions = Memo::new(move |_| {
        let Some(query) = mention_query.get() else { return Vec::new() };
        let choice = |(value, label): &(String, String)| Choice {
            value: value.clone(),
            label: label.clone(),
            icon: ChoiceIcon::Person,
        };
        let mut found = filter_choices(people.get().unwrap_or_default().iter().map(choice).collect(), &query);
        found.truncate(MAX_SUGGESTIONS);
        found
    });
    // A restored text may contain mentions: load the candidates to resolve them.
    let has_mentions = text.contains('@');
    let state = ComposerState {
        entity: StoredValue::new(entity),
        reply_to,
        done,
        storage_key: StoredValue::new(storage_key),
        text: RwSignal::new(text),
        people,
        mention_query,
        suggestions,
        selected: RwSignal::new(0),
        area: NodeRef::new(),
    };
    if has_mentions {
        state.load_people();
    }
    state
}

impl ComposerState {
    /// Sets the text and saves it on the device.
    fn set_text(&self, value: String) {
        local_storage::set(&self.storage_key.get_value(), &value);
        self.text.set(value);
    }

    /// Loads the candidates for mentions once; offline, the names stored on the device.
    fn load_people(self) {
        if self.people.with_untracked(Option::is_some) {
            return;
        }
        let known = client().read(|e| e.known_names("person"));
        self.people.set(Some(known.into_iter().map(|(id, name)| (id.to_string(), name)).collect()));
        let path = self.entity.with_value(|entity| format!("/{}/{}/audience", entity.code, entity.id));
        spawn_local(async move {
            if let Ok(response) = http::request(http::Method::GET, &path, None, None).await {
                let person = |p: &Value| Some((p["id"].as_str()?.to_owned(), p["name"].as_str()?.to_owned()));
                self.people.set(Some(response["data"].as_array().into_iter().flatten().filter_map(person).collect()));
            }
        });
    }

    /// Returns the text before and after the caret.
    fn split_at_caret(&self) -> (String, String) {
        let caret = self.area.get_untracked().and_then(|area| area.selection_start().ok().flatten());
        // Browsers report the caret position in UTF-16 units.
        let units: Vec<u16> = self.text.get_untracked().encode_utf16().collect();
        let index = caret.map_or(0, |n| n as usize).min(units.len());
        (String::from_utf16_lossy(&units[..index]), String::from_utf16_lossy(&units[index..]))
    }

    /// Completes the mention before the caret with `name`.
    fn choose(&self, name: &str) {
        let (before, after) = self.split_at_caret();
        let typed_len = mention_prefix(&before).map_or(0, str::len);
        let before = format!("{}{name} ", &before[..before.len() - typed_len]);
        let caret_position = u32::try_from(before.encode_utf16().count()).unwrap_or_default();
        self.set_text(format!("{before}{after}"));
        self.mention_query.set(None);
        if let Some(area) = self.area.get_untracked() {
            area.set_value(&self.text.get_untracked());
            let _ = area.set_selection_range(caret_position, caret_position);
            let _ = area.focus();
        }
    }

    fn on_input(self, value: String) {
        self.set_text(value);
        let (before, _) = self.split_at_caret();
        let query = mention_prefix(&before).map(str::to_owned);
        if query.is_some() {
            self.load_people();
        }
        self.selected.set(0);
        self.mention_query.set(query);
    }

    /// Creates the comment and clears the text.
    fn send(&self) {
        let Some(code) = catalog().get("message").map(|t| t.code.clone()) else { return };
        let text = self.text.get_untracked();
        let (body, mentions) = resolve_mentions(text.trim(), &self.people.get_untracked().unwrap_or_default());
        if body.is_empty() {
            return;
        }
        let name: String = text.trim().lines().next().unwrap_or_default().chars().take(80).collect();
        let entity = self.entity.get_value();
        let mut values = row_with("body", json!(body));
        values.extend(row_with("name", json!(name)));
        values.extend(row_with("target_code", json!(entity.code)));
        values.extend(row_with("target_id", json!(entity.id)));
        values.extend(row_with("mentions", json!(mentions)));
        if let Some(parent) = self.reply_to {
            values.extend(row_with("reply_to__message_id", json!(parent)));
        }
        use_entity_mutation(code).create(values);
        self.set_text(String::new());
        self.done.run(());
    }

    fn on_keydown(&self, event: &leptos::ev::KeyboardEvent) {
        let command = event.ctrl_key() || event.meta_key();
        let found = self.suggestions.get_untracked();
        match event.key().as_str() {
            "Enter" if command => self.send(),
            "ArrowDown" if !found.is_empty() => self.selected.update(|n| *n = (*n + 1) % found.len()),
            "ArrowUp" if !found.is_empty() => self.selected.update(|n| *n = (*n + found.len() - 1) % found.len()),
            "Enter" | "Tab" if !found.is_empty() => {
                self.choose(&found[self.selected.get_untracked().min(found.len() - 1)].label)
            }
            "Escape" if !found.is_empty() => self.mention_query.set(None),
            _ => return,
        }
        event.prevent_default();
        event.stop_propagation();
    }
}

/// Text field for a new comment or reply. Its text is saved on the device until it is sent.
#[component]
pub(super) fn Composer(entity: EntityRef, reply_to: Option<Uuid>, done: Callback<()>) -> impl IntoView {
    let state = use_composer(entity, reply_to, done);
    let (text, selected) = (state.text, state.selected);
    let suggestion_list = reactive_view(move || {
        let found = state.suggestions.get();
        (!found.is_empty()).then(|| {
            let lines: Vec<_> = found
                .into_iter()
                .enumerate()
                .map(|(n, choice)| {
                    let name = choice.label.clone();
                    view! { <div role="option" aria-selected=reactive_attr(move || (selected.get() == n).to_string()) class:is-active=reactive_attr(move || selected.get() == n) on:mousedown=|e| e.prevent_default()
                        on:click=move |_| state.choose(&name)>{value_view::avatar(&choice.value, &choice.label)}<span class="grow">{choice.label}</span></div> }
                })
                .collect();
            view! { <div class="menu mention-menu" role="listbox" aria-label="People">{lines}</div> }
        })
    });
    let placeholder = if reply_to.is_some() { "Write a reply" } else { "Write a comment; @ to mention someone" };
    let label = if reply_to.is_some() { "Reply" } else { "Comment" };
    view! {
        <div class="composer"><label><span class="vh">{label}</span><textarea rows="2" placeholder=placeholder node_ref=state.area prop:value=reactive_attr(move || text.get()) on:input=move |e| state.on_input(event_target_value(&e)) on:keydown=move |e| state.on_keydown(&e)></textarea></label>
            {suggestion_list}
            <footer><span class="grow"></span>{reply_to.map(|_| view! { <button type="button" class="btn quiet sm" on:click=move |_| done.run(())>"Cancel"</button> })}
                <button type="button" class="btn sm" disabled=reactive_attr(move || text.with(|t| t.trim().is_empty())) on:click=move |_| state.send()>{label}<kbd class="desk">"Ctrl ↵"</kbd></button></footer></div>
    }
}
