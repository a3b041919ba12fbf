//! Tests of the engine against a scripted server: fixtures, and a tab with its device.

mod derived_rows; // columns that this device computes
mod mutations; // outbox, conflicts, drafts and links
mod persistence; // cache on the device
mod queries; // fetching, invalidation and the connection
mod stored_formats; // formats of stored data and of messages between tabs
mod tabs; // leader and followers
mod trees; // pinned trees

use crate::store::KeySelector;
use crate::*;
use pmo_domain::api_types::{ListResponse, Problem};
use pmo_domain::protocol::{Action, Change, ClientMessage, ServerMessage};
use pmo_domain::{EntityCode, EntityRef, PersonId, Row, UnixMillis, Version};
use serde_json::{Value, json};
use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;
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
    ListKey::children_of(code("task"), project(1), "project_id")
}

/// Body of a list response with a single page.
fn list(rows: Vec<Row>) -> Value {
    serde_json::to_value(ListResponse { data: rows, ..ListResponse::default() }).unwrap()
}

fn ok_response(body: Value) -> Response {
    Response { body: body.to_string(), feed_cursor: Some("1.5".into()), ..Response::default() }
}

fn ids(n: u128) -> WriteIds {
    WriteIds { entry: Uuid::from_u128(n), idempotency_key: Uuid::from_u128(n + 500) }
}

/// Returns the output of a future that is ready at the first poll.
fn now_or_never<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("the future is pending"),
    }
}

/// Engine of one tab with its device and a record of its effects.
struct Tab {
    engine: Engine,
    store: MemoryStore,
    /// Requests without a response yet, in the order of sending.
    requests: Vec<(RequestId, Request)>,
    /// Messages sent over the socket.
    sent: Vec<ClientMessage>,
    changed: Vec<Query>,
    connects: usize,
    writes: Vec<Write>,
    /// Messages sent to other tabs.
    broadcasts: Vec<TabMessage>,
    /// Current time.
    now: UnixMillis,
}

impl Tab {
    fn new() -> Self {
        Self::with_store(MemoryStore::default())
    }

    fn with_store(store: MemoryStore) -> Self {
        Self::with_store_at(store, UnixMillis::new(1_000_000))
    }

    fn with_store_at(store: MemoryStore, now: UnixMillis) -> Self {
        let mut tab = Self {
            engine: Engine::new(3),
            store,
            requests: vec![],
            sent: vec![],
            changed: vec![],
            connects: 0,
            writes: vec![],
            broadcasts: vec![],
            now,
        };
        let stored = Box::new(now_or_never(store::load(&tab.store)).unwrap());
        tab.event(Event::Start { person: ME, tab: TabId(Uuid::from_u128(1)), stored, term: Some(1) });
        tab
    }

    /// Returns a new tab on the same device, as after a crash.
    fn reloaded(self) -> Self {
        Self::with_store(self.store)
    }

    /// Returns all keys and values on the device as one text.
    fn stored_text(&self) -> String {
        let contents = Namespace::ALL.map(|namespace| self.store.contents(namespace));
        contents.iter().flatten().map(|(key, bytes)| format!("{key} {}\n", String::from_utf8_lossy(bytes))).collect()
    }

    /// Dispatches an event, performs its effects, and does the same with the events that follow.
    fn event(&mut self, event: Event) {
        let mut queue = vec![event];
        while let Some(event) = queue.pop() {
            for effect in self.engine.handle(event, self.now) {
                match effect {
                    Effect::Persist(batch, writes) => {
                        self.store.write_now(&writes);
                        self.writes.extend(writes);
                        queue.insert(0, Event::Persisted(batch, batch, Ok(())));
                    }
                    Effect::Read(namespace, keys) => {
                        let found = self.store.read_now(namespace, KeySelector::Keys(&keys));
                        queue.insert(0, Event::StoreRead(namespace, keys, found));
                    }
                    Effect::Broadcast(message) => self.broadcasts.push(message),
                    Effect::CheckTerm => queue.insert(0, Event::TermChecked(0)),
                    Effect::Cancel(id) => self.requests.retain(|(other, _)| *other != id),
                    Effect::Fetch(id, request) => self.requests.push((id, request)),
                    Effect::Send(message) => self.sent.push(message),
                    Effect::Connect => self.connects += 1,
                    Effect::Changed(query) => self.changed.push(query),
                    _ => {}
                }
            }
        }
    }

    /// Responds to the oldest request with a JSON body.
    fn respond(&mut self, body: Value) {
        let (id, _) = self.requests.remove(0);
        self.event(Event::ResponseReceived(id, Ok(ok_response(body))));
    }

    /// Fails the oldest request.
    fn fail(&mut self, error: RequestError) {
        let (id, _) = self.requests.remove(0);
        self.event(Event::ResponseReceived(id, Err(error)));
    }

    /// Rejects the oldest request with a problem.
    fn reject(&mut self, status: u16, current: Option<Row>) {
        let problem = Problem { kind: "x".into(), title: "x".into(), status, detail: None, errors: vec![], current };
        self.fail(RequestError::Rejected(Box::new(problem)));
    }

    fn hello(&mut self) {
        self.event(Event::SocketMessage(ServerMessage::Hello {
            protocol: 1,
            epoch: "1".into(),
            cursor: "1.3".into(),
            heartbeat_seconds: 30,
        }));
    }

    /// Receives changes of tasks over the socket: id, action and version of each.
    fn invalidate(&mut self, changes: &[(u128, Action, i64)]) {
        let changes = changes
            .iter()
            .map(|(n, action, version)| Change {
                entity_id: Uuid::from_u128(*n),
                action: *action,
                version: Version(*version),
            })
            .collect();
        self.event(Event::SocketMessage(ServerMessage::Invalidate {
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
        self.engine.rows(&tasks()).iter().map(|r| r.data["name"].as_str().unwrap().to_owned()).collect()
    }

    /// Returns a tab with an open socket that observes the three tasks of a project.
    fn observing_tasks() -> Self {
        let mut tab = Self::new();
        tab.hello();
        tab.event(Event::Observe(ObserverId(1), Query::List(tasks())));
        tab.respond(list(vec![row(1, 1, "one"), row(2, 1, "two"), row(3, 1, "three")]));
        tab.sent.clear();
        tab.changed.clear();
        tab
    }

    /// Resolves a conflict: keeps the local values under the given key, or takes the server's.
    fn resolve(&mut self, id: u128, keep_mine: Option<u128>) {
        let entry = Uuid::from_u128(id);
        let seen = self.engine.outbox().iter().find(|e| e.id == entry).unwrap().idempotency_key;
        let choice = keep_mine.map_or(Resolution::TakeTheirs, |key| Resolution::KeepMine(Uuid::from_u128(key)));
        self.event(Event::ResolveConflict { entry, seen, choice });
    }

    fn update(&mut self, n: u128, value: Value, id: u128) {
        self.event(Event::Update { entity: task(n), patch: patch(value), ids: ids(id) });
    }
}
