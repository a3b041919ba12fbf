//! The promises, each by name, on an engine whose server is a few lines of test.

use crate::*;
use pmo_domain::rest::{ListAnswer, Problem};
use pmo_domain::socket::{Action, Change, ClientMessage, ServerMessage};
use pmo_domain::{EntityCode, EntityRef, PersonId, Row, Version};
use serde_json::{Value, json};
use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use uuid::Uuid;

const ME: PersonId = PersonId(Uuid::from_u128(99));

fn code(text: &str) -> EntityCode {
    EntityCode::new(text).unwrap()
}

fn task(n: u128) -> EntityRef {
    EntityRef::new(code("task"), Uuid::from_u128(n))
}

fn project(n: u128) -> EntityRef {
    EntityRef::new(code("project"), Uuid::from_u128(1000 + n))
}

fn row(n: u128, version: i64, name: &str) -> Row {
    json!({"id": Uuid::from_u128(n), "version": version, "name": name, "project_id": project(1).id, "permission": 7})
        .as_object()
        .cloned()
        .unwrap()
}

fn patch(value: Value) -> Row {
    value.as_object().cloned().unwrap()
}

fn tasks() -> ListKey {
    ListKey::below(code("task"), project(1), "project_id")
}

fn list(rows: Vec<Row>) -> Value {
    serde_json::to_value(ListAnswer { data: rows, ..ListAnswer::default() }).unwrap()
}

fn ids(n: u128) -> [Uuid; 2] {
    [Uuid::from_u128(n), Uuid::from_u128(n + 500)]
}

/// Runs a future that never waits.
fn now_or_never<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("the future waits"),
    }
}

/// An engine with its device.
struct Tab {
    engine: Engine,
    store: MemoryStore,
    requests: Vec<(RequestId, Request)>,
    sent: Vec<ClientMessage>,
    changed: Vec<Query>,
    connects: usize,
    now: f64,
}

impl Tab {
    fn new() -> Self {
        Self::with_store(MemoryStore::default())
    }

    fn with_store(store: MemoryStore) -> Self {
        let mut tab = Self {
            engine: Engine::new(3),
            store,
            requests: vec![],
            sent: vec![],
            changed: vec![],
            connects: 0,
            now: 1_000_000.0,
        };
        let stored = Box::new(now_or_never(tab.store.load()).unwrap());
        tab.event(Event::Leader(true));
        tab.event(Event::Start { person: ME, stored });
        tab
    }

    /// The same device after a crash.
    fn reloaded(self) -> Self {
        Self::with_store(self.store)
    }

    fn event(&mut self, event: Event) {
        let mut queue = vec![event];
        while let Some(event) = queue.pop() {
            for effect in self.engine.handle(event, self.now) {
                match effect {
                    Effect::Persist(ops) => {
                        now_or_never(self.store.apply(&ops)).unwrap();
                        for op in ops {
                            if let StoreOp::PutEntry(entry) = op {
                                queue.push(Event::Saved(entry.id));
                            }
                        }
                    }
                    Effect::Fetch(id, request) => self.requests.push((id, request)),
                    Effect::Send(message) => self.sent.push(message),
                    Effect::Connect => self.connects += 1,
                    Effect::Changed(query) => self.changed.push(query),
                    _ => {}
                }
            }
        }
    }

    fn answer(&mut self, body: Value) {
        let (id, _) = self.requests.remove(0);
        self.event(Event::Answered(id, Ok(Answer { body, feed_cursor: Some("1.5".into()) })));
    }

    fn fail(&mut self, failure: Failure) {
        let (id, _) = self.requests.remove(0);
        self.event(Event::Answered(id, Err(failure)));
    }

    fn refuse(&mut self, status: u16, current: Option<Row>) {
        let problem = Problem { kind: "x".into(), title: "x".into(), status, detail: None, errors: vec![], current };
        self.fail(Failure::Refused(Box::new(problem)));
    }

    fn hello(&mut self) {
        self.event(Event::Frame(ServerMessage::Hello {
            protocol: 1,
            epoch: "1".into(),
            cursor: "1.3".into(),
            heartbeat_seconds: 30,
        }));
    }

    fn invalidate(&mut self, changes: &[(u128, Action, i64)]) {
        let changes = changes
            .iter()
            .map(|(n, action, v)| Change { entity_id: Uuid::from_u128(*n), action: *action, version: Version(*v) })
            .collect();
        self.event(Event::Frame(ServerMessage::Invalidate {
            entity_code: code("task"),
            changes,
            timestamp: String::new(),
            cursor: "1.9".into(),
        }));
    }

    fn paths(&self) -> Vec<&str> {
        self.requests.iter().map(|(_, r)| r.path.as_str()).collect()
    }

    fn names(&self) -> Vec<String> {
        let view = self.engine.list(&tasks());
        view.rows.iter().map(|r| r.data["name"].as_str().unwrap().to_owned()).collect()
    }

    /// A tab with an open socket that looks at a project's three tasks.
    fn looking() -> Self {
        let mut tab = Self::new();
        tab.hello();
        tab.event(Event::Observe(ObserverId(1), Query::List(tasks())));
        tab.answer(list(vec![row(1, 1, "one"), row(2, 1, "two"), row(3, 1, "three")]));
        tab.sent.clear();
        tab.changed.clear();
        tab
    }

    fn update(&mut self, n: u128, value: Value, id: u128) {
        self.event(Event::Update { entity: task(n), patch: patch(value), ids: ids(id) });
    }
}

#[test]
fn a_list_is_fetched_kept_and_watched_from_where_its_answer_stood() {
    let mut tab = Tab::new();
    tab.hello();
    tab.event(Event::Observe(ObserverId(1), Query::List(tasks())));
    assert_eq!(tab.paths(), [tasks().path()]);
    tab.answer(list(vec![row(1, 1, "one")]));
    let subscribe =
        tab.sent.iter().find_map(|m| if let ClientMessage::Subscribe(s) = m { Some(s) } else { None }).unwrap();
    assert_eq!((subscribe.since.as_deref(), subscribe.parent.is_some()), (Some("1.5"), true));
    assert_eq!(tab.names(), ["one"]);
}

#[test]
fn two_who_look_at_the_same_share_one_request() {
    let mut tab = Tab::new();
    tab.event(Event::Observe(ObserverId(1), Query::List(tasks())));
    tab.event(Event::Observe(ObserverId(2), Query::List(tasks())));
    assert_eq!(tab.requests.len(), 1);
}

#[test]
fn with_no_network_the_device_shows_what_it_kept() {
    let mut tab = Tab::looking().reloaded();
    tab.event(Event::Observe(ObserverId(1), Query::List(tasks())));
    assert_eq!(tab.names(), ["one", "two", "three"]);
    tab.fail(Failure::Network);
    assert_eq!(tab.names(), ["one", "two", "three"]);
    assert!(!tab.engine.status().online);
}

#[test]
fn a_burst_of_changes_is_one_request() {
    let mut tab = Tab::looking();
    tab.invalidate(&[(1, Action::Update, 2), (2, Action::Update, 2), (3, Action::Update, 2)]);
    tab.invalidate(&[(1, Action::Update, 3), (2, Action::Update, 3)]);
    assert_eq!(tab.requests.len(), 1);
    assert!(tab.paths()[0].starts_with("/task?ids="));
    tab.answer(list(vec![row(1, 3, "uno"), row(2, 2, "due"), row(3, 2, "tre")]));
    // Two came again while the first request was out: one more, and for the one that is still old.
    assert_eq!(tab.requests.len(), 1);
    tab.answer(list(vec![row(1, 3, "uno"), row(2, 3, "zwei")]));
    assert_eq!(tab.names(), ["uno", "zwei", "tre"]);
    assert!(tab.requests.is_empty());
}

#[test]
fn a_change_of_a_version_already_held_fetches_nothing() {
    let mut tab = Tab::looking();
    tab.invalidate(&[(1, Action::Update, 1)]);
    assert!(tab.requests.is_empty());
}

#[test]
fn nothing_goes_back_in_time() {
    let mut tab = Tab::looking();
    tab.invalidate(&[(1, Action::Update, 5)]);
    tab.answer(list(vec![row(1, 3, "old")]));
    assert_eq!(tab.names()[0], "one");
    assert_eq!(tab.requests.len(), 1, "it is asked for again");
    tab.answer(list(vec![row(1, 5, "new")]));
    assert_eq!(tab.names()[0], "new");
}

#[test]
fn an_equal_answer_repaints_nothing() {
    let mut tab = Tab::looking();
    tab.event(Event::Frame(ServerMessage::Access { access_epoch: "1".into() }));
    tab.changed.clear();
    let rows = tab.requests.iter().position(|(_, r)| r.path.contains("ids=")).unwrap();
    let (id, _) = tab.requests.remove(rows);
    let body = list(vec![row(1, 1, "one"), row(2, 1, "two"), row(3, 1, "three")]);
    tab.event(Event::Answered(id, Ok(Answer { body, feed_cursor: None })));
    assert_eq!(tab.changed, []);
}

#[test]
fn a_new_row_enters_the_open_list_and_a_deleted_one_leaves_it() {
    let mut tab = Tab::looking();
    tab.invalidate(&[(4, Action::Create, 1)]);
    tab.answer(list(vec![row(4, 1, "four")]));
    assert_eq!(tab.names(), ["one", "two", "three", "four"]);
    tab.invalidate(&[(2, Action::Delete, 2)]);
    assert_eq!(tab.names(), ["one", "three", "four"]);
    let tab = tab.reloaded();
    assert_eq!(tab.names(), ["one", "three", "four"]);
}

#[test]
fn a_row_that_moved_elsewhere_leaves_the_list() {
    let mut tab = Tab::looking();
    tab.invalidate(&[(2, Action::Update, 2)]);
    let mut moved = row(2, 2, "two");
    moved.insert("project_id".into(), json!(project(2).id));
    tab.answer(list(vec![moved]));
    assert_eq!(tab.names(), ["one", "three"]);
}

#[test]
fn a_revoked_row_leaves_memory_and_device() {
    let mut tab = Tab::looking();
    tab.invalidate(&[(2, Action::Revoke, 0)]);
    assert_eq!(tab.engine.row(&task(2)), None);
    let stored = now_or_never(tab.store.load()).unwrap();
    let newest =
        stored.rows.iter().filter(|r| r.entity == task(2)).max_by(|a, b| a.synced_at.total_cmp(&b.synced_at)).unwrap();
    assert_eq!(newest.data, None);
}

#[test]
fn when_access_changes_what_is_absent_from_the_sweep_is_wiped() {
    let mut tab = Tab::looking();
    tab.event(Event::Frame(ServerMessage::Access { access_epoch: "2".into() }));
    let sweep = tab.requests.iter().position(|(_, r)| r.path.contains("ids=")).unwrap();
    let (id, _) = tab.requests.remove(sweep);
    tab.event(Event::Answered(id, Ok(Answer { body: list(vec![row(1, 1, "one")]), feed_cursor: None })));
    assert_eq!(tab.names(), ["one"]);
}

#[test]
fn a_watched_row_that_the_server_refuses_is_asked_for_again_and_wiped_where_it_is_gone() {
    let mut tab = Tab::looking();
    tab.event(Event::Observe(ObserverId(2), Query::Row(task(1))));
    tab.answer(Value::Object(row(1, 1, "one")));
    let refused = |refused| ServerMessage::Subscribed { count: 0, entity_code: code("task"), refused };
    tab.event(Event::Frame(refused(0)));
    assert!(tab.paths().is_empty());
    tab.event(Event::Frame(refused(1)));
    // The row, and the list that hangs below a thing which may have been refused as well.
    assert_eq!(tab.requests.len(), 2);
    tab.requests.sort_by_key(|(_, r)| r.path.contains('?'));
    tab.refuse(404, None);
    assert_eq!(tab.names(), ["two", "three"]);
}

#[test]
fn an_edit_shows_at_once_and_is_sent_only_when_it_is_on_disk() {
    let mut tab = Tab::looking();
    let effects = tab
        .engine
        .handle(Event::Update { entity: task(1), patch: patch(json!({"name": "mine"})), ids: ids(1) }, tab.now);
    assert_eq!(tab.names()[0], "mine");
    assert!(!effects.iter().any(|e| matches!(e, Effect::Fetch(..))), "not before it is saved");
    assert_eq!(tab.engine.status().unsaved, 1);
    tab.event(Event::Saved(Uuid::from_u128(1)));
    let request = &tab.requests[0].1;
    assert_eq!((request.method, request.if_match), (Method::Patch, Some(1)));
    assert_eq!(request.idempotency_key.as_deref(), Some(Uuid::from_u128(501).to_string().as_str()));
    tab.answer(Value::Object(row(1, 2, "mine")));
    assert_eq!((tab.engine.status().waiting, tab.names()[0].as_str()), (0, "mine"));
}

#[test]
fn an_edit_made_offline_outlives_a_crash_and_keeps_its_key() {
    let mut tab = Tab::looking();
    tab.event(Event::Online(false));
    tab.update(1, json!({"name": "offline"}), 1);
    assert!(tab.requests.is_empty());
    let mut tab = tab.reloaded();
    assert_eq!(tab.names()[0], "offline");
    let key = tab.requests.iter().find(|(_, r)| r.method == Method::Patch).unwrap().1.idempotency_key.clone();
    assert_eq!(key, Some(Uuid::from_u128(501).to_string()));
    // The answer is lost; the repeat has the same key.
    let at = tab.requests.iter().position(|(_, r)| r.method == Method::Patch).unwrap();
    let (id, _) = tab.requests.remove(at);
    tab.event(Event::Answered(id, Err(Failure::Network)));
    tab.now += 60_000.0;
    tab.event(Event::Tick);
    assert_eq!(tab.requests.iter().find(|(_, r)| r.method == Method::Patch).unwrap().1.idempotency_key, key);
}

#[test]
fn edits_that_wait_fold_into_one_and_the_order_of_one_thing_is_kept() {
    let mut tab = Tab::looking();
    tab.event(Event::Online(false));
    tab.update(1, json!({"name": "a"}), 1);
    tab.update(1, json!({"name": "b", "points": 3}), 2);
    tab.event(Event::Delete { entity: task(1), ids: ids(3) });
    assert_eq!(tab.engine.outbox().len(), 2);
    tab.event(Event::Online(true));
    let writes: Vec<_> = tab.requests.iter().filter(|(_, r)| r.method != Method::Get).collect();
    assert_eq!(writes.len(), 1, "the delete waits for the update");
    assert_eq!(writes[0].1.body, Some(json!({"name": "b", "points": 3})));
}

#[test]
fn what_another_touched_merges_and_what_both_touched_asks() {
    let mut tab = Tab::looking();
    tab.update(1, json!({"points": 5}), 1);
    let mut theirs = row(1, 2, "theirs");
    theirs.insert("points".into(), Value::Null);
    tab.refuse(412, Some(theirs));
    let request = tab.requests[0].1.clone();
    assert_eq!((request.body, request.if_match), (Some(json!({"points": 5})), Some(2)));
    assert_ne!(request.idempotency_key, Some(Uuid::from_u128(501).to_string()), "a merged write has a new key");
    let mut both = row(1, 3, "theirs");
    both.insert("points".into(), json!(5));
    tab.answer(Value::Object(both));

    tab.update(1, json!({"name": "mine"}), 2);
    tab.refuse(412, Some(row(1, 4, "other")));
    assert_eq!(tab.engine.status().attention, 1);
    assert_eq!(tab.names()[0], "other", "theirs is shown until it is settled");
    assert!(tab.requests.is_empty());
    tab.event(Event::Settle { entry: Uuid::from_u128(2), keep_mine: Some(Uuid::from_u128(777)) });
    assert_eq!(tab.names()[0], "mine");
    assert_eq!(tab.requests[0].1.if_match, Some(4));
}

#[test]
fn a_refused_write_is_rolled_back_and_kept_for_its_writer() {
    let mut tab = Tab::looking();
    tab.update(1, json!({"name": ""}), 1);
    tab.refuse(422, None);
    assert_eq!(tab.names()[0], "one");
    assert_eq!(tab.engine.status().attention, 1);
    let tab = tab.reloaded();
    assert!(matches!(tab.engine.outbox()[0].state, EntryState::Refused { .. }));
}

#[test]
fn a_thing_made_here_is_in_its_list_at_once_and_what_refers_to_it_waits() {
    let mut tab = Tab::looking();
    let values = patch(json!({"name": "new", "project_id": project(1).id}));
    tab.event(Event::Create { entity: task(7), values, ids: ids(1) });
    assert_eq!(tab.names(), ["one", "two", "three", "new"]);
    let child = patch(json!({"name": "below", "project_id": project(1).id, "parent__task_id": task(7).id}));
    tab.event(Event::Create { entity: task(8), values: child, ids: ids(2) });
    assert_eq!(tab.requests.len(), 1, "the child waits for its parent");
    tab.answer(Value::Object(row(7, 1, "new")));
    assert_eq!(tab.requests.len(), 1);
    tab.answer(Value::Object(row(8, 1, "below")));
    assert_eq!(tab.names().len(), 5);
    assert_eq!(tab.engine.status().waiting, 0);
}

#[test]
fn what_was_told_while_nobody_looked_is_asked_for_when_somebody_does() {
    let mut tab = Tab::looking();
    tab.event(Event::Unobserve(ObserverId(1)));
    tab.invalidate(&[(1, Action::Update, 2), (4, Action::Create, 1)]);
    assert!(tab.requests.is_empty());
    tab.now += 5_000.0;
    tab.event(Event::Observe(ObserverId(2), Query::List(tasks())));
    assert_eq!(tab.requests.len(), 1, "the list is asked for again, though it is still watched");
}

#[test]
fn what_was_made_here_is_watched_once_the_server_has_it() {
    let mut tab = Tab::new();
    tab.hello();
    let values = patch(json!({"name": "new project"}));
    tab.event(Event::Create { entity: project(1), values, ids: ids(1) });
    tab.event(Event::Observe(ObserverId(1), Query::List(tasks())));
    assert_eq!(tab.requests.len(), 1, "nothing can be below it yet");
    let mut made = row(1, 1, "new project");
    made.insert("id".into(), json!(project(1).id));
    tab.answer(Value::Object(made));
    assert_eq!(tab.requests.len(), 1, "now the list is asked for");
    tab.answer(list(vec![]));
    let watches =
        |m: &ClientMessage| matches!(m, ClientMessage::Subscribe(s) if s.parent.is_some() && s.since.is_some());
    assert!(tab.sent.iter().any(watches));
}

#[test]
fn an_answer_from_before_a_thing_went_does_not_bring_it_back() {
    let mut tab = Tab::looking();
    tab.event(Event::Observe(ObserverId(2), Query::Row(task(1))));
    tab.invalidate(&[(1, Action::Delete, 2)]);
    assert_eq!(tab.names(), ["two", "three"]);
    tab.answer(Value::Object(row(1, 1, "one")));
    assert_eq!(tab.names(), ["two", "three"]);
    // What was asked for since tells.
    assert!(tab.paths()[0].starts_with("/task?ids="));
    tab.answer(list(vec![row(1, 3, "restored")]));
    assert_eq!(tab.names().len(), 3);
}

#[test]
fn settling_with_theirs_keeps_what_merged_and_mine_one_redo_away() {
    let mut tab = Tab::looking();
    tab.update(1, json!({"name": "mine", "descr": "a long text", "who": ["a", "b"]}), 1);
    let mut theirs = row(1, 2, "theirs");
    theirs.insert("descr".into(), Value::Null);
    tab.refuse(412, Some(theirs));
    assert_eq!(tab.engine.status().attention, 1);
    tab.event(Event::Settle { entry: Uuid::from_u128(1), keep_mine: None });
    let request = tab.requests[0].1.clone();
    assert_eq!(request.if_match, Some(2));
    let body = request.body.unwrap();
    assert_eq!((&body["descr"], body.get("name")), (&json!("a long text"), None));
    let draft = tab.engine.draft(&task(1)).unwrap();
    assert!(!draft.has_changes());
    tab.event(Event::DraftRedo(task(1)));
    assert_eq!(tab.engine.draft(&task(1)).unwrap().current_data["name"], json!("mine"));
}

#[test]
fn settling_with_mine_keeps_what_others_added_to_lists() {
    let mut tab = Tab::looking();
    let (mine, made_on) = (json!({"name": "mine", "who": ["x", "a"]}), json!({"name": "one", "who": ["x"]}));
    let operation = Operation::Update { patch: patch(mine), base: patch(made_on), base_version: 1 };
    tab.event(Event::Outbox(vec![Entry::new(ids(1), task(1), operation)]));
    let mut theirs = row(1, 2, "theirs");
    theirs.insert("who".into(), json!(["x", "b"]));
    tab.refuse(412, Some(theirs));
    tab.event(Event::Settle { entry: Uuid::from_u128(1), keep_mine: Some(Uuid::from_u128(777)) });
    assert_eq!(tab.requests[0].1.body, Some(json!({"name": "mine", "who": ["x", "b", "a"]})));
}

#[test]
fn a_refused_write_can_be_mended_in_its_draft() {
    let mut tab = Tab::looking();
    tab.update(1, json!({"name": "", "descr": "a long text"}), 1);
    tab.refuse(422, None);
    tab.event(Event::Reopen(Uuid::from_u128(1)));
    assert!(tab.engine.outbox().is_empty());
    let draft = tab.engine.draft(&task(1)).unwrap();
    assert_eq!(draft.current_data["descr"], json!("a long text"));
    let tab = tab.reloaded();
    assert!(tab.engine.draft(&task(1)).unwrap().has_changes());
}

#[test]
fn a_later_write_made_without_knowing_of_an_earlier_one_is_merged_not_laid_over() {
    let mut tab = Tab::looking();
    // Two tabs, offline, on the same people: the second did not see what the first had added.
    let entry = |n: u128, who: Value| {
        let operation = Operation::Update {
            patch: patch(json!({"who": who})),
            base: patch(json!({"who": ["x"]})),
            base_version: 1,
        };
        Entry::new(ids(n), task(1), operation)
    };
    tab.event(Event::Online(false));
    tab.event(Event::Outbox(vec![entry(1, json!(["x", "alice"])), entry(2, json!(["x", "bob"]))]));
    tab.event(Event::Online(true));
    tab.requests.retain(|(_, r)| r.method == Method::Patch);
    assert_eq!(tab.requests.len(), 1);
    let mut answered = row(1, 2, "one");
    answered.insert("who".into(), json!(["x", "alice"]));
    tab.answer(Value::Object(answered.clone()));
    tab.requests.retain(|(_, r)| r.method == Method::Patch);
    let mut second = tab.requests[0].1.clone();
    if second.if_match != Some(2) {
        tab.refuse(412, Some(answered));
        tab.requests.retain(|(_, r)| r.method == Method::Patch);
        second = tab.requests[0].1.clone();
    }
    assert_eq!((second.body, second.if_match), (Some(json!({"who": ["x", "alice", "bob"]})), Some(2)));
}

#[test]
fn a_draft_of_another_tab_is_taken_and_what_is_typed_meanwhile_stays() {
    let mut tab = Tab::looking();
    let field = |n: u128, value: &str| Event::DraftField { entity: task(n), field: "name".into(), value: json!(value) };
    tab.event(field(2, "typed here"));
    let mut other = tab.engine.draft(&task(2)).unwrap().clone();
    other.entity = task(1);
    other.updated_at = tab.now + 5.0;
    tab.event(Event::Drafts { drafts: vec![other], as_of: tab.now });
    assert!(tab.engine.draft(&task(1)).is_some());
    assert!(tab.engine.draft(&task(2)).is_some(), "it was typed after the other tab wrote");
    tab.event(Event::Drafts { drafts: vec![], as_of: tab.now + 10.0 });
    assert!(tab.engine.draft(&task(1)).is_none(), "sent or given up there");
}

#[test]
fn ones_own_change_coming_back_fetches_nothing() {
    let mut tab = Tab::looking();
    tab.update(1, json!({"name": "mine"}), 1);
    tab.invalidate(&[(1, Action::Update, 2)]);
    assert_eq!(tab.requests.len(), 1, "only the write itself");
    tab.answer(Value::Object(row(1, 2, "mine")));
    assert!(tab.requests.is_empty());
}

#[test]
fn a_draft_survives_a_reload_with_its_steps_and_is_sent_on_the_version_it_began_on() {
    let mut tab = Tab::looking();
    let field = |name: &str, value: Value| Event::DraftField { entity: task(1), field: name.into(), value };
    tab.event(field("name", json!("draft")));
    tab.now += 5000.0;
    tab.event(field("points", json!(8)));
    let mut tab = tab.reloaded();
    assert_eq!(tab.engine.draft(&task(1)).unwrap().current_data.len(), 2);
    tab.event(Event::DraftUndo(task(1)));
    assert_eq!(tab.engine.draft(&task(1)).unwrap().current_data.len(), 1);
    tab.event(Event::DraftRedo(task(1)));
    tab.event(Event::DraftCommit { entity: task(1), ids: ids(1) });
    assert_eq!(tab.engine.draft(&task(1)), None);
    let write = tab.requests.iter().find(|(_, r)| r.method == Method::Patch).unwrap();
    assert_eq!((write.1.body.clone(), write.1.if_match), (Some(json!({"name": "draft", "points": 8})), Some(1)));
}

#[test]
fn a_returning_client_watches_again_and_resumes_from_its_cursor() {
    let mut tab = Tab::looking();
    tab.invalidate(&[]);
    tab.event(Event::Closed(1006));
    let connects = tab.connects;
    tab.now += 2000.0;
    tab.event(Event::Tick);
    assert_eq!(tab.connects, connects + 1);
    tab.hello();
    assert!(matches!(&tab.sent[0], ClientMessage::Subscribe(s) if s.parent.is_some()));
    assert_eq!(tab.sent[1], ClientMessage::Resume { epoch: "1".into(), cursor: "1.9".into() });
    tab.event(Event::Frame(ServerMessage::Resumed { recovered: false, cursor: "1.20".into() }));
    assert!(tab.paths().iter().any(|p| p.contains("ids=")), "what can't be told is asked for");
}

#[test]
fn an_expired_token_is_renewed_once_and_everything_is_kept() {
    let mut tab = Tab::looking();
    tab.update(1, json!({"name": "mine"}), 1);
    tab.refuse(401, None);
    assert!(tab.requests.is_empty());
    assert_eq!(tab.names()[0], "mine");
    tab.event(Event::TokenRenewed);
    assert_eq!(tab.requests[0].1.method, Method::Patch);
}

#[test]
fn what_was_missed_is_asked_for_again_where_the_socket_drops_before_the_answer() {
    let mut tab = Tab::looking();
    tab.invalidate(&[]);
    tab.event(Event::Closed(1006));
    tab.hello();
    // A live change comes before RESUMED, then the socket drops.
    let cursor = "1.50".to_owned();
    tab.event(Event::Frame(ServerMessage::Pong { cursor }));
    tab.event(Event::Closed(1006));
    tab.sent.clear();
    tab.hello();
    assert!(tab.sent.contains(&ClientMessage::Resume { epoch: "1".into(), cursor: "1.9".into() }));
}

#[test]
fn a_server_in_trouble_is_not_asked_at_network_speed() {
    let mut tab = Tab::looking();
    tab.invalidate(&[(1, Action::Update, 2)]);
    tab.refuse(503, None);
    assert!(tab.requests.is_empty(), "it waits");
    tab.now += 2000.0;
    tab.event(Event::Tick);
    assert_eq!(tab.requests.len(), 1);
    // The same for a server that takes no token however new.
    for _ in 0..2 {
        tab.refuse(401, None);
        tab.event(Event::TokenRenewed);
        assert_eq!(tab.requests.len(), 1);
    }
    tab.refuse(401, None);
    tab.event(Event::TokenRenewed);
    assert!(tab.requests.is_empty());
}

#[test]
fn a_tab_that_does_not_send_writes_into_nothing_that_another_may_be_sending() {
    let mut tab = Tab::looking();
    tab.event(Event::Leader(false));
    tab.update(1, json!({"name": "a"}), 1);
    tab.update(1, json!({"points": 3}), 2);
    assert_eq!(tab.engine.outbox().len(), 2);
    let values = patch(json!({"name": "new", "project_id": project(1).id}));
    tab.event(Event::Create { entity: task(7), values, ids: ids(3) });
    tab.event(Event::Delete { entity: task(7), ids: ids(4) });
    assert_eq!(tab.engine.outbox().len(), 4);
}

#[test]
fn signing_out_leaves_nothing_behind() {
    let mut tab = Tab::looking();
    tab.update(1, json!({"name": "mine"}), 1);
    tab.event(Event::SignedOut);
    assert_eq!(now_or_never(tab.store.load()).unwrap(), Stored::default());
    assert!(tab.names().is_empty());
}

#[test]
fn the_memory_store_passes_the_suite() {
    assert_eq!(now_or_never(store::conformance::run(&MemoryStore::default())), Ok(()));
}
