//! WebSocket messages: subscriptions and received changes, with polling as a fallback.

use super::{Engine, FeedPosition, PendingRequest};
use crate::cache::{CachedRow, ListIndex, Slot};
use crate::collections::{DetHashSet, VecMap};
use crate::event::Effect;
use crate::query_key::{ListKey, Query, Topic};
use crate::reconnect::{ConnectionAction, ConnectionState};
use crate::request::{RequestError, Response};
use pmo_domain::protocol::{
    Action, CLOSE_TOKEN_EXPIRED, CLOSE_UNAUTHORIZED, Change, ClientMessage, ParentScope, ServerMessage,
    SubscribeRequest,
};
use pmo_domain::{EntityCode, EntityRef, UnixMillis, sort};
use serde::Deserialize;
use uuid::Uuid;

impl Engine {
    pub(super) fn on_socket_message(&mut self, message: ServerMessage, now: UnixMillis) {
        if self.person.is_none() {
            return;
        }
        self.session.on_activity();
        self.reachable = true;
        match message {
            ServerMessage::Hello { epoch, cursor, .. } => self.on_hello(epoch, cursor, now),
            ServerMessage::Invalidate { entity_code, changes, cursor, .. } => {
                let created = |change: &Change| {
                    let entity = EntityRef::new(entity_code.clone(), change.entity_id);
                    let known = |row: &CachedRow| row.base.is_some() && row.version >= change.version.0;
                    change.action == Action::Create && !self.cache.get(&entity).is_some_and(known)
                };
                let created = changes.iter().any(created);
                for change in changes {
                    self.apply_change(&entity_code, &change);
                }
                if created {
                    self.refetch_link_lists(&entity_code, now);
                }
                self.advance_cursor(cursor);
            }
            ServerMessage::Resumed { recovered, cursor } => {
                if !recovered {
                    self.revalidate_all(now);
                }
                if let Some(epoch) = self.resuming.take()
                    && let Some(position) = &mut self.cursor
                {
                    position.epoch = epoch;
                }
                self.advance_cursor(cursor);
            }
            ServerMessage::Access { .. } => {
                // The server may have dropped subscriptions. Each response of the revalidation
                // subscribes again.
                self.subscribed.clear();
                self.reset_sent_presence();
                self.revalidate_all(now);
            }
            ServerMessage::Pong { cursor } => self.advance_cursor(cursor),
            ServerMessage::Presence { entity_code, entity_id, people } => {
                self.on_server_presence(&EntityRef::new(entity_code, entity_id), people);
            }
            ServerMessage::TokenExpiringSoon { .. } => self.effects.push(Effect::RefreshToken),
            ServerMessage::Subscribed { entity_code, refused, .. } => {
                if let Some(at) = self.pending_subscribes.iter().position(|(code, _)| *code == entity_code) {
                    self.pending_subscribes.remove(at);
                }
                if refused > 0 {
                    self.refetch_observed_of_type(&entity_code, now);
                }
            }
            ServerMessage::Error { .. } => {}
        }
    }

    /// Invalidates all cached data if the database is another incarnation (restore, failover).
    ///
    /// Changes that had already been delivered may be lost. Cached rows remain visible until they
    /// are refetched, and any version is accepted for them. The server may have reused the base
    /// version of a pending write for other data. So each pending write that is not in flight gets
    /// a version that cannot exist: the server answers 412 with the current row, and the write is
    /// merged.
    pub(super) fn begin_epoch(&mut self, epoch: &str) {
        if self.cursor.as_ref().is_none_or(|position| position.epoch == epoch) {
            return;
        }
        let slots: Vec<Slot> = self.cache.rows().map(|(slot, _)| slot).collect();
        for slot in slots {
            if let Some(row) = self.cache.row_mut(slot) {
                (row.version, row.min_version, row.stale) = (0, 0, true);
            }
        }
        self.etags.clear();
        if !self.leader {
            return;
        }
        let mut rewritten = Vec::new();
        for entry in self.outbox.iter_mut().filter(|entry| !entry.in_flight) {
            if entry.force_precondition_failure() {
                rewritten.push(entry.id);
            }
        }
        rewritten.into_iter().for_each(|id| self.persist_entry(id));
        self.rebuild_cache();
    }

    fn on_hello(&mut self, epoch: String, cursor: String, now: UnixMillis) {
        self.begin_epoch(&epoch);
        self.session.on_hello(now);
        self.renew_lease(now);
        self.subscribed.clear();
        self.pending_subscribes.clear();
        let in_flight: Vec<Topic> = self.queries_in_flight().iter().filter_map(Query::topic).collect();
        let topics: Vec<Topic> = self.topics.keys().filter(|t| !in_flight.contains(t)).cloned().collect();
        let mut rows: VecMap<EntityCode, Vec<Uuid>> = VecMap::default();
        for topic in topics {
            match &topic {
                Topic::Row(entity) => rows.get_or_insert_with(entity.code.clone(), Vec::new).push(entity.id),
                Topic::Rows(..) | Topic::Tree(..) => self.subscribe(vec![topic.clone()], None),
            }
            self.subscribed.insert(topic);
        }
        for (code, ids) in rows {
            self.subscribe(ids.into_iter().map(|id| Topic::Row(EntityRef::new(code.clone(), id))).collect(), None);
        }
        match &self.cursor {
            Some(stored) => {
                let resume = ClientMessage::Resume { epoch: stored.epoch.clone(), cursor: stored.cursor.clone() };
                self.effects.push(Effect::Send(resume));
                // The old cursor remains until RESUME is answered: if the connection is lost
                // before, the same RESUME must be sent again.
                self.resuming = Some(epoch);
            }
            None => {
                // First connection: no change is known to be missed, but data that was fetched
                // before the subscription may have changed since.
                self.cursor = Some(FeedPosition { epoch, cursor });
                self.persistence.cursor_moved = true;
                if self.has_unverified_data() {
                    self.revalidating_from = Some(None);
                    return self.revalidate_all(now);
                }
                let observed: Vec<Query> =
                    self.observer_counts.keys().filter(|q| q.topic().is_some()).cloned().collect();
                let pending = self.queries_in_flight();
                for query in observed.into_iter().filter(|query| !pending.contains(query)) {
                    self.mark_stale(&query);
                    self.ensure_fresh(query, now);
                }
            }
        }
        self.ensure_observed_fresh(now);
    }

    /// Returns the queries in flight; their responses subscribe from their own cursor.
    fn queries_in_flight(&self) -> DetHashSet<Query> {
        let mut queries: DetHashSet<Query> = self.in_flight.keys().cloned().collect();
        queries.extend(self.tree_queries_in_flight());
        queries
    }

    /// Whether the cache contains data from an earlier session whose access is not verified yet.
    fn has_unverified_data(&self) -> bool {
        self.persistence.chunks.values().any(|chunk| !chunk.read)
            || self.cache.rows().any(|(_, row)| row.base.is_some() && row.stale)
    }

    /// Fetches all observed queries that are not fresh.
    pub(super) fn ensure_observed_fresh(&mut self, now: UnixMillis) {
        let queries: Vec<Query> = self.observer_counts.keys().cloned().collect();
        for query in queries {
            self.ensure_fresh(query, now);
        }
    }

    /// Subscribes to topics of one entity type, from the cursor `since` if there is one.
    fn subscribe(&mut self, topics: Vec<Topic>, since: Option<String>) {
        let Some((entity_code, entity_ids, parent)) = subscribe_parts(&topics) else { return };
        self.pending_subscribes.push((entity_code.clone(), topics));
        let subscribe = SubscribeRequest { entity_code, entity_ids, parent, since };
        self.effects.push(Effect::Send(ClientMessage::Subscribe(subscribe)));
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
            Query::Meta(key) => {
                if let Some(meta) = self.reference_data.get_mut(key) {
                    meta.stale = true;
                }
            }
        }
    }

    fn advance_cursor(&mut self, cursor: String) {
        let Some(position) = self.cursor.as_mut().filter(|_| self.resuming.is_none()) else { return };
        if position.cursor != cursor {
            position.cursor = cursor;
            self.persistence.cursor_moved = true;
        }
    }

    /// Subscribes to a query from the cursor of its response, so that no change is missed.
    pub(super) fn subscribe_to_query(&mut self, query: &Query, since: Option<String>) {
        let Some(topic) = query.topic() else { return };
        let is_used = self.topics.contains_key(&topic) || self.topics_unused_since.contains_key(&topic);
        if self.session.state == ConnectionState::Open && is_used && self.subscribed.insert(topic.clone()) {
            self.subscribe(vec![topic], since);
        }
    }

    /// Subscribes to those rows of a response that are observed themselves but not subscribed to.
    ///
    /// The subscription starts at the cursor of the response.
    pub(super) fn subscribe_to_rows(&mut self, code: &EntityCode, ids: &DetHashSet<Uuid>, since: Option<String>) {
        let topics = ids.iter().map(|id| Topic::Row(EntityRef::new(code.clone(), *id)));
        let topics: Vec<Topic> =
            topics.filter(|topic| self.topics.contains_key(topic) && !self.subscribed.contains(topic)).collect();
        if self.session.state == ConnectionState::Open && !topics.is_empty() {
            self.subscribed.extend(topics.iter().cloned());
            self.subscribe(topics, since);
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
                let write_in_flight = self.outbox.iter().any(|e| e.entity == entity && e.in_flight);
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
                    self.request_row(&entity);
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
            if let Some(first_request) = self.first_request.get_mut(&query) {
                // The response in flight may be outdated: the list is refetched after it.
                *first_request = 0;
                continue;
            }
            self.mark_stale(&query);
            if self.observer_counts.contains_key(&query) {
                self.ensure_fresh(query, now);
            }
        }
    }

    /// Marks all cached data stale and refetches it, after an access change or missed changes.
    ///
    /// Data that is missing from the responses is removed.
    pub(super) fn revalidate_all(&mut self, now: UnixMillis) {
        self.access_fence = self.next_request;
        if self.leader && self.revalidating_from.is_none() {
            self.revalidating_from = Some(self.cursor.clone());
        }
        let cached: Vec<EntityRef> = self
            .cache
            .rows()
            .filter(|(_, row)| row.base.is_some())
            .filter_map(|(slot, _)| self.cache.entity(slot))
            .collect();
        let complete_types: Vec<EntityCode> = self
            .cache
            .lists()
            .filter(|(_, l)| l.observer_count > 0 && l.loaded && l.complete && l.key.parent_filter.is_none())
            .filter(|(_, l)| l.derived || l.key.base_list().is_none())
            .map(|(_, l)| l.key.code.clone())
            .collect();
        let trees: DetHashSet<ListIndex> = self
            .cache
            .lists()
            .filter(|(_, l)| l.key.recursive && l.loaded && l.observer_count > 0)
            .map(|(index, _)| index)
            .collect();
        for entity in cached {
            let Some(row) = self.cache.get_mut(&entity) else { continue };
            row.stale = true;
            // A complete list of the type, or a tree, is refetched anyway and covers the row. A row
            // that is observed itself is requested too, because its own response renews its
            // subscription.
            let is_covered =
                complete_types.contains(&entity.code) || row.lists.iter().any(|index| trees.contains(index));
            if row.observer_count > 0 || !is_covered {
                self.request_row(&entity);
            }
        }
        for list in self.cache.lists_mut() {
            list.stale = true;
        }
        // The permission to create is part of the entity types.
        if let Some(types) = self.reference_data.get_mut(&crate::query_key::ReferenceDataKey::Codes) {
            types.stale = true;
        }
        let queries: Vec<Query> = self.observer_counts.keys().cloned().collect();
        for query in queries {
            let is_requested_by_id = match &query {
                Query::Row(entity) => self.cache.get(entity).is_some_and(|row| row.base.is_some()),
                _ => false,
            };
            if !is_requested_by_id {
                self.ensure_fresh(query, now);
            }
        }
        self.tabs.outgoing_update.access_changed = true;
        self.load_unread_for_revalidation();
    }

    /// Ends a revalidation after all data has been refetched and data without access was removed.
    pub(super) fn finish_revalidation(&mut self) {
        let reads_pending = self.requests.values().any(|purpose| !matches!(purpose, PendingRequest::Write(_)));
        if self.revalidating_from.is_some()
            && !reads_pending
            && self.rows_to_fetch.is_empty()
            && self.retries.is_empty()
            && !self.persistence.revalidating
        {
            self.revalidating_from = None;
            self.persistence.cursor_moved = true;
        }
    }

    /// Returns the position from which a successor of this engine must resume.
    pub(super) fn safe_cursor(&self) -> Option<&FeedPosition> {
        self.revalidating_from.as_ref().map_or(self.cursor.as_ref(), Option::as_ref)
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

    /// Refetches the observed queries that `which` selects; the responses subscribe again.
    pub(super) fn refetch_observed(&mut self, now: UnixMillis, which: impl Fn(&Query) -> bool) {
        let picked: Vec<Query> = self.observer_counts.keys().filter(|q| which(q)).cloned().collect();
        for query in picked {
            if let Some(topic) = query.topic() {
                self.subscribed.remove(&topic);
            }
            self.mark_stale(&query);
            self.ensure_fresh(query, now);
        }
    }

    pub(super) fn on_socket_closed(&mut self, code: u16, now: UnixMillis) {
        if self.person.is_none() {
            return;
        }
        self.session.on_closed(now);
        self.subscribed.clear();
        self.resuming = None;
        // Changes requested by these unanswered SUBSCRIBE messages may be lost, and the cursor may
        // have moved past them.
        for topic in std::mem::take(&mut self.pending_subscribes).into_iter().flat_map(|(_, topics)| topics) {
            let queries: Vec<Query> =
                self.observer_counts.keys().filter(|q| q.topic().as_ref() == Some(&topic)).cloned().collect();
            queries.iter().for_each(|query| self.mark_stale(query));
        }
        if matches!(code, CLOSE_UNAUTHORIZED | CLOSE_TOKEN_EXPIRED) {
            self.token_valid = false;
            self.effects.push(Effect::RefreshToken);
        }
    }

    pub(super) fn tick_session(&mut self, now: UnixMillis) {
        match self.session.next_action(now) {
            ConnectionAction::Nothing => {}
            ConnectionAction::Connect if self.token_valid && self.browser_online => {
                self.session.connecting(now);
                self.effects.push(Effect::Connect);
            }
            ConnectionAction::Connect => {}
            ConnectionAction::Ping => self.effects.push(Effect::Send(ClientMessage::Ping)),
            ConnectionAction::Dead => {
                self.effects.push(Effect::Disconnect);
                self.on_socket_closed(1006, now);
            }
        }
        let grace = self.settings.unsubscribe_grace;
        let expired: Vec<Topic> =
            self.topics_unused_since.iter().filter(|(_, at)| now.since(**at) > grace).map(|(t, _)| t.clone()).collect();
        for topic in expired {
            self.topics_unused_since.remove(&topic);
            if self.subscribed.remove(&topic) {
                self.effects.extend(unsubscribe_message(&topic).map(Effect::Send));
            }
        }
        if self.is_polling() && now.since(self.polled_at) >= self.settings.poll_interval {
            self.poll(now);
        }
    }

    /// Whether changes are polled: the server responds, but no WebSocket can be opened.
    pub(super) fn is_polling(&self) -> bool {
        self.session.state != ConnectionState::Open
            && self.session.attempts >= self.settings.poll_after_failures
            && self.reachable
            && self.browser_online
    }

    fn poll(&mut self, now: UnixMillis) {
        let is_pending = self.requests.values().any(|purpose| matches!(purpose, PendingRequest::Changes));
        if is_pending || !self.token_valid || self.topics.is_empty() {
            return;
        }
        self.polled_at = now;
        let mut codes: Vec<&str> = self
            .topics
            .keys()
            .map(|topic| match topic {
                Topic::Row(entity) => entity.code.as_str(),
                Topic::Rows(code, _) | Topic::Tree(code, _) => code.as_str(),
            })
            .collect();
        codes = sort::sorted(codes, |a, b| a.cmp(b));
        codes.dedup();
        let since = self
            .cursor
            .as_ref()
            .map(|position| format!("&since={}", crate::query_key::percent_encode(&position.cursor)));
        let path = format!("/sync/changes?entities={}{}", codes.join(","), since.unwrap_or_default());
        self.request(PendingRequest::Changes, super::fetch::get(path));
    }

    pub(super) fn on_changes_response(&mut self, response: Result<Response, RequestError>, now: UnixMillis) {
        let Some(changes) = response.ok().and_then(|a| serde_json::from_str::<ChangesResponse>(&a.body).ok()) else {
            return;
        };
        if self.session.state == ConnectionState::Open {
            return; // the WebSocket delivers the changes
        }
        self.begin_epoch(&changes.epoch);
        let previous = self.cursor.clone();
        if previous.is_none() && self.has_unverified_data() {
            self.revalidating_from = Some(None);
            self.revalidate_all(now);
        } else if (!changes.recovered && previous.is_some()) || changes.access {
            self.revalidate_all(now);
        }
        for group in changes.data {
            for change in group.changes {
                self.apply_change(&group.entity_code, &change);
            }
        }
        self.cursor = Some(FeedPosition { epoch: changes.epoch, cursor: changes.cursor });
        self.persistence.cursor_moved = true;
        if previous.is_none() {
            // Without a cursor, changes to data that was fetched before may have been missed.
            let observed: Vec<Query> = self.observer_counts.keys().filter(|q| q.topic().is_some()).cloned().collect();
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

/// Returns the type of the topics, with their ids or their parent.
fn subscribe_parts(topics: &[Topic]) -> Option<(EntityCode, Option<Vec<Uuid>>, Option<ParentScope>)> {
    match topics.first()? {
        Topic::Row(first) => {
            let ids = topics.iter().filter_map(|topic| match topic {
                Topic::Row(entity) => Some(entity.id),
                Topic::Rows(..) | Topic::Tree(..) => None,
            });
            Some((first.code.clone(), Some(ids.collect()), None))
        }
        Topic::Rows(code, parent) => {
            let parent =
                parent.as_ref().map(|p| ParentScope { entity_code: p.code.clone(), entity_id: p.id, recursive: false });
            Some((code.clone(), None, parent))
        }
        Topic::Tree(code, root) => {
            let root = ParentScope { entity_code: root.code.clone(), entity_id: root.id, recursive: true };
            Some((code.clone(), None, Some(root)))
        }
    }
}

fn unsubscribe_message(topic: &Topic) -> Option<ClientMessage> {
    // UNSUBSCRIBE without ids and parent would end all subscriptions of the type. A subscription to
    // a type therefore ends only at the next reconnect; the surplus messages do no harm.
    let (entity_code, entity_ids, parent) = subscribe_parts(std::slice::from_ref(topic))?;
    if entity_ids.is_none() && parent.is_none() {
        return None;
    }
    Some(ClientMessage::Unsubscribe { entity_code, entity_ids, parent })
}
