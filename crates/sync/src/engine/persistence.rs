//! The device: what is written, and what is let go. Rows lie in packed chunks, live changes beside them; where both hold a row the change
//! counts. The tab that leads alone writes here, or two would pack over each other.

use super::Engine;
use crate::cache::{ListIndex, Slot};
use crate::chunk_codec::{CHUNK_ROWS, pack, pack_ids};
use crate::collections::{DetHashMap, DetHashSet, VecMap};
use crate::event::{BatchId, Effect};
use crate::query_key::{ListKey, ReferenceDataKey};
use crate::reconnect::ConnectionState;
use crate::store::{CHUNK_PREFIX, Namespace, ROW_PREFIX, StoreError, Write};
use pmo_domain::{EntityCode, EntityRef};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::sync::Arc;
use uuid::Uuid;

/// The format of the cache as a whole. Another is dropped and fetched again.
pub(super) const STORAGE_FORMAT_VERSION: &[u8] = b"3";
/// Chunks that are read at once in the background.
const MAX_CHUNK_READS: usize = 20;
/// How long a list may lie on the device as it was before, in milliseconds: what it lacks lies beside the chunks.
const LIST_FLUSH_DELAY_MS: f64 = 2000.0;
/// Batches in a row that the device may refuse before it is left alone.
const MAX_FAILURES: u32 = 3;
/// How often it is noted that the server was reached, in milliseconds.
const LEASE_RENEWAL_MS: f64 = 60_000.0;

/// A chunk on the device.
#[derive(Default)]
pub(super) struct Chunk {
    /// Its rows are in memory.
    pub(super) read: bool,
    /// Nobody has looked at its rows for long: it is read again when somebody does.
    pub(super) evicted_lists: bool,
    /// Those of its rows that count.
    pub(super) rows: BTreeSet<Slot>,
}

/// What is known of the device.
#[derive(Default)]
pub(super) struct PersistenceState {
    pub(super) chunks: BTreeMap<u32, Chunk>,
    pub(super) last_batch: u64,
    /// Rows that lie beside the chunks.
    pub(super) logged: BTreeSet<Slot>,
    /// Rows to be written.
    pub(super) rows: BTreeSet<Slot>,
    /// Chunks to be written anew.
    pub(super) dirty_chunks: BTreeSet<u32>,
    /// Things that are gone and may lie in a chunk that has not been read.
    pub(super) pending_removals: DetHashSet<Uuid>,
    /// Lists to be written.
    pub(super) lists: BTreeSet<ListIndex>,
    /// Names to be written, by type.
    pub(super) names: VecMap<String, ()>,
    /// Lists that are on the device and no longer in memory.
    pub(super) evicted_lists: DetHashSet<ListKey>,
    pub(super) collected_at: f64,
    pub(super) reading: DetHashSet<String>,
    /// What is read from the device is to be asked for as well: what this person may see has changed since it was written.
    pub(super) revalidating: bool,
    /// Entries of the outbox that are on their way off the disk, with the batch that takes them.
    pub(super) outbox_removals: VecMap<Uuid, u64>,
    /// Drafts that are on their way to the disk, with the batch that takes them.
    pub(super) draft_writes: DetHashMap<EntityRef, u64>,
    pub(super) writes: Vec<Write>,
    /// Outbox and drafts are read from the device before the next batch is written.
    pub(super) reread: bool,
    pub(super) cursor_moved: bool,
    /// Transactions in a row that the device did not take.
    pub(super) failures: u32,
    /// The last batch that was out when it last refused.
    pub(super) failed_until: u64,
    pub(super) lists_written_at: f64,
    /// When the server was last reached, as it is on the device.
    pub(super) server_reached_at: f64,
    /// The device has not reached the server for too long: nothing is shown until it has.
    pub(super) locked: bool,
}

impl PersistenceState {
    /// The number of the batch that is being put together.
    pub(super) fn next_batch(&self) -> u64 {
        self.last_batch + 1
    }

    pub(super) fn is_reading(&self) -> bool {
        !self.reading.is_empty()
    }

    /// Everything of this person goes.
    pub(super) fn clear(&mut self) {
        *self =
            Self { last_batch: self.last_batch, writes: Namespace::ALL.map(Write::Clear).to_vec(), ..Self::default() };
    }

    /// A chunk number that is not in use.
    fn allocate_chunk(&mut self) -> u32 {
        let number = self.chunks.keys().next_back().map_or(1, |last| last + 1);
        self.chunks.insert(number, Chunk { read: true, ..Chunk::default() });
        number
    }
}

/// The head of a list on the device.
#[derive(Serialize, Deserialize)]
pub(super) struct ListHead {
    pub(super) key: ListKey,
    pub(super) synced_at: f64,
    pub(super) complete: bool,
    #[serde(default)]
    pub(super) next: Option<String>,
    pub(super) chunks: Vec<u32>,
}

#[derive(Serialize, Deserialize)]
pub(super) struct PersistedMeta {
    pub(super) key: ReferenceDataKey,
    pub(super) data: Value,
    pub(super) synced_at: f64,
}

pub(super) fn chunk_name(number: u32) -> String {
    format!("{CHUNK_PREFIX}{number:08}")
}

pub(super) fn row_name(id: Uuid) -> String {
    format!("{ROW_PREFIX}{id}")
}

pub(super) fn list_name(key: &ListKey) -> String {
    serde_json::to_string(key).unwrap_or_default()
}

impl Engine {
    pub(super) fn mark_row_dirty(&mut self, slot: Slot) {
        self.persistence.rows.insert(slot);
        if self.has_followers() {
            self.tabs.outgoing_update.rows.extend(self.row_update(slot));
        }
    }

    pub(super) fn mark_list_dirty(&mut self, index: ListIndex) {
        self.persistence.lists.insert(index);
        if self.has_followers()
            && let Some(key) = self.cache.list(index).map(|list| list.key.clone()).filter(|key| !key.recursive)
        {
            self.tabs.outgoing_update.lists.extend(self.list_update(&key));
        }
        // Told anew it is written at once: what it lost must not stay on the device.
        self.persistence.lists_written_at = 0.0;
    }

    pub(super) fn remove_list_from_disk(&mut self, key: &ListKey) {
        if let Some(index) = self.cache.find_list(key) {
            self.persistence.lists.remove(&index);
        }
        self.persistence.writes.push(Write::Remove(Namespace::Lists, list_name(key)));
        // Trees are the leader's alone.
        if !key.recursive {
            self.tabs.outgoing_update.lists_gone.push(key.clone());
        }
    }

    pub(super) fn keep_names(&mut self, code: &str) {
        self.persistence.names.insert(code.to_owned(), ());
    }

    pub(super) fn keep_meta(&mut self, key: ReferenceDataKey, data: &Value, now: f64) {
        let kept = PersistedMeta { key, data: data.clone(), synced_at: now };
        let bytes = serde_json::to_vec(&kept).unwrap_or_default();
        self.persistence.writes.push(Write::Put(Namespace::Metadata, format!("meta:{key:?}"), bytes));
        self.tabs.outgoing_update.metas.push((key, kept.data));
    }

    /// A thing leaves the device, wherever it lies there.
    pub(super) fn remove_row_from_disk(&mut self, entity: &EntityRef) {
        self.tabs.outgoing_update.removed.push(entity.clone());
        let name = row_name(entity.id);
        let known = self.cache.slot_of(entity);
        if let Some(slot) = known {
            self.persistence.rows.remove(&slot);
            if let Some(row) = self.cache.row_mut(slot) {
                let (chunk, logged) = (row.chunk, row.in_delta_log);
                (row.chunk, row.in_delta_log) = (0, false);
                self.persistence.logged.remove(&slot);
                if let Some(rest) = self.persistence.chunks.get_mut(&chunk) {
                    rest.rows.remove(&slot);
                    self.persistence.dirty_chunks.insert(chunk);
                }
                if logged {
                    self.persistence.writes.push(Write::Remove(Namespace::Entities, name.clone()));
                }
            }
        }
        if self.persistence.chunks.values().any(|chunk| !chunk.read) {
            self.persistence.pending_removals.insert(entity.id);
            self.persistence.writes.push(Write::Put(Namespace::Entities, name, Vec::new()));
        }
    }

    /// The server was reached: what the device holds may be shown for another lease.
    pub(super) fn renew_lease(&mut self, now: f64) {
        if self.persistence.locked {
            self.persistence.locked = false;
            for query in self.observer_counts.keys() {
                self.changed.insert(query.clone());
            }
        }
        if now - self.persistence.server_reached_at > LEASE_RENEWAL_MS {
            self.persistence.server_reached_at = now;
            let bytes = serde_json::to_vec(&now).unwrap_or_default();
            self.persistence.writes.push(Write::Put(Namespace::Metadata, "reached".into(), bytes));
        }
    }

    /// What this person may see has changed: what lies on the device unread is read, so that it is asked for as well.
    pub(super) fn load_unread_for_revalidation(&mut self) {
        self.persistence.revalidating = self.persistence.chunks.values().any(|chunk| !chunk.read);
        let unread: Vec<u32> = self.persistence.chunks.keys().copied().collect();
        self.read_chunks(unread.into_iter());
    }

    pub(super) fn persisted(&mut self, batches: RangeInclusive<u64>, outcome: Result<(), StoreError>) {
        match outcome {
            Ok(()) => self.persistence.failures = 0,
            Err(error) => {
                self.effects.push(Effect::PersistFailed(error));
                if self.person.is_none() {
                    return;
                }
                // What was out when the device refused lies in the rebuilding already.
                if *batches.end() > self.persistence.failed_until {
                    self.persistence.failures += 1;
                    self.persistence.failed_until = self.persistence.last_batch;
                    if self.leader {
                        self.rebuild_cache();
                    }
                }
                if !self.is_disabled() {
                    self.rewrite_user_data(&batches);
                }
            }
        }
        self.on_entries_persisted(&batches);
    }

    /// The device has refused so often that it is left alone: what is in memory is all there is.
    pub(super) fn is_disabled(&self) -> bool {
        self.persistence.failures > MAX_FAILURES
    }

    /// The device did not take a batch: what lies there now is not what is thought to lie there, and may be what must not. The cache is emptied, which makes
    /// room as well, and what somebody looks at is written anew. After some failures in a row nothing is written but that it is empty.
    pub(super) fn rebuild_cache(&mut self) {
        let slots: Vec<Slot> = self.cache.rows().map(|(slot, _)| slot).collect();
        for slot in &slots {
            if let Some(row) = self.cache.row_mut(*slot) {
                (row.chunk, row.in_delta_log, row.unloaded) = (0, false, false);
            }
        }
        let filling: Vec<ListIndex> = self.cache.lists().filter(|(_, l)| l.loading_from_disk).map(|(i, _)| i).collect();
        for index in filling {
            self.cache.finish_loading(index);
            if let Some(list) = self.cache.list_mut(index) {
                (list.stale, list.complete) = (true, false);
            }
        }
        let PersistenceState {
            last_batch,
            server_reached_at: reached,
            locked,
            outbox_removals: dropping,
            draft_writes: drafting,
            failures,
            failed_until,
            writes,
            ..
        } = std::mem::take(&mut self.persistence);
        self.persistence = PersistenceState {
            last_batch,
            server_reached_at: reached,
            locked,
            outbox_removals: dropping,
            draft_writes: drafting,
            failures,
            failed_until,
            ..PersistenceState::default()
        };
        self.persistence.writes.extend(writes.into_iter().filter(|write| write.area().is_user_data()));
        self.persistence.writes.extend(Namespace::CACHE.map(Write::Clear));
        if failures > MAX_FAILURES {
            return;
        }
        self.persistence.writes.push(Write::Put(Namespace::Metadata, "format".into(), STORAGE_FORMAT_VERSION.to_vec()));
        self.persistence.writes.push(Write::Put(
            Namespace::Metadata,
            "reached".into(),
            serde_json::to_vec(&reached).unwrap_or_default(),
        ));
        let metas: Vec<(ReferenceDataKey, Arc<Value>, f64)> =
            self.metas.iter().map(|(key, meta)| (*key, meta.data.clone(), meta.synced_at)).collect();
        for (key, data, synced_at) in metas {
            self.keep_meta(key, &data, synced_at);
        }
        for code in self.names.keys() {
            self.persistence.names.insert(code.clone(), ());
        }
        for root in self.pinned.keys().cloned().collect::<Vec<_>>() {
            self.persist_pin(&root);
        }
        self.persistence.cursor_moved = true;
        let in_sight =
            |index: &ListIndex| self.cache.list(*index).is_some_and(|list| list.observer_count > 0 || !list.derived);
        let needed = |slot: &Slot| {
            self.cache
                .row(*slot)
                .is_some_and(|row| row.base.is_some() && (row.observer_count > 0 || row.lists.iter().any(in_sight)))
        };
        let rows: Vec<Slot> = slots.into_iter().filter(needed).collect();
        self.persistence.rows.extend(rows);
        let lists: Vec<ListIndex> =
            self.cache.lists().filter(|(_, l)| l.loaded && !l.derived).map(|(i, _)| i).collect();
        self.persistence.lists.extend(lists);
    }

    /// At the end of every event: what has changed goes to the device as one batch.
    pub(super) fn flush(&mut self, now: f64) {
        if !self.leader && self.person.is_some() {
            // Another tab writes the cache; what a person typed is written by whoever they typed it to.
            self.persistence.rows.clear();
            self.persistence.dirty_chunks.clear();
            self.persistence.lists.clear();
            self.persistence.names.clear();
            self.persistence.cursor_moved = false;
            self.persistence.writes.retain(|write| write.area().is_user_data());
        }
        if self.persistence.failures > MAX_FAILURES {
            // There is no cache on this device; that it holds nothing is all that is still said to it.
            self.persistence.rows.clear();
            self.persistence.dirty_chunks.clear();
            self.persistence.lists.clear();
            self.persistence.writes.retain(|write| write.area().is_user_data() || matches!(write, Write::Clear(_)));
        }
        if self.person.is_some() {
            self.pack_rows();
            self.rewrite_dirty_chunks();
            self.write_lists(now);
            for (code, ()) in std::mem::take(&mut self.persistence.names) {
                let names = self.names.get(&code).cloned().unwrap_or_default();
                let bytes = serde_json::to_vec(&names).unwrap_or_default();
                self.tabs.outgoing_update.names.insert(code.clone(), names);
                self.persistence.writes.push(Write::Put(Namespace::Metadata, format!("names:{code}"), bytes));
            }
            if std::mem::take(&mut self.persistence.cursor_moved)
                && let Some(place) = self.safe_cursor()
            {
                let bytes = serde_json::to_vec(place).unwrap_or_default();
                self.persistence.writes.push(Write::Put(Namespace::Metadata, "cursor".into(), bytes));
            }
        }
        if !self.persistence.writes.is_empty() {
            self.persistence.last_batch += 1;
            let writes = std::mem::take(&mut self.persistence.writes);
            self.effects.insert(0, Effect::Persist(BatchId(self.persistence.last_batch), writes));
        }
        if std::mem::take(&mut self.persistence.reread) {
            self.effects.insert(0, Effect::ReloadOutboxAndDrafts);
        }
    }

    fn packed(&self, code: &EntityCode, slots: &[Slot]) -> Vec<u8> {
        let rows: Vec<_> = slots
            .iter()
            .filter_map(|slot| {
                let row = self.cache.row(*slot)?;
                Some((row.id, row.version, row.permission, row.base.as_ref()?.as_str()))
            })
            .collect();
        pack(code, rows.into_iter())
    }

    /// Few rows are laid beside the chunks; many are packed.
    fn pack_rows(&mut self) {
        let slots: Vec<Slot> = std::mem::take(&mut self.persistence.rows).into_iter().collect();
        let slots: Vec<Slot> =
            slots.into_iter().filter(|slot| self.cache.row(*slot).is_some_and(|row| row.base.is_some())).collect();
        if slots.len() >= self.settings.bulk_pack_threshold {
            return self.pack_into_chunks(slots);
        }
        for slot in slots {
            let code = self.cache.code(slot);
            let bytes = self.packed(&code, &[slot]);
            let Some(row) = self.cache.row_mut(slot) else { continue };
            row.in_delta_log = true;
            self.persistence.pending_removals.remove(&row.id);
            self.persistence.writes.push(Write::Put(Namespace::Entities, row_name(row.id), bytes));
            self.persistence.logged.insert(slot);
        }
    }

    fn pack_into_chunks(&mut self, slots: Vec<Slot>) {
        let mut fresh: VecMap<EntityCode, Vec<Slot>> = VecMap::default();
        for slot in slots {
            let code = self.cache.code(slot);
            let Some(row) = self.cache.row_mut(slot) else { continue };
            if row.in_delta_log || self.persistence.pending_removals.remove(&row.id) {
                row.in_delta_log = false;
                self.persistence.logged.remove(&slot);
                self.persistence.writes.push(Write::Remove(Namespace::Entities, row_name(row.id)));
            }
            if row.chunk == 0 {
                fresh.get_or_insert_with(code, Vec::new).push(slot);
            } else {
                self.persistence.dirty_chunks.insert(row.chunk);
            }
        }
        for (_, slots) in fresh {
            for part in slots.chunks(CHUNK_ROWS) {
                let number = self.persistence.allocate_chunk();
                for slot in part {
                    if let Some(row) = self.cache.row_mut(*slot) {
                        row.chunk = number;
                    }
                }
                if let Some(chunk) = self.persistence.chunks.get_mut(&number) {
                    chunk.rows.extend(part.iter().copied());
                }
                self.persistence.dirty_chunks.insert(number);
            }
        }
    }

    fn rewrite_dirty_chunks(&mut self) {
        for number in std::mem::take(&mut self.persistence.dirty_chunks) {
            let Some(chunk) = self.persistence.chunks.get(&number).filter(|chunk| chunk.read) else { continue };
            let slots: Vec<Slot> = chunk.rows.iter().copied().collect();
            let Some(first) = slots.first() else {
                self.persistence.chunks.remove(&number);
                self.persistence.writes.push(Write::Remove(Namespace::Entities, chunk_name(number)));
                continue;
            };
            let bytes = self.packed(&self.cache.code(*first), &slots);
            self.persistence.writes.push(Write::Put(Namespace::Entities, chunk_name(number), bytes));
        }
    }

    fn write_lists(&mut self, now: f64) {
        if self.persistence.lists.is_empty() || now - self.persistence.lists_written_at < LIST_FLUSH_DELAY_MS {
            return;
        }
        self.persistence.lists_written_at = now;
        for index in std::mem::take(&mut self.persistence.lists) {
            let Some(list) =
                self.cache.list(index).filter(|l| l.loaded && !l.derived && !l.loading_from_disk && !l.is_from_tree())
            else {
                continue;
            };
            let rows = list.slots().iter().filter_map(|slot| self.cache.row(*slot));
            let mut chunks = BTreeSet::new();
            for row in rows.filter(|row| row.chunk != 0) {
                chunks.insert(row.chunk);
            }
            let chunks: Vec<u32> = chunks.into_iter().collect();
            let head = ListHead {
                key: list.key.clone(),
                synced_at: list.synced_at,
                complete: list.complete,
                next: list.next_cursor.clone(),
                chunks,
            };
            let head = serde_json::to_string(&head).unwrap_or_default();
            let bytes = pack_ids(&head, self.cache.ids(list).iter().copied());
            self.persistence.writes.push(Write::Put(Namespace::Lists, list_name(&list.key), bytes));
            if let Some(list) = self.cache.list_mut(index) {
                list.dirty = false;
            }
        }
    }

    /// Now and then: what lies beside the chunks is folded in, lists are written, what nobody has looked at for long leaves memory, and what has not been
    /// read yet is read a little at a time.
    pub(super) fn tick_device(&mut self, now: f64) {
        if self.leader && self.persistence.logged.len() > self.settings.compaction_threshold {
            self.pack_into_chunks(self.persistence.logged.iter().copied().collect());
            let dirty: Vec<ListIndex> = self.cache.lists().filter(|(_, l)| l.dirty).map(|(i, _)| i).collect();
            self.persistence.lists.extend(dirty);
        }
        if now - self.persistence.collected_at > self.settings.gc_after_ms / 10.0 {
            self.persistence.collected_at = now;
            self.collect_garbage(now);
        }
        if !self.persistence.is_reading() && self.session.link == ConnectionState::Open {
            let wanted =
                |chunk: &Chunk| !chunk.read && (!chunk.evicted_lists || !self.persistence.pending_removals.is_empty());
            let unread: Vec<u32> =
                self.persistence.chunks.iter().filter(|(_, chunk)| wanted(chunk)).map(|(number, _)| *number).collect();
            self.read_chunks(unread.into_iter().take(MAX_CHUNK_READS));
        }
    }

    /// Little room is left on the device: what nobody has looked at for long goes, and where nothing of the kind is left, all that nobody looks at. What a
    /// person typed never does.
    pub(super) fn evict(&mut self, now: f64) {
        if self.leader && self.person.is_some() && !self.evict_unobserved() {
            self.collect_garbage(now + self.settings.gc_after_ms + 1.0);
            self.evict_unobserved();
        }
    }

    /// Takes off the device what is not in memory. Answers whether there was anything.
    fn evict_unobserved(&mut self) -> bool {
        let needed: BTreeSet<u32> = self.cache.lists().flat_map(|(_, list)| list.chunks.iter().copied()).collect();
        let chunks: Vec<u32> = self
            .persistence
            .chunks
            .iter()
            .filter(|(n, c)| c.evicted_lists && !needed.contains(n))
            .map(|(n, _)| *n)
            .collect();
        let lists = std::mem::take(&mut self.persistence.evicted_lists);
        let any = !chunks.is_empty() || !lists.is_empty();
        for number in chunks {
            self.persistence.chunks.remove(&number);
            self.persistence.writes.push(Write::Remove(Namespace::Entities, chunk_name(number)));
        }
        self.persistence.writes.extend(lists.iter().map(|key| Write::Remove(Namespace::Lists, list_name(key))));
        any
    }

    /// What nobody has looked at for long leaves memory; on the device it stays.
    fn collect_garbage(&mut self, now: f64) {
        let old = |at: f64| now - at > self.settings.gc_after_ms;
        // What a list that somebody looks at follows from is needed as well.
        let wholes: Vec<ListKey> = self
            .cache
            .lists()
            .filter(|(_, l)| l.derived && l.observer_count > 0)
            .filter_map(|(_, l)| l.key.base_list())
            .collect();
        let lists: Vec<ListIndex> = self
            .cache
            .lists()
            .filter(|(index, list)| {
                list.observer_count == 0
                    && old(list.unobserved_since)
                    && !list.loading_from_disk
                    && !self.persistence.lists.contains(index)
                    && !wholes.contains(&list.key)
            })
            .map(|(index, _)| index)
            .collect();
        for index in lists {
            let Some(list) = self.cache.drop_list(index) else { continue };
            if !list.derived && list.loaded && self.leader && !list.dirty {
                self.persistence.evicted_lists.insert(list.key);
            }
        }
        let unneeded = |cache: &crate::cache::Cache, slot: &Slot| {
            cache.row(*slot).is_some_and(|row| {
                row.lists.is_empty() && row.observer_count == 0 && row.local.is_none() && !row.in_delta_log
            })
        };
        let mut gone: Vec<Slot> = Vec::new();
        for chunk in self.persistence.chunks.values_mut().filter(|chunk| chunk.read) {
            if !chunk.rows.is_empty() && chunk.rows.iter().all(|slot| unneeded(&self.cache, slot)) {
                gone.extend(std::mem::take(&mut chunk.rows));
                (chunk.read, chunk.evicted_lists) = (false, true);
            }
        }
        if !self.leader {
            let alone = self.cache.rows().filter(|(slot, row)| row.chunk == 0 && unneeded(&self.cache, slot));
            gone.extend(alone.map(|(slot, _)| slot));
        }
        gone.into_iter().for_each(|slot| self.drop_row(slot));
    }
}
