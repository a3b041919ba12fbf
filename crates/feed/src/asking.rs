//! What clients ask for: to watch, to stop watching, to learn what they missed. A client's messages are answered in their order; what is watched
//! is watched from the moment it was asked for, and each change is checked for its receiver anyway, so that nothing falls between.

use crate::access::Access;
use crate::facts::{Missed, Needs, Past};
use crate::feed::{Effect, Feed, Mirror};
use crate::telling::Shift;
use crate::watching::{ConnectionId, Topic};
use pmo_domain::change_log::ChangeLogEntry;
use pmo_domain::cursor::ACCESS_CHANGE_WINDOW_XIDS;
use pmo_domain::protocol::{
    Action, ClientMessage, HEARTBEAT_INTERVAL_SECONDS, PROTOCOL_VERSION, ParentScope, ServerMessage, SubscribeRequest,
};
use pmo_domain::{EVERY_INSTANCE, EntityCode, EntityRef, FeedCursor, PersonId};
use std::collections::BTreeSet;

/// Something that waits for facts.
pub(crate) enum Job {
    /// A new socket waits for its greeting.
    Open(ConnectionId),
    /// A client wants to watch.
    Subscribe(ConnectionId, SubscribeRequest),
    /// A client looks at these things.
    Look(ConnectionId, Vec<EntityRef>),
    /// What a client missed is there.
    Missed(ConnectionId, Missed, Then),
    /// Grants of these people have run out.
    Ended(BTreeSet<PersonId>),
}

impl Job {
    /// Whose it is.
    pub(crate) fn connection(&self) -> Option<ConnectionId> {
        match self {
            Self::Open(id) | Self::Subscribe(id, _) | Self::Look(id, _) | Self::Missed(id, ..) => Some(*id),
            Self::Ended(_) => None,
        }
    }
}

/// What a client that catches up is told at the end.
#[derive(Clone, Debug)]
pub(crate) enum Then {
    Resumed,
    Subscribed(ServerMessage, EntityCode),
}

fn parent_of(parent: &ParentScope) -> EntityRef {
    EntityRef::new(parent.entity_code.clone(), parent.entity_id)
}

/// Whether a topic is what SUBSCRIBE with this parent and type watches.
fn is_below(topic: &Topic, parent: &ParentScope, of: &EntityCode) -> bool {
    match topic {
        Topic::Tree { root, code } => parent.recursive && *root == parent.entity_id && code == of,
        Topic::Children { parent: above, code } => !parent.recursive && *above == parent_of(parent) && code == of,
        _ => false,
    }
}

impl Feed {
    /// A message whose turn it is.
    pub(crate) fn take(&mut self, id: ConnectionId, message: ClientMessage, out: &mut Vec<Effect>) {
        if self.watching.person(id).is_none() {
            return;
        }
        match message {
            ClientMessage::Subscribe(wanted) => self.subscribe(id, wanted, out),
            ClientMessage::Unsubscribe { entity_code, entity_ids: Some(ids), .. } => {
                let gone = self.watching.unwatch_things(id, &entity_code, &ids);
                if !gone.is_empty() {
                    out.push(Effect::Mirror(Mirror::Unwatched(id, Some(entity_code), Some(gone))));
                }
            }
            ClientMessage::Unsubscribe { entity_code, entity_ids: None, parent } => {
                let before = self.watching.watched(id);
                self.watching.unwatch(id, |topic| match (topic, &parent) {
                    (topic, Some(parent)) => is_below(topic, parent, &entity_code),
                    (Topic::Entity(entity), None) => entity.code == entity_code,
                    (Topic::Type(code) | Topic::Children { code, .. } | Topic::Tree { code, .. }, None) => {
                        *code == entity_code
                    }
                });
                if parent.is_none() && self.watching.watched(id) < before {
                    out.push(Effect::Mirror(Mirror::Unwatched(id, Some(entity_code), None)));
                }
            }
            ClientMessage::Viewing { things } => {
                let things =
                    things.into_iter().map(|thing| EntityRef::new(thing.entity_code, thing.entity_id)).collect();
                self.busy.insert(id, Default::default());
                self.jobs.push_back(Job::Look(id, things));
            }
            ClientMessage::UnsubscribeAll => {
                self.watching.unwatch(id, |_| true);
                out.push(Effect::Mirror(Mirror::Unwatched(id, None, None)));
            }
            ClientMessage::Resume { epoch, cursor } => {
                let from = cursor.parse::<FeedCursor>().ok().filter(|c| c.epoch.to_string() == epoch);
                self.catch_up(id, from, Then::Resumed, out);
            }
            ClientMessage::Ping => self.send(id, &ServerMessage::Pong { cursor: self.cursor().to_string() }, out),
            // The socket's own business.
            ClientMessage::Auth { .. } | ClientMessage::TokenRefresh { .. } => {}
        }
    }

    fn subscribe(&mut self, id: ConnectionId, wanted: SubscribeRequest, out: &mut Vec<Effect>) {
        let more = wanted.entity_ids.as_ref().map_or(1, Vec::len);
        let most = self.limits.topics;
        if self.watching.watched(id) + more > most {
            let message = format!("at most {most} in all: stop watching something first");
            return self.send(id, &ServerMessage::Error { message, code: "too_many_subscriptions".into() }, out);
        }
        self.watch(id, &wanted);
        self.busy.insert(id, Default::default());
        self.jobs.push_back(Job::Subscribe(id, wanted));
    }

    fn watch(&mut self, id: ConnectionId, wanted: &SubscribeRequest) {
        // Made-up types are not entered anywhere.
        let known = |code: &EntityCode| self.access.knows_type(code.as_str());
        if !known(&wanted.entity_code) {
            return;
        }
        match (&wanted.entity_ids, &wanted.parent) {
            (Some(ids), _) => self.watching.watch_things(id, &wanted.entity_code, ids.iter().copied()),
            (None, Some(parent)) if parent.recursive => {
                self.watching.watch_tree(id, parent.entity_id, &wanted.entity_code);
            }
            (None, Some(parent)) if known(&parent.entity_code) => {
                self.watching.watch_children(id, &parent_of(parent), &wanted.entity_code);
            }
            (None, Some(_)) => {}
            (None, None) => self.watching.watch_type(id, &wanted.entity_code),
        }
    }

    fn catch_up(&mut self, id: ConnectionId, from: Option<FeedCursor>, then: Then, out: &mut Vec<Effect>) {
        let present = self.cursor();
        let known = from.filter(|from| {
            let old = from.snapshot.xmin.saturating_add(ACCESS_CHANGE_WINDOW_XIDS) < present.snapshot.xmin;
            let ahead = from.snapshot.xmin > present.snapshot.xmax.saturating_add(ACCESS_CHANGE_WINDOW_XIDS);
            from.epoch == present.epoch && !old && !ahead
        });
        let Some(from) = known else {
            self.busy.entry(id).or_default();
            return self.caught_up(id, false, then, out);
        };
        let person = self.watching.person(id).filter(|_| matches!(then, Then::Resumed));
        self.busy.entry(id).or_default();
        // Fetched after all that has been told: nothing lies between. What ran out meanwhile wrote nothing.
        if person.is_none() && from.snapshot.covers(&present.snapshot) {
            return self.caught_up(id, true, then, out);
        }
        let by_parent = self.watching.by_parent();
        self.returning.insert(id, then);
        self.pasts.push_back(Past { connection: id, person, from, until: present.snapshot, by_parent, tries: 0 });
    }

    fn caught_up(&mut self, id: ConnectionId, recovered: bool, then: Then, out: &mut Vec<Effect>) {
        let resumed = ServerMessage::Resumed { recovered, cursor: self.cursor().to_string() };
        match then {
            Then::Resumed => self.send(id, &resumed, out),
            Then::Subscribed(subscribed, _) => {
                if !recovered {
                    self.send(id, &resumed, out);
                }
                // Comes after what it promises: all that has changed since.
                self.send(id, &subscribed, out);
            }
        }
        self.done(id, out);
    }

    /// What a client that catches up waits for.
    pub(crate) fn catches_up(&mut self, id: ConnectionId) -> Option<Then> {
        self.returning.remove(&id).filter(|_| self.busy.contains_key(&id))
    }

    pub(crate) fn forget_awaited(&mut self) {
        self.returning.clear();
    }

    /// Grants that have run out are a change of access that nobody wrote.
    pub(crate) fn note_ended(&mut self, now: i64) {
        let clock = now + self.ahead;
        if self.access.next_end().is_some_and(|end| end <= clock) {
            let persons = self.access.ended(self.ended, clock);
            self.ended = clock;
            self.access.count_ends(clock);
            self.jobs.push_back(Job::Ended(persons));
        }
    }

    /// What must be known before a job can be done.
    pub(crate) fn needs_of_job(&self, job: &Job) -> Needs {
        match job {
            Job::Open(id) => {
                let person = self.watching.person(*id);
                let unknown =
                    person.filter(|person| !self.access.knows(*person) && !self.asked.people.contains(person));
                Needs { people: unknown.into_iter().collect(), ..Needs::default() }
            }
            Job::Subscribe(id, wanted) if self.watching.person(*id).is_some() => {
                let mut needs = match (&wanted.entity_ids, &wanted.parent) {
                    (Some(ids), _) => self.needs_of_things(ids.iter().copied().collect()),
                    (None, Some(parent)) => self.needs_of_things(BTreeSet::from([parent.entity_id])),
                    (None, None) => Needs::default(),
                };
                needs.types |= !self.access.knows_type(wanted.entity_code.as_str()) && !self.asked.types;
                needs
            }
            Job::Subscribe(..) => Needs::default(),
            Job::Look(_, things) => self.needs_of_things(things.iter().map(|thing| thing.id).collect()),
            Job::Missed(id, missed, _) => {
                let mut needs = self.needs_of_rows(&missed.rows);
                needs.reaches.extend(self.unplaced(Access::moved(&missed.access)));
                if self.swept_by(*id, missed) {
                    let person = self.watching.person(*id).into_iter().collect();
                    needs.add(self.needs_of_access(&person, Some(*id), &[]));
                }
                needs
            }
            Job::Ended(persons) => self.needs_of_access(persons, None, &[]),
        }
    }

    /// Whether what a client missed may have changed its view.
    fn swept_by(&self, id: ConnectionId, missed: &Missed) -> bool {
        let Some(person) = self.watching.person(id) else { return false };
        missed.ran_out
            || self.access.concerned(&missed.access).told.contains(&person)
            || self.watching.tied(&missed.rows).contains(&person)
            || self.watching.trees_at(self.access.ways(&missed.access)).contains(&person)
    }

    /// Does what can be done.
    pub(crate) fn do_job(&mut self, job: Job, now: i64, out: &mut Vec<Effect>) {
        match job {
            Job::Open(id) => self.open(id, out),
            Job::Subscribe(id, wanted) => self.subscribed(id, wanted, now, out),
            Job::Look(id, things) => {
                self.looks(id, things, now, out);
                self.done(id, out);
            }
            Job::Missed(id, missed, then) => {
                self.missed_waiting = self.missed_waiting.saturating_sub(1);
                self.tell_missed(id, missed, then, now, out);
            }
            Job::Ended(persons) => {
                self.change_access(&Shift::unknown(persons, None), now, out);
            }
        }
    }

    fn open(&mut self, id: ConnectionId, out: &mut Vec<Effect>) {
        let Some(person) = self.watching.person(id) else { return };
        if !self.access.knows(person) {
            let holdings = self.facts.people.get(&person).cloned().unwrap_or_default();
            self.access.hold(person, holdings, self.ended);
        }
        let cursor = self.cursor();
        let hello = ServerMessage::Hello {
            protocol: PROTOCOL_VERSION,
            epoch: cursor.epoch.to_string(),
            cursor: cursor.to_string(),
            heartbeat_seconds: HEARTBEAT_INTERVAL_SECONDS,
        };
        self.send(id, &hello, out);
        out.push(Effect::Mirror(Mirror::Opened(id, person)));
        self.done(id, out);
    }

    fn subscribed(&mut self, id: ConnectionId, wanted: SubscribeRequest, now: i64, out: &mut Vec<Effect>) {
        let Some(person) = self.watching.person(id) else { return };
        let clock = now + self.ahead;
        let code = &wanted.entity_code;
        let known = self.access.knows_type(code.as_str());
        // A type that has come since it was asked for.
        self.watch(id, &wanted);
        let (count, refused, mirrored) = match (&wanted.entity_ids, &wanted.parent) {
            (Some(ids), _) => {
                let sees = |of: &&uuid::Uuid| known && self.sees(person, &EntityRef::new(code.clone(), **of), clock);
                let (seen, hidden): (Vec<_>, Vec<_>) = ids.iter().partition(sees);
                self.watching.refuse(id, code, seen.iter().copied(), false);
                self.watching.refuse(id, code, hidden.iter().copied(), true);
                (seen.len(), hidden.len(), seen)
            }
            (None, Some(parent)) => {
                // The topic of what is refused goes; each change would be checked anyway.
                let seen = known && self.sees(person, &parent_of(parent), clock);
                if !seen {
                    self.watching.unwatch(id, |topic| is_below(topic, parent, code));
                }
                (usize::from(seen), usize::from(!seen), Vec::new())
            }
            (None, None) => (usize::from(known), usize::from(!known), vec![EVERY_INSTANCE; usize::from(known)]),
        };
        if !mirrored.is_empty() {
            out.push(Effect::Mirror(Mirror::Watched(id, code.clone(), mirrored)));
        }
        let subscribed = ServerMessage::Subscribed { count, entity_code: code.clone(), refused };
        match &wanted.since {
            Some(since) => self.catch_up(id, since.parse().ok(), Then::Subscribed(subscribed, code.clone()), out),
            None => {
                self.send(id, &subscribed, out);
                self.done(id, out);
            }
        }
    }

    fn tell_missed(&mut self, id: ConnectionId, missed: Missed, then: Then, now: i64, out: &mut Vec<Effect>) {
        let Some(person) = self.watching.person(id) else { return };
        // Of what was purged before it was noted where it had been it is not known any more who saw it.
        let lost = |row: &ChangeLogEntry| {
            row.ancestor_set.is_none() && !row.is_access_change() && row.client_action() == Action::Delete
        };
        if !missed.complete || missed.rows.len() > self.limits.missed_rows || missed.rows.iter().any(lost) {
            return self.caught_up(id, false, then, out);
        }
        let rows: Vec<ChangeLogEntry> = match &then {
            Then::Resumed => missed.rows.clone(),
            // The others of its topics have been told as they came.
            Then::Subscribed(_, code) => missed.rows.iter().filter(|row| row.code == *code).cloned().collect(),
        };
        self.deliver(&rows, Some(id), now, out);
        if self.swept_by(id, &missed) {
            self.change_access(&Shift::unknown(BTreeSet::from([person]), Some(id)), now, out);
        }
        self.caught_up(id, true, then, out);
    }
}
