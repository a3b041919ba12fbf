//! The engine and its store in a page of their own, for `just bench client`: the page plays the server and the person, and measures. It must never
//! do for the engine what the app's shell does not do.

use pmo_domain::protocol::{Action, Change, ServerMessage};
use pmo_domain::query::{Filter, Operator};
use pmo_domain::{EntityCode, EntityRef, EntityType, PersonId, Version};
use pmo_sync::store::{self, KeySelector};
use pmo_sync::{
    BatchId, Effect, Engine, Event, ListKey, Namespace, ObserverId, Query, ReferenceDataKey, Request, RequestId,
    Response, Store, TabId, Write,
};
use pmo_web::client::device_store::DeviceStore;
use serde_json::{Value, json};
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use uuid::Uuid;
use wasm_bindgen::prelude::*;

fn main() {}

/// What is asked of the device.
enum Task {
    Write(BatchId, Vec<Write>),
    Read(Namespace, Vec<String>),
}

/// An engine with its device.
#[wasm_bindgen]
pub struct Bench {
    engine: RefCell<Engine>,
    device: Rc<DeviceStore>,
    tasks: RefCell<VecDeque<Task>>,
    requests: RefCell<Vec<(RequestId, Request)>>,
    changed: RefCell<Vec<Query>>,
    next: Cell<u64>,
}

fn code() -> EntityCode {
    EntityCode::new("task").unwrap_or_else(|_| unreachable!("a code"))
}

fn row_id(n: u32) -> Uuid {
    Uuid::from_u128((0x0199_0000_0000_7000 << 64) | u128::from(n))
}

fn task(n: u32) -> EntityRef {
    EntityRef::new(code(), row_id(n))
}

fn whole() -> ListKey {
    let project =
        EntityRef::new(EntityCode::new("project").unwrap_or_else(|_| unreachable!("a code")), Uuid::from_u128(7));
    ListKey::below(code(), project, "project_id")
}

/// Those with so much budget, by name.
fn part(budget: u32) -> ListKey {
    let filter = Filter { column: "budget_amt".into(), operator: Operator::Gte, values: vec![budget.to_string()] };
    whole().filtered(filter).sorted("name", false)
}

fn types() -> Value {
    let columns =
        [("id", "uuid"), ("name", "text"), ("budget_amt", "numeric"), ("priority", "int4"), ("project_id", "uuid")];
    json!([EntityType::from_columns(code(), &columns, &["task", "project"])])
}

#[wasm_bindgen]
impl Bench {
    /// Opens a person's device and starts the engine on what it holds; `leads` as the app's first tab does.
    pub async fn open(person: u32) -> Bench {
        let person = Uuid::from_u128(u128::from(person) + 1);
        let device = Rc::new(DeviceStore::open(person).await);
        let term = store::increment_term(&*device, js_sys::Date::now()).await;
        let stored = store::load(&*device).await.unwrap_or_default();
        let bench = Bench {
            engine: RefCell::new(Engine::new(1)),
            device,
            tasks: RefCell::default(),
            requests: RefCell::default(),
            changed: RefCell::default(),
            next: Cell::new(1),
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
        let effects = self.engine.borrow_mut().handle(event, js_sys::Date::now());
        for effect in effects {
            match effect {
                Effect::Persist(batch, writes) => self.tasks.borrow_mut().push_back(Task::Write(batch, writes)),
                Effect::Read(area, names) => self.tasks.borrow_mut().push_back(Task::Read(area, names)),
                Effect::Fetch(id, request) => self.requests.borrow_mut().push((id, request)),
                Effect::Changed(query) => self.changed.borrow_mut().push(query),
                _ => {}
            }
        }
    }

    /// Does what was asked of the device, until nothing is left.
    pub async fn settle(&self) {
        while self.step().await {}
    }

    /// Does the next thing that was asked of the device; writes that have gathered are one transaction. Answers whether there was anything.
    pub async fn step(&self) -> bool {
        let (mut batches, mut writes) = (Vec::new(), Vec::new());
        loop {
            let next = {
                let mut tasks = self.tasks.borrow_mut();
                let reads = matches!(tasks.front(), Some(Task::Read(..)));
                if reads && !batches.is_empty() { None } else { tasks.pop_front() }
            };
            match next {
                Some(Task::Write(batch, more)) => {
                    batches.push(batch);
                    writes.extend(more);
                }
                Some(Task::Read(area, names)) => {
                    let found = self.device.read(area, KeySelector::Names(&names)).await.unwrap_or_default();
                    self.handle(Event::StoreRead(area, names, found));
                    return true;
                }
                None => break,
            }
        }
        let any = !batches.is_empty();
        self.write(&batches, &writes).await;
        any
    }

    async fn write(&self, batches: &[BatchId], writes: &[Write]) {
        if let (Some(first), Some(last)) = (batches.first(), batches.last()) {
            let term = self.engine.borrow().term();
            let outcome = self.device.write(writes, term).await;
            self.handle(Event::Persisted(*first, *last, outcome));
        }
    }

    /// Somebody looks at the list of tasks and at the types.
    pub fn look(&self) {
        self.handle(Event::Observe(ObserverId(1), Query::Meta(ReferenceDataKey::Codes)));
        self.handle(Event::Observe(ObserverId(2), Query::List(whole())));
    }

    /// The server answers the list with a page; the types are answered with it.
    pub fn answer(&self, body: Vec<u8>) {
        let body = String::from_utf8(body).unwrap_or_default();
        let requests = std::mem::take(&mut *self.requests.borrow_mut());
        let mut body = Some(body);
        for (id, request) in requests {
            let body = if request.path.contains("/task") { body.take() } else { Some(types().to_string()) };
            let answer =
                Response { body: body.unwrap_or_default(), feed_cursor: Some("1.1".into()), ..Response::default() };
            self.handle(Event::ResponseReceived(id, Ok(answer)));
        }
    }

    /// The socket opens.
    pub fn hello(&self) {
        self.handle(Event::SocketMessage(ServerMessage::Hello {
            protocol: 1,
            epoch: "1".into(),
            cursor: "1.1".into(),
            heartbeat_seconds: 30,
        }));
    }

    /// What a page shows of the first rows of the list, or of its part with so much budget: how many, letters of their names, and how many there are.
    pub fn first(&self, rows: usize, budget: Option<u32>) -> Vec<u32> {
        let engine = self.engine.borrow();
        let key = budget.map_or_else(whole, part);
        let list = engine.list(&key);
        let mut shown = vec![0, 0, list.ids.len() as u32];
        for id in list.ids.iter().take(rows) {
            if let Some(row) = engine.row(&EntityRef::new(code(), *id)) {
                shown[0] += 1;
                shown[1] += row.data.get("name").and_then(Value::as_str).map_or(0, str::len) as u32;
            }
        }
        shown
    }

    /// The name of a row as it is shown.
    pub fn name(&self, n: u32) -> Option<String> {
        self.engine.borrow().row(&task(n)).and_then(|row| row.data.get("name")?.as_str().map(str::to_owned))
    }

    /// Somebody looks at the part with so much budget.
    pub fn look_at_part(&self, budget: u32) {
        self.handle(Event::Observe(ObserverId(3), Query::List(part(budget))));
    }

    /// Somebody looks at each of these rows by itself.
    pub fn look_at_rows(&self, rows: u32) {
        for n in 0..rows {
            self.handle(Event::Observe(ObserverId(u64::from(n) + 10), Query::Row(task(n))));
        }
    }

    /// A person types a name, or a budget.
    pub fn update(&self, n: u32, column: &str, value: &str) {
        let next = self.next.get() + 2;
        self.next.set(next);
        let ids = [Uuid::from_u128(u128::from(next)), Uuid::from_u128(u128::from(next + 1))];
        let value = value.parse::<f64>().map_or_else(|_| json!(value), |number| json!(number));
        let patch = [(column.to_owned(), value)].into_iter().collect();
        self.handle(Event::Update { entity: task(n), patch, ids });
    }

    /// The socket tells that a row has changed.
    pub fn invalidate(&self, n: u32, version: i32) {
        self.handle(Event::SocketMessage(ServerMessage::Invalidate {
            entity_code: code(),
            changes: vec![Change { entity_id: row_id(n), action: Action::Update, version: Version(version.into()) }],
            timestamp: String::new(),
            cursor: "1.2".into(),
        }));
    }

    /// Nothing held is believed any more.
    pub fn invalidate_all(&self) {
        self.handle(Event::InvalidateAll);
    }

    /// How many requests are out; they are forgotten.
    pub fn requests(&self) -> usize {
        std::mem::take(&mut *self.requests.borrow_mut()).len()
    }

    /// Answers every request for rows by their ids with what `rows` says, one JSON row a line.
    pub fn answer_rows(&self, rows: &str) {
        for (id, _) in std::mem::take(&mut *self.requests.borrow_mut()) {
            let body = format!("{{\"data\":[{}]}}", rows.lines().collect::<Vec<_>>().join(","));
            let answer = Response { body, feed_cursor: Some("1.2".into()), ..Response::default() };
            self.handle(Event::ResponseReceived(id, Ok(answer)));
        }
    }

    /// How many queries those who look were told of since the last time.
    pub fn changed(&self) -> usize {
        std::mem::take(&mut *self.changed.borrow_mut()).len()
    }

    /// The id of a row.
    pub fn id(n: u32) -> String {
        row_id(n).to_string()
    }
}
