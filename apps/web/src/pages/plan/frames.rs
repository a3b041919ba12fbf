//! When plans are computed: at most once in a frame.

use super::registry::{remove_unless_needed, update};
use crate::client::client;
use leptos::prelude::*;
use pmo_device_plan::projects_with_pending_inputs;
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::time::Duration;
use uuid::Uuid;

/// Maximum number of plans that pending writes keep in use; further ones show the server's dates.
const MAX_BACKGROUND_PLANS: usize = 8;
/// Delay of a computation while the page is hidden, where no frames are painted.
const HIDDEN_DELAY: Duration = Duration::from_millis(50);

thread_local! {
    /// Projects whose plans must be brought up to date in the next frame.
    static DUE: RefCell<BTreeSet<Uuid>> = const { RefCell::new(BTreeSet::new()) };
}

/// Returns the projects whose plans pending writes may change.
pub(super) fn pending_projects() -> BTreeSet<Uuid> {
    client().read(projects_with_pending_inputs).into_iter().take(MAX_BACKGROUND_PLANS).collect()
}

/// Brings a plan up to date in the next frame.
pub(super) fn schedule(project: Uuid) {
    let is_first = DUE.with_borrow_mut(|due| {
        due.insert(project);
        due.len() == 1
    });
    if !is_first {
        return;
    }
    if document().hidden() {
        set_timeout(run, HIDDEN_DELAY);
    } else {
        request_animation_frame(run);
    }
}

fn run() {
    let pending = pending_projects();
    for project in DUE.take() {
        update(project);
        remove_unless_needed(project, &pending);
    }
}
