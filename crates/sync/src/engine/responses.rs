//! Handles the responses to reads.
//!
//! Invariant: a failed refetch does not replace cached data. A 404 is not a failure: it removes the
//! row.

use super::fetch::get;
use super::{Engine, PendingRequest, ReferenceData, Retry, pinned_trees};
use crate::cache::{CachedList, ListIndex, Slot};
use crate::collections::DetHashSet;
use crate::event::Effect;
use crate::outbox::{EntryState, OutboxEntry};
use crate::query_key::{ListKey, Query, ReferenceDataKey};
use crate::raw_row::{RawRow, RowHeader, ScanItem, scan_response, values_equal};
use crate::request::{RequestError, RequestId, Response};
use crate::settings::EngineConfig;
use pmo_domain::api_types::{ReferenceNames, from_value};
use pmo_domain::{Catalog, EntityCode, EntityRef, EntityType, UnixMillis};
use serde::de::DeserializeOwned;
use std::sync::Arc;
use uuid::Uuid;

/// Parsed list response; its rows remain JSON text.
pub(super) struct ListPage {
    /// Entity type, if the response contains it.
    pub(super) code: Option<EntityCode>,
    pub(super) rows: Vec<(RowHeader, RawRow)>,
    pub(super) references: ReferenceNames,
    next_cursor: Option<String>,
}

/// Parses `json` into `target`; sets `valid` to false if that fails.
fn parse_into<T: DeserializeOwned>(json: &str, target: &mut T, valid: &mut bool) {
    match serde_json::from_str(json) {
        Ok(value) => *target = value,
        Err(_) => *valid = false,
    }
}

impl ListPage {
    /// Parses a list response; returns `None` if `body` is not a list or is truncated.
    pub(super) fn parse(body: String) -> Option<Self> {
        // All rows are slices of one shared text.
        let text = Arc::new(body);
        let mut page = Self { code: None, rows: Vec::new(), references: ReferenceNames::new(), next_cursor: None };
        let mut valid = true;
        scan_response(&text, "data", |item| match item {
            ScanItem::Field("entity_code", value) => parse_into(value, &mut page.code, &mut valid),
            ScanItem::Field("ref_data_entityInstance", value) => parse_into(value, &mut page.references, &mut valid),
            ScanItem::Field("next_cursor", value) => parse_into(value, &mut page.next_cursor, &mut valid),
            ScanItem::Field(..) => {}
            ScanItem::Row(from, to, header) => {
                page.rows.extend(RawRow::slice(&text, from, to).map(|raw| (header, raw)))
            }
        })?;
        if !valid {
            return None;
        }
        Some(page)
    }
}

impl Engine {
    pub(super) fn on_response(&mut self, id: RequestId, response: Result<Response, RequestError>, now: UnixMillis) {
        let Some(purpose) = self.requests.remove(&id) else { return };
        self.current_response = id.0;
        match &response {
            Ok(_) => {
                self.reachable = true;
                self.token_refreshes = 0;
                self.renew_lease(now);
            }
            // A failed tree request does not mean that the client is offline: the tree may be too
            // large for the connection.
            Err(RequestError::Network) => self.reachable &= matches!(purpose, PendingRequest::Tree(_)),
            Err(RequestError::Rejected(problem)) => {
                self.reachable = true;
                if problem.status == 401 && self.token_valid {
                    self.token_valid = false;
                    self.effects.push(Effect::RefreshToken);
                }
            }
        }
        match purpose {
            PendingRequest::Write(entry) => self.on_write_response(entry, response, now),
            PendingRequest::Row(entity) => {
                let query = Query::Row(entity.clone());
                self.on_row_response(entity, response, now);
                self.on_query_settled(&query, now);
            }
            PendingRequest::Rows(code, ids) => self.on_rows_response(code, ids, response, now),
            PendingRequest::Page { key, collected, feed_cursor, more } => {
                let query = Query::List(key.clone());
                self.on_page_response(key, collected, feed_cursor, more, response, now);
                if !self.in_flight.contains_key(&query) {
                    self.on_query_settled(&query, now);
                }
            }
            PendingRequest::Meta(key) => self.on_reference_data_response(key, response, now),
            PendingRequest::Tree(root) => {
                self.on_tree_response(root.clone(), response, now);
                self.on_query_settled(&pinned_trees::tree_query(&root), now);
            }
            PendingRequest::Changes => self.on_changes_response(response, now),
        }
        self.current_response = u64::MAX;
        let oldest = self.requests.keys().next().map_or(u64::MAX, |r| r.0);
        self.tombstones.retain(|_, next| oldest < *next);
    }

    /// Schedules the next attempt of a query that failed.
    pub(super) fn schedule_retry(&mut self, query: Query, now: UnixMillis) {
        self.in_flight.remove(&query);
        let attempts = self.retries.get(&query).map_or(0, |r| r.attempts) + 1;
        // After the last retry the delay is long. A new observer, a restored network or a visible
        // page triggers an immediate attempt.
        let EngineConfig { max_retries, retry_initial, retry_max, retry_exhausted, .. } = self.settings;
        let wait = (retry_initial * (1 << (attempts.min(20) - 1))).min(retry_max);
        let wait = wait.mul_f64(0.75 + self.session.next_jitter() / 4.0);
        let wait = if attempts > max_retries { retry_exhausted } else { wait };
        self.retries.insert(query.clone(), Retry { attempts, at: now + wait });
        self.failed.insert(query.clone());
        self.tabs.outgoing_update.completed.push((query.clone(), false));
        self.mark_changed(query);
    }

    /// Resets the retry state of a query that succeeded.
    pub(super) fn clear_retry(&mut self, query: &Query) {
        self.in_flight.remove(query);
        self.retries.remove(query);
        self.failed.remove(query);
        self.tabs.outgoing_update.completed.push((query.clone(), true));
    }

    fn on_row_response(&mut self, entity: EntityRef, response: Result<Response, RequestError>, now: UnixMillis) {
        let query = Query::Row(entity.clone());
        match response {
            Ok(response) => {
                self.clear_retry(&query);
                self.mark_changed(query.clone());
                if response.not_modified {
                    let current =
                        self.cache.get_mut(&entity).filter(|row| row.base.is_some() && row.version >= row.min_version);
                    match current {
                        Some(row) => {
                            (row.synced_at, row.stale) = (now, false);
                            self.subscribe_to_query(&query, response.feed_cursor);
                        }
                        None => {
                            self.etags.remove(&query);
                            self.request_row(&entity);
                        }
                    }
                    return;
                }
                if RowHeader::parse(&response.body).id != Some(entity.id) {
                    return self.schedule_retry(query, now);
                }
                let applied = self.apply_row(&entity.code, &response.body, now);
                if let Some(etag) = response.etag.filter(|_| applied) {
                    self.etags.insert(query.clone(), (etag, self.digest(&query)));
                }
                // If a newer row is cached, a subscription from this older cursor does not miss a
                // change either.
                self.subscribe_to_query(&query, response.feed_cursor);
            }
            Err(RequestError::Rejected(problem)) if matches!(problem.status, 404 | 400) => {
                self.clear_retry(&query);
                self.on_missing_row(&entity);
                self.mark_changed(query);
            }
            Err(_) => self.schedule_retry(query, now),
        }
    }

    fn on_rows_response(
        &mut self,
        code: EntityCode,
        ids: Vec<Uuid>,
        response: Result<Response, RequestError>,
        now: UnixMillis,
    ) {
        self.rows_in_flight.remove(&code);
        let (body, since) =
            response.map_or_else(|_| Default::default(), |response| (response.body, response.feed_cursor));
        match ListPage::parse(body) {
            Some(page) => {
                self.rows_retry.remove(&code);
                self.merge_reference_names(page.references);
                let mut present = DetHashSet::default();
                for (header, raw) in page.rows {
                    present.extend(header.id);
                    let entity = header.id.map(|id| EntityRef::new(code.clone(), id));
                    let new = entity.and_then(|entity| self.cache.get(&entity)).is_none_or(|row| row.base.is_none());
                    if let (Some(slot), true) = self.apply_parsed_row(&code, raw, header, now) {
                        self.reindex_applied_row(slot);
                        if new {
                            self.mark_trees_for_refetch(slot, None);
                        }
                    }
                }
                self.subscribe_to_rows(&code, &present, since);
                if self.current_response <= self.access_fence {
                    // Access changed after the request was sent.
                    ids.iter().for_each(|id| self.request_row(&EntityRef::new(code.clone(), *id)));
                }
                for id in ids.into_iter().filter(|id| !present.contains(id)) {
                    self.on_missing_row(&EntityRef::new(code.clone(), id));
                }
            }
            // The rows are requested again later. Until then the cached rows remain, marked stale.
            None => {
                let attempts = self.rows_retry.get(&code).map_or(0, |r| r.attempts) + 1;
                let wait = (self.settings.retry_initial * (1 << (attempts.min(7) - 1))).min(self.settings.retry_max);
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
        response: Result<Response, RequestError>,
        now: UnixMillis,
    ) {
        let query = Query::List(key.clone());
        let response = match response {
            Ok(response) => response,
            Err(RequestError::Rejected(problem)) if problem.status == 404 => return self.on_list_not_found(&key, now),
            Err(_) => return self.schedule_retry(query, now),
        };
        if response.not_modified {
            self.clear_retry(&query);
            self.mark_changed(query.clone());
            let unchanged = self.etags.get(&query).is_some_and(|(_, digest)| *digest == self.digest(&query));
            let valid_list =
                self.cache.get_list_mut(&key).filter(|list| unchanged && list.loaded && !list.loading_from_disk);
            if let Some(slots) = valid_list.map(|list| {
                (list.stale, list.synced_at, list.last_request) = (false, now, self.current_response);
                list.slots().to_vec()
            }) {
                // The rows are unchanged, except those of which a newer version has been announced.
                for slot in &slots {
                    if let Some(row) = self.cache.row_mut(*slot).filter(|row| row.version >= row.min_version) {
                        (row.stale, row.last_request) = (false, row.last_request.max(self.current_response));
                    }
                }
                let index = self.cache.list_or_insert(&key, &self.catalog);
                // A row that is deleted only locally is not in the cached list. A refetch checks
                // whether the user may still view it.
                let missing = self.rows_missing_from(index, &slots);
                self.refetch_missing(missing);
                return self.subscribe_to_query(&query, response.feed_cursor);
            }
            self.etags.remove(&query);
            return self.ensure_fresh(query, now);
        }
        let feed_cursor = feed_cursor.or(response.feed_cursor);
        let Some(page) = ListPage::parse(response.body) else { return self.schedule_retry(query, now) };
        self.merge_reference_names(page.references);
        for (header, raw) in page.rows {
            collected.extend(header.id);
            self.apply_parsed_row(&key.code, raw, header, now);
        }
        if let (Some(next), false) = (&page.next_cursor, key.paged) {
            let path = key.page_path(self.settings.page_rows, Some(next));
            let id = self.request(PendingRequest::Page { key, collected, feed_cursor, more }, get(path));
            self.in_flight.insert(query, id);
            return;
        }
        self.clear_retry(&query);
        match response.etag {
            Some(etag) if !more => drop(self.etags.insert(query.clone(), (etag, 0))),
            _ => drop(self.etags.remove(&query)),
        }
        // A row that moved while the pages were read may be on two of them.
        let mut seen = DetHashSet::default();
        let slot_of =
            |id: Uuid| self.cache.slot_of(&EntityRef::new(key.code.clone(), id)).filter(|slot| seen.insert(*slot));
        let slots = collected.into_iter().filter_map(slot_of).collect();
        self.apply_list(&key, slots, page.next_cursor, now);
        let digest = self.digest(&query);
        if let Some((_, stored_digest)) = self.etags.get_mut(&query) {
            *stored_digest = digest;
        }
        self.subscribe_to_query(&query, feed_cursor);
        self.mark_changed(query);
    }

    /// Applies a list response: the complete list, or its rows up to the cursor `next`.
    pub(super) fn apply_list(&mut self, key: &ListKey, slots: Vec<Slot>, next: Option<String>, now: UnixMillis) {
        let index = self.cache.list_or_insert(key, &self.catalog);
        let received: DetHashSet<Slot> = slots.iter().copied().collect();
        let missing = if next.is_none() { self.rows_missing_from(index, &slots) } else { Vec::new() };
        if let Some(list) = self.cache.list_mut(index) {
            list.complete = next.is_none();
            list.next_cursor = next;
            (list.loaded, list.loading_from_disk, list.derived) = (true, false, false);
            (list.stale, list.synced_at, list.last_request) = (false, now, self.current_response);
            list.chunks.clear();
        }
        let is_visible = |slot: &Slot| self.cache.row(*slot).is_some_and(|row| row.is_visible());
        let slots = slots.into_iter().filter(is_visible).collect();
        self.cache.set_rows(index, slots);
        let has_derived_list = self.cache.lists_of(&key.code).any(|list| list.derived && list.loaded);
        for slot in &received {
            // A row with pending writes may belong to other lists than the server says, and derived
            // lists follow their rows.
            if has_derived_list || self.cache.row(*slot).is_some_and(|row| row.local.is_some()) {
                self.reindex(*slot);
            }
        }
        self.refetch_missing(missing);
        if let Some(filter) = &key.parent_filter {
            self.apply_pending_links(&filter.parent);
        }
        self.mark_list_dirty(index);
        self.derive_parts(index, key);
    }

    /// Returns the rows that are in the list, or belong to it by cached values, but not in `rows`.
    pub(super) fn rows_missing_from(&mut self, index: ListIndex, rows: &[Slot]) -> Vec<Slot> {
        let received: DetHashSet<Slot> = rows.iter().copied().collect();
        self.cache.candidate_members(index, |slot| !received.contains(&slot))
    }

    fn refetch_missing(&mut self, missing: Vec<Slot>) {
        for slot in missing {
            let Some(entity) = self.cache.entity(slot) else { continue };
            if self.is_local_only(&entity) {
                // Created locally and not known to the server yet.
                self.reindex(slot);
            } else {
                // The row left this list: it was deleted, moved, or created after the response was
                // read. A refetch determines which.
                self.request_row(&entity);
            }
        }
    }

    /// Whether an entity was created locally and has not been sent successfully yet.
    pub(super) fn is_local_only(&self, entity: &EntityRef) -> bool {
        let on_server = self.cache.get(entity).is_some_and(|row| row.base.is_some());
        let is_pending_create =
            |e: &OutboxEntry| e.entity == *entity && e.state == EntryState::Pending && super::is_create(e);
        !on_server && self.outbox.iter().any(is_pending_create)
    }

    /// Derives the filtered and sorted lists of a base list that has been loaded.
    pub(super) fn derive_parts(&mut self, index: ListIndex, key: &ListKey) {
        let derived: Vec<ListIndex> = self
            .cache
            .lists()
            .filter(|(i, derived_list)| {
                *i != index
                    && derived_list.observer_count + u32::from(derived_list.loaded) > 0
                    && derived_list.key.base_list().as_ref() == Some(key)
            })
            .map(|(i, _)| i)
            .collect();
        // Derived lists follow changes of their rows. But if links alone define the membership,
        // they must be derived again from the base list.
        let by_link = key.parent_filter.as_ref().is_some_and(|filter| filter.column.is_none());
        let complete = self.cache.list(index).is_some_and(|list| list.complete);
        for derived_list in derived {
            if by_link && complete {
                self.cache.derive(derived_list, index);
            }
            self.derive_from_base(derived_list);
            if let Some(list) = self.cache.list(derived_list) {
                let query = Query::List(list.key.clone());
                self.mark_changed(query);
            }
        }
    }

    pub(super) fn reindex(&mut self, slot: Slot) {
        let impact = self.cache.reindex_row(slot);
        self.record_tree_move(slot, &impact.changed);
        for index in impact.changed {
            if let Some(list) = self.cache.list(index) {
                self.changed.insert(Query::List(list.key.clone()));
            }
        }
    }

    /// Handles a 404 of a list: its parent no longer exists for this user, nor do its rows.
    fn on_list_not_found(&mut self, key: &ListKey, now: UnixMillis) {
        let query = Query::List(key.clone());
        self.clear_retry(&query);
        if let Some(filter) = &key.parent_filter {
            let parent = filter.parent.clone();
            if !self.on_missing_row(&parent) {
                self.mark_stale(&query);
                return self.ensure_fresh(query, now);
            }
        }
        let slots: Vec<Slot> = self.cache.get_list(key).map(|l| l.slots().to_vec()).unwrap_or_default();
        for entity in slots.into_iter().filter_map(|slot| self.cache.entity(slot)).collect::<Vec<_>>() {
            self.on_missing_row(&entity);
        }
        self.remove_list_from_disk(key);
        self.empty_list(key);
    }

    /// Empties a list that does not exist for this user, and the lists derived from it.
    ///
    /// The lists are not loaded afterwards.
    pub(super) fn empty_list(&mut self, key: &ListKey) {
        let is_affected =
            |list: &CachedList| list.key == *key || (list.derived && list.key.base_list().as_ref() == Some(key));
        let lists: Vec<ListIndex> =
            self.cache.lists().filter(|(_, list)| is_affected(list)).map(|(index, _)| index).collect();
        for index in lists {
            if let Some(list) = self.cache.list_mut(index) {
                (list.loaded, list.complete, list.stale, list.loading_from_disk) = (false, false, true, false);
            }
            self.cache.set_rows(index, Vec::new());
        }
        self.mark_changed(Query::List(key.clone()));
    }

    fn on_reference_data_response(
        &mut self,
        key: ReferenceDataKey,
        response: Result<Response, RequestError>,
        now: UnixMillis,
    ) {
        let query = Query::Meta(key);
        let data = response.ok().and_then(|response| serde_json::from_str::<serde_json::Value>(&response.body).ok());
        match data {
            Some(data) if !data.is_null() => {
                self.clear_retry(&query);
                let same = self.reference_data.get(&key).is_some_and(|known| *known.data == data);
                if same && let Some(known) = self.reference_data.get_mut(&key) {
                    (known.synced_at, known.stale) = (now, false);
                } else {
                    self.persist_reference_data(key, &data, now);
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

    /// Stores reference data in memory.
    ///
    /// A new catalog recompiles the lists, because comparisons depend on the column types.
    pub(super) fn apply_reference_data(&mut self, key: ReferenceDataKey, meta: ReferenceData) {
        if key == ReferenceDataKey::Codes {
            let types: Vec<EntityType> = from_value(&meta.data).unwrap_or_default();
            let mut catalog = Catalog::default();
            catalog.types.extend(types.into_iter().map(|t| (t.code.clone(), t)));
            self.catalog = Arc::new(catalog);
            self.cache.recompile(&self.catalog);
        }
        self.reference_data.insert(key, meta);
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
                self.mark_names_dirty(&code);
            }
        }
    }

    /// Applies a row from the server to memory, lists and disk.
    ///
    /// Returns `false` if the row was too old to be applied; the current row is requested if
    /// necessary.
    pub(super) fn apply_row(&mut self, code: &EntityCode, text: &str, now: UnixMillis) -> bool {
        let (Some(slot), applied) = self.apply_parsed_row(code, RawRow::new(text), RowHeader::parse(text), now) else {
            return true;
        };
        if applied {
            self.reindex_applied_row(slot);
        }
        applied
    }

    /// Updates the list memberships of a row from a response.
    ///
    /// If a list that was requested later does not contain the row, that list is more recent. The
    /// row is then requested again.
    fn reindex_applied_row(&mut self, slot: Slot) {
        self.reindex(slot);
        let lists = self.cache.row(slot).map(|row| row.lists.clone()).unwrap_or_default();
        let requested_later =
            |index: &ListIndex| self.cache.list(*index).is_some_and(|list| list.last_request > self.current_response);
        if lists.iter().any(requested_later)
            && let Some(entity) = self.cache.entity(slot)
        {
            if let Some(row) = self.cache.row_mut(slot) {
                row.stale = true;
            }
            self.request_row(&entity);
        }
    }

    /// Applies a row from the leader; returns its slot, or `None` if the row was too old.
    pub(super) fn apply_leader_row(
        &mut self,
        code: &EntityCode,
        text: &str,
        level: Option<u8>,
        now: UnixMillis,
    ) -> Option<Slot> {
        let header = RowHeader::parse(text);
        let (slot, applied) = self.apply_parsed_row(
            code,
            RawRow::new(text),
            RowHeader { permission: header.permission.or(level), ..header },
            now,
        );
        slot.filter(|_| applied)
    }

    /// Applies a parsed row without updating lists.
    ///
    /// Returns the slot, if any, and whether the row was accepted (`false` if it was too old).
    pub(super) fn apply_parsed_row(
        &mut self,
        code: &EntityCode,
        raw: RawRow,
        header: RowHeader,
        now: UnixMillis,
    ) -> (Option<Slot>, bool) {
        let Some(id) = header.id else { return (None, true) };
        let entity = EntityRef::new(code.clone(), id);
        if header.has_reference_names {
            let names = raw.field("ref_data_entityInstance").and_then(|text| serde_json::from_str(text).ok());
            self.merge_reference_names(names.unwrap_or_default());
        }
        if self.tombstones.get(&entity).is_some_and(|next| self.current_response < *next) {
            // The row was requested before the entity was removed. Only a new request shows whether
            // the entity exists again.
            self.request_row(&entity);
            return (None, false);
        }
        let slot = self.cache.slot_or_insert(&entity);
        let Some(row) = self.cache.row_mut(slot) else { return (None, true) };
        if header.version < row.min_version || (row.base.is_some() && header.version < row.version) {
            // Versions do not decrease: an older response is dropped, and the newer row is
            // requested unless it is cached. The request that delivered a row on disk is unknown,
            // so such a row is requested once more. If the response is not late, the server itself
            // has gone back to an older version.
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
        let level = header.permission.or(row.permission);
        let same = row.base.as_ref().is_some_and(|base| values_equal(base, &raw)) && level == row.permission;
        (row.synced_at, row.unloaded) = (now, false);
        row.stale = false;
        if self.current_response != u64::MAX {
            row.last_request = row.last_request.max(self.current_response);
        }
        if !same {
            let before = row.base.clone();
            row.permission = level;
            row.version = header.version;
            // A slice would retain the text of its whole page in memory for this one row.
            row.set_base(Some(if row.base.is_some() { RawRow::new(raw.as_str()) } else { raw }));
            self.mark_row_dirty(slot);
            self.recompute_row(slot, true);
            if before.is_some() {
                self.mark_trees_for_refetch(slot, before.as_ref());
            }
        }
        (Some(slot), true)
    }

    /// Removes an entity that is missing from a response; returns whether it was removed.
    ///
    /// If a later request has already returned the entity, it is requested again instead.
    pub(super) fn on_missing_row(&mut self, entity: &EntityRef) -> bool {
        let late =
            self.cache.get(entity).is_some_and(|row| row.base.is_some() && row.last_request > self.current_response);
        if late {
            self.request_row(entity)
        } else {
            self.remove_entity(entity)
        }
        !late
    }

    /// Removes an entity that no longer exists for this user from memory, lists and disk.
    pub(super) fn remove_entity(&mut self, entity: &EntityRef) {
        self.tombstones.insert(entity.clone(), self.next_request + 1);
        self.etags.remove(&Query::Row(entity.clone()));
        if let Some(names) = self.names.get_mut(entity.code.as_str())
            && names.remove(&entity.id).is_some()
        {
            self.mark_names_dirty(entity.code.as_str());
        }
        if let Some(ids) = self.rows_to_fetch.get_mut(&entity.code) {
            ids.remove(&entity.id);
        }
        self.remove_row_from_disk(entity);
        let Some(slot) = self.cache.slot_of(entity) else { return };
        let Some(row) = self.cache.row_mut(slot) else { return };
        let was_visible = row.is_visible();
        row.set_base(None);
        (row.version, row.min_version, row.unloaded, row.stale, row.permission) = (0, 0, false, false, None);
        self.recompute_row(slot, was_visible);
        self.reindex_removed(slot);
    }

    fn reindex_removed(&mut self, slot: Slot) {
        if self.cache.row(slot).is_some_and(|row| !row.is_visible()) {
            self.reindex(slot);
            self.cache.release(slot, false);
        }
    }
}
