//! The device: what it kept, and how that comes back. Live changes come first, then lists in the order that was kept, then chunks as somebody needs them.
//! It must never take what the device holds for newer than what the server said.

use super::persistence::{
    Chunk, ListHead, PersistedMeta, PersistenceState, STORAGE_FORMAT_VERSION, chunk_name, list_name, row_name,
};
use super::pinned_trees::PIN_KEY_PREFIX;
use super::{Engine, FeedPosition, ReferenceData};
use crate::cache::{CachedRow, ListIndex, Slot};
use crate::chunk_codec::{PackedRow, unpack, unpack_ids};
use crate::collections::{DetHashMap, DetHashSet};
use crate::event::Effect;
use crate::query_key::{ListKey, Query};
use crate::store::{CHUNK_PREFIX, KeyValue, Namespace, PersistedState, ROW_PREFIX, Write, json};
use pmo_domain::{EntityCode, EntityRef, PersonId};
use std::collections::BTreeSet;
use std::sync::Arc;
use uuid::Uuid;

/// Chunks that are read by one question to the device.
const MAX_CHUNKS_PER_READ: usize = 4;

impl Engine {
    pub(super) fn start(&mut self, person: PersonId, mut stored: PersistedState, term: Option<u64>, now: f64) {
        self.person = Some(person);
        self.leader = term.is_some();
        let format = stored.metadata.iter().find(|(name, _)| name == "format").map(|(_, bytes)| bytes.as_slice());
        if format != Some(STORAGE_FORMAT_VERSION) {
            // Another format, or nothing yet.
            let empty = stored.lists.is_empty() && stored.chunks.is_empty() && stored.log.is_empty();
            let anything = format.is_some() || !empty;
            if anything {
                self.persistence.writes.extend(Namespace::CACHE.map(Write::Clear));
            }
            self.persistence.writes.push(Write::Put(
                Namespace::Metadata,
                "format".into(),
                STORAGE_FORMAT_VERSION.to_vec(),
            ));
            stored = PersistedState { drafts: stored.drafts, outbox: stored.outbox, ..PersistedState::default() };
        }
        for (name, bytes) in &stored.metadata {
            self.hydrate_metadata(name, bytes);
        }
        self.persistence.locked = self.persistence.server_reached_at > 0.0
            && now - self.persistence.server_reached_at > self.settings.offline_lease_ms;
        self.hydrate_chunk_index(&stored);
        for (_, bytes) in &stored.lists {
            self.hydrate_list(bytes, false);
        }
        self.replay_delta_log(&stored.log);
        self.hydrate_drafts(stored.drafts, now);
        self.reconcile_outbox(stored.outbox);
        let looked_at: Vec<(Query, u32)> = self.observer_counts.iter().map(|(q, n)| (q.clone(), *n)).collect();
        for (query, times) in looked_at {
            for _ in 0..times {
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

    /// This tab leads: what another packed meanwhile is read again; what this one knows better stays.
    pub(super) fn lead(&mut self, stored: PersistedState, term: u64, now: f64) {
        if self.person.is_none() {
            return;
        }
        self.leader = true;
        self.tabs.term_unverified = false;
        // What another tab could not answer this one asks for itself.
        self.failed.clear();
        self.start_election_timer(term, now);
        let slots: Vec<Slot> = self.cache.rows().map(|(slot, _)| slot).collect();
        for slot in &slots {
            if let Some(row) = self.cache.row_mut(*slot) {
                // The leader before may have heard of a change, and moved the cursor, without living to fetch it.
                (row.chunk, row.in_delta_log, row.stale) = (0, false, true);
            }
        }
        self.cache.lists_mut().for_each(|list| list.stale = true);
        let PersistenceState {
            last_batch,
            server_reached_at: reached,
            locked,
            outbox_removals: dropping,
            draft_writes: drafting,
            writes,
            ..
        } = std::mem::take(&mut self.persistence);
        self.persistence = PersistenceState {
            last_batch,
            server_reached_at: reached,
            locked,
            outbox_removals: dropping,
            draft_writes: drafting,
            writes,
            ..PersistenceState::default()
        };
        self.hydrate_chunk_index(&stored);
        self.replay_delta_log(&stored.log);
        for (name, bytes) in stored.metadata.iter().filter(|(name, _)| name.starts_with(PIN_KEY_PREFIX)) {
            self.hydrate_metadata(name, bytes);
        }
        // Trees were the other leader's: what this tab read of them at its start may be packed elsewhere by now.
        let trees: Vec<ListIndex> =
            self.cache.lists().filter(|(_, list)| list.key.recursive).map(|(index, _)| index).collect();
        for index in trees {
            self.cache.drop_list(index);
        }
        for (_, bytes) in &stored.lists {
            self.hydrate_list(bytes, true);
        }
        self.restore_pins(now);
        // What was typed here may have been sent by the tab that led.
        self.outbox.iter_mut().for_each(|entry| entry.attempts = entry.attempts.max(1));
        self.reconcile_outbox(stored.outbox);
        // What is held here and not there is written again.
        for slot in slots {
            if self
                .cache
                .row(slot)
                .is_some_and(|row| row.base.is_some() && row.chunk == 0 && !row.in_delta_log && !row.unloaded)
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
            self.names.insert(code.to_owned(), json(bytes).unwrap_or_default());
        } else if name.starts_with(PIN_KEY_PREFIX) {
            if let Some(kept) = json(bytes) {
                self.take_kept_root(kept);
            }
        } else if name == "cursor" {
            self.cursor = json::<FeedPosition>(bytes);
        } else if name == "reached" {
            self.persistence.server_reached_at = json(bytes).unwrap_or_default();
        } else if name.starts_with("meta:")
            && let Some(kept) = json::<PersistedMeta>(bytes)
        {
            let meta = ReferenceData { data: Arc::new(kept.data), synced_at: kept.synced_at, stale: true };
            self.apply_reference_data(kept.key, meta);
        }
    }

    fn hydrate_chunk_index(&mut self, stored: &PersistedState) {
        for name in &stored.chunks {
            if let Some(number) = name.strip_prefix(CHUNK_PREFIX).and_then(|n| n.parse().ok()) {
                self.persistence.chunks.insert(number, Chunk::default());
            }
        }
    }

    fn hydrate_list(&mut self, bytes: &[u8], only_of_trees: bool) {
        let Some((head, ids)) = unpack_ids(bytes) else { return };
        let Ok(head) = serde_json::from_str::<ListHead>(head) else { return };
        if only_of_trees && !head.key.recursive {
            return;
        }
        let index = self.cache.list_or_insert(&head.key, &self.catalogue);
        if self.cache.list(index).is_some_and(|list| list.loaded) {
            return; // the server was faster
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

    /// Live changes come first: what they hold is newer than any chunk.
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
        // A list that lacks nothing is in order at once.
        let lists: Vec<ListIndex> = self.cache.lists().filter(|(_, l)| l.loading_from_disk).map(|(i, _)| i).collect();
        lists.into_iter().for_each(|index| self.finish_list(index));
    }

    pub(super) fn read_chunks(&mut self, numbers: impl Iterator<Item = u32>) {
        let unread = |number: &u32| self.persistence.chunks.get(number).is_some_and(|chunk| !chunk.read);
        let names: Vec<String> =
            numbers.filter(unread).map(chunk_name).filter(|name| !self.persistence.reading.contains(name)).collect();
        self.persistence.reading.extend(names.iter().cloned());
        // A few at a time: what is read lies in memory twice until it has been taken in.
        for names in names.chunks(MAX_CHUNKS_PER_READ) {
            self.effects.push(Effect::Read(Namespace::Entities, names.to_vec()));
        }
    }

    /// Asks the device for the rows of a list. The first ones come by themselves: they can be drawn before the rest is there.
    pub(super) fn read_list(&mut self, index: ListIndex) {
        let parked = self
            .cache
            .list(index)
            .filter(|list| !list.loaded)
            .and_then(|list| self.persistence.evicted_lists.take(&list.key));
        if let Some(key) = parked {
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

    /// Asks the device for a row of which it is not known where it lies.
    pub(super) fn read_row(&mut self, slot: Slot) {
        if self.cache.row(slot).is_some_and(|row| row.base.is_none()) {
            let all: Vec<u32> = self.persistence.chunks.keys().copied().collect();
            self.read_chunks(all.into_iter());
        }
    }

    pub(super) fn on_store_read(&mut self, area: Namespace, names: &[String], found: Vec<KeyValue>, now: f64) {
        if self.person.is_none() {
            return;
        }
        if area == Namespace::Lists {
            for name in names {
                self.persistence.reading.remove(name);
            }
            for (_, bytes) in found {
                self.hydrate_list(&bytes, false);
            }
            let filling: Vec<ListIndex> =
                self.cache.lists().filter(|(_, l)| l.loading_from_disk).map(|(i, _)| i).collect();
            for index in filling {
                self.read_list(index);
                if let Some(list) = self.cache.list(index) {
                    self.changed.insert(Query::List(list.key.clone()));
                }
            }
            return self.ensure_observed_fresh(now);
        }
        let mut news: DetHashSet<Slot> = DetHashSet::default();
        let mut found: DetHashMap<String, Vec<u8>> = found.into_iter().collect();
        for name in names {
            self.persistence.reading.remove(name);
            let Some(number) = name.strip_prefix(CHUNK_PREFIX).and_then(|n| n.parse::<u32>().ok()) else { continue };
            if self.persistence.chunks.get(&number).is_none_or(|chunk| chunk.read) {
                continue;
            }
            match found.remove(name).as_deref().map(unpack) {
                Some(Ok((code, rows))) => self.load_chunk(number, &code, rows, &mut news),
                // What is damaged costs itself alone: its rows are asked for again.
                _ => {
                    self.persistence.chunks.remove(&number);
                    self.persistence.writes.push(Write::Remove(Namespace::Entities, name.clone()));
                }
            }
        }
        for slot in &news {
            self.recompute_row(*slot, true);
            // A list that has been told since lacked it: whether it is there still only the server knows.
            let told_without = |row: &CachedRow| {
                let mut lists = row.lists.iter().filter_map(|index| self.cache.list(*index));
                row.stale && lists.any(|list| list.loaded && !list.stale)
            };
            if (self.persistence.revalidating || self.cache.row(*slot).is_some_and(told_without))
                && let Some(entity) = self.cache.entity(*slot)
            {
                self.request_row(&entity);
            }
        }
        if self.persistence.chunks.values().all(|chunk| chunk.read) {
            self.persistence.revalidating = false;
            // Nothing unread is left that could hold what is gone.
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
        let filling: Vec<ListIndex> = self.cache.lists().filter(|(_, l)| l.loading_from_disk).map(|(i, _)| i).collect();
        for index in filling {
            self.finish_list(index);
        }
        self.ensure_observed_fresh(now);
    }

    fn load_chunk(&mut self, number: u32, code: &EntityCode, rows: Vec<PackedRow>, news: &mut DetHashSet<Slot>) {
        let mut kept = BTreeSet::new();
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
            if row.chunk != 0 && row.chunk != number {
                // It has been packed elsewhere since.
                self.persistence.dirty_chunks.insert(number);
                continue;
            }
            row.chunk = number;
            kept.insert(slot);
            if row.base.is_none() {
                row.set_base(Some(packed.raw));
                (row.version, row.permission) = (packed.version, packed.permission);
                (row.stale, row.unloaded) = (true, false);
                news.insert(slot);
            } else if row.version != packed.version && !row.in_delta_log {
                self.persistence.rows.insert(slot);
            }
        }
        self.persistence.chunks.insert(number, Chunk { read: true, evicted_lists: false, rows: kept });
    }

    /// A list all of whose chunks have been read is in its own order from now on.
    fn finish_list(&mut self, index: ListIndex) {
        let Some(list) = self.cache.list(index).filter(|l| l.loading_from_disk) else { return };
        let unread = |number: &u32| self.persistence.chunks.get(number).is_some_and(|chunk| !chunk.read);
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
        // What was changed beside the chunks may belong here by now.
        for slot in self.persistence.logged.clone() {
            self.cache.reindex_row(slot);
        }
        if let Some(list) = self.cache.list_mut(index)
            && !list.chunks.iter().all(|number| self.persistence.chunks.contains_key(number))
        {
            // Some of it was damaged: what is missing is asked for again.
            (list.stale, list.complete) = (true, false);
        }
        if let Some(below) = &key.below {
            self.apply_pending_links(&below.parent);
        }
        if key.recursive {
            // What was looked at inside the tree before it was there.
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

    /// What was derived from a list while it was not read whole is worked out anew.
    fn rebuild_derived_lists(&mut self, index: ListIndex) {
        let of_it = |part: &crate::cache::CachedList| {
            part.key.base_list().and_then(|w| self.cache.find_list(&w)) == Some(index)
        };
        let parts: Vec<ListIndex> =
            self.cache.lists().filter(|(_, part)| part.derived && of_it(part)).map(|(i, _)| i).collect();
        for part in parts {
            self.cache.derive(part, index);
            if let Some(list) = self.cache.list(part) {
                self.changed.insert(Query::List(list.key.clone()));
            }
        }
    }
}
