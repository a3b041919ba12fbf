//! Dialog before a sign-out with unsent work.

use super::dialog::Dialog;
use super::overlay_state::OverlayState;
use crate::client::client;
use leptos::prelude::*;
use wasm_bindgen_futures::spawn_local;

/// Asks whether unsent work is kept on the device for the next sign-in or discarded.
#[component]
pub(crate) fn SignOutDialog() -> impl IntoView {
    let overlays = expect_context::<OverlayState>();
    let close = Callback::new(move |()| overlays.sign_out_open.set(false));
    let unsent = client().read(|e| e.outbox().len() + e.draft_count());
    view! {
        <Dialog title="Sign out with unsent work?" lead=format!("{unsent} unsent change{} or draft{0} on this device.", if unsent == 1 { "" } else { "s" }) close=close>
            <footer class="buttons">
                <button class="btn quiet" on:click=move |_| close.run(())>"Cancel"</button>
                <button class="btn danger" on:click=move |_| spawn_local(client().sign_out(false))>"Discard and sign out"</button>
                <button class="btn primary" on:click=move |_| spawn_local(client().sign_out(true))>"Keep until next sign-in"</button>
            </footer>
        </Dialog>
    }
}
