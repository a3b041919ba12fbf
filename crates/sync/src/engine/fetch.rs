//! What is asked of the server: a query that somebody looks at and that can't be believed, the next page of a list, rows by their ids. One question at a
//! time for each. What an answer means is decided in [`super::reading`].

use super::{Engine, PendingRequest};
use crate::cache::ListIndex;
use crate::collections::DetHashSet;
use crate::event::{Effect, Method, Request};
use crate::query_key::{ListKey, Query};
use crate::tab_protocol::TabMessage;
use pmo_domain::api_types::MAX_IDS_PER_REQUEST;
use pmo_domain::{EntityCode, EntityRef};
use uuid::Uuid;

pub(super) fn get(path: String) -> Request {
    Request { method: Method::Get, path, body: None, if_match: None, idempotency_key: None, if_none_match: None }
}

impl Engine {
    /// Asks for a query unless what is held can be believed.
    pub(super) fn ensure_fresh(&mut self, query: Query, now: f64) {
        if let Query::List(ListKey { below: Some(below), recursive: true, .. }) = &query {
            let root = below.parent.clone();
            return self.ensure_tree_fresh(&root, now);
        }
        if self.in_flight.contains_key(&query)
            || self.retries.get(&query).is_some_and(|r| r.at > now)
            || !self.token_good
        {
            return;
        }
        if let Query::List(key) = &query
            && let Some(whole) = self.cache.get_list(key).filter(|l| l.derived).and_then(|l| l.key.base_list())
        {
            // It follows from the whole list: whoever looks at the part asks for the whole.
            return self.ensure_fresh(Query::List(whole), now);
        }
        if self.is_fresh(&query, now) {
            // An earlier try may have failed: it is not needed any more.
            self.failed.remove(&query);
            return;
        }
        if !self.leader {
            // The leader asks, and tells.
            self.tabs.announce_pending = true;
            return;
        }
        if let Query::List(key) = &query
            && key.below.as_ref().is_some_and(|b| self.is_local_only(&b.parent))
        {
            // Below something that was made here there is only what was made here.
            let index = self.cache.list_or_insert(key, &self.catalogue);
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
        let known = self.etags.get(&query).filter(|(_, held)| *held == self.digest(&query));
        request.if_none_match = known.map(|(etag, _)| etag.clone());
        let id = self.request(purpose, request);
        self.mark_changed(query.clone());
        self.first_request.insert(query.clone(), id.0);
        self.in_flight.insert(query, id);
    }

    /// A query has been answered. Where this person's access changed after it was asked, it is asked again.
    pub(super) fn on_query_settled(&mut self, query: &Query, now: f64) {
        let begun = self.first_request.remove(query).unwrap_or(u64::MAX);
        if begun <= self.access_fence {
            self.etags.remove(query);
            self.mark_stale(query);
            if self.observer_counts.contains_key(query) || !matches!(query, Query::Row(_)) {
                self.ensure_fresh(query.clone(), now);
            }
        }
    }

    fn is_fresh(&self, query: &Query, now: f64) -> bool {
        let watched = query.topic().is_some_and(|topic| self.subscribed.contains(&topic)) || self.is_polling();
        let fresh = |synced_at: f64, stale: bool| !stale && watched && now - synced_at < self.settings.stale_after_ms;
        match query {
            Query::Row(entity) => {
                let told = self.cache.get(entity).is_some_and(|row| {
                    row.base.is_some() && row.permission.is_some() && fresh(row.synced_at, row.stale)
                });
                // What was made here and is not sent can't be asked for.
                told || self.is_local_only(entity)
            }
            Query::List(key) => self
                .cache
                .get_list(key)
                .is_some_and(|l| l.loaded && !l.loading_from_disk && fresh(l.synced_at, l.stale)),
            Query::Meta(key) => {
                self.metas.get(key).is_some_and(|m| !m.stale && now - m.synced_at < self.settings.stale_after_ms)
            }
        }
    }

    /// A part of a list follows from the whole where that is held, and is never fetched then. The whole in another order is as much to fetch as the whole,
    /// so that is what is fetched.
    pub(super) fn derive_from_base(&mut self, index: ListIndex) {
        let Some(list) = self.cache.list(index).filter(|l| !(l.derived && l.loaded)) else { return };
        let Some(key) = list.key.base_list() else { return };
        let only_sorted = list.key.filters.is_empty() && !list.key.paged;
        let held =
            self.cache.find_list(&key).filter(|whole| self.cache.list(*whole).is_some_and(|l| l.loaded && l.complete));
        match held {
            Some(whole) => {
                self.read_list(whole);
                self.cache.derive(index, whole);
            }
            None if only_sorted => {
                let whole = self.cache.list_or_insert(&key, &self.catalogue);
                if let Some(list) = self.cache.list_mut(index) {
                    list.derived = true;
                }
                self.read_list(whole);
            }
            None => {}
        }
    }

    /// The next page of a list that is fetched page by page.
    pub(super) fn fetch_more(&mut self, key: ListKey) {
        let query = Query::List(key.clone());
        if !self.leader {
            return self.effects.push(Effect::Broadcast(TabMessage::FetchMore { key }));
        }
        let Some(next) = self.cache.get_list(&key).and_then(|list| list.next_cursor.clone()) else { return };
        if self.in_flight.contains_key(&query) || !self.token_good {
            return;
        }
        let path = key.page_path(self.settings.page_rows, Some(&next));
        let collected = self.cache.get_list(&key).map(|l| self.cache.ids(l).to_vec()).unwrap_or_default();
        let id = self.request(PendingRequest::Page { key, collected, feed_cursor: None, more: true }, get(path));
        self.mark_changed(query.clone());
        self.first_request.insert(query.clone(), id.0);
        self.in_flight.insert(query, id);
    }

    pub(super) fn request_row(&mut self, entity: &EntityRef) {
        self.rows_to_fetch.get_or_insert_with(entity.code.clone(), DetHashSet::default).insert(entity.id);
    }

    /// Whether a change of this thing can be on the screen: somebody looks at it, or at a list that it is in or may enter.
    pub(super) fn is_possibly_observed(&self, entity: &EntityRef) -> bool {
        self.cache.get(entity).is_some_and(|row| row.observer_count > 0)
            || self.cache.lists_of(&entity.code).any(|list| list.observer_count > 0)
    }

    /// Asks for wanted rows, up to 200 in one request, one request a type at a time; what is looked at comes first.
    pub(super) fn flush_row_requests(&mut self, now: f64) {
        if self.rows_to_fetch.is_empty() || !self.token_good || !self.status().online {
            return;
        }
        let due = |code: &EntityCode| self.rows_retry.get(code).is_none_or(|retry| retry.at <= now);
        let codes: Vec<EntityCode> =
            self.rows_to_fetch.keys().filter(|c| !self.rows_in_flight.contains(*c) && due(c)).cloned().collect();
        for code in codes {
            let Some(ids) = self.rows_to_fetch.remove(&code) else { continue };
            let seen = |id: &Uuid| {
                let row = self.cache.get(&EntityRef::new(code.clone(), *id));
                row.is_some_and(|row| self.is_observed(row))
            };
            let (mut first, rest): (Vec<Uuid>, Vec<Uuid>) = ids.into_iter().partition(seen);
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
