//! Plan of a project as a page uses it.

use super::frames::schedule;
use super::registry::{add_page, remove_page, with_plan};
use leptos::prelude::*;
use pmo_device_plan::{DevicePlan, PlanState};
use uuid::Uuid;

/// Plan of a project as a page uses it; the plan is kept up to date while the page is open.
#[derive(Clone)]
pub(crate) struct PlanHandle {
    project: Uuid,
    version: ArcRwSignal<u32>,
}

/// Returns the plan of a project and keeps it up to date until the component is unmounted.
pub(crate) fn use_plan(project: Uuid) -> PlanHandle {
    let version = add_page(project);
    on_cleanup(move || {
        remove_page(project);
        schedule(project);
    });
    PlanHandle { project, version }
}

impl PlanHandle {
    /// Reads the plan, and again after each change if the caller is reactive.
    ///
    /// `None` if the id is that of no project.
    pub(crate) fn with<T>(&self, read: impl FnOnce(&DevicePlan) -> T) -> Option<T> {
        self.version.track();
        with_plan(self.project, read)
    }

    /// Returns where the shown dates come from.
    pub(crate) fn state(&self) -> Option<PlanState> {
        self.with(|plan| plan.state().clone())
    }
}
