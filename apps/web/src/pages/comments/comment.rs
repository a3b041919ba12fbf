//! One comment with its reactions.

use crate::client::client;
use crate::hooks::{row_with, use_entity_mutation, use_offline_entity};
use crate::table::sync_badge;
use crate::ui::format;
use crate::ui::markdown::Markdown;
use crate::ui::reactive::{reactive_attr, reactive_view};
use crate::ui::value_view::{self, icon};
use leptos::prelude::*;
use pmo_domain::{EntityCode, EntityRef, Row};
use pmo_sync::RowView;
use serde_json::{Value, json};
use uuid::Uuid;

/// Available reactions: stored key, icon name and label.
const REACTIONS: [(&str, &str, &str); 5] = [
    ("agree", "thumbs-up", "Agree"),
    ("thanks", "heart", "Thank you"),
    ("done", "check", "Done"),
    ("looking", "eye", "Looking into it"),
    ("celebrate", "party-popper", "Celebrate"),
];

fn current_person() -> String {
    client().read(pmo_sync::Engine::person).map(|p| p.0.to_string()).unwrap_or_default()
}

pub(super) fn is_mine(row: &Row) -> bool {
    let author = format::text(row, "author__person_id");
    author.is_empty() || author == current_person()
}

/// One comment with its reactions and, for the author, edit and delete.
#[component]
pub(super) fn Comment(code: EntityCode, id: Uuid, can_comment: Memo<bool>) -> impl IntoView {
    let row = use_offline_entity::<RowView>(EntityRef::new(code.clone(), id));
    let code = StoredValue::new(code);
    let text =
        move |column: &'static str| row.with(|r| r.as_ref().map(|r| format::text(&r.data, column)).unwrap_or_default());
    let mine = Memo::new(move |_| row.with(|r| r.as_ref().is_some_and(|r| is_mine(&r.data))));
    let body = Memo::new(move |_| text("body"));
    let editing = RwSignal::new(None::<String>);
    let save = move |_| {
        let new_body = editing.get_untracked().unwrap_or_default();
        if !new_body.trim().is_empty() && new_body != body.get_untracked() {
            use_entity_mutation(code.get_value()).update(id, row_with("body", json!(new_body.trim())));
        }
        editing.set(None);
    };
    let react = move |key: &'static str| {
        let mut all = row
            .with_untracked(|r| r.as_ref().and_then(|r| r.data.get("reactions")?.as_object().cloned()))
            .unwrap_or_default();
        let mut people = all.get(key).and_then(Value::as_array).cloned().unwrap_or_default();
        let me = json!(current_person());
        match people.iter().position(|p| *p == me) {
            Some(at) => drop(people.remove(at)),
            None => people.push(me),
        }
        all.insert(key.to_owned(), Value::Array(people));
        use_entity_mutation(code.get_value()).update(id, row_with("reactions", Value::Object(all)));
    };
    let choosing = RwSignal::new(false);
    let reaction_buttons = move || {
        let reactions = row.with(|r| r.as_ref().and_then(|r| r.data.get("reactions").cloned())).unwrap_or_default();
        let me = current_person();
        REACTIONS
            .iter()
            .filter_map(|(key, icon_name, reaction)| {
                let people: Vec<&str> = reactions.get(key)?.as_array()?.iter().filter_map(Value::as_str).collect();
                let name = |id: &&str| match id.parse().ok().and_then(|id| client().read(|e| e.name("person", id))) {
                    _ if **id == me => "You".to_owned(),
                    known_name => known_name.unwrap_or_else(|| "A colleague".to_owned()),
                };
                let label = format!("{reaction}: {}", people.iter().map(name).collect::<Vec<_>>().join(", "));
                let on = people.contains(&me.as_str());
                (!people.is_empty()).then(|| view! { <button type="button" class="reaction" aria-pressed=on.to_string() title=label.clone() aria-label=label disabled=!can_comment.get()
                    on:click=move |_| react(key)>{icon(icon_name)}{people.len()}</button> })
            })
            .collect::<Vec<_>>()
    };
    let reaction_menu = move || {
        let button = |(key, icon_name, label): &(&'static str, &'static str, &'static str)| {
            let key = *key;
            view! { <button type="button" class="btn quiet icon sm" title=*label aria-label=*label on:click=move |_| { choosing.set(false); react(key); }>{icon(icon_name)}</button> }
        };
        REACTIONS.iter().map(button).collect::<Vec<_>>()
    };
    let header = move || {
        let (author, when) = (text("author__person_id"), text("created_ts"));
        let known_name = author.parse().ok().and_then(|id| client().read(|e| e.name("person", id)));
        let name =
            if mine.get() { "You".to_owned() } else { known_name.clone().unwrap_or_else(|| "A colleague".to_owned()) };
        let resolved =
            row.with(|r| r.as_ref().is_some_and(|r| r.data.get("resolved_flag") == Some(&Value::Bool(true))));
        let avatar_name = known_name.clone().unwrap_or_else(|| name.clone());
        view! { {value_view::avatar(&author, &avatar_name)}<b>{name.clone()}</b><time datetime=when.clone()>{format::local_datetime(&when)}</time>
        {resolved.then(|| view! { <span class="badge success">{icon("check")}"Resolved"</span> })}{row.with(|r| r.as_ref().map(sync_badge))}<span class="grow"></span> }
    };
    let own_actions = move || {
        mine.get().then(|| view! {
            <button type="button" class="btn quiet icon sm" aria-label="Edit comment" on:click=move |_| editing.set(Some(body.get_untracked()))>{icon("pencil")}</button>
            <button type="button" class="btn quiet icon sm" aria-label="Delete comment" on:click=move |_| use_entity_mutation(code.get_value()).delete(id)>{icon("trash-2")}</button>
        })
    };
    let is_viewing = Memo::new(move |_| editing.with(Option::is_none));
    view! {
        <li class="comment"><div class="box">
            <header>{reactive_view(header)}
                {reactive_view(move || can_comment.get().then(|| view! { <button type="button" class="btn quiet icon sm" aria-label="React" aria-expanded=reactive_attr(move || choosing.get().to_string()) on:click=move |_| choosing.update(|c| *c = !*c)>{icon("smile-plus")}</button> }))}
                {reactive_view(own_actions)}
            </header>
            {reactive_view(move || if is_viewing.get() { view! { <Markdown text=body/> }.into_any() } else {
                view! { <textarea class="input prose-edit" aria-label="Comment" prop:value=editing.get_untracked().unwrap_or_default() on:input=move |e| editing.set(Some(event_target_value(&e)))></textarea>
                    <div class="thread-actions"><button type="button" class="btn quiet sm" on:click=move |_| editing.set(None)>"Cancel"</button><button type="button" class="btn sm" on:click=save>"Save"</button></div> }.into_any()
            })}
            {reactive_view(move || choosing.get().then(|| view! { <div class="reactions" role="group" aria-label="React">{reaction_menu()}</div> }))}
            <div class="reactions">{reactive_view(reaction_buttons)}</div>
        </div></li>
    }
}
