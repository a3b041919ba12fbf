//! Handles the responses to reads.
//!
//! Invariant: a failed refetch does not replace cached data. A 404 is not a failure: it removes the
//! row.

use super::Engine;
use crate::collections::DetHashSet;
use crate::components::{PendingRequest, ReferenceData, tree_query};
use crate::list_page::ListPage;
use crate::query_key::{Query, ReferenceDataKey};
use crate::raw_row::RowHeader;
use crate::request::{RequestError, RequestId, Response};
use pmo_domain::{EntityCode, EntityRef, UnixMillis};
use std::sync::Arc;
use uuid::Uuid;

impl Engine {
    pub(super) fn on_response(&mut self, id: RequestId, response: Result<Response, RequestError>, now: UnixMillis) {
        let Some(purpose) = self.requests.begin_response(id) else { return };
        self.record_contact(&response, matches!(purpose, PendingRequest::Tree(_)), now);
        match purpose {
            PendingRequest::Write(entry) => self.on_write_response(entry, response, now),
            PendingRequest::Row(entity) => {
                let query = Query::Row(entity.clone());
                self.on_row_response(entity, response, now);
                self.on_query_settled(&query, now);
            }
            PendingRequest::Rows(code, ids) => self.on_rows_response(code, ids, response, now),
            PendingRequest::Page(page) => {
                let query = Query::List(page.key.clone());
                self.on_page_response(page, response, now);
                if !self.requests.is_in_flight(&query) {
                    self.on_query_settled(&query, now);
                }
            }
            PendingRequest::Meta(key) => self.on_reference_data_response(key, response, now),
            PendingRequest::Tree(root) => {
                self.on_tree_response(root.clone(), response, now);
                self.on_query_settled(&tree_query(&root), now);
            }
            PendingRequest::Changes => self.on_changes_response(response, now),
        }
        self.requests.end_response();
    }

    /// Records what a response says about the availability of the server.
    ///
    /// A failed request of a `tree` does not mean that the client is offline: the tree may be too
    /// large for the connection.
    fn record_contact(&mut self, response: &Result<Response, RequestError>, tree: bool, now: UnixMillis) {
        match response {
            Ok(_) => {
                self.connectivity.on_success();
                self.renew_lease(now);
            }
            Err(RequestError::Network) if tree => {}
            Err(RequestError::Network) => self.connectivity.on_no_response(),
            Err(RequestError::Rejected(problem)) => {
                self.connectivity.on_contact();
                if problem.status == 401 {
                    self.effects.extend(self.connectivity.on_token_rejected());
                }
            }
        }
    }

    /// Schedules the next attempt of a query that failed.
    pub(super) fn schedule_retry(&mut self, query: Query, now: UnixMillis) {
        let jitter = self.realtime.session_mut().next_jitter();
        self.requests.schedule_retry(&query, &self.settings, jitter, now);
        self.leadership.update().completed.push((query.clone(), false));
        self.mark_changed(query);
    }

    /// Resets the retry state of a query that succeeded.
    pub(super) fn clear_retry(&mut self, query: &Query) {
        self.requests.succeed(query);
        self.leadership.update().completed.push((query.clone(), true));
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
                            self.requests.forget_etag(&query);
                            self.requests.queue_row(&entity);
                        }
                    }
                    return;
                }
                if RowHeader::parse(&response.body).id != Some(entity.id) {
                    return self.schedule_retry(query, now);
                }
                let applied = self.apply_row(&entity.code, &response.body, now);
                if let Some(etag) = response.etag.filter(|_| applied) {
                    self.requests.set_etag(&query, etag, self.digest(&query));
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
        self.requests.end_rows(&code);
        let (body, since) =
            response.map_or_else(|_| Default::default(), |response| (response.body, response.feed_cursor));
        match ListPage::parse(body) {
            Some(page) => {
                self.requests.rows_received(&code);
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
                if self.requests.is_response_fenced() {
                    // Access changed after the request was sent.
                    ids.iter().for_each(|id| self.requests.queue_row(&EntityRef::new(code.clone(), *id)));
                }
                for id in ids.into_iter().filter(|id| !present.contains(id)) {
                    self.on_missing_row(&EntityRef::new(code.clone(), id));
                }
            }
            // The rows are requested again later. Until then the cached rows remain, marked stale.
            None => self.requests.retry_rows(code, ids, &self.settings, now),
        }
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
                if !self.reference.confirm(key, &data, now) {
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
    pub(super) fn apply_reference_data(&mut self, key: ReferenceDataKey, data: ReferenceData) {
        self.reference.insert(key, data, &mut self.cache);
    }
}
