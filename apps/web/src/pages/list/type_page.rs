//! All entities of a type.

use crate::hooks::use_entity_codes;
use crate::pages::lazy_views::lazy_page_overlay;
use crate::pages::not_found::NotFoundPage;
use crate::table::EntityTable;
use crate::ui::layout::{Banners, SyncStatusButton};
use crate::ui::reactive::reactive_view;
use crate::ui::value_view::icon;
use leptos::prelude::*;
use pmo_domain::EntityCode;
use pmo_sync::ListKey;

/// Table of all entities of a type that are visible to the user.
#[component]
pub(crate) fn ListPage(
    /// Entity type.
    code: EntityCode,
) -> impl IntoView {
    let codes = use_entity_codes();
    let kind = {
        let code = code.clone();
        Memo::new(move |_| codes.get().get(code.as_str()).cloned())
    };
    let (creating, importing) = (RwSignal::new(false), RwSignal::new(false));
    let not_found = move || !codes.get().types.is_empty() && kind.get().is_none();
    view! {
        {reactive_view(move || if not_found() { view! { <NotFoundPage/> }.into_any() } else { ().into_any() })}
        {reactive_view(move || kind.get().map(|entity| {
            let key = ListKey::all(entity.code.clone());
            let code = entity.code.clone();
            let import_code = code.clone();
            // A type with a required parent is offered to all users: the dialog asks for the
            // parent, and the server checks the permission on it.
            let requires_parent = |relation: &pmo_domain::ChildRelation| relation.owned && entity.columns.iter().any(|c| c.required && relation.parent_column.as_ref() == Some(&c.name));
            let can_create = entity.can_create || codes.get().parent_relations(code.as_str()).any(|(_, relation)| requires_parent(relation));
            let can_import = can_create;
            let label = format!("New {}", entity.name.to_lowercase());
            view! {
                <header class="topbar">
                    <nav class="crumbs" aria-label="Breadcrumb"><ol><li><h1 aria-current="page">{entity.ui_label.clone()}</h1></li></ol></nav>
                    {can_import.then(|| view! { <button class="btn sm" on:click=move |_| importing.set(true)>{icon("file-up")}"Import"</button> })}
                    {can_create.then(|| view! { <button class="btn sm primary" on:click=move |_| creating.set(true)>{icon("plus")}<span class="desk">{label}</span><span class="phone">"New"</span></button> })}
                    <SyncStatusButton compact=true/>
                </header>
                <Banners/>
                <EntityTable entity=entity.clone() list=key/>
                {reactive_view(move || creating.get().then(|| {
                    let code = code.clone();
                    lazy_page_overlay(move |pages| (pages.new_dialog)(code.clone(), creating))
                }))}
                {reactive_view(move || importing.get().then(|| {
                    let code = import_code.clone();
                    lazy_page_overlay(move |pages| (pages.import_dialog)(code.clone(), importing))
                }))}
            }
        }))}
    }
}
