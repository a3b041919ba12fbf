//! Who looks at what: told to those who look at the same, and to nobody else. Only what a person may see is looked at, so that nobody is told of somebody who may not
//! be there, nor learns of a thing that they don't see. Other pods say who looks there; what they say is forgotten when they fall silent.

use crate::feed::{Effect, Feed};
use crate::queue::Frame;
use crate::watching::ConnectionId;
use pmo_domain::protocol::{PresentUser, ServerMessage};
use pmo_domain::{EntityRef, PersonId};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use uuid::Uuid;

/// Things that one socket looks at, at once: each of a browser's tabs looks at one.
pub(crate) const MOST_LOOKED_AT: usize = 32;
/// People of one thing that are told.
const MOST_TOLD: usize = 50;
/// Milliseconds after which a pod says again who looks there,
const SAY_AGAIN: i64 = 45_000;
/// and after which a silent one is forgotten.
const SILENT: i64 = 120_000;

/// Who looks at a thing on one pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Looking {
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
    looking: HashMap<ConnectionId, BTreeSet<EntityRef>>,
    here: HashMap<EntityRef, BTreeSet<ConnectionId>>,
    elsewhere: HashMap<EntityRef, BTreeMap<Uuid, (Vec<PresentUser>, i64)>>,
    names: HashMap<PersonId, Arc<str>>,
    say_again: i64,
}

impl Presence {
    pub(crate) fn call(&mut self, person: PersonId, name: Arc<str>) {
        self.names.insert(person, name);
    }

    /// A person is not here any more.
    pub(crate) fn forget(&mut self, person: PersonId) {
        self.names.remove(&person);
    }

    /// What a socket looks at.
    pub(crate) fn looked_at(&self, id: ConnectionId) -> impl Iterator<Item = &EntityRef> {
        self.looking.get(&id).into_iter().flatten()
    }

    /// A socket looks at these and at nothing else. Answers the things of which others look now.
    fn look(&mut self, id: ConnectionId, things: BTreeSet<EntityRef>) -> Vec<EntityRef> {
        let before = self.looking.remove(&id).unwrap_or_default();
        let changed: Vec<EntityRef> = before.symmetric_difference(&things).cloned().collect();
        for entity in before.difference(&things) {
            if let Some(those) = self.here.get_mut(entity) {
                those.remove(&id);
                if those.is_empty() {
                    self.here.remove(entity);
                }
            }
        }
        for entity in things.difference(&before) {
            self.here.entry(entity.clone()).or_default().insert(id);
        }
        if !things.is_empty() {
            self.looking.insert(id, things);
        }
        changed
    }

    /// When something is to be done, at the latest.
    pub(crate) fn deadline(&self) -> i64 {
        if self.here.is_empty() && self.elsewhere.is_empty() { i64::MAX } else { self.say_again }
    }
}

impl Feed {
    /// What a socket looks at, as far as its person may see it.
    pub(crate) fn looks(&mut self, id: ConnectionId, things: Vec<EntityRef>, now: i64, out: &mut Vec<Effect>) {
        let Some(person) = self.watching.person(id) else { return };
        let clock = now + self.ahead;
        let seen: BTreeSet<EntityRef> = things.into_iter().filter(|entity| self.sees(person, entity, clock)).collect();
        self.look(id, seen, out);
    }

    /// Whoever comes is told who is here; whoever looked already is told who came.
    fn look(&mut self, id: ConnectionId, seen: BTreeSet<EntityRef>, out: &mut Vec<Effect>) {
        for entity in self.presence.look(id, seen) {
            self.announce(&entity, out);
            self.tell_of(&entity, out);
        }
    }

    /// A socket is gone, or its person may not see all of it any more.
    pub(crate) fn looks_no_more(
        &mut self,
        id: ConnectionId,
        still: impl Fn(&EntityRef) -> bool,
        out: &mut Vec<Effect>,
    ) {
        let Some(now) = self.presence.looking.get(&id) else { return };
        let left: BTreeSet<EntityRef> = now.iter().filter(|entity| still(entity)).cloned().collect();
        if left.len() < now.len() {
            self.look(id, left, out);
        }
    }

    /// Another pod says who looks there.
    pub(crate) fn elsewhere(&mut self, said: Looking, now: i64, out: &mut Vec<Effect>) {
        let pods = self.presence.elsewhere.entry(said.entity.clone()).or_default();
        let before = pods.get(&said.pod).map(|(people, _)| people.clone()).unwrap_or_default();
        if said.people.is_empty() {
            pods.remove(&said.pod);
        } else {
            pods.insert(said.pod, (said.people.clone(), now + SILENT));
        }
        if pods.is_empty() {
            self.presence.elsewhere.remove(&said.entity);
        }
        if before != said.people {
            self.tell_of(&said.entity, out);
        }
        self.presence.say_again = self.presence.say_again.min(now + SAY_AGAIN).max(now);
    }

    /// Says again who looks here, and forgets those who fell silent.
    pub(crate) fn keep_present(&mut self, now: i64, out: &mut Vec<Effect>) {
        if self.presence.say_again > now {
            // A clock that was set back must not put it off.
            self.presence.say_again = self.presence.say_again.min(now + SAY_AGAIN);
            return;
        }
        self.presence.say_again = now + SAY_AGAIN;
        let here: Vec<EntityRef> = self.presence.here.keys().cloned().collect();
        for entity in &here {
            self.announce(entity, out);
        }
        let mut changed = Vec::new();
        self.presence.elsewhere.retain(|entity, pods| {
            let before = pods.len();
            pods.retain(|_, (_, until)| *until > now);
            changed.extend((pods.len() < before).then(|| entity.clone()));
            !pods.is_empty()
        });
        for entity in changed {
            self.tell_of(&entity, out);
        }
    }

    /// Those who look at a thing here, each person once.
    fn people_here(&self, entity: &EntityRef) -> Vec<PresentUser> {
        let those = self.presence.here.get(entity).into_iter().flatten();
        let people: BTreeSet<PersonId> = those.filter_map(|id| self.watching.person(*id)).collect();
        let named = |person: PersonId| PresentUser {
            person_id: person.0,
            name: self.presence.names.get(&person).map(ToString::to_string).unwrap_or_default(),
        };
        people.into_iter().take(MOST_TOLD).map(named).collect()
    }

    fn announce(&self, entity: &EntityRef, out: &mut Vec<Effect>) {
        out.push(Effect::Announce(entity.clone(), self.people_here(entity)));
    }

    /// Tells those who look at a thing here who else does.
    fn tell_of(&self, entity: &EntityRef, out: &mut Vec<Effect>) {
        let mut everybody: BTreeMap<Uuid, PresentUser> = BTreeMap::new();
        let elsewhere = self.presence.elsewhere.get(entity).into_iter().flat_map(BTreeMap::values);
        for here in self.people_here(entity).into_iter().chain(elsewhere.flat_map(|(people, _)| people.iter().cloned()))
        {
            everybody.insert(here.person_id, here);
        }
        for id in self.presence.here.get(entity).into_iter().flatten() {
            let own = self.watching.person(*id).map(|person| person.0);
            let people =
                everybody.values().filter(|here| Some(here.person_id) != own).take(MOST_TOLD).cloned().collect();
            let message = ServerMessage::Presence { entity_code: entity.code.clone(), entity_id: entity.id, people };
            out.push(Effect::Send([*id].into(), Frame::message(&message)));
        }
    }
}
