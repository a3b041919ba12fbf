//! Reads: what an answer means. A failed refetch never replaces good data; a 404 is no failure, it removes the row.

use super::fetch::get;
use super::{Engine, PendingRequest, ReferenceData, Retry, pinned_trees};
use crate::cache::{CachedList, ListIndex, Slot};
use crate::collections::DetHashSet;
use crate::event::{Effect, RequestError, RequestId, Response};
use crate::outbox::{EntryState, OutboxEntry};
use crate::query_key::{ListKey, Query, ReferenceDataKey};
use crate::raw_row::{RawRow, RowHeader, ScanItem, scan_response, values_equal};
use crate::settings::EngineConfig;
use pmo_domain::api_types::{ReferenceNames, from_value};
use pmo_domain::{Catalog, EntityCode, EntityRef, EntityType};
use serde::de::DeserializeOwned;
use std::sync::Arc;
use uuid::Uuid;

/// A list's answer, its rows as they came.
pub(super) struct ListPage {
    /// The type, where the answer says it.
    pub(super) code: Option<EntityCode>,
    pub(super) rows: Vec<(RowHeader, RawRow)>,
    pub(super) references: ReferenceNames,
    next_cursor: Option<String>,
}

fn parse_into<T: DeserializeOwned>(json: &str, into: &mut T, sound: &mut bool) {
    match serde_json::from_str(json) {
        Ok(read) => *into = read,
        Err(_) => *sound = false,
    }
}

impl ListPage {
    /// Reads an answer; none where it is no list, or was cut off.
    pub(super) fn read(body: String) -> Option<Self> {
        // The rows share one text.
        let text = Arc::new(body);
        let mut page = Self { code: None, rows: Vec::new(), references: ReferenceNames::new(), next_cursor: None };
        let mut sound = true;
        scan_response(&text, "data", |scanned| match scanned {
            ScanItem::Field("entity_code", value) => parse_into(value, &mut page.code, &mut sound),
            ScanItem::Field("ref_data_entityInstance", value) => parse_into(value, &mut page.references, &mut sound),
            ScanItem::Field("next_cursor", value) => parse_into(value, &mut page.next_cursor, &mut sound),
            ScanItem::Field(..) => {}
            ScanItem::Row(from, to, marks) => page.rows.extend(RawRow::slice(&text, from, to).map(|raw| (marks, raw))),
        })?;
        if !sound {
            return None;
        }
        Some(page)
    }
}

impl Engine {
    pub(super) fn on_response(&mut self, id: RequestId, answer: Result<Response, RequestError>, now: f64) {
        let Some(purpose) = self.requests.remove(&id) else { return };
        self.current_response = id.0;
        match &answer {
            Ok(_) => {
                self.reachable = true;
                self.token_refreshes = 0;
                self.renew_lease(now);
            }
            // A tree that does not come through may be too large for the line.
            Err(RequestError::Network) => self.reachable &= matches!(purpose, PendingRequest::Tree(_)),
            Err(RequestError::Rejected(problem)) => {
                self.reachable = true;
                if problem.status == 401 && self.token_good {
                    self.token_good = false;
                    self.effects.push(Effect::RefreshToken);
                }
            }
        }
        match purpose {
            PendingRequest::Write(entry) => self.on_write_response(entry, answer, now),
            PendingRequest::Row(entity) => {
                let query = Query::Row(entity.clone());
                self.on_row_response(entity, answer, now);
                self.on_query_settled(&query, now);
            }
            PendingRequest::Rows(code, ids) => self.on_rows_response(code, ids, answer, now),
            PendingRequest::Page { key, collected, feed_cursor, more } => {
                let query = Query::List(key.clone());
                self.on_page_response(key, collected, feed_cursor, more, answer, now);
                if !self.in_flight.contains_key(&query) {
                    self.on_query_settled(&query, now);
                }
            }
            PendingRequest::Meta(key) => self.meta_answered(key, answer, now),
            PendingRequest::Tree(root) => {
                self.tree_answered(root.clone(), answer, now);
                self.on_query_settled(&pinned_trees::tree_query(&root), now);
            }
            PendingRequest::Changes => self.changes_answered(answer, now),
        }
        self.current_response = u64::MAX;
        let oldest = self.requests.keys().next().map_or(u64::MAX, |r| r.0);
        self.tombstones.retain(|_, next| oldest < *next);
    }

    /// Plans another try after a failure.
    pub(super) fn schedule_retry(&mut self, query: Query, now: f64) {
        self.in_flight.remove(&query);
        let attempts = self.retries.get(&query).map_or(0, |r| r.attempts) + 1;
        // After the last try it waits long; a look, the network's return or the page being shown try at once.
        let EngineConfig {
            max_retries: retries,
            retry_initial_ms: retry_first,
            retry_max_ms: retry_longest,
            retry_exhausted_ms: retry_at_last,
            ..
        } = self.settings;
        let wait = (retry_first * 2f64.powi(attempts.min(20) as i32 - 1)).min(retry_longest);
        let wait = wait * (0.75 + self.session.next_jitter() / 4.0);
        let wait = if attempts > retries { retry_at_last } else { wait };
        self.retries.insert(query.clone(), Retry { attempts, at: now + wait });
        self.failed.insert(query.clone());
        self.tabs.outgoing_update.completed.push((query.clone(), false));
        self.mark_changed(query);
    }

    pub(super) fn clear_retry(&mut self, query: &Query) {
        self.in_flight.remove(query);
        self.retries.remove(query);
        self.failed.remove(query);
        self.tabs.outgoing_update.completed.push((query.clone(), true));
    }

    fn on_row_response(&mut self, entity: EntityRef, answer: Result<Response, RequestError>, now: f64) {
        let query = Query::Row(entity.clone());
        match answer {
            Ok(answer) => {
                self.clear_retry(&query);
                self.mark_changed(query.clone());
                if answer.not_modified {
                    let still =
                        self.cache.get_mut(&entity).filter(|row| row.base.is_some() && row.version >= row.min_version);
                    match still {
                        Some(row) => {
                            (row.synced_at, row.stale) = (now, false);
                            self.watch(&query, answer.feed_cursor);
                        }
                        None => {
                            self.etags.remove(&query);
                            self.request_row(&entity);
                        }
                    }
                    return;
                }
                if RowHeader::of(&answer.body).id != Some(entity.id) {
                    return self.schedule_retry(query, now);
                }
                let taken = self.apply_row(&entity.code, &answer.body, now);
                if let Some(etag) = answer.etag.filter(|_| taken) {
                    self.etags.insert(query.clone(), (etag, self.digest(&query)));
                }
                // Where more is held already, watching from where this answer stood misses nothing of it either.
                self.watch(&query, answer.feed_cursor);
            }
            Err(RequestError::Rejected(problem)) if matches!(problem.status, 404 | 400) => {
                self.clear_retry(&query);
                self.on_missing_row(&entity, now);
                self.mark_changed(query);
            }
            Err(_) => self.schedule_retry(query, now),
        }
    }

    fn on_rows_response(&mut self, code: EntityCode, ids: Vec<Uuid>, answer: Result<Response, RequestError>, now: f64) {
        self.rows_in_flight.remove(&code);
        let (body, since) = answer.map_or_else(|_| Default::default(), |answer| (answer.body, answer.feed_cursor));
        match ListPage::read(body) {
            Some(page) => {
                self.rows_retry.remove(&code);
                self.merge_reference_names(page.references);
                let mut present = DetHashSet::default();
                for (marks, raw) in page.rows {
                    present.extend(marks.id);
                    let entity = marks.id.map(|id| EntityRef::new(code.clone(), id));
                    let new = entity.and_then(|entity| self.cache.get(&entity)).is_none_or(|row| row.base.is_none());
                    if let (Some(slot), true) = self.apply_parsed_row(&code, raw, marks, now) {
                        self.reindex_applied_row(slot);
                        if new {
                            self.mark_trees_for_refetch(slot, None);
                        }
                    }
                }
                self.watch_rows(&code, &present, since);
                if self.current_response <= self.access_fence {
                    // This person's access changed after it was asked.
                    ids.iter().for_each(|id| self.request_row(&EntityRef::new(code.clone(), *id)));
                }
                for id in ids.into_iter().filter(|id| !present.contains(id)) {
                    self.on_missing_row(&EntityRef::new(code.clone(), id), now);
                }
            }
            // Asked for again at the next chance; until then what is held stays, marked stale.
            None => {
                let attempts = self.rows_retry.get(&code).map_or(0, |r| r.attempts) + 1;
                let wait = (self.settings.retry_initial_ms / 2.0 * 2f64.powi(attempts.min(7) as i32))
                    .min(self.settings.retry_max_ms);
                self.rows_retry.insert(code.clone(), Retry { attempts, at: now + wait });
                self.rows_to_fetch.get_or_insert_with(code, DetHashSet::default).extend(ids);
            }
        }
    }

    fn on_page_response(
        &mut self,
        key: ListKey,
        mut collected: Vec<Uuid>,
        feed_cursor: Option<String>,
        more: bool,
        answer: Result<Response, RequestError>,
        now: f64,
    ) {
        let query = Query::List(key.clone());
        let answer = match answer {
            Ok(answer) => answer,
            Err(RequestError::Rejected(problem)) if problem.status == 404 => return self.on_list_gone(&key, now),
            Err(_) => return self.schedule_retry(query, now),
        };
        if answer.not_modified {
            self.clear_retry(&query);
            self.mark_changed(query.clone());
            let same = self.etags.get(&query).is_some_and(|(_, held)| *held == self.digest(&query));
            let stands = self.cache.get_list_mut(&key).filter(|list| same && list.loaded && !list.loading_from_disk);
            if let Some(slots) = stands.map(|list| {
                (list.stale, list.synced_at, list.last_request) = (false, now, self.current_response);
                list.slots().to_vec()
            }) {
                // Its rows are what they were, but for those of which more has been heard.
                for slot in &slots {
                    if let Some(row) = self.cache.row_mut(*slot).filter(|row| row.version >= row.min_version) {
                        (row.stale, row.last_request) = (false, row.last_request.max(self.current_response));
                    }
                }
                let index = self.cache.list_or_insert(&key, &self.catalogue);
                // What was deleted here, and not there yet, is in no list; whether it may still be seen is asked.
                let untold = self.rows_missing_from(index, &slots);
                self.refetch_missing(untold);
                return self.watch(&query, answer.feed_cursor);
            }
            self.etags.remove(&query);
            return self.ensure_fresh(query, now);
        }
        let feed_cursor = feed_cursor.or(answer.feed_cursor);
        let Some(page) = ListPage::read(answer.body) else { return self.schedule_retry(query, now) };
        self.merge_reference_names(page.references);
        for (marks, raw) in page.rows {
            collected.extend(marks.id);
            self.apply_parsed_row(&key.code, raw, marks, now);
        }
        if let (Some(next), false) = (&page.next_cursor, key.paged) {
            let path = key.page_path(self.settings.page_rows, Some(next));
            let id = self.request(PendingRequest::Page { key, collected, feed_cursor, more }, get(path));
            self.in_flight.insert(query, id);
            return;
        }
        self.clear_retry(&query);
        match answer.etag {
            Some(etag) if !more => drop(self.etags.insert(query.clone(), (etag, 0))),
            _ => drop(self.etags.remove(&query)),
        }
        // What moved while the pages were read may be on two of them.
        let mut seen = DetHashSet::default();
        let find =
            |id: Uuid| self.cache.slot_of(&EntityRef::new(key.code.clone(), id)).filter(|slot| seen.insert(*slot));
        let slots = collected.into_iter().filter_map(find).collect();
        self.apply_list(&key, slots, page.next_cursor, now);
        let held = self.digest(&query);
        if let Some((_, then)) = self.etags.get_mut(&query) {
            *then = held;
        }
        self.watch(&query, feed_cursor);
        self.mark_changed(query);
    }

    /// A list has been told whole, or as far as it was asked for.
    pub(super) fn apply_list(&mut self, key: &ListKey, slots: Vec<Slot>, next: Option<String>, now: f64) {
        let index = self.cache.list_or_insert(key, &self.catalogue);
        let told: DetHashSet<Slot> = slots.iter().copied().collect();
        let untold = if next.is_none() { self.rows_missing_from(index, &slots) } else { Vec::new() };
        if let Some(list) = self.cache.list_mut(index) {
            list.complete = next.is_none();
            list.next_cursor = next;
            (list.loaded, list.loading_from_disk, list.derived) = (true, false, false);
            (list.stale, list.synced_at, list.last_request) = (false, now, self.current_response);
            list.chunks.clear();
        }
        let shown = |slot: &Slot| self.cache.row(*slot).is_some_and(|row| row.is_visible());
        let slots = slots.into_iter().filter(shown).collect();
        self.cache.set_rows(index, slots);
        let derives = self.cache.lists_of(&key.code).any(|list| list.derived && list.loaded);
        for slot in &told {
            // What was written here may belong elsewhere than the server says; parts of this list follow it.
            if derives || self.cache.row(*slot).is_some_and(|row| row.local.is_some()) {
                self.reindex(*slot);
            }
        }
        self.refetch_missing(untold);
        if let Some(below) = &key.below {
            self.apply_pending_links(&below.parent);
        }
        self.mark_list_dirty(index);
        self.derive_parts(index, key);
    }

    /// The rows that are here, or would belong here by what is held of them, and were not told.
    pub(super) fn rows_missing_from(&mut self, index: ListIndex, told: &[Slot]) -> Vec<Slot> {
        let told: DetHashSet<Slot> = told.iter().copied().collect();
        self.cache.candidate_members(index, |slot| !told.contains(&slot))
    }

    fn refetch_missing(&mut self, untold: Vec<Slot>) {
        for slot in untold {
            let Some(entity) = self.cache.entity(slot) else { continue };
            if self.is_local_only(&entity) {
                // Made here, and not known there yet.
                self.reindex(slot);
            } else {
                // It left this list: gone, moved elsewhere, or made after the answer was read; asking for it tells.
                self.request_row(&entity);
            }
        }
    }

    /// Whether a thing was made here and is not sent yet.
    pub(super) fn is_local_only(&self, entity: &EntityRef) -> bool {
        let told = self.cache.get(entity).is_some_and(|row| row.base.is_some());
        let waits = |e: &OutboxEntry| e.entity == *entity && e.state == EntryState::Pending && super::is_create(e);
        !told && self.outbox.iter().any(waits)
    }

    /// Parts of a list that has become known whole follow from it now.
    pub(super) fn derive_parts(&mut self, index: ListIndex, key: &ListKey) {
        let parts: Vec<ListIndex> = self
            .cache
            .lists()
            .filter(|(i, part)| {
                *i != index
                    && part.observer_count + u32::from(part.loaded) > 0
                    && part.key.base_list().as_ref() == Some(key)
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
            self.derive_from_base(part);
            if let Some(list) = self.cache.list(part) {
                let query = Query::List(list.key.clone());
                self.mark_changed(query);
            }
        }
    }

    pub(super) fn reindex(&mut self, slot: Slot) {
        let placed = self.cache.reindex_row(slot);
        self.record_tree_move(slot, &placed.changed);
        for index in placed.changed {
            if let Some(list) = self.cache.list(index) {
                self.changed.insert(Query::List(list.key.clone()));
            }
        }
    }

    /// The thing above a list is gone for this person, and what is below with it.
    fn on_list_gone(&mut self, key: &ListKey, now: f64) {
        let query = Query::List(key.clone());
        self.clear_retry(&query);
        if let Some(below) = &key.below {
            let parent = below.parent.clone();
            if !self.on_missing_row(&parent, now) {
                self.mark_stale(&query);
                return self.ensure_fresh(query, now);
            }
        }
        let held: Vec<Slot> = self.cache.get_list(key).map(|l| l.slots().to_vec()).unwrap_or_default();
        for entity in held.into_iter().filter_map(|slot| self.cache.entity(slot)).collect::<Vec<_>>() {
            self.on_missing_row(&entity, now);
        }
        self.remove_list_from_disk(key);
        self.empty_list(key);
    }

    /// A list is not there for this person: it and what follows from it hold nothing and are not known.
    pub(super) fn empty_list(&mut self, key: &ListKey) {
        let gone = |list: &CachedList| list.key == *key || (list.derived && list.key.base_list().as_ref() == Some(key));
        let lists: Vec<ListIndex> = self.cache.lists().filter(|(_, list)| gone(list)).map(|(index, _)| index).collect();
        for index in lists {
            if let Some(list) = self.cache.list_mut(index) {
                (list.loaded, list.complete, list.stale, list.loading_from_disk) = (false, false, true, false);
            }
            self.cache.set_rows(index, Vec::new());
        }
        self.mark_changed(Query::List(key.clone()));
    }

    fn meta_answered(&mut self, key: ReferenceDataKey, answer: Result<Response, RequestError>, now: f64) {
        let query = Query::Meta(key);
        let read = answer.ok().and_then(|answer| serde_json::from_str::<serde_json::Value>(&answer.body).ok());
        match read {
            Some(data) if !data.is_null() => {
                self.clear_retry(&query);
                let same = self.metas.get(&key).is_some_and(|known| *known.data == data);
                if same && let Some(known) = self.metas.get_mut(&key) {
                    (known.synced_at, known.stale) = (now, false);
                } else {
                    self.keep_meta(key, &data, now);
                    self.apply_reference_data(
                        key,
                        ReferenceData { data: Arc::new(data), synced_at: now, stale: false },
                    );
                    self.observe_pinned_trees(now);
                }
                self.mark_changed(query);
            }
            _ => self.schedule_retry(query, now),
        }
    }

    /// Takes reference data into memory. What lists compare depends on the types of columns.
    pub(super) fn apply_reference_data(&mut self, key: ReferenceDataKey, meta: ReferenceData) {
        if key == ReferenceDataKey::Codes {
            let types: Vec<EntityType> = from_value(&meta.data).unwrap_or_default();
            let mut catalogue = Catalog::default();
            catalogue.types.extend(types.into_iter().map(|t| (t.code.clone(), t)));
            self.catalogue = Arc::new(catalogue);
            self.cache.recompile(&self.catalogue);
        }
        self.metas.insert(key, meta);
    }

    pub(super) fn merge_reference_names(&mut self, names: ReferenceNames) {
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
    pub(super) fn apply_row(&mut self, code: &EntityCode, text: &str, now: f64) -> bool {
        let (Some(slot), taken) = self.apply_parsed_row(code, RawRow::new(text), RowHeader::of(text), now) else {
            return true;
        };
        if taken {
            self.reindex_applied_row(slot);
        }
        taken
    }

    /// Puts a row that an answer told where it belongs. A list that was asked for later and lacked it knows better: a new question tells.
    fn reindex_applied_row(&mut self, slot: Slot) {
        self.reindex(slot);
        let lists = self.cache.row(slot).map(|row| row.lists.clone()).unwrap_or_default();
        let told_later =
            |index: &ListIndex| self.cache.list(*index).is_some_and(|list| list.last_request > self.current_response);
        if lists.iter().any(told_later)
            && let Some(entity) = self.cache.entity(slot)
        {
            if let Some(row) = self.cache.row_mut(slot) {
                row.stale = true;
            }
            self.request_row(&entity);
        }
    }

    /// Takes a row that the leader told; answers where it is, if it counts.
    pub(super) fn apply_leader_row(
        &mut self,
        code: &EntityCode,
        text: &str,
        level: Option<u8>,
        now: f64,
    ) -> Option<Slot> {
        let marks = RowHeader::of(text);
        let (slot, taken) = self.apply_parsed_row(
            code,
            RawRow::new(text),
            RowHeader { permission: marks.permission.or(level), ..marks },
            now,
        );
        slot.filter(|_| taken)
    }

    /// Takes a row without looking at lists. Answers where it is, and whether it counts.
    pub(super) fn apply_parsed_row(
        &mut self,
        code: &EntityCode,
        raw: RawRow,
        marks: RowHeader,
        now: f64,
    ) -> (Option<Slot>, bool) {
        let Some(id) = marks.id else { return (None, true) };
        let entity = EntityRef::new(code.clone(), id);
        if marks.has_reference_names {
            let names = raw.field("ref_data_entityInstance").and_then(|text| serde_json::from_str(text).ok());
            self.merge_reference_names(names.unwrap_or_default());
        }
        if self.tombstones.get(&entity).is_some_and(|next| self.current_response < *next) {
            // Asked for before it went: whether it is there again only a new question tells.
            self.request_row(&entity);
            return (None, false);
        }
        let slot = self.cache.slot_or_insert(&entity);
        let Some(row) = self.cache.row_mut(slot) else { return (None, true) };
        if marks.version < row.min_version || (row.base.is_some() && marks.version < row.version) {
            // Nothing goes back in time: an older answer is thrown away, and the newer asked for unless it is held.
            // Of what lies on the device it is not known when it was told: that is asked once more. An answer that is not late says that the server went back.
            let late = self.current_response < row.last_request || row.last_request == 0;
            if row.last_request == 0 && self.current_response != u64::MAX {
                row.last_request = self.current_response;
            }
            if row.base.is_none() || row.version < row.min_version || (row.stale && late) {
                row.stale = true;
                self.request_row(&entity);
            }
            return (Some(slot), false);
        }
        let level = marks.permission.or(row.permission);
        let same = row.base.as_ref().is_some_and(|base| values_equal(base, &raw)) && level == row.permission;
        (row.synced_at, row.unloaded) = (now, false);
        row.stale = false;
        if self.current_response != u64::MAX {
            row.last_request = row.last_request.max(self.current_response);
        }
        if !same {
            let before = row.base.clone();
            row.permission = level;
            row.version = marks.version;
            // A slice would keep its whole page in memory for this one row.
            row.set_base(Some(if row.base.is_some() { RawRow::new(raw.as_str()) } else { raw }));
            self.mark_row_dirty(slot);
            self.recompute_row(slot, true);
            if before.is_some() {
                self.mark_trees_for_refetch(slot, before.as_ref());
            }
        }
        (Some(slot), true)
    }

    /// A thing is absent from an answer: it is gone, unless a later question was answered with it already. Then a new one tells. True where it is gone.
    pub(super) fn on_missing_row(&mut self, entity: &EntityRef, now: f64) -> bool {
        let late =
            self.cache.get(entity).is_some_and(|row| row.base.is_some() && row.last_request > self.current_response);
        if late {
            self.request_row(entity)
        } else {
            self.remove_entity(entity, now)
        }
        !late
    }

    /// A thing is gone for this person: from memory, lists and the device.
    pub(super) fn remove_entity(&mut self, entity: &EntityRef, _now: f64) {
        self.tombstones.insert(entity.clone(), self.next_request + 1);
        self.etags.remove(&Query::Row(entity.clone()));
        if let Some(names) = self.names.get_mut(entity.code.as_str())
            && names.remove(&entity.id).is_some()
        {
            self.keep_names(entity.code.as_str());
        }
        if let Some(wanted) = self.rows_to_fetch.get_mut(&entity.code) {
            wanted.remove(&entity.id);
        }
        self.remove_row_from_disk(entity);
        let Some(slot) = self.cache.slot_of(entity) else { return };
        let Some(row) = self.cache.row_mut(slot) else { return };
        let was_shown = row.is_visible();
        row.set_base(None);
        (row.version, row.min_version, row.unloaded, row.stale, row.permission) = (0, 0, false, false, None);
        self.recompute_row(slot, was_shown);
        self.reindex_removed(slot);
    }

    fn reindex_removed(&mut self, slot: Slot) {
        if self.cache.row(slot).is_some_and(|row| !row.is_visible()) {
            self.reindex(slot);
            self.cache.release(slot, false);
        }
    }
}
