//! List responses, and lists that are derived from other lists.

use super::Engine;
use crate::cache::{CachedList, ListIndex, Slot};
use crate::collections::DetHashSet;
use crate::components::{PendingPage, PendingRequest};
use crate::list_page::ListPage;
use crate::query_key::{ListKey, Query};
use crate::request::{Request, RequestError, Response};
use pmo_domain::{EntityRef, UnixMillis};
use uuid::Uuid;

impl Engine {
    pub(super) fn on_page_response(
        &mut self,
        page: PendingPage,
        response: Result<Response, RequestError>,
        now: UnixMillis,
    ) {
        let PendingPage { key, mut collected, feed_cursor, more } = page;
        let query = Query::List(key.clone());
        let response = match response {
            Ok(response) => response,
            Err(RequestError::Rejected(problem)) if problem.status == 404 => return self.on_list_not_found(&key, now),
            Err(_) => return self.schedule_retry(query, now),
        };
        if response.not_modified {
            return self.on_list_not_modified(&key, response.feed_cursor, now);
        }
        let feed_cursor = feed_cursor.or(response.feed_cursor);
        let Some(page) = ListPage::parse(response.body) else { return self.schedule_retry(query, now) };
        self.merge_reference_names(page.references);
        for (header, raw) in page.rows {
            collected.extend(header.id);
            self.apply_parsed_row(&key.code, raw, header, now);
        }
        if let (Some(next), false) = (&page.next_cursor, key.paged) {
            let request = Request::get(key.page_path(self.settings.page_rows, Some(next)));
            let page = PendingRequest::Page(PendingPage { key, collected, feed_cursor, more });
            return self.effects.push(self.requests.continue_query(query, page, request));
        }
        self.clear_retry(&query);
        self.requests.forget_etag(&query);
        // A row that moved while the pages were read may be on two of them.
        let mut seen = DetHashSet::default();
        let slot_of =
            |id: Uuid| self.cache.slot_of(&EntityRef::new(key.code.clone(), id)).filter(|slot| seen.insert(*slot));
        let slots = collected.into_iter().filter_map(slot_of).collect();
        self.apply_list(&key, slots, page.next_cursor, now);
        if let Some(etag) = response.etag.filter(|_| !more) {
            self.requests.set_etag(&query, etag, self.digest(&query));
        }
        self.subscribe_to_query(&query, feed_cursor);
        self.mark_changed(query);
    }

    /// Handles a 304 of a list: its rows are unchanged, except those announced in a newer version.
    fn on_list_not_modified(&mut self, key: &ListKey, feed_cursor: Option<String>, now: UnixMillis) {
        let query = Query::List(key.clone());
        self.clear_retry(&query);
        self.mark_changed(query.clone());
        let unchanged = self.requests.valid_etag(&query, || self.digest(&query)).is_some();
        let current = self.requests.current_response();
        let valid_list =
            self.cache.get_list_mut(key).filter(|list| unchanged && list.loaded && !list.loading_from_disk);
        let Some(list) = valid_list else {
            self.requests.forget_etag(&query);
            return self.ensure_fresh(query, now);
        };
        (list.stale, list.synced_at, list.last_request) = (false, now, current);
        let slots = list.slots().to_vec();
        for slot in &slots {
            if let Some(row) = self.cache.row_mut(*slot).filter(|row| row.version >= row.min_version) {
                (row.stale, row.last_request) = (false, row.last_request.max(current));
            }
        }
        let index = self.cache.list_or_insert(key, self.reference.catalog());
        // A row that is deleted only locally is not in the cached list. A refetch checks whether
        // the user may still view it.
        let missing = self.rows_missing_from(index, &slots);
        self.refetch_missing(missing);
        self.subscribe_to_query(&query, feed_cursor);
    }

    /// Applies a list response: the complete list, or its rows up to the cursor `next`.
    pub(super) fn apply_list(&mut self, key: &ListKey, slots: Vec<Slot>, next: Option<String>, now: UnixMillis) {
        let index = self.cache.list_or_insert(key, self.reference.catalog());
        let received: DetHashSet<Slot> = slots.iter().copied().collect();
        let missing = if next.is_none() { self.rows_missing_from(index, &slots) } else { Vec::new() };
        if let Some(list) = self.cache.list_mut(index) {
            list.complete = next.is_none();
            list.next_cursor = next;
            (list.loaded, list.loading_from_disk, list.derived) = (true, false, false);
            (list.stale, list.synced_at, list.last_request) = (false, now, self.requests.current_response());
            list.chunks.clear();
        }
        let is_visible = |slot: &Slot| self.cache.row(*slot).is_some_and(|row| row.is_visible());
        let slots = slots.into_iter().filter(is_visible).collect();
        self.cache.set_rows(index, slots);
        let has_derived_list = self.cache.lists_of(&key.code).any(|list| list.derived && list.loaded);
        for slot in &received {
            // A row with pending writes or derived columns may belong to other lists than the
            // server says, and derived lists follow their rows.
            let is_local = self.cache.row(*slot).is_some_and(|row| row.local.is_some() || row.has_derived());
            if has_derived_list || is_local {
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
                self.requests.queue_row(&entity);
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

    /// Derives a list from its base list if the base list is cached completely.
    ///
    /// A derived list is not fetched. A list that only sorts its base list has as many rows as the
    /// base list, so the base list is fetched instead.
    pub(super) fn derive_from_base(&mut self, index: ListIndex) {
        let Some(list) = self.cache.list(index).filter(|l| !(l.derived && l.loaded)) else { return };
        let Some(key) = list.key.base_list() else { return };
        let only_sorted = list.key.filters.is_empty() && !list.key.paged;
        let loaded_base =
            self.cache.find_list(&key).filter(|base| self.cache.list(*base).is_some_and(|l| l.loaded && l.complete));
        match loaded_base {
            Some(base) => {
                self.read_list(base);
                self.cache.derive(index, base);
            }
            None if only_sorted => {
                let base = self.cache.list_or_insert(&key, self.reference.catalog());
                if let Some(list) = self.cache.list_mut(index) {
                    list.derived = true;
                }
                self.read_list(base);
            }
            None => {}
        }
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

    /// Rebuilds the lists that were derived from a list before it was loaded completely.
    pub(super) fn rebuild_derived_lists(&mut self, index: ListIndex) {
        let is_derived_from_it = |derived_list: &CachedList| {
            derived_list.key.base_list().and_then(|w| self.cache.find_list(&w)) == Some(index)
        };
        let derived: Vec<ListIndex> = self
            .cache
            .lists()
            .filter(|(_, derived_list)| derived_list.derived && is_derived_from_it(derived_list))
            .map(|(i, _)| i)
            .collect();
        for derived_list in derived {
            self.cache.derive(derived_list, index);
            if let Some(list) = self.cache.list(derived_list) {
                self.observers.mark_changed(Query::List(list.key.clone()));
            }
        }
    }
}
