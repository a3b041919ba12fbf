//! Plans on a device, with an engine whose requests are answered from a table of rows.

use super::*;
use pmo_domain::api_types::ListResponse;
use pmo_domain::{ChildRelation, EntityCode, EntityRef, EntityType, Permission, PersonId, Row, UnixMillis};
use pmo_planning::schedule;
use pmo_project_plan::{DependencyInput, ImpliedChange, PlanInput, ProjectInput, TaskInput, build};
use pmo_sync::{Effect, Engine, Event, ListKey, Method, ObserverId, PersistedState, Query, Response, TabId, WriteIds};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use uuid::Uuid;

const PROJECT: Uuid = Uuid::from_u128(1);

fn entity(code: &str, id: Uuid) -> EntityRef {
    EntityRef::new(EntityCode::new(code).unwrap(), id)
}

fn task_id(n: u128) -> Uuid {
    Uuid::from_u128(100 + n)
}

fn row(value: Value) -> Row {
    value.as_object().cloned().unwrap()
}

/// Returns the entity types, with the relations of a project.
fn types() -> Value {
    let column = [("id", "uuid"), ("name", "text"), ("project_id", "uuid")];
    let entity_type = |code: &str| EntityType::from_columns(EntityCode::new(code).unwrap(), &column, &["project"]);
    let mut project = entity_type("project");
    let children = ["task", "task_dependency", "schedule"];
    project.children = children
        .map(|code| ChildRelation {
            code: EntityCode::new(code).unwrap(),
            owned: true,
            parent_column: Some("project_id".into()),
            parent_type_column: None,
            create_permission: Permission::Create,
        })
        .to_vec();
    let mut types = vec![project];
    types.extend(children.map(entity_type));
    json!(types)
}

/// Rows of the server by type, shared by devices.
#[derive(Clone, Default)]
struct Server(Rc<RefCell<BTreeMap<&'static str, Vec<Row>>>>);

impl Server {
    fn of_type(&self, code: &str) -> Option<Vec<Row>> {
        self.0.borrow().get(code).cloned()
    }

    fn insert(&self, code: &'static str, rows: Vec<Row>) {
        self.0.borrow_mut().insert(code, rows);
    }

    fn plan_input(&self) -> PlanInput {
        let rows = |code: &str| self.of_type(code).unwrap_or_default();
        PlanInput {
            project: ProjectInput { id: PROJECT, ..ProjectInput::from_row(&rows("project")[0]) },
            tasks: rows("task").iter().map(TaskInput::from_row).collect(),
            dependencies: rows("task_dependency").iter().map(DependencyInput::from_row).collect(),
            ..PlanInput::default()
        }
    }

    /// Returns the derived columns of all tasks, computed from the rows.
    fn dates(&self) -> BTreeMap<Uuid, Row> {
        let plan = build(&self.plan_input());
        let dates = schedule(&plan.plan);
        let derived = |position: usize| plan.derived(&dates, u32::try_from(position).unwrap()).unwrap().to_row();
        (0..plan.task_count).map(|position| (plan.task_ids[position], derived(position))).collect()
    }

    /// Stores the computed dates, as the schedule worker does.
    fn store_dates(&self) {
        let dates = self.dates();
        for task in self.0.borrow_mut().get_mut("task").unwrap() {
            if let Some(columns) = dates.get(&id_of(task)) {
                task.extend(columns.clone());
                raise_version(task);
            }
        }
    }

    /// Applies a write to a task and returns its row.
    fn patch(&self, id: Uuid, body: &Value) -> Value {
        let mut rows = self.0.borrow_mut();
        let task = rows.get_mut("task").unwrap().iter_mut().find(|task| id_of(task) == id).unwrap();
        task.extend(row(body.clone()));
        raise_version(task);
        Value::Object(task.clone())
    }
}

fn id_of(row: &Row) -> Uuid {
    row["id"].as_str().unwrap().parse().unwrap()
}

fn raise_version(row: &mut Row) {
    let version = row["version"].as_i64().unwrap() + 1;
    row.insert("version".into(), json!(version));
}

/// Device with the rows that the server returns to it.
struct Device {
    engine: Engine,
    plan: DevicePlan,
    server: Server,
    now: UnixMillis,
    observers: u64,
    writes: u128,
    /// Whether writes are answered; else they stay in flight.
    sends_writes: bool,
}

impl Device {
    /// Creates a device that observes a plan: tasks of a day each, in a chain.
    fn with_chain(tasks: u128) -> Self {
        let server = Server::default();
        server.insert("project", vec![row(json!({"id": PROJECT, "version": 1, "planned_start_date": "2026-03-02"}))]);
        server.insert("task", (0..tasks).map(|n| row(json!({
            "id": task_id(n), "version": 1, "project_id": PROJECT, "rank": format!("a{n}"), "duration_minutes": 480.0,
            "active_flag": true, "name": format!("task {n}"),
        }))).collect());
        server.insert("task_dependency", (1..tasks).map(|n| row(json!({
            "id": Uuid::from_u128(500 + n), "version": 1, "project_id": PROJECT, "predecessor__task_id": task_id(n - 1),
            "successor__task_id": task_id(n), "active_flag": true,
        }))).collect());
        server.insert(
            "schedule",
            vec![row(json!({"id": Uuid::from_u128(900), "version": 1, "project_id": PROJECT, "calendars": {}}))],
        );
        Self::with(server)
    }

    fn with(server: Server) -> Self {
        let plan = DevicePlan::new(PROJECT).unwrap();
        let mut device = Self {
            engine: Engine::new(7),
            plan,
            server,
            now: UnixMillis::new(1_000_000),
            observers: 0,
            writes: 0,
            sends_writes: false,
        };
        let stored = Box::new(PersistedState::default());
        device.event(Event::Start {
            person: PersonId(Uuid::from_u128(9)),
            tab: TabId(Uuid::from_u128(2)),
            stored,
            term: Some(1),
        });
        device
    }

    /// Observes the queries of the plan and follows them until nothing changes.
    fn follow(&mut self) -> Vec<(Uuid, Option<Row>)> {
        let mut derived = Vec::new();
        for _ in 0..3 {
            self.observers += 10;
            for (n, query) in self.plan.queries().into_iter().enumerate() {
                self.event(Event::Observe(ObserverId(self.observers + n as u64), query));
            }
            let update = self.plan.update(&self.engine);
            derived.extend(update.derived.clone());
            self.event(Event::SetDerived { code: self.plan.task_code().clone(), rows: update.derived });
        }
        assert_eq!(self.plan.update(&self.engine).derived, [], "nothing is left to show");
        derived
    }

    fn event(&mut self, event: Event) {
        let mut queue = vec![event];
        while let Some(event) = queue.pop() {
            for effect in self.engine.handle(event, self.now) {
                match effect {
                    Effect::Persist(batch, _) => queue.insert(0, Event::Persisted(batch, batch, Ok(()))),
                    Effect::Fetch(id, request) if request.method == Method::Get => {
                        let response = self.answer(&request.path);
                        queue.insert(0, Event::ResponseReceived(id, response));
                    }
                    Effect::Fetch(id, request) if self.sends_writes => {
                        let task = request.path.rsplit('/').next().unwrap().parse().unwrap();
                        let body = self.server.patch(task, request.body.as_ref().unwrap()).to_string();
                        queue.insert(0, Event::ResponseReceived(id, Ok(Response { body, ..Response::default() })));
                    }
                    _ => {}
                }
            }
        }
    }

    fn answer(&mut self, path: &str) -> Result<Response, pmo_sync::RequestError> {
        let path = path.split('?').next().unwrap_or_default();
        let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
        let of_type = |code: &str| self.server.of_type(code);
        let body = match parts[..] {
            ["entity", "codes"] => Some(types()),
            ["project", _, code] => of_type(code).map(|data| json!(ListResponse { data, ..ListResponse::default() })),
            [code, id] => {
                of_type(code).and_then(|rows| rows.into_iter().find(|row| row["id"] == *id)).map(Value::Object)
            }
            _ => None,
        };
        match body {
            Some(body) => Ok(Response { body: body.to_string(), ..Response::default() }),
            None => Err(pmo_sync::RequestError::Network),
        }
    }

    fn update(&mut self, n: u128, patch: Value) {
        self.write(entity("task", task_id(n)), row(patch));
    }

    fn write(&mut self, entity: EntityRef, patch: Row) {
        self.writes += 1;
        let ids = WriteIds {
            entry: Uuid::from_u128(7_000 + self.writes),
            idempotency_key: Uuid::from_u128(8_000 + self.writes),
        };
        self.event(Event::Update { entity, patch, ids });
    }

    fn shown(&self, n: u128, column: &str) -> Value {
        self.engine.row(&entity("task", task_id(n))).unwrap().data.get(column).cloned().unwrap_or_default()
    }

    /// Stores computed dates on the server and tells the device.
    fn store_dates(&mut self) {
        // Only the inputs of this device count, as if its writes had been sent.
        for (id, columns) in self.pending_patches() {
            self.server.patch(id, &columns);
        }
        self.server.store_dates();
        self.refetch();
    }

    fn pending_patches(&self) -> Vec<(Uuid, Value)> {
        let patch = |entry: &pmo_sync::OutboxEntry| match &entry.operation {
            pmo_sync::Operation::Update { patch, .. } => Some((entry.entity.id, Value::Object(patch.clone()))),
            _ => None,
        };
        self.engine.outbox().iter().filter_map(patch).collect()
    }

    fn refetch(&mut self) {
        let queries = self.plan.queries();
        self.event(Event::Invalidate(queries));
    }
}

#[test]
fn device_with_all_rows_computes_the_dates_and_shows_what_differs() {
    let mut device = Device::with_chain(3);
    let derived = device.follow();
    assert_eq!(device.plan.state(), &PlanState::Computed);
    assert_eq!(derived.len(), 3);
    assert_eq!(device.shown(2, "start_ts"), "2026-03-04T08:00:00");
    device.store_dates();
    assert!(device.follow().iter().all(|(_, columns)| columns.is_none()), "the server has the same dates");
    assert!(!device.plan.has_derived());
    device.update(0, json!({"duration_minutes": 960}));
    let moved: Vec<Uuid> = device.follow().into_iter().map(|(id, _)| id).collect();
    assert_eq!(moved, [task_id(0), task_id(1), task_id(2)]);
    assert_eq!(device.shown(2, "due_date"), "2026-03-05");
    let entry = &device.engine.outbox()[0];
    assert!(!format!("{entry:?}").contains("due_date"), "only the input is queued");
}

#[test]
fn device_that_lacks_a_part_shows_the_dates_of_the_server() {
    let mut device = Device::with_chain(3);
    let dependencies = device.server.0.borrow_mut().remove("task_dependency").unwrap();
    assert_eq!(device.follow(), []);
    let missing = |device: &Device| match device.plan.state() {
        PlanState::ServerDates { missing } => missing.clone(),
        PlanState::Computed => Vec::new(),
    };
    assert_eq!(missing(&device), [MissingPart::Dependencies]);
    assert_eq!(device.shown(0, "start_date"), Value::Null);
    device.server.insert("task_dependency", dependencies);
    device.now = device.now + std::time::Duration::from_secs(60);
    device.event(Event::Tick);
    assert_eq!(device.follow().len(), 3);
    // A predecessor that the user may not view.
    let hidden = Uuid::from_u128(77);
    device.update(1, json!({"name": "renamed"}));
    let link = row(
        json!({"id": Uuid::from_u128(600), "project_id": PROJECT, "predecessor__task_id": hidden, "successor__task_id": task_id(2)}),
    );
    let ids = WriteIds { entry: Uuid::from_u128(6), idempotency_key: Uuid::from_u128(5) };
    device.event(Event::Create { entity: entity("task_dependency", Uuid::from_u128(600)), values: link, ids });
    assert_eq!(device.follow(), [0, 1, 2].map(|n| (task_id(n), None)), "all derived columns end");
    assert!(matches!(missing(&device)[..], [MissingPart::Referenced(_)]));
    assert_eq!(device.shown(0, "start_date"), Value::Null);
}

#[test]
fn tasks_that_the_user_may_not_view_prevent_the_computation() {
    let mut device = Device::with_chain(3);
    let calendars = json!({"task_count": 4});
    device.server.0.borrow_mut().get_mut("schedule").unwrap()[0].insert("calendars".into(), calendars);
    assert_eq!(device.follow(), []);
    assert_eq!(device.plan.state(), &PlanState::ServerDates { missing: vec![MissingPart::Tasks] });
}

#[test]
fn typed_start_becomes_a_constraint_and_no_derived_column_is_left_in_the_patch() {
    let mut device = Device::with_chain(2);
    device.follow();
    let task = entity("task", task_id(1));
    let typed =
        expand_typed(&device.engine, Some(&device.plan), &task, row(json!({"start_date": "2026-03-09"}))).unwrap();
    assert_eq!(typed.patch["dl__constraint_type"], "Start No Earlier Than");
    assert!(!typed.patch.contains_key("start_date"));
    assert!(matches!(typed.implied[..], [ImpliedChange::ConstraintSet { .. }]));
    assert_eq!(typed.before["dl__constraint_type"], Value::Null);
    device.write(task.clone(), typed.patch);
    device.follow();
    assert_eq!(device.shown(1, "start_date"), "2026-03-09");
    assert_eq!(projects_with_pending_inputs(&device.engine), [PROJECT].into());
    let without_plan = expand_typed(&device.engine, None, &task, row(json!({"start_date": "2026-03-16"}))).unwrap();
    assert_eq!(without_plan.patch["constraint_ts"], "2026-03-16T08:00:00");
    assert_eq!(without_plan.patch["start_date"], "2026-03-16", "shown until the server has computed");
    let unknown = entity("task", Uuid::from_u128(4_000));
    let raw = row(json!({"start_date": "2026-03-09"}));
    assert_eq!(expand_typed(&device.engine, None, &unknown, raw.clone()).unwrap().patch, raw, "the server expands it");
}

#[test]
fn two_devices_that_edit_different_tasks_offline_agree_with_the_server_afterwards() {
    let mut first = Device::with_chain(4);
    first.server.store_dates();
    let mut second = Device::with(first.server.clone());
    let mut devices = [&mut first, &mut second];
    for (device, (task, patch)) in devices.iter_mut().zip([
        (0, json!({"duration_minutes": 960})),
        (2, json!({"dl__constraint_type": "Start No Earlier Than", "constraint_ts": "2026-03-12T08:00:00"})),
    ]) {
        assert_eq!(device.follow(), []);
        device.event(Event::Online(false));
        device.update(task, patch);
        assert!(!device.follow().is_empty(), "computed offline");
        device.sends_writes = true;
    }
    assert_eq!(
        (devices[0].shown(3, "start_date"), devices[1].shown(3, "start_date")),
        (json!("2026-03-06"), json!("2026-03-13"))
    );
    for device in &mut devices {
        device.event(Event::Online(true));
        device.event(Event::TokenRefreshed);
        assert_eq!(device.engine.outbox().len(), 0, "sent without a conflict");
    }
    devices[0].server.store_dates();
    for device in &mut devices {
        device.refetch();
        device.follow();
        assert!(!device.plan.has_derived());
        for (id, columns) in device.server.dates() {
            let shown = device.engine.row(&entity("task", id)).unwrap().data;
            for (column, value) in columns {
                assert_eq!(shown[&column], value, "{column}");
            }
        }
    }
}

#[test]
fn end_ends_all_derived_columns() {
    let mut device = Device::with_chain(2);
    device.follow();
    let rows = device.plan.end();
    device.event(Event::SetDerived { code: device.plan.task_code().clone(), rows });
    assert_eq!(device.shown(1, "start_date"), Value::Null);
    assert!(!device.plan.has_derived());
}

proptest! {
    #[test]
    fn followed_plan_equals_a_fresh_computation(edits in proptest::collection::vec((0..6u128, 0..6u8, 0..9u16), 1..25)) {
        let mut device = Device::with_chain(6);
        device.follow();
        for (n, kind, value) in edits {
            match kind {
                0 | 1 => device.update(n, json!({"duration_minutes": u32::from(value) * 120})),
                2 => device.update(n, json!({"dl__constraint_type": "Start No Earlier Than", "constraint_ts": format!("2026-03-{:02}T08:00:00", 2 + value)})),
                3 => device.update(n, json!({"parent__task_id": (n > 0 && value < 4).then(|| task_id(0))})),
                4 => device.update(n, json!({"active_flag": value > 3})),
                _ => device.store_dates(),
            }
            device.follow();
            let fresh = build(device.plan.input());
            let expected = schedule(&fresh.plan);
            prop_assert_eq!(device.plan.plan(), &fresh);
            for (position, id) in fresh.task_ids.iter().take(fresh.task_count).enumerate() {
                let columns = fresh.derived(&expected, u32::try_from(position).unwrap()).unwrap().to_row();
                let shown = device.engine.row(&entity("task", *id)).unwrap().data;
                if device.plan.state() == &PlanState::Computed {
                    for (column, value) in columns {
                        let same = shown.get(&column).unwrap_or(&Value::Null);
                        prop_assert!(same == &value || same.as_f64().is_some() && same.as_f64() == value.as_f64(), "{}: {} {}", column, same, value);
                    }
                }
            }
        }
        let lists = device.plan.queries();
        prop_assert!(lists.contains(&Query::List(ListKey::children_of(EntityCode::new("task").unwrap(), entity("project", PROJECT), "project_id"))));
    }
}
