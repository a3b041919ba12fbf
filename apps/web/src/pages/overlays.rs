//! Overlays that can be opened on every page: sync tray, sign-out and conflict dialogs, command
//! palette, create dialog, toasts, uploads and devtools.

use super::create::NewDialog;
use super::files::{UploadTray, prevent_window_drop};
use super::plan::PlanService;
use crate::ui::command_palette::Palette;
use crate::ui::conflict_dialog::ConflictDialog;
use crate::ui::devtools::Devtools;
use crate::ui::overlay_state::OverlayState;
use crate::ui::reactive::reactive_view;
use crate::ui::sign_out::SignOutDialog;
use crate::ui::sync_tray::SyncTray;
use crate::ui::toast::Toast;
use leptos::prelude::*;

/// Renders the open overlays.
#[component]
pub(crate) fn Overlays() -> impl IntoView {
    let overlays = expect_context::<OverlayState>();
    prevent_window_drop();
    view! {
        {reactive_view(move || overlays.tray.get().then(|| view! { <SyncTray/> }))}
        {reactive_view(move || overlays.sign_out_open.get().then(|| view! { <SignOutDialog/> }))}
        <ConflictDialog entry_id=overlays.conflict_entry/>
        <Palette/>
        {reactive_view(move || overlays.creating.get().map(|code| {
            let open = RwSignal::new(true);
            Effect::new(move || if !open.get() { overlays.creating.set(None) });
            view! { <NewDialog code=code parent=None open=open/> }
        }))}
        <div class="toasts" aria-live="polite">{reactive_view(move || overlays.toast.get().map(|action| view! { <Toast action=action/> }))}</div>
        <UploadTray/>
        <PlanService/>
        <Devtools/>
    }
}
