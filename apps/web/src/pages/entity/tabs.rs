//! Tabs of an entity: overview and one per child type.

use crate::client::{client, http};
use crate::hooks::{use_entity, use_entity_codes, use_status};
use crate::ui::format;
use crate::ui::reactive::reactive_view;
use leptos::prelude::*;
use leptos_router::components::A;
use pmo_domain::EntityRef;
use pmo_sync::{ListKey, Operation, Query, RowView};
use serde_json::Value;
use std::collections::HashMap;
use wasm_bindgen_futures::spawn_local;

/// Tabs of an entity: its overview, then one tab per child type with the number of children.
#[component]
pub(crate) fn EntityTabs(
    /// Entity to which the tabs belong.
    parent: EntityRef,
    /// Content at the right end of the tab bar.
    #[prop(optional)]
    children: Option<Children>,
) -> impl IntoView {
    let codes = use_entity_codes();
    let base = format!("/{}/{}", parent.code, parent.id);
    // The default tab uses the URL of the entity itself.
    let default_tab = if parent.code == "project" { "task" } else { "overview" };
    // Number of children per type from the server; lists that are completely cached are counted
    // locally instead.
    let server_counts = RwSignal::new(HashMap::<String, u64>::new());
    let parent_ref = parent.clone();
    let cached_count = move |relation: &pmo_domain::ChildRelation| {
        let key = ListKey {
            parent_filter: Some(pmo_sync::ParentFilter {
                parent: parent_ref.clone(),
                column: relation.parent_column.clone(),
            }),
            ..ListKey::all(relation.code.clone())
        };
        client().version_signal(&Query::List(key.clone())).track();
        client().read(|e| e.fresh_count(&key)).map(|n| n as u64)
    };
    let path = format!("/{}/{}/dynamic-child-entity-tabs", parent.code, parent.id);
    let status = use_status();
    // Refetch the counts once all queued writes except updates have been sent.
    let all_sent = Memo::new(move |_| {
        let online = status.with(|s| s.online);
        online && client().read(|e| e.outbox().iter().all(|entry| matches!(entry.operation, Operation::Update { .. })))
    });
    let uploaded = crate::client::uploads::finished_count();
    Effect::new(move || {
        uploaded.track();
        if !all_sent.get() {
            return;
        }
        let path = path.clone();
        spawn_local(async move {
            if let Ok(response) = http::request(http::Method::GET, &path, None, None).await {
                let count = |tab: &Value| Some((tab["code"].as_str()?.to_owned(), tab["count"].as_u64()?));
                server_counts.try_set(response.as_array().into_iter().flatten().filter_map(count).collect());
            }
        });
    });
    // A memo: re-render the tabs when a count changes, not on every change of a row.
    let parent_code = parent.code.clone();
    let counts = Memo::new(move |_| {
        let (catalog, mut counts) = (codes.get(), server_counts.get());
        let children = catalog.get(parent_code.as_str()).map(|entity| &entity.children[..]).unwrap_or_default();
        counts
            .extend(children.iter().filter_map(|relation| Some((relation.code.to_string(), cached_count(relation)?))));
        counts
    });
    // The catalog may load after the page.
    let views = reactive_view(move || {
        let catalog = codes.get();
        let children = catalog.get(parent.code.as_str()).map(|entity| &entity.children[..]).unwrap_or_default();
        let child_types = children.iter().filter_map(|relation| catalog.get(relation.code.as_str()));
        let counts = counts.get();
        let tabs = child_types.map(|child| {
            let code = child.code.as_str();
            (code, child.ui_label.clone(), counts.get(code).copied())
        });
        let tab = |(tab, label, count): (&str, String, Option<u64>)| {
            let href = if tab == default_tab { base.clone() } else { format!("{base}/{tab}") };
            let count = count.filter(|n| *n > 0);
            view! { <A href=href exact=true>{label}{count.map(|n| view! { <span class="count">{n}</span> })}</A> }
        };
        std::iter::once(("overview", "Overview".to_owned(), None)).chain(tabs).map(tab).collect::<Vec<_>>()
    });
    // Scroll the current tab into view, which matters on narrow screens.
    let bar = NodeRef::<leptos::html::Nav>::new();
    // The counts make the tabs wider when they arrive: scroll again.
    let has_counts = Memo::new(move |_| server_counts.with(|counts| !counts.is_empty()));
    Effect::new(move || {
        codes.track();
        has_counts.track();
        let Some(bar) = bar.get() else { return };
        request_animation_frame(move || {
            if let Ok(Some(current)) = bar.query_selector("[aria-current=page]") {
                let options = web_sys::ScrollIntoViewOptions::new();
                options.set_inline(web_sys::ScrollLogicalPosition::Center);
                options.set_block(web_sys::ScrollLogicalPosition::Nearest);
                current.scroll_into_view_with_scroll_into_view_options(&options);
            }
        });
    });
    view! { <div class="subbar"><nav class="tabs" aria-label="Sections" node_ref=bar>{views}</nav>{children.map(|c| c())}</div> }
}

/// Returns the name of an entity for the breadcrumb.
pub(super) fn name_of(entity: EntityRef) -> Signal<String> {
    let row = use_entity::<RowView>(entity.clone());
    // The name may be known from a referring row before the row itself is loaded.
    let cached_name = move || client().read(|e| e.name(entity.code.as_str(), entity.id)).unwrap_or_default();
    Signal::derive(move || row.get().map_or_else(&cached_name, |r| format::text(&r.data, "name")))
}
