//! Write path to disk: forwards changes to disk and followers, rebuilds, evicts.

use super::Engine;
use crate::cache::{ListIndex, Slot};
use crate::cache_records::PersistedMeta;
use crate::event::Effect;
use crate::query_key::{ListKey, ReferenceDataKey};
use crate::store::StoreError;
use pmo_domain::UnixMillis;
use serde_json::Value;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

impl Engine {
    pub(super) fn mark_row_dirty(&mut self, slot: Slot) {
        self.persistence.mark_row(slot);
        if self.leadership.has_followers() {
            let update = self.row_update(slot);
            self.leadership.update().rows.extend(update);
        }
    }

    pub(super) fn mark_list_dirty(&mut self, index: ListIndex) {
        self.persistence.mark_list(index);
        if self.leadership.has_followers()
            && let Some(key) = self.cache.list(index).map(|list| list.key.clone()).filter(|key| !key.recursive)
        {
            let update = self.list_update(&key);
            self.leadership.update().lists.extend(update);
        }
    }

    pub(super) fn remove_list_from_disk(&mut self, key: &ListKey) {
        self.persistence.remove_list(key, &self.cache);
        // Lists of pinned trees exist only in the leader.
        if !key.recursive {
            self.leadership.update().lists_removed.push(key.clone());
        }
    }

    pub(super) fn persist_reference_data(&mut self, key: ReferenceDataKey, data: &Value, now: UnixMillis) {
        let record = PersistedMeta { key, data: data.clone(), synced_at: now };
        self.persistence.put_reference_data(&record);
        self.leadership.update().metas.push((key, record.data));
    }

    /// Records contact with the server: cached data may be shown for another lease period.
    pub(super) fn renew_lease(&mut self, now: UnixMillis) {
        if self.persistence.renew_lease(now) {
            self.observers.mark_all_changed();
        }
    }

    pub(super) fn on_persisted(&mut self, batches: RangeInclusive<u64>, outcome: Result<(), StoreError>) {
        match outcome {
            Ok(()) => self.persistence.on_written(),
            Err(error) => {
                self.effects.push(Effect::PersistFailed(error));
                if self.person.is_none() {
                    return;
                }
                if self.persistence.on_failed(*batches.end()) && self.leadership.is_leader() {
                    self.rebuild_cache();
                }
                if !self.persistence.is_disabled() {
                    self.outbox.rewrite(&batches, &mut self.persistence);
                    self.drafts.rewrite(&batches, &mut self.persistence, &mut self.effects);
                }
            }
        }
        self.drafts.on_persisted(&batches);
        if self.outbox.on_persisted(&batches) {
            self.effects.push(Effect::BroadcastOutboxChanged);
        }
    }

    /// Clears the cache on disk after a failed batch, and schedules the data in use for writing.
    pub(super) fn rebuild_cache(&mut self) {
        let slots: Vec<Slot> = self.cache.rows().map(|(slot, _)| slot).collect();
        for slot in &slots {
            if let Some(row) = self.cache.row_mut(*slot) {
                (row.chunk, row.in_delta_log, row.unloaded) = (None, false, false);
            }
        }
        for index in self.loading_lists() {
            self.cache.finish_loading(index);
            if let Some(list) = self.cache.list_mut(index) {
                (list.stale, list.complete) = (true, false);
            }
        }
        if !self.persistence.restart_empty() {
            return;
        }
        let metas: Vec<(ReferenceDataKey, Arc<Value>, UnixMillis)> =
            self.reference.iter().map(|(key, meta)| (*key, meta.data.clone(), meta.synced_at)).collect();
        for (key, data, synced_at) in metas {
            self.persist_reference_data(key, &data, synced_at);
        }
        self.reference.named_codes().for_each(|code| self.persistence.mark_names(code));
        self.pinned_trees.write_pins(&mut self.persistence);
        self.persistence.mark_cursor();
        let is_retained =
            |index: &ListIndex| self.cache.list(*index).is_some_and(|list| list.observer_count > 0 || !list.derived);
        for slot in slots {
            let row = self.cache.row(slot).filter(|row| row.base.is_some());
            if row.is_some_and(|row| row.observer_count > 0 || row.lists.iter().any(is_retained)) {
                self.persistence.mark_row(slot);
            }
        }
        self.persistence.mark_loaded_lists(&self.cache);
    }

    /// Issues the changes of the current event as one batch; runs at the end of every event.
    pub(super) fn flush(&mut self, now: UnixMillis) {
        if !self.leadership.is_leader() && self.person.is_some() {
            self.persistence.keep_user_data_only();
        }
        self.persistence.drop_writes_if_disabled();
        if self.person.is_some() {
            self.persistence.write_rows(&mut self.cache, &self.settings);
            self.persistence.write_lists(&mut self.cache, now);
            for code in self.persistence.take_dirty_names() {
                let names = self.reference.names_of(&code).cloned().unwrap_or_default();
                self.persistence.put_names(&code, &names);
                self.leadership.update().names.insert(code, names);
            }
            self.persistence.write_cursor(self.realtime.safe_position());
        }
        if let Some(batch) = self.persistence.take_batch() {
            self.effects.insert(0, batch);
        }
        if self.persistence.take_reload_request() {
            self.effects.insert(0, Effect::ReloadOutboxAndDrafts);
        }
    }

    /// Runs periodic maintenance: compaction, garbage collection and background reads.
    ///
    /// Compaction packs the delta log into chunks and writes the dirty lists. Unread chunks are
    /// read in small portions while the socket is open.
    pub(super) fn tick_device(&mut self, now: UnixMillis) {
        if self.leadership.is_leader() {
            self.persistence.compact(&mut self.cache, &self.settings);
        }
        if self.persistence.begin_collection(&self.settings, now) {
            self.collect_garbage(now);
        }
        if self.realtime.is_open() {
            self.persistence.read_in_background(&mut self.effects);
        }
    }

    /// Frees disk space when storage is low.
    ///
    /// Data that is no longer in memory is removed first. If there is none, all unobserved data is
    /// removed. User data is never removed.
    pub(super) fn evict(&mut self, now: UnixMillis) {
        if self.leadership.is_leader() && self.person.is_some() && !self.persistence.evict_unobserved(&self.cache) {
            self.collect_garbage(now + self.settings.gc_after + Duration::from_millis(1));
            self.persistence.evict_unobserved(&self.cache);
        }
    }

    /// Removes data from memory that has been unobserved for `gc_after`; it stays on disk.
    fn collect_garbage(&mut self, now: UnixMillis) {
        let leader = self.leadership.is_leader();
        self.persistence.collect_lists(&mut self.cache, &self.settings, leader, now);
        for slot in self.persistence.collect_rows(&self.cache, leader) {
            self.drop_row(slot);
        }
    }
}
