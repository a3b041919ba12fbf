//! Who watches what: an index by number, because there are many more watches than anything else here. Thousands of sockets that watch a hundred
//! things each must cost kilobytes a socket: a watch is four bytes on the socket's side and four on the thing's. It must never decide who may
//! see a thing; what was asked for in vain is kept apart from what is watched.

use hashbrown::HashTable;
use pmo_domain::change_log::ChangeLogEntry;
use pmo_domain::{EntityCode, EntityRef, PersonId};
use std::collections::hash_map::RandomState;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::BuildHasher;
use uuid::Uuid;

/// One socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub u64);

/// What can be watched.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Topic {
    /// One thing.
    Entity(EntityRef),
    /// Every thing of a type.
    Type(EntityCode),
    /// Things of a type below one thing.
    Children {
        /// The thing above.
        parent: EntityRef,
        /// The type below.
        code: EntityCode,
    },
    /// Things of a type anywhere below one thing.
    Tree {
        /// The id of the thing above.
        root: Uuid,
        /// The type below.
        code: EntityCode,
    },
}

/// Place of a connection, of a thing, of a type's code.
type Slot = u32;
/// Stands for the type of what is above where things are watched however deep they lie.
const ANY_DEPTH: Slot = Slot::MAX;
/// Marks a watch that was refused, on both sides; a grant may open it.
const DENIED_BIT: u32 = 1 << 31;

fn slot_of(watch: u32) -> u32 {
    watch & !DENIED_BIT
}

/// Numbers in order, each once, whatever their mark. One is kept in place: most things have one watcher.
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

    /// Adds a number, or gives it another mark.
    fn put(&mut self, watch: u32) {
        match self {
            Self::One(one) if slot_of(*one) == slot_of(watch) => *one = watch,
            Self::One(one) => {
                let mut both = vec![*one, watch];
                both.sort_unstable_by_key(|w| slot_of(*w));
                *self = Self::Many(both);
            }
            Self::Many(many) => match many.binary_search_by_key(&slot_of(watch), |w| slot_of(*w)) {
                Ok(at) => many[at] = watch,
                Err(at) => many.insert(at, watch),
            },
        }
    }

    /// Takes a number away; true: none is left.
    fn take(&mut self, taken: u32) -> bool {
        match self {
            Self::One(one) => slot_of(*one) == taken,
            Self::Many(many) => {
                if let Ok(at) = many.binary_search_by_key(&taken, |w| slot_of(*w)) {
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

struct WatchedEntity {
    id: Uuid,
    code: u32,
    watchers: SlotSet,
}

struct Connection {
    id: ConnectionId,
    person: PersonId,
    /// Numbers of things in order, those refused marked.
    things: Vec<u32>,
    types: Vec<Slot>,
    children: Vec<(Uuid, Slot, Slot)>,
}

/// Places that are given again when they are free.
struct Slab<T> {
    places: Vec<Option<T>>,
    free: Vec<Slot>,
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self { places: Vec::new(), free: Vec::new() }
    }
}

impl<T> Slab<T> {
    fn put(&mut self, value: T) -> Slot {
        if let Some(slot) = self.free.pop() {
            self.places[slot as usize] = Some(value);
            return slot;
        }
        self.places.push(Some(value));
        (self.places.len() - 1) as Slot
    }
    fn take(&mut self, slot: Slot) -> Option<T> {
        let value = self.places.get_mut(slot as usize)?.take();
        self.free.extend(value.is_some().then_some(slot));
        value
    }
    fn get(&self, slot: Slot) -> Option<&T> {
        self.places.get(slot as usize)?.as_ref()
    }
    fn get_mut(&mut self, slot: Slot) -> Option<&mut T> {
        self.places.get_mut(slot as usize)?.as_mut()
    }
}

/// Codes by number. Only codes of types that exist are entered, so that nobody fills it.
#[derive(Default)]
struct TypeInterner {
    all: Vec<EntityCode>,
    at: HashMap<EntityCode, Slot>,
}

impl TypeInterner {
    fn intern(&mut self, code: &EntityCode) -> Slot {
        if let Some(at) = self.at.get(code) {
            return *at;
        }
        let at = self.all.len() as Slot;
        self.all.push(code.clone());
        self.at.insert(code.clone(), at);
        at
    }
    fn find(&self, code: &EntityCode) -> Option<Slot> {
        self.at.get(code).copied()
    }
}

/// Connections and what they watch.
#[derive(Default)]
pub struct SubscriptionIndex {
    codes: TypeInterner,
    connections: Slab<Connection>,
    slots: HashMap<ConnectionId, Slot>,
    people: HashMap<PersonId, SlotSet>,
    things: Slab<WatchedEntity>,
    index: HashTable<Slot>,
    hasher: RandomState,
    /// Watchers of whole types, by the number of the code.
    types: HashMap<Slot, SlotSet>,
    /// Watchers of children: what is above, its type or [`ANY_DEPTH`], their type.
    children: BTreeMap<(Uuid, Slot, Slot), SlotSet>,
    /// How many of those there are for each type below.
    below: BTreeMap<Slot, usize>,
    watched: usize,
}

impl SubscriptionIndex {
    /// A person's new socket.
    pub fn connect(&mut self, id: ConnectionId, person: PersonId) {
        if self.slots.contains_key(&id) {
            return;
        }
        let slot = self.connections.put(Connection {
            id,
            person,
            things: Vec::new(),
            types: Vec::new(),
            children: Vec::new(),
        });
        self.slots.insert(id, slot);
        self.people.entry(person).and_modify(|slots| slots.put(slot)).or_insert(SlotSet::One(slot));
    }

    /// A socket is gone. True: it was its person's last.
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

    /// Whose socket it is.
    pub fn person(&self, id: ConnectionId) -> Option<PersonId> {
        Some(self.connection(id)?.person)
    }

    /// A person's sockets.
    pub fn connections_of(&self, person: PersonId) -> Vec<ConnectionId> {
        let slots = self.people.get(&person).map_or(&[][..], SlotSet::as_slice);
        slots.iter().filter_map(|slot| Some(self.connections.get(*slot)?.id)).collect()
    }

    fn hash(hasher: &RandomState, id: Uuid, code: Slot) -> u64 {
        hasher.hash_one((id, code))
    }

    fn entity_slot(&self, id: Uuid, code: Slot) -> Option<Slot> {
        let same = |slot: &Slot| self.things.get(*slot).is_some_and(|t| t.id == id && t.code == code);
        self.index.find(Self::hash(&self.hasher, id, code), same).copied()
    }

    /// Watches things of one type.
    pub fn subscribe_entities(&mut self, id: ConnectionId, code: &EntityCode, ids: impl IntoIterator<Item = Uuid>) {
        let Some(slot) = self.slots.get(&id).copied() else { return };
        let code = self.codes.intern(code);
        let mut new = Vec::new();
        for id in ids {
            let thing = match self.entity_slot(id, code) {
                Some(thing) => thing,
                None => {
                    let thing = self.things.put(WatchedEntity { id, code, watchers: SlotSet::One(slot) });
                    let (things, hasher) = (&self.things, &self.hasher);
                    let rehash = |slot: &Slot| things.get(*slot).map_or(0, |t| Self::hash(hasher, t.id, t.code));
                    self.index.insert_unique(Self::hash(hasher, id, code), thing, rehash);
                    thing
                }
            };
            new.push(thing);
        }
        for thing in &new {
            if let Some(thing) = self.things.get_mut(*thing) {
                thing.watchers.put(slot);
            }
        }
        let Some(connection) = self.connections.get_mut(slot) else { return };
        let before = connection.things.len();
        connection.things.reserve_exact(new.len());
        connection.things.extend(new);
        // What was refused and is watched now comes first of its two entries without the mark.
        connection.things.sort_unstable_by_key(|w| (slot_of(*w), *w & DENIED_BIT));
        connection.things.dedup_by_key(|w| slot_of(*w));
        self.watched += connection.things.len() - before;
    }

    /// Whether things of one type that are watched have been refused; a refused one hears nothing.
    pub fn set_denied(
        &mut self,
        id: ConnectionId,
        code: &EntityCode,
        ids: impl IntoIterator<Item = Uuid>,
        refused: bool,
    ) {
        let (Some(slot), Some(code)) = (self.slots.get(&id).copied(), self.codes.find(code)) else { return };
        let mark = |watch: u32| if refused { watch | DENIED_BIT } else { watch };
        for id in ids {
            let Some(number_of) = self.entity_slot(id, code) else { continue };
            let Some(connection) = self.connections.get_mut(slot) else { return };
            let Ok(at) = connection.things.binary_search_by_key(&number_of, |w| slot_of(*w)) else { continue };
            connection.things[at] = mark(number_of);
            if let Some(thing) = self.things.get_mut(number_of) {
                thing.watchers.put(mark(slot));
            }
        }
    }

    /// Watches every thing of a type.
    pub fn subscribe_type(&mut self, id: ConnectionId, code: &EntityCode) {
        let Some(slot) = self.slots.get(&id).copied() else { return };
        let code = self.codes.intern(code);
        let Some(connection) = self.connections.get_mut(slot) else { return };
        if !connection.types.contains(&code) {
            connection.types.push(code);
            self.types.entry(code).and_modify(|w| w.put(slot)).or_insert(SlotSet::One(slot));
            self.watched += 1;
        }
    }

    /// Watches things of a type below one thing.
    pub fn subscribe_children(&mut self, id: ConnectionId, parent: &EntityRef, code: &EntityCode) {
        let Some(slot) = self.slots.get(&id).copied() else { return };
        let key = (parent.id, self.codes.intern(&parent.code), self.codes.intern(code));
        self.subscribe_below(slot, key);
    }

    /// Watches things of a type anywhere below one thing.
    pub fn subscribe_tree(&mut self, id: ConnectionId, root: Uuid, code: &EntityCode) {
        let Some(slot) = self.slots.get(&id).copied() else { return };
        let key = (root, ANY_DEPTH, self.codes.intern(code));
        self.subscribe_below(slot, key);
    }

    fn subscribe_below(&mut self, slot: Slot, key: (Uuid, Slot, Slot)) {
        let Some(connection) = self.connections.get_mut(slot) else { return };
        if connection.children.contains(&key) {
            return;
        }
        connection.children.push(key);
        self.watched += 1;
        let below = &mut self.below;
        self.children.entry(key).and_modify(|w| w.put(slot)).or_insert_with(|| {
            *below.entry(key.2).or_default() += 1;
            SlotSet::One(slot)
        });
    }

    /// Stops watching the topics that `gone` says.
    pub fn unsubscribe_where(&mut self, id: ConnectionId, gone: impl Fn(&Topic) -> bool) {
        let Some(slot) = self.slots.get(&id).copied() else { return };
        let Some(connection) = self.connections.get_mut(slot) else { return };
        let (codes, things) = (&self.codes.all, &self.things);
        let code = |slot: Slot| codes[slot as usize].clone();
        let mut left = Vec::new();
        connection.things.retain(|watch| {
            let thing = things.get(slot_of(*watch));
            let goes = thing.is_none_or(|t| gone(&Topic::Entity(EntityRef::new(code(t.code), t.id))));
            left.extend(goes.then_some(slot_of(*watch)));
            !goes
        });
        let (mut types, mut children) = (Vec::new(), Vec::new());
        connection.types.retain(|at| {
            let goes = gone(&Topic::Type(code(*at)));
            types.extend(goes.then_some(*at));
            !goes
        });
        connection.children.retain(|key| {
            let goes = gone(&match key.1 {
                ANY_DEPTH => Topic::Tree { root: key.0, code: code(key.2) },
                above => Topic::Children { parent: EntityRef::new(code(above), key.0), code: code(key.2) },
            });
            children.extend(goes.then_some(*key));
            !goes
        });
        self.watched -= left.len() + types.len() + children.len();
        for thing in left {
            self.release(slot, thing);
        }
        for at in types {
            if self.types.get_mut(&at).is_some_and(|watchers| watchers.take(slot)) {
                self.types.remove(&at);
            }
        }
        for key in children {
            if self.children.get_mut(&key).is_some_and(|watchers| watchers.take(slot)) {
                self.children.remove(&key);
                if let Some(n) = self.below.get_mut(&key.2) {
                    *n -= 1;
                    if *n == 0 {
                        self.below.remove(&key.2);
                    }
                }
            }
        }
    }

    fn release(&mut self, slot: Slot, thing: Slot) {
        let Some(it) = self.things.get_mut(thing) else { return };
        if !it.watchers.take(slot) {
            return;
        }
        let hash = Self::hash(&self.hasher, it.id, it.code);
        if let Ok(entry) = self.index.find_entry(hash, |slot| *slot == thing) {
            entry.remove();
        }
        self.things.take(thing);
    }

    /// Stops watching things of one type; answers those that were watched.
    pub fn unsubscribe_entities(&mut self, id: ConnectionId, code: &EntityCode, ids: &[Uuid]) -> Vec<Uuid> {
        let (Some(slot), Some(code)) = (self.slots.get(&id).copied(), self.codes.find(code)) else { return Vec::new() };
        let found: BTreeMap<Slot, Uuid> =
            ids.iter().filter_map(|id| Some((self.entity_slot(*id, code)?, *id))).collect();
        let Some(connection) = self.connections.get_mut(slot) else { return Vec::new() };
        let before = connection.things.len();
        let mut gone = Vec::new();
        if !found.is_empty() {
            connection.things.retain(|watch| match found.get(&slot_of(*watch)) {
                Some(id) => {
                    gone.push(*id);
                    false
                }
                None => true,
            });
        }
        self.watched -= before - connection.things.len();
        let dropped: BTreeSet<Uuid> = gone.iter().copied().collect();
        for (thing, _) in found.iter().filter(|(_, id)| dropped.contains(id)) {
            self.release(slot, *thing);
        }
        gone
    }

    /// How many topics a connection watches, or asked for.
    pub fn subscription_count(&self, id: ConnectionId) -> usize {
        self.connection(id).map_or(0, |c| c.things.len() + c.types.len() + c.children.len())
    }

    /// Topics of all connections.
    pub fn subscriptions(&self) -> usize {
        self.watched
    }

    /// Open sockets.
    pub fn connections(&self) -> usize {
        self.slots.len()
    }

    /// All of them.
    pub fn ids(&self) -> impl Iterator<Item = ConnectionId> {
        self.slots.keys().copied()
    }

    /// Types whose things are watched by what they hang below.
    pub fn types_subscribed_by_parent(&self) -> Vec<EntityCode> {
        self.below.keys().map(|at| self.codes.all[*at as usize].clone()).collect()
    }

    /// Whether a change of this row could concern anybody, and so where the thing is must be known.
    pub fn has_subscribers(&self, row: &ChangeLogEntry) -> bool {
        let Some(code) = self.codes.find(&row.code) else { return false };
        self.types.contains_key(&code) || self.below.contains_key(&code) || self.entity_slot(row.id, code).is_some()
    }

    /// Whose sockets watch the thing, its type or what it hangs below; in order, each once. `above` is all that is above it, and whether by owned links
    /// alone.
    pub fn subscribers(&self, row: &ChangeLogEntry, above: &[(Uuid, bool)], into: &mut Vec<(u32, PersonId)>) {
        into.clear();
        let Some(code) = self.codes.find(&row.code) else { return };
        let mut found: Vec<Slot> = Vec::new();
        let mut add = |watchers: &SlotSet| found.extend(watchers.as_slice().iter().filter(|w| **w & DENIED_BIT == 0));
        self.types.get(&code).into_iter().for_each(&mut add);
        let thing = self.entity_slot(row.id, code).and_then(|thing| self.things.get(thing));
        thing.into_iter().for_each(|thing| add(&thing.watchers));
        if self.below.contains_key(&code) {
            for parent in &row.parents {
                let Some(above) = self.codes.find(&parent.code) else { continue };
                self.children.get(&(parent.id, above, code)).into_iter().for_each(&mut add);
            }
            for (root, _) in above.iter().filter(|(_, owned)| *owned) {
                self.children.get(&(*root, ANY_DEPTH, code)).into_iter().for_each(&mut add);
            }
            // A thing that was moved away concerns those who watched its old place.
            for old in old_reference_ids(row) {
                let there = self.children.range((old, 0, 0)..=(old, Slot::MAX, Slot::MAX));
                there.filter(|(key, _)| key.2 == code).for_each(|(_, watchers)| add(watchers));
            }
        }
        found.sort_unstable();
        found.dedup();
        into.extend(found.into_iter().filter_map(|slot| Some((slot, self.connections.get(slot)?.person))));
    }

    /// Whether one connection watches the thing, its type or what it hangs below: [`Watching::receivers`] for one alone.
    pub fn is_subscriber(&self, id: ConnectionId, row: &ChangeLogEntry, above: &[(Uuid, bool)]) -> bool {
        let (Some(code), Some(connection)) = (self.codes.find(&row.code), self.connection(id)) else { return false };
        let below = |key: &(Uuid, Slot, Slot)| {
            let is_above = |parent: &EntityRef| parent.id == key.0 && self.codes.find(&parent.code) == Some(key.1);
            let was_above = || old_reference_ids(row).any(|old| old == key.0);
            let far_above = || key.1 == ANY_DEPTH && above.contains(&(key.0, true));
            key.2 == code && (row.parents.iter().any(is_above) || was_above() || far_above())
        };
        let single = || {
            let thing = self.entity_slot(row.id, code)?;
            let at = connection.things.binary_search_by_key(&thing, |w| slot_of(*w)).ok()?;
            Some(connection.things[at] & DENIED_BIT == 0)
        };
        connection.types.contains(&code) || single() == Some(true) || connection.children.iter().any(below)
    }

    /// The connection in a place that [`Watching::receivers`] named.
    pub fn connection_at(&self, slot: u32) -> Option<ConnectionId> {
        Some(self.connections.get(slot)?.id)
    }

    /// The place of a connection.
    pub fn connection_slot(&self, id: ConnectionId) -> Option<u32> {
        self.slots.get(&id).copied()
    }

    /// The persons who watch the children of a thing to which `rows` tie others, or from which they untie them.
    pub fn watchers_of_linked(&self, rows: &[ChangeLogEntry]) -> BTreeSet<PersonId> {
        let topics = rows.iter().filter(|row| row.code == "entity_instance_link").filter_map(|row| {
            let code = |column| self.codes.find(&EntityCode::new(row.new_value_str(column)?).ok()?);
            let (parent, below) = (row.new_value_str("parent_id")?.parse().ok()?, code("child_code")?);
            Some([(parent, code("parent_code")?, below), (parent, ANY_DEPTH, below)])
        });
        let watching = topics.flatten().filter_map(|key| self.children.get(&key)).flat_map(SlotSet::as_slice);
        watching.filter_map(|slot| Some(self.connections.get(*slot)?.person)).collect()
    }

    /// The persons who watch trees with one of these roots; all who watch any where it is not known which.
    pub fn tree_watchers(&self, roots: Option<BTreeSet<Uuid>>) -> BTreeSet<PersonId> {
        let of_root = |root: Uuid| self.children.range((root, ANY_DEPTH, 0)..=(root, ANY_DEPTH, Slot::MAX));
        let mut watching: Vec<&SlotSet> = Vec::new();
        match &roots {
            Some(roots) => watching.extend(roots.iter().flat_map(|root| of_root(*root)).map(|(_, watchers)| watchers)),
            None => watching
                .extend(self.children.iter().filter(|(key, _)| key.1 == ANY_DEPTH).map(|(_, watchers)| watchers)),
        }
        let slots = watching.into_iter().flat_map(SlotSet::as_slice);
        slots.filter_map(|slot| Some(self.connections.get(*slot)?.person)).collect()
    }

    /// Single things that a connection watches, and those that it asked for in vain.
    pub fn entity_subscriptions(&self, id: ConnectionId) -> impl Iterator<Item = (EntityRef, bool)> {
        let things = self.connection(id).map_or(&[][..], |c| &c.things);
        things.iter().filter_map(|watch| {
            let thing = self.things.get(slot_of(*watch))?;
            let code = self.codes.all.get(thing.code as usize)?.clone();
            Some((EntityRef::new(code, thing.id), watch & DENIED_BIT != 0))
        })
    }

    /// Whether a connection would hear of things of a type that it does not name one by one.
    pub fn has_broad_subscription(&self, id: ConnectionId, code: &EntityCode) -> bool {
        let Some(code) = self.codes.find(code) else { return false };
        self.connection(id).is_some_and(|c| c.types.contains(&code) || c.children.iter().any(|key| key.2 == code))
    }
}

/// Ids that a changed row held before.
fn old_reference_ids(row: &ChangeLogEntry) -> impl Iterator<Item = Uuid> {
    let values = row.diff.as_object().into_iter().flatten().map(|(_, values)| values);
    values.filter_map(|values| values.get("old")?.as_str()?.parse().ok())
}

#[cfg(test)]
mod tests;
