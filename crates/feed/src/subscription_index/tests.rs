//! The index beside a plain list of who watches what: they must always say the same.

use super::*;
use pmo_domain::Version;
use proptest::prelude::*;
use serde_json::json;

const CODES: [&str; 3] = ["project", "task", "risk"];

fn code(at: usize) -> EntityCode {
    EntityCode::new(CODES[at % 3]).unwrap()
}
fn thing(n: usize) -> EntityRef {
    EntityRef::new(code(n), Uuid::from_u128(n as u128 / 3 + 1))
}
fn row(entity: &EntityRef, parents: Vec<EntityRef>, old: Option<Uuid>) -> ChangeLogEntry {
    let changed = old.map_or(json!({}), |old| json!({"parent_id": {"old": old}}));
    let (code, id) = (entity.code.clone(), entity.id);
    ChangeLogEntry {
        seq: 1,
        xid: 1,
        code,
        id,
        action: 3,
        version: Version(1),
        diff: changed,
        ancestor_set: None,
        tx_started_at_ms: 0,
        parents,
    }
}

/// What the index does, written down plainly.
#[derive(Default)]
struct Model(BTreeMap<ConnectionId, (PersonId, BTreeMap<Topic, bool>)>);

impl Model {
    fn receivers(&self, row: &ChangeLogEntry, above: &[(Uuid, bool)]) -> BTreeSet<ConnectionId> {
        let entity = EntityRef::new(row.code.clone(), row.id);
        let old = row.diff.get("parent_id").and_then(|v| v["old"].as_str()?.parse::<Uuid>().ok());
        let hears = |topic: &Topic| match topic {
            Topic::Entity(e) => *e == entity,
            Topic::Type(code) => *code == row.code,
            Topic::Children { parent, code } => {
                *code == row.code && (row.parents.contains(parent) || old == Some(parent.id))
            }
            Topic::Tree { root, code } => *code == row.code && (above.contains(&(*root, true)) || old == Some(*root)),
        };
        let watches = |topics: &BTreeMap<Topic, bool>| topics.iter().any(|(topic, refused)| !refused && hears(topic));
        self.0.iter().filter(|(_, (_, topics))| watches(topics)).map(|(id, _)| *id).collect()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]
    #[test]
    fn the_index_says_what_a_plain_list_says(
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
                    let things = [thing(a), EntityRef::new(thing(a).code, thing(b).id)];
                    index.subscribe_entities(id, &things[0].code, things.iter().map(|t| t.id));
                    if let Some((_, topics)) = model.0.get_mut(&id) {
                        topics.extend(things.map(|t| (Topic::Entity(t), false)));
                    }
                }
                4 => {
                    index.subscribe_type(id, &code(a));
                    if let Some((_, topics)) = model.0.get_mut(&id) { topics.insert(Topic::Type(code(a)), false); }
                }
                5 => {
                    index.subscribe_children(id, &thing(a), &code(b));
                    if let Some((_, topics)) = model.0.get_mut(&id) {
                        topics.insert(Topic::Children { parent: thing(a), code: code(b) }, false);
                    }
                }
                9 => {
                    index.subscribe_tree(id, thing(a).id, &code(b));
                    if let Some((_, topics)) = model.0.get_mut(&id) {
                        topics.insert(Topic::Tree { root: thing(a).id, code: code(b) }, false);
                    }
                }
                6 => {
                    index.set_denied(id, &code(a), [thing(a).id], b % 2 == 0);
                    if let Some(refused) = model.0.get_mut(&id).and_then(|(_, topics)| topics.get_mut(&Topic::Entity(thing(a)))) {
                        *refused = b % 2 == 0;
                    }
                }
                7 => {
                    let gone = |topic: &Topic| match topic {
                        Topic::Entity(e) => e.code == code(a),
                        Topic::Type(c) => *c == code(b),
                        Topic::Children { parent, .. } => parent.id == thing(a).id,
                        Topic::Tree { root, code: c } => *root == thing(b).id && *c == code(a),
                    };
                    index.unsubscribe_where(id, gone);
                    if let Some((_, topics)) = model.0.get_mut(&id) { topics.retain(|t, _| !gone(t)); }
                }
                8 => {
                    let ids = [thing(a).id, thing(b).id];
                    let gone = index.unsubscribe_entities(id, &code(a), &ids);
                    if let Some((_, topics)) = model.0.get_mut(&id) {
                        let before = topics.len();
                        topics.retain(|t, _| !matches!(t, Topic::Entity(e) if e.code == code(a) && ids.contains(&e.id)));
                        prop_assert_eq!(gone.len(), before - topics.len());
                    }
                }
                _ => {
                    let row = row(&thing(a), vec![thing(b)], Some(thing(b + 1).id));
                    let mut found = Vec::new();
                    let above = [(thing(b).id, true), (thing(a + 3).id, b % 2 == 0)];
                    index.subscribers(&row, &above, &mut found);
                    let found: BTreeSet<ConnectionId> = found.iter().filter_map(|(slot, _)| index.connection_at(*slot)).collect();
                    prop_assert_eq!(&found, &model.receivers(&row, &above));
                    prop_assert!(index.has_subscribers(&row) || found.is_empty());
                    let tree = |t: &Topic, at: Option<Uuid>| matches!(t, Topic::Tree { root, .. } if at.is_none_or(|at| at == *root));
                    for at in [Some(thing(b).id), None] {
                        let people = model.0.values().filter(|(_, topics)| topics.keys().any(|t| tree(t, at))).map(|(p, _)| *p);
                        prop_assert_eq!(index.tree_watchers(at.map(|at| [at].into())), people.collect::<BTreeSet<_>>());
                    }
                    for id in (0..4).map(ConnectionId) {
                        prop_assert_eq!(index.is_subscriber(id, &row, &above), found.contains(&id));
                    }
                }
            }
            let count: usize = model.0.values().map(|(_, topics)| topics.len()).sum();
            prop_assert_eq!((index.subscriptions(), index.connections()), (count, model.0.len()));
            for (id, (person, topics)) in &model.0 {
                let things: BTreeMap<EntityRef, bool> = index.entity_subscriptions(*id).collect();
                let wanted: BTreeMap<EntityRef, bool> = topics.iter().filter_map(|(t, r)| match t { Topic::Entity(e) => Some((e.clone(), *r)), _ => None }).collect();
                prop_assert_eq!((things, index.person(*id), index.subscription_count(*id)), (wanted, Some(*person), topics.len()));
            }
        }
        for id in model.0.keys() { index.disconnect(*id); }
        prop_assert!(index.index.is_empty() && index.types.is_empty() && index.children.is_empty() && index.people.is_empty(), "nothing stays behind");
    }
}
