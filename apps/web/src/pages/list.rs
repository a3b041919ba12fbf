//! Things of a type, as a table whose columns come from the catalogue; and the ways to make one.

use super::{ImportDialogProps, NewDialogProps, NotFoundPage};
use crate::client::{client, http};
use crate::hooks::{use_entity, use_entity_codes, use_status};
use crate::lazy::lazy_overlay;
use crate::table::EntityTable;
use crate::ui::format;
use crate::ui::layout::{Banners, SyncStatusButton};
use crate::ui::reactive::reactive_view;
use crate::ui::value_view::icon;
use leptos::prelude::*;
use leptos_router::components::A;
use pmo_domain::{EntityCode, EntityRef};
use pmo_sync::{ListKey, Operation, Query, RowView};
use serde_json::Value;
use std::collections::HashMap;
use wasm_bindgen_futures::spawn_local;

/// Everything of a type that one may see.
#[component]
pub fn ListPage(
    /// The type.
    code: EntityCode,
) -> impl IntoView {
    let codes = use_entity_codes();
    let known = {
        let code = code.clone();
        Memo::new(move |_| codes.get().get(code.as_str()).cloned())
    };
    let (making, importing) = (RwSignal::new(false), RwSignal::new(false));
    let nothing_known = move || !codes.get().types.is_empty() && known.get().is_none();
    view! {
        {reactive_view(move || if nothing_known() { view! { <NotFoundPage/> }.into_any() } else { ().into_any() })}
        {reactive_view(move || known.get().map(|entity| {
            let key = ListKey::all(entity.code.clone());
            let code = entity.code.clone();
            let code_of = code.clone();
            // One that hangs below something may be made wherever one may make it there: its dialog asks where.
            let below = |tie: &pmo_domain::ChildRelation| tie.owned && entity.columns.iter().any(|c| c.required && tie.parent_column.as_ref() == Some(&c.name));
            let makeable = entity.can_create || codes.get().parent_relations(code.as_str()).any(|(_, tie)| below(tie));
            let importable = makeable;
            let words = format!("New {}", entity.name.to_lowercase());
            view! {
                <header class="topbar">
                    <nav class="crumbs" aria-label="Breadcrumb"><ol><li><h1 aria-current="page">{entity.ui_label.clone()}</h1></li></ol></nav>
                    {importable.then(|| view! { <button class="btn sm" on:click=move |_| importing.set(true)>{icon("file-up")}"Import"</button> })}
                    {makeable.then(|| view! { <button class="btn sm primary" on:click=move |_| making.set(true)>{icon("plus")}<span class="desk">{words}</span><span class="phone">"New"</span></button> })}
                    <SyncStatusButton compact=true/>
                </header>
                <Banners/>
                <EntityTable entity=entity.clone() list=key/>
                {reactive_view(move || making.get().then(|| {
                    let code = code.clone();
                    lazy_overlay(move |pages| (pages.new_dialog)(NewDialogProps::builder().code(code.clone()).parent(None).open(making).build()))
                }))}
                {reactive_view(move || importing.get().then(|| {
                    let code = code_of.clone();
                    lazy_overlay(move |pages| (pages.import_dialog)(ImportDialogProps::builder().code(code.clone()).parent(None).open(importing).build()))
                }))}
            }
        }))}
    }
}

/// The tabs of a thing: its own page, then what hangs below it.
#[component]
pub fn EntityTabs(
    /// The thing.
    parent: EntityRef,
    /// What stands at the right.
    #[prop(optional)]
    children: Option<Children>,
) -> impl IntoView {
    let codes = use_entity_codes();
    let address = format!("/{}/{}", parent.code, parent.id);
    // The tab that a thing opens on has the thing's own address.
    let first = if parent.code == "project" { "task" } else { "overview" };
    // How many hang below, as the server counts them; what this device holds whole it counts itself.
    let told = RwSignal::new(HashMap::<String, u64>::new());
    let above = parent.clone();
    let held = move |tie: &pmo_domain::ChildRelation| {
        let whole = ListKey {
            below: Some(pmo_sync::ParentFilter { parent: above.clone(), column: tie.parent_column.clone() }),
            ..ListKey::all(tie.code.clone())
        };
        client().version_signal(&Query::List(whole.clone())).track();
        client().read(|e| e.fresh_count(&whole)).map(|n| n as u64)
    };
    let path = format!("/{}/{}/dynamic-child-entity-tabs", parent.code, parent.id);
    let status = use_status();
    // Asked again when what was made or taken away here has arrived.
    let settled = Memo::new(move |_| {
        let online = status.with(|s| s.online);
        online && client().read(|e| e.outbox().iter().all(|entry| matches!(entry.operation, Operation::Update { .. })))
    });
    let uploaded = crate::client::uploads::finished_count();
    Effect::new(move || {
        uploaded.track();
        if !settled.get() {
            return;
        }
        let path = path.clone();
        spawn_local(async move {
            if let Ok(answer) = http::request(http::Method::GET, &path, None, None).await {
                let count = |tab: &Value| Some((tab["code"].as_str()?.to_owned(), tab["count"].as_u64()?));
                told.try_set(answer.as_array().into_iter().flatten().filter_map(count).collect());
            }
        });
    });
    // The tabs are drawn anew when a count changes, and not with each row that does.
    let above = parent.code.clone();
    let counts = Memo::new(move |_| {
        let (catalogue, mut counts) = (codes.get(), told.get());
        let children = catalogue.get(above.as_str()).map(|entity| &entity.children[..]).unwrap_or_default();
        counts.extend(children.iter().filter_map(|tie| Some((tie.code.to_string(), held(tie)?))));
        counts
    });
    // The types may come after the page.
    let views = reactive_view(move || {
        let catalogue = codes.get();
        let children = catalogue.get(parent.code.as_str()).map(|entity| &entity.children[..]).unwrap_or_default();
        let below = children.iter().filter_map(|tie| catalogue.get(tie.code.as_str()));
        let counts = counts.get();
        let tabs = below.map(|child| {
            let code = child.code.as_str();
            (code, child.ui_label.clone(), counts.get(code).copied())
        });
        let tab = |(tab, label, count): (&str, String, Option<u64>)| {
            let href = if tab == first { address.clone() } else { format!("{address}/{tab}") };
            let count = count.filter(|n| *n > 0);
            view! { <A href=href exact=true>{label}{count.map(|n| view! { <span class="count">{n}</span> })}</A> }
        };
        std::iter::once(("overview", "Overview".to_owned(), None)).chain(tabs).map(tab).collect::<Vec<_>>()
    });
    // The one that is open is in sight, on a phone too.
    let bar = NodeRef::<leptos::html::Nav>::new();
    // Counts make tabs wider when they come.
    let counted = Memo::new(move |_| told.with(|told| !told.is_empty()));
    Effect::new(move || {
        codes.track();
        counted.track();
        let Some(bar) = bar.get() else { return };
        request_animation_frame(move || {
            if let Ok(Some(here)) = bar.query_selector("[aria-current=page]") {
                let how = web_sys::ScrollIntoViewOptions::new();
                how.set_inline(web_sys::ScrollLogicalPosition::Center);
                how.set_block(web_sys::ScrollLogicalPosition::Nearest);
                here.scroll_into_view_with_scroll_into_view_options(&how);
            }
        });
    });
    view! { <div class="subbar"><nav class="tabs" aria-label="Parts" node_ref=bar>{views}</nav>{children.map(|c| c())}</div> }
}

/// The name of a thing for a crumb.
pub fn name_of(entity: EntityRef) -> Signal<String> {
    let row = use_entity::<RowView>(entity.clone());
    // A row that names it may have come sooner than itself.
    let named = move || client().read(|e| e.name(entity.code.as_str(), entity.id)).unwrap_or_default();
    Signal::derive(move || row.get().map_or_else(&named, |r| format::text(&r.data, "name")))
}
