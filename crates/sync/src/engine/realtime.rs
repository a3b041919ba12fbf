//! WebSocket messages: subscriptions and received changes, with polling as a fallback.

use super::Engine;
use crate::cache::CachedRow;
use crate::collections::{DetHashSet, VecMap};
use crate::components::{FeedPosition, PendingRequest};
use crate::event::Effect;
use crate::query_key::{ListKey, Query, Topic};
use crate::reconnect::ConnectionAction;
use crate::request::{RequestError, Response};
use pmo_domain::protocol::{Action, CLOSE_TOKEN_EXPIRED, CLOSE_UNAUTHORIZED, Change, ClientMessage, ServerMessage};
use pmo_domain::{EntityCode, EntityRef, UnixMillis};
use serde::Deserialize;
use uuid::Uuid;

impl Engine {
    pub(super) fn on_socket_message(&mut self, message: ServerMessage, now: UnixMillis) {
        if self.person.is_none() {
            return;
        }
        self.realtime.session_mut().on_activity();
        self.connectivity.on_contact();
        match message {
            ServerMessage::Hello { epoch, cursor, .. } => self.on_hello(epoch, cursor, now),
            ServerMessage::Invalidate { entity_code, changes, cursor, .. } => {
                self.on_invalidate(&entity_code, &changes, now);
                self.advance_cursor(cursor);
            }
            ServerMessage::Resumed { recovered, cursor } => {
                if !recovered {
                    self.revalidate_all(now);
                }
                self.realtime.on_resumed();
                self.advance_cursor(cursor);
            }
            ServerMessage::Access { .. } => {
                // The server may have dropped subscriptions. Each response of the revalidation
                // subscribes again.
                self.realtime.forget_all_subscriptions();
                self.presence.reset_sent();
                self.revalidate_all(now);
            }
            ServerMessage::Pong { cursor } => self.advance_cursor(cursor),
            ServerMessage::Presence { entity_code, entity_id, people } => {
                self.on_server_presence(&EntityRef::new(entity_code, entity_id), people);
            }
            ServerMessage::TokenExpiringSoon { .. } => self.effects.push(Effect::RefreshToken),
            ServerMessage::Subscribed { entity_code, refused, .. } => {
                self.realtime.on_subscribed(&entity_code);
                if refused > 0 {
                    self.refetch_observed_of_type(&entity_code, now);
                }
            }
            ServerMessage::Error { .. } => {}
        }
    }

    /// Applies changes of one type; after a creation, lists defined by links are refetched.
    fn on_invalidate(&mut self, code: &EntityCode, changes: &[Change], now: UnixMillis) {
        let is_new = |change: &Change| {
            let entity = EntityRef::new(code.clone(), change.entity_id);
            let known = |row: &CachedRow| row.base.is_some() && row.version >= change.version.0;
            change.action == Action::Create && !self.cache.get(&entity).is_some_and(known)
        };
        let created = changes.iter().any(is_new);
        for change in changes {
            self.apply_change(code, change);
        }
        if created {
            self.refetch_link_lists(code, now);
        }
    }

    fn on_hello(&mut self, epoch: String, cursor: String, now: UnixMillis) {
        self.begin_epoch(&epoch);
        self.renew_lease(now);
        self.realtime.on_hello(now);
        self.subscribe_to_observed();
        if let Some(resume) = self.realtime.resume(&epoch) {
            self.effects.push(resume);
        } else {
            // First connection: no change is known to be missed, but data that was fetched before
            // the subscription may have changed since.
            self.realtime.set_position(Some(FeedPosition { epoch, cursor }));
            self.persistence.mark_cursor();
            if self.has_unverified_data() {
                self.realtime.begin_first_revalidation();
                return self.revalidate_all(now);
            }
            let observed: Vec<Query> = self.observers.queries().filter(|q| q.topic().is_some()).cloned().collect();
            let pending = self.queries_in_flight();
            for query in observed.into_iter().filter(|query| !pending.contains(query)) {
                self.mark_stale(&query);
                self.ensure_fresh(query, now);
            }
        }
        self.ensure_observed_fresh(now);
    }

    /// Subscribes to all observed topics, except those of queries in flight.
    fn subscribe_to_observed(&mut self) {
        let in_flight: Vec<Topic> = self.queries_in_flight().iter().filter_map(Query::topic).collect();
        let topics: Vec<Topic> = self.observers.topics().filter(|t| !in_flight.contains(t)).cloned().collect();
        let mut rows: VecMap<EntityCode, Vec<Topic>> = VecMap::default();
        for topic in topics {
            match &topic {
                Topic::Row(entity) => rows.get_or_insert_with(entity.code.clone(), Vec::new).push(topic),
                Topic::Rows(..) | Topic::Tree(..) => self.effects.extend(self.realtime.subscribe(vec![topic], None)),
            }
        }
        for (_, topics) in rows {
            self.effects.extend(self.realtime.subscribe(topics, None));
        }
    }

    /// Returns the queries in flight; their responses subscribe from their own cursor.
    fn queries_in_flight(&self) -> DetHashSet<Query> {
        let mut queries: DetHashSet<Query> = self.requests.queries_in_flight().cloned().collect();
        queries.extend(self.tree_queries_in_flight().cloned());
        queries
    }

    fn advance_cursor(&mut self, cursor: String) {
        if self.realtime.advance_cursor(cursor) {
            self.persistence.mark_cursor();
        }
    }

    /// Subscribes to a query from the cursor of its response, so that no change is missed.
    pub(super) fn subscribe_to_query(&mut self, query: &Query, since: Option<String>) {
        let Some(topic) = query.topic() else { return };
        if self.realtime.is_open() && self.observers.is_topic_used(&topic) && !self.realtime.is_subscribed(&topic) {
            self.effects.extend(self.realtime.subscribe(vec![topic], since));
        }
    }

    /// Subscribes to those rows of a response that are observed themselves but not subscribed to.
    ///
    /// The subscription starts at the cursor of the response.
    pub(super) fn subscribe_to_rows(&mut self, code: &EntityCode, ids: &DetHashSet<Uuid>, since: Option<String>) {
        let topics = ids.iter().map(|id| Topic::Row(EntityRef::new(code.clone(), *id)));
        let topics: Vec<Topic> =
            topics.filter(|topic| self.observers.has_topic(topic) && !self.realtime.is_subscribed(topic)).collect();
        if self.realtime.is_open() {
            self.effects.extend(self.realtime.subscribe(topics, since));
        }
    }

    /// Applies a change from the server: removes the row, or marks it stale and requests it.
    fn apply_change(&mut self, code: &EntityCode, change: &Change) {
        let entity = EntityRef::new(code.clone(), change.entity_id);
        match change.action {
            Action::Delete | Action::Revoke => {
                let cached = self.cache.get(&entity);
                let is_newer = cached.is_some_and(|r| change.action == Action::Delete && r.version > change.version.0);
                if !is_newer {
                    self.remove_entity(&entity);
                }
            }
            Action::Create | Action::Update => {
                let write_in_flight = self.outbox.has_write_in_flight(&entity);
                if let Some(row) = self.cache.get_mut(&entity) {
                    if row.base.is_some() && change.version.0 != 0 && row.version >= change.version.0 {
                        return; // own write, or delivered twice
                    }
                    row.min_version = row.min_version.max(change.version.0);
                    row.stale = true;
                }
                // If an own write is in flight, its response contains the row and no request is
                // needed.
                if !self.is_possibly_observed(&entity) {
                    // Still subscribed during the grace period, but not observed: a new observer
                    // causes a fetch.
                    for list in self.cache.lists_mut().filter(|list| list.key.code == entity.code) {
                        list.stale = true;
                    }
                } else if !write_in_flight {
                    self.requests.queue_row(&entity);
                }
            }
        }
    }

    /// Refetches the lists of a type that are defined by links alone, after an entity was created.
    ///
    /// Only the server knows whether the new entity belongs to them.
    fn refetch_link_lists(&mut self, code: &EntityCode, now: UnixMillis) {
        let is_link_list = |key: &ListKey| {
            key.code == *code && !key.recursive && key.parent_filter.as_ref().is_some_and(|b| b.column.is_none())
        };
        let lists = self.cache.lists().filter(|(_, list)| is_link_list(&list.key));
        let queries: Vec<Query> = lists.map(|(_, list)| Query::List(list.key.clone())).collect();
        for query in queries {
            // A response in flight may be outdated: the list is refetched after it.
            if self.requests.expect_outdated(&query) {
                continue;
            }
            self.mark_stale(&query);
            if self.observers.is_observed(&query) {
                self.ensure_fresh(query, now);
            }
        }
    }

    /// Refetches the observed queries of a type after some of its subscriptions were refused.
    ///
    /// Entities that are missing from the responses are removed.
    fn refetch_observed_of_type(&mut self, code: &EntityCode, now: UnixMillis) {
        self.refetch_observed(now, |query| match query {
            Query::Row(entity) => entity.code == *code,
            // The subscription of a list is refused only because of its parent.
            Query::List(key) => key.code == *code && key.parent_filter.is_some(),
            Query::Meta(_) => false,
        });
    }

    pub(super) fn on_socket_closed(&mut self, code: u16, now: UnixMillis) {
        if self.person.is_none() {
            return;
        }
        for topic in self.realtime.on_closed(now) {
            let queries: Vec<Query> =
                self.observers.queries().filter(|q| q.topic().as_ref() == Some(&topic)).cloned().collect();
            queries.iter().for_each(|query| self.mark_stale(query));
        }
        if matches!(code, CLOSE_UNAUTHORIZED | CLOSE_TOKEN_EXPIRED) {
            self.effects.push(self.connectivity.on_token_expired());
        }
    }

    pub(super) fn tick_session(&mut self, now: UnixMillis) {
        match self.realtime.session_mut().next_action(now) {
            ConnectionAction::Nothing => {}
            ConnectionAction::Connect if self.connectivity.can_connect() => {
                self.effects.push(self.realtime.connect(now));
            }
            ConnectionAction::Connect => {}
            ConnectionAction::Ping => self.effects.push(Effect::Send(ClientMessage::Ping)),
            ConnectionAction::Dead => {
                self.effects.push(Effect::Disconnect);
                self.on_socket_closed(1006, now);
            }
        }
        for topic in self.observers.take_expired_topics(self.settings.unsubscribe_grace, now) {
            self.effects.extend(self.realtime.unsubscribe(&topic));
        }
        // Also while the server does not respond: otherwise one failed poll would be the last.
        if self.realtime.needs_polling()
            && self.connectivity.can_connect()
            && self.realtime.is_poll_due(&self.settings, now)
        {
            self.poll(now);
        }
    }

    /// Whether changes are polled: the server responds, but no WebSocket can be opened.
    pub(super) fn is_polling(&self) -> bool {
        self.realtime.is_polling(&self.connectivity)
    }

    fn poll(&mut self, now: UnixMillis) {
        let has_topics = self.observers.topics().next().is_some();
        if self.requests.is_polling() || !has_topics {
            return;
        }
        let request = self.realtime.poll(now);
        let (_, effect) = self.requests.start(PendingRequest::Changes, request);
        self.effects.push(effect);
    }

    pub(super) fn on_changes_response(&mut self, response: Result<Response, RequestError>, now: UnixMillis) {
        let Some(changes) = response.ok().and_then(|a| serde_json::from_str::<ChangesResponse>(&a.body).ok()) else {
            return;
        };
        if self.realtime.is_open() {
            return; // the WebSocket delivers the changes
        }
        self.begin_epoch(&changes.epoch);
        let is_first = self.realtime.position().is_none();
        if is_first && self.has_unverified_data() {
            self.realtime.begin_first_revalidation();
            self.revalidate_all(now);
        } else if (!changes.recovered && !is_first) || changes.access {
            self.revalidate_all(now);
        }
        for group in changes.data {
            for change in group.changes {
                self.apply_change(&group.entity_code, &change);
            }
        }
        self.realtime.set_position(Some(FeedPosition { epoch: changes.epoch, cursor: changes.cursor }));
        self.persistence.mark_cursor();
        if is_first {
            // Without a cursor, changes to data that was fetched before may have been missed.
            let observed: Vec<Query> = self.observers.queries().filter(|q| q.topic().is_some()).cloned().collect();
            observed.iter().for_each(|query| self.mark_stale(query));
        }
        self.ensure_observed_fresh(now);
    }
}

/// Response of `/sync/changes`.
#[derive(Deserialize)]
struct ChangesResponse {
    recovered: bool,
    epoch: String,
    cursor: String,
    #[serde(default)]
    access: bool,
    #[serde(default)]
    data: Vec<ChangeGroup>,
}

/// Changes of one entity type.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ChangeGroup {
    entity_code: EntityCode,
    changes: Vec<Change>,
}
