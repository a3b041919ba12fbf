use super::*;
use pmo_domain::change::LogRow;
use pmo_domain::socket::{Action, ServerMessage};
use pmo_domain::{EntityCode, EntityRef, FeedCursor, Permission, PersonId, Snapshot, Version};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use uuid::Uuid;

const CURSOR: FeedCursor = FeedCursor { epoch: 1, read: Snapshot { xmin: 9, xmax: 9, running: Vec::new() } };
const ANN: PersonId = PersonId(Uuid::from_u128(1));
const BOB: PersonId = PersonId(Uuid::from_u128(2));

fn code(text: &str) -> EntityCode {
    EntityCode::new(text).unwrap()
}

fn thing(kind: &str, id: u128) -> EntityRef {
    EntityRef::new(code(kind), Uuid::from_u128(id))
}

fn row(seq: i64, entity: &EntityRef, action: i16, changed: Value) -> LogRow {
    LogRow {
        seq,
        xid: seq,
        code: entity.code.clone(),
        id: entity.id,
        action,
        version: Version(seq),
        changed,
        reach: None,
        at: 0,
    }
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
    let told = feed.tell(&rows, &Parents::new(), &sees(&[(ANN, &task)]), &CURSOR, "t", None);
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
    let told = feed.tell(&rows, &parents, &sees(&[(ANN, &task), (BOB, &task)]), &CURSOR, "t", None);
    assert_eq!(actions(&told, a), [(task.id, Action::Create)]);
    assert_eq!(actions(&told, b), []);
    // Moved to the other project, both hear of it.
    let moved = [row(2, &task, 3, json!({"project_id": {"old": Uuid::from_u128(1), "new": Uuid::from_u128(2)}}))];
    let parents = Parents::from([(task.clone(), vec![other])]);
    let told = feed.tell(&moved, &parents, &sees(&[(ANN, &task), (BOB, &task)]), &CURSOR, "t", None);
    assert_eq!((actions(&told, a).len(), actions(&told, b).len()), (1, 1));
}

#[test]
fn five_changes_of_one_thing_are_told_as_one() {
    let (mut feed, a, _) = two_people();
    let task = thing("task", 10);
    feed.watch(a, Topic::Entity(task.clone()));
    let rows: Vec<_> = (1..=5).map(|seq| row(seq, &task, if seq == 1 { 6 } else { 3 }, json!({}))).collect();
    let told = feed.tell(&rows, &Parents::new(), &sees(&[(ANN, &task)]), &CURSOR, "t", None);
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
    let told = feed.tell(&[row(1, &task, 3, json!({}))], &Parents::new(), &sees(&[(ANN, &task)]), &CURSOR, "t", None);
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
    let persons = BTreeSet::from([ANN]);
    let told = feed.change_access(&persons, &persons, &change, &sees(&[(ANN, &task)]), &Levels::new(), &CURSOR, "t");
    assert_eq!(actions(&told, a), [(task.id, Action::Revoke)]);
    assert!(told.iter().any(|(id, m)| *id == a && matches!(m, ServerMessage::Access { .. })));
    assert!(told.iter().all(|(id, _)| *id == a));
    // Nothing more reaches the one who lost it, not even with a stale answer.
    let rows = [row(2, &task, 3, json!({}))];
    assert_eq!(actions(&feed.tell(&rows, &Parents::new(), &sees(&[(ANN, &task)]), &CURSOR, "t", None), a), []);
    let told = feed.change_access(&persons, &persons, &change, &Levels::new(), &sees(&[(ANN, &task)]), &CURSOR, "t");
    assert_eq!(actions(&told, a), [(task.id, Action::Create)]);
    assert_eq!(actions(&feed.tell(&rows, &Parents::new(), &sees(&[(ANN, &task)]), &CURSOR, "t", None), a).len(), 1);
}

#[test]
fn a_tie_concerns_those_who_watch_what_hangs_below() {
    let (mut feed, a, b) = two_people();
    let issue = thing("issue", 1);
    feed.watch(a, Topic::Children { parent: issue.clone(), code: code("task") });
    feed.watch(b, Topic::Children { parent: issue.clone(), code: code("message") });
    let tie = row(
        1,
        &thing("entity_instance_link", 90),
        4,
        json!({"parent_code": {"new": "issue"}, "parent_id": {"new": issue.id}, "child_code": {"new": "task"}, "child_id": {"new": Uuid::from_u128(5)}}),
    );
    assert_eq!(feed.tied(&[tie]), BTreeSet::from([ANN]));
}

/// A database as the reader knows it: transactions that number their rows in one order and commit in another.
#[derive(Default)]
struct Log {
    next_xid: i64,
    next_seq: i64,
    running: BTreeSet<i64>,
    rows: Vec<LogRow>,
    gone: BTreeSet<i64>,
}

impl Log {
    fn begin(&mut self) -> i64 {
        self.next_xid += 1;
        self.running.insert(self.next_xid);
        self.next_xid
    }
    fn write(&mut self, xid: i64) {
        self.next_seq += 1;
        let task = thing("task", 10);
        self.rows.push(LogRow { xid, ..row(self.next_seq, &task, 3, json!({})) });
    }
    fn finish(&mut self, xid: i64, commits: bool) {
        self.running.remove(&xid);
        if !commits {
            self.gone.insert(xid);
        }
    }
    fn snapshot(&self) -> Snapshot {
        let xmax = self.next_xid + 1;
        let running: Vec<i64> = self.running.iter().copied().collect();
        Snapshot { xmin: running.first().copied().unwrap_or(xmax), xmax, running }
    }
    fn visible(&self) -> impl Iterator<Item = &LogRow> {
        self.rows.iter().filter(|r| !self.running.contains(&r.xid) && !self.gone.contains(&r.xid))
    }
    fn answer(&self, ask: &Ask, limit: usize) -> (Vec<LogRow>, bool) {
        let mut rows: Vec<LogRow> = self
            .visible()
            .filter(|r| r.xid >= ask.from || ask.finished.contains(&r.xid))
            .filter(|r| ask.until.as_ref().is_none_or(|until| until.sees(r.xid)))
            .filter(|r| ask.after.is_none_or(|after| (r.xid, r.seq) > after))
            .cloned()
            .collect();
        rows.sort_by_key(|r| (r.xid, r.seq));
        rows.truncate(limit);
        let cut_short = rows.len() == limit;
        (rows, cut_short)
    }
}

proptest::proptest! {
    #![proptest_config(proptest::test_runner::Config::with_cases(2000))]
    #[test]
    fn every_committed_row_is_read_once_as_soon_as_it_is_visible(
        steps in proptest::collection::vec((0..6u8, 0..8usize), 1..80), limit in 1..5usize, patience in 0..3usize
    ) {
        let mut log = Log::default();
        let mut reader = Reader::new(1, log.snapshot());
        let mut read: Vec<i64> = Vec::new();
        let mut horizon = reader.cursor().read.xmin;
        for (step, which) in steps.into_iter().chain([(5, 0)]) {
            let chosen = log.running.iter().copied().nth(which % log.running.len().max(1));
            match (step, chosen) {
                (0, _) => drop(log.begin()),
                (1 | 2, Some(xid)) => log.write(xid),
                (3, Some(xid)) => log.finish(xid, true),
                (4, Some(xid)) => log.finish(xid, which != 0),
                _ => {
                    // A look may be broken off between its parts, and others write meanwhile.
                    for part in 0.. {
                        let (rows, cut_short) = log.answer(&reader.ask(), limit);
                        read.extend(rows.iter().map(|r| r.seq));
                        let again = reader.take(&rows, log.snapshot(), cut_short);
                        if !again || (part > patience && step != 5) {
                            break;
                        }
                        if part == 0 && which > 4 {
                            let xid = log.begin();
                            log.write(xid);
                            log.finish(xid, true);
                        }
                    }
                    proptest::prop_assert!(reader.cursor().read.xmin >= horizon, "the cursor goes forward");
                    horizon = reader.cursor().read.xmin;
                    if step == 5 {
                        let visible: BTreeSet<i64> = log.visible().map(|r| r.seq).collect();
                        proptest::prop_assert_eq!(read.iter().copied().collect::<BTreeSet<_>>(), visible, "all that is visible is read");
                    }
                }
            }
            let once: BTreeSet<i64> = read.iter().copied().collect();
            proptest::prop_assert_eq!(once.len(), read.len(), "nothing is read twice");
        }
    }
}

#[test]
fn a_slow_writer_holds_the_cursor_and_nothing_else() {
    let mut log = Log::default();
    let mut reader = Reader::new(1, log.snapshot());
    let slow = log.begin();
    log.write(slow);
    for _ in 0..1000 {
        let quick = log.begin();
        log.write(quick);
        log.finish(quick, true);
    }
    let (rows, _) = log.answer(&reader.ask(), 5000);
    assert_eq!(rows.len(), 1000, "the rest is not held up");
    assert!(!reader.take(&rows, log.snapshot(), false));
    assert_eq!(reader.cursor().read.xmin, slow);
    log.finish(slow, true);
    let (rows, _) = log.answer(&reader.ask(), 5000);
    assert_eq!(rows.iter().map(|r| r.xid).collect::<Vec<_>>(), [slow], "nothing comes twice");
    reader.take(&rows, log.snapshot(), false);
    assert_eq!(reader.cursor().read.xmin, 1002);
}
