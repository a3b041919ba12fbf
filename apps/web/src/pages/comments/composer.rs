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

/// Text field for a new comment or reply. Its text is saved on the device until it is sent.
#[component]
pub(super) fn Composer(about: EntityRef, reply_to: Option<Uuid>, done: Callback<()>) -> impl IntoView {
    let storage_key = format!("saying.{}", reply_to.unwrap_or(about.id));
    let text = RwSignal::new(local_storage::get(&storage_key).unwrap_or_default());
    let storage_key = StoredValue::new(storage_key);
    let set = move |value: String| {
        local_storage::set(&storage_key.get_value(), &value);
        text.set(value);
    };
    // Candidates for mentions, loaded on the first `@`; offline, the names stored on the device.
    let people = RwSignal::new(None::<Vec<(String, String)>>);
    let about = StoredValue::new(about);
    let load_people = move || {
        if people.with_untracked(Option::is_some) {
            return;
        }
        let known = client().read(|e| e.known_names("person"));
        people.set(Some(known.into_iter().map(|(id, name)| (id.to_string(), name)).collect()));
        let path = about.with_value(|a| format!("/{}/{}/audience", a.code, a.id));
        spawn_local(async move {
            if let Ok(response) = http::request(http::Method::GET, &path, None, None).await {
                let person = |p: &Value| Some((p["id"].as_str()?.to_owned(), p["name"].as_str()?.to_owned()));
                people.set(Some(response["data"].as_array().into_iter().flatten().filter_map(person).collect()));
            }
        });
    };
    // A restored text may contain mentions: load the candidates to resolve them.
    if text.with_untracked(|text| text.contains('@')) {
        load_people();
    }
    let mention_query = RwSignal::new(None::<String>);
    let selected = RwSignal::new(0usize);
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
    let area = NodeRef::<leptos::html::Textarea>::new();
    let caret = move || area.get_untracked().and_then(|a| a.selection_start().ok().flatten()).map_or(0, |n| n as usize);
    // Browsers report the caret position in UTF-16 units.
    let split_at_caret = move |text: &str| {
        let units: Vec<u16> = text.encode_utf16().collect();
        let index = caret().min(units.len());
        (String::from_utf16_lossy(&units[..index]), String::from_utf16_lossy(&units[index..]))
    };
    let choose = Callback::new(move |name: String| {
        let (before, after) = split_at_caret(&text.get_untracked());
        let typed_len = mention_prefix(&before).map_or(0, str::len);
        let before = format!("{}{name} ", &before[..before.len() - typed_len]);
        let caret_position = u32::try_from(before.encode_utf16().count()).unwrap_or_default();
        set(format!("{before}{after}"));
        mention_query.set(None);
        if let Some(area) = area.get_untracked() {
            area.set_value(&text.get_untracked());
            let _ = area.set_selection_range(caret_position, caret_position);
            let _ = area.focus();
        }
    });
    let on_input = move |event| {
        set(event_target_value(&event));
        let (before, _) = split_at_caret(&text.get_untracked());
        let query = mention_prefix(&before).map(str::to_owned);
        if query.is_some() {
            load_people();
        }
        selected.set(0);
        mention_query.set(query);
    };
    let send = Callback::new(move |()| {
        let Some(code) = catalog().get("message").map(|t| t.code.clone()) else { return };
        let (body, mentions) =
            resolve_mentions(text.get_untracked().trim(), &people.get_untracked().unwrap_or_default());
        if body.is_empty() {
            return;
        }
        let name: String = text.get_untracked().trim().lines().next().unwrap_or_default().chars().take(80).collect();
        let about = about.get_value();
        let mut values = row_with("body", json!(body));
        values.extend(row_with("name", json!(name)));
        values.extend(row_with("target_code", json!(about.code)));
        values.extend(row_with("target_id", json!(about.id)));
        values.extend(row_with("mentions", json!(mentions)));
        if let Some(parent) = reply_to {
            values.extend(row_with("reply_to__message_id", json!(parent)));
        }
        use_entity_mutation(code).create(values);
        set(String::new());
        done.run(());
    });
    let on_keydown = move |event: leptos::ev::KeyboardEvent| {
        let command = event.ctrl_key() || event.meta_key();
        let found = suggestions.get_untracked();
        match event.key().as_str() {
            "Enter" if command => send.run(()),
            "ArrowDown" if !found.is_empty() => selected.update(|n| *n = (*n + 1) % found.len()),
            "ArrowUp" if !found.is_empty() => selected.update(|n| *n = (*n + found.len() - 1) % found.len()),
            "Enter" | "Tab" if !found.is_empty() => {
                choose.run(found[selected.get_untracked().min(found.len() - 1)].label.clone())
            }
            "Escape" if !found.is_empty() => mention_query.set(None),
            _ => return,
        }
        event.prevent_default();
        event.stop_propagation();
    };
    let suggestion_list = reactive_view(move || {
        let found = suggestions.get();
        (!found.is_empty()).then(|| {
            let lines: Vec<_> = found
                .into_iter()
                .enumerate()
                .map(|(n, choice)| {
                    let name = choice.label.clone();
                    view! { <div role="option" aria-selected=reactive_attr(move || (selected.get() == n).to_string()) class:is-active=reactive_attr(move || selected.get() == n) on:mousedown=|e| e.prevent_default()
                        on:click=move |_| choose.run(name.clone())>{value_view::avatar(&choice.value, &choice.label)}<span class="grow">{choice.label}</span></div> }
                })
                .collect();
            view! { <div class="menu naming" role="listbox" aria-label="People">{lines}</div> }
        })
    });
    let placeholder = if reply_to.is_some() { "Write a reply" } else { "Write a comment; @ to mention someone" };
    let button = if reply_to.is_some() { "Reply" } else { "Comment" };
    view! {
        <div class="composer"><label><span class="vh">{if reply_to.is_some() { "Reply" } else { "Comment" }}</span><textarea rows="2" placeholder=placeholder node_ref=area prop:value=reactive_attr(move || text.get()) on:input=on_input on:keydown=on_keydown></textarea></label>
            {suggestion_list}
            <footer><span class="grow"></span>{reply_to.map(|_| view! { <button type="button" class="btn quiet sm" on:click=move |_| done.run(())>"Cancel"</button> })}
                <button type="button" class="btn sm" disabled=reactive_attr(move || text.with(|t| t.trim().is_empty())) on:click=move |_| send.run(())>{button}<kbd class="desk">"Ctrl ↵"</kbd></button></footer></div>
    }
}
