//! The socket: what to watch, and what to do when something has changed.

use super::{Engine, SUBSCRIPTION_GRACE_MS};
use crate::event::Effect;
use crate::key::Query;
use crate::session::{Due, Link};
use crate::store::{StoreOp, StoredCursor};
use pmo_domain::socket::{
    Action, CLOSE_BAD_TOKEN, CLOSE_EXPIRED, Change, ClientMessage, Parent, ServerMessage, Subscribe,
};
use pmo_domain::{EntityCode, EntityRef};
use std::collections::BTreeMap;
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
                for change in changes {
                    self.invalidate(&entity_code, &change, now);
                }
                self.advance(cursor);
            }
            ServerMessage::Resumed { recovered, cursor } => {
                if !recovered {
                    self.sweep(now);
                }
                if let Some(epoch) = self.resuming.take()
                    && let Some(stored) = &mut self.cursor
                {
                    stored.epoch = epoch;
                }
                self.advance(cursor);
            }
            ServerMessage::Access { .. } => {
                // What was watched may have been let go; each answer of the sweep watches anew.
                self.subscribed.clear();
                self.sweep(now);
            }
            ServerMessage::Pong { cursor } => self.advance(cursor),
            ServerMessage::TokenExpiringSoon { .. } => self.effects.push(Effect::RenewToken),
            ServerMessage::Subscribed { entity_code, refused, .. } if refused > 0 => self.recheck(&entity_code, now),
            ServerMessage::Subscribed { .. } | ServerMessage::Error { .. } => {}
        }
    }

    fn hello(&mut self, epoch: String, cursor: String, now: f64) {
        self.session.opened(now);
        self.subscribed.clear();
        let queries: Vec<Query> = self.observed.keys().filter(|q| !self.in_flight.contains(*q)).cloned().collect();
        let mut rows: BTreeMap<EntityCode, Vec<Uuid>> = BTreeMap::new();
        for query in queries {
            match &query {
                Query::Row(entity) => rows.entry(entity.code.clone()).or_default().push(entity.id),
                Query::List(_) => self.effects.extend(subscription(&query, None).map(Effect::Send)),
                Query::Meta(_) => continue,
            }
            self.subscribed.insert(query);
        }
        for (entity_code, ids) in rows {
            let subscribe = Subscribe { entity_code, entity_ids: Some(ids), parent: None, since: None };
            self.effects.push(Effect::Send(ClientMessage::Subscribe(subscribe)));
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
                self.cursor = Some(StoredCursor { epoch, cursor });
                let watched: Vec<Query> = self.subscribed.iter().cloned().collect();
                for query in watched {
                    self.mark_stale(&query);
                    self.ensure(query, now);
                }
            }
        }
        let queries: Vec<Query> = self.observed.keys().cloned().collect();
        for query in queries {
            self.ensure(query, now);
        }
    }

    fn mark_stale(&mut self, query: &Query) {
        match query {
            Query::Row(entity) => {
                if let Some(row) = self.cache.rows.get_mut(entity) {
                    row.stale = true;
                }
            }
            Query::List(key) => {
                if let Some(list) = self.cache.lists.get_mut(key) {
                    list.stale = true;
                }
            }
            Query::Meta(_) => {}
        }
    }

    fn advance(&mut self, cursor: String) {
        let Some(stored) = self.cursor.as_mut().filter(|_| self.resuming.is_none()) else { return };
        if stored.cursor != cursor {
            stored.cursor = cursor;
            self.ops.push(StoreOp::PutCursor(stored.clone()));
        }
    }

    /// A query has been answered: watch it from where the answer stood, so that nothing falls between.
    pub(super) fn watch(&mut self, query: &Query, since: Option<String>) {
        if self.session.link != Link::Open
            || !self.observed.contains_key(query)
            || !self.subscribed.insert(query.clone())
        {
            return;
        }
        self.effects.extend(subscription(query, since).map(Effect::Send));
    }

    fn invalidate(&mut self, code: &EntityCode, change: &Change, now: f64) {
        let entity = EntityRef::new(code.clone(), change.entity_id);
        match change.action {
            Action::Delete | Action::Revoke => {
                let newer = self
                    .cache
                    .rows
                    .get(&entity)
                    .is_some_and(|r| change.action == Action::Delete && r.version() > change.version.0);
                if !newer {
                    self.forget(&entity, now);
                }
            }
            Action::Create | Action::Update => {
                let on_its_way = self.outbox.iter().any(|e| e.entity == entity && e.sending);
                match self.cache.rows.get_mut(&entity) {
                    Some(row) if row.base.is_some() => {
                        if change.version.0 != 0 && row.version() >= change.version.0 {
                            return; // one's own write, or told twice
                        }
                        row.floor = row.floor.max(change.version.0);
                        row.stale = true;
                    }
                    _ => {}
                }
                // The answer to one's own write carries the row; asking as well would be for nothing.
                if !self.is_looked_at(&entity) {
                    // Still watched for a while, but nobody looks: whoever comes back asks anew.
                    for (_, list) in self.cache.lists.iter_mut().filter(|(key, _)| key.code == entity.code) {
                        list.stale = true;
                    }
                } else if !on_its_way {
                    self.want(&entity);
                }
            }
        }
    }

    /// Whether a change of this thing can be on the screen: it is looked at, is in a list that is, or may enter one.
    fn is_looked_at(&self, entity: &EntityRef) -> bool {
        self.observed.contains_key(&Query::Row(entity.clone()))
            || self.observed.keys().any(|q| matches!(q, Query::List(key) if key.code == entity.code))
    }

    /// What this person may see has changed, or what was missed can't be told: nothing held is believed, and everything is asked for
    /// again; what is absent from the answers is wiped.
    fn sweep(&mut self, now: f64) {
        let held: Vec<EntityRef> =
            self.cache.rows.iter().filter(|(_, r)| r.base.is_some()).map(|(e, _)| e.clone()).collect();
        for entity in held {
            if let Some(row) = self.cache.rows.get_mut(&entity) {
                row.stale = true;
            }
            self.want(&entity);
        }
        for list in self.cache.lists.values_mut() {
            list.stale = true;
        }
        let queries: Vec<Query> = self.observed.keys().cloned().collect();
        for query in queries {
            self.ensure(query, now);
        }
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
            self.subscribed.remove(&query);
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
        if matches!(code, CLOSE_BAD_TOKEN | CLOSE_EXPIRED) {
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
        let left: Vec<Query> =
            self.left_at.iter().filter(|(_, at)| now - **at > SUBSCRIPTION_GRACE_MS).map(|(q, _)| q.clone()).collect();
        for query in left {
            self.left_at.remove(&query);
            if self.subscribed.remove(&query) {
                self.effects.extend(unsubscription(&query).map(Effect::Send));
            }
        }
    }
}

fn subscription(query: &Query, since: Option<String>) -> Option<ClientMessage> {
    let (entity_code, entity_ids, parent) = parts(query)?;
    Some(ClientMessage::Subscribe(Subscribe { entity_code, entity_ids, parent, since }))
}

fn unsubscription(query: &Query) -> Option<ClientMessage> {
    // Without ids and parent UNSUBSCRIBE means everything of the type; a type that is left is let go with what is watched of it only
    // at the next reconnect, and hearing a little too much does no harm.
    let (entity_code, entity_ids, parent) = parts(query)?;
    if entity_ids.is_none() && parent.is_none() {
        return None;
    }
    Some(ClientMessage::Unsubscribe { entity_code, entity_ids, parent })
}

fn parts(query: &Query) -> Option<(EntityCode, Option<Vec<Uuid>>, Option<Parent>)> {
    match query {
        Query::Row(entity) => Some((entity.code.clone(), Some(vec![entity.id]), None)),
        Query::List(key) => {
            let parent =
                key.below.as_ref().map(|b| Parent { entity_code: b.parent.code.clone(), entity_id: b.parent.id });
            Some((key.code.clone(), None, parent))
        }
        Query::Meta(_) => None,
    }
}
