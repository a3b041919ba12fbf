//! What is said about a thing: comments with replies and reactions, settled or open, and a place to write. A comment is a row like any other: it is made offline as
//! well, and what is half written stays on the device.

use crate::client::{client, http, local_storage};
use crate::hooks::{catalogue, row_with, use_entity_mutation, use_offline_entity, use_rows};
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

/// What one can say with one click: the key that is stored, the sign, the words.
const REACTIONS: [(&str, &str, &str); 5] = [
    ("agree", "thumbs-up", "Agree"),
    ("thanks", "heart", "Thank you"),
    ("done", "check", "Done"),
    ("looking", "eye", "Looking at it"),
    ("celebrate", "party-popper", "Celebrate"),
];

/// Most names that are offered while a mention is typed.
const MAX_SUGGESTIONS: usize = 6;

/// A text with the people in it whom it names by `@Name`, as Markdown that names them for good; and who they are.
fn resolve_mentions(text: &str, people: &[(String, String)]) -> (String, Vec<String>) {
    let mut out = text.to_owned();
    let mut named = Vec::new();
    // Longer names first: 'Ada King' is not 'Ada'.
    for (id, name) in sort::sorted_by_key(people.to_vec(), |(_, name)| std::cmp::Reverse(name.len())) {
        let written = format!("@{name}");
        let mention = format!("@\u{200b}[{}]({MENTION}{id})", name.replace(['[', ']'], ""));
        let mut from = 0;
        while let Some(at) = out[from..].find(&written).map(|at| at + from).filter(|_| !name.is_empty()) {
            let end = at + written.len();
            // Neither within a word nor the beginning of a longer one.
            let apart = |c: Option<char>| c.is_none_or(|c| !c.is_alphanumeric());
            if apart(out[..at].chars().next_back()) && apart(out[end..].chars().next()) {
                out.replace_range(at..end, &mention);
                from = at + mention.len();
                if !named.contains(&id) {
                    named.push(id.clone());
                }
            } else {
                from = end;
            }
        }
    }
    (out.replace('\u{200b}', ""), named)
}

/// The part of a name that is being typed behind an `@` at the end of `before`.
fn mention_prefix(before: &str) -> Option<&str> {
    let (start, typed) = before.rsplit_once('@')?;
    let begins = start.chars().next_back().is_none_or(|c| c.is_whitespace() || c == '(');
    (begins && !typed.contains('\n') && typed.chars().count() <= 40 && typed.split(' ').count() <= 3).then_some(typed)
}

/// Comments on a thing, and a place to write one.
#[component]
pub fn CommentThreadList(
    /// The thing.
    entity: EntityRef,
    /// What one may do with it.
    level: Memo<Option<u64>>,
) -> impl IntoView {
    let Some(message) = catalogue().get("message").map(|t| t.code.clone()) else { return ().into_any() };
    let list = use_rows::<RowView>(ListKey::below(message.clone(), entity.clone(), "about_uuid"));
    let may_comment = Memo::new(move |_| level.get().is_some_and(|l| l >= u64::from(u8::from(Permission::Comment))));
    let may_edit = Memo::new(move |_| level.get().is_some_and(|l| l >= u64::from(u8::from(Permission::Edit))));
    let replying = RwSignal::new(None::<Uuid>);
    let about = StoredValue::new(entity.clone());
    // Threads: what answers nothing, or something that is not here, each with its answers; in the order in which they were said.
    let threads = Memo::new(move |_| {
        let rows = sort::sorted_by_key(list.get().rows, |r| {
            let when = format::text(&r.data, "created_ts");
            (when.is_empty(), when, format::text(&r.data, "id"))
        });
        let id = |row: &RowView, column: &str| format::text(&row.data, column).parse::<Uuid>().ok();
        let said: Vec<(Uuid, Option<Uuid>)> =
            rows.iter().filter_map(|r| Some((id(r, "id")?, id(r, "reply_to__message_id")))).collect();
        let here = |above: Option<Uuid>| said.iter().any(|(id, _)| Some(*id) == above);
        let roots = said.iter().filter(|(_, above)| !here(*above)).map(|(id, _)| *id);
        roots
            .map(|root| (root, said.iter().filter(|(_, above)| *above == Some(root)).map(|(id, _)| *id).collect()))
            .collect::<Vec<(Uuid, Vec<Uuid>)>>()
    });
    let code = StoredValue::new(message);
    // What is being written in a thread stays while others say something.
    let thread = move |root: Uuid| {
        let below = move || {
            threads
                .with(|all| all.iter().find(|(id, _)| *id == root).map(|(_, below)| below.clone()).unwrap_or_default())
        };
        let row = use_offline_entity::<RowView>(EntityRef::new(code.get_value(), root));
        let settled = Memo::new(move |_| {
            row.with(|r| r.as_ref().is_some_and(|r| r.data.get("resolved_flag") == Some(&Value::Bool(true))))
        });
        let own = Memo::new(move |_| row.with(|r| r.as_ref().is_some_and(|r| is_mine(&r.data))));
        let turn = move |_| {
            use_entity_mutation(code.get_value())
                .update(root, row_with("resolved_flag", json!(!settled.get_untracked())))
        };
        let acts = move || {
            let settle = (may_edit.get() || own.get()).then(|| {
                let on = settled.get();
                view! { <button type="button" class="btn quiet sm" on:click=turn>{icon(if on { "undo-2" } else { "check" })}{if on { "Open again" } else { "Settle" }}</button> }
            });
            view! { <div class="thread-acts"><button type="button" class="btn quiet sm" on:click=move |_| replying.set(Some(root))>"Reply"</button>{settle}</div> }
        };
        view! {
            <li class="thread" class:settled=reactive_attr(move || settled.get())>
                <ol class="timeline"><Comment code=code.get_value() id=root may_comment=may_comment/>
                    <For each=below key=|id| *id children=move |id| view! { <Comment code=code.get_value() id=id may_comment=may_comment/> }/></ol>
                {reactive_view(move || may_comment.get().then(acts))}
                {reactive_view(move || (replying.get() == Some(root)).then(|| view! { <Composer about=about.get_value() reply_to=Some(root) done=Callback::new(move |()| replying.set(None))/> }))}
            </li>
        }
    };
    let roots = move || threads.with(|all| all.iter().map(|(id, _)| *id).collect::<Vec<_>>());
    view! {
        <section class="section talk" aria-label="Comments">
            <header><h2>"Comments"</h2><span class="n">{reactive_view(move || list.with(|l| (!l.rows.is_empty()).then_some(l.rows.len())))}</span></header>
            <ol class="threads"><For each=roots key=|id| *id children=thread/></ol>
            {reactive_view(move || may_comment.get().then(|| view! { <Composer about=about.get_value() reply_to=None done=Callback::new(|()| ())/> }))}
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

/// One comment.
#[component]
fn Comment(code: EntityCode, id: Uuid, may_comment: Memo<bool>) -> impl IntoView {
    let row = use_offline_entity::<RowView>(EntityRef::new(code.clone(), id));
    let code = StoredValue::new(code);
    let text =
        move |column: &'static str| row.with(|r| r.as_ref().map(|r| format::text(&r.data, column)).unwrap_or_default());
    let mine = Memo::new(move |_| row.with(|r| r.as_ref().is_some_and(|r| is_mine(&r.data))));
    let body = Memo::new(move |_| text("body"));
    let editing = RwSignal::new(None::<String>);
    let save = move |_| {
        let now = editing.get_untracked().unwrap_or_default();
        if !now.trim().is_empty() && now != body.get_untracked() {
            use_entity_mutation(code.get_value()).update(id, row_with("body", json!(now.trim())));
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
    let given = move || {
        let reactions = row.with(|r| r.as_ref().and_then(|r| r.data.get("reactions").cloned())).unwrap_or_default();
        let me = current_person();
        REACTIONS
            .iter()
            .filter_map(|(key, sign, words)| {
                let people: Vec<&str> = reactions.get(key)?.as_array()?.iter().filter_map(Value::as_str).collect();
                let name = |id: &&str| match id.parse().ok().and_then(|id| client().read(|e| e.name("person", id))) {
                    _ if **id == me => "You".to_owned(),
                    named => named.unwrap_or_else(|| "A colleague".to_owned()),
                };
                let label = format!("{words}: {}", people.iter().map(name).collect::<Vec<_>>().join(", "));
                let on = people.contains(&me.as_str());
                (!people.is_empty()).then(|| view! { <button type="button" class="reaction" aria-pressed=on.to_string() title=label.clone() aria-label=label disabled=!may_comment.get()
                    on:click=move |_| react(key)>{icon(sign)}{people.len()}</button> })
            })
            .collect::<Vec<_>>()
    };
    let offer = move || {
        let one = |(key, sign, words): &(&'static str, &'static str, &'static str)| {
            let key = *key;
            view! { <button type="button" class="btn quiet icon sm" title=*words aria-label=*words on:click=move |_| { choosing.set(false); react(key); }>{icon(sign)}</button> }
        };
        REACTIONS.iter().map(one).collect::<Vec<_>>()
    };
    let head = move || {
        let (author, when) = (text("author__person_id"), text("created_ts"));
        let named = author.parse().ok().and_then(|id| client().read(|e| e.name("person", id)));
        let name =
            if mine.get() { "You".to_owned() } else { named.clone().unwrap_or_else(|| "A colleague".to_owned()) };
        let settled = row.with(|r| r.as_ref().is_some_and(|r| r.data.get("resolved_flag") == Some(&Value::Bool(true))));
        let sign = named.clone().unwrap_or_else(|| name.clone());
        view! { {value_view::avatar(&author, &sign)}<b>{name.clone()}</b><time datetime=when.clone()>{format::local_datetime(&when)}</time>
        {settled.then(|| view! { <span class="badge success">{icon("check")}"Settled"</span> })}{row.with(|r| r.as_ref().map(sync_badge))}<span class="grow"></span> }
    };
    let own_acts = move || {
        mine.get().then(|| view! {
            <button type="button" class="btn quiet icon sm" aria-label="Change what you said" on:click=move |_| editing.set(Some(body.get_untracked()))>{icon("pencil")}</button>
            <button type="button" class="btn quiet icon sm" aria-label="Delete what you said" on:click=move |_| use_entity_mutation(code.get_value()).delete(id)>{icon("trash-2")}</button>
        })
    };
    let reading = Memo::new(move |_| editing.with(Option::is_none));
    view! {
        <li class="comment"><div class="box">
            <header>{reactive_view(head)}
                {reactive_view(move || may_comment.get().then(|| view! { <button type="button" class="btn quiet icon sm" aria-label="React" aria-expanded=reactive_attr(move || choosing.get().to_string()) on:click=move |_| choosing.update(|c| *c = !*c)>{icon("smile-plus")}</button> }))}
                {reactive_view(own_acts)}
            </header>
            {reactive_view(move || if reading.get() { view! { <Markdown text=body/> }.into_any() } else {
                view! { <textarea class="input prose-edit" aria-label="Comment" prop:value=editing.get_untracked().unwrap_or_default() on:input=move |e| editing.set(Some(event_target_value(&e)))></textarea>
                    <div class="thread-acts"><button type="button" class="btn quiet sm" on:click=move |_| editing.set(None)>"Cancel"</button><button type="button" class="btn sm" on:click=save>"Save"</button></div> }.into_any()
            })}
            {reactive_view(move || choosing.get().then(|| view! { <div class="reactions" role="group" aria-label="React">{offer()}</div> }))}
            <div class="reactions">{reactive_view(given)}</div>
        </div></li>
    }
}

/// Where a comment is written. What is typed is kept on this device until it is said.
#[component]
fn Composer(about: EntityRef, reply_to: Option<Uuid>, done: Callback<()>) -> impl IntoView {
    let place = format!("saying.{}", reply_to.unwrap_or(about.id));
    let text = RwSignal::new(local_storage::get(&place).unwrap_or_default());
    let place = StoredValue::new(place);
    let set = move |now: String| {
        local_storage::set(&place.get_value(), &now);
        text.set(now);
    };
    // Who can be named: asked for with the first `@`; without a network those whose names this device knows.
    let people = RwSignal::new(None::<Vec<(String, String)>>);
    let about = StoredValue::new(about);
    let ask = move || {
        if people.with_untracked(Option::is_some) {
            return;
        }
        let known = client().read(|e| e.known_names("person"));
        people.set(Some(known.into_iter().map(|(id, name)| (id.to_string(), name)).collect()));
        let path = about.with_value(|a| format!("/{}/{}/audience", a.code, a.id));
        spawn_local(async move {
            if let Ok(answer) = http::request(http::Method::GET, &path, None, None).await {
                let one = |p: &Value| Some((p["id"].as_str()?.to_owned(), p["name"].as_str()?.to_owned()));
                people.set(Some(answer["data"].as_array().into_iter().flatten().filter_map(one).collect()));
            }
        });
    };
    // Names in what was kept are names again.
    if text.with_untracked(|text| text.contains('@')) {
        ask();
    }
    let naming = RwSignal::new(None::<String>);
    let at = RwSignal::new(0usize);
    let offered = Memo::new(move |_| {
        let Some(words) = naming.get() else { return Vec::new() };
        let choice = |(value, label): &(String, String)| Choice {
            value: value.clone(),
            label: label.clone(),
            sign: ChoiceIcon::Person,
        };
        let mut found = filter_choices(people.get().unwrap_or_default().iter().map(choice).collect(), &words);
        found.truncate(MAX_SUGGESTIONS);
        found
    });
    let area = NodeRef::<leptos::html::Textarea>::new();
    let caret = move || area.get_untracked().and_then(|a| a.selection_start().ok().flatten()).map_or(0, |n| n as usize);
    // The browser counts in UTF-16.
    let split = move |text: &str| {
        let units: Vec<u16> = text.encode_utf16().collect();
        let at = caret().min(units.len());
        (String::from_utf16_lossy(&units[..at]), String::from_utf16_lossy(&units[at..]))
    };
    let choose = Callback::new(move |name: String| {
        let (before, after) = split(&text.get_untracked());
        let typed = mention_prefix(&before).map_or(0, str::len);
        let before = format!("{}{name} ", &before[..before.len() - typed]);
        let place = u32::try_from(before.encode_utf16().count()).unwrap_or_default();
        set(format!("{before}{after}"));
        naming.set(None);
        if let Some(area) = area.get_untracked() {
            area.set_value(&text.get_untracked());
            let _ = area.set_selection_range(place, place);
            let _ = area.focus();
        }
    });
    let typed = move |event| {
        set(event_target_value(&event));
        let (before, _) = split(&text.get_untracked());
        let words = mention_prefix(&before).map(str::to_owned);
        if words.is_some() {
            ask();
        }
        at.set(0);
        naming.set(words);
    };
    let send = Callback::new(move |()| {
        let Some(code) = catalogue().get("message").map(|t| t.code.clone()) else { return };
        let (body, mentions) =
            resolve_mentions(text.get_untracked().trim(), &people.get_untracked().unwrap_or_default());
        if body.is_empty() {
            return;
        }
        let name: String = text.get_untracked().trim().lines().next().unwrap_or_default().chars().take(80).collect();
        let about = about.get_value();
        let mut values = row_with("body", json!(body));
        values.extend(row_with("name", json!(name)));
        values.extend(row_with("about_code", json!(about.code)));
        values.extend(row_with("about_uuid", json!(about.id)));
        values.extend(row_with("mentions", json!(mentions)));
        if let Some(above) = reply_to {
            values.extend(row_with("reply_to__message_id", json!(above)));
        }
        use_entity_mutation(code).create(values);
        set(String::new());
        done.run(());
    });
    let keys = move |event: leptos::ev::KeyboardEvent| {
        let command = event.ctrl_key() || event.meta_key();
        let found = offered.get_untracked();
        match event.key().as_str() {
            "Enter" if command => send.run(()),
            "ArrowDown" if !found.is_empty() => at.update(|n| *n = (*n + 1) % found.len()),
            "ArrowUp" if !found.is_empty() => at.update(|n| *n = (*n + found.len() - 1) % found.len()),
            "Enter" | "Tab" if !found.is_empty() => {
                choose.run(found[at.get_untracked().min(found.len() - 1)].label.clone())
            }
            "Escape" if !found.is_empty() => naming.set(None),
            _ => return,
        }
        event.prevent_default();
        event.stop_propagation();
    };
    let list = reactive_view(move || {
        let found = offered.get();
        (!found.is_empty()).then(|| {
            let lines: Vec<_> = found
                .into_iter()
                .enumerate()
                .map(|(n, choice)| {
                    let name = choice.label.clone();
                    view! { <div role="option" aria-selected=reactive_attr(move || (at.get() == n).to_string()) class:is-active=reactive_attr(move || at.get() == n) on:mousedown=|e| e.prevent_default()
                        on:click=move |_| choose.run(name.clone())>{value_view::avatar(&choice.value, &choice.label)}<span class="grow">{choice.label}</span></div> }
                })
                .collect();
            view! { <div class="menu naming" role="listbox" aria-label="People">{lines}</div> }
        })
    });
    let words = if reply_to.is_some() { "Write a reply" } else { "Write a comment, @ to name somebody" };
    let button = if reply_to.is_some() { "Reply" } else { "Comment" };
    view! {
        <div class="composer"><label><span class="vh">{if reply_to.is_some() { "Reply" } else { "Comment" }}</span><textarea rows="2" placeholder=words node_ref=area prop:value=reactive_attr(move || text.get()) on:input=typed on:keydown=keys></textarea></label>
            {list}
            <footer><span class="grow"></span>{reply_to.map(|_| view! { <button type="button" class="btn quiet sm" on:click=move |_| done.run(())>"Cancel"</button> })}
                <button type="button" class="btn sm" disabled=reactive_attr(move || text.with(|t| t.trim().is_empty())) on:click=move |_| send.run(())>{button}<kbd class="desk">"Ctrl ↵"</kbd></button></footer></div>
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wasm_bindgen_test::wasm_bindgen_test;

    #[wasm_bindgen_test]
    fn names_become_mentions_for_good() {
        let people = [("1", "Ada"), ("2", "Ada King"), ("3", "Eve")].map(|(id, name)| (id.to_owned(), name.to_owned()));
        let (text, named) = resolve_mentions("@Ada King and @Ada, not Eve", &people);
        assert_eq!(text, "@[Ada King](person:2) and @[Ada](person:1), not Eve");
        assert_eq!(named, ["2", "1"]);
        assert_eq!(resolve_mentions("x@Ada @Adam", &people), ("x@Ada @Adam".to_owned(), Vec::new()));
    }

    #[wasm_bindgen_test]
    fn a_name_is_typed_behind_its_sign() {
        assert_eq!(mention_prefix("ask @Ad"), Some("Ad"));
        assert_eq!(mention_prefix("@"), Some(""));
        assert_eq!(mention_prefix("(@Ada King"), Some("Ada King"));
        for not in ["a@example", "none", "@Ada\nnext", "@one two three four"] {
            assert_eq!(mention_prefix(not), None, "{not}");
        }
    }
}
