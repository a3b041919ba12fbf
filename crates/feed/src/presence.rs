//! Presence: which users view which entity.
//!
//! The viewers of an entity are sent only to its other viewers. A connection views only entities
//! that its user may see, so presence reveals neither hidden entities nor users without access to
//! the entity. Other pods publish their viewers; the viewers of a pod that stops publishing are
//! removed after a timeout.

use crate::topic::ConnectionId;
use pmo_domain::protocol::PresentUser;
use pmo_domain::{EntityRef, PersonId, UnixMillis};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use uuid::Uuid;

/// Maximum number of entities that one connection views. Each tab of a browser views one.
pub(crate) const MAX_VIEWED: usize = 32;
/// Viewers of this pod and of other pods.
#[derive(Default)]
pub(crate) struct Presence {
    /// Entities viewed by each connection of this pod.
    pub(crate) viewing: HashMap<ConnectionId, BTreeSet<EntityRef>>,
    /// Connections of this pod by viewed entity.
    pub(crate) local_viewers: HashMap<EntityRef, BTreeSet<ConnectionId>>,
    /// Viewers on other pods, by entity and pod, with the time at which they expire.
    pub(crate) remote_viewers: HashMap<EntityRef, BTreeMap<Uuid, (Vec<PresentUser>, UnixMillis)>>,
    pub(crate) names: HashMap<PersonId, Arc<str>>,
    pub(crate) next_announce_at: UnixMillis,
}

impl Presence {
    /// Stores the display name of a person.
    pub(crate) fn set_name(&mut self, person: PersonId, name: Arc<str>) {
        self.names.insert(person, name);
    }

    /// Removes the name of a person who has no connection any more.
    pub(crate) fn remove_person(&mut self, person: PersonId) {
        self.names.remove(&person);
    }

    /// Returns the entities that a connection views.
    pub(crate) fn viewed_by(&self, id: ConnectionId) -> impl Iterator<Item = &EntityRef> {
        self.viewing.get(&id).into_iter().flatten()
    }

    /// Replaces the entities that a connection views. Returns those that were added or removed.
    pub(crate) fn set_viewed(&mut self, id: ConnectionId, entities: BTreeSet<EntityRef>) -> Vec<EntityRef> {
        let before = self.viewing.remove(&id).unwrap_or_default();
        let changed: Vec<EntityRef> = before.symmetric_difference(&entities).cloned().collect();
        for entity in before.difference(&entities) {
            if let Some(viewers) = self.local_viewers.get_mut(entity) {
                viewers.remove(&id);
                if viewers.is_empty() {
                    self.local_viewers.remove(entity);
                }
            }
        }
        for entity in entities.difference(&before) {
            self.local_viewers.entry(entity.clone()).or_default().insert(id);
        }
        if !entities.is_empty() {
            self.viewing.insert(id, entities);
        }
        changed
    }

    /// Returns the latest time of the next call of `tick_presence`.
    pub(crate) fn deadline(&self) -> UnixMillis {
        if self.local_viewers.is_empty() && self.remote_viewers.is_empty() {
            UnixMillis::MAX
        } else {
            self.next_announce_at
        }
    }
}
