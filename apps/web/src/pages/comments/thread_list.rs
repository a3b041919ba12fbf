//! Comment threads of an entity.

use super::comment::{Comment, is_mine};
use super::composer::Composer;
use crate::hooks::{catalog, row_with, use_entity_mutation, use_offline_entity, use_rows};
use crate::ui::format;
use crate::ui::reactive::{reactive_attr, reactive_view};
use crate::ui::value_view::icon;
use leptos::prelude::*;
use pmo_domain::{EntityRef, Permission, sort};
use pmo_sync::{ListKey, RowView};
use serde_json::{Value, json};
use uuid::Uuid;

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
    let stored_entity = StoredValue::new(entity);
    // In order of creation; unsent comments come last.
    let threads = Memo::new(move |_| {
        let rows = sort::sorted_by_key(list.get().rows, |r| {
            let when = format::text(&r.data, "created_ts");
            (when.is_empty(), when, format::text(&r.data, "id"))
        });
        let id = |row: &RowView, column: &str| format::text(&row.data, column).parse::<Uuid>().ok();
        let comments: Vec<(Uuid, Option<Uuid>)> =
            rows.iter().filter_map(|r| Some((id(r, "id")?, id(r, "reply_to__message_id")))).collect();
        group_by_root(&comments)
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
            view! { <div class="thread-actions"><button type="button" class="btn quiet sm" on:click=move |_| replying.set(Some(root))>"Reply"</button>{resolve_button}</div> }
        };
        view! {
            <li class="thread" class:resolved=reactive_attr(move || resolved.get())>
                <ol class="timeline"><Comment code=code.get_value() id=root can_comment=can_comment/>
                    <For each=replies key=|id| *id children=move |id| view! { <Comment code=code.get_value() id=id can_comment=can_comment/> }/></ol>
                {reactive_view(move || can_comment.get().then(actions))}
                {reactive_view(move || (replying.get() == Some(root)).then(|| view! { <Composer entity=stored_entity.get_value() reply_to=Some(root) done=Callback::new(move |()| replying.set(None))/> }))}
            </li>
        }
    };
    let roots = move || threads.with(|all| all.iter().map(|(id, _)| *id).collect::<Vec<_>>());
    view! {
        <section class="section comments" aria-label="Comments">
            <header><h2>"Comments"</h2><span class="n">{reactive_view(move || list.with(|l| (!l.rows.is_empty()).then_some(l.rows.len())))}</span></header>
            <ol class="threads"><For each=roots key=|id| *id children=thread/></ol>
            {reactive_view(move || can_comment.get().then(|| view! { <Composer entity=stored_entity.get_value() reply_to=None done=Callback::new(|()| ())/> }))}
        </section>
    }
    .into_any()
}

/// Groups comments, given with the comment that each replies to, into threads: root and replies.
///
/// A thread contains replies to replies, too. A reply to a comment that is not given is a root. The
/// order is kept.
fn group_by_root(comments: &[(Uuid, Option<Uuid>)]) -> Vec<(Uuid, Vec<Uuid>)> {
    let index_of = |id: Option<Uuid>| comments.iter().position(|(other, _)| Some(*other) == id);
    let parents: Vec<Option<usize>> = comments.iter().map(|(_, parent)| index_of(*parent)).collect();
    let root_of = |start: usize| {
        let mut index = start;
        for _ in comments {
            match parents.get(index).copied().flatten() {
                Some(parent) => index = parent,
                None => return index,
            }
        }
        start // the comments reply to each other in a circle
    };
    let roots: Vec<usize> = (0..comments.len()).map(root_of).collect();
    let replies_to = |root: usize| {
        let replies = comments.iter().zip(&roots).enumerate().filter(|(index, (_, of))| **of == root && *index != root);
        replies.map(|(_, ((id, _), _))| *id).collect()
    };
    let is_root = |(index, _): &(usize, _)| roots.get(*index) == Some(index);
    comments.iter().enumerate().filter(is_root).map(|(index, (id, _))| (*id, replies_to(index))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use wasm_bindgen_test::wasm_bindgen_test;

    #[wasm_bindgen_test]
    fn thread_contains_replies_to_replies() {
        let [a, b, c, d, e] = [1, 2, 3, 4, 5].map(Uuid::from_u128);
        let comments = [(a, None), (b, Some(a)), (c, Some(b)), (d, None), (e, Some(Uuid::from_u128(9)))];
        assert_eq!(group_by_root(&comments), [(a, vec![b, c]), (d, vec![]), (e, vec![])]);
    }

    #[wasm_bindgen_test]
    fn comments_that_reply_to_each_other_remain_visible() {
        let [a, b, c] = [1, 2, 3].map(Uuid::from_u128);
        assert_eq!(group_by_root(&[(a, Some(b)), (b, Some(a)), (c, Some(b))]), [(a, vec![]), (b, vec![]), (c, vec![])]);
    }
}
