//! Children of one type of an entity.

use crate::hooks::{use_entity, use_entity_codes};
use crate::pages::create::{LinkDialog, NewDialog};
use crate::pages::entity::EntityTabs;
use crate::pages::files::FileDropZone;
use crate::pages::import_export::ImportDialog;
use crate::pages::not_found::NotFoundPage;
use crate::pages::sharing::PresenceAvatars;
use crate::table::EntityTable;
use crate::ui::format;
use crate::ui::layout::{Banners, SyncStatusButton};
use crate::ui::reactive::{reactive_attr, reactive_view};
use crate::ui::value_view::icon;
use leptos::prelude::*;
use leptos_router::components::A;
use pmo_domain::{EntityCode, EntityRef, Permission};
use pmo_sync::{ListKey, RowView};

/// Table of the children of one type, with buttons to create, link and import.
#[component]
pub(crate) fn ChildrenPage(
    /// Parent entity.
    parent: EntityRef,
    /// Type of the children.
    child: EntityCode,
) -> impl IntoView {
    let codes = use_entity_codes();
    let row = use_entity::<RowView>(parent.clone());
    let creating = RwSignal::new(false);
    reactive_view(move || {
        let catalog = codes.get();
        let (Some(parent_type), Some(entity), Some(relation)) = (
            catalog.get(parent.code.as_str()).cloned(),
            catalog.get(child.as_str()).cloned(),
            catalog.child_relation(parent.code.as_str(), child.as_str()).cloned(),
        ) else {
            return if catalog.types.is_empty() { ().into_any() } else { view! { <NotFoundPage/> }.into_any() };
        };
        let key = ListKey {
            parent_filter: Some(pmo_sync::ParentFilter {
                parent: parent.clone(),
                column: relation.parent_column.clone(),
            }),
            ..ListKey::all(child.clone())
        };
        let (parent, child) = (parent.clone(), child.clone());
        let (has_parent_column, required_permission) =
            (relation.parent_column.is_some() && relation.parent_type_column.is_none(), relation.create_permission);
        let level = {
            let code = parent.code.clone();
            Memo::new(move |_| crate::hooks::known_permission(&code, &row.get()?))
        };
        let has_permission =
            move |required: Permission| level.get().is_some_and(|level| level >= u64::from(u8::from(required)));
        let can_create = move || has_parent_column && has_permission(required_permission);
        let drop_zone = {
            let (parent, is_artifact) = (parent.clone(), child == "artifact");
            reactive_view(move || {
                (is_artifact && has_permission(required_permission))
                    .then(|| view! { <FileDropZone entity=parent.clone()/> })
            })
        };
        let (importing, import) = (RwSignal::new(false), (child.clone(), parent.clone()));
        // Without a parent column the relation is a free link: existing entities are linked and
        // unlinked instead of created.
        let linked = relation.parent_column.is_none().then(|| parent.clone());
        let link_target = linked.clone().map(|parent| (parent, child.clone(), key.clone()));
        view! {
            <header class="topbar">
                <A href=format!("/{}", parent.code) attr:class="btn quiet icon lg phone" attr:aria-label="Back">{icon("chevron-left")}</A>
                <nav class="crumbs" aria-label="Breadcrumb"><ol>
                    <li><A href=format!("/{}", parent.code)>{parent_type.ui_label.clone()}</A></li>
                    <li>{icon("chevron-right")}<h1 aria-current="page">{reactive_view(move || row.get().map(|r| format::text(&r.data, "name")))}</h1></li>
                </ol></nav>
                {let name = entity.name.clone(); reactive_view(move || can_create().then(|| view! { <button class="btn sm" on:click=move |_| creating.set(true)>{icon("plus")}{name.clone()}</button> }))}
                {let label = format!("Add {}", entity.name.to_lowercase()); let is_linked = linked.is_some();
                    reactive_view(move || (is_linked && has_permission(Permission::Create)).then(|| view! { <button class="btn sm" on:click=move |_| creating.set(true)>{icon("plus")}{label.clone()}</button> }))}
                {reactive_view(move || can_create().then(|| view! { <button class="btn sm desk" on:click=move |_| importing.set(true)>{icon("file-up")}"Import"</button> }))}
                <PresenceAvatars entity=parent.clone()/>
                <SyncStatusButton compact=true/>
            </header>
            <EntityTabs parent=parent.clone()/>
            <Banners/>
            {reactive_view(move || importing.get().then(|| view! { <ImportDialog code=import.0.clone() parent=Some(import.1.clone()) open=importing/> }))}
            {drop_zone}
            // Without SHARE permission the class `looks` hides the unlink buttons.
            <div class="contents" class:view-only=reactive_attr(move || !has_permission(Permission::Share))><EntityTable entity=entity.clone() list=key linked_parent=linked/></div>
            {reactive_view(move || creating.get().then(|| match link_target.clone() {
                Some((parent, child, key)) => view! { <LinkDialog parent=parent child=child list=key open=creating/> }.into_any(),
                None => view! { <NewDialog code=child.clone() parent=Some((parent.clone(), relation.parent_column.clone().unwrap_or_default())) open=creating/> }.into_any(),
            }))}
        }
        .into_any()
    })
}
