//! Garbage collection in memory, and eviction from disk when storage is low.

use super::Persistence;
use crate::cache::{Cache, ListIndex, Slot};
use crate::cache_records::list_name;
use crate::chunk_codec::ChunkId;
use crate::query_key::ListKey;
use crate::settings::EngineConfig;
use crate::store::Namespace;
use pmo_domain::UnixMillis;
use std::collections::BTreeSet;

/// Whether a row is in no list, has no observer and no local writes, and is not in the delta log.
fn is_unneeded(cache: &Cache, slot: Slot) -> bool {
    cache
        .row(slot)
        .is_some_and(|row| row.lists.is_empty() && row.observer_count == 0 && row.local.is_none() && !row.in_delta_log)
}

impl Persistence {
    /// Whether garbage is to be collected; resets the timer if so.
    pub(crate) fn begin_collection(&mut self, settings: &EngineConfig, now: UnixMillis) -> bool {
        let due = now.since(self.collected_at) > settings.gc_after / 10;
        if due {
            self.collected_at = now;
        }
        due
    }

    /// Drops the lists from memory that have been unobserved for `gc_after`; they stay on disk.
    pub(crate) fn collect_lists(&mut self, cache: &mut Cache, settings: &EngineConfig, leader: bool, now: UnixMillis) {
        // The base list of an observed derived list is needed too.
        let base_lists: Vec<ListKey> = cache
            .lists()
            .filter(|(_, l)| l.derived && l.observer_count > 0)
            .filter_map(|(_, l)| l.key.base_list())
            .collect();
        let unneeded = cache.lists().filter(|(index, list)| {
            list.observer_count == 0
                && now.since(list.unobserved_since) > settings.gc_after
                && !list.loading_from_disk
                && !self.lists.contains(index)
                && !base_lists.contains(&list.key)
        });
        let lists: Vec<ListIndex> = unneeded.map(|(index, _)| index).collect();
        for index in lists {
            let Some(list) = cache.drop_list(index) else { continue };
            if !list.derived && list.loaded && leader && !list.dirty {
                self.evicted_lists.insert(list.key);
            }
        }
    }

    /// Returns the rows that can be dropped from memory, and marks their chunks as evicted.
    ///
    /// A leader drops whole chunks; a follower also drops rows that are in no chunk.
    pub(crate) fn collect_rows(&mut self, cache: &Cache, leader: bool) -> Vec<Slot> {
        let mut dropped: Vec<Slot> = Vec::new();
        for chunk in self.chunks.values_mut().filter(|chunk| chunk.read) {
            if !chunk.rows.is_empty() && chunk.rows.iter().all(|slot| is_unneeded(cache, *slot)) {
                dropped.extend(std::mem::take(&mut chunk.rows));
                (chunk.read, chunk.evicted) = (false, true);
            }
        }
        if !leader {
            let unpacked = cache.rows().filter(|(slot, row)| row.chunk.is_none() && is_unneeded(cache, *slot));
            dropped.extend(unpacked.map(|(slot, _)| slot));
        }
        dropped
    }

    /// Removes evicted chunks and lists from disk; returns whether there were any.
    pub(crate) fn evict_unobserved(&mut self, cache: &Cache) -> bool {
        let needed: BTreeSet<ChunkId> = cache.lists().flat_map(|(_, list)| list.chunks.iter().copied()).collect();
        let chunks: Vec<ChunkId> =
            self.chunks.iter().filter(|(n, c)| c.evicted && !needed.contains(n)).map(|(n, _)| *n).collect();
        let lists = std::mem::take(&mut self.evicted_lists);
        let found_any = !chunks.is_empty() || !lists.is_empty();
        for number in chunks {
            self.remove_chunk(number);
        }
        for key in &lists {
            self.remove(Namespace::Lists, list_name(key));
        }
        found_any
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Effect;
    use pmo_domain::{Catalog, EntityCode};

    #[test]
    fn unobserved_list_is_dropped_from_memory_first_and_from_disk_on_eviction() {
        let (mut persistence, mut cache, settings) =
            (Persistence::default(), Cache::default(), EngineConfig::default());
        let key = ListKey::all(EntityCode::new("task").unwrap());
        let index = cache.list_or_insert(&key, &Catalog::default());
        let list = cache.list_mut(index).unwrap();
        (list.loaded, list.dirty) = (true, false);
        let soon = UnixMillis::EPOCH + settings.gc_after;
        persistence.collect_lists(&mut cache, &settings, true, soon);
        assert!(cache.get_list(&key).is_some(), "observed a short time ago");
        persistence.collect_lists(&mut cache, &settings, true, soon + settings.gc_after);
        assert!(cache.get_list(&key).is_none());
        let name = list_name(&key);
        assert_eq!(persistence.read_evicted_list(&key), Some(Effect::Read(Namespace::Lists, vec![name])));
        assert!(!persistence.evict_unobserved(&cache), "the list is being read again");
    }
}
