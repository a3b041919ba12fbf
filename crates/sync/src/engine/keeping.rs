//! The device: what is written, and what is let go. Rows lie in packed chunks, live changes beside them; where both hold a row the change
//! counts. The tab that leads alone writes here, or two would pack over each other.

use super::Engine;
use crate::cache::{ListIndex, Slot};
use crate::event::{BatchId, Effect};
use crate::key::{ListKey, MetaKey};
use crate::maps::{Few, Map, Set};
use crate::pack::{CHUNK_ROWS, pack, pack_ids};
use crate::session::Link;
use crate::store::{Area, CHUNK, ROW, StoreError, Write};
use pmo_domain::{EntityCode, EntityRef};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::sync::Arc;
use uuid::Uuid;

/// The format of the cache as a whole. Another is dropped and fetched again.
pub(super) const FORMAT: &[u8] = b"3";
/// Chunks that are read at once in the background.
const CHUNKS_AT_ONCE: usize = 20;
/// How long a list may lie on the device as it was before, in milliseconds: what it lacks lies beside the chunks.
const LIST_DELAY: f64 = 2000.0;
/// Batches in a row that the device may refuse before it is left alone.
const MOST_FAILURES: u32 = 3;
/// How often it is noted that the server was reached, in milliseconds.
const REACHED_EVERY: f64 = 60_000.0;

/// A chunk on the device.
#[derive(Default)]
pub(super) struct Chunk {
    /// Its rows are in memory.
    pub(super) read: bool,
    /// Nobody has looked at its rows for long: it is read again when somebody does.
    pub(super) parked: bool,
    /// Those of its rows that count.
    pub(super) rows: BTreeSet<Slot>,
}

/// What is known of the device.
#[derive(Default)]
pub(super) struct Keep {
    pub(super) chunks: BTreeMap<u32, Chunk>,
    pub(super) last_batch: u64,
    /// Rows that lie beside the chunks.
    pub(super) logged: BTreeSet<Slot>,
    /// Rows to be written.
    pub(super) rows: BTreeSet<Slot>,
    /// Chunks to be written anew.
    pub(super) torn: BTreeSet<u32>,
    /// Things that are gone and may lie in a chunk that has not been read.
    pub(super) doomed: Set<Uuid>,
    /// Lists to be written.
    pub(super) lists: BTreeSet<ListIndex>,
    /// Names to be written, by type.
    pub(super) names: Few<String, ()>,
    /// Lists that are on the device and no longer in memory.
    pub(super) parked: Set<ListKey>,
    pub(super) collected_at: f64,
    pub(super) reading: Set<String>,
    /// What is read from the device is to be asked for as well: what this person may see has changed since it was written.
    pub(super) sweeping: bool,
    /// Entries of the outbox that are on their way off the disk, with the batch that takes them.
    pub(super) dropping: Few<Uuid, u64>,
    /// Drafts that are on their way to the disk, with the batch that takes them.
    pub(super) drafting: Map<EntityRef, u64>,
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
    pub(super) reached: f64,
    /// The device has not reached the server for too long: nothing is shown until it has.
    pub(super) locked: bool,
}

impl Keep {
    /// The number of the batch that is being put together.
    pub(super) fn next_batch(&self) -> u64 {
        self.last_batch + 1
    }

    pub(super) fn is_reading(&self) -> bool {
        !self.reading.is_empty()
    }

    /// Everything of this person goes.
    pub(super) fn clear(&mut self) {
        *self = Self { last_batch: self.last_batch, writes: Area::ALL.map(Write::Clear).to_vec(), ..Self::default() };
    }

    /// A chunk number that is not in use.
    fn fresh_chunk(&mut self) -> u32 {
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
pub(super) struct KeptMeta {
    pub(super) key: MetaKey,
    pub(super) data: Value,
    pub(super) synced_at: f64,
}

pub(super) fn chunk_name(number: u32) -> String {
    format!("{CHUNK}{number:08}")
}

pub(super) fn row_name(id: Uuid) -> String {
    format!("{ROW}{id}")
}

pub(super) fn list_name(key: &ListKey) -> String {
    serde_json::to_string(key).unwrap_or_default()
}

impl Engine {
    pub(super) fn keep_row(&mut self, slot: Slot) {
        self.keep.rows.insert(slot);
        if self.has_followers() {
            self.tabs.news.rows.extend(self.row_news(slot));
        }
    }

    pub(super) fn keep_list(&mut self, index: ListIndex) {
        self.keep.lists.insert(index);
        if self.has_followers()
            && let Some(key) = self.cache.list(index).map(|list| list.key.clone()).filter(|key| !key.deep)
        {
            self.tabs.news.lists.extend(self.list_news(&key));
        }
        // Told anew it is written at once: what it lost must not stay on the device.
        self.keep.lists_written_at = 0.0;
    }

    pub(super) fn unkeep_list(&mut self, key: &ListKey) {
        if let Some(index) = self.cache.find_list(key) {
            self.keep.lists.remove(&index);
        }
        self.keep.writes.push(Write::Remove(Area::Lists, list_name(key)));
        // Trees are the leader's alone.
        if !key.deep {
            self.tabs.news.lists_gone.push(key.clone());
        }
    }

    pub(super) fn keep_names(&mut self, code: &str) {
        self.keep.names.insert(code.to_owned(), ());
    }

    pub(super) fn keep_meta(&mut self, key: MetaKey, data: &Value, now: f64) {
        let kept = KeptMeta { key, data: data.clone(), synced_at: now };
        let bytes = serde_json::to_vec(&kept).unwrap_or_default();
        self.keep.writes.push(Write::Put(Area::Metadata, format!("meta:{key:?}"), bytes));
        self.tabs.news.metas.push((key, kept.data));
    }

    /// A thing leaves the device, wherever it lies there.
    pub(super) fn unkeep_row(&mut self, entity: &EntityRef) {
        self.tabs.news.gone.push(entity.clone());
        let name = row_name(entity.id);
        let known = self.cache.find(entity);
        if let Some(slot) = known {
            self.keep.rows.remove(&slot);
            if let Some(row) = self.cache.row_mut(slot) {
                let (chunk, logged) = (row.chunk, row.logged);
                (row.chunk, row.logged) = (0, false);
                self.keep.logged.remove(&slot);
                if let Some(rest) = self.keep.chunks.get_mut(&chunk) {
                    rest.rows.remove(&slot);
                    self.keep.torn.insert(chunk);
                }
                if logged {
                    self.keep.writes.push(Write::Remove(Area::Entities, name.clone()));
                }
            }
        }
        if self.keep.chunks.values().any(|chunk| !chunk.read) {
            self.keep.doomed.insert(entity.id);
            self.keep.writes.push(Write::Put(Area::Entities, name, Vec::new()));
        }
    }

    /// The server was reached: what the device holds may be shown for another lease.
    pub(super) fn reached(&mut self, now: f64) {
        if self.keep.locked {
            self.keep.locked = false;
            for query in self.observed.keys() {
                self.changed.insert(query.clone());
            }
        }
        if now - self.keep.reached > REACHED_EVERY {
            self.keep.reached = now;
            let bytes = serde_json::to_vec(&now).unwrap_or_default();
            self.keep.writes.push(Write::Put(Area::Metadata, "reached".into(), bytes));
        }
    }

    /// What this person may see has changed: what lies on the device unread is read, so that it is asked for as well.
    pub(super) fn sweep_device(&mut self) {
        self.keep.sweeping = self.keep.chunks.values().any(|chunk| !chunk.read);
        let unread: Vec<u32> = self.keep.chunks.keys().copied().collect();
        self.read_chunks(unread.into_iter());
    }

    pub(super) fn persisted(&mut self, batches: RangeInclusive<u64>, outcome: Result<(), StoreError>) {
        match outcome {
            Ok(()) => self.keep.failures = 0,
            Err(error) => {
                self.effects.push(Effect::DeviceFailed(error));
                if self.person.is_none() {
                    return;
                }
                // What was out when the device refused lies in the rebuilding already.
                if *batches.end() > self.keep.failed_until {
                    self.keep.failures += 1;
                    self.keep.failed_until = self.keep.last_batch;
                    if self.leader {
                        self.rebuild_cache();
                    }
                }
                if !self.is_given_up() {
                    self.write_work_again(&batches);
                }
            }
        }
        self.entries_saved(&batches);
    }

    /// The device has refused so often that it is left alone: what is in memory is all there is.
    pub(super) fn is_given_up(&self) -> bool {
        self.keep.failures > MOST_FAILURES
    }

    /// The device did not take a batch: what lies there now is not what is thought to lie there, and may be what must not. The cache is emptied, which makes
    /// room as well, and what somebody looks at is written anew. After some failures in a row nothing is written but that it is empty.
    pub(super) fn rebuild_cache(&mut self) {
        let slots: Vec<Slot> = self.cache.rows().map(|(slot, _)| slot).collect();
        for slot in &slots {
            if let Some(row) = self.cache.row_mut(*slot) {
                (row.chunk, row.logged, row.unread) = (0, false, false);
            }
        }
        let filling: Vec<ListIndex> = self.cache.lists().filter(|(_, l)| l.filling).map(|(i, _)| i).collect();
        for index in filling {
            self.cache.filled(index);
            if let Some(list) = self.cache.list_mut(index) {
                (list.stale, list.complete) = (true, false);
            }
        }
        let Keep { last_batch, reached, locked, dropping, drafting, failures, failed_until, writes, .. } =
            std::mem::take(&mut self.keep);
        self.keep = Keep { last_batch, reached, locked, dropping, drafting, failures, failed_until, ..Keep::default() };
        self.keep.writes.extend(writes.into_iter().filter(|write| write.area().is_work()));
        self.keep.writes.extend(Area::CACHE.map(Write::Clear));
        if failures > MOST_FAILURES {
            return;
        }
        self.keep.writes.push(Write::Put(Area::Metadata, "format".into(), FORMAT.to_vec()));
        self.keep.writes.push(Write::Put(
            Area::Metadata,
            "reached".into(),
            serde_json::to_vec(&reached).unwrap_or_default(),
        ));
        let metas: Vec<(MetaKey, Arc<Value>, f64)> =
            self.metas.iter().map(|(key, meta)| (*key, meta.data.clone(), meta.synced_at)).collect();
        for (key, data, synced_at) in metas {
            self.keep_meta(key, &data, synced_at);
        }
        for code in self.names.keys() {
            self.keep.names.insert(code.clone(), ());
        }
        for root in self.kept.keys().cloned().collect::<Vec<_>>() {
            self.write_kept(&root);
        }
        self.keep.cursor_moved = true;
        let in_sight =
            |index: &ListIndex| self.cache.list(*index).is_some_and(|list| list.observed > 0 || !list.derived);
        let needed = |slot: &Slot| {
            self.cache
                .row(*slot)
                .is_some_and(|row| row.base.is_some() && (row.observed > 0 || row.lists.iter().any(in_sight)))
        };
        let rows: Vec<Slot> = slots.into_iter().filter(needed).collect();
        self.keep.rows.extend(rows);
        let lists: Vec<ListIndex> =
            self.cache.lists().filter(|(_, l)| l.loaded && !l.derived).map(|(i, _)| i).collect();
        self.keep.lists.extend(lists);
    }

    /// At the end of every event: what has changed goes to the device as one batch.
    pub(super) fn flush_device(&mut self, now: f64) {
        if !self.leader && self.person.is_some() {
            // Another tab writes the cache; what a person typed is written by whoever they typed it to.
            self.keep.rows.clear();
            self.keep.torn.clear();
            self.keep.lists.clear();
            self.keep.names.clear();
            self.keep.cursor_moved = false;
            self.keep.writes.retain(|write| write.area().is_work());
        }
        if self.keep.failures > MOST_FAILURES {
            // There is no cache on this device; that it holds nothing is all that is still said to it.
            self.keep.rows.clear();
            self.keep.torn.clear();
            self.keep.lists.clear();
            self.keep.writes.retain(|write| write.area().is_work() || matches!(write, Write::Clear(_)));
        }
        if self.person.is_some() {
            self.pack_rows();
            self.write_torn();
            self.write_lists(now);
            for (code, ()) in std::mem::take(&mut self.keep.names) {
                let names = self.names.get(&code).cloned().unwrap_or_default();
                let bytes = serde_json::to_vec(&names).unwrap_or_default();
                self.tabs.news.names.insert(code.clone(), names);
                self.keep.writes.push(Write::Put(Area::Metadata, format!("names:{code}"), bytes));
            }
            if std::mem::take(&mut self.keep.cursor_moved)
                && let Some(place) = self.safe_cursor()
            {
                let bytes = serde_json::to_vec(place).unwrap_or_default();
                self.keep.writes.push(Write::Put(Area::Metadata, "cursor".into(), bytes));
            }
        }
        if !self.keep.writes.is_empty() {
            self.keep.last_batch += 1;
            let writes = std::mem::take(&mut self.keep.writes);
            self.effects.insert(0, Effect::Persist(BatchId(self.keep.last_batch), writes));
        }
        if std::mem::take(&mut self.keep.reread) {
            self.effects.insert(0, Effect::RereadWork);
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
        let slots: Vec<Slot> = std::mem::take(&mut self.keep.rows).into_iter().collect();
        let slots: Vec<Slot> =
            slots.into_iter().filter(|slot| self.cache.row(*slot).is_some_and(|row| row.base.is_some())).collect();
        if slots.len() >= self.settings.pack_rows {
            return self.pack_into_chunks(slots);
        }
        for slot in slots {
            let code = self.cache.code(slot);
            let bytes = self.packed(&code, &[slot]);
            let Some(row) = self.cache.row_mut(slot) else { continue };
            row.logged = true;
            self.keep.doomed.remove(&row.id);
            self.keep.writes.push(Write::Put(Area::Entities, row_name(row.id), bytes));
            self.keep.logged.insert(slot);
        }
    }

    fn pack_into_chunks(&mut self, slots: Vec<Slot>) {
        let mut fresh: Few<EntityCode, Vec<Slot>> = Few::default();
        for slot in slots {
            let code = self.cache.code(slot);
            let Some(row) = self.cache.row_mut(slot) else { continue };
            if row.logged || self.keep.doomed.remove(&row.id) {
                row.logged = false;
                self.keep.logged.remove(&slot);
                self.keep.writes.push(Write::Remove(Area::Entities, row_name(row.id)));
            }
            if row.chunk == 0 {
                fresh.at(code, Vec::new).push(slot);
            } else {
                self.keep.torn.insert(row.chunk);
            }
        }
        for (_, slots) in fresh {
            for part in slots.chunks(CHUNK_ROWS) {
                let number = self.keep.fresh_chunk();
                for slot in part {
                    if let Some(row) = self.cache.row_mut(*slot) {
                        row.chunk = number;
                    }
                }
                if let Some(chunk) = self.keep.chunks.get_mut(&number) {
                    chunk.rows.extend(part.iter().copied());
                }
                self.keep.torn.insert(number);
            }
        }
    }

    fn write_torn(&mut self) {
        for number in std::mem::take(&mut self.keep.torn) {
            let Some(chunk) = self.keep.chunks.get(&number).filter(|chunk| chunk.read) else { continue };
            let slots: Vec<Slot> = chunk.rows.iter().copied().collect();
            let Some(first) = slots.first() else {
                self.keep.chunks.remove(&number);
                self.keep.writes.push(Write::Remove(Area::Entities, chunk_name(number)));
                continue;
            };
            let bytes = self.packed(&self.cache.code(*first), &slots);
            self.keep.writes.push(Write::Put(Area::Entities, chunk_name(number), bytes));
        }
    }

    fn write_lists(&mut self, now: f64) {
        if self.keep.lists.is_empty() || now - self.keep.lists_written_at < LIST_DELAY {
            return;
        }
        self.keep.lists_written_at = now;
        for index in std::mem::take(&mut self.keep.lists) {
            let Some(list) =
                self.cache.list(index).filter(|l| l.loaded && !l.derived && !l.filling && !l.is_from_tree())
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
                next: list.next.clone(),
                chunks,
            };
            let head = serde_json::to_string(&head).unwrap_or_default();
            let bytes = pack_ids(&head, self.cache.ids(list).iter().copied());
            self.keep.writes.push(Write::Put(Area::Lists, list_name(&list.key), bytes));
            if let Some(list) = self.cache.list_mut(index) {
                list.dirty = false;
            }
        }
    }

    /// Now and then: what lies beside the chunks is folded in, lists are written, what nobody has looked at for long leaves memory, and what has not been
    /// read yet is read a little at a time.
    pub(super) fn tick_device(&mut self, now: f64) {
        if self.leader && self.keep.logged.len() > self.settings.fold_rows {
            self.pack_into_chunks(self.keep.logged.iter().copied().collect());
            let dirty: Vec<ListIndex> = self.cache.lists().filter(|(_, l)| l.dirty).map(|(i, _)| i).collect();
            self.keep.lists.extend(dirty);
        }
        if now - self.keep.collected_at > self.settings.collect / 10.0 {
            self.keep.collected_at = now;
            self.collect(now);
        }
        if !self.keep.is_reading() && self.session.link == Link::Open {
            let wanted = |chunk: &Chunk| !chunk.read && (!chunk.parked || !self.keep.doomed.is_empty());
            let unread: Vec<u32> =
                self.keep.chunks.iter().filter(|(_, chunk)| wanted(chunk)).map(|(number, _)| *number).collect();
            self.read_chunks(unread.into_iter().take(CHUNKS_AT_ONCE));
        }
    }

    /// Little room is left on the device: what nobody has looked at for long goes, and where nothing of the kind is left, all that nobody looks at. What a
    /// person typed never does.
    pub(super) fn make_room(&mut self, now: f64) {
        if self.leader && self.person.is_some() && !self.drop_parked() {
            self.collect(now + self.settings.collect + 1.0);
            self.drop_parked();
        }
    }

    /// Takes off the device what is not in memory. Answers whether there was anything.
    fn drop_parked(&mut self) -> bool {
        let needed: BTreeSet<u32> = self.cache.lists().flat_map(|(_, list)| list.chunks.iter().copied()).collect();
        let chunks: Vec<u32> =
            self.keep.chunks.iter().filter(|(n, c)| c.parked && !needed.contains(n)).map(|(n, _)| *n).collect();
        let lists = std::mem::take(&mut self.keep.parked);
        let any = !chunks.is_empty() || !lists.is_empty();
        for number in chunks {
            self.keep.chunks.remove(&number);
            self.keep.writes.push(Write::Remove(Area::Entities, chunk_name(number)));
        }
        self.keep.writes.extend(lists.iter().map(|key| Write::Remove(Area::Lists, list_name(key))));
        any
    }

    /// What nobody has looked at for long leaves memory; on the device it stays.
    fn collect(&mut self, now: f64) {
        let old = |at: f64| now - at > self.settings.collect;
        // What a list that somebody looks at follows from is needed as well.
        let wholes: Vec<ListKey> = self
            .cache
            .lists()
            .filter(|(_, l)| l.derived && l.observed > 0)
            .filter_map(|(_, l)| l.key.whole())
            .collect();
        let lists: Vec<ListIndex> = self
            .cache
            .lists()
            .filter(|(index, list)| {
                list.observed == 0
                    && old(list.left_at)
                    && !list.filling
                    && !self.keep.lists.contains(index)
                    && !wholes.contains(&list.key)
            })
            .map(|(index, _)| index)
            .collect();
        for index in lists {
            let Some(list) = self.cache.drop_list(index) else { continue };
            if !list.derived && list.loaded && self.leader && !list.dirty {
                self.keep.parked.insert(list.key);
            }
        }
        let unneeded = |cache: &crate::cache::Cache, slot: &Slot| {
            cache
                .row(*slot)
                .is_some_and(|row| row.lists.is_empty() && row.observed == 0 && row.local.is_none() && !row.logged)
        };
        let mut gone: Vec<Slot> = Vec::new();
        for chunk in self.keep.chunks.values_mut().filter(|chunk| chunk.read) {
            if !chunk.rows.is_empty() && chunk.rows.iter().all(|slot| unneeded(&self.cache, slot)) {
                gone.extend(std::mem::take(&mut chunk.rows));
                (chunk.read, chunk.parked) = (false, true);
            }
        }
        if !self.leader {
            let alone = self.cache.rows().filter(|(slot, row)| row.chunk == 0 && unneeded(&self.cache, slot));
            gone.extend(alone.map(|(slot, _)| slot));
        }
        gone.into_iter().for_each(|slot| self.let_go(slot));
    }
}
