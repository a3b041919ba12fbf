//! Refetches all data after an access change, missed changes or a new epoch.
//!
//! Data that is missing from the responses is removed.

use super::Engine;
use crate::cache::{ListIndex, Slot};
use crate::collections::DetHashSet;
use crate::query_key::{Query, ReferenceDataKey};
use pmo_domain::{EntityCode, EntityRef, UnixMillis};

impl Engine {
    /// Invalidates all cached data if the database is another incarnation (restore, failover).
    ///
    /// Changes that had already been delivered may be lost. Cached rows remain visible until they
    /// are refetched, and any version is accepted for them. The server may have reused the base
    /// version of a pending write for other data. So each pending write that is not in flight gets
    /// a version that cannot exist: the server answers 412 with the current row, and the write is
    /// merged.
    pub(super) fn begin_epoch(&mut self, epoch: &str) {
        if !self.realtime.is_other_epoch(epoch) {
            return;
        }
        let slots: Vec<Slot> = self.cache.rows().map(|(slot, _)| slot).collect();
        for slot in slots {
            if let Some(row) = self.cache.row_mut(slot) {
                (row.version, row.min_version, row.stale) = (0, 0, true);
            }
        }
        self.requests.forget_etags();
        if !self.leadership.is_leader() {
            return;
        }
        self.outbox.force_precondition_failures(&mut self.persistence);
        self.rebuild_cache();
    }

    /// Whether the cache contains data from an earlier session whose access is not verified yet.
    pub(super) fn has_unverified_data(&self) -> bool {
        self.persistence.has_unread_chunks() || self.cache.rows().any(|(_, row)| row.base.is_some() && row.stale)
    }

    /// Marks all cached data stale and refetches it, after an access change or missed changes.
    ///
    /// Data that is missing from the responses is removed.
    pub(super) fn revalidate_all(&mut self, now: UnixMillis) {
        self.requests.fence_access();
        if self.leadership.is_leader() {
            self.realtime.begin_revalidation();
        }
        let cached: Vec<EntityRef> = self
            .cache
            .rows()
            .filter(|(_, row)| row.base.is_some())
            .filter_map(|(slot, _)| self.cache.entity(slot))
            .collect();
        let complete_types: Vec<EntityCode> = self
            .cache
            .lists()
            .filter(|(_, l)| l.observer_count > 0 && l.loaded && l.complete && l.key.parent_filter.is_none())
            .filter(|(_, l)| l.derived || l.key.base_list().is_none())
            .map(|(_, l)| l.key.code.clone())
            .collect();
        let trees: DetHashSet<ListIndex> = self
            .cache
            .lists()
            .filter(|(_, l)| l.key.recursive && l.loaded && l.observer_count > 0)
            .map(|(index, _)| index)
            .collect();
        for entity in cached {
            let Some(row) = self.cache.get_mut(&entity) else { continue };
            row.stale = true;
            // A complete list of the type, or a tree, is refetched anyway and covers the row. A row
            // that is observed itself is requested too, because its own response renews its
            // subscription.
            let is_covered =
                complete_types.contains(&entity.code) || row.lists.iter().any(|index| trees.contains(index));
            if row.observer_count > 0 || !is_covered {
                self.requests.queue_row(&entity);
            }
        }
        for list in self.cache.lists_mut() {
            list.stale = true;
        }
        // The permission to create is part of the entity types.
        self.reference.mark_stale(ReferenceDataKey::Codes);
        let queries: Vec<Query> = self.observers.queries().cloned().collect();
        for query in queries {
            let is_requested_by_id = match &query {
                Query::Row(entity) => self.cache.get(entity).is_some_and(|row| row.base.is_some()),
                _ => false,
            };
            if !is_requested_by_id {
                self.ensure_fresh(query, now);
            }
        }
        self.leadership.update().access_changed = true;
        self.persistence.read_for_revalidation(&mut self.effects);
    }

    /// Ends a revalidation after all data has been refetched and data without access was removed.
    pub(super) fn finish_revalidation(&mut self) {
        if self.realtime.is_revalidating() && self.requests.has_no_reads() && !self.persistence.is_revalidating() {
            self.realtime.end_revalidation();
            self.persistence.mark_cursor();
        }
    }
}
