//! Client requests: subscribe, unsubscribe, set presence, resume.
//!
//! Invariant: the messages of one client are answered in their order. A subscription is active from
//! the moment of its request; each change is authorized for its receiver in any case, so no change
//! is lost in between.

use crate::acl_cache::AclCache;
use crate::change_feed::ChangeFeed;
use crate::event::{Effect, SubscriptionChange};
use crate::fanout::AccessUpdate;
use crate::lookups::{CatchUpRequest, LookupRequest};
use crate::pending::{CatchUpContinuation, PendingRequest, Recovery};
use crate::topic::{ConnectionId, EntityAccess, Topic};
use pmo_domain::change_log::{CatchUpBatch, ChangeLogEntry, ReadPosition, check_resume};
use pmo_domain::protocol::{
    ClientMessage, HEARTBEAT_INTERVAL_SECONDS, PROTOCOL_VERSION, ParentScope, ServerMessage, SubscribeRequest,
};
use pmo_domain::{EVERY_INSTANCE, EntityCode, EntityRef, FeedCursor, UnixMillis};
use std::collections::BTreeSet;

fn parent_of(scope: &ParentScope) -> EntityRef {
    EntityRef::new(scope.entity_code.clone(), scope.entity_id)
}

/// Returns whether SUBSCRIBE with this parent and type would subscribe to `topic`.
fn matches_parent(topic: &Topic, scope: &ParentScope, child_code: &EntityCode) -> bool {
    match topic {
        Topic::Tree { root, code } => scope.recursive && *root == scope.entity_id && code == child_code,
        Topic::Children { parent, code } => !scope.recursive && *parent == parent_of(scope) && code == child_code,
        _ => false,
    }
}

impl ChangeFeed {
    /// Processes the next message of a client.
    pub(crate) fn handle_message(&mut self, id: ConnectionId, message: ClientMessage, out: &mut Vec<Effect>) {
        if self.subscription_index.person(id).is_none() {
            return;
        }
        match message {
            ClientMessage::Subscribe(request) => self.subscribe(id, request, out),
            ClientMessage::Unsubscribe { entity_code, entity_ids: Some(ids), .. } => {
                let removed = self.subscription_index.unsubscribe_entities(id, &entity_code, &ids);
                if !removed.is_empty() {
                    out.push(Effect::Mirror(SubscriptionChange::Unsubscribed(id, Some(entity_code), Some(removed))));
                }
            }
            ClientMessage::Unsubscribe { entity_code, entity_ids: None, parent } => {
                let before = self.subscription_index.subscription_count(id);
                self.subscription_index.unsubscribe_where(id, |topic| match (topic, &parent) {
                    (topic, Some(scope)) => matches_parent(topic, scope, &entity_code),
                    (Topic::Entity(entity), None) => entity.code == entity_code,
                    (Topic::Type(code) | Topic::Children { code, .. } | Topic::Tree { code, .. }, None) => {
                        *code == entity_code
                    }
                });
                if parent.is_none() && self.subscription_index.subscription_count(id) < before {
                    out.push(Effect::Mirror(SubscriptionChange::Unsubscribed(id, Some(entity_code), None)));
                }
            }
            ClientMessage::Viewing { entities } => {
                let entities = entities.into_iter().map(|e| EntityRef::new(e.entity_code, e.entity_id)).collect();
                self.inboxes.insert(id, Default::default());
                self.pending.push_back(PendingRequest::SetPresence(id, entities));
            }
            ClientMessage::UnsubscribeAll => {
                self.subscription_index.unsubscribe_where(id, |_| true);
                out.push(Effect::Mirror(SubscriptionChange::Unsubscribed(id, None, None)));
            }
            ClientMessage::Resume { epoch, cursor } => {
                let from = cursor.parse::<FeedCursor>().ok().filter(|c| c.epoch.to_string() == epoch);
                self.catch_up(id, from, CatchUpContinuation::Resumed, out);
            }
            ClientMessage::Ping => self.send(id, &ServerMessage::Pong { cursor: self.cursor().to_string() }, out),
            // `Session` handles AUTH and TOKEN_REFRESH; neither message arrives here.
            ClientMessage::Auth { .. } | ClientMessage::TokenRefresh { .. } => {}
        }
    }

    fn subscribe(&mut self, id: ConnectionId, request: SubscribeRequest, out: &mut Vec<Effect>) {
        let added = request.entity_ids.as_ref().map_or(1, Vec::len);
        let max = self.limits.topics;
        if self.subscription_index.subscription_count(id) + added > max {
            let message = format!("at most {max} subscriptions per connection: unsubscribe first");
            return self.send(id, &ServerMessage::Error { message, code: "too_many_subscriptions".into() }, out);
        }
        self.register_topic(id, &request);
        self.inboxes.insert(id, Default::default());
        self.pending.push_back(PendingRequest::Subscribe(id, request));
    }

    /// Adds the subscriptions of a request to the index; types that do not exist are ignored.
    fn register_topic(&mut self, id: ConnectionId, request: &SubscribeRequest) {
        let exists = |code: &EntityCode| self.acl_cache.has_type(code.as_str());
        if !exists(&request.entity_code) {
            return;
        }
        match (&request.entity_ids, &request.parent) {
            (Some(ids), _) => self.subscription_index.subscribe_entities(id, &request.entity_code, ids.iter().copied()),
            (None, Some(parent)) if parent.recursive => {
                self.subscription_index.subscribe_tree(id, parent.entity_id, &request.entity_code);
            }
            (None, Some(parent)) if exists(&parent.entity_code) => {
                self.subscription_index.subscribe_children(id, &parent_of(parent), &request.entity_code);
            }
            (None, Some(_)) => {}
            (None, None) => self.subscription_index.subscribe_type(id, &request.entity_code),
        }
    }

    /// Requests the changes since `from`, or replies at once if that is impossible or not needed.
    fn catch_up(
        &mut self,
        id: ConnectionId,
        from: Option<FeedCursor>,
        then: CatchUpContinuation,
        out: &mut Vec<Effect>,
    ) {
        let present = self.cursor();
        // Other pods may be ahead of this one.
        let resumable = from.filter(|from| check_resume(from, &present, ReadPosition::Delayed).is_ok());
        let Some(from) = resumable else {
            self.inboxes.entry(id).or_default();
            return self.finish_catch_up(id, Recovery::Impossible, then, out);
        };
        let person = self.subscription_index.person(id).filter(|_| matches!(then, CatchUpContinuation::Resumed));
        self.inboxes.entry(id).or_default();
        // The client has everything that was delivered so far. With RESUME an expired grant must
        // still be detected, because it is not in the log.
        if person.is_none() && from.snapshot.covers(&present.snapshot) {
            return self.finish_catch_up(id, Recovery::Complete, then, out);
        }
        let by_parent = self.subscription_index.types_subscribed_by_parent();
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

    /// Sends the concluding reply and continues with the messages of the client.
    fn finish_catch_up(
        &mut self,
        id: ConnectionId,
        recovery: Recovery,
        then: CatchUpContinuation,
        out: &mut Vec<Effect>,
    ) {
        let recovered = recovery == Recovery::Complete;
        let resumed = ServerMessage::Resumed { recovered, cursor: self.cursor().to_string() };
        match then {
            CatchUpContinuation::Resumed => self.send(id, &resumed, out),
            CatchUpContinuation::Subscribed(subscribed, _) => {
                if !recovered {
                    self.send(id, &resumed, out);
                }
                // SUBSCRIBED follows the changes, because it confirms that all of them have been
                // sent.
                self.send(id, &subscribed, out);
            }
        }
        self.drain_inbox(id, out);
    }

    /// Removes and returns the continuation of a catch-up, if the client still waits for it.
    pub(crate) fn take_catch_up(&mut self, id: ConnectionId) -> Option<CatchUpContinuation> {
        self.catch_up_continuations.remove(&id).filter(|_| self.inboxes.contains_key(&id))
    }

    /// Removes all continuations.
    pub(crate) fn clear_catch_ups(&mut self) {
        self.catch_up_continuations.clear();
    }

    /// Enqueues the grants that have expired: an access change without a row in the log.
    pub(crate) fn enqueue_expired_grants(&mut self, now: UnixMillis) {
        let db_now = self.db_now(now);
        if self.acl_cache.next_expiry().is_some_and(|expiry| expiry <= db_now) {
            let persons = self.acl_cache.expired_between(self.expired_until, db_now);
            self.expired_until = db_now;
            self.acl_cache.advance_expiry(db_now);
            self.pending.push_back(PendingRequest::GrantsExpired(persons));
        }
    }

    /// Returns the lookups that a pending request needs before it can be executed.
    pub(crate) fn lookups_for(&self, request: &PendingRequest) -> LookupRequest {
        match request {
            PendingRequest::Handshake(id) => {
                let person = self.subscription_index.person(*id);
                let missing = person
                    .filter(|person| !self.acl_cache.has_person(*person) && !self.requested.people.contains(person));
                LookupRequest { people: missing.into_iter().collect(), ..LookupRequest::default() }
            }
            PendingRequest::Subscribe(id, subscribe) if self.subscription_index.person(*id).is_some() => {
                let mut lookups = match (&subscribe.entity_ids, &subscribe.parent) {
                    (Some(ids), _) => self.lookups_for_entities(ids.iter().copied().collect()),
                    (None, Some(parent)) => self.lookups_for_entities(BTreeSet::from([parent.entity_id])),
                    (None, None) => LookupRequest::default(),
                };
                lookups.types |= !self.acl_cache.has_type(subscribe.entity_code.as_str()) && !self.requested.types;
                lookups
            }
            PendingRequest::Subscribe(..) => LookupRequest::default(),
            PendingRequest::SetPresence(_, entities) => {
                self.lookups_for_entities(entities.iter().map(|entity| entity.id).collect())
            }
            PendingRequest::CatchUpReady(id, batch, _) => {
                let mut lookups = self.lookups_for_rows(&batch.rows);
                lookups.ancestor_sets.extend(self.missing_ancestor_sets(AclCache::ancestor_sets_of(&batch.access)));
                if self.is_access_affected_by(*id, batch) {
                    let person = self.subscription_index.person(*id).into_iter().collect();
                    lookups.merge(self.lookups_for_access(&person, Some(*id), &[]));
                }
                lookups
            }
            PendingRequest::GrantsExpired(persons) => self.lookups_for_access(persons, None, &[]),
        }
    }

    /// Returns whether missed changes may have changed what the user of a connection can see.
    fn is_access_affected_by(&self, id: ConnectionId, batch: &CatchUpBatch) -> bool {
        let Some(person) = self.subscription_index.person(id) else { return false };
        batch.grant_expired
            || self.acl_cache.affected_by(&batch.access).notify.contains(&person)
            || self.subscription_index.subscribers_of_linked(&batch.rows).contains(&person)
            || self
                .subscription_index
                .tree_subscribers(self.acl_cache.changed_ancestors(&batch.access))
                .contains(&person)
    }

    /// Executes a pending request; its lookups must be complete.
    pub(crate) fn execute(&mut self, request: PendingRequest, now: UnixMillis, out: &mut Vec<Effect>) {
        match request {
            PendingRequest::Handshake(id) => self.send_hello(id, out),
            PendingRequest::Subscribe(id, subscribe) => self.complete_subscribe(id, subscribe, now, out),
            PendingRequest::SetPresence(id, entities) => {
                self.on_viewing(id, entities, now, out);
                self.drain_inbox(id, out);
            }
            PendingRequest::CatchUpReady(id, batch, then) => {
                self.catch_ups_ready = self.catch_ups_ready.saturating_sub(1);
                self.deliver_catch_up(id, batch, then, now, out);
            }
            PendingRequest::GrantsExpired(persons) => {
                self.apply_access_update(&AccessUpdate::full_revalidation(persons, None), now, out);
            }
        }
    }

    /// Stores the grants of the user and sends HELLO.
    fn send_hello(&mut self, id: ConnectionId, out: &mut Vec<Effect>) {
        let Some(person) = self.subscription_index.person(id) else { return };
        if !self.acl_cache.has_person(person) {
            let grants = self.lookup_result.people.get(&person).cloned().unwrap_or_default();
            self.acl_cache.set_grants(person, grants, self.expired_until);
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

    /// Marks denied entities and sends SUBSCRIBED, after a catch-up if the request has a cursor.
    fn complete_subscribe(
        &mut self,
        id: ConnectionId,
        request: SubscribeRequest,
        now: UnixMillis,
        out: &mut Vec<Effect>,
    ) {
        let Some(person) = self.subscription_index.person(id) else { return };
        let db_now = self.db_now(now);
        let code = &request.entity_code;
        let type_exists = self.acl_cache.has_type(code.as_str());
        // Register again: the type may have been created since the request.
        self.register_topic(id, &request);
        let (count, denied, mirrored) = match (&request.entity_ids, &request.parent) {
            (Some(ids), _) => {
                let is_visible = |id: &&uuid::Uuid| {
                    type_exists && self.can_view(person, &EntityRef::new(code.clone(), **id), db_now)
                };
                let (visible, hidden): (Vec<_>, Vec<_>) = ids.iter().partition(is_visible);
                self.subscription_index.set_access(id, code, visible.iter().copied(), EntityAccess::Allowed);
                self.subscription_index.set_access(id, code, hidden.iter().copied(), EntityAccess::Denied);
                (visible.len(), hidden.len(), visible)
            }
            (None, Some(parent)) => {
                // Remove the topic of a denied parent. Authorization does not depend on this: each
                // change is checked.
                let visible = type_exists && self.can_view(person, &parent_of(parent), db_now);
                if !visible {
                    self.subscription_index.unsubscribe_where(id, |topic| matches_parent(topic, parent, code));
                }
                (usize::from(visible), usize::from(!visible), Vec::new())
            }
            (None, None) => {
                (usize::from(type_exists), usize::from(!type_exists), vec![EVERY_INSTANCE; usize::from(type_exists)])
            }
        };
        if !mirrored.is_empty() {
            out.push(Effect::Mirror(SubscriptionChange::Subscribed(id, code.clone(), mirrored)));
        }
        let subscribed = ServerMessage::Subscribed { count, entity_code: code.clone(), refused: denied };
        match &request.since {
            Some(since) => {
                self.catch_up(id, since.parse().ok(), CatchUpContinuation::Subscribed(subscribed, code.clone()), out)
            }
            None => {
                self.send(id, &subscribed, out);
                self.drain_inbox(id, out);
            }
        }
    }

    /// Sends missed changes and concludes the catch-up.
    fn deliver_catch_up(
        &mut self,
        id: ConnectionId,
        batch: CatchUpBatch,
        then: CatchUpContinuation,
        now: UnixMillis,
        out: &mut Vec<Effect>,
    ) {
        let Some(person) = self.subscription_index.person(id) else { return };
        if !batch.is_recoverable(self.limits.max_catch_up_rows, |_| true) {
            return self.finish_catch_up(id, Recovery::Impossible, then, out);
        }
        let rows: Vec<ChangeLogEntry> = match &then {
            CatchUpContinuation::Resumed => batch.rows.clone(),
            // Changes of other types were delivered when they happened.
            CatchUpContinuation::Subscribed(_, code) => {
                batch.rows.iter().filter(|row| row.code == *code).cloned().collect()
            }
        };
        self.deliver(&rows, Some(id), now, out);
        if self.is_access_affected_by(id, &batch) {
            self.apply_access_update(&AccessUpdate::full_revalidation(BTreeSet::from([person]), Some(id)), now, out);
        }
        self.finish_catch_up(id, Recovery::Complete, then, out);
    }
}
