//! Write path to disk: dirty tracking, batches, compaction, eviction and garbage collection.
//!
//! Rows are stored in packed chunks. Recent changes are stored as single rows beside the chunks
//! (the delta log). If both contain a row, the copy in the delta log is valid.
//!
//! Invariant: only the leader writes the cache. Otherwise two tabs would overwrite each other's
//! chunks.

mod chunks; // chunks of rows and the delta log
mod eviction; // garbage collection and eviction

use crate::cache::{Cache, ListIndex, Slot};
use crate::cache_records::{ListHead, PersistedMeta, STORAGE_FORMAT_VERSION, list_name, row_name};
use crate::chunk_codec::{ChunkId, pack_ids};
use crate::collections::{DetHashSet, VecMap};
use crate::components::FeedPosition;
use crate::event::{BatchId, Effect};
use crate::query_key::ListKey;
use crate::store::{Namespace, Write};
use pmo_domain::{EntityRef, UnixMillis};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use uuid::Uuid;

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
struct Chunk {
    /// Whether the rows of the chunk have been loaded into memory.
    read: bool,
    /// Whether the rows were evicted from memory; the chunk is read again on demand.
    evicted: bool,
    /// Rows whose valid packed copy is in this chunk.
    rows: BTreeSet<Slot>,
}

/// State of the write path, and an index of the data on disk.
#[derive(Default)]
pub(crate) struct Persistence {
    chunks: BTreeMap<ChunkId, Chunk>,
    last_batch: u64,
    /// Rows in the delta log.
    logged: BTreeSet<Slot>,
    /// Dirty rows to write.
    rows: BTreeSet<Slot>,
    /// Dirty chunks to rewrite.
    dirty_chunks: BTreeSet<ChunkId>,
    /// Removed entities that may still be in a chunk that has not been read.
    pending_removals: DetHashSet<Uuid>,
    /// Dirty lists to write.
    lists: BTreeSet<ListIndex>,
    /// Entity types whose reference names must be written.
    names: VecMap<String, ()>,
    /// Lists that are on disk but no longer in memory.
    evicted_lists: DetHashSet<ListKey>,
    collected_at: UnixMillis,
    reading: DetHashSet<String>,
    /// Whether rows read from disk must be refetched because access changed after their write.
    revalidating: bool,
    writes: Vec<Write>,
    /// Whether outbox and drafts must be reloaded from disk before the next batch is written.
    reload_pending: bool,
    cursor_moved: bool,
    /// Number of consecutive failures of the store.
    failures: u32,
    /// Last batch that had been issued when the store last failed.
    ///
    /// Failures of batches up to this one are not counted again.
    failed_until: u64,
    lists_written_at: UnixMillis,
    /// Time of the last contact with the server as stored on disk.
    server_reached_at: UnixMillis,
    /// Whether the offline lease has expired; no data is shown until the server responds again.
    locked: bool,
}

impl Persistence {
    // --- Writes ---

    /// Adds a write to the batch that is being assembled.
    pub(crate) fn write(&mut self, write: Write) {
        self.writes.push(write);
    }

    /// Adds a write of a value to the batch that is being assembled.
    pub(crate) fn put(&mut self, namespace: Namespace, key: String, bytes: Vec<u8>) {
        self.writes.push(Write::Put(namespace, key, bytes));
    }

    /// Adds the removal of a key to the batch that is being assembled.
    pub(crate) fn remove(&mut self, namespace: Namespace, key: String) {
        self.writes.push(Write::Remove(namespace, key));
    }

    /// Adds the removal of all cached data to the batch that is being assembled.
    pub(crate) fn clear_cache(&mut self) {
        self.writes.extend(Namespace::CACHE.map(Write::Clear));
    }

    /// Adds the version of the storage format to the batch that is being assembled.
    pub(crate) fn put_format(&mut self) {
        self.put(Namespace::Metadata, "format".into(), STORAGE_FORMAT_VERSION.to_vec());
    }

    /// Returns the number of the batch that is being assembled.
    pub(crate) fn next_batch(&self) -> u64 {
        self.last_batch + 1
    }

    /// Issues the assembled batch; returns `None` if it is empty.
    pub(crate) fn take_batch(&mut self) -> Option<Effect> {
        if self.writes.is_empty() {
            return None;
        }
        self.last_batch += 1;
        Some(Effect::Persist(BatchId(self.last_batch), std::mem::take(&mut self.writes)))
    }

    /// Causes outbox and drafts to be reloaded from disk before the next batch is written.
    pub(crate) fn request_reload(&mut self) {
        self.reload_pending = true;
    }

    /// Returns whether outbox and drafts must be reloaded, and resets the request.
    pub(crate) fn take_reload_request(&mut self) -> bool {
        std::mem::take(&mut self.reload_pending)
    }

    // --- Dirty data ---

    /// Marks a row for writing.
    pub(crate) fn mark_row(&mut self, slot: Slot) {
        self.rows.insert(slot);
    }

    /// Marks a list for writing without delay: rows that left the list must not stay on disk.
    pub(crate) fn mark_list(&mut self, index: ListIndex) {
        self.lists.insert(index);
        self.lists_written_at = UnixMillis::EPOCH;
    }

    /// Forgets that a list is to be written.
    pub(crate) fn unmark_list(&mut self, index: ListIndex) {
        self.lists.remove(&index);
    }

    /// Marks all lists for writing that were loaded and not derived.
    pub(crate) fn mark_loaded_lists(&mut self, cache: &Cache) {
        self.lists.extend(cache.lists().filter(|(_, l)| l.loaded && !l.derived).map(|(index, _)| index));
    }

    /// Marks the reference names of an entity type for writing.
    pub(crate) fn mark_names(&mut self, code: &str) {
        self.names.insert(code.to_owned(), ());
    }

    /// Marks the position in the feed for writing.
    pub(crate) fn mark_cursor(&mut self) {
        self.cursor_moved = true;
    }

    /// Removes a list from disk.
    pub(crate) fn remove_list(&mut self, key: &ListKey, cache: &Cache) {
        if let Some(index) = cache.find_list(key) {
            self.lists.remove(&index);
        }
        self.remove(Namespace::Lists, list_name(key));
    }

    /// Writes reference data.
    pub(crate) fn put_reference_data(&mut self, record: &PersistedMeta) {
        let bytes = serde_json::to_vec(record).unwrap_or_default();
        self.put(Namespace::Metadata, format!("meta:{:?}", record.key), bytes);
    }

    /// Removes an entity from disk: from its chunk and from the delta log.
    ///
    /// An entity that may be in an unread chunk is recorded as a pending removal.
    pub(crate) fn remove_row(&mut self, entity: &EntityRef, cache: &mut Cache) {
        let name = row_name(entity.id);
        if let Some(slot) = cache.slot_of(entity) {
            self.rows.remove(&slot);
            if let Some(row) = cache.row_mut(slot) {
                let (chunk, logged) = (row.chunk.take(), std::mem::take(&mut row.in_delta_log));
                self.logged.remove(&slot);
                if let Some(chunk) = chunk
                    && let Some(state) = self.chunks.get_mut(&chunk)
                {
                    state.rows.remove(&slot);
                    self.dirty_chunks.insert(chunk);
                }
                if logged {
                    self.remove(Namespace::Entities, name.clone());
                }
            }
        }
        if self.has_unread_chunks() {
            self.pending_removals.insert(entity.id);
            self.put(Namespace::Entities, name, Vec::new());
        }
    }

    // --- End of an event ---

    /// Drops the writes that this tab must not do.
    ///
    /// Only the leader writes the cache. User data is written by the tab in which it was entered.
    pub(crate) fn keep_user_data_only(&mut self) {
        self.rows.clear();
        self.dirty_chunks.clear();
        self.lists.clear();
        self.names.clear();
        self.cursor_moved = false;
        self.writes.retain(|write| write.namespace().is_user_data());
    }

    /// Drops all writes of a disabled cache except those that clear it.
    pub(crate) fn drop_writes_if_disabled(&mut self) {
        if self.is_disabled() {
            self.rows.clear();
            self.dirty_chunks.clear();
            self.lists.clear();
            self.writes.retain(|write| write.namespace().is_user_data() || matches!(write, Write::Clear(_)));
        }
    }

    /// Writes the dirty lists, unless lists were written a short time ago.
    pub(crate) fn write_lists(&mut self, cache: &mut Cache, now: UnixMillis) {
        if self.lists.is_empty() || now.since(self.lists_written_at) < LIST_FLUSH_DELAY {
            return;
        }
        self.lists_written_at = now;
        for index in std::mem::take(&mut self.lists) {
            let Some(list) =
                cache.list(index).filter(|l| l.loaded && !l.derived && !l.loading_from_disk && !l.is_from_tree())
            else {
                continue;
            };
            let slots = cache.source_slots(list);
            let rows = || slots.iter().filter_map(|slot| cache.row(*slot));
            let chunks: BTreeSet<_> = rows().filter_map(|row| row.chunk).collect();
            let head = ListHead {
                key: list.key.clone(),
                synced_at: list.synced_at,
                complete: list.complete,
                next: list.next_cursor.clone(),
                chunks: chunks.into_iter().collect(),
            };
            let head = serde_json::to_string(&head).unwrap_or_default();
            let bytes = pack_ids(&head, rows().map(|row| row.id).collect::<Vec<_>>().into_iter());
            self.put(Namespace::Lists, list_name(&list.key), bytes);
            if let Some(list) = cache.list_mut(index) {
                list.dirty = false;
            }
        }
    }

    /// Returns the entity types whose names must be written, and resets them.
    pub(crate) fn take_dirty_names(&mut self) -> impl Iterator<Item = String> + use<> {
        std::mem::take(&mut self.names).into_iter().map(|(code, ())| code)
    }

    /// Writes the names of an entity type.
    pub(crate) fn put_names(&mut self, code: &str, names: &BTreeMap<Uuid, String>) {
        self.put(Namespace::Metadata, format!("names:{code}"), serde_json::to_vec(names).unwrap_or_default());
    }

    /// Writes the position in the feed if it moved and there is one.
    pub(crate) fn write_cursor(&mut self, position: Option<&FeedPosition>) {
        if std::mem::take(&mut self.cursor_moved)
            && let Some(position) = position
        {
            self.put(Namespace::Metadata, "cursor".into(), serde_json::to_vec(position).unwrap_or_default());
        }
    }

    // --- Offline lease ---

    /// Whether the offline lease has expired; no data may be shown.
    pub(crate) fn is_locked(&self) -> bool {
        self.locked
    }

    /// Sets the time of the last contact with the server as stored on disk.
    pub(crate) fn set_server_reached_at(&mut self, at: UnixMillis) {
        self.server_reached_at = at;
    }

    /// Locks the data if the last contact with the server is longer ago than `lease`.
    pub(crate) fn lock_if_expired(&mut self, lease: Duration, now: UnixMillis) {
        self.locked = self.server_reached_at > UnixMillis::EPOCH && now.since(self.server_reached_at) > lease;
    }

    /// Records contact with the server: cached data may be shown for another lease period.
    ///
    /// Returns whether the data was locked.
    pub(crate) fn renew_lease(&mut self, now: UnixMillis) -> bool {
        if now.since(self.server_reached_at) > LEASE_RENEWAL {
            self.server_reached_at = now;
            self.put_server_reached_at();
        }
        std::mem::take(&mut self.locked)
    }

    fn put_server_reached_at(&mut self) {
        let bytes = serde_json::to_vec(&self.server_reached_at).unwrap_or_default();
        self.put(Namespace::Metadata, "reached".into(), bytes);
    }

    // --- Failures and restarts ---

    /// Returns the number of consecutive failures of the store.
    pub(crate) fn failures(&self) -> u32 {
        self.failures
    }

    /// Whether the cache on disk is disabled after too many failures; only memory is used then.
    pub(crate) fn is_disabled(&self) -> bool {
        self.failures > MAX_FAILURES
    }

    /// Records that a batch was written.
    pub(crate) fn on_written(&mut self) {
        self.failures = 0;
    }

    /// Records that the batches up to `last` failed; returns whether the cache must be rebuilt.
    ///
    /// A rebuild covers the batches that were issued before the failure.
    pub(crate) fn on_failed(&mut self, last: u64) -> bool {
        if last <= self.failed_until {
            return false;
        }
        self.failures += 1;
        self.failed_until = self.last_batch;
        true
    }

    /// Clears the cache on disk after a failed batch; returns whether it is to be written again.
    ///
    /// After a failure the content of the disk is unknown and may include data that must not be
    /// there. Clearing also frees space. After more than [`MAX_FAILURES`] consecutive failures, the
    /// cache stays empty.
    pub(crate) fn restart_empty(&mut self) -> bool {
        let previous = std::mem::take(self);
        *self = Self {
            last_batch: previous.last_batch,
            server_reached_at: previous.server_reached_at,
            locked: previous.locked,
            failures: previous.failures,
            failed_until: previous.failed_until,
            ..Self::default()
        };
        self.writes.extend(previous.writes.into_iter().filter(|write| write.namespace().is_user_data()));
        self.clear_cache();
        if self.is_disabled() {
            return false;
        }
        self.put_format();
        self.put_server_reached_at();
        true
    }

    /// Forgets what is known about the data on disk: another tab has written it since.
    pub(crate) fn restart_unknown(&mut self) {
        let previous = std::mem::take(self);
        *self = Self {
            last_batch: previous.last_batch,
            server_reached_at: previous.server_reached_at,
            locked: previous.locked,
            writes: previous.writes,
            ..Self::default()
        };
    }

    /// Returns the state after a sign-out, which removes all data of the user from disk.
    ///
    /// The numbers of batches start again.
    pub(crate) fn signed_out() -> Self {
        Self { writes: Namespace::ALL.map(Write::Clear).to_vec(), ..Self::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pmo_domain::EntityCode;

    #[test]
    fn failures_of_batches_before_a_rebuild_are_counted_once() {
        let mut persistence = Persistence::default();
        for _ in 0..3 {
            persistence.remove(Namespace::Drafts, "a".into());
            assert!(persistence.take_batch().is_some());
        }
        assert_eq!(persistence.take_batch(), None, "nothing is left to write");
        assert!(persistence.on_failed(2));
        assert!(!persistence.on_failed(3), "issued before the failure");
        assert_eq!(persistence.failures(), 1);
        persistence.on_written();
        assert_eq!(persistence.failures(), 0);
    }

    #[test]
    fn cache_is_disabled_after_more_than_three_failures() {
        let mut persistence = Persistence::default();
        for batch in 1..=4 {
            persistence.put(Namespace::Outbox, "a".into(), vec![1]);
            persistence.put(Namespace::Lists, "b".into(), vec![1]);
            assert!(persistence.on_failed(batch));
            assert_eq!(persistence.restart_empty(), batch <= 3);
            persistence.drop_writes_if_disabled();
            let Some(Effect::Persist(_, writes)) = persistence.take_batch() else { panic!("no batch") };
            assert!(writes.contains(&Write::Put(Namespace::Outbox, "a".into(), vec![1])), "user input is kept");
            assert!(!writes.contains(&Write::Put(Namespace::Lists, "b".into(), vec![1])));
            assert!(writes.contains(&Write::Clear(Namespace::Lists)));
        }
        assert!(persistence.is_disabled());
    }

    #[test]
    fn lease_locks_data_until_the_next_contact() {
        let (mut persistence, day) = (Persistence::default(), Duration::from_secs(24 * 3600));
        persistence.lock_if_expired(day, UnixMillis::new(1) + day * 9);
        assert!(!persistence.is_locked(), "there was no contact yet");
        persistence.renew_lease(UnixMillis::new(1) + day);
        persistence.lock_if_expired(day, UnixMillis::new(2) + day * 2);
        assert!(persistence.is_locked());
        assert!(persistence.renew_lease(UnixMillis::new(3) + day * 2));
        assert!(!persistence.is_locked());
    }

    #[test]
    fn follower_writes_user_data_only() {
        let mut persistence = Persistence::default();
        persistence.put(Namespace::Drafts, "a".into(), vec![1]);
        persistence.put(Namespace::Entities, "b".into(), vec![1]);
        persistence.keep_user_data_only();
        let writes = vec![Write::Put(Namespace::Drafts, "a".into(), vec![1])];
        assert_eq!(persistence.take_batch(), Some(Effect::Persist(BatchId(1), writes)));
    }

    #[test]
    fn removed_entity_is_recorded_while_chunks_are_unread() {
        let (mut persistence, mut cache) = (Persistence::default(), Cache::default());
        let task = EntityRef::new(EntityCode::new("task").unwrap(), Uuid::from_u128(1));
        persistence.remove_row(&task, &mut cache);
        assert_eq!(persistence.take_batch(), None, "nothing is on disk");
        persistence.add_unread_chunk(ChunkId::FIRST);
        persistence.remove_row(&task, &mut cache);
        let writes = vec![Write::Put(Namespace::Entities, row_name(task.id), Vec::new())];
        assert_eq!(persistence.take_batch(), Some(Effect::Persist(BatchId(1), writes)));
    }
}
