//! Applies rows to the cache, with their lists and the copies on disk.
//!
//! Invariant: within one epoch, a response never replaces a newer row.

use super::Engine;
use crate::cache::{CachedRow, ListIndex, Slot};
use crate::components::Requests;
use crate::query_key::Query;
use crate::raw_row::{RawRow, RowHeader, values_equal};
use pmo_domain::api_types::ReferenceNames;
use pmo_domain::{EntityCode, EntityRef, Row, UnixMillis};
use std::sync::Arc;
use uuid::Uuid;

/// When the observers of a row are notified.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Notify {
    /// If the visible row changed.
    IfChanged,
    /// In any case.
    Always,
}

/// Handles a response with an older version of a row; returns whether to request the row again.
///
/// Versions do not decrease: an older response is dropped, and the newer row is requested unless it
/// is cached. The request that delivered a row on disk is unknown, so such a row is requested once
/// more. If the response is not late, the server itself has gone back to an older version.
fn must_request_again(row: &mut CachedRow, requests: &Requests) -> bool {
    let late = requests.current_response() < row.last_request || row.last_request == 0;
    if row.last_request == 0 && requests.is_applying_response() {
        row.last_request = requests.current_response();
    }
    let request_again = row.base.is_none() || row.version < row.min_version || (row.stale && late);
    row.stale |= request_again;
    request_again
}

impl Engine {
    /// Returns the source row: the server row with pending writes, without derived columns.
    ///
    /// `None` if the row is unknown or deleted.
    pub fn source_row(&self, entity: &EntityRef) -> Option<Arc<Row>> {
        self.cache.get(entity)?.source_row()
    }

    /// Whether an entity was created locally and has not been sent successfully yet.
    pub(super) fn is_local_only(&self, entity: &EntityRef) -> bool {
        let on_server = self.cache.get(entity).is_some_and(|row| row.base.is_some());
        !on_server && self.outbox.has_pending_create(entity)
    }

    pub(super) fn refresh_entity(&mut self, entity: &EntityRef, notify: Notify) {
        if let Some(slot) = self.cache.slot_of(entity) {
            self.recompute_row(slot, notify);
        }
    }

    /// Recomputes the visible row (server row plus pending writes) and its list memberships.
    ///
    /// With [`Notify::Always`], observers are notified even if the visible row did not change.
    pub(super) fn recompute_row(&mut self, slot: Slot, notify: Notify) {
        let Some(entity) = self.cache.entity(slot) else { return };
        let entries = self.outbox.of_entity(&entity);
        let visible_changed = self.cache.row_mut(slot).is_some_and(|row| row.recompute_visible(entries));
        if visible_changed || notify == Notify::Always {
            self.propagate_row_change(slot, entity);
        }
    }

    /// Re-indexes a row whose visible state changed, and notifies its observers and lists.
    fn propagate_row_change(&mut self, slot: Slot, entity: EntityRef) {
        for index in self.show_row_change(slot, entity) {
            if let Some(list) = self.cache.list_mut(index) {
                list.stale = true;
            }
        }
        self.cache.release(slot);
    }

    /// Re-indexes a row and notifies its observers and lists; returns the undecided lists.
    fn show_row_change(&mut self, slot: Slot, entity: EntityRef) -> Vec<ListIndex> {
        let impact = self.cache.reindex_row(slot);
        self.record_tree_move(slot, &impact.changed);
        let lists = self.cache.row(slot).map(|row| row.lists.clone()).unwrap_or_default();
        for index in lists.into_iter().chain(impact.changed) {
            if let Some(list) = self.cache.list(index) {
                self.observers.mark_changed(Query::List(list.key.clone()));
            }
        }
        self.observers.mark_row_changed(entity);
        impact.undecided
    }

    /// Shows derived columns over the rows of a type; `None` ends those of a row.
    ///
    /// Lists whose rows only the server knows stay as they are: it does not have these values.
    pub(super) fn set_derived(&mut self, code: &EntityCode, rows: Vec<(Uuid, Option<Row>)>) {
        for (id, columns) in rows {
            let entity = EntityRef::new(code.clone(), id);
            if let Some(slot) = self.cache.slot_of(&entity)
                && self.cache.set_derived(slot, columns)
            {
                self.show_row_change(slot, entity);
            }
        }
    }

    pub(super) fn reindex(&mut self, slot: Slot) {
        let impact = self.cache.reindex_row(slot);
        self.record_tree_move(slot, &impact.changed);
        for index in impact.changed {
            if let Some(list) = self.cache.list(index) {
                self.observers.mark_changed(Query::List(list.key.clone()));
            }
        }
    }

    /// Applies a row from the server to memory, lists and disk.
    ///
    /// Returns `false` if the row was too old to be applied; the current row is requested if
    /// necessary.
    pub(super) fn apply_row(&mut self, code: &EntityCode, text: &str, now: UnixMillis) -> bool {
        let (Some(slot), applied) = self.apply_parsed_row(code, RawRow::new(text), RowHeader::parse(text), now) else {
            return true;
        };
        if applied {
            self.reindex_applied_row(slot);
        }
        applied
    }

    /// Updates the list memberships of a row from a response.
    ///
    /// If a list that was requested later does not contain the row, that list is more recent. The
    /// row is then requested again.
    pub(super) fn reindex_applied_row(&mut self, slot: Slot) {
        self.reindex(slot);
        let lists = self.cache.row(slot).map(|row| row.lists.clone()).unwrap_or_default();
        let requested_later = |index: &ListIndex| {
            self.cache.list(*index).is_some_and(|list| list.last_request > self.requests.current_response())
        };
        if lists.iter().any(requested_later)
            && let Some(entity) = self.cache.entity(slot)
        {
            if let Some(row) = self.cache.row_mut(slot) {
                row.stale = true;
            }
            self.requests.queue_row(&entity);
        }
    }

    /// Applies a parsed row without updating lists.
    ///
    /// Returns the slot, if any, and whether the row was accepted (`false` if it was too old).
    pub(super) fn apply_parsed_row(
        &mut self,
        code: &EntityCode,
        raw: RawRow,
        header: RowHeader,
        now: UnixMillis,
    ) -> (Option<Slot>, bool) {
        let Some(id) = header.id else { return (None, true) };
        let entity = EntityRef::new(code.clone(), id);
        if header.has_reference_names {
            let names = raw.field("ref_data_entityInstance").and_then(|text| serde_json::from_str(text).ok());
            self.merge_reference_names(names.unwrap_or_default());
        }
        if self.requests.was_removed_since(&entity) {
            // The row was requested before the entity was removed. Only a new request shows whether
            // the entity exists again.
            self.requests.queue_row(&entity);
            return (None, false);
        }
        let slot = self.cache.slot_or_insert(&entity);
        let Some(row) = self.cache.row_mut(slot) else { return (None, true) };
        if header.version < row.min_version || (row.base.is_some() && header.version < row.version) {
            if must_request_again(row, &self.requests) {
                self.requests.queue_row(&entity);
            }
            return (Some(slot), false);
        }
        let level = header.permission.or(row.permission);
        let same = row.base.as_ref().is_some_and(|base| values_equal(base, &raw)) && level == row.permission;
        (row.synced_at, row.unloaded) = (now, false);
        row.stale = false;
        if self.requests.is_applying_response() {
            row.last_request = row.last_request.max(self.requests.current_response());
        }
        if !same {
            let before = row.base.clone();
            row.permission = level;
            row.version = header.version;
            // A slice would retain the text of its whole page in memory for this one row.
            row.set_base(Some(if row.base.is_some() { RawRow::new(raw.as_str()) } else { raw }));
            self.mark_row_dirty(slot);
            self.recompute_row(slot, Notify::Always);
            if before.is_some() {
                self.mark_trees_for_refetch(slot, before.as_ref());
            }
        }
        (Some(slot), true)
    }

    pub(super) fn merge_reference_names(&mut self, names: ReferenceNames) {
        for code in self.reference.merge_names(names) {
            self.persistence.mark_names(&code);
        }
    }

    /// Removes an entity that is missing from a response; returns whether it was removed.
    ///
    /// If a later request has already returned the entity, it is requested again instead.
    pub(super) fn on_missing_row(&mut self, entity: &EntityRef) -> bool {
        let late = self
            .cache
            .get(entity)
            .is_some_and(|row| row.base.is_some() && row.last_request > self.requests.current_response());
        if late {
            self.requests.queue_row(entity)
        } else {
            self.remove_entity(entity)
        }
        !late
    }

    /// Removes an entity that no longer exists for this user from memory, lists and disk.
    pub(super) fn remove_entity(&mut self, entity: &EntityRef) {
        self.requests.bury(entity);
        self.requests.forget_etag(&Query::Row(entity.clone()));
        if self.reference.remove_name(entity) {
            self.persistence.mark_names(entity.code.as_str());
        }
        self.requests.unqueue_row(entity);
        self.leadership.update().removed.push(entity.clone());
        self.persistence.remove_row(entity, &mut self.cache);
        let Some(slot) = self.cache.slot_of(entity) else { return };
        let Some(row) = self.cache.row_mut(slot) else { return };
        let was_visible = row.is_visible();
        row.set_base(None);
        (row.version, row.min_version, row.unloaded, row.stale, row.permission) = (0, 0, false, false, None);
        self.recompute_row(slot, if was_visible { Notify::Always } else { Notify::IfChanged });
        self.reindex_removed(slot);
    }

    fn reindex_removed(&mut self, slot: Slot) {
        if self.cache.row(slot).is_some_and(|row| !row.is_visible()) {
            self.reindex(slot);
            self.cache.release(slot);
        }
    }

    /// Removes a row from memory; its copy on disk remains.
    pub(super) fn drop_row(&mut self, slot: Slot) {
        if let Some(entity) = self.cache.entity(slot) {
            self.observers.mark_row_changed(entity);
        }
        self.cache.remove(slot);
    }
}
