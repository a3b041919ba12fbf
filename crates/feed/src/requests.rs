//! What clients ask for: to watch, to stop watching, to learn what they missed. A client's messages are answered in their order; what is watched
//! is watched from the moment it was asked for, and each change is checked for its receiver anyway, so that nothing falls between.

use crate::acl_cache::AclCache;
use crate::fanout::AccessUpdate;
use crate::lookups::{CatchUpBatch, CatchUpRequest, LookupRequest};
use crate::state_machine::{ChangeFeed, Effect, SubscriptionChange};
use crate::subscription_index::{ConnectionId, Topic};
use pmo_domain::change_log::ChangeLogEntry;
use pmo_domain::cursor::ACCESS_CHANGE_WINDOW_XIDS;
use pmo_domain::protocol::{
    Action, ClientMessage, HEARTBEAT_INTERVAL_SECONDS, PROTOCOL_VERSION, ParentScope, ServerMessage, SubscribeRequest,
};
use pmo_domain::{EVERY_INSTANCE, EntityCode, EntityRef, FeedCursor, PersonId};
use std::collections::BTreeSet;

/// Something that waits for facts.
pub(crate) enum PendingRequest {
    /// A new socket waits for its greeting.
    Handshake(ConnectionId),
    /// A client wants to watch.
    Subscribe(ConnectionId, SubscribeRequest),
    /// A client looks at these things.
    SetPresence(ConnectionId, Vec<EntityRef>),
    /// What a client missed is there.
    CatchUpReady(ConnectionId, CatchUpBatch, CatchUpContinuation),
    /// Grants of these people have run out.
    GrantsExpired(BTreeSet<PersonId>),
}

impl PendingRequest {
    /// Whose it is.
    pub(crate) fn connection(&self) -> Option<ConnectionId> {
        match self {
            Self::Handshake(id) | Self::Subscribe(id, _) | Self::SetPresence(id, _) | Self::CatchUpReady(id, ..) => {
                Some(*id)
            }
            Self::GrantsExpired(_) => None,
        }
    }
}

/// What a client that catches up is told at the end.
#[derive(Clone, Debug)]
pub(crate) enum CatchUpContinuation {
    Resumed,
    Subscribed(ServerMessage, EntityCode),
}

fn parent_of(parent: &ParentScope) -> EntityRef {
    EntityRef::new(parent.entity_code.clone(), parent.entity_id)
}

/// Whether a topic is what SUBSCRIBE with this parent and type watches.
fn matches_parent(topic: &Topic, parent: &ParentScope, of: &EntityCode) -> bool {
    match topic {
        Topic::Tree { root, code } => parent.recursive && *root == parent.entity_id && code == of,
        Topic::Children { parent: above, code } => !parent.recursive && *above == parent_of(parent) && code == of,
        _ => false,
    }
}

impl ChangeFeed {
    /// A message whose turn it is.
    pub(crate) fn handle_message(&mut self, id: ConnectionId, message: ClientMessage, out: &mut Vec<Effect>) {
        if self.watching.person(id).is_none() {
            return;
        }
        match message {
            ClientMessage::Subscribe(wanted) => self.subscribe(id, wanted, out),
            ClientMessage::Unsubscribe { entity_code, entity_ids: Some(ids), .. } => {
                let gone = self.watching.unsubscribe_entities(id, &entity_code, &ids);
                if !gone.is_empty() {
                    out.push(Effect::Mirror(SubscriptionChange::Unsubscribed(id, Some(entity_code), Some(gone))));
                }
            }
            ClientMessage::Unsubscribe { entity_code, entity_ids: None, parent } => {
                let before = self.watching.subscription_count(id);
                self.watching.unsubscribe_where(id, |topic| match (topic, &parent) {
                    (topic, Some(parent)) => matches_parent(topic, parent, &entity_code),
                    (Topic::Entity(entity), None) => entity.code == entity_code,
                    (Topic::Type(code) | Topic::Children { code, .. } | Topic::Tree { code, .. }, None) => {
                        *code == entity_code
                    }
                });
                if parent.is_none() && self.watching.subscription_count(id) < before {
                    out.push(Effect::Mirror(SubscriptionChange::Unsubscribed(id, Some(entity_code), None)));
                }
            }
            ClientMessage::Viewing { things } => {
                let things =
                    things.into_iter().map(|thing| EntityRef::new(thing.entity_code, thing.entity_id)).collect();
                self.inboxes.insert(id, Default::default());
                self.pending.push_back(PendingRequest::SetPresence(id, things));
            }
            ClientMessage::UnsubscribeAll => {
                self.watching.unsubscribe_where(id, |_| true);
                out.push(Effect::Mirror(SubscriptionChange::Unsubscribed(id, None, None)));
            }
            ClientMessage::Resume { epoch, cursor } => {
                let from = cursor.parse::<FeedCursor>().ok().filter(|c| c.epoch.to_string() == epoch);
                self.catch_up(id, from, CatchUpContinuation::Resumed, out);
            }
            ClientMessage::Ping => self.send(id, &ServerMessage::Pong { cursor: self.cursor().to_string() }, out),
            // The socket's own business.
            ClientMessage::Auth { .. } | ClientMessage::TokenRefresh { .. } => {}
        }
    }

    fn subscribe(&mut self, id: ConnectionId, wanted: SubscribeRequest, out: &mut Vec<Effect>) {
        let more = wanted.entity_ids.as_ref().map_or(1, Vec::len);
        let most = self.limits.topics;
        if self.watching.subscription_count(id) + more > most {
            let message = format!("at most {most} in all: stop watching something first");
            return self.send(id, &ServerMessage::Error { message, code: "too_many_subscriptions".into() }, out);
        }
        self.register_topic(id, &wanted);
        self.inboxes.insert(id, Default::default());
        self.pending.push_back(PendingRequest::Subscribe(id, wanted));
    }

    fn register_topic(&mut self, id: ConnectionId, wanted: &SubscribeRequest) {
        // Made-up types are not entered anywhere.
        let known = |code: &EntityCode| self.access.has_type(code.as_str());
        if !known(&wanted.entity_code) {
            return;
        }
        match (&wanted.entity_ids, &wanted.parent) {
            (Some(ids), _) => self.watching.subscribe_entities(id, &wanted.entity_code, ids.iter().copied()),
            (None, Some(parent)) if parent.recursive => {
                self.watching.subscribe_tree(id, parent.entity_id, &wanted.entity_code);
            }
            (None, Some(parent)) if known(&parent.entity_code) => {
                self.watching.subscribe_children(id, &parent_of(parent), &wanted.entity_code);
            }
            (None, Some(_)) => {}
            (None, None) => self.watching.subscribe_type(id, &wanted.entity_code),
        }
    }

    fn catch_up(
        &mut self,
        id: ConnectionId,
        from: Option<FeedCursor>,
        then: CatchUpContinuation,
        out: &mut Vec<Effect>,
    ) {
        let present = self.cursor();
        let known = from.filter(|from| {
            let old = from.snapshot.xmin.saturating_add(ACCESS_CHANGE_WINDOW_XIDS) < present.snapshot.xmin;
            let ahead = from.snapshot.xmin > present.snapshot.xmax.saturating_add(ACCESS_CHANGE_WINDOW_XIDS);
            from.epoch == present.epoch && !old && !ahead
        });
        let Some(from) = known else {
            self.inboxes.entry(id).or_default();
            return self.finish_catch_up(id, false, then, out);
        };
        let person = self.watching.person(id).filter(|_| matches!(then, CatchUpContinuation::Resumed));
        self.inboxes.entry(id).or_default();
        // Fetched after all that has been told: nothing lies between. What ran out meanwhile wrote nothing.
        if person.is_none() && from.snapshot.covers(&present.snapshot) {
            return self.finish_catch_up(id, true, then, out);
        }
        let by_parent = self.watching.types_subscribed_by_parent();
        self.catch_up_continuations.insert(id, then);
        self.catch_up_queue.push_back(CatchUpRequest {
            connection: id,
            person,
            from,
            until: present.snapshot,
            by_parent,
            attempts: 0,
        });
    }

    fn finish_catch_up(&mut self, id: ConnectionId, recovered: bool, then: CatchUpContinuation, out: &mut Vec<Effect>) {
        let resumed = ServerMessage::Resumed { recovered, cursor: self.cursor().to_string() };
        match then {
            CatchUpContinuation::Resumed => self.send(id, &resumed, out),
            CatchUpContinuation::Subscribed(subscribed, _) => {
                if !recovered {
                    self.send(id, &resumed, out);
                }
                // Comes after what it promises: all that has changed since.
                self.send(id, &subscribed, out);
            }
        }
        self.drain_inbox(id, out);
    }

    /// What a client that catches up waits for.
    pub(crate) fn take_catch_up(&mut self, id: ConnectionId) -> Option<CatchUpContinuation> {
        self.catch_up_continuations.remove(&id).filter(|_| self.inboxes.contains_key(&id))
    }

    pub(crate) fn clear_catch_ups(&mut self) {
        self.catch_up_continuations.clear();
    }

    /// Grants that have run out are a change of access that nobody wrote.
    pub(crate) fn enqueue_expired_grants(&mut self, now: i64) {
        let clock = now + self.clock_offset_ms;
        if self.access.next_end().is_some_and(|end| end <= clock) {
            let persons = self.access.expired_between(self.expired_until, clock);
            self.expired_until = clock;
            self.access.advance_expiry(clock);
            self.pending.push_back(PendingRequest::GrantsExpired(persons));
        }
    }

    /// What must be known before a job can be done.
    pub(crate) fn lookups_for(&self, job: &PendingRequest) -> LookupRequest {
        match job {
            PendingRequest::Handshake(id) => {
                let person = self.watching.person(*id);
                let unknown =
                    person.filter(|person| !self.access.has_person(*person) && !self.requested.people.contains(person));
                LookupRequest { people: unknown.into_iter().collect(), ..LookupRequest::default() }
            }
            PendingRequest::Subscribe(id, wanted) if self.watching.person(*id).is_some() => {
                let mut needs = match (&wanted.entity_ids, &wanted.parent) {
                    (Some(ids), _) => self.lookups_for_entities(ids.iter().copied().collect()),
                    (None, Some(parent)) => self.lookups_for_entities(BTreeSet::from([parent.entity_id])),
                    (None, None) => LookupRequest::default(),
                };
                needs.types |= !self.access.has_type(wanted.entity_code.as_str()) && !self.requested.types;
                needs
            }
            PendingRequest::Subscribe(..) => LookupRequest::default(),
            PendingRequest::SetPresence(_, things) => {
                self.lookups_for_entities(things.iter().map(|thing| thing.id).collect())
            }
            PendingRequest::CatchUpReady(id, missed, _) => {
                let mut needs = self.lookups_for_rows(&missed.rows);
                needs.reaches.extend(self.missing_ancestor_sets(AclCache::ancestor_sets_of(&missed.access)));
                if self.is_access_affected_by(*id, missed) {
                    let person = self.watching.person(*id).into_iter().collect();
                    needs.merge(self.lookups_for_access(&person, Some(*id), &[]));
                }
                needs
            }
            PendingRequest::GrantsExpired(persons) => self.lookups_for_access(persons, None, &[]),
        }
    }

    /// Whether what a client missed may have changed its view.
    fn is_access_affected_by(&self, id: ConnectionId, missed: &CatchUpBatch) -> bool {
        let Some(person) = self.watching.person(id) else { return false };
        missed.grant_expired
            || self.access.affected_by(&missed.access).notify.contains(&person)
            || self.watching.watchers_of_linked(&missed.rows).contains(&person)
            || self.watching.tree_watchers(self.access.changed_ancestors(&missed.access)).contains(&person)
    }

    /// Does what can be done.
    pub(crate) fn execute(&mut self, job: PendingRequest, now: i64, out: &mut Vec<Effect>) {
        match job {
            PendingRequest::Handshake(id) => self.send_hello(id, out),
            PendingRequest::Subscribe(id, wanted) => self.complete_subscribe(id, wanted, now, out),
            PendingRequest::SetPresence(id, things) => {
                self.on_viewing(id, things, now, out);
                self.drain_inbox(id, out);
            }
            PendingRequest::CatchUpReady(id, missed, then) => {
                self.catch_ups_ready = self.catch_ups_ready.saturating_sub(1);
                self.deliver_catch_up(id, missed, then, now, out);
            }
            PendingRequest::GrantsExpired(persons) => {
                self.apply_access_update(&AccessUpdate::full_revalidation(persons, None), now, out);
            }
        }
    }

    fn send_hello(&mut self, id: ConnectionId, out: &mut Vec<Effect>) {
        let Some(person) = self.watching.person(id) else { return };
        if !self.access.has_person(person) {
            let holdings = self.facts.people.get(&person).cloned().unwrap_or_default();
            self.access.set_grants(person, holdings, self.expired_until);
        }
        let cursor = self.cursor();
        let hello = ServerMessage::Hello {
            protocol: PROTOCOL_VERSION,
            epoch: cursor.epoch.to_string(),
            cursor: cursor.to_string(),
            heartbeat_seconds: HEARTBEAT_INTERVAL_SECONDS,
        };
        self.send(id, &hello, out);
        out.push(Effect::Mirror(SubscriptionChange::Opened(id, person)));
        self.drain_inbox(id, out);
    }

    fn complete_subscribe(&mut self, id: ConnectionId, wanted: SubscribeRequest, now: i64, out: &mut Vec<Effect>) {
        let Some(person) = self.watching.person(id) else { return };
        let clock = now + self.clock_offset_ms;
        let code = &wanted.entity_code;
        let known = self.access.has_type(code.as_str());
        // A type that has come since it was asked for.
        self.register_topic(id, &wanted);
        let (count, refused, mirrored) = match (&wanted.entity_ids, &wanted.parent) {
            (Some(ids), _) => {
                let sees =
                    |of: &&uuid::Uuid| known && self.can_view(person, &EntityRef::new(code.clone(), **of), clock);
                let (seen, hidden): (Vec<_>, Vec<_>) = ids.iter().partition(sees);
                self.watching.set_denied(id, code, seen.iter().copied(), false);
                self.watching.set_denied(id, code, hidden.iter().copied(), true);
                (seen.len(), hidden.len(), seen)
            }
            (None, Some(parent)) => {
                // The topic of what is refused goes; each change would be checked anyway.
                let seen = known && self.can_view(person, &parent_of(parent), clock);
                if !seen {
                    self.watching.unsubscribe_where(id, |topic| matches_parent(topic, parent, code));
                }
                (usize::from(seen), usize::from(!seen), Vec::new())
            }
            (None, None) => (usize::from(known), usize::from(!known), vec![EVERY_INSTANCE; usize::from(known)]),
        };
        if !mirrored.is_empty() {
            out.push(Effect::Mirror(SubscriptionChange::Subscribed(id, code.clone(), mirrored)));
        }
        let subscribed = ServerMessage::Subscribed { count, entity_code: code.clone(), refused };
        match &wanted.since {
            Some(since) => {
                self.catch_up(id, since.parse().ok(), CatchUpContinuation::Subscribed(subscribed, code.clone()), out)
            }
            None => {
                self.send(id, &subscribed, out);
                self.drain_inbox(id, out);
            }
        }
    }

    fn deliver_catch_up(
        &mut self,
        id: ConnectionId,
        missed: CatchUpBatch,
        then: CatchUpContinuation,
        now: i64,
        out: &mut Vec<Effect>,
    ) {
        let Some(person) = self.watching.person(id) else { return };
        // Of what was purged before it was noted where it had been it is not known any more who saw it.
        let lost = |row: &ChangeLogEntry| {
            row.ancestor_set.is_none() && !row.is_access_change() && row.client_action() == Action::Delete
        };
        if !missed.complete || missed.rows.len() > self.limits.max_catch_up_rows || missed.rows.iter().any(lost) {
            return self.finish_catch_up(id, false, then, out);
        }
        let rows: Vec<ChangeLogEntry> = match &then {
            CatchUpContinuation::Resumed => missed.rows.clone(),
            // The others of its topics have been told as they came.
            CatchUpContinuation::Subscribed(_, code) => {
                missed.rows.iter().filter(|row| row.code == *code).cloned().collect()
            }
        };
        self.deliver(&rows, Some(id), now, out);
        if self.is_access_affected_by(id, &missed) {
            self.apply_access_update(&AccessUpdate::full_revalidation(BTreeSet::from([person]), Some(id)), now, out);
        }
        self.finish_catch_up(id, true, then, out);
    }
}
