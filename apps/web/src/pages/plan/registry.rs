//! Plans in use: those of open pages, and those with pending writes.

use crate::client::client;
use leptos::prelude::*;
use pmo_device_plan::{DevicePlan, PlanUpdate};
use pmo_sync::Event;
use std::cell::RefCell;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;

/// Plan with its pages.
struct UsedPlan {
    plan: DevicePlan,
    /// Number of pages that show the plan.
    pages: usize,
    /// Counts changes of the plan.
    version: ArcRwSignal<u32>,
}

thread_local! {
    static PLANS: RefCell<BTreeMap<Uuid, UsedPlan>> = const { RefCell::new(BTreeMap::new()) };
    /// Projects in [`PLANS`].
    static PROJECTS: ArcRwSignal<BTreeSet<Uuid>> = ArcRwSignal::new(BTreeSet::new());
}

/// Returns the projects whose plans are in use.
pub(super) fn projects() -> ArcRwSignal<BTreeSet<Uuid>> {
    PROJECTS.with(Clone::clone)
}

/// Reads the plan of a project, if it is in use.
pub(super) fn with_plan<T>(project: Uuid, read: impl FnOnce(&DevicePlan) -> T) -> Option<T> {
    PLANS.with_borrow(|plans| plans.get(&project).map(|used| read(&used.plan)))
}

/// Returns the signal that counts changes of a plan.
pub(super) fn version_of(project: Uuid) -> ArcRwSignal<u32> {
    PLANS.with_borrow(|plans| plans.get(&project).map(|used| used.version.clone())).unwrap_or_default()
}

/// Adds a plan to those in use if it is missing, and calls `edit` with it.
fn retain<T>(project: Uuid, edit: impl FnOnce(&mut UsedPlan) -> T) -> Option<T> {
    let edited = PLANS.with_borrow_mut(|plans| {
        let used = match plans.entry(project) {
            Entry::Occupied(used) => used.into_mut(),
            Entry::Vacant(place) => {
                let plan = DevicePlan::new(project)?;
                place.insert(UsedPlan { plan, pages: 0, version: ArcRwSignal::new(0) })
            }
        };
        Some(edit(used))
    });
    announce();
    edited
}

/// Adds the plan of a project to those in use.
pub(super) fn add(project: Uuid) {
    retain(project, |_| ());
}

/// Adds a page to those that show a plan; returns the signal that counts changes of the plan.
pub(super) fn add_page(project: Uuid) -> ArcRwSignal<u32> {
    let version = retain(project, |used| {
        used.pages += 1;
        used.version.clone()
    });
    version.unwrap_or_default()
}

/// Removes a page from those that show a plan.
pub(super) fn remove_page(project: Uuid) {
    PLANS.with_borrow_mut(|plans| {
        if let Some(used) = plans.get_mut(&project) {
            used.pages = used.pages.saturating_sub(1);
        }
    });
}

/// Signals the projects in use, if they have changed.
fn announce() {
    let used: BTreeSet<Uuid> = PLANS.with_borrow(|plans| plans.keys().copied().collect());
    let projects = projects();
    if projects.with_untracked(|before| *before != used) {
        projects.set(used);
    }
}

/// Brings a plan to the state of the engine and shows the dates that it computed.
pub(super) fn update(project: Uuid) {
    let updated = PLANS.with_borrow_mut(|plans| {
        let used = plans.get_mut(&project)?;
        let update = client().read(|engine| used.plan.update(engine));
        Some((used.plan.task_code().clone(), update, used.version.clone()))
    });
    let Some((code, PlanUpdate { derived, is_changed }, version)) = updated else { return };
    if !derived.is_empty() {
        client().dispatch(Event::SetDerived { code, rows: derived });
    }
    if is_changed {
        version.update(|n| *n = n.wrapping_add(1));
    }
}

/// Removes a plan that no page shows, that shows no dates and is not `needed`.
pub(super) fn remove_unless_needed(project: Uuid, needed: &BTreeSet<Uuid>) {
    let is_unused = |used: &UsedPlan| used.pages == 0 && !used.plan.has_derived() && !needed.contains(&project);
    PLANS.with_borrow_mut(|plans| {
        if plans.get(&project).is_some_and(is_unused) {
            plans.remove(&project);
        }
    });
    announce();
}
