//! State of the overlays that can be opened on every page; provided as a context by the layout.

use leptos::prelude::*;
use pmo_domain::EntityCode;
use std::sync::Arc;
use uuid::Uuid;

/// Mode of the command palette.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PaletteMode {
    /// Search, and all commands.
    Search,
    /// Choice of a type to create.
    Create,
    /// Choice of a value for the quick-edit column with this index.
    SetColumn(usize),
}

/// State of the overlays that can be opened on every page.
#[derive(Clone, Copy)]
pub(crate) struct OverlayState {
    /// Whether the tray of pending and rejected changes is open.
    pub tray: RwSignal<bool>,
    /// Whether the dialog before a sign-out with unsent work is open.
    pub sign_out_open: RwSignal<bool>,
    /// Whether the menu of the small-screen layout is open.
    pub menu: RwSignal<bool>,
    /// Outbox entry whose conflict is being resolved.
    pub conflict_entry: RwSignal<Option<Uuid>>,
    /// Mode of the command palette; `None` while it is closed.
    pub palette_mode: RwSignal<Option<PaletteMode>>,
    /// Type of the entity that is being created in the global dialog.
    pub creating: RwSignal<Option<EntityCode>>,
    /// Action that the toast reports.
    pub toast: RwSignal<Option<UndoableAction>>,
}

/// A completed action that may be undone.
#[derive(Clone)]
pub(crate) struct UndoableAction {
    /// Message of the toast.
    pub message: String,
    /// Undoes the action, if that is possible; remains valid after the user leaves the page.
    pub undo: Option<Arc<dyn Fn() + Send + Sync>>,
}
