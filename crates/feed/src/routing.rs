//! Who watches what, and who is told of a change. Permissions are not decided here but asked for: a change reaches a connection
//! only if the answer says that its person may see the thing.

use pmo_domain::change::LogRow;
use pmo_domain::socket::{Action, Change, Changes, ServerMessage};
use pmo_domain::{EVERY_INSTANCE, EntityCode, EntityRef, FeedCursor, Permission, PersonId};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
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
}

impl Topic {
    fn code(&self) -> &EntityCode {
        match self {
            Self::Entity(entity) => &entity.code,
            Self::Type(code) | Self::Children { code, .. } => code,
        }
    }
}

/// Levels of persons on things of one type, absent where there is no access.
pub type Levels = HashMap<(PersonId, EntityRef), Permission>;
/// What things hang below.
pub type Parents = HashMap<EntityRef, Vec<EntityRef>>;

struct Connection {
    person: PersonId,
    topics: BTreeSet<Topic>,
    /// Things asked for and not shown; a grant may open them.
    refused: BTreeSet<EntityRef>,
}

/// Connections and what they watch.
#[derive(Default)]
pub struct Feed {
    connections: BTreeMap<ConnectionId, Connection>,
    by_topic: HashMap<Topic, BTreeSet<ConnectionId>>,
    /// Topics of all connections.
    watched: usize,
    access_epoch: u64,
}

impl Feed {
    /// A person's new socket.
    pub fn connect(&mut self, id: ConnectionId, person: PersonId) {
        self.connections.insert(id, Connection { person, topics: BTreeSet::new(), refused: BTreeSet::new() });
    }

    /// A socket is gone.
    pub fn disconnect(&mut self, id: ConnectionId) {
        if let Some(connection) = self.connections.remove(&id) {
            for topic in connection.topics {
                self.forget(id, &topic);
            }
        }
    }

    /// Watches a topic whose permission has been checked.
    pub fn watch(&mut self, id: ConnectionId, topic: Topic) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        if let Topic::Entity(entity) = &topic {
            connection.refused.remove(entity);
        }
        connection.topics.insert(topic.clone());
        self.watched += usize::from(self.by_topic.entry(topic).or_default().insert(id));
    }

    /// Remembers a thing that was asked for and not shown.
    pub fn refuse(&mut self, id: ConnectionId, entity: EntityRef) {
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.refused.insert(entity);
        }
    }

    /// Stops watching the topics that `gone` says.
    pub fn unwatch(&mut self, id: ConnectionId, gone: impl Fn(&Topic) -> bool) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let topics: Vec<Topic> = connection.topics.iter().filter(|t| gone(t)).cloned().collect();
        connection.topics.retain(|t| !gone(t));
        connection.refused.retain(|e| !gone(&Topic::Entity(e.clone())));
        for topic in topics {
            self.forget(id, &topic);
        }
    }

    fn forget(&mut self, id: ConnectionId, topic: &Topic) {
        if let Some(watchers) = self.by_topic.get_mut(topic) {
            self.watched -= usize::from(watchers.remove(&id));
            if watchers.is_empty() {
                self.by_topic.remove(topic);
            }
        }
    }

    /// How many topics a connection watches.
    pub fn watched(&self, id: ConnectionId) -> usize {
        self.connections.get(&id).map_or(0, |c| c.topics.len() + c.refused.len())
    }

    /// Topics of all connections.
    pub fn subscriptions(&self) -> usize {
        self.watched
    }

    /// Distinct persons that are connected.
    pub fn persons(&self) -> BTreeSet<PersonId> {
        self.connections.values().map(|c| c.person).collect()
    }

    /// Open sockets.
    pub fn connection_count(&self) -> usize {
        self.connections.len()
    }

    /// The things whose parents decide who is told of `rows`: those of a type that somebody watches by parent.
    pub fn parents_wanted(&self, rows: &[LogRow]) -> BTreeMap<EntityCode, BTreeSet<Uuid>> {
        let by_parent: HashSet<&EntityCode> = self
            .by_topic
            .keys()
            .filter_map(|t| if let Topic::Children { code, .. } = t { Some(code) } else { None })
            .collect();
        let mut wanted: BTreeMap<EntityCode, BTreeSet<Uuid>> = BTreeMap::new();
        for row in rows.iter().filter(|r| by_parent.contains(&r.code)) {
            wanted.entry(row.code.clone()).or_default().insert(row.id);
        }
        wanted
    }

    fn receivers(&self, row: &LogRow, parents: &Parents, only: Option<ConnectionId>) -> BTreeSet<ConnectionId> {
        let entity = EntityRef::new(row.code.clone(), row.id);
        let mut topics = vec![Topic::Type(row.code.clone()), Topic::Entity(entity.clone())];
        for parent in parents.get(&entity).into_iter().flatten() {
            topics.push(Topic::Children { parent: parent.clone(), code: row.code.clone() });
        }
        // A thing that was moved away concerns those who watched its old place.
        for values in row.changed.as_object().into_iter().flatten().map(|(_, v)| v) {
            if let Some(old) = values.get("old").and_then(|o| o.as_str()).and_then(|o| o.parse::<Uuid>().ok()) {
                let from_there =
                    |t: &&Topic| matches!(t, Topic::Children { parent, code } if parent.id == old && *code == row.code);
                topics.extend(self.by_topic.keys().filter(from_there).cloned());
            }
        }
        let found = topics.iter().filter_map(|t| self.by_topic.get(t)).flatten().copied();
        found.filter(|id| only.is_none_or(|o| o == *id)).collect()
    }

    /// Whose permission on what must be known before `rows` are told; of one connection alone, or of all.
    pub fn levels_wanted(
        &self,
        rows: &[LogRow],
        parents: &Parents,
        only: Option<ConnectionId>,
    ) -> BTreeMap<EntityCode, (BTreeSet<PersonId>, BTreeSet<Uuid>)> {
        let mut wanted: BTreeMap<EntityCode, (BTreeSet<PersonId>, BTreeSet<Uuid>)> = BTreeMap::new();
        for row in rows.iter().filter(|r| !r.is_access()) {
            for id in self.receivers(row, parents, only) {
                if let Some(connection) = self.connections.get(&id) {
                    let entry = wanted.entry(row.code.clone()).or_default();
                    entry.0.insert(connection.person);
                    entry.1.insert(row.id);
                }
            }
        }
        wanted
    }

    /// What to send for `rows`. Several changes of one thing become one.
    pub fn tell(
        &self,
        rows: &[LogRow],
        parents: &Parents,
        levels: &Levels,
        cursor: &FeedCursor,
        timestamp: &str,
        only: Option<ConnectionId>,
    ) -> Vec<(ConnectionId, ServerMessage)> {
        let mut told: BTreeMap<(ConnectionId, EntityCode), Changes> = BTreeMap::new();
        for row in rows.iter().filter(|r| !r.is_access()) {
            let entity = EntityRef::new(row.code.clone(), row.id);
            for id in self.receivers(row, parents, only) {
                let Some(connection) = self.connections.get(&id) else { continue };
                if !levels.contains_key(&(connection.person, entity.clone())) {
                    continue;
                }
                let change = Change { entity_id: row.id, action: row.told_as(), version: row.version };
                told.entry((id, row.code.clone())).or_default().add(change);
            }
        }
        told.into_iter().map(|((id, code), changes)| (id, invalidate(code, changes, cursor, timestamp))).collect()
    }

    /// The persons who watch the children of a thing to which `rows` tie others, or from which they untie them.
    pub fn tied(&self, rows: &[LogRow]) -> BTreeSet<PersonId> {
        let topics = rows.iter().filter(|row| row.code == "entity_instance_link").filter_map(|row| {
            let code = |column| EntityCode::new(row.new_text(column)?).ok();
            let parent = EntityRef::new(code("parent_code")?, row.new_text("parent_id")?.parse().ok()?);
            Some(Topic::Children { parent, code: code("child_code")? })
        });
        let watching = topics.filter_map(|topic| self.by_topic.get(&topic)).flatten();
        watching.filter_map(|id| self.connections.get(id)).map(|connection| connection.person).collect()
    }

    /// The persons who watch a thing that `rows` say is gone, and of which it is not known any more where it was.
    pub fn bereft(&self, rows: &[LogRow]) -> BTreeSet<PersonId> {
        let gone = rows.iter().filter(|row| row.reach.is_none() && !row.is_access());
        let watching = gone.flat_map(|row| self.receivers(row, &Parents::new(), None));
        watching.filter_map(|id| self.connections.get(&id)).map(|connection| connection.person).collect()
    }

    /// Single things that persons watch or asked for in vain, and things that grants in `rows` name, each with those for whom it must be known
    /// after their access changed.
    pub fn access_wanted(
        &self,
        persons: &BTreeSet<PersonId>,
        rows: &[LogRow],
    ) -> BTreeMap<EntityCode, BTreeMap<Uuid, BTreeSet<PersonId>>> {
        let mut wanted: BTreeMap<EntityCode, BTreeMap<Uuid, BTreeSet<PersonId>>> = BTreeMap::new();
        let named: Vec<EntityRef> = rows.iter().filter_map(named).collect();
        for connection in self.connections.values().filter(|c| persons.contains(&c.person)) {
            let watched =
                connection.topics.iter().filter_map(|t| if let Topic::Entity(e) = t { Some(e) } else { None });
            for entity in watched.chain(&connection.refused).chain(&named) {
                let of_type = wanted.entry(entity.code.clone()).or_default();
                of_type.entry(entity.id).or_default().insert(connection.person);
            }
        }
        wanted
    }

    /// Applies a change of access: what persons lost is REVOKE, what they gained CREATE, and ACCESS tells those of `sweeping` to sweep what they
    /// hold beyond that. `before` and `levels`: what they saw and see of what they watch and of what grants in `rows` name.
    #[allow(clippy::too_many_arguments)] // each is another answer of the shell's
    pub fn change_access(
        &mut self,
        persons: &BTreeSet<PersonId>,
        sweeping: &BTreeSet<PersonId>,
        rows: &[LogRow],
        before: &Levels,
        levels: &Levels,
        cursor: &FeedCursor,
        timestamp: &str,
    ) -> Vec<(ConnectionId, ServerMessage)> {
        self.access_epoch += 1;
        let mut messages = Vec::new();
        let ids: Vec<ConnectionId> =
            self.connections.iter().filter(|(_, c)| persons.contains(&c.person)).map(|(id, _)| *id).collect();
        for id in ids {
            let Some(connection) = self.connections.get(&id) else { continue };
            let person = connection.person;
            let sees = |entity: &EntityRef| levels.contains_key(&(person, entity.clone()));
            let lost: Vec<Topic> = connection
                .topics
                .iter()
                .filter(|t| match t {
                    Topic::Entity(entity) => !sees(entity),
                    // Each change is checked at delivery; the topic waits for the grant to come back.
                    Topic::Children { .. } | Topic::Type(_) => false,
                })
                .cloned()
                .collect();
            let gained: Vec<EntityRef> = connection.refused.iter().filter(|e| sees(e)).cloned().collect();
            let mut told: BTreeMap<EntityCode, Changes> = BTreeMap::new();
            let mut note = |entity: &EntityRef, action| {
                let change = Change { entity_id: entity.id, action, version: Default::default() };
                told.entry(entity.code.clone()).or_default().add(change);
            };
            for topic in &lost {
                if let Topic::Entity(entity) = topic {
                    note(entity, Action::Revoke);
                }
            }
            for entity in &gained {
                note(entity, Action::Create);
            }
            for entity in rows.iter().filter_map(named) {
                let watches =
                    connection.topics.iter().any(|t| !matches!(t, Topic::Entity(_)) && *t.code() == entity.code);
                let saw = before.contains_key(&(person, entity.clone()));
                match (watches, saw, sees(&entity)) {
                    (true, false, true) => note(&entity, Action::Create),
                    (true, true, false) => note(&entity, Action::Revoke),
                    _ => {}
                }
            }
            for topic in lost {
                if let Topic::Entity(entity) = &topic {
                    self.refuse(id, entity.clone());
                }
                if let Some(connection) = self.connections.get_mut(&id) {
                    connection.topics.remove(&topic);
                }
                self.forget(id, &topic);
            }
            for entity in gained {
                self.watch(id, Topic::Entity(entity));
            }
            messages.extend(told.into_iter().map(|(code, changes)| (id, invalidate(code, changes, cursor, timestamp))));
            if sweeping.contains(&person) {
                messages.push((id, ServerMessage::Access { access_epoch: self.access_epoch.to_string() }));
            }
        }
        messages
    }
}

/// The single thing that a grant's row names.
fn named(row: &LogRow) -> Option<EntityRef> {
    if row.code != "entity_rbac" {
        return None;
    }
    let id = row.new_text("entity_instance_id")?.parse().ok().filter(|id| *id != EVERY_INSTANCE)?;
    Some(EntityRef::new(EntityCode::new(row.new_text("entity_code")?).ok()?, id))
}

fn invalidate(entity_code: EntityCode, changes: Changes, cursor: &FeedCursor, timestamp: &str) -> ServerMessage {
    let changes = changes.into_list();
    ServerMessage::Invalidate { entity_code, changes, timestamp: timestamp.to_owned(), cursor: cursor.to_string() }
}
