//! Write path to disk: dirty tracking, batches, compaction, eviction and garbage collection.
//!
//! Rows are stored in packed chunks. Recent changes are stored as single rows beside the chunks
//! (the delta log). If both contain a row, the copy in the delta log is valid.
//!
//! Invariant: only the leader writes the cache. Otherwise two tabs would overwrite each other's
//! chunks.

use super::Engine;
use crate::cache::{ListIndex, Slot};
use crate::chunk_codec::{CHUNK_ROWS, ChunkId, pack, pack_ids};
use crate::collections::{DetHashMap, DetHashSet, VecMap};
use crate::event::{BatchId, Effect};
use crate::query_key::{ListKey, ReferenceDataKey};
use crate::reconnect::ConnectionState;
use crate::store::{CHUNK_PREFIX, Namespace, ROW_PREFIX, StoreError, Write};
use pmo_domain::{EntityCode, EntityRef, UnixMillis};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

/// Version of the storage format of the whole cache.
///
/// A cache in any other format is dropped and fetched again.
pub(super) const STORAGE_FORMAT_VERSION: &[u8] = b"4";
/// Maximum number of chunks that one background read requests.
const MAX_CHUNK_READS: usize = 20;
/// Minimum time between two writes of dirty lists.
///
/// Meanwhile, the rows that a stored list lacks are in the delta log.
const LIST_FLUSH_DELAY: Duration = Duration::from_secs(2);
/// Maximum number of consecutive failures before the cache on disk is disabled.
const MAX_FAILURES: u32 = 3;
/// Minimum time between two writes of the lease time.
const LEASE_RENEWAL: Duration = Duration::from_secs(60);

/// Chunk of rows on disk.
#[derive(Default)]
pub(super) struct Chunk {
    /// Whether the rows of the chunk have been loaded into memory.
    pub(super) read: bool,
    /// Whether the rows were evicted from memory; the chunk is read again on demand.
    pub(super) evicted: bool,
    /// Rows whose valid packed copy is in this chunk.
    pub(super) rows: BTreeSet<Slot>,
}

/// State of the write path, and an index of the data on disk.
#[derive(Default)]
pub(super) struct PersistenceState {
    pub(super) chunks: BTreeMap<ChunkId, Chunk>,
    pub(super) last_batch: u64,
    /// Rows in the delta log.
    pub(super) logged: BTreeSet<Slot>,
    /// Dirty rows to write.
    pub(super) rows: BTreeSet<Slot>,
    /// Dirty chunks to rewrite.
    pub(super) dirty_chunks: BTreeSet<ChunkId>,
    /// Removed entities that may still be in a chunk that has not been read.
    pub(super) pending_removals: DetHashSet<Uuid>,
    /// Dirty lists to write.
    pub(super) lists: BTreeSet<ListIndex>,
    /// Entity types whose reference names must be written.
    pub(super) names: VecMap<String, ()>,
    /// Lists that are on disk but no longer in memory.
    pub(super) evicted_lists: DetHashSet<ListKey>,
    pub(super) collected_at: UnixMillis,
    pub(super) reading: DetHashSet<String>,
    /// Whether rows read from disk must be refetched because access changed after their write.
    pub(super) revalidating: bool,
    /// Outbox entries that are being removed from disk, with the batch that removes them.
    pub(super) outbox_removals: VecMap<Uuid, u64>,
    /// Drafts that are being written to disk, with the batch that writes them.
    pub(super) draft_writes: DetHashMap<EntityRef, u64>,
    pub(super) writes: Vec<Write>,
    /// Whether outbox and drafts must be reloaded from disk before the next batch is written.
    pub(super) reload_pending: bool,
    pub(super) cursor_moved: bool,
    /// Number of consecutive failures of the store.
    pub(super) failures: u32,
    /// Last batch that had been issued when the store last failed.
    ///
    /// Failures of batches up to this one are not counted again.
    pub(super) failed_until: u64,
    pub(super) lists_written_at: UnixMillis,
    /// Time of the last contact with the server as stored on disk.
    pub(super) server_reached_at: UnixMillis,
    /// Whether the offline lease has expired; no data is shown until the server responds again.
    pub(super) locked: bool,
}

impl PersistenceState {
    /// Returns the number of the batch that is being assembled.
    pub(super) fn next_batch(&self) -> u64 {
        self.last_batch + 1
    }

    pub(super) fn is_reading(&self) -> bool {
        !self.reading.is_empty()
    }

    /// Resets the state and schedules the removal of all data of the user.
    pub(super) fn clear(&mut self) {
        *self =
            Self { last_batch: self.last_batch, writes: Namespace::ALL.map(Write::Clear).to_vec(), ..Self::default() };
    }

    /// Allocates an unused chunk number.
    fn allocate_chunk(&mut self) -> ChunkId {
        let number = self.chunks.keys().next_back().map_or(ChunkId::FIRST, |last| last.next());
        self.chunks.insert(number, Chunk { read: true, ..Chunk::default() });
        number
    }
}

/// Header of a stored list.
#[derive(Serialize, Deserialize)]
pub(super) struct ListHead {
    pub(super) key: ListKey,
    pub(super) synced_at: UnixMillis,
    pub(super) complete: bool,
    #[serde(default)]
    pub(super) next: Option<String>,
    pub(super) chunks: Vec<ChunkId>,
}

/// Stored form of reference data.
#[derive(Serialize, Deserialize)]
pub(super) struct PersistedMeta {
    pub(super) key: ReferenceDataKey,
    pub(super) data: Value,
    pub(super) synced_at: UnixMillis,
}

pub(super) fn chunk_name(number: ChunkId) -> String {
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
        // Written without delay: rows that left the list must not stay on disk.
        self.persistence.lists_written_at = UnixMillis::EPOCH;
    }

    pub(super) fn remove_list_from_disk(&mut self, key: &ListKey) {
        if let Some(index) = self.cache.find_list(key) {
            self.persistence.lists.remove(&index);
        }
        self.persistence.writes.push(Write::Remove(Namespace::Lists, list_name(key)));
        // Lists of pinned trees exist only in the leader.
        if !key.recursive {
            self.tabs.outgoing_update.lists_removed.push(key.clone());
        }
    }

    pub(super) fn mark_names_dirty(&mut self, code: &str) {
        self.persistence.names.insert(code.to_owned(), ());
    }

    pub(super) fn persist_reference_data(&mut self, key: ReferenceDataKey, data: &Value, now: UnixMillis) {
        let record = PersistedMeta { key, data: data.clone(), synced_at: now };
        let bytes = serde_json::to_vec(&record).unwrap_or_default();
        self.persistence.writes.push(Write::Put(Namespace::Metadata, format!("meta:{key:?}"), bytes));
        self.tabs.outgoing_update.metas.push((key, record.data));
    }

    /// Removes an entity from disk: from its chunk and from the delta log.
    ///
    /// An entity that may be in an unread chunk is recorded as a pending removal.
    pub(super) fn remove_row_from_disk(&mut self, entity: &EntityRef) {
        self.tabs.outgoing_update.removed.push(entity.clone());
        let name = row_name(entity.id);
        let known = self.cache.slot_of(entity);
        if let Some(slot) = known {
            self.persistence.rows.remove(&slot);
            if let Some(row) = self.cache.row_mut(slot) {
                let (chunk, logged) = (row.chunk, row.in_delta_log);
                (row.chunk, row.in_delta_log) = (None, false);
                self.persistence.logged.remove(&slot);
                if let Some(chunk) = chunk
                    && let Some(state) = self.persistence.chunks.get_mut(&chunk)
                {
                    state.rows.remove(&slot);
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

    /// Records contact with the server: cached data may be shown for another lease period.
    pub(super) fn renew_lease(&mut self, now: UnixMillis) {
        if self.persistence.locked {
            self.persistence.locked = false;
            for query in self.observer_counts.keys() {
                self.changed.insert(query.clone());
            }
        }
        if now.since(self.persistence.server_reached_at) > LEASE_RENEWAL {
            self.persistence.server_reached_at = now;
            let bytes = serde_json::to_vec(&now).unwrap_or_default();
            self.persistence.writes.push(Write::Put(Namespace::Metadata, "reached".into(), bytes));
        }
    }

    /// Reads all unread chunks after an access change, so that their rows are refetched too.
    pub(super) fn load_unread_for_revalidation(&mut self) {
        self.persistence.revalidating = self.persistence.chunks.values().any(|chunk| !chunk.read);
        let numbers: Vec<ChunkId> = self.persistence.chunks.keys().copied().collect();
        self.read_chunks(numbers.into_iter());
    }

    pub(super) fn on_persisted(&mut self, batches: RangeInclusive<u64>, outcome: Result<(), StoreError>) {
        match outcome {
            Ok(()) => self.persistence.failures = 0,
            Err(error) => {
                self.effects.push(Effect::PersistFailed(error));
                if self.person.is_none() {
                    return;
                }
                // The rebuild covers the batches that were issued before the failure.
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

    /// Whether the cache on disk is disabled after too many failures; only memory is used then.
    pub(super) fn is_disabled(&self) -> bool {
        self.persistence.failures > MAX_FAILURES
    }

    /// Clears the cache on disk after a failed batch, and schedules the data in use for writing.
    ///
    /// After a failure the content of the disk is unknown and may include data that must not be
    /// there. Clearing also frees space. After more than [`MAX_FAILURES`] consecutive failures, the
    /// cache stays empty.
    pub(super) fn rebuild_cache(&mut self) {
        let slots: Vec<Slot> = self.cache.rows().map(|(slot, _)| slot).collect();
        for slot in &slots {
            if let Some(row) = self.cache.row_mut(*slot) {
                (row.chunk, row.in_delta_log, row.unloaded) = (None, false, false);
            }
        }
        let loading: Vec<ListIndex> = self.cache.lists().filter(|(_, l)| l.loading_from_disk).map(|(i, _)| i).collect();
        for index in loading {
            self.cache.finish_loading(index);
            if let Some(list) = self.cache.list_mut(index) {
                (list.stale, list.complete) = (true, false);
            }
        }
        let PersistenceState {
            last_batch,
            server_reached_at,
            locked,
            outbox_removals,
            draft_writes,
            failures,
            failed_until,
            writes,
            ..
        } = std::mem::take(&mut self.persistence);
        self.persistence = PersistenceState {
            last_batch,
            server_reached_at,
            locked,
            outbox_removals,
            draft_writes,
            failures,
            failed_until,
            ..PersistenceState::default()
        };
        self.persistence.writes.extend(writes.into_iter().filter(|write| write.namespace().is_user_data()));
        self.persistence.writes.extend(Namespace::CACHE.map(Write::Clear));
        if failures > MAX_FAILURES {
            return;
        }
        self.persistence.writes.push(Write::Put(Namespace::Metadata, "format".into(), STORAGE_FORMAT_VERSION.to_vec()));
        self.persistence.writes.push(Write::Put(
            Namespace::Metadata,
            "reached".into(),
            serde_json::to_vec(&server_reached_at).unwrap_or_default(),
        ));
        let metas: Vec<(ReferenceDataKey, Arc<Value>, UnixMillis)> =
            self.reference_data.iter().map(|(key, meta)| (*key, meta.data.clone(), meta.synced_at)).collect();
        for (key, data, synced_at) in metas {
            self.persist_reference_data(key, &data, synced_at);
        }
        for code in self.names.keys() {
            self.persistence.names.insert(code.clone(), ());
        }
        for root in self.pinned.keys().cloned().collect::<Vec<_>>() {
            self.persist_pin(&root);
        }
        self.persistence.cursor_moved = true;
        let is_retained =
            |index: &ListIndex| self.cache.list(*index).is_some_and(|list| list.observer_count > 0 || !list.derived);
        let needed = |slot: &Slot| {
            self.cache
                .row(*slot)
                .is_some_and(|row| row.base.is_some() && (row.observer_count > 0 || row.lists.iter().any(is_retained)))
        };
        let rows: Vec<Slot> = slots.into_iter().filter(needed).collect();
        self.persistence.rows.extend(rows);
        let lists: Vec<ListIndex> =
            self.cache.lists().filter(|(_, l)| l.loaded && !l.derived).map(|(i, _)| i).collect();
        self.persistence.lists.extend(lists);
    }

    /// Issues the changes of the current event as one batch; runs at the end of every event.
    pub(super) fn flush(&mut self, now: UnixMillis) {
        if !self.leader && self.person.is_some() {
            // Only the leader writes the cache. User data is written by the tab in which it was
            // entered.
            self.persistence.rows.clear();
            self.persistence.dirty_chunks.clear();
            self.persistence.lists.clear();
            self.persistence.names.clear();
            self.persistence.cursor_moved = false;
            self.persistence.writes.retain(|write| write.namespace().is_user_data());
        }
        if self.persistence.failures > MAX_FAILURES {
            // The cache on disk is disabled: only the writes that clear it remain.
            self.persistence.rows.clear();
            self.persistence.dirty_chunks.clear();
            self.persistence.lists.clear();
            self.persistence
                .writes
                .retain(|write| write.namespace().is_user_data() || matches!(write, Write::Clear(_)));
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
                && let Some(position) = self.safe_cursor()
            {
                let bytes = serde_json::to_vec(position).unwrap_or_default();
                self.persistence.writes.push(Write::Put(Namespace::Metadata, "cursor".into(), bytes));
            }
        }
        if !self.persistence.writes.is_empty() {
            self.persistence.last_batch += 1;
            let writes = std::mem::take(&mut self.persistence.writes);
            self.effects.insert(0, Effect::Persist(BatchId(self.persistence.last_batch), writes));
        }
        if std::mem::take(&mut self.persistence.reload_pending) {
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

    /// Writes the dirty rows: a few go to the delta log, many are packed into chunks.
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
        let mut unassigned: VecMap<EntityCode, Vec<Slot>> = VecMap::default();
        for slot in slots {
            let code = self.cache.code(slot);
            let Some(row) = self.cache.row_mut(slot) else { continue };
            if row.in_delta_log || self.persistence.pending_removals.remove(&row.id) {
                row.in_delta_log = false;
                self.persistence.logged.remove(&slot);
                self.persistence.writes.push(Write::Remove(Namespace::Entities, row_name(row.id)));
            }
            match row.chunk {
                Some(chunk) => drop(self.persistence.dirty_chunks.insert(chunk)),
                None => unassigned.get_or_insert_with(code, Vec::new).push(slot),
            }
        }
        for (_, slots) in unassigned {
            for group in slots.chunks(CHUNK_ROWS) {
                let number = self.persistence.allocate_chunk();
                for slot in group {
                    if let Some(row) = self.cache.row_mut(*slot) {
                        row.chunk = Some(number);
                    }
                }
                if let Some(chunk) = self.persistence.chunks.get_mut(&number) {
                    chunk.rows.extend(group.iter().copied());
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

    fn write_lists(&mut self, now: UnixMillis) {
        if self.persistence.lists.is_empty() || now.since(self.persistence.lists_written_at) < LIST_FLUSH_DELAY {
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
            for chunk in rows.filter_map(|row| row.chunk) {
                chunks.insert(chunk);
            }
            let chunks: Vec<ChunkId> = chunks.into_iter().collect();
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

    /// Runs periodic maintenance: compaction, garbage collection and background reads.
    ///
    /// Compaction packs the delta log into chunks and writes the dirty lists. Unread chunks are
    /// read in small portions while the socket is open.
    pub(super) fn tick_device(&mut self, now: UnixMillis) {
        if self.leader && self.persistence.logged.len() > self.settings.compaction_threshold {
            self.pack_into_chunks(self.persistence.logged.iter().copied().collect());
            let dirty: Vec<ListIndex> = self.cache.lists().filter(|(_, l)| l.dirty).map(|(i, _)| i).collect();
            self.persistence.lists.extend(dirty);
        }
        if now.since(self.persistence.collected_at) > self.settings.gc_after / 10 {
            self.persistence.collected_at = now;
            self.collect_garbage(now);
        }
        if !self.persistence.is_reading() && self.session.state == ConnectionState::Open {
            let needs_read =
                |chunk: &Chunk| !chunk.read && (!chunk.evicted || !self.persistence.pending_removals.is_empty());
            let unread: Vec<ChunkId> = self
                .persistence
                .chunks
                .iter()
                .filter(|(_, chunk)| needs_read(chunk))
                .map(|(number, _)| *number)
                .collect();
            self.read_chunks(unread.into_iter().take(MAX_CHUNK_READS));
        }
    }

    /// Frees disk space when storage is low.
    ///
    /// Data that is no longer in memory is removed first. If there is none, all unobserved data is
    /// removed. User data is never removed.
    pub(super) fn evict(&mut self, now: UnixMillis) {
        if self.leader && self.person.is_some() && !self.evict_unobserved() {
            self.collect_garbage(now + self.settings.gc_after + Duration::from_millis(1));
            self.evict_unobserved();
        }
    }

    /// Removes evicted chunks and lists from disk; returns whether there were any.
    fn evict_unobserved(&mut self) -> bool {
        let needed: BTreeSet<ChunkId> = self.cache.lists().flat_map(|(_, list)| list.chunks.iter().copied()).collect();
        let chunks: Vec<ChunkId> =
            self.persistence.chunks.iter().filter(|(n, c)| c.evicted && !needed.contains(n)).map(|(n, _)| *n).collect();
        let lists = std::mem::take(&mut self.persistence.evicted_lists);
        let found_any = !chunks.is_empty() || !lists.is_empty();
        for number in chunks {
            self.persistence.chunks.remove(&number);
            self.persistence.writes.push(Write::Remove(Namespace::Entities, chunk_name(number)));
        }
        self.persistence.writes.extend(lists.iter().map(|key| Write::Remove(Namespace::Lists, list_name(key))));
        found_any
    }

    /// Removes data from memory that has been unobserved for `gc_after`; it stays on disk.
    fn collect_garbage(&mut self, now: UnixMillis) {
        let is_expired = |at: UnixMillis| now.since(at) > self.settings.gc_after;
        // The base list of an observed derived list is needed too.
        let base_lists: Vec<ListKey> = self
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
                    && is_expired(list.unobserved_since)
                    && !list.loading_from_disk
                    && !self.persistence.lists.contains(index)
                    && !base_lists.contains(&list.key)
            })
            .map(|(index, _)| index)
            .collect();
        for index in lists {
            let Some(list) = self.cache.drop_list(index) else { continue };
            if !list.derived && list.loaded && self.leader && !list.dirty {
                self.persistence.evicted_lists.insert(list.key);
            }
        }
        let is_unneeded = |cache: &crate::cache::Cache, slot: &Slot| {
            cache.row(*slot).is_some_and(|row| {
                row.lists.is_empty() && row.observer_count == 0 && row.local.is_none() && !row.in_delta_log
            })
        };
        let mut dropped: Vec<Slot> = Vec::new();
        for chunk in self.persistence.chunks.values_mut().filter(|chunk| chunk.read) {
            if !chunk.rows.is_empty() && chunk.rows.iter().all(|slot| is_unneeded(&self.cache, slot)) {
                dropped.extend(std::mem::take(&mut chunk.rows));
                (chunk.read, chunk.evicted) = (false, true);
            }
        }
        if !self.leader {
            let unpacked =
                self.cache.rows().filter(|(slot, row)| row.chunk.is_none() && is_unneeded(&self.cache, slot));
            dropped.extend(unpacked.map(|(slot, _)| slot));
        }
        dropped.into_iter().for_each(|slot| self.drop_row(slot));
    }
}
