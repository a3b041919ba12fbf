//! Reference model of the database and its REST API.
//!
//! Transactions receive their ids when they begin and commit in any order. Responses are stored by
//! idempotency key. Grants are added, revoked and expire. The model answers database requests of
//! the feed like the real database.

use crate::mutant::Mutant;
use pmo_domain::api_types::Problem;
use pmo_domain::change_log::{AccessChange, CatchUpBatch, ChangeLogEntry, LogBatch, LogRange, action};
use pmo_domain::grant_set::{GrantSet, HeldGrant};
use pmo_domain::permission::Inheritance;
use pmo_domain::{
    AncestorSetId, ChildRelation, EntityCode, EntityRef, EntityType, FeedCursor, Permission, PersonId, Row, Snapshot,
    UnixMillis, Version,
};
use pmo_feed::{DatabaseRequest, DatabaseResponse, LookupResult};
use pmo_project_plan::DERIVED_TASK_COLUMNS;
use pmo_sync::{Method, Request, RequestError, Response};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{Hash, Hasher};
use uuid::Uuid;

/// Maximum number of log rows in one batch.
const BATCH_ROWS: usize = 40;
/// Columns of a task that are inputs of its schedule.
const INPUTS: [&str; 3] = ["duration_minutes", "dl__constraint_type", "constraint_ts"];

/// Returns the id of project `n`.
pub fn project_id(n: usize) -> Uuid {
    Uuid::from_u128(1000 + n as u128)
}

/// Returns the id of the task with number `n` at the start.
pub fn task_id(n: usize) -> Uuid {
    Uuid::from_u128(2000 + n as u128)
}

/// Returns the ancestor set of the entities in project `n`.
pub(crate) fn ancestor_set(n: usize) -> AncestorSetId {
    AncestorSetId(n as i32)
}

/// Returns the id of person `n`.
pub fn person_id(n: usize) -> PersonId {
    PersonId(Uuid::from_u128(3000 + n as u128))
}

/// Returns the type markers by type code.
pub fn type_markers() -> HashMap<String, Uuid> {
    ["project", "task", "task_dependency", "schedule"]
        .into_iter()
        .map(str::to_owned)
        .zip((1..).map(Uuid::from_u128))
        .collect()
}

/// Returns the entity types of the model: projects own tasks through a column.
///
/// Risks may own tasks through links, so that columns alone never prove that a task is not a child.
fn types() -> Vec<EntityType> {
    let task_columns = [("id", "uuid"), ("name", "text"), ("note", "text"), ("project_id", "uuid")];
    let mut project = EntityType::from_columns(code("project"), &task_columns[..2], &["project"]);
    let relation = |child: &str, parent_column: Option<&str>| ChildRelation {
        code: code(child),
        owned: true,
        parent_column: parent_column.map(str::to_owned),
        parent_type_column: None,
        create_permission: Permission::Create,
    };
    let plan_types = ["task", "task_dependency", "schedule"];
    project.children = plan_types.map(|child| relation(child, Some("project_id"))).to_vec();
    let mut risk = EntityType::from_columns(code("risk"), &task_columns[..2], &["project"]);
    risk.children = vec![relation("task", None)];
    let plan_types = plan_types.map(|child| EntityType::from_columns(code(child), &task_columns, &["project"]));
    [project, risk].into_iter().chain(plan_types).collect()
}

/// Converts a valid type code of the model.
pub fn code(text: &str) -> EntityCode {
    match EntityCode::new(text) {
        Ok(code) => code,
        Err(_) => unreachable!("type codes of the model are valid"),
    }
}

/// Operation that a transaction applies when it commits.
#[derive(Clone, Debug)]
pub enum TxOp {
    /// Write request of a person.
    Write(PersonId, Box<Request>),
    /// Change of a task by a service or an operator.
    Touch(Uuid),
    /// Move of a task to another project.
    Move(Uuid, usize),
    /// Purge of a task.
    Purge(Uuid),
    /// Grant of a project to a person, with an optional lifetime in milliseconds.
    Grant(usize, usize, Option<i64>),
    /// Revocation of the grant of a project to a person.
    Revoke(usize, usize),
    /// Run of the schedule worker.
    Schedule,
}

/// A task.
#[derive(Clone, Debug)]
pub struct Task {
    /// Version: 1 after creation, incremented by each write.
    pub version: i64,
    /// Version of the last write that was not one of the schedule worker.
    pub input_version: i64,
    /// Number of the project that contains the task.
    pub project: usize,
    /// Other columns.
    pub columns: Row,
    /// `false` after deletion.
    pub active: bool,
}

impl Task {
    /// Raises the versions for a write that is not one of the schedule worker.
    fn touch(&mut self) {
        self.version += 1;
        self.input_version = self.version;
    }
}

/// Record of an overwritten value, for the oracle of lost updates.
#[derive(Clone, Debug)]
pub struct OverwriteRecord {
    /// Token that was written.
    pub token: String,
    /// Value before the write.
    pub before: Value,
}

/// The model database.
#[derive(Default)]
pub struct ModelDatabase {
    /// Current time, in milliseconds since the Unix epoch.
    pub now: i64,
    next_xid: i64,
    pub(crate) next_seq: i64,
    in_progress: BTreeMap<i64, TxOp>,
    pub(crate) log: Vec<ChangeLogEntry>,
    access_changes: Vec<(i64, AccessChange)>,
    /// Tasks by id.
    pub tasks: BTreeMap<Uuid, Task>,
    /// Expiry of each grant by person and project.
    grants: BTreeMap<(usize, usize), Option<i64>>,
    stored_responses: HashMap<String, Result<Response, RequestError>>,
    /// Number of times that each token was written.
    pub applied: HashMap<String, u32>,
    /// Overwritten values, in order of the writes.
    pub overwrites: Vec<OverwriteRecord>,
    /// Derived columns that writes of people contained.
    pub derived_in_writes: Vec<&'static str>,
    /// Whether inputs of schedules have changed since the schedule worker began.
    pub(crate) must_schedule: bool,
    pub(crate) projects: usize,
    pub(crate) initial_tasks: usize,
    people: usize,
}

impl ModelDatabase {
    /// Creates a database with the given numbers of projects, people and tasks.
    pub fn new(projects: usize, people: usize, tasks: usize) -> Self {
        let initial = Self { now: 1_000_000, next_xid: 10, projects, people, ..Self::default() };
        let mut database = Self { initial_tasks: tasks, ..initial };
        for n in 0..tasks {
            let columns = json!({"name": format!("task {n}"), "note": "", "who": [], "duration_minutes": 480});
            let columns = columns.as_object().cloned().unwrap_or_default();
            let task = Task { version: 1, input_version: 1, project: n % projects, columns, active: true };
            database.tasks.insert(task_id(n), task);
        }
        let xid = database.begin(TxOp::Schedule);
        database.commit(xid, None);
        database
    }

    /// Returns the time of the database.
    pub fn clock(&self) -> UnixMillis {
        UnixMillis::new(self.now)
    }

    /// Begins a transaction and returns its id.
    pub fn begin(&mut self, op: TxOp) -> i64 {
        self.next_xid += 1;
        self.in_progress.insert(self.next_xid, op);
        self.next_xid
    }

    /// Returns whether a person may view the entities of a project.
    pub fn can_view(&self, person: PersonId, project: usize) -> bool {
        let n = (person.0.as_u128().saturating_sub(3000)) as usize;
        self.grants
            .get(&(n, project))
            .is_some_and(|expires_at| expires_at.is_none_or(|expires_at| expires_at > self.now))
    }

    pub(crate) fn row(&self, id: Uuid, task: &Task) -> Row {
        let mut row = task.columns.clone();
        row.insert("id".into(), json!(id));
        row.insert("version".into(), json!(task.version));
        row.insert("project_id".into(), json!(project_id(task.project)));
        row.insert("permission".into(), json!(7));
        // Copy of the version for the oracle of monotonic reads; engines never change this column.
        row.insert("stamp".into(), json!(task.version));
        row
    }

    /// Returns the row that a new GET of an entity returns.
    pub fn expected_row(&self, person: PersonId, entity: &EntityRef) -> Option<Row> {
        if entity.code == *"project" {
            let n = (0..self.projects).find(|n| project_id(*n) == entity.id)?;
            let row = json!({"id": entity.id, "version": 1, "name": format!("project {n}"), "permission": 7, "planned_start_date": "2026-03-02"});
            return self.can_view(person, n).then(|| row.as_object().cloned()).flatten();
        }
        if entity.code == *"task_dependency" {
            return self.expected_dependencies(person, None).into_iter().find(|row| row["id"] == json!(entity.id));
        }
        let task = self.tasks.get(&entity.id).filter(|task| task.active && self.can_view(person, task.project))?;
        Some(self.row(entity.id, task))
    }

    /// Returns the current rows of a list.
    pub fn expected_list(&self, person: PersonId, type_code: &str, parent: Option<Uuid>) -> Vec<Row> {
        if type_code == "project" {
            if parent.is_some() {
                return Vec::new();
            }
            let projects = (0..self.projects).map(|n| EntityRef::new(code("project"), project_id(n)));
            return projects.filter_map(|entity| self.expected_row(person, &entity)).collect();
        }
        if type_code == "task_dependency" {
            return self.expected_dependencies(person, parent);
        }
        let tasks = self.tasks.iter().filter(|_| type_code == "task");
        let tasks = tasks.filter(|(_, task)| task.active && self.can_view(person, task.project));
        let tasks = tasks.filter(|(_, task)| parent.is_none_or(|parent| project_id(task.project) == parent));
        tasks.map(|(id, task)| self.row(*id, task)).collect()
    }

    /// Returns the current snapshot.
    pub fn snapshot(&self) -> Snapshot {
        let in_progress: Vec<i64> = self.in_progress.keys().copied().collect();
        let xmax = self.next_xid + 1;
        Snapshot { xmin: in_progress.first().copied().unwrap_or(xmax), xmax, in_progress }
    }

    fn cursor(&self) -> String {
        FeedCursor { epoch: 1, snapshot: self.snapshot() }.to_string()
    }

    /// Handles a GET request; `known_etag` is the value of `If-None-Match`.
    pub fn read(&self, person: PersonId, path: &str, known_etag: Option<&str>) -> Result<Response, RequestError> {
        let feed_cursor = Some(self.cursor());
        let ok = |body: Value| {
            Ok(Response { body: body.to_string(), feed_cursor: feed_cursor.clone(), ..Response::default() })
        };
        let list = |rows: Vec<Row>| {
            let body = json!({ "data": rows }).to_string();
            let mut hasher = std::hash::DefaultHasher::new();
            body.hash(&mut hasher);
            let etag = Some(format!("\"{:x}\"", hasher.finish()));
            let not_modified = etag.as_deref() == known_etag;
            let body = if not_modified { String::new() } else { body };
            Ok(Response { body, not_modified, etag, feed_cursor: feed_cursor.clone() })
        };
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
        let id = |text: &str| text.parse::<Uuid>().unwrap_or_default();
        match parts[..] {
            ["entity", "codes"] => ok(json!(types())),
            ["datalabel", "all"] => ok(json!([])),
            ["sync", "snapshot"] => {
                let root = EntityRef::new(code("project"), id(query.rsplit('=').next().unwrap_or_default()));
                let Some(row) = self.expected_row(person, &root) else { return Err(problem(404, None)) };
                let tasks = self.expected_list(person, "task", Some(root.id));
                let lines = [
                    json!({"entity_code": "project", "data": [row]}),
                    json!({"entity_code": "task", "data": tasks}),
                    json!({"entity_code": "task_dependency", "data": self.expected_list(person, "task_dependency", Some(root.id))}),
                    json!({"complete": true}),
                ];
                let body = lines.iter().map(|line| format!("{line}\n")).collect();
                Ok(Response { body, feed_cursor: feed_cursor.clone(), ..Response::default() })
            }
            ["settings", "global"] => ok(json!({})),
            ["sync", "changes"] => {
                ok(json!({"recovered": false, "epoch": "1", "cursor": self.cursor(), "access": false, "data": []}))
            }
            [type_code] if query.starts_with("ids=") => {
                let ids = query.trim_start_matches("ids=").split(',').map(id);
                list(ids.filter_map(|id| self.expected_row(person, &EntityRef::new(code(type_code), id))).collect())
            }
            [type_code] => list(self.expected_list(person, type_code, None)),
            [type_code, entity_id] => {
                match self.expected_row(person, &EntityRef::new(code(type_code), id(entity_id))) {
                    Some(row) => ok(Value::Object(row)),
                    None => Err(problem(404, None)),
                }
            }
            ["project", project, type_code] => {
                match self.expected_row(person, &EntityRef::new(code("project"), id(project))) {
                    Some(_) => list(self.expected_list(person, type_code, Some(id(project)))),
                    None => Err(problem(404, None)),
                }
            }
            _ => Err(problem(404, None)),
        }
    }

    /// Commits a transaction and returns the response if it is a write request.
    pub fn commit(&mut self, xid: i64, mutant: Option<Mutant>) -> Option<Result<Response, RequestError>> {
        let op = self.in_progress.remove(&xid)?;
        self.next_seq += 1;
        let seq = self.next_seq;
        self.must_schedule |= match &op {
            TxOp::Move(..) | TxOp::Purge(_) => true,
            TxOp::Write(_, request) => {
                let has_column = |column: &&str| request.body.as_ref().is_some_and(|body| body.get(column).is_some());
                request.method != Method::Patch || INPUTS.iter().any(has_column)
            }
            _ => false,
        };
        match op {
            TxOp::Schedule => self.write_schedules(xid),
            TxOp::Write(person, request) => return Some(self.write(xid, seq, person, &request, mutant)),
            TxOp::Touch(id) => {
                let task = self.tasks.get_mut(&id).filter(|task| task.active)?;
                task.touch();
                task.columns.insert("note".into(), json!(format!("touched {}", task.version)));
                self.append_log(xid, seq, id, action::EDIT, None);
            }
            TxOp::Move(id, new_project) => {
                let task = self.tasks.get_mut(&id).filter(|task| task.active)?;
                let old_project = std::mem::replace(&mut task.project, new_project);
                task.touch();
                self.append_log(xid, seq, id, action::EDIT, Some(old_project));
                self.access_changes.push((
                    xid,
                    AccessChange::AncestorSetChanged(ancestor_set(old_project), ancestor_set(new_project)),
                ));
            }
            TxOp::Purge(id) => {
                let task = self.tasks.get_mut(&id)?;
                task.version += 1;
                // The log contains the old column values.
                let old_project = Some(task.project);
                self.append_log(xid, seq, id, action::DELETE, old_project);
                self.log_deleted_dependencies(xid, id);
                self.tasks.remove(&id);
            }
            TxOp::Grant(person, project, lifetime) => {
                self.grants.insert((person, project), lifetime.map(|ms| self.now + ms));
                self.record_grant_change(xid, seq, person, project);
            }
            TxOp::Revoke(person, project) => {
                self.grants.remove(&(person, project));
                self.record_grant_change(xid, seq, person, project);
            }
        }
        None
    }

    fn write(
        &mut self,
        xid: i64,
        seq: i64,
        person: PersonId,
        request: &Request,
        mutant: Option<Mutant>,
    ) -> Result<Response, RequestError> {
        let parts: Vec<&str> = request.path.trim_start_matches('/').split('/').collect();
        let body = request.body.as_ref().and_then(Value::as_object).cloned().unwrap_or_default();
        let id: Uuid = match parts[..] {
            [_, id] => id.parse().unwrap_or_default(),
            _ => body.get("id").and_then(Value::as_str).and_then(|id| id.parse().ok()).unwrap_or_default(),
        };
        // Order of the checks as in the API: permission, stored response, version.
        let project = match self.tasks.get(&id) {
            Some(task) => Some(task.project),
            None => {
                let parent = body.get("project_id").and_then(Value::as_str).and_then(|p| p.parse::<Uuid>().ok());
                (0..self.projects).find(|n| Some(project_id(*n)) == parent)
            }
        };
        if project.is_none_or(|project| !self.can_view(person, project)) {
            return Err(problem(404, None));
        }
        let key = request.idempotency_key.clone();
        if let Some(stored) = key.as_ref().and_then(|key| self.stored_responses.get(key)) {
            return stored.clone();
        }
        self.derived_in_writes.extend(DERIVED_TASK_COLUMNS.into_iter().filter(|column| body.contains_key(*column)));
        let response = match request.method {
            Method::Post if self.tasks.contains_key(&id) => Err(problem(409, None)),
            Method::Post => {
                let mut columns = body.clone();
                for column in ["id", "version", "project_id", "permission", "stamp"] {
                    columns.remove(column);
                }
                let project = project.unwrap_or(0);
                self.tasks.insert(id, Task { version: 1, input_version: 1, project, columns, active: true });
                self.record_tokens(&body, &Row::new());
                self.append_log(xid, seq, id, action::CREATE, None);
                Ok(())
            }
            Method::Patch | Method::Delete => {
                let Some(task) = self.tasks.get(&id).filter(|task| task.active).cloned() else {
                    return Err(problem(404, None));
                };
                // Computed dates do not conflict with writes.
                let is_current = |version: i64| version >= task.input_version && version <= task.version;
                let is_outdated = request.if_match.is_some_and(|version| !is_current(version));
                if is_outdated && mutant != Some(Mutant::VersionsIgnored) {
                    return Err(problem(412, Some(self.row(id, &task))));
                }
                let before = self.row(id, &task);
                let Some(task) = self.tasks.get_mut(&id) else { return Err(problem(404, None)) };
                task.touch();
                if request.method == Method::Delete {
                    self.log_deleted_dependencies(xid, id);
                    self.tasks.entry(id).and_modify(|task| task.active = false);
                    self.append_log(xid, seq, id, action::DELETE, None);
                } else {
                    task.columns.extend(body.clone());
                    self.record_tokens(&body, &before);
                    self.append_log(xid, seq, id, action::EDIT, None);
                }
                Ok(())
            }
            Method::Get => Ok(()),
        };
        let response = response.map(|()| {
            let entity = EntityRef::new(code("task"), id);
            let body =
                self.expected_row(person, &entity).map_or_else(String::new, |row| Value::Object(row).to_string());
            Response { body, ..Response::default() }
        });
        if let (Some(key), Ok(_)) = (key, &response) {
            self.stored_responses.insert(key, response.clone());
        }
        response
    }

    fn record_tokens(&mut self, body: &Row, before: &Row) {
        for (column, value) in body.iter().filter(|(column, _)| matches!(column.as_str(), "name" | "note")) {
            let Some(token) = value.as_str().filter(|text| text.starts_with("token-")) else { continue };
            *self.applied.entry(token.to_owned()).or_default() += 1;
            let before = before.get(column).cloned().unwrap_or_default();
            self.overwrites.push(OverwriteRecord { token: token.to_owned(), before });
        }
    }

    pub(crate) fn append_log(&mut self, xid: i64, seq: i64, id: Uuid, action: i16, old_project: Option<usize>) {
        let Some(task) = self.tasks.get(&id) else { return };
        let diff = old_project.map_or(
            json!({}),
            |old_project| json!({"project_id": {"old": project_id(old_project), "new": project_id(task.project)}}),
        );
        self.log.push(ChangeLogEntry {
            seq,
            xid,
            code: code("task"),
            id,
            action,
            version: Version(task.version),
            diff,
            ancestor_set: Some(ancestor_set(task.project)),
            tx_started_at: self.clock(),
            parents: Vec::new(),
        });
    }

    fn record_grant_change(&mut self, xid: i64, seq: i64, person: usize, project: usize) {
        let diff = json!({"person_id": {"new": person_id(person).0}, "entity_code": {"new": "project"}, "entity_instance_id": {"new": project_id(project)}});
        let (code, id, version, parents) = (code("entity_rbac"), Uuid::from_u128(9), Version(0), Vec::new());
        let row = ChangeLogEntry {
            seq,
            xid,
            code,
            id,
            action: action::SHARE,
            version,
            diff,
            ancestor_set: None,
            tx_started_at: self.clock(),
            parents,
        };
        self.log.push(row);
        self.access_changes.push((xid, AccessChange::GrantsChanged(person_id(person).0)));
    }

    // Database requests of the feed --------------------------------------------------------------

    fn read_log(
        &self,
        range: &LogRange,
        by_parent: &[EntityCode],
        mutant: Option<Mutant>,
    ) -> (Vec<ChangeLogEntry>, bool) {
        let is_listed = |xid: i64| range.finished.contains(&xid) && mutant != Some(Mutant::CursorWithoutSnapshot);
        // Reads only the end of the log if the request names no older transactions: the log is
        // long.
        let mut rows: Vec<ChangeLogEntry> = self
            .log
            .iter()
            .rev()
            .take(if range.finished.is_empty() { 4000 } else { usize::MAX })
            .filter(|r| r.xid >= range.from || is_listed(r.xid))
            .filter(|r| range.until.as_ref().is_none_or(|until| until.is_visible(r.xid)))
            .filter(|r| range.after.is_none_or(|after| (r.xid, r.seq) > after))
            .cloned()
            .collect();
        rows.sort_unstable_by_key(|r| (r.xid, r.seq));
        let has_more = rows.len() > BATCH_ROWS;
        rows.truncate(BATCH_ROWS);
        for row in &mut rows {
            if let Some(task) = self.tasks.get(&row.id) {
                row.ancestor_set = Some(ancestor_set(task.project));
                if by_parent.contains(&row.code) {
                    row.parents = vec![EntityRef::new(code("project"), project_id(task.project))];
                }
            }
        }
        (rows, has_more)
    }

    fn read_access_changes(&self, range: &LogRange) -> BTreeSet<AccessChange> {
        let is_new = |xid: i64| xid >= range.from || range.finished.contains(&xid);
        let is_visible = |xid: i64| range.until.as_ref().is_none_or(|until| until.is_visible(xid));
        self.access_changes.iter().filter(|(xid, _)| is_new(*xid) && is_visible(*xid)).map(|(_, c)| *c).collect()
    }

    /// Handles a database request of the feed.
    pub fn handle_request(&self, request: &DatabaseRequest, mutant: Option<Mutant>) -> DatabaseResponse {
        match request {
            DatabaseRequest::Poll { range, by_parent } => {
                let (rows, has_more) = self.read_log(range, by_parent, mutant);
                let access = if range.after.is_some() { BTreeSet::new() } else { self.read_access_changes(range) };
                DatabaseResponse::LogBatch(LogBatch {
                    rows,
                    access,
                    snapshot: self.snapshot(),
                    epoch: 1,
                    has_more,
                    db_now: self.clock(),
                })
            }
            DatabaseRequest::CatchUp(past) => {
                let range = LogRange { until: Some(past.until.clone()), ..LogRange::since(&past.from) };
                let (rows, has_more) = self.read_log(&range, &past.by_parent, mutant);
                let grant_expired =
                    past.person.is_some() && self.grants.values().any(|e| e.is_some_and(|e| e <= self.now));
                let batch =
                    CatchUpBatch { rows, access: self.read_access_changes(&range), grant_expired, complete: !has_more };
                DatabaseResponse::CatchUp(past.connection, batch)
            }
            DatabaseRequest::Lookup(needs) => {
                let mut facts = LookupResult { types: needs.types.then(type_markers), ..LookupResult::default() };
                for n in (0..self.people).filter(|n| needs.people.contains(&person_id(*n))) {
                    let person_grants = self
                        .grants
                        .iter()
                        .filter(|((p, _), expires_at)| *p == n && expires_at.is_none_or(|e| e > self.now));
                    let held_grants = person_grants.map(|((_, project), expires_at)| HeldGrant {
                        target: project_id(*project),
                        permission: Permission::Owner,
                        inheritance: Inheritance::Cascade,
                        deny: false,
                        expires_at_ms: *expires_at,
                    });
                    facts.people.insert(person_id(n), GrantSet::new(held_grants.collect()));
                }
                for id in &needs.entities {
                    if let Some(task) = self.tasks.get(id) {
                        facts.entities.insert(*id, (code("task"), ancestor_set(task.project)));
                    } else if let Some(n) = self.project_of_dependency(*id) {
                        facts.entities.insert(*id, (code("task_dependency"), ancestor_set(n)));
                    } else if let Some(n) = (0..self.projects).find(|n| project_id(*n) == *id) {
                        facts.entities.insert(*id, (code("project"), ancestor_set(n)));
                    }
                }
                for id in &needs.ancestor_sets {
                    facts.ancestor_sets.insert(*id, vec![(project_id(id.0 as usize), true)]);
                }
                DatabaseResponse::Lookup(facts)
            }
        }
    }
}

fn problem(status: u16, current: Option<Row>) -> RequestError {
    let (kind, title) = ("about:blank".to_owned(), format!("status {status}"));
    RequestError::Rejected(Box::new(Problem { kind, title, status, detail: None, errors: Vec::new(), current }))
}
