//! Reads: what an answer means. A failed refetch never replaces good data; a 404 is no failure, it removes the row.

use super::asking::get;
use super::{Engine, Meta, Purpose, Retry, trees};
use crate::cache::{CachedList, ListIndex, Slot};
use crate::event::{Answer, Effect, Failure, RequestId};
use crate::key::{ListKey, MetaKey, Query};
use crate::maps::Set;
use crate::outbox::{Entry, EntryState};
use crate::raw::{Marks, Raw, Scanned, same_values, scan};
use crate::settings::Settings;
use pmo_domain::api_types::{ReferenceNames, from_value};
use pmo_domain::{Catalog, EntityCode, EntityRef, EntityType};
use serde::de::DeserializeOwned;
use std::sync::Arc;
use uuid::Uuid;

/// A list's answer, its rows as they came.
pub(super) struct Page {
    /// The type, where the answer says it.
    pub(super) code: Option<EntityCode>,
    pub(super) rows: Vec<(Marks, Raw)>,
    pub(super) references: ReferenceNames,
    next_cursor: Option<String>,
}

fn take<T: DeserializeOwned>(json: &str, into: &mut T, sound: &mut bool) {
    match serde_json::from_str(json) {
        Ok(read) => *into = read,
        Err(_) => *sound = false,
    }
}

impl Page {
    /// Reads an answer; none where it is no list, or was cut off.
    pub(super) fn read(body: String) -> Option<Self> {
        // The rows share one text.
        let text = Arc::new(body);
        let mut page = Self { code: None, rows: Vec::new(), references: ReferenceNames::new(), next_cursor: None };
        let mut sound = true;
        scan(&text, "data", |scanned| match scanned {
            Scanned::Field("entity_code", value) => take(value, &mut page.code, &mut sound),
            Scanned::Field("ref_data_entityInstance", value) => take(value, &mut page.references, &mut sound),
            Scanned::Field("next_cursor", value) => take(value, &mut page.next_cursor, &mut sound),
            Scanned::Field(..) => {}
            Scanned::Row(from, to, marks) => page.rows.extend(Raw::part(&text, from, to).map(|raw| (marks, raw))),
        })?;
        if !sound {
            return None;
        }
        Some(page)
    }
}

impl Engine {
    pub(super) fn answered(&mut self, id: RequestId, answer: Result<Answer, Failure>, now: f64) {
        let Some(purpose) = self.requests.remove(&id) else { return };
        self.answering = id.0;
        match &answer {
            Ok(_) => {
                self.reachable = true;
                self.renewals = 0;
                self.reached(now);
            }
            // A tree that does not come through may be too large for the line.
            Err(Failure::Network) => self.reachable &= matches!(purpose, Purpose::Tree(_)),
            Err(Failure::Refused(problem)) => {
                self.reachable = true;
                if problem.status == 401 && self.token_good {
                    self.token_good = false;
                    self.effects.push(Effect::RenewToken);
                }
            }
        }
        match purpose {
            Purpose::Write(entry) => self.write_answered(entry, answer, now),
            Purpose::Row(entity) => {
                let query = Query::Row(entity.clone());
                self.row_answered(entity, answer, now);
                self.settled(&query, now);
            }
            Purpose::Rows(code, ids) => self.rows_answered(code, ids, answer, now),
            Purpose::Page { key, collected, feed_cursor, more } => {
                let query = Query::List(key.clone());
                self.page_answered(key, collected, feed_cursor, more, answer, now);
                if !self.in_flight.contains_key(&query) {
                    self.settled(&query, now);
                }
            }
            Purpose::Meta(key) => self.meta_answered(key, answer, now),
            Purpose::Tree(root) => {
                self.tree_answered(root.clone(), answer, now);
                self.settled(&trees::whole(&root), now);
            }
            Purpose::Changes => self.changes_answered(answer, now),
        }
        self.answering = u64::MAX;
        let oldest = self.requests.keys().next().map_or(u64::MAX, |r| r.0);
        self.gone.retain(|_, next| oldest < *next);
    }

    /// Plans another try after a failure.
    pub(super) fn failed(&mut self, query: Query, now: f64) {
        self.in_flight.remove(&query);
        let attempts = self.retries.get(&query).map_or(0, |r| r.attempts) + 1;
        // After the last try it waits long; a look, the network's return or the page being shown try at once.
        let Settings { retries, retry_first, retry_longest, retry_at_last, .. } = self.settings;
        let wait = (retry_first * 2f64.powi(attempts.min(20) as i32 - 1)).min(retry_longest);
        let wait = wait * (0.75 + self.session.share() / 4.0);
        let wait = if attempts > retries { retry_at_last } else { wait };
        self.retries.insert(query.clone(), Retry { attempts, at: now + wait });
        self.failed.insert(query.clone());
        self.tabs.news.settled.push((query.clone(), false));
        self.changed(query);
    }

    pub(super) fn succeeded(&mut self, query: &Query) {
        self.in_flight.remove(query);
        self.retries.remove(query);
        self.failed.remove(query);
        self.tabs.news.settled.push((query.clone(), true));
    }

    fn row_answered(&mut self, entity: EntityRef, answer: Result<Answer, Failure>, now: f64) {
        let query = Query::Row(entity.clone());
        match answer {
            Ok(answer) => {
                self.succeeded(&query);
                self.changed(query.clone());
                if answer.not_modified {
                    let still =
                        self.cache.get_mut(&entity).filter(|row| row.base.is_some() && row.version >= row.floor);
                    match still {
                        Some(row) => {
                            (row.synced_at, row.stale) = (now, false);
                            self.watch(&query, answer.feed_cursor);
                        }
                        None => {
                            self.etags.remove(&query);
                            self.want(&entity);
                        }
                    }
                    return;
                }
                if Marks::of(&answer.body).id != Some(entity.id) {
                    return self.failed(query, now);
                }
                let taken = self.take_row(&entity.code, &answer.body, now);
                if let Some(etag) = answer.etag.filter(|_| taken) {
                    self.etags.insert(query.clone(), (etag, self.digest(&query)));
                }
                // Where more is held already, watching from where this answer stood misses nothing of it either.
                self.watch(&query, answer.feed_cursor);
            }
            Err(Failure::Refused(problem)) if matches!(problem.status, 404 | 400) => {
                self.succeeded(&query);
                self.absent(&entity, now);
                self.changed(query);
            }
            Err(_) => self.failed(query, now),
        }
    }

    fn rows_answered(&mut self, code: EntityCode, ids: Vec<Uuid>, answer: Result<Answer, Failure>, now: f64) {
        self.rows_in_flight.remove(&code);
        let (body, since) = answer.map_or_else(|_| Default::default(), |answer| (answer.body, answer.feed_cursor));
        match Page::read(body) {
            Some(page) => {
                self.rows_retry.remove(&code);
                self.learn_names(page.references);
                let mut present = Set::default();
                for (marks, raw) in page.rows {
                    present.extend(marks.id);
                    let entity = marks.id.map(|id| EntityRef::new(code.clone(), id));
                    let new = entity.and_then(|entity| self.cache.get(&entity)).is_none_or(|row| row.base.is_none());
                    if let (Some(slot), true) = self.take_marked_row(&code, raw, marks, now) {
                        self.follow_told(slot);
                        if new {
                            self.doubt_trees(slot, None);
                        }
                    }
                }
                self.watch_rows(&code, &present, since);
                if self.answering <= self.swept {
                    // This person's access changed after it was asked.
                    ids.iter().for_each(|id| self.want(&EntityRef::new(code.clone(), *id)));
                }
                for id in ids.into_iter().filter(|id| !present.contains(id)) {
                    self.absent(&EntityRef::new(code.clone(), id), now);
                }
            }
            // Asked for again at the next chance; until then what is held stays, marked stale.
            None => {
                let attempts = self.rows_retry.get(&code).map_or(0, |r| r.attempts) + 1;
                let wait = (self.settings.retry_first / 2.0 * 2f64.powi(attempts.min(7) as i32))
                    .min(self.settings.retry_longest);
                self.rows_retry.insert(code.clone(), Retry { attempts, at: now + wait });
                self.wanted.at(code, Set::default).extend(ids);
            }
        }
    }

    fn page_answered(
        &mut self,
        key: ListKey,
        mut collected: Vec<Uuid>,
        feed_cursor: Option<String>,
        more: bool,
        answer: Result<Answer, Failure>,
        now: f64,
    ) {
        let query = Query::List(key.clone());
        let answer = match answer {
            Ok(answer) => answer,
            Err(Failure::Refused(problem)) if problem.status == 404 => return self.list_gone(&key, now),
            Err(_) => return self.failed(query, now),
        };
        if answer.not_modified {
            self.succeeded(&query);
            self.changed(query.clone());
            let same = self.etags.get(&query).is_some_and(|(_, held)| *held == self.digest(&query));
            let stands = self.cache.get_list_mut(&key).filter(|list| same && list.loaded && !list.filling);
            if let Some(slots) = stands.map(|list| {
                (list.stale, list.synced_at, list.told_by) = (false, now, self.answering);
                list.slots().to_vec()
            }) {
                // Its rows are what they were, but for those of which more has been heard.
                for slot in &slots {
                    if let Some(row) = self.cache.row_mut(*slot).filter(|row| row.version >= row.floor) {
                        (row.stale, row.told_by) = (false, row.told_by.max(self.answering));
                    }
                }
                let index = self.cache.list_place(&key, &self.catalogue);
                // What was deleted here, and not there yet, is in no list; whether it may still be seen is asked.
                let untold = self.untold(index, &slots);
                self.ask_for(untold);
                return self.watch(&query, answer.feed_cursor);
            }
            self.etags.remove(&query);
            return self.ensure(query, now);
        }
        let feed_cursor = feed_cursor.or(answer.feed_cursor);
        let Some(page) = Page::read(answer.body) else { return self.failed(query, now) };
        self.learn_names(page.references);
        for (marks, raw) in page.rows {
            collected.extend(marks.id);
            self.take_marked_row(&key.code, raw, marks, now);
        }
        if let (Some(next), false) = (&page.next_cursor, key.paged) {
            let path = key.path(self.settings.page_rows, Some(next));
            let id = self.request(Purpose::Page { key, collected, feed_cursor, more }, get(path));
            self.in_flight.insert(query, id);
            return;
        }
        self.succeeded(&query);
        match answer.etag {
            Some(etag) if !more => drop(self.etags.insert(query.clone(), (etag, 0))),
            _ => drop(self.etags.remove(&query)),
        }
        // What moved while the pages were read may be on two of them.
        let mut seen = Set::default();
        let find = |id: Uuid| self.cache.find(&EntityRef::new(key.code.clone(), id)).filter(|slot| seen.insert(*slot));
        let slots = collected.into_iter().filter_map(find).collect();
        self.list_answered(&key, slots, page.next_cursor, now);
        let held = self.digest(&query);
        if let Some((_, then)) = self.etags.get_mut(&query) {
            *then = held;
        }
        self.watch(&query, feed_cursor);
        self.changed(query);
    }

    /// A list has been told whole, or as far as it was asked for.
    pub(super) fn list_answered(&mut self, key: &ListKey, slots: Vec<Slot>, next: Option<String>, now: f64) {
        let index = self.cache.list_place(key, &self.catalogue);
        let told: Set<Slot> = slots.iter().copied().collect();
        let untold = if next.is_none() { self.untold(index, &slots) } else { Vec::new() };
        if let Some(list) = self.cache.list_mut(index) {
            list.complete = next.is_none();
            list.next = next;
            (list.loaded, list.filling, list.derived) = (true, false, false);
            (list.stale, list.synced_at, list.told_by) = (false, now, self.answering);
            list.chunks.clear();
        }
        let shown = |slot: &Slot| self.cache.row(*slot).is_some_and(|row| row.is_shown());
        let slots = slots.into_iter().filter(shown).collect();
        self.cache.set_rows(index, slots);
        let derives = self.cache.lists_of(&key.code).any(|list| list.derived && list.loaded);
        for slot in &told {
            // What was written here may belong elsewhere than the server says; parts of this list follow it.
            if derives || self.cache.row(*slot).is_some_and(|row| row.local.is_some()) {
                self.follow(*slot);
            }
        }
        self.ask_for(untold);
        if let Some(below) = &key.below {
            self.follow_ties(&below.parent);
        }
        self.keep_list(index);
        self.derive_parts(index, key);
    }

    /// The rows that are here, or would belong here by what is held of them, and were not told.
    pub(super) fn untold(&mut self, index: ListIndex, told: &[Slot]) -> Vec<Slot> {
        let told: Set<Slot> = told.iter().copied().collect();
        self.cache.belonging(index, |slot| !told.contains(&slot))
    }

    fn ask_for(&mut self, untold: Vec<Slot>) {
        for slot in untold {
            let Some(entity) = self.cache.entity(slot) else { continue };
            if self.is_made_here(&entity) {
                // Made here, and not known there yet.
                self.follow(slot);
            } else {
                // It left this list: gone, moved elsewhere, or made after the answer was read; asking for it tells.
                self.want(&entity);
            }
        }
    }

    /// Whether a thing was made here and is not sent yet.
    pub(super) fn is_made_here(&self, entity: &EntityRef) -> bool {
        let told = self.cache.get(entity).is_some_and(|row| row.base.is_some());
        let waits = |e: &Entry| e.entity == *entity && e.state == EntryState::Waiting && super::is_create(e);
        !told && self.outbox.iter().any(waits)
    }

    /// Parts of a list that has become known whole follow from it now.
    pub(super) fn derive_parts(&mut self, index: ListIndex, key: &ListKey) {
        let parts: Vec<ListIndex> = self
            .cache
            .lists()
            .filter(|(i, part)| {
                *i != index && part.observed + u32::from(part.loaded) > 0 && part.key.whole().as_ref() == Some(key)
            })
            .map(|(i, _)| i)
            .collect();
        // Parts follow their rows, but where links alone say what hangs there: those follow the whole.
        let by_link = key.below.as_ref().is_some_and(|below| below.column.is_none());
        let whole = self.cache.list(index).is_some_and(|list| list.complete);
        for part in parts {
            if by_link && whole {
                self.cache.derive(part, index);
            }
            self.derive_from_whole(part);
            if let Some(list) = self.cache.list(part) {
                let query = Query::List(list.key.clone());
                self.changed(query);
            }
        }
    }

    pub(super) fn follow(&mut self, slot: Slot) {
        let placed = self.cache.follow(slot);
        self.note_moved(slot, &placed.changed);
        for index in placed.changed {
            if let Some(list) = self.cache.list(index) {
                self.changed.insert(Query::List(list.key.clone()));
            }
        }
    }

    /// The thing above a list is gone for this person, and what is below with it.
    fn list_gone(&mut self, key: &ListKey, now: f64) {
        let query = Query::List(key.clone());
        self.succeeded(&query);
        if let Some(below) = &key.below {
            let parent = below.parent.clone();
            if !self.absent(&parent, now) {
                self.mark_stale(&query);
                return self.ensure(query, now);
            }
        }
        let held: Vec<Slot> = self.cache.get_list(key).map(|l| l.slots().to_vec()).unwrap_or_default();
        for entity in held.into_iter().filter_map(|slot| self.cache.entity(slot)).collect::<Vec<_>>() {
            self.absent(&entity, now);
        }
        self.unkeep_list(key);
        self.empty_list(key);
    }

    /// A list is not there for this person: it and what follows from it hold nothing and are not known.
    pub(super) fn empty_list(&mut self, key: &ListKey) {
        let gone = |list: &CachedList| list.key == *key || (list.derived && list.key.whole().as_ref() == Some(key));
        let lists: Vec<ListIndex> = self.cache.lists().filter(|(_, list)| gone(list)).map(|(index, _)| index).collect();
        for index in lists {
            if let Some(list) = self.cache.list_mut(index) {
                (list.loaded, list.complete, list.stale, list.filling) = (false, false, true, false);
            }
            self.cache.set_rows(index, Vec::new());
        }
        self.changed(Query::List(key.clone()));
    }

    fn meta_answered(&mut self, key: MetaKey, answer: Result<Answer, Failure>, now: f64) {
        let query = Query::Meta(key);
        let read = answer.ok().and_then(|answer| serde_json::from_str::<serde_json::Value>(&answer.body).ok());
        match read {
            Some(data) if !data.is_null() => {
                self.succeeded(&query);
                let same = self.metas.get(&key).is_some_and(|known| *known.data == data);
                if same && let Some(known) = self.metas.get_mut(&key) {
                    (known.synced_at, known.stale) = (now, false);
                } else {
                    self.keep_meta(key, &data, now);
                    self.take_meta(key, Meta { data: Arc::new(data), synced_at: now, stale: false });
                    self.watch_trees(now);
                }
                self.changed(query);
            }
            _ => self.failed(query, now),
        }
    }

    /// Takes reference data into memory. What lists compare depends on the types of columns.
    pub(super) fn take_meta(&mut self, key: MetaKey, meta: Meta) {
        if key == MetaKey::Codes {
            let types: Vec<EntityType> = from_value(&meta.data).unwrap_or_default();
            let mut catalogue = Catalog::default();
            catalogue.types.extend(types.into_iter().map(|t| (t.code.clone(), t)));
            self.catalogue = Arc::new(catalogue);
            self.cache.recompile(&self.catalogue);
        }
        self.metas.insert(key, meta);
    }

    pub(super) fn learn_names(&mut self, names: ReferenceNames) {
        for (code, names) in names {
            let known = self.names.entry(code.clone()).or_default();
            let before = known.len();
            let mut renamed = false;
            for (id, name) in names {
                renamed |= known.get(&id).is_some_and(|known| *known != name);
                known.insert(id, name);
            }
            if renamed || known.len() != before {
                self.keep_names(&code);
            }
        }
    }

    /// Takes a row that the server told, into memory, the lists and the device. False where it was too old to count, and is asked for again.
    pub(super) fn take_row(&mut self, code: &EntityCode, text: &str, now: f64) -> bool {
        let (Some(slot), taken) = self.take_marked_row(code, Raw::new(text), Marks::of(text), now) else { return true };
        if taken {
            self.follow_told(slot);
        }
        taken
    }

    /// Puts a row that an answer told where it belongs. A list that was asked for later and lacked it knows better: a new question tells.
    fn follow_told(&mut self, slot: Slot) {
        self.follow(slot);
        let lists = self.cache.row(slot).map(|row| row.lists.clone()).unwrap_or_default();
        let told_later = |index: &ListIndex| self.cache.list(*index).is_some_and(|list| list.told_by > self.answering);
        if lists.iter().any(told_later)
            && let Some(entity) = self.cache.entity(slot)
        {
            if let Some(row) = self.cache.row_mut(slot) {
                row.stale = true;
            }
            self.want(&entity);
        }
    }

    /// Takes a row that the leader told; answers where it is, if it counts.
    pub(super) fn take_told_row(&mut self, code: &EntityCode, text: &str, level: Option<u8>, now: f64) -> Option<Slot> {
        let marks = Marks::of(text);
        let (slot, taken) =
            self.take_marked_row(code, Raw::new(text), Marks { permission: marks.permission.or(level), ..marks }, now);
        slot.filter(|_| taken)
    }

    /// Takes a row without looking at lists. Answers where it is, and whether it counts.
    pub(super) fn take_marked_row(
        &mut self,
        code: &EntityCode,
        raw: Raw,
        marks: Marks,
        now: f64,
    ) -> (Option<Slot>, bool) {
        let Some(id) = marks.id else { return (None, true) };
        let entity = EntityRef::new(code.clone(), id);
        if marks.names {
            let names = raw.field("ref_data_entityInstance").and_then(|text| serde_json::from_str(text).ok());
            self.learn_names(names.unwrap_or_default());
        }
        if self.gone.get(&entity).is_some_and(|next| self.answering < *next) {
            // Asked for before it went: whether it is there again only a new question tells.
            self.want(&entity);
            return (None, false);
        }
        let slot = self.cache.place_of(&entity);
        let Some(row) = self.cache.row_mut(slot) else { return (None, true) };
        if marks.version < row.floor || (row.base.is_some() && marks.version < row.version) {
            // Nothing goes back in time: an older answer is thrown away, and the newer asked for unless it is held.
            // Of what lies on the device it is not known when it was told: that is asked once more. An answer that is not late says that the server went back.
            let late = self.answering < row.told_by || row.told_by == 0;
            if row.told_by == 0 && self.answering != u64::MAX {
                row.told_by = self.answering;
            }
            if row.base.is_none() || row.version < row.floor || (row.stale && late) {
                row.stale = true;
                self.want(&entity);
            }
            return (Some(slot), false);
        }
        let level = marks.permission.or(row.permission);
        let same = row.base.as_ref().is_some_and(|base| same_values(base, &raw)) && level == row.permission;
        (row.synced_at, row.unread) = (now, false);
        row.stale = false;
        if self.answering != u64::MAX {
            row.told_by = row.told_by.max(self.answering);
        }
        if !same {
            let before = row.base.clone();
            row.permission = level;
            row.version = marks.version;
            // A slice would keep its whole page in memory for this one row.
            row.set_base(Some(if row.base.is_some() { Raw::new(raw.as_str()) } else { raw }));
            self.keep_row(slot);
            self.refresh(slot, true);
            if before.is_some() {
                self.doubt_trees(slot, before.as_ref());
            }
        }
        (Some(slot), true)
    }

    /// A thing is absent from an answer: it is gone, unless a later question was answered with it already. Then a new one tells. True where it is gone.
    pub(super) fn absent(&mut self, entity: &EntityRef, now: f64) -> bool {
        let late = self.cache.get(entity).is_some_and(|row| row.base.is_some() && row.told_by > self.answering);
        if late {
            self.want(entity)
        } else {
            self.forget(entity, now)
        }
        !late
    }

    /// A thing is gone for this person: from memory, lists and the device.
    pub(super) fn forget(&mut self, entity: &EntityRef, _now: f64) {
        self.gone.insert(entity.clone(), self.next_request + 1);
        self.etags.remove(&Query::Row(entity.clone()));
        if let Some(names) = self.names.get_mut(entity.code.as_str())
            && names.remove(&entity.id).is_some()
        {
            self.keep_names(entity.code.as_str());
        }
        if let Some(wanted) = self.wanted.get_mut(&entity.code) {
            wanted.remove(&entity.id);
        }
        self.unkeep_row(entity);
        let Some(slot) = self.cache.find(entity) else { return };
        let Some(row) = self.cache.row_mut(slot) else { return };
        let was_shown = row.is_shown();
        row.set_base(None);
        (row.version, row.floor, row.unread, row.stale, row.permission) = (0, 0, false, false, None);
        self.refresh(slot, was_shown);
        self.follow_gone(slot);
    }

    fn follow_gone(&mut self, slot: Slot) {
        if self.cache.row(slot).is_some_and(|row| !row.is_shown()) {
            self.follow(slot);
            self.cache.release(slot, false);
        }
    }
}
