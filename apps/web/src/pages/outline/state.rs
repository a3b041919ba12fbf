//! State that the rows share.

use leptos::prelude::*;
use std::collections::HashSet;
use uuid::Uuid;

/// State shared by the rows of the outline.
#[derive(Clone, Copy)]
pub(super) struct OutlineState {
    /// Collapsed rows: their descendants are hidden.
    pub(super) collapsed: RwSignal<HashSet<Uuid>>,
    /// Row and column of the open option menu.
    pub(super) editing: RwSignal<Option<(Uuid, &'static str)>>,
    /// Row with the keyboard focus.
    pub(super) focused: RwSignal<Option<Uuid>>,
    pub(super) can_edit: Memo<bool>,
}
