//! Decides which queries, pages and rows are requested from the server, and when.
//!
//! At most one request per query is in flight. [`super::responses`] handles the responses.

use super::{Engine, PendingRequest};
use crate::cache::ListIndex;
use crate::collections::DetHashSet;
use crate::event::Effect;
use crate::query_key::{ListKey, Query};
use crate::request::{Method, Request};
use crate::tab_protocol::TabMessage;
use pmo_domain::api_types::MAX_IDS_PER_REQUEST;
use pmo_domain::{EntityCode, EntityRef, UnixMillis};
use uuid::Uuid;

/// Returns a GET request for `path` without further headers.
pub(super) fn get(path: String) -> Request {
    Request { method: Method::Get, path, body: None, if_match: None, idempotency_key: None, if_none_match: None }
}

impl Engine {
    /// Fetches a query unless its cached data is fresh.
    pub(super) fn ensure_fresh(&mut self, query: Query, now: UnixMillis) {
        if let Query::List(ListKey { parent_filter: Some(filter), recursive: true, .. }) = &query {
            let root = filter.parent.clone();
            return self.ensure_tree_fresh(&root, now);
        }
        if self.in_flight.contains_key(&query)
            || self.retries.get(&query).is_some_and(|r| r.at > now)
            || !self.token_valid
        {
            return;
        }
        if let Query::List(key) = &query
            && let Some(base_list) = self.cache.get_list(key).filter(|l| l.derived).and_then(|l| l.key.base_list())
        {
            // A derived list is not fetched itself: its base list is fetched.
            return self.ensure_fresh(Query::List(base_list), now);
        }
        if self.is_fresh(&query, now) {
            // The failure of an earlier attempt no longer matters.
            self.failed.remove(&query);
            return;
        }
        if !self.leader {
            // Only the leader sends requests; it forwards the data.
            self.tabs.announce_pending = true;
            return;
        }
        if let Query::List(key) = &query
            && key.parent_filter.as_ref().is_some_and(|b| self.is_local_only(&b.parent))
        {
            // A parent that exists only locally can only have local children.
            let index = self.cache.list_or_insert(key, &self.catalog);
            if let Some(list) = self.cache.list_mut(index) {
                (list.loaded, list.complete) = (true, true);
            }
            return;
        }
        let (purpose, path) = match &query {
            Query::Row(entity) => (PendingRequest::Row(entity.clone()), format!("/{}/{}", entity.code, entity.id)),
            Query::List(key) => {
                let purpose =
                    PendingRequest::Page { key: key.clone(), collected: Vec::new(), feed_cursor: None, more: false };
                (purpose, key.page_path(self.settings.page_rows, None))
            }
            Query::Meta(key) => (PendingRequest::Meta(*key), key.page_path().to_owned()),
        };
        let mut request = get(path);
        let known = self.etags.get(&query).filter(|(_, digest)| *digest == self.digest(&query));
        request.if_none_match = known.map(|(etag, _)| etag.clone());
        let id = self.request(purpose, request);
        self.mark_changed(query.clone());
        self.first_request.insert(query.clone(), id.0);
        self.in_flight.insert(query, id);
    }

    /// Refetches a completed query if access changed after its request was sent.
    pub(super) fn on_query_settled(&mut self, query: &Query, now: UnixMillis) {
        let first_request = self.first_request.remove(query).unwrap_or(u64::MAX);
        if first_request <= self.access_fence {
            self.etags.remove(query);
            self.mark_stale(query);
            if self.observer_counts.contains_key(query) || !matches!(query, Query::Row(_)) {
                self.ensure_fresh(query.clone(), now);
            }
        }
    }

    fn is_fresh(&self, query: &Query, now: UnixMillis) -> bool {
        let subscribed = query.topic().is_some_and(|topic| self.subscribed.contains(&topic)) || self.is_polling();
        let fresh = |synced_at: UnixMillis, stale: bool| {
            !stale && subscribed && now.since(synced_at) < self.settings.stale_after
        };
        match query {
            Query::Row(entity) => {
                let cached = self.cache.get(entity).is_some_and(|row| {
                    row.base.is_some() && row.permission.is_some() && fresh(row.synced_at, row.stale)
                });
                // An entity that was created locally and not sent yet cannot be fetched.
                cached || self.is_local_only(entity)
            }
            Query::List(key) => self
                .cache
                .get_list(key)
                .is_some_and(|l| l.loaded && !l.loading_from_disk && fresh(l.synced_at, l.stale)),
            Query::Meta(key) => self
                .reference_data
                .get(key)
                .is_some_and(|m| !m.stale && now.since(m.synced_at) < self.settings.stale_after),
        }
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
                let base = self.cache.list_or_insert(&key, &self.catalog);
                if let Some(list) = self.cache.list_mut(index) {
                    list.derived = true;
                }
                self.read_list(base);
            }
            None => {}
        }
    }

    /// Fetches the next page of a paged list.
    pub(super) fn fetch_more(&mut self, key: ListKey) {
        let query = Query::List(key.clone());
        if !self.leader {
            return self.effects.push(Effect::Broadcast(TabMessage::FetchMore { key }));
        }
        let Some(next) = self.cache.get_list(&key).and_then(|list| list.next_cursor.clone()) else { return };
        if self.in_flight.contains_key(&query) || !self.token_valid {
            return;
        }
        let path = key.page_path(self.settings.page_rows, Some(&next));
        let collected = self.cache.get_list(&key).map(|l| self.cache.ids(l).to_vec()).unwrap_or_default();
        let id = self.request(PendingRequest::Page { key, collected, feed_cursor: None, more: true }, get(path));
        self.mark_changed(query.clone());
        self.first_request.insert(query.clone(), id.0);
        self.in_flight.insert(query, id);
    }

    /// Queues a row for the next batched request.
    pub(super) fn request_row(&mut self, entity: &EntityRef) {
        self.rows_to_fetch.get_or_insert_with(entity.code.clone(), DetHashSet::default).insert(entity.id);
    }

    /// Whether a change of the entity may be visible: the entity or a list of its type is observed.
    pub(super) fn is_possibly_observed(&self, entity: &EntityRef) -> bool {
        self.cache.get(entity).is_some_and(|row| row.observer_count > 0)
            || self.cache.lists_of(&entity.code).any(|list| list.observer_count > 0)
    }

    /// Requests the queued rows, observed rows first.
    ///
    /// One request per type is in flight, with at most [`MAX_IDS_PER_REQUEST`] rows.
    pub(super) fn flush_row_requests(&mut self, now: UnixMillis) {
        if self.rows_to_fetch.is_empty() || !self.token_valid || !self.status().online {
            return;
        }
        let due = |code: &EntityCode| self.rows_retry.get(code).is_none_or(|retry| retry.at <= now);
        let codes: Vec<EntityCode> =
            self.rows_to_fetch.keys().filter(|c| !self.rows_in_flight.contains(*c) && due(c)).cloned().collect();
        for code in codes {
            let Some(ids) = self.rows_to_fetch.remove(&code) else { continue };
            let is_observed = |id: &Uuid| {
                let row = self.cache.get(&EntityRef::new(code.clone(), *id));
                row.is_some_and(|row| self.is_observed(row))
            };
            let (mut first, rest): (Vec<Uuid>, Vec<Uuid>) = ids.into_iter().partition(is_observed);
            first.extend(rest);
            let later = first.split_off(first.len().min(MAX_IDS_PER_REQUEST));
            if !later.is_empty() {
                self.rows_to_fetch.insert(code.clone(), later.into_iter().collect());
            }
            let list: Vec<String> = first.iter().map(Uuid::to_string).collect();
            self.rows_in_flight.insert(code.clone());
            self.request(PendingRequest::Rows(code.clone(), first), get(format!("/{code}?ids={}", list.join(","))));
        }
    }
}
