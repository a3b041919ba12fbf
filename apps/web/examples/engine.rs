//! Sync engine and device store in a page of their own, for `just bench client`.
//!
//! The page simulates the server and the user, and measures.
//!
//! Must not: do work for the engine that the client of the app does not do.

use pmo_domain::protocol::{Action, Change, ServerMessage};
use pmo_domain::query::{Filter, Operator};
use pmo_domain::{EntityCode, EntityRef, EntityType, PersonId, UnixMillis, Version};
use pmo_sync::store::{self, KeySelector};
use pmo_sync::{
    BatchId, Effect, Engine, Event, ListKey, Namespace, ObserverId, Query, ReferenceDataKey, Request, RequestId,
    Response, SortDirection, Store, TabId, Write, WriteIds,
};
use pmo_web::client::device_store::DeviceStore;
use serde_json::{Value, json};
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use uuid::Uuid;
use wasm_bindgen::prelude::*;

fn main() {}

/// An operation of the store queue.
enum Task {
    Write(BatchId, Vec<Write>),
    Read(Namespace, Vec<String>),
}

/// An engine with its device store.
#[wasm_bindgen]
pub struct Bench {
    engine: RefCell<Engine>,
    device: Rc<DeviceStore>,
    tasks: RefCell<VecDeque<Task>>,
    requests: RefCell<Vec<(RequestId, Request)>>,
    changed: RefCell<Vec<Query>>,
    next_id: Cell<u64>,
}

fn code() -> EntityCode {
    EntityCode::new("task").unwrap_or_else(|_| unreachable!("the code is valid"))
}

fn row_id(n: u32) -> Uuid {
    Uuid::from_u128((0x0199_0000_0000_7000 << 64) | u128::from(n))
}

fn task(n: u32) -> EntityRef {
    EntityRef::new(code(), row_id(n))
}

/// Returns the key of the list of all tasks of the project.
fn project_tasks() -> ListKey {
    let project = EntityRef::new(
        EntityCode::new("project").unwrap_or_else(|_| unreachable!("the code is valid")),
        Uuid::from_u128(7),
    );
    ListKey::children_of(code(), project, "project_id")
}

/// Returns the key of the tasks with at least `budget`, sorted by name.
fn tasks_with_budget(budget: u32) -> ListKey {
    let filter = Filter { column: "budget_amt".into(), operator: Operator::Gte, values: vec![budget.to_string()] };
    project_tasks().filtered(filter).sorted("name", SortDirection::Ascending)
}

fn types() -> Value {
    let columns =
        [("id", "uuid"), ("name", "text"), ("budget_amt", "numeric"), ("priority", "int4"), ("project_id", "uuid")];
    json!([EntityType::from_columns(code(), &columns, &["task", "project"])])
}

#[wasm_bindgen]
impl Bench {
    /// Opens the store of a user and starts the engine with its content, as the leader tab.
    pub async fn open(person: u32) -> Bench {
        let person = Uuid::from_u128(u128::from(person) + 1);
        let device = Rc::new(DeviceStore::open(person).await);
        let term = store::increment_term(&*device, UnixMillis::from_js(js_sys::Date::now())).await;
        let stored = store::load(&*device).await.unwrap_or_default();
        let bench = Bench {
            engine: RefCell::new(Engine::new(1)),
            device,
            tasks: RefCell::default(),
            requests: RefCell::default(),
            changed: RefCell::default(),
            next_id: Cell::new(1),
        };
        bench.handle(Event::Start {
            person: PersonId(person),
            tab: TabId(Uuid::from_u128(9)),
            stored: Box::new(stored),
            term: Some(term),
        });
        bench
    }

    fn handle(&self, event: Event) {
        let effects = self.engine.borrow_mut().handle(event, UnixMillis::from_js(js_sys::Date::now()));
        for effect in effects {
            match effect {
                Effect::Persist(batch, writes) => self.tasks.borrow_mut().push_back(Task::Write(batch, writes)),
                Effect::Read(namespace, names) => self.tasks.borrow_mut().push_back(Task::Read(namespace, names)),
                Effect::Fetch(id, request) => self.requests.borrow_mut().push((id, request)),
                Effect::Changed(query) => self.changed.borrow_mut().push(query),
                _ => {}
            }
        }
    }

    /// Runs all queued store operations.
    pub async fn settle(&self) {
        while self.step().await {}
    }

    /// Runs the next store operation and returns whether there was one.
    ///
    /// Consecutive writes are coalesced into one transaction.
    pub async fn step(&self) -> bool {
        let (mut batches, mut writes) = (Vec::new(), Vec::new());
        loop {
            let next = {
                let mut tasks = self.tasks.borrow_mut();
                let is_read = matches!(tasks.front(), Some(Task::Read(..)));
                if is_read && !batches.is_empty() { None } else { tasks.pop_front() }
            };
            match next {
                Some(Task::Write(batch, more)) => {
                    batches.push(batch);
                    writes.extend(more);
                }
                Some(Task::Read(namespace, names)) => {
                    let entries = self.device.read(namespace, KeySelector::Keys(&names)).await.unwrap_or_default();
                    self.handle(Event::StoreRead(namespace, names, entries));
                    return true;
                }
                None => break,
            }
        }
        let has_writes = !batches.is_empty();
        self.write(&batches, &writes).await;
        has_writes
    }

    async fn write(&self, batches: &[BatchId], writes: &[Write]) {
        if let (Some(first), Some(last)) = (batches.first(), batches.last()) {
            let term = self.engine.borrow().term();
            let outcome = self.device.write(writes, term).await;
            self.handle(Event::Persisted(*first, *last, outcome));
        }
    }

    /// Observes the list of tasks and the entity types.
    pub fn observe_list(&self) {
        self.handle(Event::Observe(ObserverId(1), Query::Meta(ReferenceDataKey::Codes)));
        self.handle(Event::Observe(ObserverId(2), Query::List(project_tasks())));
    }

    /// Responds to the list request with a page, and to the type request with the types.
    pub fn respond_with_page(&self, body: Vec<u8>) {
        let body = String::from_utf8(body).unwrap_or_default();
        let requests = std::mem::take(&mut *self.requests.borrow_mut());
        let mut body = Some(body);
        for (id, request) in requests {
            let body = if request.path.contains("/task") { body.take() } else { Some(types().to_string()) };
            let response =
                Response { body: body.unwrap_or_default(), feed_cursor: Some("1.1".into()), ..Response::default() };
            self.handle(Event::ResponseReceived(id, Ok(response)));
        }
    }

    /// Opens the WebSocket: passes the `HELLO` message to the engine.
    pub fn hello(&self) {
        self.handle(Event::SocketMessage(ServerMessage::Hello {
            protocol: 1,
            epoch: "1".into(),
            cursor: "1.1".into(),
            heartbeat_seconds: 30,
        }));
    }

    /// Reads the first `rows` rows of the list, as a page does when it renders them.
    ///
    /// With `budget`, the list contains only the tasks with at least that budget. Returns the
    /// number of rows found, the total length of their names in bytes, and the length of the list.
    pub fn first(&self, rows: usize, budget: Option<u32>) -> Vec<u32> {
        let engine = self.engine.borrow();
        let key = budget.map_or_else(project_tasks, tasks_with_budget);
        let list = engine.list(&key);
        let mut counts = vec![0, 0, list.ids.len() as u32];
        for id in list.ids.iter().take(rows) {
            if let Some(row) = engine.row(&EntityRef::new(code(), *id)) {
                counts[0] += 1;
                counts[1] += row.data.get("name").and_then(Value::as_str).map_or(0, str::len) as u32;
            }
        }
        counts
    }

    /// Returns the name of a row, including pending writes.
    pub fn name(&self, n: u32) -> Option<String> {
        self.engine.borrow().row(&task(n)).and_then(|row| row.data.get("name")?.as_str().map(str::to_owned))
    }

    /// Observes the tasks with at least `budget`.
    pub fn observe_filtered_list(&self, budget: u32) {
        self.handle(Event::Observe(ObserverId(3), Query::List(tasks_with_budget(budget))));
    }

    /// Observes the rows 0 to `rows` - 1, each with its own query.
    pub fn observe_rows(&self, rows: u32) {
        for n in 0..rows {
            self.handle(Event::Observe(ObserverId(u64::from(n) + 10), Query::Row(task(n))));
        }
    }

    /// Updates a column of a row; a value that is a number is written as a number.
    pub fn update(&self, n: u32, column: &str, value: &str) {
        let next_id = self.next_id.get() + 2;
        self.next_id.set(next_id);
        let id = |n: u64| Uuid::from_u128(u128::from(n));
        let ids = WriteIds { entry: id(next_id), idempotency_key: id(next_id + 1) };
        let value = value.parse::<f64>().map_or_else(|_| json!(value), |number| json!(number));
        let patch = [(column.to_owned(), value)].into_iter().collect();
        self.handle(Event::Update { entity: task(n), patch, ids });
    }

    /// Reports a change of a row to version `version` over the WebSocket.
    pub fn invalidate(&self, n: u32, version: i32) {
        self.handle(Event::SocketMessage(ServerMessage::Invalidate {
            entity_code: code(),
            changes: vec![Change { entity_id: row_id(n), action: Action::Update, version: Version(version.into()) }],
            timestamp: String::new(),
            cursor: "1.2".into(),
        }));
    }

    /// Marks all cached data as stale.
    pub fn invalidate_all(&self) {
        self.handle(Event::InvalidateAll);
    }

    /// Returns the number of open requests and drops them.
    pub fn requests(&self) -> usize {
        std::mem::take(&mut *self.requests.borrow_mut()).len()
    }

    /// Responds to every open request with `rows`, one JSON row per line.
    pub fn respond_with_rows(&self, rows: &str) {
        for (id, _) in std::mem::take(&mut *self.requests.borrow_mut()) {
            let body = format!("{{\"data\":[{}]}}", rows.lines().collect::<Vec<_>>().join(","));
            let response = Response { body, feed_cursor: Some("1.2".into()), ..Response::default() };
            self.handle(Event::ResponseReceived(id, Ok(response)));
        }
    }

    /// Returns the number of query changes signaled since the last call.
    pub fn changed(&self) -> usize {
        std::mem::take(&mut *self.changed.borrow_mut()).len()
    }

    /// Returns the id of a row.
    pub fn id(n: u32) -> String {
        row_id(n).to_string()
    }
}
