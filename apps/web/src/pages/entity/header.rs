//! Bar above the page: breadcrumb, viewers and actions.

use super::crumbs::{Crumbs, parent_href};
use super::state::{EntityPageState, has_permission};
use crate::pages::import_export::EntityActions;
use crate::pages::sharing::{PresenceAvatars, SharingDialog};
use crate::ui::dialog::Dialog;
use crate::ui::layout::SyncStatusButton;
use crate::ui::offline_button::OfflineButton;
use crate::ui::overlay_state::OverlayState;
use crate::ui::reactive::reactive_view;
use crate::ui::toast::delete_with_undo;
use crate::ui::value_view::icon;
use leptos::prelude::*;
use leptos_router::components::A;
use leptos_router::hooks::use_navigate;
use pmo_domain::{EntityRef, EntityType, Permission};

/// Top bar of the page, with its dialogs: share, delete and further actions.
#[component]
pub(super) fn EntityHeader(kind: EntityType, entity: EntityRef, page: EntityPageState) -> impl IntoView {
    let can_delete = has_permission(page.level, Permission::Delete);
    let (sharing, deleting) = (RwSignal::new(false), RwSignal::new(false));
    let can_be_pinned = kind.children.iter().any(|relation| relation.owned);
    let back = parent_href(kind.clone(), page.row);
    let title = move || page.title();
    let (stored_entity, stored_kind) = (StoredValue::new(entity.clone()), StoredValue::new(kind.clone()));
    view! {
        <header class="topbar">
            <A href=move || back() attr:class="btn quiet icon lg phone" attr:aria-label="Back">{icon("chevron-left")}</A>
            <Crumbs kind=kind row=page.row/>
            <PresenceAvatars entity=entity.clone()/>
            {can_be_pinned.then(|| view! { <OfflineButton entity=entity.clone()/> })}
            <button class="btn quiet icon" aria-label="Share" title="Share" on:click=move |_| sharing.set(true)>{icon("users")}</button>
            {reactive_view(move || can_delete.get().then(|| view! { <button class="btn quiet icon" aria-label="Delete" title="Delete" on:click=move |_| deleting.set(true)>{icon("trash-2")}</button> }))}
            <EntityActions entity=entity title=Signal::derive(title)/>
            <SyncStatusButton compact=true/>
        </header>
        {reactive_view(move || sharing.get().then(|| view! { <SharingDialog entity=stored_entity.get_value() title=title() open=sharing/> }))}
        {reactive_view(move || deleting.get().then(|| view! { <DeleteDialog kind=stored_kind.get_value() entity=stored_entity.get_value() page=page open=deleting/> }))}
    }
}

/// Confirmation before the entity is deleted.
#[component]
fn DeleteDialog(kind: EntityType, entity: EntityRef, page: EntityPageState, open: RwSignal<bool>) -> impl IntoView {
    let overlays = expect_context::<OverlayState>();
    let navigate = use_navigate();
    let kind_name = kind.name.to_lowercase();
    let has_draft = page.draft.draft.with_untracked(|d| d.as_ref().is_some_and(|d| d.has_changes()));
    let lost_draft = if has_draft { " Unsaved changes are lost." } else { "" };
    let parent_href = parent_href(kind, page.row);
    let confirm = move |_| {
        open.set(false);
        page.draft.discard();
        let target = parent_href();
        delete_with_undo(overlays, vec![entity.clone()], format!("{} deleted", page.title()));
        navigate(&target, leptos_router::NavigateOptions::default());
    };
    let lead = format!("{} and its children are removed from all lists.{lost_draft}", untrack(|| page.title()));
    view! {
        <Dialog title=format!("Delete this {kind_name}?") lead=lead close=Callback::new(move |()| open.set(false))>
            <footer class="buttons"><button class="btn quiet" on:click=move |_| open.set(false)>"Cancel"</button>
                <button class="btn danger" on:click=confirm>"Delete"</button></footer>
        </Dialog>
    }
}
