//! What typed values imply: columns that are written together with them.

use crate::client::client;
use pmo_domain::{EntityRef, Row};
use pmo_sync::Event;
use std::cell::Cell;

/// Function that returns the patch to write for what the user typed; `None` refuses the write.
type PatchExpander = fn(&EntityRef, Row) -> Option<Row>;

thread_local! {
    static EXPANDER: Cell<Option<PatchExpander>> = const { Cell::new(None) };
}

/// Sets the function through which the columns of all further writes pass.
pub(crate) fn set_patch_expander(expander: PatchExpander) {
    EXPANDER.set(Some(expander));
}

/// Returns the patch to write; `None` if the write is refused.
pub(super) fn expand_patch(entity: &EntityRef, patch: Row) -> Option<Row> {
    match EXPANDER.get() {
        Some(expander) => expander(entity, patch),
        None => Some(patch),
    }
}

/// Adds what the values of a draft imply to the draft; returns `false` if the write is refused.
pub(super) fn expand_draft(entity: &EntityRef) -> bool {
    let Some(draft) = client().read(|e| e.draft(entity).cloned()) else { return true };
    let Some(patch) = expand_patch(entity, draft.current_data.clone()) else { return false };
    let removed = draft.current_data.keys().filter(|field| !patch.contains_key(*field));
    let original = removed.filter_map(|field| Some((field, draft.original_data.get(field)?)));
    for (field, value) in original.chain(&patch) {
        let (entity, field, value) = (entity.clone(), field.clone(), value.clone());
        client().dispatch(Event::DraftField { entity, field, value });
    }
    true
}
