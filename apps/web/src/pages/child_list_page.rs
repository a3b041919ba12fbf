//! What hangs below one thing, type by type.

use super::NotFoundPage;
use super::create_dialogs::{LinkDialog, NewDialog};
use super::files::FileDropZone;
use super::import_export::ImportDialog;
use super::list::EntityTabs;
use super::sharing::PresenceAvatars;
use crate::hooks::{use_entity, use_entity_codes};
use crate::table::EntityTable;
use crate::ui::format;
use crate::ui::layout::{Banners, SyncStatusButton};
use crate::ui::reactive::{reactive_attr, reactive_view};
use crate::ui::value_view::icon;
use leptos::prelude::*;
use leptos_router::components::A;
use pmo_domain::{EntityCode, EntityRef, Permission};
use pmo_sync::{ListKey, RowView};

/// Children of one type of a thing.
#[component]
pub fn ChildrenPage(
    /// The thing above.
    parent: EntityRef,
    /// The type below.
    child: EntityCode,
) -> impl IntoView {
    let codes = use_entity_codes();
    let row = use_entity::<RowView>(parent.clone());
    let making = RwSignal::new(false);
    reactive_view(move || {
        let catalogue = codes.get();
        let (Some(above), Some(entity), Some(tie)) = (
            catalogue.get(parent.code.as_str()).cloned(),
            catalogue.get(child.as_str()).cloned(),
            catalogue.child_relation(parent.code.as_str(), child.as_str()).cloned(),
        ) else {
            return if catalogue.types.is_empty() { ().into_any() } else { view! { <NotFoundPage/> }.into_any() };
        };
        let key = ListKey {
            below: Some(pmo_sync::ParentFilter { parent: parent.clone(), column: tie.parent_column.clone() }),
            ..ListKey::all(child.clone())
        };
        let (parent, child) = (parent.clone(), child.clone());
        let (below, asks) = (tie.parent_column.is_some() && tie.parent_type_column.is_none(), tie.create_permission);
        let level = {
            let code = parent.code.clone();
            Memo::new(move |_| super::entity_page::known_permission(&code, &row.get()?))
        };
        let at_least = move |least: Permission| level.get().is_some_and(|level| level >= u64::from(u8::from(least)));
        let makeable = move || below && at_least(asks);
        let attaches = {
            let (above, files) = (parent.clone(), child == "artifact");
            reactive_view(move || (files && at_least(asks)).then(|| view! { <FileDropZone about=above.clone()/> }))
        };
        let (importing, import) = (RwSignal::new(false), (child.clone(), parent.clone()));
        // Where only links tie them, what is there already is added and taken out.
        let linked = tie.parent_column.is_none().then(|| parent.clone());
        let add = linked.clone().map(|parent| (parent, child.clone(), key.clone()));
        view! {
            <header class="topbar">
                <A href=format!("/{}", parent.code) attr:class="btn quiet icon lg phone" attr:aria-label="Back">{icon("chevron-left")}</A>
                <nav class="crumbs" aria-label="Breadcrumb"><ol>
                    <li><A href=format!("/{}", parent.code)>{above.ui_label.clone()}</A></li>
                    <li>{icon("chevron-right")}<h1 aria-current="page">{reactive_view(move || row.get().map(|r| format::text(&r.data, "name")))}</h1></li>
                </ol></nav>
                {let name = entity.name.clone(); reactive_view(move || makeable().then(|| view! { <button class="btn sm" on:click=move |_| making.set(true)>{icon("plus")}{name.clone()}</button> }))}
                {let words = format!("Add {}", entity.name.to_lowercase()); let tied = linked.is_some();
                    reactive_view(move || (tied && at_least(Permission::Create)).then(|| view! { <button class="btn sm" on:click=move |_| making.set(true)>{icon("plus")}{words.clone()}</button> }))}
                {reactive_view(move || makeable().then(|| view! { <button class="btn sm desk" on:click=move |_| importing.set(true)>{icon("file-up")}"Import"</button> }))}
                <PresenceAvatars entity=parent.clone()/>
                <SyncStatusButton compact=true/>
            </header>
            <EntityTabs parent=parent.clone()/>
            <Banners/>
            {reactive_view(move || importing.get().then(|| view! { <ImportDialog code=import.0.clone() parent=Some(import.1.clone()) open=importing/> }))}
            {attaches}
            // Who may not take out is not offered to.
            <div class="as-is" class:looks=reactive_attr(move || !at_least(Permission::Share))><EntityTable entity=entity.clone() list=key linked=linked/></div>
            {reactive_view(move || making.get().then(|| match add.clone() {
                Some((parent, child, key)) => view! { <LinkDialog parent=parent child=child list=key open=making/> }.into_any(),
                None => view! { <NewDialog code=child.clone() parent=Some((parent.clone(), tie.parent_column.clone().unwrap_or_default())) open=making/> }.into_any(),
            }))}
        }
        .into_any()
    })
}
