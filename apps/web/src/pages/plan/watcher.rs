//! Observers of one plan.

use super::frames::schedule;
use super::registry::{update, version_of, with_plan};
use crate::client::client;
use crate::hooks::observe;
use leptos::prelude::*;
use pmo_device_plan::DevicePlan;
use pmo_sync::Query;
use uuid::Uuid;

/// Observes the rows of a plan and schedules its computation after each change.
#[component]
pub(super) fn PlanWatcher(project: Uuid) -> impl IntoView {
    let rows = StoredValue::new(Vec::<Query>::new());
    let queries = RwSignal::new(Vec::<Query>::new());
    // The rows tell which predecessors in other projects the plan needs too.
    let refresh = move || {
        let needed = with_plan(project, DevicePlan::queries).unwrap_or_default();
        if rows.with_value(|known| *known != needed) {
            rows.set_value(needed.clone());
            queries.set(needed);
        }
    };
    let version = version_of(project);
    update(project);
    refresh();
    Effect::new(move |_| queries.get().into_iter().for_each(observe));
    Effect::new(move |_| {
        for query in queries.get() {
            client().version_signal(&query).track();
        }
        version.track();
        refresh();
        schedule(project);
    });
}
