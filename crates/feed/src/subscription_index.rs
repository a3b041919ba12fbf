//! Inverted index from topics to subscribed connections.
//!
//! There are far more subscriptions than anything else in this crate: thousands of connections with
//! a hundred subscriptions each must cost kilobytes per connection. Types, entities and connections
//! are therefore numbered, and a subscription to an entity takes four bytes in the connection and
//! four in the entity.
//!
//! Must not: decide who may see an entity. A denied subscription remains in the index with a mark,
//! and receives nothing.

use crate::topic::{ConnectionId, EntityAccess, Topic};
use hashbrown::HashTable;
use pmo_domain::change_log::ChangeLogEntry;
use pmo_domain::{EntityCode, EntityRef, PersonId};
use std::collections::hash_map::RandomState;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::BuildHasher;
use uuid::Uuid;

/// Index of a connection or an entity in its slab, or of a type code in the interner.
type Slot = u32;
/// Takes the place of the parent type in the key of a subscription to a tree.
const ANY_DEPTH: Slot = Slot::MAX;
/// Marks a denied subscription, in the connection and in the entity. A later grant clears the mark.
const DENIED_BIT: u32 = 1 << 31;

/// Returns the slot without the mark.
fn slot_of(marked: u32) -> u32 {
    marked & !DENIED_BIT
}

/// Sorted set of slots, each with or without [`DENIED_BIT`].
///
/// A single slot needs no allocation, because most entities have one subscriber.
#[derive(Clone, Debug, PartialEq, Eq)]
enum SlotSet {
    One(u32),
    Many(Vec<u32>),
}

impl SlotSet {
    fn as_slice(&self) -> &[u32] {
        match self {
            Self::One(one) => std::slice::from_ref(one),
            Self::Many(many) => many,
        }
    }

    /// Inserts a slot, or replaces the mark of a slot that is in the set.
    fn put(&mut self, marked: u32) {
        match self {
            Self::One(one) if slot_of(*one) == slot_of(marked) => *one = marked,
            Self::One(one) => {
                let mut both = vec![*one, marked];
                both.sort_unstable_by_key(|w| slot_of(*w));
                *self = Self::Many(both);
            }
            Self::Many(many) => match many.binary_search_by_key(&slot_of(marked), |w| slot_of(*w)) {
                Ok(at) => many[at] = marked,
                Err(at) => many.insert(at, marked),
            },
        }
    }

    /// Removes a slot. Returns whether the set is empty and must be discarded.
    ///
    /// A set of one slot is left unchanged and reports `true`.
    fn take(&mut self, slot: u32) -> bool {
        match self {
            Self::One(one) => slot_of(*one) == slot,
            Self::Many(many) => {
                if let Ok(at) = many.binary_search_by_key(&slot, |w| slot_of(*w)) {
                    many.remove(at);
                }
                if let [one] = many[..] {
                    *self = Self::One(one);
                    return false;
                }
                many.is_empty()
            }
        }
    }
}

/// Entity with at least one subscription.
struct SubscribedEntity {
    id: Uuid,
    code: u32,
    /// Connections, marked if denied.
    subscribers: SlotSet,
}

/// Connection with its subscriptions.
struct Connection {
    id: ConnectionId,
    person: PersonId,
    /// Sorted slots of entities, marked if denied.
    entities: Vec<u32>,
    types: Vec<Slot>,
    /// Keys of [`SubscriptionIndex::children`].
    children: Vec<(Uuid, Slot, Slot)>,
}

/// Values in reusable slots.
struct Slab<T> {
    slots: Vec<Option<T>>,
    free: Vec<Slot>,
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self { slots: Vec::new(), free: Vec::new() }
    }
}

impl<T> Slab<T> {
    fn put(&mut self, value: T) -> Slot {
        if let Some(slot) = self.free.pop() {
            self.slots[slot as usize] = Some(value);
            return slot;
        }
        self.slots.push(Some(value));
        (self.slots.len() - 1) as Slot
    }
    fn take(&mut self, slot: Slot) -> Option<T> {
        let value = self.slots.get_mut(slot as usize)?.take();
        self.free.extend(value.is_some().then_some(slot));
        value
    }
    fn get(&self, slot: Slot) -> Option<&T> {
        self.slots.get(slot as usize)?.as_ref()
    }
    fn get_mut(&mut self, slot: Slot) -> Option<&mut T> {
        self.slots.get_mut(slot as usize)?.as_mut()
    }
}

/// Interns type codes. Only codes of existing types are interned, so its size is bounded.
#[derive(Default)]
struct TypeInterner {
    by_slot: Vec<EntityCode>,
    slots: HashMap<EntityCode, Slot>,
}

impl TypeInterner {
    /// Returns the slot of a code; assigns one if the code is new.
    fn intern(&mut self, code: &EntityCode) -> Slot {
        if let Some(slot) = self.slots.get(code) {
            return *slot;
        }
        let slot = self.by_slot.len() as Slot;
        self.by_slot.push(code.clone());
        self.slots.insert(code.clone(), slot);
        slot
    }
    /// Returns the slot of a code that has been interned.
    fn find(&self, code: &EntityCode) -> Option<Slot> {
        self.slots.get(code).copied()
    }
}

/// Index of all subscriptions of a pod.
#[derive(Default)]
pub struct SubscriptionIndex {
    codes: TypeInterner,
    connections: Slab<Connection>,
    slots: HashMap<ConnectionId, Slot>,
    /// Connections by user.
    people: HashMap<PersonId, SlotSet>,
    entities: Slab<SubscribedEntity>,
    /// Slots of `entities`, by id and type.
    index: HashTable<Slot>,
    hasher: RandomState,
    /// Subscribers of whole types, by the slot of the type.
    types: HashMap<Slot, SlotSet>,
    /// Subscribers by parent id, parent type or [`ANY_DEPTH`], and type of the children.
    children: BTreeMap<(Uuid, Slot, Slot), SlotSet>,
    /// Number of keys in `children` for each type of children.
    keys_by_child_type: BTreeMap<Slot, usize>,
    subscription_total: usize,
}

impl SubscriptionIndex {
    /// Adds a connection of a user. Does nothing if the id is in use.
    pub fn connect(&mut self, id: ConnectionId, person: PersonId) {
        if self.slots.contains_key(&id) {
            return;
        }
        let slot = self.connections.put(Connection {
            id,
            person,
            entities: Vec::new(),
            types: Vec::new(),
            children: Vec::new(),
        });
        self.slots.insert(id, slot);
        self.people.entry(person).and_modify(|slots| slots.put(slot)).or_insert(SlotSet::One(slot));
    }

    /// Removes a connection. Returns whether it was the last connection of its user.
    pub fn disconnect(&mut self, id: ConnectionId) -> bool {
        self.unsubscribe_where(id, |_| true);
        let Some(connection) = self.slots.remove(&id).and_then(|slot| Some((slot, self.connections.take(slot)?)))
        else {
            return false;
        };
        let (slot, Connection { person, .. }) = connection;
        let last = self.people.get_mut(&person).is_some_and(|slots| slots.take(slot));
        if last {
            self.people.remove(&person);
        }
        last
    }

    fn connection(&self, id: ConnectionId) -> Option<&Connection> {
        self.connections.get(*self.slots.get(&id)?)
    }

    /// Returns the user of a connection.
    pub fn person(&self, id: ConnectionId) -> Option<PersonId> {
        Some(self.connection(id)?.person)
    }

    /// Returns the connections of a user.
    pub fn connections_of(&self, person: PersonId) -> Vec<ConnectionId> {
        let slots = self.people.get(&person).map_or(&[][..], SlotSet::as_slice);
        slots.iter().filter_map(|slot| Some(self.connections.get(*slot)?.id)).collect()
    }

    fn hash(hasher: &RandomState, id: Uuid, code: Slot) -> u64 {
        hasher.hash_one((id, code))
    }

    fn entity_slot(&self, id: Uuid, code: Slot) -> Option<Slot> {
        let is_same = |slot: &Slot| self.entities.get(*slot).is_some_and(|e| e.id == id && e.code == code);
        self.index.find(Self::hash(&self.hasher, id, code), is_same).copied()
    }

    /// Subscribes a connection to entities of one type. Clears the denied mark of each.
    pub fn subscribe_entities(&mut self, id: ConnectionId, code: &EntityCode, ids: impl IntoIterator<Item = Uuid>) {
        let Some(slot) = self.slots.get(&id).copied() else { return };
        let code = self.codes.intern(code);
        let mut new = Vec::new();
        for id in ids {
            let entity_slot = match self.entity_slot(id, code) {
                Some(entity_slot) => entity_slot,
                None => {
                    let entity_slot = self.entities.put(SubscribedEntity { id, code, subscribers: SlotSet::One(slot) });
                    let (entities, hasher) = (&self.entities, &self.hasher);
                    let rehash = |slot: &Slot| entities.get(*slot).map_or(0, |e| Self::hash(hasher, e.id, e.code));
                    self.index.insert_unique(Self::hash(hasher, id, code), entity_slot, rehash);
                    entity_slot
                }
            };
            new.push(entity_slot);
        }
        for entity_slot in &new {
            if let Some(entity) = self.entities.get_mut(*entity_slot) {
                entity.subscribers.put(slot);
            }
        }
        let Some(connection) = self.connections.get_mut(slot) else { return };
        let before = connection.entities.len();
        connection.entities.reserve_exact(new.len());
        connection.entities.extend(new);
        // Sort an unmarked entry before its denied duplicate, so that the unmarked one remains.
        connection.entities.sort_unstable_by_key(|e| (slot_of(*e), *e & DENIED_BIT));
        connection.entities.dedup_by_key(|e| slot_of(*e));
        self.subscription_total += connection.entities.len() - before;
    }

    /// Marks subscriptions to entities of one type as denied or allowed.
    ///
    /// A denied subscription receives nothing. Ids without a subscription are ignored.
    pub fn set_access(
        &mut self,
        id: ConnectionId,
        code: &EntityCode,
        ids: impl IntoIterator<Item = Uuid>,
        access: EntityAccess,
    ) {
        let (Some(slot), Some(code)) = (self.slots.get(&id).copied(), self.codes.find(code)) else { return };
        let mark = |slot: u32| match access {
            EntityAccess::Allowed => slot,
            EntityAccess::Denied => slot | DENIED_BIT,
        };
        for id in ids {
            let Some(entity_slot) = self.entity_slot(id, code) else { continue };
            let Some(connection) = self.connections.get_mut(slot) else { return };
            let Ok(at) = connection.entities.binary_search_by_key(&entity_slot, |e| slot_of(*e)) else { continue };
            connection.entities[at] = mark(entity_slot);
            if let Some(entity) = self.entities.get_mut(entity_slot) {
                entity.subscribers.put(mark(slot));
            }
        }
    }

    /// Subscribes a connection to all entities of a type.
    pub fn subscribe_type(&mut self, id: ConnectionId, code: &EntityCode) {
        let Some(slot) = self.slots.get(&id).copied() else { return };
        let code = self.codes.intern(code);
        let Some(connection) = self.connections.get_mut(slot) else { return };
        if !connection.types.contains(&code) {
            connection.types.push(code);
            self.types.entry(code).and_modify(|slots| slots.put(slot)).or_insert(SlotSet::One(slot));
            self.subscription_total += 1;
        }
    }

    /// Subscribes a connection to the children of one type of an entity.
    pub fn subscribe_children(&mut self, id: ConnectionId, parent: &EntityRef, code: &EntityCode) {
        let Some(slot) = self.slots.get(&id).copied() else { return };
        let key = (parent.id, self.codes.intern(&parent.code), self.codes.intern(code));
        self.add_parent_subscription(slot, key);
    }

    /// Subscribes a connection to the descendants of one type of an entity.
    pub fn subscribe_tree(&mut self, id: ConnectionId, root: Uuid, code: &EntityCode) {
        let Some(slot) = self.slots.get(&id).copied() else { return };
        let key = (root, ANY_DEPTH, self.codes.intern(code));
        self.add_parent_subscription(slot, key);
    }

    fn add_parent_subscription(&mut self, slot: Slot, key: (Uuid, Slot, Slot)) {
        let Some(connection) = self.connections.get_mut(slot) else { return };
        if connection.children.contains(&key) {
            return;
        }
        connection.children.push(key);
        self.subscription_total += 1;
        let keys_by_child_type = &mut self.keys_by_child_type;
        self.children.entry(key).and_modify(|slots| slots.put(slot)).or_insert_with(|| {
            *keys_by_child_type.entry(key.2).or_default() += 1;
            SlotSet::One(slot)
        });
    }

    /// Removes the subscriptions of a connection to topics for which `remove` returns `true`.
    pub fn unsubscribe_where(&mut self, id: ConnectionId, remove: impl Fn(&Topic) -> bool) {
        let Some(slot) = self.slots.get(&id).copied() else { return };
        let Some(connection) = self.connections.get_mut(slot) else { return };
        let (codes, all_entities) = (&self.codes.by_slot, &self.entities);
        let code = |slot: Slot| codes[slot as usize].clone();
        let mut entities = Vec::new();
        connection.entities.retain(|marked| {
            let entity = all_entities.get(slot_of(*marked));
            let removed = entity.is_none_or(|e| remove(&Topic::Entity(EntityRef::new(code(e.code), e.id))));
            entities.extend(removed.then_some(slot_of(*marked)));
            !removed
        });
        let (mut types, mut children) = (Vec::new(), Vec::new());
        connection.types.retain(|type_slot| {
            let removed = remove(&Topic::Type(code(*type_slot)));
            types.extend(removed.then_some(*type_slot));
            !removed
        });
        connection.children.retain(|key| {
            let removed = remove(&match key.1 {
                ANY_DEPTH => Topic::Tree { root: key.0, code: code(key.2) },
                parent_type => Topic::Children { parent: EntityRef::new(code(parent_type), key.0), code: code(key.2) },
            });
            children.extend(removed.then_some(*key));
            !removed
        });
        self.subscription_total -= entities.len() + types.len() + children.len();
        for entity_slot in entities {
            self.release(slot, entity_slot);
        }
        for type_slot in types {
            if self.types.get_mut(&type_slot).is_some_and(|slots| slots.take(slot)) {
                self.types.remove(&type_slot);
            }
        }
        for key in children {
            if self.children.get_mut(&key).is_some_and(|slots| slots.take(slot)) {
                self.children.remove(&key);
                if let Some(n) = self.keys_by_child_type.get_mut(&key.2) {
                    *n -= 1;
                    if *n == 0 {
                        self.keys_by_child_type.remove(&key.2);
                    }
                }
            }
        }
    }

    /// Removes a subscriber of an entity, and the entity with its last subscriber.
    fn release(&mut self, slot: Slot, entity_slot: Slot) {
        let Some(entity) = self.entities.get_mut(entity_slot) else { return };
        if !entity.subscribers.take(slot) {
            return;
        }
        let hash = Self::hash(&self.hasher, entity.id, entity.code);
        if let Ok(entry) = self.index.find_entry(hash, |slot| *slot == entity_slot) {
            entry.remove();
        }
        self.entities.take(entity_slot);
    }

    /// Removes subscriptions to entities of one type. Returns the ids that were subscribed.
    pub fn unsubscribe_entities(&mut self, id: ConnectionId, code: &EntityCode, ids: &[Uuid]) -> Vec<Uuid> {
        let (Some(slot), Some(code)) = (self.slots.get(&id).copied(), self.codes.find(code)) else { return Vec::new() };
        let found: BTreeMap<Slot, Uuid> =
            ids.iter().filter_map(|id| Some((self.entity_slot(*id, code)?, *id))).collect();
        let Some(connection) = self.connections.get_mut(slot) else { return Vec::new() };
        let before = connection.entities.len();
        let mut removed = Vec::new();
        if !found.is_empty() {
            connection.entities.retain(|marked| match found.get(&slot_of(*marked)) {
                Some(id) => {
                    removed.push(*id);
                    false
                }
                None => true,
            });
        }
        self.subscription_total -= before - connection.entities.len();
        let removed_ids: BTreeSet<Uuid> = removed.iter().copied().collect();
        for (entity_slot, _) in found.iter().filter(|(_, id)| removed_ids.contains(id)) {
            self.release(slot, *entity_slot);
        }
        removed
    }

    /// Returns the number of subscriptions of a connection, including denied ones.
    pub fn subscription_count(&self, id: ConnectionId) -> usize {
        self.connection(id).map_or(0, |c| c.entities.len() + c.types.len() + c.children.len())
    }

    /// Returns the number of subscriptions of all connections.
    pub fn subscriptions(&self) -> usize {
        self.subscription_total
    }

    /// Returns the number of connections.
    pub fn connections(&self) -> usize {
        self.slots.len()
    }

    /// Returns the ids of all connections.
    pub fn ids(&self) -> impl Iterator<Item = ConnectionId> {
        self.slots.keys().copied()
    }

    /// Returns the types with subscriptions to the children or descendants of an entity.
    pub fn types_subscribed_by_parent(&self) -> Vec<EntityCode> {
        self.keys_by_child_type.keys().map(|slot| self.codes.by_slot[*slot as usize].clone()).collect()
    }

    /// Returns whether a change of this row may have subscribers.
    ///
    /// If it may, the location of the entity must be known before delivery.
    pub fn has_subscribers(&self, row: &ChangeLogEntry) -> bool {
        let Some(code) = self.codes.find(&row.code) else { return false };
        self.types.contains_key(&code)
            || self.keys_by_child_type.contains_key(&code)
            || self.entity_slot(row.id, code).is_some()
    }

    /// Finds the connections subscribed to the entity, its type, a parent or an ancestor.
    ///
    /// `ancestors`: all ancestors of the entity; the flag is true if all links to the ancestor are
    /// owned. Fills `found` with the slot and the user of each connection, in order and without
    /// duplicates.
    pub fn subscribers(&self, row: &ChangeLogEntry, ancestors: &[(Uuid, bool)], found: &mut Vec<(u32, PersonId)>) {
        found.clear();
        let Some(code) = self.codes.find(&row.code) else { return };
        let mut slots: Vec<Slot> = Vec::new();
        let mut add = |set: &SlotSet| slots.extend(set.as_slice().iter().filter(|slot| **slot & DENIED_BIT == 0));
        self.types.get(&code).into_iter().for_each(&mut add);
        let entity = self.entity_slot(row.id, code).and_then(|slot| self.entities.get(slot));
        entity.into_iter().for_each(|entity| add(&entity.subscribers));
        if self.keys_by_child_type.contains_key(&code) {
            for parent in &row.parents {
                let Some(parent_type) = self.codes.find(&parent.code) else { continue };
                self.children.get(&(parent.id, parent_type, code)).into_iter().for_each(&mut add);
            }
            for (root, _) in ancestors.iter().filter(|(_, owned)| *owned) {
                self.children.get(&(*root, ANY_DEPTH, code)).into_iter().for_each(&mut add);
            }
            // Subscribers of the former parent must learn that the entity was moved away.
            for old in old_reference_ids(row) {
                let old_topics = self.children.range((old, 0, 0)..=(old, Slot::MAX, Slot::MAX));
                old_topics.filter(|(key, _)| key.2 == code).for_each(|(_, set)| add(set));
            }
        }
        slots.sort_unstable();
        slots.dedup();
        found.extend(slots.into_iter().filter_map(|slot| Some((slot, self.connections.get(slot)?.person))));
    }

    /// Returns whether one connection would be found by [`SubscriptionIndex::subscribers`].
    pub fn is_subscriber(&self, id: ConnectionId, row: &ChangeLogEntry, ancestors: &[(Uuid, bool)]) -> bool {
        let (Some(code), Some(connection)) = (self.codes.find(&row.code), self.connection(id)) else { return false };
        let matches_key = |key: &(Uuid, Slot, Slot)| {
            let is_parent = |parent: &EntityRef| parent.id == key.0 && self.codes.find(&parent.code) == Some(key.1);
            let was_parent = || old_reference_ids(row).any(|old| old == key.0);
            let is_ancestor = || key.1 == ANY_DEPTH && ancestors.contains(&(key.0, true));
            key.2 == code && (row.parents.iter().any(is_parent) || was_parent() || is_ancestor())
        };
        let matches_entity = || {
            let entity_slot = self.entity_slot(row.id, code)?;
            let at = connection.entities.binary_search_by_key(&entity_slot, |e| slot_of(*e)).ok()?;
            Some(connection.entities[at] & DENIED_BIT == 0)
        };
        connection.types.contains(&code)
            || matches_entity() == Some(true)
            || connection.children.iter().any(matches_key)
    }

    /// Returns the connection in a slot that [`SubscriptionIndex::subscribers`] returned.
    pub fn connection_at(&self, slot: u32) -> Option<ConnectionId> {
        Some(self.connections.get(slot)?.id)
    }

    /// Returns the slot of a connection.
    pub fn connection_slot(&self, id: ConnectionId) -> Option<u32> {
        self.slots.get(&id).copied()
    }

    /// Returns the users subscribed to the children of an entity that `rows` link or unlink.
    pub fn subscribers_of_linked(&self, rows: &[ChangeLogEntry]) -> BTreeSet<PersonId> {
        let keys = rows.iter().filter(|row| row.code == "entity_instance_link").filter_map(|row| {
            let code = |column| self.codes.find(&EntityCode::new(row.new_value_str(column)?).ok()?);
            let (parent, child_type) = (row.new_value_str("parent_id")?.parse().ok()?, code("child_code")?);
            Some([(parent, code("parent_code")?, child_type), (parent, ANY_DEPTH, child_type)])
        });
        let slots = keys.flatten().filter_map(|key| self.children.get(&key)).flat_map(SlotSet::as_slice);
        slots.filter_map(|slot| Some(self.connections.get(*slot)?.person)).collect()
    }

    /// Returns the users subscribed to a tree with one of `roots`, or to any tree if it is `None`.
    pub fn tree_subscribers(&self, roots: Option<BTreeSet<Uuid>>) -> BTreeSet<PersonId> {
        let of_root = |root: Uuid| self.children.range((root, ANY_DEPTH, 0)..=(root, ANY_DEPTH, Slot::MAX));
        let mut sets: Vec<&SlotSet> = Vec::new();
        match &roots {
            Some(roots) => sets.extend(roots.iter().flat_map(|root| of_root(*root)).map(|(_, set)| set)),
            None => sets.extend(self.children.iter().filter(|(key, _)| key.1 == ANY_DEPTH).map(|(_, set)| set)),
        }
        let slots = sets.into_iter().flat_map(SlotSet::as_slice);
        slots.filter_map(|slot| Some(self.connections.get(*slot)?.person)).collect()
    }

    /// Returns the entity subscriptions of a connection, each with whether it is denied.
    pub fn entity_subscriptions(&self, id: ConnectionId) -> impl Iterator<Item = (EntityRef, bool)> {
        let entities = self.connection(id).map_or(&[][..], |c| &c.entities);
        entities.iter().filter_map(|marked| {
            let entity = self.entities.get(slot_of(*marked))?;
            let code = self.codes.by_slot.get(entity.code as usize)?.clone();
            Some((EntityRef::new(code, entity.id), marked & DENIED_BIT != 0))
        })
    }

    /// Returns whether a connection has a subscription to the type, to children or to trees of it.
    pub fn has_broad_subscription(&self, id: ConnectionId, code: &EntityCode) -> bool {
        let Some(code) = self.codes.find(code) else { return false };
        self.connection(id).is_some_and(|c| c.types.contains(&code) || c.children.iter().any(|key| key.2 == code))
    }
}

/// Returns all former column values of a row that are ids.
fn old_reference_ids(row: &ChangeLogEntry) -> impl Iterator<Item = Uuid> {
    let values = row.diff.as_object().into_iter().flatten().map(|(_, values)| values);
    values.filter_map(|values| values.get("old")?.as_str()?.parse().ok())
}

#[cfg(test)]
mod tests;
