//! The socket: what to watch, and what to do when something has changed. Where no socket opens, changes are asked for instead.

use super::{Engine, FeedPosition, PendingRequest};
use crate::cache::{CachedRow, ListIndex, Slot};
use crate::collections::{DetHashSet, VecMap};
use crate::event::{Effect, RequestError, Response};
use crate::query_key::{ListKey, Query, Topic};
use crate::reconnect::{ConnectionAction, ConnectionState};
use pmo_domain::protocol::{
    Action, CLOSE_TOKEN_EXPIRED, CLOSE_UNAUTHORIZED, Change, ClientMessage, ParentScope, ServerMessage,
    SubscribeRequest,
};
use pmo_domain::{EntityCode, EntityRef, sort};
use serde::Deserialize;
use uuid::Uuid;

impl Engine {
    pub(super) fn on_socket_message(&mut self, message: ServerMessage, now: f64) {
        if self.person.is_none() {
            return;
        }
        self.session.on_activity();
        self.reachable = true;
        match message {
            ServerMessage::Hello { epoch, cursor, .. } => self.hello(epoch, cursor, now),
            ServerMessage::Invalidate { entity_code, changes, cursor, .. } => {
                let made = |change: &Change| {
                    let entity = EntityRef::new(entity_code.clone(), change.entity_id);
                    let known = |row: &CachedRow| row.base.is_some() && row.version >= change.version.0;
                    change.action == Action::Create && !self.cache.get(&entity).is_some_and(known)
                };
                let made = changes.iter().any(made);
                for change in changes {
                    self.invalidate(&entity_code, &change, now);
                }
                if made {
                    self.refetch_link_lists(&entity_code, now);
                }
                self.advance_cursor(cursor);
            }
            ServerMessage::Resumed { recovered, cursor } => {
                if !recovered {
                    self.revalidate_all(now);
                }
                if let Some(epoch) = self.resuming.take()
                    && let Some(place) = &mut self.cursor
                {
                    place.epoch = epoch;
                }
                self.advance_cursor(cursor);
            }
            ServerMessage::Access { .. } => {
                // What was watched may have been let go; each answer of the sweep watches anew.
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
                    self.refetch_watched_of_type(&entity_code, now);
                }
            }
            ServerMessage::Error { .. } => {}
        }
    }

    /// The database is another incarnation: a restore or a failover may have lost what had been told already. What is held is shown until it has been asked
    /// for again, and whatever comes counts, however low its version. No waiting write names a version any more that the server may have given to
    /// something else since: each is answered by what is there now, and merged.
    pub(super) fn begin_epoch(&mut self, epoch: &str) {
        if self.cursor.as_ref().is_none_or(|place| place.epoch == epoch) {
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
        let mut unnamed = Vec::new();
        for entry in self.outbox.iter_mut().filter(|entry| !entry.in_flight) {
            if entry.force_precondition_failure() {
                unnamed.push(entry.id);
            }
        }
        unnamed.into_iter().for_each(|id| self.persist_entry(id));
        self.rebuild_cache();
    }

    fn hello(&mut self, epoch: String, cursor: String, now: f64) {
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
                // Until it is answered the old cursor stands: a socket that drops before must ask for the same again.
                self.resuming = Some(epoch);
            }
            None => {
                // The first time: nothing is known to be missed, but what was fetched before watching may have changed since.
                self.cursor = Some(FeedPosition { epoch, cursor });
                self.persistence.cursor_moved = true;
                if self.has_unverified_data() {
                    self.revalidating_from = Some(None);
                    return self.revalidate_all(now);
                }
                let watched: Vec<Query> =
                    self.observer_counts.keys().filter(|q| q.topic().is_some()).cloned().collect();
                let asked = self.queries_in_flight();
                for query in watched.into_iter().filter(|query| !asked.contains(query)) {
                    self.mark_stale(&query);
                    self.ensure_fresh(query, now);
                }
            }
        }
        self.ensure_observed_fresh(now);
    }

    /// Queries whose answers are on their way: they are watched from where the answer stood.
    fn queries_in_flight(&self) -> DetHashSet<Query> {
        let mut asked: DetHashSet<Query> = self.in_flight.keys().cloned().collect();
        asked.extend(self.tree_queries_in_flight());
        asked
    }

    /// Whether anything of an earlier life is held, of which nobody has said since whether it may still be seen.
    fn has_unverified_data(&self) -> bool {
        self.persistence.chunks.values().any(|chunk| !chunk.read)
            || self.cache.rows().any(|(_, row)| row.base.is_some() && row.stale)
    }

    /// Asks for everything that somebody looks at and that can't be believed.
    pub(super) fn ensure_observed_fresh(&mut self, now: f64) {
        let queries: Vec<Query> = self.observer_counts.keys().cloned().collect();
        for query in queries {
            self.ensure_fresh(query, now);
        }
    }

    /// Watches topics of one type.
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
                let whole = self.cache.get_list(key).filter(|l| l.derived).and_then(|l| l.key.base_list());
                for key in [Some(key.clone()), whole].into_iter().flatten() {
                    if let Some(list) = self.cache.get_list_mut(&key) {
                        list.stale = true;
                    }
                }
            }
            Query::Meta(key) => {
                if let Some(meta) = self.metas.get_mut(key) {
                    meta.stale = true;
                }
            }
        }
    }

    fn advance_cursor(&mut self, cursor: String) {
        let Some(place) = self.cursor.as_mut().filter(|_| self.resuming.is_none()) else { return };
        if place.cursor != cursor {
            place.cursor = cursor;
            self.persistence.cursor_moved = true;
        }
    }

    /// A query has been answered: watch it from where the answer stood, so that nothing falls between.
    pub(super) fn watch(&mut self, query: &Query, since: Option<String>) {
        let Some(topic) = query.topic() else { return };
        let asked_for = self.topics.contains_key(&topic) || self.topics_unused_since.contains_key(&topic);
        if self.session.link == ConnectionState::Open && asked_for && self.subscribed.insert(topic.clone()) {
            self.subscribe(vec![topic], since);
        }
    }

    /// Rows have been answered: those that somebody looks at by themselves are watched again where they are not, from where the answer stood.
    pub(super) fn watch_rows(&mut self, code: &EntityCode, ids: &DetHashSet<Uuid>, since: Option<String>) {
        let topics = ids.iter().map(|id| Topic::Row(EntityRef::new(code.clone(), *id)));
        let topics: Vec<Topic> =
            topics.filter(|topic| self.topics.contains_key(topic) && !self.subscribed.contains(topic)).collect();
        if self.session.link == ConnectionState::Open && !topics.is_empty() {
            self.subscribed.extend(topics.iter().cloned());
            self.subscribe(topics, since);
        }
    }

    fn invalidate(&mut self, code: &EntityCode, change: &Change, now: f64) {
        let entity = EntityRef::new(code.clone(), change.entity_id);
        match change.action {
            Action::Delete | Action::Revoke => {
                let held = self.cache.get(&entity);
                let newer = held.is_some_and(|r| change.action == Action::Delete && r.version > change.version.0);
                if !newer {
                    self.remove_entity(&entity, now);
                }
            }
            Action::Create | Action::Update => {
                let on_its_way = self.outbox.iter().any(|e| e.entity == entity && e.in_flight);
                if let Some(row) = self.cache.get_mut(&entity) {
                    if row.base.is_some() && change.version.0 != 0 && row.version >= change.version.0 {
                        return; // one's own write, or told twice
                    }
                    row.min_version = row.min_version.max(change.version.0);
                    row.stale = true;
                }
                // The answer to one's own write carries the row; asking as well would be for nothing.
                if !self.is_possibly_observed(&entity) {
                    // Still watched for a while, but nobody looks: whoever comes back asks anew.
                    for list in self.cache.lists_mut().filter(|list| list.key.code == entity.code) {
                        list.stale = true;
                    }
                } else if !on_its_way {
                    self.request_row(&entity);
                }
            }
        }
    }

    /// Something new may hang by a link below what a list is about, which only the server can tell.
    fn refetch_link_lists(&mut self, code: &EntityCode, now: f64) {
        let tied = |key: &ListKey| {
            key.code == *code && !key.recursive && key.below.as_ref().is_some_and(|b| b.column.is_none())
        };
        let lists = self.cache.lists().filter(|(_, list)| tied(&list.key));
        let queries: Vec<Query> = lists.map(|(_, list)| Query::List(list.key.clone())).collect();
        for query in queries {
            if let Some(begun) = self.first_request.get_mut(&query) {
                // What is on its way may be of before: it is asked again once it is here.
                *begun = 0;
                continue;
            }
            self.mark_stale(&query);
            if self.observer_counts.contains_key(&query) {
                self.ensure_fresh(query, now);
            }
        }
    }

    /// What this person may see has changed, or what was missed can't be told: nothing held is believed, and everything is asked for
    /// again; what is absent from the answers is wiped.
    pub(super) fn revalidate_all(&mut self, now: f64) {
        self.access_fence = self.next_request;
        if self.leader && self.revalidating_from.is_none() {
            self.revalidating_from = Some(self.cursor.clone());
        }
        let held: Vec<EntityRef> = self
            .cache
            .rows()
            .filter(|(_, row)| row.base.is_some())
            .filter_map(|(slot, _)| self.cache.entity(slot))
            .collect();
        let whole: Vec<EntityCode> = self
            .cache
            .lists()
            .filter(|(_, l)| l.observer_count > 0 && l.loaded && l.complete && l.key.below.is_none())
            .filter(|(_, l)| l.derived || l.key.base_list().is_none())
            .map(|(_, l)| l.key.code.clone())
            .collect();
        let trees: DetHashSet<ListIndex> = self
            .cache
            .lists()
            .filter(|(_, l)| l.key.recursive && l.loaded && l.observer_count > 0)
            .map(|(index, _)| index)
            .collect();
        for entity in held {
            let Some(row) = self.cache.get_mut(&entity) else { continue };
            row.stale = true;
            // A list of everything of its type, or a tree, is asked for anyway, and tells of it; what is looked at by itself is watched anew by an answer of
            // its own.
            let told_of = whole.contains(&entity.code) || row.lists.iter().any(|index| trees.contains(index));
            if row.observer_count > 0 || !told_of {
                self.request_row(&entity);
            }
        }
        for list in self.cache.lists_mut() {
            list.stale = true;
        }
        // What one may make is told with the types.
        if let Some(types) = self.metas.get_mut(&crate::query_key::ReferenceDataKey::Codes) {
            types.stale = true;
        }
        let queries: Vec<Query> = self.observer_counts.keys().cloned().collect();
        for query in queries {
            let by_ids = match &query {
                Query::Row(entity) => self.cache.get(entity).is_some_and(|row| row.base.is_some()),
                _ => false,
            };
            if !by_ids {
                self.ensure_fresh(query, now);
            }
        }
        self.tabs.outgoing_update.access_changed = true;
        self.load_unread_for_revalidation();
    }

    /// All that was held has been asked for again: what may not be seen any more is gone.
    pub(super) fn finish_revalidation(&mut self) {
        let asks = self.requests.values().any(|purpose| !matches!(purpose, PendingRequest::Write(_)));
        if self.revalidating_from.is_some()
            && !asks
            && self.rows_to_fetch.is_empty()
            && self.retries.is_empty()
            && !self.persistence.revalidating
        {
            self.revalidating_from = None;
            self.persistence.cursor_moved = true;
        }
    }

    /// Where somebody goes on who goes on after this engine.
    pub(super) fn safe_cursor(&self) -> Option<&FeedPosition> {
        self.revalidating_from.as_ref().map_or(self.cursor.as_ref(), Option::as_ref)
    }

    /// Some of what is watched of a type was refused: each watched thing of it is asked for again, and what is absent is wiped.
    fn refetch_watched_of_type(&mut self, code: &EntityCode, now: f64) {
        self.refetch_observed(now, |query| match query {
            Query::Row(entity) => entity.code == *code,
            // Of a list only its parent can be refused.
            Query::List(key) => key.code == *code && key.below.is_some(),
            Query::Meta(_) => false,
        });
    }

    /// Asks anew for what somebody looks at and `which` picks; the answer is watched from where it stood.
    pub(super) fn refetch_observed(&mut self, now: f64, which: impl Fn(&Query) -> bool) {
        let picked: Vec<Query> = self.observer_counts.keys().filter(|q| which(q)).cloned().collect();
        for query in picked {
            if let Some(topic) = query.topic() {
                self.subscribed.remove(&topic);
            }
            self.mark_stale(&query);
            self.ensure_fresh(query, now);
        }
    }

    pub(super) fn closed(&mut self, code: u16, now: f64) {
        if self.person.is_none() {
            return;
        }
        self.session.on_closed(now);
        self.subscribed.clear();
        self.resuming = None;
        // What these asked since may not have come, and the cursor may have moved past it.
        for topic in std::mem::take(&mut self.pending_subscribes).into_iter().flat_map(|(_, topics)| topics) {
            let queries: Vec<Query> =
                self.observer_counts.keys().filter(|q| q.topic().as_ref() == Some(&topic)).cloned().collect();
            queries.iter().for_each(|query| self.mark_stale(query));
        }
        if matches!(code, CLOSE_UNAUTHORIZED | CLOSE_TOKEN_EXPIRED) {
            self.token_good = false;
            self.effects.push(Effect::RefreshToken);
        }
    }

    pub(super) fn tick_session(&mut self, now: f64) {
        match self.session.next_action(now) {
            ConnectionAction::Nothing => {}
            ConnectionAction::Connect if self.token_good && self.browser_online => {
                self.session.connecting(now);
                self.effects.push(Effect::Connect);
            }
            ConnectionAction::Connect => {}
            ConnectionAction::Ping => self.effects.push(Effect::Send(ClientMessage::Ping)),
            ConnectionAction::Dead => {
                self.effects.push(Effect::Disconnect);
                self.closed(1006, now);
            }
        }
        let grace = self.settings.unsubscribe_grace_ms;
        let left: Vec<Topic> =
            self.topics_unused_since.iter().filter(|(_, at)| now - **at > grace).map(|(t, _)| t.clone()).collect();
        for topic in left {
            self.topics_unused_since.remove(&topic);
            if self.subscribed.remove(&topic) {
                self.effects.extend(unsubscribe_message(&topic).map(Effect::Send));
            }
        }
        if self.is_polling() && now - self.polled_at >= self.settings.poll_interval_ms {
            self.poll(now);
        }
    }

    /// The server answers and no socket opens: changes are asked for instead.
    pub(super) fn is_polling(&self) -> bool {
        self.session.link != ConnectionState::Open
            && self.session.attempts >= self.settings.poll_after_failures
            && self.reachable
            && self.browser_online
    }

    fn poll(&mut self, now: f64) {
        let asks = self.requests.values().any(|purpose| matches!(purpose, PendingRequest::Changes));
        if asks || !self.token_good || self.topics.is_empty() {
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
        let since =
            self.cursor.as_ref().map(|place| format!("&since={}", crate::query_key::percent_encode(&place.cursor)));
        let path = format!("/sync/changes?entities={}{}", codes.join(","), since.unwrap_or_default());
        self.request(PendingRequest::Changes, super::fetch::get(path));
    }

    pub(super) fn changes_answered(&mut self, answer: Result<Response, RequestError>, now: f64) {
        let Some(changes) = answer.ok().and_then(|a| serde_json::from_str::<ChangesResponse>(&a.body).ok()) else {
            return;
        };
        if self.session.link == ConnectionState::Open {
            return; // the socket tells
        }
        self.begin_epoch(&changes.epoch);
        let known = self.cursor.clone();
        if known.is_none() && self.has_unverified_data() {
            self.revalidating_from = Some(None);
            self.revalidate_all(now);
        } else if (!changes.recovered && known.is_some()) || changes.access {
            self.revalidate_all(now);
        }
        for group in changes.data {
            for change in group.changes {
                self.invalidate(&group.entity_code, &change, now);
            }
        }
        self.cursor = Some(FeedPosition { epoch: changes.epoch, cursor: changes.cursor });
        self.persistence.cursor_moved = true;
        if known.is_none() {
            // Until now nothing was heard of what was fetched before.
            let looked_at: Vec<Query> = self.observer_counts.keys().filter(|q| q.topic().is_some()).cloned().collect();
            looked_at.iter().for_each(|query| self.mark_stale(query));
        }
        self.ensure_observed_fresh(now);
    }
}

/// The answer of `/sync/changes`.
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

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ChangeGroup {
    entity_code: EntityCode,
    changes: Vec<Change>,
}

/// The ids, or the thing above, of topics of one type.
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
    // Without ids and parent UNSUBSCRIBE means everything of the type; a type that is left is let go with what is watched of it only
    // at the next reconnect, and hearing a little too much does no harm.
    let (entity_code, entity_ids, parent) = subscribe_parts(std::slice::from_ref(topic))?;
    if entity_ids.is_none() && parent.is_none() {
        return None;
    }
    Some(ClientMessage::Unsubscribe { entity_code, entity_ids, parent })
}
