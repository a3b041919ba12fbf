//! The socket: what to watch, and what to do when something has changed. Where no socket opens, changes are asked for instead.

use super::{Engine, FeedPlace, Purpose};
use crate::cache::{CachedRow, ListIndex, Slot};
use crate::event::{Answer, Effect, Failure};
use crate::key::{ListKey, Query, Topic};
use crate::maps::{Few, Set};
use crate::session::{Due, Link};
use pmo_domain::protocol::{
    Action, CLOSE_TOKEN_EXPIRED, CLOSE_UNAUTHORIZED, Change, ClientMessage, ParentScope, ServerMessage,
    SubscribeRequest,
};
use pmo_domain::{EntityCode, EntityRef, sort};
use serde::Deserialize;
use uuid::Uuid;

impl Engine {
    pub(super) fn frame(&mut self, message: ServerMessage, now: f64) {
        if self.person.is_none() {
            return;
        }
        self.session.heard();
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
                    self.ask_what_links_tie(&entity_code, now);
                }
                self.advance(cursor);
            }
            ServerMessage::Resumed { recovered, cursor } => {
                if !recovered {
                    self.sweep(now);
                }
                if let Some(epoch) = self.resuming.take()
                    && let Some(place) = &mut self.cursor
                {
                    place.epoch = epoch;
                }
                self.advance(cursor);
            }
            ServerMessage::Access { .. } => {
                // What was watched may have been let go; each answer of the sweep watches anew.
                self.subscribed.clear();
                self.say_looked_at_again();
                self.sweep(now);
            }
            ServerMessage::Pong { cursor } => self.advance(cursor),
            ServerMessage::Presence { entity_code, entity_id, people } => {
                self.present_is(&EntityRef::new(entity_code, entity_id), people);
            }
            ServerMessage::TokenExpiringSoon { .. } => self.effects.push(Effect::RenewToken),
            ServerMessage::Subscribed { entity_code, refused, .. } => {
                if let Some(at) = self.unanswered.iter().position(|(code, _)| *code == entity_code) {
                    self.unanswered.remove(at);
                }
                if refused > 0 {
                    self.recheck(&entity_code, now);
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
                (row.version, row.floor, row.stale) = (0, 0, true);
            }
        }
        self.etags.clear();
        if !self.leader {
            return;
        }
        let mut unnamed = Vec::new();
        for entry in self.outbox.iter_mut().filter(|entry| !entry.sending) {
            if entry.name_no_version() {
                unnamed.push(entry.id);
            }
        }
        unnamed.into_iter().for_each(|id| self.keep_entry(id));
        self.rebuild_cache();
    }

    fn hello(&mut self, epoch: String, cursor: String, now: f64) {
        self.begin_epoch(&epoch);
        self.session.opened(now);
        self.reached(now);
        self.subscribed.clear();
        self.unanswered.clear();
        let in_flight: Vec<Topic> = self.being_asked().iter().filter_map(Query::topic).collect();
        let topics: Vec<Topic> = self.topics.keys().filter(|t| !in_flight.contains(t)).cloned().collect();
        let mut rows: Few<EntityCode, Vec<Uuid>> = Few::default();
        for topic in topics {
            match &topic {
                Topic::Row(entity) => rows.at(entity.code.clone(), Vec::new).push(entity.id),
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
                self.cursor = Some(FeedPlace { epoch, cursor });
                self.keep.cursor_moved = true;
                if self.holds_unconfirmed() {
                    self.swept_from = Some(None);
                    return self.sweep(now);
                }
                let watched: Vec<Query> = self.observed.keys().filter(|q| q.topic().is_some()).cloned().collect();
                let asked = self.being_asked();
                for query in watched.into_iter().filter(|query| !asked.contains(query)) {
                    self.mark_stale(&query);
                    self.ensure(query, now);
                }
            }
        }
        self.ensure_all(now);
    }

    /// Queries whose answers are on their way: they are watched from where the answer stood.
    fn being_asked(&self) -> Set<Query> {
        let mut asked: Set<Query> = self.in_flight.keys().cloned().collect();
        asked.extend(self.trees_being_asked());
        asked
    }

    /// Whether anything of an earlier life is held, of which nobody has said since whether it may still be seen.
    fn holds_unconfirmed(&self) -> bool {
        self.keep.chunks.values().any(|chunk| !chunk.read)
            || self.cache.rows().any(|(_, row)| row.base.is_some() && row.stale)
    }

    /// Asks for everything that somebody looks at and that can't be believed.
    pub(super) fn ensure_all(&mut self, now: f64) {
        let queries: Vec<Query> = self.observed.keys().cloned().collect();
        for query in queries {
            self.ensure(query, now);
        }
    }

    /// Watches topics of one type.
    fn subscribe(&mut self, topics: Vec<Topic>, since: Option<String>) {
        let Some((entity_code, entity_ids, parent)) = parts(&topics) else { return };
        self.unanswered.push((entity_code.clone(), topics));
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
                let whole = self.cache.get_list(key).filter(|l| l.derived).and_then(|l| l.key.whole());
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

    fn advance(&mut self, cursor: String) {
        let Some(place) = self.cursor.as_mut().filter(|_| self.resuming.is_none()) else { return };
        if place.cursor != cursor {
            place.cursor = cursor;
            self.keep.cursor_moved = true;
        }
    }

    /// A query has been answered: watch it from where the answer stood, so that nothing falls between.
    pub(super) fn watch(&mut self, query: &Query, since: Option<String>) {
        let Some(topic) = query.topic() else { return };
        let asked_for = self.topics.contains_key(&topic) || self.topics_left.contains_key(&topic);
        if self.session.link == Link::Open && asked_for && self.subscribed.insert(topic.clone()) {
            self.subscribe(vec![topic], since);
        }
    }

    /// Rows have been answered: those that somebody looks at by themselves are watched again where they are not, from where the answer stood.
    pub(super) fn watch_rows(&mut self, code: &EntityCode, ids: &Set<Uuid>, since: Option<String>) {
        let topics = ids.iter().map(|id| Topic::Row(EntityRef::new(code.clone(), *id)));
        let topics: Vec<Topic> =
            topics.filter(|topic| self.topics.contains_key(topic) && !self.subscribed.contains(topic)).collect();
        if self.session.link == Link::Open && !topics.is_empty() {
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
                    self.forget(&entity, now);
                }
            }
            Action::Create | Action::Update => {
                let on_its_way = self.outbox.iter().any(|e| e.entity == entity && e.sending);
                if let Some(row) = self.cache.get_mut(&entity) {
                    if row.base.is_some() && change.version.0 != 0 && row.version >= change.version.0 {
                        return; // one's own write, or told twice
                    }
                    row.floor = row.floor.max(change.version.0);
                    row.stale = true;
                }
                // The answer to one's own write carries the row; asking as well would be for nothing.
                if !self.is_looked_at(&entity) {
                    // Still watched for a while, but nobody looks: whoever comes back asks anew.
                    for list in self.cache.lists_mut().filter(|list| list.key.code == entity.code) {
                        list.stale = true;
                    }
                } else if !on_its_way {
                    self.want(&entity);
                }
            }
        }
    }

    /// Something new may hang by a link below what a list is about, which only the server can tell.
    fn ask_what_links_tie(&mut self, code: &EntityCode, now: f64) {
        let tied =
            |key: &ListKey| key.code == *code && !key.deep && key.below.as_ref().is_some_and(|b| b.column.is_none());
        let lists = self.cache.lists().filter(|(_, list)| tied(&list.key));
        let queries: Vec<Query> = lists.map(|(_, list)| Query::List(list.key.clone())).collect();
        for query in queries {
            if let Some(begun) = self.begun.get_mut(&query) {
                // What is on its way may be of before: it is asked again once it is here.
                *begun = 0;
                continue;
            }
            self.mark_stale(&query);
            if self.observed.contains_key(&query) {
                self.ensure(query, now);
            }
        }
    }

    /// What this person may see has changed, or what was missed can't be told: nothing held is believed, and everything is asked for
    /// again; what is absent from the answers is wiped.
    pub(super) fn sweep(&mut self, now: f64) {
        self.swept = self.next_request;
        if self.leader && self.swept_from.is_none() {
            self.swept_from = Some(self.cursor.clone());
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
            .filter(|(_, l)| l.observed > 0 && l.loaded && l.complete && l.key.below.is_none())
            .filter(|(_, l)| l.derived || l.key.whole().is_none())
            .map(|(_, l)| l.key.code.clone())
            .collect();
        let trees: Set<ListIndex> = self
            .cache
            .lists()
            .filter(|(_, l)| l.key.deep && l.loaded && l.observed > 0)
            .map(|(index, _)| index)
            .collect();
        for entity in held {
            let Some(row) = self.cache.get_mut(&entity) else { continue };
            row.stale = true;
            // A list of everything of its type, or a tree, is asked for anyway, and tells of it; what is looked at by itself is watched anew by an answer of
            // its own.
            let told_of = whole.contains(&entity.code) || row.lists.iter().any(|index| trees.contains(index));
            if row.observed > 0 || !told_of {
                self.want(&entity);
            }
        }
        for list in self.cache.lists_mut() {
            list.stale = true;
        }
        // What one may make is told with the types.
        if let Some(types) = self.metas.get_mut(&crate::key::MetaKey::Codes) {
            types.stale = true;
        }
        let queries: Vec<Query> = self.observed.keys().cloned().collect();
        for query in queries {
            let by_ids = match &query {
                Query::Row(entity) => self.cache.get(entity).is_some_and(|row| row.base.is_some()),
                _ => false,
            };
            if !by_ids {
                self.ensure(query, now);
            }
        }
        self.tabs.news.swept = true;
        self.sweep_device();
    }

    /// All that was held has been asked for again: what may not be seen any more is gone.
    pub(super) fn end_sweep(&mut self) {
        let asks = self.requests.values().any(|purpose| !matches!(purpose, Purpose::Write(_)));
        if self.swept_from.is_some()
            && !asks
            && self.wanted.is_empty()
            && self.retries.is_empty()
            && !self.keep.sweeping
        {
            self.swept_from = None;
            self.keep.cursor_moved = true;
        }
    }

    /// Where somebody goes on who goes on after this engine.
    pub(super) fn safe_cursor(&self) -> Option<&FeedPlace> {
        self.swept_from.as_ref().map_or(self.cursor.as_ref(), Option::as_ref)
    }

    /// Some of what is watched of a type was refused: each watched thing of it is asked for again, and what is absent is wiped.
    fn recheck(&mut self, code: &EntityCode, now: f64) {
        self.look_again(now, |query| match query {
            Query::Row(entity) => entity.code == *code,
            // Of a list only its parent can be refused.
            Query::List(key) => key.code == *code && key.below.is_some(),
            Query::Meta(_) => false,
        });
    }

    /// Asks anew for what somebody looks at and `which` picks; the answer is watched from where it stood.
    pub(super) fn look_again(&mut self, now: f64, which: impl Fn(&Query) -> bool) {
        let picked: Vec<Query> = self.observed.keys().filter(|q| which(q)).cloned().collect();
        for query in picked {
            if let Some(topic) = query.topic() {
                self.subscribed.remove(&topic);
            }
            self.mark_stale(&query);
            self.ensure(query, now);
        }
    }

    pub(super) fn closed(&mut self, code: u16, now: f64) {
        if self.person.is_none() {
            return;
        }
        self.session.closed(now);
        self.subscribed.clear();
        self.resuming = None;
        // What these asked since may not have come, and the cursor may have moved past it.
        for topic in std::mem::take(&mut self.unanswered).into_iter().flat_map(|(_, topics)| topics) {
            let queries: Vec<Query> =
                self.observed.keys().filter(|q| q.topic().as_ref() == Some(&topic)).cloned().collect();
            queries.iter().for_each(|query| self.mark_stale(query));
        }
        if matches!(code, CLOSE_UNAUTHORIZED | CLOSE_TOKEN_EXPIRED) {
            self.token_good = false;
            self.effects.push(Effect::RenewToken);
        }
    }

    pub(super) fn tick_session(&mut self, now: f64) {
        match self.session.due(now) {
            Due::Nothing => {}
            Due::Connect if self.token_good && self.browser_online => {
                self.session.connecting(now);
                self.effects.push(Effect::Connect);
            }
            Due::Connect => {}
            Due::Ping => self.effects.push(Effect::Send(ClientMessage::Ping)),
            Due::Dead => {
                self.effects.push(Effect::Disconnect);
                self.closed(1006, now);
            }
        }
        let grace = self.settings.unsubscribe;
        let left: Vec<Topic> =
            self.topics_left.iter().filter(|(_, at)| now - **at > grace).map(|(t, _)| t.clone()).collect();
        for topic in left {
            self.topics_left.remove(&topic);
            if self.subscribed.remove(&topic) {
                self.effects.extend(unsubscription(&topic).map(Effect::Send));
            }
        }
        if self.polls() && now - self.polled_at >= self.settings.poll {
            self.poll(now);
        }
    }

    /// The server answers and no socket opens: changes are asked for instead.
    pub(super) fn polls(&self) -> bool {
        self.session.link != Link::Open
            && self.session.attempts >= self.settings.poll_after
            && self.reachable
            && self.browser_online
    }

    fn poll(&mut self, now: f64) {
        let asks = self.requests.values().any(|purpose| matches!(purpose, Purpose::Changes));
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
        let since = self.cursor.as_ref().map(|place| format!("&since={}", crate::key::encoded(&place.cursor)));
        let path = format!("/sync/changes?entities={}{}", codes.join(","), since.unwrap_or_default());
        self.request(Purpose::Changes, super::asking::get(path));
    }

    pub(super) fn changes_answered(&mut self, answer: Result<Answer, Failure>, now: f64) {
        let Some(changes) = answer.ok().and_then(|a| serde_json::from_str::<Changes>(&a.body).ok()) else { return };
        if self.session.link == Link::Open {
            return; // the socket tells
        }
        self.begin_epoch(&changes.epoch);
        let known = self.cursor.clone();
        if known.is_none() && self.holds_unconfirmed() {
            self.swept_from = Some(None);
            self.sweep(now);
        } else if (!changes.recovered && known.is_some()) || changes.access {
            self.sweep(now);
        }
        for group in changes.data {
            for change in group.changes {
                self.invalidate(&group.entity_code, &change, now);
            }
        }
        self.cursor = Some(FeedPlace { epoch: changes.epoch, cursor: changes.cursor });
        self.keep.cursor_moved = true;
        if known.is_none() {
            // Until now nothing was heard of what was fetched before.
            let looked_at: Vec<Query> = self.observed.keys().filter(|q| q.topic().is_some()).cloned().collect();
            looked_at.iter().for_each(|query| self.mark_stale(query));
        }
        self.ensure_all(now);
    }
}

/// The answer of `/sync/changes`.
#[derive(Deserialize)]
struct Changes {
    recovered: bool,
    epoch: String,
    cursor: String,
    #[serde(default)]
    access: bool,
    #[serde(default)]
    data: Vec<Group>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Group {
    entity_code: EntityCode,
    changes: Vec<Change>,
}

/// The ids, or the thing above, of topics of one type.
fn parts(topics: &[Topic]) -> Option<(EntityCode, Option<Vec<Uuid>>, Option<ParentScope>)> {
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

fn unsubscription(topic: &Topic) -> Option<ClientMessage> {
    // Without ids and parent UNSUBSCRIBE means everything of the type; a type that is left is let go with what is watched of it only
    // at the next reconnect, and hearing a little too much does no harm.
    let (entity_code, entity_ids, parent) = parts(std::slice::from_ref(topic))?;
    if entity_ids.is_none() && parent.is_none() {
        return None;
    }
    Some(ClientMessage::Unsubscribe { entity_code, entity_ids, parent })
}
