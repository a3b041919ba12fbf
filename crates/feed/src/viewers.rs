//! Delivery of presence: viewers of an entity on this pod and on the others.

use crate::change_feed::ChangeFeed;
use crate::event::{Effect, PodPresence};
use crate::outbound_queue::Frame;
use crate::topic::ConnectionId;
use pmo_domain::protocol::{PresentUser, ServerMessage};
use pmo_domain::{EntityRef, PersonId, UnixMillis};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use uuid::Uuid;

/// Maximum number of viewers per entity in one message.
const MAX_PRESENCE_PEOPLE: usize = 50;
/// Interval at which a pod repeats its viewers.
const ANNOUNCE_INTERVAL: Duration = Duration::from_secs(45);
/// Time without an announcement after which the viewers of a pod are removed.
const POD_TIMEOUT: Duration = Duration::from_secs(120);

impl ChangeFeed {
    /// Sets the entities that a connection views; entities that its user may not see are ignored.
    pub(crate) fn on_viewing(
        &mut self,
        id: ConnectionId,
        entities: Vec<EntityRef>,
        now: UnixMillis,
        out: &mut Vec<Effect>,
    ) {
        let Some(person) = self.subscription_index.person(id) else { return };
        let db_now = self.db_now(now);
        let visible: BTreeSet<EntityRef> =
            entities.into_iter().filter(|entity| self.can_view(person, entity, db_now)).collect();
        self.set_viewed(id, visible, out);
    }

    /// Replaces the viewed entities and notifies other pods and local viewers of each difference.
    fn set_viewed(&mut self, id: ConnectionId, entities: BTreeSet<EntityRef>, out: &mut Vec<Effect>) {
        for entity in self.presence.set_viewed(id, entities) {
            self.publish_presence(&entity, out);
            self.notify_viewers(&entity, out);
        }
    }

    /// Removes the viewed entities of a connection for which `keep` returns `false`.
    pub(crate) fn retain_viewed(&mut self, id: ConnectionId, keep: impl Fn(&EntityRef) -> bool, out: &mut Vec<Effect>) {
        let Some(viewed) = self.presence.viewing.get(&id) else { return };
        let retained: BTreeSet<EntityRef> = viewed.iter().filter(|entity| keep(entity)).cloned().collect();
        if retained.len() < viewed.len() {
            self.set_viewed(id, retained, out);
        }
    }

    /// Stores the viewers of an entity on another pod and notifies local viewers of a difference.
    pub(crate) fn on_remote_presence(&mut self, update: PodPresence, now: UnixMillis, out: &mut Vec<Effect>) {
        let pods = self.presence.remote_viewers.entry(update.entity.clone()).or_default();
        let before = pods.get(&update.pod).map(|(people, _)| people.clone()).unwrap_or_default();
        if update.people.is_empty() {
            pods.remove(&update.pod);
        } else {
            pods.insert(update.pod, (update.people.clone(), now + POD_TIMEOUT));
        }
        if pods.is_empty() {
            self.presence.remote_viewers.remove(&update.entity);
        }
        if before != update.people {
            self.notify_viewers(&update.entity, out);
        }
        self.presence.next_announce_at = self.presence.next_announce_at.min(now + ANNOUNCE_INTERVAL).max(now);
    }

    /// Repeats the announcements of this pod and removes expired viewers of other pods.
    ///
    /// Does nothing before `next_announce_at`.
    pub(crate) fn tick_presence(&mut self, now: UnixMillis, out: &mut Vec<Effect>) {
        if self.presence.next_announce_at > now {
            // Do not postpone the announcement if the clock was set back.
            self.presence.next_announce_at = self.presence.next_announce_at.min(now + ANNOUNCE_INTERVAL);
            return;
        }
        self.presence.next_announce_at = now + ANNOUNCE_INTERVAL;
        let viewed: Vec<EntityRef> = self.presence.local_viewers.keys().cloned().collect();
        for entity in &viewed {
            self.publish_presence(entity, out);
        }
        let mut changed = Vec::new();
        self.presence.remote_viewers.retain(|entity, pods| {
            let before = pods.len();
            pods.retain(|_, (_, expires_at)| *expires_at > now);
            changed.extend((pods.len() < before).then(|| entity.clone()));
            !pods.is_empty()
        });
        for entity in changed {
            self.notify_viewers(&entity, out);
        }
    }

    /// Returns the viewers of an entity on this pod, each user once.
    fn local_people(&self, entity: &EntityRef) -> Vec<PresentUser> {
        let connections = self.presence.local_viewers.get(entity).into_iter().flatten();
        let people: BTreeSet<PersonId> = connections.filter_map(|id| self.subscription_index.person(*id)).collect();
        let to_user = |person: PersonId| PresentUser {
            person_id: person.0,
            name: self.presence.names.get(&person).map(ToString::to_string).unwrap_or_default(),
        };
        people.into_iter().take(MAX_PRESENCE_PEOPLE).map(to_user).collect()
    }

    /// Publishes the viewers of an entity on this pod to the other pods.
    fn publish_presence(&self, entity: &EntityRef, out: &mut Vec<Effect>) {
        out.push(Effect::PublishPresence(entity.clone(), self.local_people(entity)));
    }

    /// Sends each local viewer of an entity the other viewers, on all pods.
    fn notify_viewers(&self, entity: &EntityRef, out: &mut Vec<Effect>) {
        let mut viewers: BTreeMap<Uuid, PresentUser> = BTreeMap::new();
        let remote = self.presence.remote_viewers.get(entity).into_iter().flat_map(BTreeMap::values);
        for viewer in self.local_people(entity).into_iter().chain(remote.flat_map(|(people, _)| people.iter().cloned()))
        {
            viewers.insert(viewer.person_id, viewer);
        }
        for id in self.presence.local_viewers.get(entity).into_iter().flatten() {
            let own = self.subscription_index.person(*id).map(|person| person.0);
            let people = viewers
                .values()
                .filter(|viewer| Some(viewer.person_id) != own)
                .take(MAX_PRESENCE_PEOPLE)
                .cloned()
                .collect();
            let message = ServerMessage::Presence { entity_code: entity.code.clone(), entity_id: entity.id, people };
            out.push(Effect::Send([*id].into(), Frame::message(&message)));
        }
    }
}
