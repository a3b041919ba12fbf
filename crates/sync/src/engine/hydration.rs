//! Hydration: loads the cache from disk.
//!
//! Rows of the delta log are available first, then the lists in their stored order; chunks are read
//! on demand.
//!
//! Must not: treat data from disk as newer than data from the server.

use super::Engine;
use super::rows::Notify;
use crate::cache::{CachedRow, ListIndex, Slot};
use crate::cache_records::{
    ListHead, PIN_KEY_PREFIX, PersistedMeta, STORAGE_FORMAT_VERSION, parse_chunk_name, unfetched_pin,
};
use crate::chunk_codec::{unpack, unpack_ids};
use crate::collections::{DetHashMap, DetHashSet};
use crate::components::{FeedPosition, ReferenceData};
use crate::event::Effect;
use crate::query_key::{ListKey, Query};
use crate::store::{KeyValue, Namespace, PersistedState, ROW_PREFIX, parse_json};
use pmo_domain::{EntityCode, EntityRef, PersonId, UnixMillis};
use std::sync::Arc;
use uuid::Uuid;

/// Selection of stored lists.
#[derive(Clone, Copy, PartialEq, Eq)]
enum ListSelection {
    /// All lists.
    All,
    /// Lists of pinned trees.
    Trees,
}

impl Engine {
    pub(super) fn start(&mut self, person: PersonId, mut stored: PersistedState, term: Option<u64>, now: UnixMillis) {
        self.person = Some(person);
        let heartbeat = self.leadership.start(term, now);
        self.drop_other_format(&mut stored);
        for (name, bytes) in &stored.metadata {
            self.hydrate_metadata(name, bytes);
        }
        self.persistence.lock_if_expired(self.settings.offline_lease, now);
        self.hydrate_chunk_index(&stored);
        for (_, bytes) in &stored.lists {
            self.hydrate_list(bytes, ListSelection::All);
        }
        self.replay_delta_log(&stored.log);
        self.drafts.hydrate(stored.drafts, &mut self.persistence, now);
        self.reconcile_outbox(stored.outbox);
        for (query, count) in self.observers.counted_queries() {
            for _ in 0..count {
                self.retain_query(&query);
            }
            self.mark_changed(query.clone());
            self.ensure_fresh(query, now);
        }
        self.effects.extend(heartbeat);
        self.restore_pins(now);
        if self.leadership.is_leader() {
            self.effects.push(self.realtime.connect(now));
        }
        self.effects.push(Effect::StatusChanged);
    }

    /// Drops a cache in another format from `stored` and from the device; keeps user data and pins.
    #[inline(never)] // called twice
    fn drop_other_format(&mut self, stored: &mut PersistedState) {
        let format = stored.metadata.iter().find(|(name, _)| name == "format").map(|(_, bytes)| bytes.as_slice());
        if format == Some(STORAGE_FORMAT_VERSION) {
            return;
        }
        // The stored format is another one, or the store is empty.
        let empty = stored.lists.is_empty() && stored.chunks.is_empty() && stored.log.is_empty();
        let has_data = format.is_some() || !empty;
        let mut pins = Vec::new();
        if has_data {
            // Pins are the user's choice: they outlive the data, which is fetched again.
            pins.extend(stored.metadata.iter().filter_map(|(name, bytes)| unfetched_pin(name, bytes)));
            self.persistence.clear_cache();
            for (name, bytes) in &pins {
                self.persistence.put(Namespace::Metadata, name.clone(), bytes.clone());
            }
        }
        self.persistence.put_format();
        (stored.chunks, stored.log, stored.lists) = Default::default();
        stored.metadata = pins;
    }

    /// Takes over leadership: reads again what another tab has written meanwhile.
    ///
    /// Newer data in this tab is preserved.
    pub(super) fn on_leadership_acquired(&mut self, mut stored: PersistedState, term: u64, now: UnixMillis) {
        if self.person.is_none() {
            return;
        }
        // The previous leader could not fetch these queries; this tab retries them.
        self.requests.forget_failures();
        self.effects.extend(self.leadership.start(Some(term), now));
        let slots = self.distrust_cache();
        self.persistence.restart_unknown();
        // The previous leader may have been a tab of an earlier build.
        self.drop_other_format(&mut stored);
        self.hydrate_chunk_index(&stored);
        self.replay_delta_log(&stored.log);
        for (name, bytes) in stored.metadata.iter().filter(|(name, _)| name.starts_with(PIN_KEY_PREFIX)) {
            self.hydrate_metadata(name, bytes);
        }
        self.rehydrate_trees(&stored);
        self.restore_pins(now);
        // The previous leader may have sent entries that were created in this tab.
        self.outbox.mark_possibly_sent();
        self.reconcile_outbox(stored.outbox);
        // Rows that are in memory but not on disk are written again.
        for slot in slots {
            let row = self.cache.row(slot);
            if row.is_some_and(|row| row.base.is_some() && row.chunk.is_none() && !row.in_delta_log && !row.unloaded) {
                self.mark_row_dirty(slot);
            }
        }
        self.persistence.mark_loaded_lists(&self.cache);
        self.persistence.mark_cursor();
        self.effects.push(self.realtime.connect(now));
        self.retry_now(now);
        self.ensure_observed_fresh(now);
    }

    /// Marks all cached rows and lists as stale and as not on disk; returns the rows.
    ///
    /// The previous leader may have received a change and moved the cursor, but ended before it
    /// fetched the row.
    fn distrust_cache(&mut self) -> Vec<Slot> {
        let slots: Vec<Slot> = self.cache.rows().map(|(slot, _)| slot).collect();
        for slot in &slots {
            if let Some(row) = self.cache.row_mut(*slot) {
                (row.chunk, row.in_delta_log, row.stale) = (None, false, true);
            }
        }
        self.cache.lists_mut().for_each(|list| list.stale = true);
        slots
    }

    /// Replaces the lists of pinned trees in memory by those on disk.
    ///
    /// The previous leader owned the trees: rows that this tab read at start may be in other chunks
    /// by now.
    fn rehydrate_trees(&mut self, stored: &PersistedState) {
        let trees: Vec<ListIndex> =
            self.cache.lists().filter(|(_, list)| list.key.recursive).map(|(index, _)| index).collect();
        for index in trees {
            self.cache.drop_list(index);
        }
        for (_, bytes) in &stored.lists {
            self.hydrate_list(bytes, ListSelection::Trees);
        }
    }

    fn hydrate_metadata(&mut self, name: &str, bytes: &[u8]) {
        if let Some(code) = name.strip_prefix("names:") {
            self.reference.set_names(code.to_owned(), parse_json(bytes).unwrap_or_default());
        } else if name.starts_with(PIN_KEY_PREFIX) {
            if let Some(pin) = parse_json(bytes) {
                self.pinned_trees.hydrate(pin);
            }
        } else if name == "cursor" {
            self.realtime.set_position(parse_json::<FeedPosition>(bytes));
        } else if name == "reached" {
            self.persistence.set_server_reached_at(parse_json(bytes).unwrap_or_default());
        } else if name.starts_with("meta:")
            && let Some(record) = parse_json::<PersistedMeta>(bytes)
        {
            let meta = ReferenceData { data: Arc::new(record.data), synced_at: record.synced_at, stale: true };
            self.apply_reference_data(record.key, meta);
        }
    }

    fn hydrate_chunk_index(&mut self, stored: &PersistedState) {
        for chunk in stored.chunks.iter().filter_map(|name| parse_chunk_name(name)) {
            self.persistence.add_unread_chunk(chunk);
        }
    }

    fn hydrate_list(&mut self, bytes: &[u8], selection: ListSelection) {
        let Some((head, ids)) = unpack_ids(bytes) else { return };
        let Ok(head) = serde_json::from_str::<ListHead>(head) else { return };
        if selection == ListSelection::Trees && !head.key.recursive {
            return;
        }
        let index = self.cache.list_or_insert(&head.key, self.reference.catalog());
        if self.cache.list(index).is_some_and(|list| list.loaded) {
            return; // a response of the server came first
        }
        let mut slots = Vec::with_capacity(ids.len());
        for id in ids {
            let slot = self.cache.slot_or_insert(&EntityRef::new(head.key.code.clone(), id));
            if let Some(row) = self.cache.row_mut(slot) {
                row.unloaded = row.base.is_none();
            }
            slots.push(slot);
        }
        self.cache.load_rows(index, slots);
        if let Some(list) = self.cache.list_mut(index) {
            (list.loaded, list.complete, list.next_cursor) = (true, head.complete, head.next);
            (list.stale, list.synced_at, list.chunks) = (true, head.synced_at, head.chunks);
        }
    }

    /// Loads the delta log; its rows are newer than those of any chunk.
    fn replay_delta_log(&mut self, log: &[KeyValue]) {
        for (name, bytes) in log {
            let Some(id) = name.strip_prefix(ROW_PREFIX).and_then(|id| id.parse::<Uuid>().ok()) else { continue };
            if bytes.is_empty() {
                self.persistence.add_pending_removal(id);
                continue;
            }
            let Ok((code, rows)) = unpack(bytes) else {
                self.persistence.remove(Namespace::Entities, name.clone());
                continue;
            };
            for packed in rows {
                let slot = self.cache.slot_or_insert(&EntityRef::new(code.clone(), packed.id));
                let Some(row) = self.cache.row_mut(slot) else { continue };
                row.in_delta_log = true;
                self.persistence.add_logged_row(slot);
                if row.base.is_none() || row.version < packed.version {
                    row.set_base(Some(packed.raw));
                    (row.version, row.permission) = (packed.version, packed.permission);
                    (row.stale, row.unloaded) = (true, false);
                    self.recompute_row(slot, Notify::Always);
                }
            }
        }
        // A list that needs no unread chunk can be sorted at once.
        self.loading_lists().into_iter().for_each(|index| self.finish_list(index));
    }

    /// Reads the rows of a list from disk.
    ///
    /// The first chunk is requested separately: its rows can be rendered before the others arrive.
    pub(super) fn read_list(&mut self, index: ListIndex) {
        let Some(list) = self.cache.list(index) else { return };
        if !list.loaded
            && let Some(read) = self.persistence.read_evicted_list(&list.key)
        {
            return self.effects.push(read);
        }
        if !list.loading_from_disk {
            return;
        }
        self.persistence.read_chunks(list.chunks.iter().take(1).copied(), &mut self.effects);
        self.persistence.read_chunks(list.chunks.iter().skip(1).copied(), &mut self.effects);
        self.finish_list(index);
    }

    /// Reads all chunks if a row is not in memory: the chunk that contains it is unknown.
    pub(super) fn read_row(&mut self, slot: Slot) {
        if self.cache.row(slot).is_some_and(|row| row.base.is_none()) {
            self.persistence.read_all_chunks(&mut self.effects);
        }
    }

    /// Returns the lists whose rows are still being read from disk.
    pub(super) fn loading_lists(&self) -> Vec<ListIndex> {
        self.cache.lists().filter(|(_, l)| l.loading_from_disk).map(|(i, _)| i).collect()
    }

    pub(super) fn on_store_read(
        &mut self,
        namespace: Namespace,
        keys: &[String],
        entries: Vec<KeyValue>,
        now: UnixMillis,
    ) {
        if self.person.is_none() {
            return;
        }
        if namespace == Namespace::Lists {
            self.on_lists_read(keys, entries);
        } else {
            self.on_chunks_read(keys, entries);
        }
        self.ensure_observed_fresh(now);
    }

    fn on_lists_read(&mut self, keys: &[String], entries: Vec<KeyValue>) {
        for key in keys {
            self.persistence.end_read(key);
        }
        for (_, bytes) in entries {
            self.hydrate_list(&bytes, ListSelection::All);
        }
        for index in self.loading_lists() {
            self.read_list(index);
            if let Some(list) = self.cache.list(index) {
                self.observers.mark_changed(Query::List(list.key.clone()));
            }
        }
    }

    fn on_chunks_read(&mut self, keys: &[String], entries: Vec<KeyValue>) {
        let mut loaded: DetHashSet<Slot> = DetHashSet::default();
        let mut entries: DetHashMap<String, Vec<u8>> = entries.into_iter().collect();
        for key in keys {
            let Some(chunk) = self.persistence.end_read(key) else { continue };
            match entries.remove(key).as_deref().map(unpack) {
                Some(Ok(rows)) => {
                    let is_removed = |entity: &EntityRef| self.requests.is_buried(entity);
                    self.persistence.load_chunk(chunk, rows, &mut self.cache, is_removed, &mut loaded);
                }
                // Only the damaged chunk is lost: its rows are fetched again.
                _ => self.persistence.drop_damaged_chunk(chunk),
            }
        }
        for slot in &loaded {
            self.on_row_loaded(*slot);
        }
        if self.persistence.finish_reading() {
            let unread: Vec<Slot> = self.cache.rows().filter(|(_, r)| r.unloaded).map(|(slot, _)| slot).collect();
            for slot in unread {
                if let Some(row) = self.cache.row_mut(slot) {
                    row.unloaded = false;
                }
            }
            self.observers.mark_all_changed();
        }
        for index in self.loading_lists() {
            self.finish_list(index);
        }
    }

    /// Publishes a row that was read from a chunk.
    ///
    /// If a list that was received since does not contain the row, only the server knows whether
    /// the row still belongs to it.
    fn on_row_loaded(&mut self, slot: Slot) {
        self.recompute_row(slot, Notify::Always);
        let is_contradicted = |row: &CachedRow| {
            let mut lists = row.lists.iter().filter_map(|index| self.cache.list(*index));
            row.stale && lists.any(|list| list.loaded && !list.stale)
        };
        if (self.persistence.is_revalidating() || self.cache.row(slot).is_some_and(is_contradicted))
            && let Some(entity) = self.cache.entity(slot)
        {
            self.requests.queue_row(&entity);
        }
    }

    /// Sorts a list if all of its chunks have been read.
    fn finish_list(&mut self, index: ListIndex) {
        let Some(list) = self.cache.list(index).filter(|l| l.loading_from_disk) else { return };
        if !self.persistence.has_read_chunks_of(index, &self.cache) {
            return;
        }
        let (key, slots) = (list.key.clone(), list.slots().to_vec());
        for slot in slots {
            if let Some(row) = self.cache.row_mut(slot) {
                row.unloaded = false;
            }
        }
        self.cache.finish_loading(index);
        // Rows in the delta log may belong to the list by now.
        for slot in self.persistence.logged_rows() {
            self.cache.reindex_row(slot);
        }
        if let Some(list) = self.cache.list_mut(index)
            && !list.chunks.iter().all(|number| self.persistence.has_chunk(*number))
        {
            // A chunk was damaged: the missing rows are fetched again.
            (list.stale, list.complete) = (true, false);
        }
        if let Some(filter) = &key.parent_filter {
            self.apply_pending_links(&filter.parent);
        }
        if key.recursive {
            self.derive_waiting_lists(&key.code);
        }
        self.mark_changed(Query::List(key));
        self.rebuild_derived_lists(index);
    }

    /// Derives the lists inside a tree that were observed before the tree was loaded.
    fn derive_waiting_lists(&mut self, code: &EntityCode) {
        let waiting =
            self.cache.lists_of(code).filter(|list| list.observer_count > 0 && !list.loaded && !list.key.recursive);
        let waiting: Vec<ListKey> =
            waiting.map(|list| list.key.base_list().unwrap_or_else(|| list.key.clone())).collect();
        for key in waiting {
            self.derive_list_from_tree(&key);
            self.mark_changed(Query::List(key));
        }
    }
}
