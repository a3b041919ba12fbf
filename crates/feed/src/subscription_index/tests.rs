//! Property test of the subscription index against a plain list of subscriptions.

use super::*;
use pmo_domain::{UnixMillis, Version};
use proptest::prelude::*;
use serde_json::json;

const CODES: [&str; 3] = ["project", "task", "risk"];

fn code(n: usize) -> EntityCode {
    EntityCode::new(CODES[n % 3]).unwrap()
}
fn entity(n: usize) -> EntityRef {
    EntityRef::new(code(n), Uuid::from_u128(n as u128 / 3 + 1))
}
fn row(entity: &EntityRef, parents: Vec<EntityRef>, old: Option<Uuid>) -> ChangeLogEntry {
    let diff = old.map_or(json!({}), |old| json!({"parent_id": {"old": old}}));
    let (code, id) = (entity.code.clone(), entity.id);
    ChangeLogEntry {
        seq: 1,
        xid: 1,
        code,
        id,
        action: 3,
        version: Version(1),
        diff,
        ancestor_set: None,
        tx_started_at: UnixMillis::EPOCH,
        parents,
    }
}

/// Reference model of the index: topics by connection, each with whether it is denied.
#[derive(Default)]
struct Model(BTreeMap<ConnectionId, (PersonId, BTreeMap<Topic, bool>)>);

impl Model {
    fn subscribers(&self, row: &ChangeLogEntry, ancestors: &[(Uuid, bool)]) -> BTreeSet<ConnectionId> {
        let entity = EntityRef::new(row.code.clone(), row.id);
        let old = row.diff.get("parent_id").and_then(|v| v["old"].as_str()?.parse::<Uuid>().ok());
        let matches = |topic: &Topic| match topic {
            Topic::Entity(e) => *e == entity,
            Topic::Type(code) => *code == row.code,
            Topic::Children { parent, code } => {
                *code == row.code && (row.parents.contains(parent) || old == Some(parent.id))
            }
            Topic::Tree { root, code } => {
                *code == row.code && (ancestors.contains(&(*root, true)) || old == Some(*root))
            }
        };
        let subscribed =
            |topics: &BTreeMap<Topic, bool>| topics.iter().any(|(topic, denied)| !denied && matches(topic));
        self.0.iter().filter(|(_, (_, topics))| subscribed(topics)).map(|(id, _)| *id).collect()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]
    #[test]
    fn index_equals_a_plain_list(
        steps in prop::collection::vec((0..11u8, 0..4u64, 0..9usize, 0..9usize), 1..60)
    ) {
        let mut index = SubscriptionIndex::default();
        let mut model = Model::default();
        for (step, which, a, b) in steps {
            let id = ConnectionId(which);
            let person = PersonId(Uuid::from_u128(u128::from(which) / 2));
            match step {
                0 => {
                    index.connect(id, person);
                    model.0.entry(id).or_insert((person, BTreeMap::new()));
                }
                1 => {
                    let last = model.0.remove(&id).is_some() && !model.0.values().any(|(p, _)| *p == person);
                    prop_assert_eq!(index.disconnect(id), last);
                }
                2 | 3 => {
                    let entities = [entity(a), EntityRef::new(entity(a).code, entity(b).id)];
                    index.subscribe_entities(id, &entities[0].code, entities.iter().map(|e| e.id));
                    if let Some((_, topics)) = model.0.get_mut(&id) {
                        topics.extend(entities.map(|e| (Topic::Entity(e), false)));
                    }
                }
                4 => {
                    index.subscribe_type(id, &code(a));
                    if let Some((_, topics)) = model.0.get_mut(&id) { topics.insert(Topic::Type(code(a)), false); }
                }
                5 => {
                    index.subscribe_children(id, &entity(a), &code(b));
                    if let Some((_, topics)) = model.0.get_mut(&id) {
                        topics.insert(Topic::Children { parent: entity(a), code: code(b) }, false);
                    }
                }
                9 => {
                    index.subscribe_tree(id, entity(a).id, &code(b));
                    if let Some((_, topics)) = model.0.get_mut(&id) {
                        topics.insert(Topic::Tree { root: entity(a).id, code: code(b) }, false);
                    }
                }
                6 => {
                    let access = if b % 2 == 0 { EntityAccess::Denied } else { EntityAccess::Allowed };
                    index.set_access(id, &code(a), [entity(a).id], access);
                    if let Some(denied) = model.0.get_mut(&id).and_then(|(_, topics)| topics.get_mut(&Topic::Entity(entity(a)))) {
                        *denied = b % 2 == 0;
                    }
                }
                7 => {
                    let remove = |topic: &Topic| match topic {
                        Topic::Entity(e) => e.code == code(a),
                        Topic::Type(c) => *c == code(b),
                        Topic::Children { parent, .. } => parent.id == entity(a).id,
                        Topic::Tree { root, code: c } => *root == entity(b).id && *c == code(a),
                    };
                    index.unsubscribe_where(id, remove);
                    if let Some((_, topics)) = model.0.get_mut(&id) { topics.retain(|t, _| !remove(t)); }
                }
                8 => {
                    let ids = [entity(a).id, entity(b).id];
                    let removed = index.unsubscribe_entities(id, &code(a), &ids);
                    if let Some((_, topics)) = model.0.get_mut(&id) {
                        let before = topics.len();
                        topics.retain(|t, _| !matches!(t, Topic::Entity(e) if e.code == code(a) && ids.contains(&e.id)));
                        prop_assert_eq!(removed.len(), before - topics.len());
                    }
                }
                _ => {
                    let row = row(&entity(a), vec![entity(b)], Some(entity(b + 1).id));
                    let mut found = Vec::new();
                    let ancestors = [(entity(b).id, true), (entity(a + 3).id, b % 2 == 0)];
                    index.subscribers(&row, &ancestors, &mut found);
                    let found: BTreeSet<ConnectionId> = found.iter().filter_map(|(slot, _)| index.connection_at(*slot)).collect();
                    prop_assert_eq!(&found, &model.subscribers(&row, &ancestors));
                    prop_assert!(index.has_subscribers(&row) || found.is_empty());
                    let is_tree = |t: &Topic, expected: Option<Uuid>| matches!(t, Topic::Tree { root, .. } if expected.is_none_or(|id| id == *root));
                    for root in [Some(entity(b).id), None] {
                        let people = model.0.values().filter(|(_, topics)| topics.keys().any(|t| is_tree(t, root))).map(|(p, _)| *p);
                        prop_assert_eq!(index.tree_subscribers(root.map(|id| [id].into())), people.collect::<BTreeSet<_>>());
                    }
                    for id in (0..4).map(ConnectionId) {
                        prop_assert_eq!(index.is_subscriber(id, &row, &ancestors), found.contains(&id));
                    }
                }
            }
            let count: usize = model.0.values().map(|(_, topics)| topics.len()).sum();
            prop_assert_eq!((index.subscriptions(), index.connections()), (count, model.0.len()));
            for (id, (person, topics)) in &model.0 {
                let actual: BTreeMap<EntityRef, bool> = index.entity_subscriptions(*id).collect();
                let expected: BTreeMap<EntityRef, bool> = topics.iter().filter_map(|(t, r)| match t { Topic::Entity(e) => Some((e.clone(), *r)), _ => None }).collect();
                prop_assert_eq!((actual, index.person(*id), index.subscription_count(*id)), (expected, Some(*person), topics.len()));
            }
        }
        for id in model.0.keys() { index.disconnect(*id); }
        prop_assert!(index.index.is_empty() && index.types.is_empty() && index.children.is_empty() && index.people.is_empty(), "the index is empty");
    }
}
