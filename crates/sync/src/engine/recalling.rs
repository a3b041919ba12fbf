//! The device: what it kept, and how that comes back. Live changes come first, then lists in the order that was kept, then chunks as somebody needs them.
//! It must never take what the device holds for newer than what the server said.

use super::keeping::{Chunk, FORMAT, Keep, KeptMeta, ListHead, chunk_name, list_name, row_name};
use super::trees::KEPT;
use super::{Engine, FeedPlace, Meta};
use crate::cache::{CachedRow, ListIndex, Slot};
use crate::event::Effect;
use crate::key::{ListKey, Query};
use crate::maps::{Map, Set};
use crate::pack::{Packed, unpack, unpack_ids};
use crate::store::{Area, CHUNK, Named, ROW, Stored, Write, json};
use pmo_domain::{EntityCode, EntityRef, PersonId};
use std::collections::BTreeSet;
use std::sync::Arc;
use uuid::Uuid;

/// Chunks that are read by one question to the device.
const READ_AT_ONCE: usize = 4;

impl Engine {
    pub(super) fn start(&mut self, person: PersonId, mut stored: Stored, term: Option<u64>, now: f64) {
        self.person = Some(person);
        self.leader = term.is_some();
        let format = stored.metadata.iter().find(|(name, _)| name == "format").map(|(_, bytes)| bytes.as_slice());
        if format != Some(FORMAT) {
            // Another format, or nothing yet.
            let empty = stored.lists.is_empty() && stored.chunks.is_empty() && stored.log.is_empty();
            let anything = format.is_some() || !empty;
            if anything {
                self.keep.writes.extend(Area::CACHE.map(Write::Clear));
            }
            self.keep.writes.push(Write::Put(Area::Metadata, "format".into(), FORMAT.to_vec()));
            stored = Stored { drafts: stored.drafts, outbox: stored.outbox, ..Stored::default() };
        }
        for (name, bytes) in &stored.metadata {
            self.take_kept_metadata(name, bytes);
        }
        self.keep.locked = self.keep.reached > 0.0 && now - self.keep.reached > self.settings.lease;
        self.take_places(&stored);
        for (_, bytes) in &stored.lists {
            self.take_kept_list(bytes, false);
        }
        self.take_log(&stored.log);
        self.take_drafts(stored.drafts, now);
        self.outbox_is(stored.outbox);
        let looked_at: Vec<(Query, u32)> = self.observed.iter().map(|(q, n)| (q.clone(), *n)).collect();
        for (query, times) in looked_at {
            for _ in 0..times {
                self.look_at(&query);
            }
            self.changed(query.clone());
            self.ensure(query, now);
        }
        self.tabs_began(term.unwrap_or_default(), now);
        self.take_up_trees(now);
        if self.leader {
            self.session.connecting(now);
            self.effects.push(Effect::Connect);
        }
        self.effects.push(Effect::StatusChanged);
    }

    /// This tab leads: what another packed meanwhile is read again; what this one knows better stays.
    pub(super) fn lead(&mut self, stored: Stored, term: u64, now: f64) {
        if self.person.is_none() {
            return;
        }
        self.leader = true;
        self.tabs.in_doubt = false;
        // What another tab could not answer this one asks for itself.
        self.failed.clear();
        self.tabs_began(term, now);
        let slots: Vec<Slot> = self.cache.rows().map(|(slot, _)| slot).collect();
        for slot in &slots {
            if let Some(row) = self.cache.row_mut(*slot) {
                // The leader before may have heard of a change, and moved the cursor, without living to fetch it.
                (row.chunk, row.logged, row.stale) = (0, false, true);
            }
        }
        self.cache.lists_mut().for_each(|list| list.stale = true);
        let Keep { last_batch, reached, locked, dropping, drafting, writes, .. } = std::mem::take(&mut self.keep);
        self.keep = Keep { last_batch, reached, locked, dropping, drafting, writes, ..Keep::default() };
        self.take_places(&stored);
        self.take_log(&stored.log);
        for (name, bytes) in stored.metadata.iter().filter(|(name, _)| name.starts_with(KEPT)) {
            self.take_kept_metadata(name, bytes);
        }
        // Trees were the other leader's: what this tab read of them at its start may be packed elsewhere by now.
        let trees: Vec<ListIndex> =
            self.cache.lists().filter(|(_, list)| list.key.deep).map(|(index, _)| index).collect();
        for index in trees {
            self.cache.drop_list(index);
        }
        for (_, bytes) in &stored.lists {
            self.take_kept_list(bytes, true);
        }
        self.take_up_trees(now);
        // What was typed here may have been sent by the tab that led.
        self.outbox.iter_mut().for_each(|entry| entry.attempts = entry.attempts.max(1));
        self.outbox_is(stored.outbox);
        // What is held here and not there is written again.
        for slot in slots {
            if self
                .cache
                .row(slot)
                .is_some_and(|row| row.base.is_some() && row.chunk == 0 && !row.logged && !row.unread)
            {
                self.keep_row(slot);
            }
        }
        let lists: Vec<ListIndex> =
            self.cache.lists().filter(|(_, l)| l.loaded && !l.derived).map(|(i, _)| i).collect();
        self.keep.lists.extend(lists);
        self.keep.cursor_moved = true;
        self.session.connecting(now);
        self.effects.push(Effect::Connect);
        self.hurry(now);
        self.ensure_all(now);
    }

    fn take_kept_metadata(&mut self, name: &str, bytes: &[u8]) {
        if let Some(code) = name.strip_prefix("names:") {
            self.names.insert(code.to_owned(), json(bytes).unwrap_or_default());
        } else if name.starts_with(KEPT) {
            if let Some(kept) = json(bytes) {
                self.take_kept_root(kept);
            }
        } else if name == "cursor" {
            self.cursor = json::<FeedPlace>(bytes);
        } else if name == "reached" {
            self.keep.reached = json(bytes).unwrap_or_default();
        } else if name.starts_with("meta:")
            && let Some(kept) = json::<KeptMeta>(bytes)
        {
            let meta = Meta { data: Arc::new(kept.data), synced_at: kept.synced_at, stale: true };
            self.take_meta(kept.key, meta);
        }
    }

    fn take_places(&mut self, stored: &Stored) {
        for name in &stored.chunks {
            if let Some(number) = name.strip_prefix(CHUNK).and_then(|n| n.parse().ok()) {
                self.keep.chunks.insert(number, Chunk::default());
            }
        }
    }

    fn take_kept_list(&mut self, bytes: &[u8], only_of_trees: bool) {
        let Some((head, ids)) = unpack_ids(bytes) else { return };
        let Ok(head) = serde_json::from_str::<ListHead>(head) else { return };
        if only_of_trees && !head.key.deep {
            return;
        }
        let index = self.cache.list_place(&head.key, &self.catalogue);
        if self.cache.list(index).is_some_and(|list| list.loaded) {
            return; // the server was faster
        }
        let mut slots = Vec::with_capacity(ids.len());
        for id in ids {
            let slot = self.cache.place_of(&EntityRef::new(head.key.code.clone(), id));
            if let Some(row) = self.cache.row_mut(slot) {
                row.unread = row.base.is_none();
            }
            slots.push(slot);
        }
        self.cache.fill(index, slots);
        if let Some(list) = self.cache.list_mut(index) {
            (list.loaded, list.complete, list.next) = (true, head.complete, head.next);
            (list.stale, list.synced_at, list.chunks) = (true, head.synced_at, head.chunks);
        }
    }

    /// Live changes come first: what they hold is newer than any chunk.
    fn take_log(&mut self, log: &[Named]) {
        for (name, bytes) in log {
            let Some(id) = name.strip_prefix(ROW).and_then(|id| id.parse::<Uuid>().ok()) else { continue };
            if bytes.is_empty() {
                self.keep.doomed.insert(id);
                continue;
            }
            let Ok((code, rows)) = unpack(bytes) else {
                self.keep.writes.push(Write::Remove(Area::Entities, name.clone()));
                continue;
            };
            for packed in rows {
                let slot = self.cache.place_of(&EntityRef::new(code.clone(), packed.id));
                let Some(row) = self.cache.row_mut(slot) else { continue };
                row.logged = true;
                self.keep.logged.insert(slot);
                if row.base.is_none() || row.version < packed.version {
                    row.set_base(Some(packed.raw));
                    (row.version, row.permission) = (packed.version, packed.permission);
                    (row.stale, row.unread) = (true, false);
                    self.refresh(slot, true);
                }
            }
        }
        // A list that lacks nothing is in order at once.
        let lists: Vec<ListIndex> = self.cache.lists().filter(|(_, l)| l.filling).map(|(i, _)| i).collect();
        lists.into_iter().for_each(|index| self.finish_list(index));
    }

    pub(super) fn read_chunks(&mut self, numbers: impl Iterator<Item = u32>) {
        let unread = |number: &u32| self.keep.chunks.get(number).is_some_and(|chunk| !chunk.read);
        let names: Vec<String> =
            numbers.filter(unread).map(chunk_name).filter(|name| !self.keep.reading.contains(name)).collect();
        self.keep.reading.extend(names.iter().cloned());
        // A few at a time: what is read lies in memory twice until it has been taken in.
        for names in names.chunks(READ_AT_ONCE) {
            self.effects.push(Effect::Read(Area::Entities, names.to_vec()));
        }
    }

    /// Asks the device for the rows of a list. The first ones come by themselves: they can be drawn before the rest is there.
    pub(super) fn read_list(&mut self, index: ListIndex) {
        let parked =
            self.cache.list(index).filter(|list| !list.loaded).and_then(|list| self.keep.parked.take(&list.key));
        if let Some(key) = parked {
            let name = list_name(&key);
            self.keep.reading.insert(name.clone());
            self.effects.push(Effect::Read(Area::Lists, vec![name]));
            return;
        }
        let Some(list) = self.cache.list(index).filter(|l| l.filling) else { return };
        let chunks = list.chunks.clone();
        self.read_chunks(chunks.iter().take(1).copied());
        self.read_chunks(chunks.into_iter().skip(1));
        self.finish_list(index);
    }

    /// Asks the device for a row of which it is not known where it lies.
    pub(super) fn read_row(&mut self, slot: Slot) {
        if self.cache.row(slot).is_some_and(|row| row.base.is_none()) {
            let all: Vec<u32> = self.keep.chunks.keys().copied().collect();
            self.read_chunks(all.into_iter());
        }
    }

    pub(super) fn read_back(&mut self, area: Area, names: &[String], found: Vec<Named>, now: f64) {
        if self.person.is_none() {
            return;
        }
        if area == Area::Lists {
            for name in names {
                self.keep.reading.remove(name);
            }
            for (_, bytes) in found {
                self.take_kept_list(&bytes, false);
            }
            let filling: Vec<ListIndex> = self.cache.lists().filter(|(_, l)| l.filling).map(|(i, _)| i).collect();
            for index in filling {
                self.read_list(index);
                if let Some(list) = self.cache.list(index) {
                    self.changed.insert(Query::List(list.key.clone()));
                }
            }
            return self.ensure_all(now);
        }
        let mut news: Set<Slot> = Set::default();
        let mut found: Map<String, Vec<u8>> = found.into_iter().collect();
        for name in names {
            self.keep.reading.remove(name);
            let Some(number) = name.strip_prefix(CHUNK).and_then(|n| n.parse::<u32>().ok()) else { continue };
            if self.keep.chunks.get(&number).is_none_or(|chunk| chunk.read) {
                continue;
            }
            match found.remove(name).as_deref().map(unpack) {
                Some(Ok((code, rows))) => self.take_chunk(number, &code, rows, &mut news),
                // What is damaged costs itself alone: its rows are asked for again.
                _ => {
                    self.keep.chunks.remove(&number);
                    self.keep.writes.push(Write::Remove(Area::Entities, name.clone()));
                }
            }
        }
        for slot in &news {
            self.refresh(*slot, true);
            // A list that has been told since lacked it: whether it is there still only the server knows.
            let told_without = |row: &CachedRow| {
                let mut lists = row.lists.iter().filter_map(|index| self.cache.list(*index));
                row.stale && lists.any(|list| list.loaded && !list.stale)
            };
            if (self.keep.sweeping || self.cache.row(*slot).is_some_and(told_without))
                && let Some(entity) = self.cache.entity(*slot)
            {
                self.want(&entity);
            }
        }
        if self.keep.chunks.values().all(|chunk| chunk.read) {
            self.keep.sweeping = false;
            // Nothing unread is left that could hold what is gone.
            for id in std::mem::take(&mut self.keep.doomed) {
                self.keep.writes.push(Write::Remove(Area::Entities, row_name(id)));
            }
            let unread: Vec<Slot> = self.cache.rows().filter(|(_, r)| r.unread).map(|(slot, _)| slot).collect();
            for slot in unread {
                if let Some(row) = self.cache.row_mut(slot) {
                    row.unread = false;
                }
            }
            for query in self.observed.keys() {
                self.changed.insert(query.clone());
            }
        }
        let filling: Vec<ListIndex> = self.cache.lists().filter(|(_, l)| l.filling).map(|(i, _)| i).collect();
        for index in filling {
            self.finish_list(index);
        }
        self.ensure_all(now);
    }

    fn take_chunk(&mut self, number: u32, code: &EntityCode, rows: Vec<Packed>, news: &mut Set<Slot>) {
        let mut kept = BTreeSet::new();
        for packed in rows {
            if self.keep.doomed.contains(&packed.id) {
                self.keep.torn.insert(number);
                continue;
            }
            let entity = EntityRef::new(code.clone(), packed.id);
            if self.gone.contains_key(&entity) && self.cache.get(&entity).is_none_or(|row| row.base.is_none()) {
                self.keep.torn.insert(number);
                continue;
            }
            let slot = self.cache.place_of(&entity);
            let Some(row) = self.cache.row_mut(slot) else { continue };
            if row.chunk != 0 && row.chunk != number {
                // It has been packed elsewhere since.
                self.keep.torn.insert(number);
                continue;
            }
            row.chunk = number;
            kept.insert(slot);
            if row.base.is_none() {
                row.set_base(Some(packed.raw));
                (row.version, row.permission) = (packed.version, packed.permission);
                (row.stale, row.unread) = (true, false);
                news.insert(slot);
            } else if row.version != packed.version && !row.logged {
                self.keep.rows.insert(slot);
            }
        }
        self.keep.chunks.insert(number, Chunk { read: true, parked: false, rows: kept });
    }

    /// A list all of whose chunks have been read is in its own order from now on.
    fn finish_list(&mut self, index: ListIndex) {
        let Some(list) = self.cache.list(index).filter(|l| l.filling) else { return };
        let unread = |number: &u32| self.keep.chunks.get(number).is_some_and(|chunk| !chunk.read);
        if list.chunks.iter().any(unread) {
            return;
        }
        let (key, slots) = (list.key.clone(), list.slots().to_vec());
        for slot in slots {
            if let Some(row) = self.cache.row_mut(slot) {
                row.unread = false;
            }
        }
        self.cache.filled(index);
        // What was changed beside the chunks may belong here by now.
        for slot in self.keep.logged.clone() {
            self.cache.follow(slot);
        }
        if let Some(list) = self.cache.list_mut(index)
            && !list.chunks.iter().all(|number| self.keep.chunks.contains_key(number))
        {
            // Some of it was damaged: what is missing is asked for again.
            (list.stale, list.complete) = (true, false);
        }
        if let Some(below) = &key.below {
            self.follow_ties(&below.parent);
        }
        if key.deep {
            // What was looked at inside the tree before it was there.
            let waiting =
                self.cache.lists_of(&key.code).filter(|list| list.observed > 0 && !list.loaded && !list.key.deep);
            let waiting: Vec<ListKey> =
                waiting.map(|list| list.key.whole().unwrap_or_else(|| list.key.clone())).collect();
            for key in waiting {
                self.fill_from_tree(&key);
                self.changed(Query::List(key));
            }
        }
        self.changed(Query::List(key));
        self.rederive_parts(index);
    }

    /// What was derived from a list while it was not read whole is worked out anew.
    fn rederive_parts(&mut self, index: ListIndex) {
        let of_it =
            |part: &crate::cache::CachedList| part.key.whole().and_then(|w| self.cache.find_list(&w)) == Some(index);
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
