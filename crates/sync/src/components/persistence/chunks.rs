//! Chunks of rows and the delta log: packing, reading and compaction.

use super::{Chunk, Persistence};
use crate::cache::{Cache, ListIndex, Slot};
use crate::cache_records::{chunk_name, list_name, parse_chunk_name, row_name};
use crate::chunk_codec::{CHUNK_ROWS, ChunkId, PackedRow, pack};
use crate::collections::{DetHashSet, VecMap};
use crate::event::Effect;
use crate::query_key::ListKey;
use crate::settings::EngineConfig;
use crate::store::Namespace;
use pmo_domain::{EntityCode, EntityRef};
use std::collections::BTreeSet;
use uuid::Uuid;

/// Maximum number of chunks in one read of the store.
const MAX_CHUNKS_PER_READ: usize = 4;
/// Maximum number of chunks that one background read requests.
const MAX_BACKGROUND_READS: usize = 20;

/// Packs the server rows in some slots, all of one entity type.
fn pack_slots(cache: &Cache, code: &EntityCode, slots: &[Slot]) -> Vec<u8> {
    let rows: Vec<_> = slots
        .iter()
        .filter_map(|slot| {
            let row = cache.row(*slot)?;
            Some((row.id, row.version, row.permission, row.base.as_ref()?.as_str()))
        })
        .collect();
    pack(code, rows.into_iter())
}

impl Persistence {
    // --- Writing ---

    /// Writes the dirty rows: a few go to the delta log, many are packed into chunks.
    pub(crate) fn write_rows(&mut self, cache: &mut Cache, settings: &EngineConfig) {
        let slots: Vec<Slot> = std::mem::take(&mut self.rows).into_iter().collect();
        let slots: Vec<Slot> =
            slots.into_iter().filter(|slot| cache.row(*slot).is_some_and(|row| row.base.is_some())).collect();
        if slots.len() >= settings.bulk_pack_threshold {
            self.pack_into_chunks(slots, cache);
        } else {
            for slot in slots {
                self.log_row(slot, cache);
            }
        }
        self.rewrite_dirty_chunks(cache);
    }

    /// Writes a row to the delta log.
    fn log_row(&mut self, slot: Slot, cache: &mut Cache) {
        let bytes = pack_slots(cache, &cache.code(slot), &[slot]);
        let Some(row) = cache.row_mut(slot) else { return };
        row.in_delta_log = true;
        self.pending_removals.remove(&row.id);
        self.put(Namespace::Entities, row_name(row.id), bytes);
        self.logged.insert(slot);
    }

    fn pack_into_chunks(&mut self, slots: Vec<Slot>, cache: &mut Cache) {
        let mut unassigned: VecMap<EntityCode, Vec<Slot>> = VecMap::default();
        for slot in slots {
            let code = cache.code(slot);
            let Some(row) = cache.row_mut(slot) else { continue };
            if row.in_delta_log || self.pending_removals.remove(&row.id) {
                row.in_delta_log = false;
                self.logged.remove(&slot);
                self.remove(Namespace::Entities, row_name(row.id));
            }
            match row.chunk {
                Some(chunk) => drop(self.dirty_chunks.insert(chunk)),
                None => unassigned.get_or_insert_with(code, Vec::new).push(slot),
            }
        }
        for (_, slots) in unassigned {
            for group in slots.chunks(CHUNK_ROWS) {
                let number = self.chunks.keys().next_back().map_or(ChunkId::FIRST, |last| last.next());
                for slot in group {
                    if let Some(row) = cache.row_mut(*slot) {
                        row.chunk = Some(number);
                    }
                }
                let rows = group.iter().copied().collect();
                self.chunks.insert(number, Chunk { read: true, evicted: false, rows });
                self.dirty_chunks.insert(number);
            }
        }
    }

    fn rewrite_dirty_chunks(&mut self, cache: &Cache) {
        for number in std::mem::take(&mut self.dirty_chunks) {
            let Some(chunk) = self.chunks.get(&number).filter(|chunk| chunk.read) else { continue };
            let slots: Vec<Slot> = chunk.rows.iter().copied().collect();
            let Some(first) = slots.first() else {
                self.remove_chunk(number);
                continue;
            };
            let bytes = pack_slots(cache, &cache.code(*first), &slots);
            self.put(Namespace::Entities, chunk_name(number), bytes);
        }
    }

    /// Packs the delta log into chunks and marks the dirty lists, if the log has become too long.
    pub(crate) fn compact(&mut self, cache: &mut Cache, settings: &EngineConfig) {
        if self.logged.len() > settings.compaction_threshold {
            self.pack_into_chunks(self.logged.iter().copied().collect(), cache);
            self.lists.extend(cache.lists().filter(|(_, list)| list.dirty).map(|(index, _)| index));
        }
    }

    /// Removes a chunk from disk.
    pub(super) fn remove_chunk(&mut self, chunk: ChunkId) {
        self.chunks.remove(&chunk);
        self.remove(Namespace::Entities, chunk_name(chunk));
    }

    // --- Reading ---

    /// Records a chunk on disk that has not been read.
    pub(crate) fn add_unread_chunk(&mut self, chunk: ChunkId) {
        self.chunks.insert(chunk, Chunk::default());
    }

    /// Records a row of the delta log.
    pub(crate) fn add_logged_row(&mut self, slot: Slot) {
        self.logged.insert(slot);
    }

    /// Records a removed entity that may be in an unread chunk.
    pub(crate) fn add_pending_removal(&mut self, id: Uuid) {
        self.pending_removals.insert(id);
    }

    /// Returns the rows of the delta log.
    pub(crate) fn logged_rows(&self) -> impl Iterator<Item = Slot> {
        self.logged.iter().copied()
    }

    /// Returns all chunks on disk.
    pub(crate) fn chunk_ids(&self) -> Vec<ChunkId> {
        self.chunks.keys().copied().collect()
    }

    /// Returns the number of chunks on disk, and of those that are loaded.
    pub(crate) fn chunk_counts(&self) -> (usize, usize) {
        (self.chunks.len(), self.chunks.values().filter(|chunk| chunk.read).count())
    }

    /// Whether a chunk is on disk.
    pub(crate) fn has_chunk(&self, chunk: ChunkId) -> bool {
        self.chunks.contains_key(&chunk)
    }

    /// Whether a chunk is on disk and has not been read.
    pub(crate) fn is_unread(&self, chunk: ChunkId) -> bool {
        self.chunks.get(&chunk).is_some_and(|chunk| !chunk.read)
    }

    /// Whether chunks on disk have not been read.
    pub(crate) fn has_unread_chunks(&self) -> bool {
        self.chunks.values().any(|chunk| !chunk.read)
    }

    /// Whether a read from disk is in progress.
    pub(crate) fn is_reading(&self) -> bool {
        !self.reading.is_empty()
    }

    /// Reads those of `chunks` that are neither read nor being read; appends the effects.
    pub(crate) fn read_chunks(&mut self, chunks: impl Iterator<Item = ChunkId>, effects: &mut Vec<Effect>) {
        let names: Vec<String> = chunks
            .filter(|chunk| self.is_unread(*chunk))
            .map(chunk_name)
            .filter(|name| !self.reading.contains(name))
            .collect();
        self.reading.extend(names.iter().cloned());
        // A few chunks per read: until they are applied, their data is in memory twice.
        let reads = names.chunks(MAX_CHUNKS_PER_READ);
        effects.extend(reads.map(|names| Effect::Read(Namespace::Entities, names.to_vec())));
    }

    /// Reads all unread chunks; appends the effects.
    pub(crate) fn read_all_chunks(&mut self, effects: &mut Vec<Effect>) {
        self.read_chunks(self.chunk_ids().into_iter(), effects);
    }

    /// Reads all unread chunks after an access change, so that their rows are refetched too.
    pub(crate) fn read_for_revalidation(&mut self, effects: &mut Vec<Effect>) {
        self.revalidating = self.has_unread_chunks();
        self.read_all_chunks(effects);
    }

    /// Reads some unread chunks in the background, unless a read is in progress.
    pub(crate) fn read_in_background(&mut self, effects: &mut Vec<Effect>) {
        if self.is_reading() {
            return;
        }
        let needs_read = |chunk: &Chunk| !chunk.read && (!chunk.evicted || !self.pending_removals.is_empty());
        let unread = self.chunks.iter().filter(|(_, chunk)| needs_read(chunk)).map(|(number, _)| *number);
        let unread: Vec<ChunkId> = unread.take(MAX_BACKGROUND_READS).collect();
        self.read_chunks(unread.into_iter(), effects);
    }

    /// Reads a list that was evicted from memory; returns the effect if it was.
    pub(crate) fn read_evicted_list(&mut self, key: &ListKey) -> Option<Effect> {
        let name = list_name(&self.evicted_lists.take(key)?);
        self.reading.insert(name.clone());
        Some(Effect::Read(Namespace::Lists, vec![name]))
    }

    /// Ends the read of a key; returns the chunk under the key if it is unread.
    pub(crate) fn end_read(&mut self, key: &str) -> Option<ChunkId> {
        self.reading.remove(key);
        parse_chunk_name(key).filter(|chunk| self.is_unread(*chunk))
    }

    /// Drops a damaged chunk: its rows are fetched again.
    pub(crate) fn drop_damaged_chunk(&mut self, chunk: ChunkId) {
        self.remove_chunk(chunk);
    }

    /// Loads the rows of a chunk, except those that were removed since; adds new rows to `loaded`.
    pub(crate) fn load_chunk(
        &mut self,
        number: ChunkId,
        (code, rows): (EntityCode, Vec<PackedRow>),
        cache: &mut Cache,
        is_removed: impl Fn(&EntityRef) -> bool,
        loaded: &mut DetHashSet<Slot>,
    ) {
        let mut slots = BTreeSet::new();
        for packed in rows {
            if self.pending_removals.contains(&packed.id) {
                self.dirty_chunks.insert(number);
                continue;
            }
            let entity = EntityRef::new(code.clone(), packed.id);
            if is_removed(&entity) && cache.get(&entity).is_none_or(|row| row.base.is_none()) {
                self.dirty_chunks.insert(number);
                continue;
            }
            let slot = cache.slot_or_insert(&entity);
            let Some(row) = cache.row_mut(slot) else { continue };
            if row.chunk.is_some_and(|chunk| chunk != number) {
                // The row has been packed into another chunk since.
                self.dirty_chunks.insert(number);
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
                self.rows.insert(slot);
            }
        }
        self.chunks.insert(number, Chunk { read: true, evicted: false, rows: slots });
    }

    /// Whether rows read from disk must be refetched because access changed after their write.
    pub(crate) fn is_revalidating(&self) -> bool {
        self.revalidating
    }

    /// Ends revalidation and pending removals once no unread chunk could contain their rows.
    ///
    /// Returns whether all chunks have been read.
    pub(crate) fn finish_reading(&mut self) -> bool {
        if self.has_unread_chunks() {
            return false;
        }
        self.revalidating = false;
        for id in std::mem::take(&mut self.pending_removals) {
            self.remove(Namespace::Entities, row_name(id));
        }
        true
    }

    /// Whether all chunks of a list have been read.
    pub(crate) fn has_read_chunks_of(&self, index: ListIndex, cache: &Cache) -> bool {
        cache.list(index).is_some_and(|list| !list.chunks.iter().any(|chunk| self.is_unread(*chunk)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chunk_codec::unpack;
    use crate::raw_row::RawRow;
    use crate::store::Write;

    fn task(n: u128) -> EntityRef {
        EntityRef::new(EntityCode::new("task").unwrap(), Uuid::from_u128(n))
    }

    /// Inserts a row into the cache and marks it for writing.
    fn add(persistence: &mut Persistence, cache: &mut Cache, n: u128) -> Slot {
        let slot = cache.slot_or_insert(&task(n));
        cache.row_mut(slot).unwrap().set_base(Some(RawRow::new("{}")));
        persistence.mark_row(slot);
        slot
    }

    fn writes(persistence: &mut Persistence) -> Vec<Write> {
        match persistence.take_batch() {
            Some(Effect::Persist(_, writes)) => writes,
            _ => Vec::new(),
        }
    }

    #[test]
    fn few_rows_are_logged_and_many_are_packed() {
        let (mut persistence, mut cache, settings) =
            (Persistence::default(), Cache::default(), EngineConfig { bulk_pack_threshold: 3, ..Default::default() });
        for n in 1..=2 {
            add(&mut persistence, &mut cache, n);
        }
        persistence.write_rows(&mut cache, &settings);
        assert_eq!((writes(&mut persistence).len(), persistence.logged_rows().count()), (2, 2));
        for n in 1..=3 {
            add(&mut persistence, &mut cache, n);
        }
        persistence.write_rows(&mut cache, &settings);
        let written = writes(&mut persistence);
        let chunk = written.iter().find_map(|write| match write {
            Write::Put(_, key, bytes) if *key == chunk_name(ChunkId::FIRST) => Some(unpack(bytes).unwrap().1),
            _ => None,
        });
        assert_eq!(chunk.unwrap().len(), 3);
        let is_removal = |write: &&Write| matches!(write, Write::Remove(Namespace::Entities, _));
        assert_eq!(written.iter().filter(is_removal).count(), 2, "the delta log is emptied");
        assert_eq!((persistence.logged_rows().count(), persistence.chunk_counts()), (0, (1, 1)));
    }

    #[test]
    fn chunk_without_rows_is_removed() {
        let (mut persistence, mut cache, settings) =
            (Persistence::default(), Cache::default(), EngineConfig { bulk_pack_threshold: 1, ..Default::default() });
        add(&mut persistence, &mut cache, 1);
        persistence.write_rows(&mut cache, &settings);
        writes(&mut persistence);
        persistence.remove_row(&task(1), &mut cache);
        persistence.write_rows(&mut cache, &settings);
        let removal = Write::Remove(Namespace::Entities, chunk_name(ChunkId::FIRST));
        assert_eq!(writes(&mut persistence), [removal]);
    }

    #[test]
    fn chunk_is_read_once_and_skips_removed_rows() {
        let (mut persistence, mut cache) = (Persistence::default(), Cache::default());
        let (mut effects, mut loaded) = (Vec::new(), DetHashSet::default());
        persistence.add_unread_chunk(ChunkId::FIRST);
        persistence.read_all_chunks(&mut effects);
        persistence.read_all_chunks(&mut effects);
        assert_eq!((effects.len(), persistence.is_reading()), (1, true));
        let chunk = persistence.end_read(&chunk_name(ChunkId::FIRST)).unwrap();
        let rows =
            (1..=3).map(|n| PackedRow { id: Uuid::from_u128(n), version: 1, permission: None, raw: RawRow::new("{}") });
        persistence.add_pending_removal(Uuid::from_u128(1));
        let is_removed = |entity: &EntityRef| *entity == task(2);
        persistence.load_chunk(chunk, (task(1).code, rows.collect()), &mut cache, is_removed, &mut loaded);
        assert_eq!(loaded.into_iter().collect::<Vec<_>>(), [cache.slot_of(&task(3)).unwrap()]);
        assert!(persistence.finish_reading() && !persistence.is_reading());
        assert_eq!(persistence.end_read(&chunk_name(ChunkId::FIRST)), None, "read already");
    }
}
