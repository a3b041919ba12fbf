//! Banner about a conflict.

use crate::client::client;
use crate::ui::conflict_dialog::conflict_of;
use crate::ui::overlay_state::OverlayState;
use crate::ui::reactive::reactive_view;
use crate::ui::value_view::icon;
use leptos::prelude::*;
use pmo_domain::EntityRef;
use pmo_sync::RowView;

/// Banner that a write of this entity is in conflict and must be resolved.
#[component]
pub(super) fn ConflictBanner(entity: EntityRef, row: Memo<Option<RowView>>) -> impl IntoView {
    let overlays = expect_context::<OverlayState>();
    let status = client().status.clone();
    let conflict = Memo::new(move |_| {
        status.track();
        row.with(|r| r.as_ref().is_some_and(|r| r.needs_attention)).then(|| conflict_of(&entity)).flatten()
    });
    reactive_view(move || {
        conflict.get().map(|id| {
            view! {
                <div class="banner danger strip" role="status">{icon("conflict")}
                    <span class="grow"><strong>"Conflict: another user changed the same field. "</strong>"Your change is saved locally until you resolve the conflict."</span>
                    <button class="btn sm" on:click=move |_| overlays.conflict_entry.set(Some(id))>"Review"</button>
                </div>
            }
        })
    })
}
