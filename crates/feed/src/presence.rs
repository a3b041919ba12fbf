//! Who looks at what: told to those who look at the same, and to nobody else. Only what a person may see is looked at, so that nobody is told of somebody who may not
//! be there, nor learns of a thing that they don't see. Other pods say who looks there; what they say is forgotten when they fall silent.

use crate::outbound_queue::Frame;
use crate::state_machine::{ChangeFeed, Effect};
use crate::subscription_index::ConnectionId;
use pmo_domain::protocol::{PresentUser, ServerMessage};
use pmo_domain::{EntityRef, PersonId};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use uuid::Uuid;

/// Things that one socket looks at, at once: each of a browser's tabs looks at one.
pub(crate) const MAX_VIEWED: usize = 32;
/// People of one thing that are told.
const MAX_PRESENCE_PEOPLE: usize = 50;
/// Milliseconds after which a pod says again who looks there,
const ANNOUNCE_INTERVAL_MS: i64 = 45_000;
/// and after which a silent one is forgotten.
const POD_TIMEOUT_MS: i64 = 120_000;

/// Who looks at a thing on one pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodPresence {
    /// The pod.
    pub pod: Uuid,
    /// The thing.
    pub entity: EntityRef,
    /// Who.
    pub people: Vec<PresentUser>,
}

/// Who looks at what.
#[derive(Default)]
pub(crate) struct Presence {
    viewing: HashMap<ConnectionId, BTreeSet<EntityRef>>,
    local_viewers: HashMap<EntityRef, BTreeSet<ConnectionId>>,
    remote_viewers: HashMap<EntityRef, BTreeMap<Uuid, (Vec<PresentUser>, i64)>>,
    names: HashMap<PersonId, Arc<str>>,
    next_announce_at: i64,
}

impl Presence {
    pub(crate) fn set_name(&mut self, person: PersonId, name: Arc<str>) {
        self.names.insert(person, name);
    }

    /// A person is not here any more.
    pub(crate) fn remove_person(&mut self, person: PersonId) {
        self.names.remove(&person);
    }

    /// What a socket looks at.
    pub(crate) fn viewed_by(&self, id: ConnectionId) -> impl Iterator<Item = &EntityRef> {
        self.viewing.get(&id).into_iter().flatten()
    }

    /// A socket looks at these and at nothing else. Answers the things of which others look now.
    fn set_viewed(&mut self, id: ConnectionId, things: BTreeSet<EntityRef>) -> Vec<EntityRef> {
        let before = self.viewing.remove(&id).unwrap_or_default();
        let changed: Vec<EntityRef> = before.symmetric_difference(&things).cloned().collect();
        for entity in before.difference(&things) {
            if let Some(those) = self.local_viewers.get_mut(entity) {
                those.remove(&id);
                if those.is_empty() {
                    self.local_viewers.remove(entity);
                }
            }
        }
        for entity in things.difference(&before) {
            self.local_viewers.entry(entity.clone()).or_default().insert(id);
        }
        if !things.is_empty() {
            self.viewing.insert(id, things);
        }
        changed
    }

    /// When something is to be done, at the latest.
    pub(crate) fn deadline(&self) -> i64 {
        if self.local_viewers.is_empty() && self.remote_viewers.is_empty() { i64::MAX } else { self.next_announce_at }
    }
}

impl ChangeFeed {
    /// What a socket looks at, as far as its person may see it.
    pub(crate) fn on_viewing(&mut self, id: ConnectionId, things: Vec<EntityRef>, now: i64, out: &mut Vec<Effect>) {
        let Some(person) = self.watching.person(id) else { return };
        let clock = now + self.clock_offset_ms;
        let seen: BTreeSet<EntityRef> =
            things.into_iter().filter(|entity| self.can_view(person, entity, clock)).collect();
        self.set_viewed(id, seen, out);
    }

    /// Whoever comes is told who is here; whoever looked already is told who came.
    fn set_viewed(&mut self, id: ConnectionId, seen: BTreeSet<EntityRef>, out: &mut Vec<Effect>) {
        for entity in self.presence.set_viewed(id, seen) {
            self.publish_presence(&entity, out);
            self.notify_viewers(&entity, out);
        }
    }

    /// A socket is gone, or its person may not see all of it any more.
    pub(crate) fn retain_viewed(
        &mut self,
        id: ConnectionId,
        still: impl Fn(&EntityRef) -> bool,
        out: &mut Vec<Effect>,
    ) {
        let Some(now) = self.presence.viewing.get(&id) else { return };
        let left: BTreeSet<EntityRef> = now.iter().filter(|entity| still(entity)).cloned().collect();
        if left.len() < now.len() {
            self.set_viewed(id, left, out);
        }
    }

    /// Another pod says who looks there.
    pub(crate) fn elsewhere(&mut self, said: PodPresence, now: i64, out: &mut Vec<Effect>) {
        let pods = self.presence.remote_viewers.entry(said.entity.clone()).or_default();
        let before = pods.get(&said.pod).map(|(people, _)| people.clone()).unwrap_or_default();
        if said.people.is_empty() {
            pods.remove(&said.pod);
        } else {
            pods.insert(said.pod, (said.people.clone(), now + POD_TIMEOUT_MS));
        }
        if pods.is_empty() {
            self.presence.remote_viewers.remove(&said.entity);
        }
        if before != said.people {
            self.notify_viewers(&said.entity, out);
        }
        self.presence.next_announce_at = self.presence.next_announce_at.min(now + ANNOUNCE_INTERVAL_MS).max(now);
    }

    /// Says again who looks here, and forgets those who fell silent.
    pub(crate) fn tick_presence(&mut self, now: i64, out: &mut Vec<Effect>) {
        if self.presence.next_announce_at > now {
            // A clock that was set back must not put it off.
            self.presence.next_announce_at = self.presence.next_announce_at.min(now + ANNOUNCE_INTERVAL_MS);
            return;
        }
        self.presence.next_announce_at = now + ANNOUNCE_INTERVAL_MS;
        let here: Vec<EntityRef> = self.presence.local_viewers.keys().cloned().collect();
        for entity in &here {
            self.publish_presence(entity, out);
        }
        let mut changed = Vec::new();
        self.presence.remote_viewers.retain(|entity, pods| {
            let before = pods.len();
            pods.retain(|_, (_, until)| *until > now);
            changed.extend((pods.len() < before).then(|| entity.clone()));
            !pods.is_empty()
        });
        for entity in changed {
            self.notify_viewers(&entity, out);
        }
    }

    /// Those who look at a thing here, each person once.
    fn local_people(&self, entity: &EntityRef) -> Vec<PresentUser> {
        let those = self.presence.local_viewers.get(entity).into_iter().flatten();
        let people: BTreeSet<PersonId> = those.filter_map(|id| self.watching.person(*id)).collect();
        let named = |person: PersonId| PresentUser {
            person_id: person.0,
            name: self.presence.names.get(&person).map(ToString::to_string).unwrap_or_default(),
        };
        people.into_iter().take(MAX_PRESENCE_PEOPLE).map(named).collect()
    }

    fn publish_presence(&self, entity: &EntityRef, out: &mut Vec<Effect>) {
        out.push(Effect::PublishPresence(entity.clone(), self.local_people(entity)));
    }

    /// Tells those who look at a thing here who else does.
    fn notify_viewers(&self, entity: &EntityRef, out: &mut Vec<Effect>) {
        let mut everybody: BTreeMap<Uuid, PresentUser> = BTreeMap::new();
        let elsewhere = self.presence.remote_viewers.get(entity).into_iter().flat_map(BTreeMap::values);
        for here in
            self.local_people(entity).into_iter().chain(elsewhere.flat_map(|(people, _)| people.iter().cloned()))
        {
            everybody.insert(here.person_id, here);
        }
        for id in self.presence.local_viewers.get(entity).into_iter().flatten() {
            let own = self.watching.person(*id).map(|person| person.0);
            let people = everybody
                .values()
                .filter(|here| Some(here.person_id) != own)
                .take(MAX_PRESENCE_PEOPLE)
                .cloned()
                .collect();
            let message = ServerMessage::Presence { entity_code: entity.code.clone(), entity_id: entity.id, people };
            out.push(Effect::Send([*id].into(), Frame::message(&message)));
        }
    }
}
