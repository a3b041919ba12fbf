//! Comments on an entity: threads with replies and reactions, resolved or open, and the composer.
//!
//! A comment is an ordinary row, so it can be created offline. Unsent text is saved on the device.

use crate::client::{client, http, local_storage};
use crate::hooks::{catalog, row_with, use_entity_mutation, use_offline_entity, use_rows};
use crate::table::sync_badge;
use crate::ui::format;
use crate::ui::markdown::{MENTION, Markdown};
use crate::ui::picker::{Choice, ChoiceIcon, filter_choices};
use crate::ui::reactive::{reactive_attr, reactive_view};
use crate::ui::value_view::{self, icon};
use leptos::prelude::*;
use pmo_domain::{EntityCode, EntityRef, Permission, Row, sort};
use pmo_sync::{ListKey, RowView};
use serde_json::{Value, json};
use uuid::Uuid;
use wasm_bindgen_futures::spawn_local;

/// Available reactions: stored key, icon name and label.
const REACTIONS: [(&str, &str, &str); 5] = [
    ("agree", "thumbs-up", "Agree"),
    ("thanks", "heart", "Thank you"),
    ("done", "check", "Done"),
    ("looking", "eye", "Looking into it"),
    ("celebrate", "party-popper", "Celebrate"),
];

/// Maximum number of names that are suggested for a mention.
const MAX_SUGGESTIONS: usize = 6;

/// Replaces each `@Name` in `text` by a Markdown link with the id of the person.
///
/// Returns the new text and the ids of the mentioned people.
fn resolve_mentions(text: &str, people: &[(String, String)]) -> (String, Vec<String>) {
    let mut out = text.to_owned();
    let mut mentioned = Vec::new();
    // Longer names first, so that 'Ada King' is not read as 'Ada'.
    for (id, name) in sort::sorted_by_key(people.to_vec(), |(_, name)| std::cmp::Reverse(name.len())) {
        let literal = format!("@{name}");
        let mention = format!("@\u{200b}[{}]({MENTION}{id})", name.replace(['[', ']'], ""));
        let mut from = 0;
        while let Some(at) = out[from..].find(&literal).map(|at| at + from).filter(|_| !name.is_empty()) {
            let end = at + literal.len();
            // A mention must not be part of a longer word.
            let is_boundary = |c: Option<char>| c.is_none_or(|c| !c.is_alphanumeric());
            if is_boundary(out[..at].chars().next_back()) && is_boundary(out[end..].chars().next()) {
                out.replace_range(at..end, &mention);
                from = at + mention.len();
                if !mentioned.contains(&id) {
                    mentioned.push(id.clone());
                }
            } else {
                from = end;
            }
        }
    }
    (out.replace('\u{200b}', ""), mentioned)
}

/// Returns the partial name after an `@` at the end of `before`, or `None` if no mention is typed.
fn mention_prefix(before: &str) -> Option<&str> {
    let (start, typed) = before.rsplit_once('@')?;
    let at_word_start = start.chars().next_back().is_none_or(|c| c.is_whitespace() || c == '(');
    (at_word_start && !typed.contains('\n') && typed.chars().count() <= 40 && typed.split(' ').count() <= 3)
        .then_some(typed)
}

/// Comment threads of an entity, with a composer for users who can comment.
#[component]
pub(crate) fn CommentThreadList(
    /// Entity that the comments are about.
    entity: EntityRef,
    /// Permission of the user on the entity; `None` while unknown.
    level: Memo<Option<u64>>,
) -> impl IntoView {
    let Some(message) = catalog().get("message").map(|t| t.code.clone()) else { return ().into_any() };
    let list = use_rows::<RowView>(ListKey::children_of(message.clone(), entity.clone(), "target_id"));
    let can_comment = Memo::new(move |_| level.get().is_some_and(|l| l >= u64::from(u8::from(Permission::Comment))));
    let can_edit = Memo::new(move |_| level.get().is_some_and(|l| l >= u64::from(u8::from(Permission::Edit))));
    let replying = RwSignal::new(None::<Uuid>);
    let about = StoredValue::new(entity.clone());
    // Root comments with their replies, in order of creation; unsent comments come last. A reply to
    // a comment that is not loaded is treated as a root.
    let threads = Memo::new(move |_| {
        let rows = sort::sorted_by_key(list.get().rows, |r| {
            let when = format::text(&r.data, "created_ts");
            (when.is_empty(), when, format::text(&r.data, "id"))
        });
        let id = |row: &RowView, column: &str| format::text(&row.data, column).parse::<Uuid>().ok();
        let comments: Vec<(Uuid, Option<Uuid>)> =
            rows.iter().filter_map(|r| Some((id(r, "id")?, id(r, "reply_to__message_id")))).collect();
        let is_loaded = |parent: Option<Uuid>| comments.iter().any(|(id, _)| Some(*id) == parent);
        let roots = comments.iter().filter(|(_, parent)| !is_loaded(*parent)).map(|(id, _)| *id);
        roots
            .map(|root| {
                (root, comments.iter().filter(|(_, parent)| *parent == Some(root)).map(|(id, _)| *id).collect())
            })
            .collect::<Vec<(Uuid, Vec<Uuid>)>>()
    });
    let code = StoredValue::new(message);
    // Rendered once per root comment, so that a reply in progress survives new comments.
    let thread = move |root: Uuid| {
        let replies = move || {
            threads.with(|all| {
                all.iter().find(|(id, _)| *id == root).map(|(_, replies)| replies.clone()).unwrap_or_default()
            })
        };
        let row = use_offline_entity::<RowView>(EntityRef::new(code.get_value(), root));
        let resolved = Memo::new(move |_| {
            row.with(|r| r.as_ref().is_some_and(|r| r.data.get("resolved_flag") == Some(&Value::Bool(true))))
        });
        let own = Memo::new(move |_| row.with(|r| r.as_ref().is_some_and(|r| is_mine(&r.data))));
        let toggle_resolved = move |_| {
            use_entity_mutation(code.get_value())
                .update(root, row_with("resolved_flag", json!(!resolved.get_untracked())))
        };
        let actions = move || {
            let resolve_button = (can_edit.get() || own.get()).then(|| {
                let on = resolved.get();
                view! { <button type="button" class="btn quiet sm" on:click=toggle_resolved>{icon(if on { "undo-2" } else { "check" })}{if on { "Reopen" } else { "Resolve" }}</button> }
            });
            view! { <div class="thread-acts"><button type="button" class="btn quiet sm" on:click=move |_| replying.set(Some(root))>"Reply"</button>{resolve_button}</div> }
        };
        view! {
            <li class="thread" class:settled=reactive_attr(move || resolved.get())>
                <ol class="timeline"><Comment code=code.get_value() id=root can_comment=can_comment/>
                    <For each=replies key=|id| *id children=move |id| view! { <Comment code=code.get_value() id=id can_comment=can_comment/> }/></ol>
                {reactive_view(move || can_comment.get().then(actions))}
                {reactive_view(move || (replying.get() == Some(root)).then(|| view! { <Composer about=about.get_value() reply_to=Some(root) done=Callback::new(move |()| replying.set(None))/> }))}
            </li>
        }
    };
    let roots = move || threads.with(|all| all.iter().map(|(id, _)| *id).collect::<Vec<_>>());
    view! {
        <section class="section talk" aria-label="Comments">
            <header><h2>"Comments"</h2><span class="n">{reactive_view(move || list.with(|l| (!l.rows.is_empty()).then_some(l.rows.len())))}</span></header>
            <ol class="threads"><For each=roots key=|id| *id children=thread/></ol>
            {reactive_view(move || can_comment.get().then(|| view! { <Composer about=about.get_value() reply_to=None done=Callback::new(|()| ())/> }))}
        </section>
    }
    .into_any()
}

fn current_person() -> String {
    client().read(pmo_sync::Engine::person).map(|p| p.0.to_string()).unwrap_or_default()
}

fn is_mine(row: &Row) -> bool {
    let author = format::text(row, "author__person_id");
    author.is_empty() || author == current_person()
}

/// One comment with its reactions and, for the author, edit and delete.
#[component]
fn Comment(code: EntityCode, id: Uuid, can_comment: Memo<bool>) -> impl IntoView {
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
                    <div class="thread-acts"><button type="button" class="btn quiet sm" on:click=move |_| editing.set(None)>"Cancel"</button><button type="button" class="btn sm" on:click=save>"Save"</button></div> }.into_any()
            })}
            {reactive_view(move || choosing.get().then(|| view! { <div class="reactions" role="group" aria-label="React">{reaction_menu()}</div> }))}
            <div class="reactions">{reactive_view(reaction_buttons)}</div>
        </div></li>
    }
}

/// Text field for a new comment or reply. Its text is saved on the device until it is sent.
#[component]
fn Composer(about: EntityRef, reply_to: Option<Uuid>, done: Callback<()>) -> impl IntoView {
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

#[cfg(test)]
mod tests {
    use super::*;
    use wasm_bindgen_test::wasm_bindgen_test;

    #[wasm_bindgen_test]
    fn names_are_replaced_by_mentions() {
        let people = [("1", "Ada"), ("2", "Ada King"), ("3", "Eve")].map(|(id, name)| (id.to_owned(), name.to_owned()));
        let (text, mentioned) = resolve_mentions("@Ada King and @Ada, not Eve", &people);
        assert_eq!(text, "@[Ada King](person:2) and @[Ada](person:1), not Eve");
        assert_eq!(mentioned, ["2", "1"]);
        assert_eq!(resolve_mentions("x@Ada @Adam", &people), ("x@Ada @Adam".to_owned(), Vec::new()));
    }

    #[wasm_bindgen_test]
    fn mention_prefix_is_found_after_at_sign() {
        assert_eq!(mention_prefix("ask @Ad"), Some("Ad"));
        assert_eq!(mention_prefix("@"), Some(""));
        assert_eq!(mention_prefix("(@Ada King"), Some("Ada King"));
        for text in ["a@example", "none", "@Ada\nnext", "@one two three four"] {
            assert_eq!(mention_prefix(text), None, "{text}");
        }
    }
}
