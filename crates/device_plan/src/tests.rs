//! Plans on a device, with an engine whose requests are answered from a table of rows.

use super::*;
use pmo_domain::api_types::ListResponse;
use pmo_domain::{ChildRelation, EntityCode, EntityRef, EntityType, Permission, PersonId, Row, UnixMillis};
use pmo_planning::schedule;
use pmo_project_plan::{ImpliedChange, build};
use pmo_sync::{Effect, Engine, Event, ListKey, ObserverId, PersistedState, Query, Response, TabId, WriteIds};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::collections::BTreeMap;
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

/// Device with the rows that the server returns to it.
struct Device {
    engine: Engine,
    plan: DevicePlan,
    server: BTreeMap<&'static str, Vec<Row>>,
    now: UnixMillis,
    observers: u64,
    writes: u128,
    /// Requests for rows that the server does not have.
    refused: Vec<String>,
}

impl Device {
    /// Creates a device that observes a plan: tasks of a day each, in a chain.
    fn with_chain(tasks: u128) -> Self {
        let mut server = BTreeMap::new();
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

    fn with(server: BTreeMap<&'static str, Vec<Row>>) -> Self {
        let plan = DevicePlan::new(PROJECT).unwrap();
        let mut device = Self {
            engine: Engine::new(7),
            plan,
            server,
            now: UnixMillis::new(1_000_000),
            observers: 0,
            writes: 0,
            refused: Vec::new(),
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
                    Effect::Fetch(id, request) if request.idempotency_key.is_none() => {
                        let response = self.answer(&request.path);
                        queue.insert(0, Event::ResponseReceived(id, response));
                    }
                    _ => {}
                }
            }
        }
    }

    fn answer(&mut self, path: &str) -> Result<Response, pmo_sync::RequestError> {
        let path = path.split('?').next().unwrap_or_default();
        let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
        let of_type = |code: &str| self.server.get(code).cloned();
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
            None => {
                self.refused.push(path.to_owned());
                Err(pmo_sync::RequestError::Network)
            }
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
        for task in self.server.get_mut("task").unwrap() {
            let id: Uuid = task["id"].as_str().unwrap().parse().unwrap();
            let Some(position) = self.plan.plan().position(id) else { continue };
            let columns = self.plan.plan().derived(self.plan.live().schedule(), position).unwrap();
            task.extend(columns.to_row());
            let version = task["version"].as_i64().unwrap() + 1;
            task.insert("version".into(), json!(version));
        }
        let lists = self.plan.queries();
        self.event(Event::Invalidate(lists));
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
    let dependencies = device.server.remove("task_dependency").unwrap();
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
    device.server.get_mut("schedule").unwrap()[0].insert("calendars".into(), json!({"task_count": 4}));
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
    let unknown = entity("task", Uuid::from_u128(4_000));
    let raw = row(json!({"start_date": "2026-03-09"}));
    assert_eq!(expand_typed(&device.engine, None, &unknown, raw.clone()).unwrap().patch, raw, "the server expands it");
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
