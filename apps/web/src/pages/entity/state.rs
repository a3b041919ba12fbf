//! State that the components of the page share.

use crate::hooks::DraftHandle;
use crate::ui::format;
use leptos::prelude::*;
use pmo_domain::Permission;
use pmo_sync::RowView;
use serde_json::Value;

/// State shared by the components of the page.
#[derive(Clone, Copy)]
pub(super) struct EntityPageState {
    pub(super) row: Memo<Option<RowView>>,
    pub(super) draft: DraftHandle,
    /// Permission of the user; `None` while unknown.
    pub(super) level: Memo<Option<u64>>,
    pub(super) can_edit: Memo<bool>,
}

/// Returns whether the permission `level` includes another one.
pub(super) fn has_permission(level: Memo<Option<u64>>, required: Permission) -> Memo<bool> {
    Memo::new(move |_| level.get().is_some_and(|level| level >= u64::from(u8::from(required))))
}

impl EntityPageState {
    /// Returns the name of the entity; empty while loading.
    pub(super) fn title(&self) -> String {
        self.row.with(|r| r.as_ref().map(|r| format::text(&r.data, "name")).unwrap_or_default())
    }

    /// Returns the value of a column: from the draft if it has one, else from the row.
    pub(super) fn value(&self, column: &str) -> Value {
        let drafted = self.draft.draft.with(|d| d.as_ref().and_then(|d| d.current_data.get(column).cloned()));
        drafted
            .or_else(|| self.row.with(|r| r.as_ref().and_then(|r| r.data.get(column).cloned())))
            .unwrap_or(Value::Null)
    }

    /// Returns whether the draft changes a column.
    pub(super) fn changed(&self, column: &str) -> bool {
        self.draft.draft.with(|d| d.as_ref().is_some_and(|d| d.current_data.contains_key(column)))
    }
}
