//! Source of the dates of a plan, as text.

use super::handle::PlanHandle;
use crate::client::client;
use crate::ui::reactive::reactive_view;
use crate::ui::value_view::icon;
use leptos::prelude::*;
use pmo_device_plan::{DevicePlan, PlanState};
use pmo_sync::Query;

/// Message that the dates come from the server, because this device does not hold the whole plan.
#[component]
pub(crate) fn PlanNotice(plan: PlanHandle) -> impl IntoView {
    let shows_server_dates = Memo::new(move |_| {
        let is_partial = matches!(plan.state(), Some(PlanState::ServerDates { .. }));
        is_partial && !plan.with(is_loading).unwrap_or(true)
    });
    reactive_view(move || {
        shows_server_dates.get().then(|| {
            view! {
                <div class="banner strip" role="status" data-testid="server-dates">{icon("info")}
                    <span class="grow">"Dates from the server: this device does not hold the whole plan."</span>
                </div>
            }
        })
    })
}

/// Returns whether lists of the plan are still to come; tracks the lists and the connection.
fn is_loading(plan: &DevicePlan) -> bool {
    client().status.track();
    let queries = plan.queries();
    let mut lists = queries.iter().filter(|query| matches!(query, Query::List(_))).peekable();
    let is_to_come = |query: &Query| {
        client().version_signal(query).track();
        let Query::List(key) = query else { return false };
        client().read(|engine| {
            let list = engine.list(key);
            list.fetching || (!list.loaded && !list.failed && engine.status().online)
        })
    };
    // Before the catalog is loaded, no list is known.
    lists.peek().is_none() || lists.any(is_to_come)
}
