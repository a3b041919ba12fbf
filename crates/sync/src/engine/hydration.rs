//! Hydration: loads the cache from disk.
//!
//! Rows of the delta log are available first, then the lists in their stored order; chunks are read
//! on demand.
//!
//! Must not: treat data from disk as newer than data from the server.

use super::persistence::{
    Chunk, ListHead, PersistedMeta, PersistenceState, STORAGE_FORMAT_VERSION, chunk_name, list_name, row_name,
};
use super::pinned_trees::{PIN_KEY_PREFIX, unfetched_pin};
use super::{Engine, FeedPosition, ReferenceData};
use crate::cache::{CachedRow, ListIndex, Slot};
use crate::chunk_codec::{ChunkId, PackedRow, unpack, unpack_ids};
use crate::collections::{DetHashMap, DetHashSet};
use crate::event::Effect;
use crate::query_key::{ListKey, Query};
use crate::store::{CHUNK_PREFIX, KeyValue, Namespace, PersistedState, ROW_PREFIX, Write, parse_json};
use pmo_domain::{EntityCode, EntityRef, PersonId, UnixMillis};
use std::collections::BTreeSet;
use std::sync::Arc;
use uuid::Uuid;

/// Maximum number of chunks in one read of the store.
const MAX_CHUNKS_PER_READ: usize = 4;

impl Engine {
    pub(super) fn start(&mut self, person: PersonId, mut stored: PersistedState, term: Option<u64>, now: UnixMillis) {
        self.person = Some(person);
        self.leader = term.is_some();
        self.drop_other_format(&mut stored);
        for (name, bytes) in &stored.metadata {
            self.hydrate_metadata(name, bytes);
        }
        self.persistence.locked = self.persistence.server_reached_at > UnixMillis::EPOCH
            && now.since(self.persistence.server_reached_at) > self.settings.offline_lease;
        self.hydrate_chunk_index(&stored);
        for (_, bytes) in &stored.lists {
            self.hydrate_list(bytes, false);
        }
        self.replay_delta_log(&stored.log);
        self.hydrate_drafts(stored.drafts, now);
        self.reconcile_outbox(stored.outbox);
        let observed: Vec<(Query, u32)> = self.observer_counts.iter().map(|(q, n)| (q.clone(), *n)).collect();
        for (query, count) in observed {
            for _ in 0..count {
                self.retain_query(&query);
            }
            self.mark_changed(query.clone());
            self.ensure_fresh(query, now);
        }
        self.start_election_timer(term.unwrap_or_default(), now);
        self.restore_pins(now);
        if self.leader {
            self.session.connecting(now);
            self.effects.push(Effect::Connect);
        }
        self.effects.push(Effect::StatusChanged);
    }

    /// Takes over leadership: reads again what another tab has written meanwhile.
    ///
    /// Newer data in this tab is preserved.
    /// Drops a cache in another format from `stored` and from the device; keeps user data and pins.
    #[inline(never)] // called twice
    fn drop_other_format(&mut self, stored: &mut PersistedState) {
        let format = stored.metadata.iter().find(|(name, _)| name == "format").map(|(_, bytes)| bytes.as_slice());
        if format != Some(STORAGE_FORMAT_VERSION) {
            // The stored format is another one, or the store is empty.
            let empty = stored.lists.is_empty() && stored.chunks.is_empty() && stored.log.is_empty();
            let has_data = format.is_some() || !empty;
            let mut pins = Vec::new();
            if has_data {
                // Pins are the user's choice: they outlive the data, which is fetched again.
                pins.extend(stored.metadata.iter().filter_map(|(name, bytes)| unfetched_pin(name, bytes)));
                self.persistence.writes.extend(Namespace::CACHE.map(Write::Clear));
                let pin_writes =
                    pins.iter().map(|(name, bytes)| Write::Put(Namespace::Metadata, name.clone(), bytes.clone()));
                self.persistence.writes.extend(pin_writes);
            }
            self.persistence.writes.push(Write::Put(
                Namespace::Metadata,
                "format".into(),
                STORAGE_FORMAT_VERSION.to_vec(),
            ));
            (stored.chunks, stored.log, stored.lists) = Default::default();
            stored.metadata = pins;
        }
    }

    pub(super) fn on_leadership_acquired(&mut self, mut stored: PersistedState, term: u64, now: UnixMillis) {
        if self.person.is_none() {
            return;
        }
        self.leader = true;
        self.tabs.term_unverified = false;
        // The previous leader could not fetch these queries; this tab retries them.
        self.failed.clear();
        self.start_election_timer(term, now);
        let slots: Vec<Slot> = self.cache.rows().map(|(slot, _)| slot).collect();
        for slot in &slots {
            if let Some(row) = self.cache.row_mut(*slot) {
                // The previous leader may have received a change and moved the cursor, but ended
                // before it fetched the row.
                (row.chunk, row.in_delta_log, row.stale) = (None, false, true);
            }
        }
        self.cache.lists_mut().for_each(|list| list.stale = true);
        let PersistenceState { last_batch, server_reached_at, locked, outbox_removals, draft_writes, writes, .. } =
            std::mem::take(&mut self.persistence);
        self.persistence = PersistenceState {
            last_batch,
            server_reached_at,
            locked,
            outbox_removals,
            draft_writes,
            writes,
            ..PersistenceState::default()
        };
        // The previous leader may have been a tab of an earlier build.
        self.drop_other_format(&mut stored);
        self.hydrate_chunk_index(&stored);
        self.replay_delta_log(&stored.log);
        for (name, bytes) in stored.metadata.iter().filter(|(name, _)| name.starts_with(PIN_KEY_PREFIX)) {
            self.hydrate_metadata(name, bytes);
        }
        // The previous leader owned the trees: rows that this tab read at start may be in other
        // chunks by now.
        let trees: Vec<ListIndex> =
            self.cache.lists().filter(|(_, list)| list.key.recursive).map(|(index, _)| index).collect();
        for index in trees {
            self.cache.drop_list(index);
        }
        for (_, bytes) in &stored.lists {
            self.hydrate_list(bytes, true);
        }
        self.restore_pins(now);
        // The previous leader may have sent entries that were created in this tab.
        self.outbox.iter_mut().for_each(|entry| entry.attempts = entry.attempts.max(1));
        self.reconcile_outbox(stored.outbox);
        // Rows that are in memory but not on disk are written again.
        for slot in slots {
            if self
                .cache
                .row(slot)
                .is_some_and(|row| row.base.is_some() && row.chunk.is_none() && !row.in_delta_log && !row.unloaded)
            {
                self.mark_row_dirty(slot);
            }
        }
        let lists: Vec<ListIndex> =
            self.cache.lists().filter(|(_, l)| l.loaded && !l.derived).map(|(i, _)| i).collect();
        self.persistence.lists.extend(lists);
        self.persistence.cursor_moved = true;
        self.session.connecting(now);
        self.effects.push(Effect::Connect);
        self.retry_now(now);
        self.ensure_observed_fresh(now);
    }

    fn hydrate_metadata(&mut self, name: &str, bytes: &[u8]) {
        if let Some(code) = name.strip_prefix("names:") {
            self.names.insert(code.to_owned(), parse_json(bytes).unwrap_or_default());
        } else if name.starts_with(PIN_KEY_PREFIX) {
            if let Some(pin) = parse_json(bytes) {
                self.hydrate_pin(pin);
            }
        } else if name == "cursor" {
            self.cursor = parse_json::<FeedPosition>(bytes);
        } else if name == "reached" {
            self.persistence.server_reached_at = parse_json(bytes).unwrap_or_default();
        } else if name.starts_with("meta:")
            && let Some(record) = parse_json::<PersistedMeta>(bytes)
        {
            let meta = ReferenceData { data: Arc::new(record.data), synced_at: record.synced_at, stale: true };
            self.apply_reference_data(record.key, meta);
        }
    }

    fn hydrate_chunk_index(&mut self, stored: &PersistedState) {
        for name in &stored.chunks {
            if let Some(number) = name.strip_prefix(CHUNK_PREFIX).and_then(|n| n.parse().ok()) {
                self.persistence.chunks.insert(number, Chunk::default());
            }
        }
    }

    fn hydrate_list(&mut self, bytes: &[u8], trees_only: bool) {
        let Some((head, ids)) = unpack_ids(bytes) else { return };
        let Ok(head) = serde_json::from_str::<ListHead>(head) else { return };
        if trees_only && !head.key.recursive {
            return;
        }
        let index = self.cache.list_or_insert(&head.key, &self.catalog);
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
                self.persistence.pending_removals.insert(id);
                continue;
            }
            let Ok((code, rows)) = unpack(bytes) else {
                self.persistence.writes.push(Write::Remove(Namespace::Entities, name.clone()));
                continue;
            };
            for packed in rows {
                let slot = self.cache.slot_or_insert(&EntityRef::new(code.clone(), packed.id));
                let Some(row) = self.cache.row_mut(slot) else { continue };
                row.in_delta_log = true;
                self.persistence.logged.insert(slot);
                if row.base.is_none() || row.version < packed.version {
                    row.set_base(Some(packed.raw));
                    (row.version, row.permission) = (packed.version, packed.permission);
                    (row.stale, row.unloaded) = (true, false);
                    self.recompute_row(slot, true);
                }
            }
        }
        // A list that needs no unread chunk can be sorted at once.
        let lists: Vec<ListIndex> = self.cache.lists().filter(|(_, l)| l.loading_from_disk).map(|(i, _)| i).collect();
        lists.into_iter().for_each(|index| self.finish_list(index));
    }

    pub(super) fn read_chunks(&mut self, numbers: impl Iterator<Item = ChunkId>) {
        let unread = |number: &ChunkId| self.persistence.chunks.get(number).is_some_and(|chunk| !chunk.read);
        let names: Vec<String> =
            numbers.filter(unread).map(chunk_name).filter(|name| !self.persistence.reading.contains(name)).collect();
        self.persistence.reading.extend(names.iter().cloned());
        // A few chunks per read: until they are applied, their data is in memory twice.
        for names in names.chunks(MAX_CHUNKS_PER_READ) {
            self.effects.push(Effect::Read(Namespace::Entities, names.to_vec()));
        }
    }

    /// Reads the rows of a list from disk.
    ///
    /// The first chunk is requested separately: its rows can be rendered before the others arrive.
    pub(super) fn read_list(&mut self, index: ListIndex) {
        let evicted = self
            .cache
            .list(index)
            .filter(|list| !list.loaded)
            .and_then(|list| self.persistence.evicted_lists.take(&list.key));
        if let Some(key) = evicted {
            let name = list_name(&key);
            self.persistence.reading.insert(name.clone());
            self.effects.push(Effect::Read(Namespace::Lists, vec![name]));
            return;
        }
        let Some(list) = self.cache.list(index).filter(|l| l.loading_from_disk) else { return };
        let chunks = list.chunks.clone();
        self.read_chunks(chunks.iter().take(1).copied());
        self.read_chunks(chunks.into_iter().skip(1));
        self.finish_list(index);
    }

    /// Reads all chunks if a row is not in memory: the chunk that contains it is unknown.
    pub(super) fn read_row(&mut self, slot: Slot) {
        if self.cache.row(slot).is_some_and(|row| row.base.is_none()) {
            let all: Vec<ChunkId> = self.persistence.chunks.keys().copied().collect();
            self.read_chunks(all.into_iter());
        }
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
            for key in keys {
                self.persistence.reading.remove(key);
            }
            for (_, bytes) in entries {
                self.hydrate_list(&bytes, false);
            }
            let loading: Vec<ListIndex> =
                self.cache.lists().filter(|(_, l)| l.loading_from_disk).map(|(i, _)| i).collect();
            for index in loading {
                self.read_list(index);
                if let Some(list) = self.cache.list(index) {
                    self.changed.insert(Query::List(list.key.clone()));
                }
            }
            return self.ensure_observed_fresh(now);
        }
        let mut loaded: DetHashSet<Slot> = DetHashSet::default();
        let mut entries: DetHashMap<String, Vec<u8>> = entries.into_iter().collect();
        for key in keys {
            self.persistence.reading.remove(key);
            let Some(number) = key.strip_prefix(CHUNK_PREFIX).and_then(|n| n.parse::<ChunkId>().ok()) else { continue };
            if self.persistence.chunks.get(&number).is_none_or(|chunk| chunk.read) {
                continue;
            }
            match entries.remove(key).as_deref().map(unpack) {
                Some(Ok((code, rows))) => self.load_chunk(number, &code, rows, &mut loaded),
                // Only the damaged chunk is lost: its rows are fetched again.
                _ => {
                    self.persistence.chunks.remove(&number);
                    self.persistence.writes.push(Write::Remove(Namespace::Entities, key.clone()));
                }
            }
        }
        for slot in &loaded {
            self.recompute_row(*slot, true);
            // A list that was received since does not contain the row. Only the server knows
            // whether the row still belongs to it.
            let is_contradicted = |row: &CachedRow| {
                let mut lists = row.lists.iter().filter_map(|index| self.cache.list(*index));
                row.stale && lists.any(|list| list.loaded && !list.stale)
            };
            if (self.persistence.revalidating || self.cache.row(*slot).is_some_and(is_contradicted))
                && let Some(entity) = self.cache.entity(*slot)
            {
                self.request_row(&entity);
            }
        }
        if self.persistence.chunks.values().all(|chunk| chunk.read) {
            self.persistence.revalidating = false;
            // No unread chunk remains that could contain removed rows.
            for id in std::mem::take(&mut self.persistence.pending_removals) {
                self.persistence.writes.push(Write::Remove(Namespace::Entities, row_name(id)));
            }
            let unread: Vec<Slot> = self.cache.rows().filter(|(_, r)| r.unloaded).map(|(slot, _)| slot).collect();
            for slot in unread {
                if let Some(row) = self.cache.row_mut(slot) {
                    row.unloaded = false;
                }
            }
            for query in self.observer_counts.keys() {
                self.changed.insert(query.clone());
            }
        }
        let loading: Vec<ListIndex> = self.cache.lists().filter(|(_, l)| l.loading_from_disk).map(|(i, _)| i).collect();
        for index in loading {
            self.finish_list(index);
        }
        self.ensure_observed_fresh(now);
    }

    fn load_chunk(&mut self, number: ChunkId, code: &EntityCode, rows: Vec<PackedRow>, loaded: &mut DetHashSet<Slot>) {
        let mut slots = BTreeSet::new();
        for packed in rows {
            if self.persistence.pending_removals.contains(&packed.id) {
                self.persistence.dirty_chunks.insert(number);
                continue;
            }
            let entity = EntityRef::new(code.clone(), packed.id);
            if self.tombstones.contains_key(&entity) && self.cache.get(&entity).is_none_or(|row| row.base.is_none()) {
                self.persistence.dirty_chunks.insert(number);
                continue;
            }
            let slot = self.cache.slot_or_insert(&entity);
            let Some(row) = self.cache.row_mut(slot) else { continue };
            if row.chunk.is_some_and(|chunk| chunk != number) {
                // The row has been packed into another chunk since.
                self.persistence.dirty_chunks.insert(number);
                continue;
            }
            row.chunk = Some(number);
            slots.insert(slot);
            if row.base.is_none() {
                row.set_base(Some(packed.raw));
                (row.version, row.permission) = (packed.version, packed.permission);
                (row.stale, row.unloaded) = (true, false);
                loaded.insert(slot);
            } else if row.version != packed.version && !row.in_delta_log {
                self.persistence.rows.insert(slot);
            }
        }
        self.persistence.chunks.insert(number, Chunk { read: true, evicted: false, rows: slots });
    }

    /// Sorts a list if all of its chunks have been read.
    fn finish_list(&mut self, index: ListIndex) {
        let Some(list) = self.cache.list(index).filter(|l| l.loading_from_disk) else { return };
        let unread = |number: &ChunkId| self.persistence.chunks.get(number).is_some_and(|chunk| !chunk.read);
        if list.chunks.iter().any(unread) {
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
        for slot in self.persistence.logged.clone() {
            self.cache.reindex_row(slot);
        }
        if let Some(list) = self.cache.list_mut(index)
            && !list.chunks.iter().all(|number| self.persistence.chunks.contains_key(number))
        {
            // A chunk was damaged: the missing rows are fetched again.
            (list.stale, list.complete) = (true, false);
        }
        if let Some(filter) = &key.parent_filter {
            self.apply_pending_links(&filter.parent);
        }
        if key.recursive {
            // Lists inside the tree that were observed before the tree was loaded.
            let waiting = self
                .cache
                .lists_of(&key.code)
                .filter(|list| list.observer_count > 0 && !list.loaded && !list.key.recursive);
            let waiting: Vec<ListKey> =
                waiting.map(|list| list.key.base_list().unwrap_or_else(|| list.key.clone())).collect();
            for key in waiting {
                self.derive_list_from_tree(&key);
                self.mark_changed(Query::List(key));
            }
        }
        self.mark_changed(Query::List(key));
        self.rebuild_derived_lists(index);
    }

    /// Rebuilds the lists that were derived from a list before it was loaded completely.
    fn rebuild_derived_lists(&mut self, index: ListIndex) {
        let is_derived_from_it = |derived_list: &crate::cache::CachedList| {
            derived_list.key.base_list().and_then(|w| self.cache.find_list(&w)) == Some(index)
        };
        let derived: Vec<ListIndex> = self
            .cache
            .lists()
            .filter(|(_, derived_list)| derived_list.derived && is_derived_from_it(derived_list))
            .map(|(i, _)| i)
            .collect();
        for derived_list in derived {
            self.cache.derive(derived_list, index);
            if let Some(list) = self.cache.list(derived_list) {
                self.changed.insert(Query::List(list.key.clone()));
            }
        }
    }
}
