//! Keeps the plans in use up to date, as long as the app is open.

use super::frames::{pending_projects, schedule};
use super::registry::{add, projects};
use super::typed_edits;
use super::watcher::PlanWatcher;
use crate::client::client;
use crate::ui::overlay_state::OverlayState;
use leptos::prelude::*;

/// Keeps the plans in use up to date, as long as the app is open.
#[component]
pub(crate) fn PlanService() -> impl IntoView {
    typed_edits::install(expect_context::<OverlayState>());
    let status = client().status.clone();
    Effect::new(move |_| {
        status.track();
        let pending = pending_projects();
        pending.into_iter().for_each(add);
        projects().with_untracked(Clone::clone).into_iter().for_each(schedule);
    });
    let projects = projects();
    view! {
        <For each=move || projects.get() key=|project| *project let:project>
            <PlanWatcher project=project/>
        </For>
    }
}
