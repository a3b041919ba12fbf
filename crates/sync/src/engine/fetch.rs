//! Decides which queries, pages and rows are requested from the server, and when.
//!
//! At most one request per query is in flight. [`super::responses`] handles the responses.

use super::Engine;
use crate::cache::{Cache, CachedRow};
use crate::components::{PendingPage, PendingRequest};
use crate::query_key::{ListKey, Query};
use crate::request::Request;
use crate::tab_protocol::TabMessage;
use pmo_domain::{EntityRef, UnixMillis};

/// Whether a row, or a list that contains it, is observed.
fn is_observed(cache: &Cache, row: &CachedRow) -> bool {
    row.observer_count > 0
        || row.lists.iter().any(|index| cache.list(*index).is_some_and(|list| list.observer_count > 0))
}

impl Engine {
    /// Fetches a query unless its cached data is fresh.
    pub(super) fn ensure_fresh(&mut self, query: Query, now: UnixMillis) {
        if let Query::List(ListKey { parent_filter: Some(filter), recursive: true, .. }) = &query {
            let root = filter.parent.clone();
            return self.ensure_tree_fresh(&root, now);
        }
        if self.requests.is_waiting(&query, now) || !self.connectivity.has_valid_token() {
            return;
        }
        if let Query::List(key) = &query
            && let Some(base_list) = self.cache.get_list(key).filter(|l| l.derived).and_then(|l| l.key.base_list())
        {
            // A derived list is not fetched itself: its base list is fetched.
            return self.ensure_fresh(Query::List(base_list), now);
        }
        if self.is_fresh(&query, now) {
            // The failure of an earlier attempt and its retry no longer matter.
            self.requests.succeed(&query);
            return;
        }
        if !self.leadership.is_leader() {
            // Only the leader sends requests; it forwards the data.
            self.leadership.announce();
            return;
        }
        if let Query::List(key) = &query
            && key.parent_filter.as_ref().is_some_and(|b| self.is_local_only(&b.parent))
        {
            // A parent that exists only locally can only have local children.
            let index = self.cache.list_or_insert(key, self.reference.catalog());
            if let Some(list) = self.cache.list_mut(index) {
                (list.loaded, list.complete) = (true, true);
            }
            return;
        }
        let (purpose, path) = match &query {
            Query::Row(entity) => (PendingRequest::Row(entity.clone()), format!("/{}/{}", entity.code, entity.id)),
            Query::List(key) => {
                let page = PendingPage { key: key.clone(), collected: Vec::new(), feed_cursor: None, more: false };
                (PendingRequest::Page(page), key.page_path(self.settings.page_rows, None))
            }
            Query::Meta(key) => (PendingRequest::Meta(*key), key.page_path().to_owned()),
        };
        let mut request = Request::get(path);
        request.if_none_match = self.requests.valid_etag(&query, || self.digest(&query)).cloned();
        self.start_query(query, purpose, request);
    }

    /// Sends the first request of a query.
    fn start_query(&mut self, query: Query, purpose: PendingRequest, request: Request) {
        self.mark_changed(query.clone());
        self.effects.push(self.requests.start_query(query, purpose, request));
    }

    /// Refetches a completed query if access changed after its request was sent.
    pub(super) fn on_query_settled(&mut self, query: &Query, now: UnixMillis) {
        if self.requests.settle(query) {
            self.requests.forget_etag(query);
            self.mark_stale(query);
            if self.observers.is_observed(query) || !matches!(query, Query::Row(_)) {
                self.ensure_fresh(query.clone(), now);
            }
        }
    }

    fn is_fresh(&self, query: &Query, now: UnixMillis) -> bool {
        let fresh = |synced_at: UnixMillis, stale: bool| {
            !stale && self.receives_changes_of(query) && now.since(synced_at) < self.settings.stale_after
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
            Query::Meta(key) => self.reference.is_fresh(*key, self.settings.stale_after, now),
        }
    }

    /// Whether this tab receives changes of a query: subscribed to, or polled.
    pub(super) fn receives_changes_of(&self, query: &Query) -> bool {
        query.topic().is_some_and(|topic| self.realtime.is_subscribed(&topic)) || self.is_polling()
    }

    /// Fetches the next page of a paged list.
    pub(super) fn fetch_more(&mut self, key: ListKey) {
        let query = Query::List(key.clone());
        if !self.leadership.is_leader() {
            return self.broadcast(TabMessage::FetchMore { key });
        }
        let Some(next) = self.cache.get_list(&key).and_then(|list| list.next_cursor.clone()) else { return };
        if self.requests.is_in_flight(&query) || !self.connectivity.has_valid_token() {
            return;
        }
        let path = key.page_path(self.settings.page_rows, Some(&next));
        let collected = self.cache.get_list(&key).map(|l| self.cache.source_ids(l)).unwrap_or_default();
        let page = PendingPage { key, collected, feed_cursor: None, more: true };
        self.start_query(query, PendingRequest::Page(page), Request::get(path));
    }

    /// Whether a row, or a list that contains it, is observed.
    pub(super) fn is_observed(&self, row: &CachedRow) -> bool {
        is_observed(&self.cache, row)
    }

    /// Whether a change of the entity may be visible: the entity or a list of its type is observed.
    pub(super) fn is_possibly_observed(&self, entity: &EntityRef) -> bool {
        self.cache.get(entity).is_some_and(|row| row.observer_count > 0)
            || self.cache.lists_of(&entity.code).any(|list| list.observer_count > 0)
    }

    /// Requests the queued rows, observed rows first.
    pub(super) fn flush_row_requests(&mut self, now: UnixMillis) {
        let online = self.connectivity.has_valid_token() && self.connectivity.is_online();
        if !online || !self.requests.has_queued_rows() {
            return;
        }
        let is_observed = |entity: &EntityRef| self.cache.get(entity).is_some_and(|row| is_observed(&self.cache, row));
        self.effects.extend(self.requests.flush_queue(is_observed, now));
    }
}
