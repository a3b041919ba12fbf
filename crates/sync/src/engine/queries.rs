//! Observers of queries: keeps observed data in memory, and decides when it is fetched.

use super::Engine;
use crate::event::ObserverId;
use crate::query_key::{ListKey, Query};
use crate::tab_protocol::TabMessage;
use pmo_domain::UnixMillis;

impl Engine {
    pub(super) fn observe(&mut self, id: ObserverId, query: Query, now: UnixMillis) {
        if let Some(old) = self.observers.insert(id, query.clone()) {
            if old == query {
                return;
            }
            self.release_query(&old, now);
        }
        self.observers.retain(&query);
        self.leadership.announce();
        if self.person.is_some() {
            self.retain_query(&query);
            self.requests.forget_retry(&query);
            self.ensure_fresh(query, now);
        }
    }

    /// Adds an observer to a cached row or list and starts to load its data from disk.
    pub(super) fn retain_query(&mut self, query: &Query) {
        match query {
            Query::Row(entity) => {
                let slot = self.cache.slot_or_insert(entity);
                if let Some(row) = self.cache.row_mut(slot) {
                    row.observer_count += 1;
                }
                self.read_row(slot);
            }
            Query::List(key) => {
                let index = self.cache.list_or_insert(key, self.reference.catalog());
                if let Some(list) = self.cache.list_mut(index) {
                    list.observer_count += 1;
                }
                self.read_list(index);
                self.derive_list_from_tree(&key.base_list().unwrap_or_else(|| key.clone()));
                self.derive_from_base(index);
            }
            Query::Meta(_) => {}
        }
    }

    pub(super) fn unobserve(&mut self, id: ObserverId, now: UnixMillis) {
        if let Some(query) = self.observers.remove(id) {
            self.release_query(&query, now);
        }
    }

    fn release_query(&mut self, query: &Query, now: UnixMillis) {
        let last = self.observers.release(query, now);
        match query {
            Query::Row(entity) => {
                if let Some(row) = self.cache.get_mut(entity) {
                    row.observer_count = row.observer_count.saturating_sub(1);
                }
            }
            Query::List(key) => {
                if let Some(list) = self.cache.get_list_mut(key) {
                    list.observer_count = list.observer_count.saturating_sub(1);
                    list.unobserved_since = now;
                }
            }
            Query::Meta(_) => {}
        }
        if !last {
            return;
        }
        self.leadership.announce();
        if !self.is_needed(query) {
            // No remaining consumer: abort the request.
            self.effects.extend(self.requests.cancel(query));
        }
        if let Query::Row(entity) = query
            && self.cache.get(entity).is_some_and(|row| row.stale && self.is_observed(row))
        {
            // An observed list still contains the row.
            self.requests.queue_row(entity);
        }
    }

    pub(super) fn prefetch(&mut self, query: Query, now: UnixMillis) {
        if self.person.is_none() || self.observers.is_observed(&query) {
            return;
        }
        match &query {
            Query::List(key) => {
                let index = self.cache.list_or_insert(key, self.reference.catalog());
                if let Some(list) = self.cache.list_mut(index) {
                    list.unobserved_since = now;
                }
                self.read_list(index);
                self.derive_from_base(index);
            }
            Query::Row(entity) => drop(self.cache.slot_or_insert(entity)),
            Query::Meta(_) => {}
        }
        self.observers.begin_grace_period(&query, now);
        self.ensure_fresh(query, now);
    }

    pub(super) fn refetch(&mut self, query: Query, now: UnixMillis) {
        if !self.leadership.is_leader() {
            return self.broadcast(TabMessage::Refetch { query });
        }
        self.mark_stale(&query);
        self.requests.forget_retry(&query);
        self.ensure_fresh(query, now);
    }

    pub(super) fn invalidate_queries(&mut self, queries: Vec<Query>, now: UnixMillis) {
        for query in queries {
            if !self.leadership.is_leader() {
                self.broadcast(TabMessage::Refetch { query });
                continue;
            }
            self.mark_stale(&query);
            self.requests.forget_retry(&query);
            match &query {
                // Single rows are batched into one request per entity type.
                Query::Row(entity)
                    if self.cache.get(entity).is_some_and(|row| row.base.is_some())
                        && self.is_possibly_observed(entity) =>
                {
                    self.requests.queue_row(entity);
                }
                _ if self.is_needed(&query) => self.ensure_fresh(query, now),
                _ => {}
            }
        }
    }

    /// Whether a query, or a list derived from it, is observed or being revalidated.
    pub(super) fn is_needed(&self, query: &Query) -> bool {
        let has_observed_derived_list = |key: &ListKey| {
            let mut lists = self.cache.lists_of(&key.code);
            lists.any(|list| list.derived && list.observer_count > 0 && list.key.base_list().as_ref() == Some(key))
        };
        let revalidating = self.realtime.is_revalidating() && matches!(query, Query::List(_));
        revalidating
            || self.observers.is_observed(query)
            || matches!(query, Query::List(key) if has_observed_derived_list(key))
    }

    pub(super) fn mark_stale(&mut self, query: &Query) {
        match query {
            Query::Row(entity) => {
                if let Some(row) = self.cache.get_mut(entity) {
                    row.stale = true;
                }
            }
            Query::List(key) => {
                let base_list = self.cache.get_list(key).filter(|l| l.derived).and_then(|l| l.key.base_list());
                for key in [Some(key.clone()), base_list].into_iter().flatten() {
                    if let Some(list) = self.cache.get_list_mut(&key) {
                        list.stale = true;
                    }
                }
            }
            Query::Meta(key) => self.reference.mark_stale(*key),
        }
    }

    /// Fetches all observed queries that are not fresh.
    pub(super) fn ensure_observed_fresh(&mut self, now: UnixMillis) {
        let queries: Vec<Query> = self.observers.queries().cloned().collect();
        for query in queries {
            self.ensure_fresh(query, now);
        }
    }

    /// Refetches the observed queries that `which` selects; the responses subscribe again.
    pub(super) fn refetch_observed(&mut self, now: UnixMillis, which: impl Fn(&Query) -> bool) {
        let picked: Vec<Query> = self.observers.queries().filter(|q| which(q)).cloned().collect();
        for query in picked {
            if let Some(topic) = query.topic() {
                self.realtime.forget_subscription(&topic);
            }
            self.mark_stale(&query);
            self.ensure_fresh(query, now);
        }
    }
}
