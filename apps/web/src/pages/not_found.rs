//! Page for addresses that lead to nothing.

use super::lazy_views::lazy_page_overlay;
use crate::hooks::use_status;
use crate::ui::layout::{Banners, SyncStatusButton};
use crate::ui::reactive::reactive_view;
use crate::ui::rejected_edits::OrphanedEdits;
use crate::ui::value_view::icon;
use leptos::prelude::*;
use pmo_domain::EntityRef;

/// Page for an entity or address that does not exist or is not visible to the user.
///
/// The two cases are not distinguished. If the device is offline, an unknown entity is reported as
/// not available offline instead.
#[component]
pub(crate) fn NotFoundPage(
    /// Requested entity, if the address names one.
    #[prop(optional)]
    entity: Option<EntityRef>,
) -> impl IntoView {
    let status = use_status();
    let (offline, is_entity) = (Memo::new(move |_| !status.get().online), entity.is_some());
    let message = reactive_view(move || {
        let (icon_name, title, text) = if offline.get() && is_entity {
            (
                "cloud-off",
                "Not available offline",
                "It has not been opened on this device before. It opens when the connection is restored.",
            )
        } else {
            (
                "search",
                "Not found",
                "It does not exist, or it is not shared with you. Ask the sender of the link for access.",
            )
        };
        view! { <span class="glyph">{icon(icon_name)}</span><h2>{title}</h2><p>{text}</p> }
    });
    view! {
        <header class="topbar"><nav class="crumbs" aria-label="Breadcrumb"></nav><SyncStatusButton compact=true/></header>
        <Banners/>
        <div class="content"><div class="blank" data-testid="not-found">
            {message}
            {entity.map(|entity| { let deleted = entity.clone(); view! { {lazy_page_overlay(move |pages| (pages.deleted)(deleted.clone()))}<OrphanedEdits entity=entity/> } })}
            <a class="btn" href="/project">"All projects"</a>
        </div></div>
    }
}
