use super::*;
use pmo_domain::change::LogRow;
use pmo_domain::socket::{Action, ServerMessage};
use pmo_domain::{EntityCode, EntityRef, FeedCursor, Permission, PersonId, Version};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use uuid::Uuid;

const CURSOR: FeedCursor = FeedCursor { epoch: 1, horizon: 9 };
const ANN: PersonId = PersonId(Uuid::from_u128(1));
const BOB: PersonId = PersonId(Uuid::from_u128(2));

fn code(text: &str) -> EntityCode {
    EntityCode::new(text).unwrap()
}

fn thing(kind: &str, id: u128) -> EntityRef {
    EntityRef::new(code(kind), Uuid::from_u128(id))
}

fn row(seq: i64, entity: &EntityRef, action: i16, changed: Value) -> LogRow {
    LogRow { seq, xid: seq, code: entity.code.clone(), id: entity.id, action, version: Version(seq), changed }
}

fn sees(pairs: &[(PersonId, &EntityRef)]) -> Levels {
    pairs.iter().map(|(p, e)| ((*p, (*e).clone()), Permission::View)).collect()
}

fn actions(messages: &[(ConnectionId, ServerMessage)], to: ConnectionId) -> Vec<(Uuid, Action)> {
    messages
        .iter()
        .filter(|(id, _)| *id == to)
        .filter_map(|(_, m)| if let ServerMessage::Invalidate { changes, .. } = m { Some(changes) } else { None })
        .flatten()
        .map(|c| (c.entity_id, c.action))
        .collect()
}

fn two_people() -> (Feed, ConnectionId, ConnectionId) {
    let (a, b) = (ConnectionId(1), ConnectionId(2));
    let mut feed = Feed::default();
    feed.connect(a, ANN);
    feed.connect(b, BOB);
    (feed, a, b)
}

#[test]
fn a_change_reaches_those_who_watch_and_may_see_it() {
    let (mut feed, a, b) = two_people();
    let task = thing("task", 10);
    for id in [a, b] {
        feed.watch(id, Topic::Type(code("task")));
    }
    let rows = [row(1, &task, 3, json!({}))];
    let told = feed.tell(&rows, &Parents::new(), &sees(&[(ANN, &task)]), CURSOR, "t", None);
    assert_eq!(actions(&told, a), [(task.id, Action::Update)]);
    assert_eq!(actions(&told, b), []);
}

#[test]
fn children_are_heard_by_those_who_watch_their_parent_and_by_no_other() {
    let (mut feed, a, b) = two_people();
    let (project, other, task) = (thing("project", 1), thing("project", 2), thing("task", 10));
    feed.watch(a, Topic::Children { parent: project.clone(), code: code("task") });
    feed.watch(b, Topic::Children { parent: other.clone(), code: code("task") });
    let rows = [row(1, &task, 6, json!({}))];
    let parents = Parents::from([(task.clone(), vec![project])]);
    let told = feed.tell(&rows, &parents, &sees(&[(ANN, &task), (BOB, &task)]), CURSOR, "t", None);
    assert_eq!(actions(&told, a), [(task.id, Action::Create)]);
    assert_eq!(actions(&told, b), []);
    // Moved to the other project, both hear of it.
    let moved = [row(2, &task, 3, json!({"project_id": {"old": Uuid::from_u128(1), "new": Uuid::from_u128(2)}}))];
    let parents = Parents::from([(task.clone(), vec![other])]);
    let told = feed.tell(&moved, &parents, &sees(&[(ANN, &task), (BOB, &task)]), CURSOR, "t", None);
    assert_eq!((actions(&told, a).len(), actions(&told, b).len()), (1, 1));
}

#[test]
fn five_changes_of_one_thing_are_told_as_one() {
    let (mut feed, a, _) = two_people();
    let task = thing("task", 10);
    feed.watch(a, Topic::Entity(task.clone()));
    let rows: Vec<_> = (1..=5).map(|seq| row(seq, &task, if seq == 1 { 6 } else { 3 }, json!({}))).collect();
    let told = feed.tell(&rows, &Parents::new(), &sees(&[(ANN, &task)]), CURSOR, "t", None);
    assert_eq!(actions(&told, a), [(task.id, Action::Create)]);
    let ServerMessage::Invalidate { changes, .. } = &told[0].1 else { panic!("an INVALIDATE") };
    assert_eq!(changes[0].version, Version(5));
}

#[test]
fn one_tab_closing_silences_no_other() {
    let mut feed = Feed::default();
    let (first, second) = (ConnectionId(1), ConnectionId(2));
    let task = thing("task", 10);
    for id in [first, second] {
        feed.connect(id, ANN);
        feed.watch(id, Topic::Entity(task.clone()));
    }
    feed.disconnect(first);
    let told = feed.tell(&[row(1, &task, 3, json!({}))], &Parents::new(), &sees(&[(ANN, &task)]), CURSOR, "t", None);
    assert_eq!(actions(&told, second), [(task.id, Action::Update)]);
    assert_eq!(feed.subscriptions(), 1);
}

#[test]
fn a_lost_grant_revokes_and_a_new_one_brings_back() {
    let (mut feed, a, b) = two_people();
    let task = thing("task", 10);
    feed.watch(a, Topic::Entity(task.clone()));
    feed.watch(b, Topic::Entity(task.clone()));
    let grant = thing("entity_rbac", 90);
    let change = [row(
        1,
        &grant,
        4,
        json!({"person_id": {"new": ANN.0}, "entity_code": {"new": "task"}, "entity_instance_id": {"new": task.id}}),
    )];
    let persons = feed.concerned(&change);
    assert_eq!(persons, BTreeSet::from([ANN]));
    let told = feed.change_access(&persons, &change, &Levels::new(), CURSOR, "t");
    assert_eq!(actions(&told, a), [(task.id, Action::Revoke)]);
    assert!(told.iter().any(|(id, m)| *id == a && matches!(m, ServerMessage::Access { .. })));
    assert!(told.iter().all(|(id, _)| *id == a));
    // Nothing more reaches the one who lost it, not even with a stale answer.
    let rows = [row(2, &task, 3, json!({}))];
    assert_eq!(actions(&feed.tell(&rows, &Parents::new(), &sees(&[(ANN, &task)]), CURSOR, "t", None), a), []);
    let told = feed.change_access(&persons, &change, &sees(&[(ANN, &task)]), CURSOR, "t");
    assert_eq!(actions(&told, a), [(task.id, Action::Create)]);
    assert_eq!(actions(&feed.tell(&rows, &Parents::new(), &sees(&[(ANN, &task)]), CURSOR, "t", None), a).len(), 1);
}

#[test]
fn a_grant_to_a_role_concerns_everybody_who_is_here() {
    let (feed, ..) = two_people();
    let grant = row(
        1,
        &thing("entity_rbac", 90),
        4,
        json!({"person_id": {"new": null}, "role_id": {"new": Uuid::from_u128(5)}}),
    );
    assert_eq!(feed.concerned(&[grant]), BTreeSet::from([ANN, BOB]));
}

#[test]
fn a_role_or_a_person_put_out_of_use_changes_what_people_see() {
    let (feed, ..) = two_people();
    let off = json!({"active_flag": {"old": true, "new": false}});
    assert_eq!(feed.concerned(&[row(1, &thing("role", 7), 5, off.clone())]), BTreeSet::from([ANN, BOB]));
    assert_eq!(feed.concerned(&[row(2, &thing("person", 1), 5, off)]), BTreeSet::from([ANN]));
    assert_eq!(
        feed.concerned(&[row(3, &thing("person", 1), 3, json!({"name": {"old": "a", "new": "b"}}))]),
        BTreeSet::new()
    );
}

#[test]
fn a_slow_writer_holds_the_horizon_and_nothing_else() {
    let task = thing("task", 10);
    let mut reader = Reader::new(FeedCursor { epoch: 1, horizon: 5 });
    // Transaction 5 is still open; 6 and 7 are visible and go out at once.
    let fresh = reader.take(
        vec![row(6, &task, 3, json!({})), row(7, &task, 3, json!({}))],
        FeedCursor { epoch: 1, horizon: 5 },
        false,
    );
    assert_eq!(fresh.len(), 2);
    assert_eq!(reader.cursor().horizon, 5);
    // Now 5 commits with a lower number than what went out before.
    let fresh = reader.take(
        vec![row(5, &task, 3, json!({})), row(6, &task, 3, json!({}))],
        FeedCursor { epoch: 1, horizon: 8 },
        false,
    );
    assert_eq!(fresh.iter().map(|r| r.seq).collect::<Vec<_>>(), [5]);
    assert_eq!(reader.cursor().horizon, 8);
    assert!(reader.seen().is_empty());
}

#[test]
fn a_read_cut_short_does_not_move_the_horizon() {
    let task = thing("task", 10);
    let mut reader = Reader::new(FeedCursor { epoch: 1, horizon: 1 });
    reader.take(vec![row(1, &task, 3, json!({}))], FeedCursor { epoch: 1, horizon: 99 }, true);
    assert_eq!((reader.cursor().horizon, reader.seen()), (1, vec![1]));
}
