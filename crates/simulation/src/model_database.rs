//! A modelled database with its REST interface: transactions take their numbers when they begin and commit in any order, answers are kept by key, grants
//! come, go and run out. It answers the feed's questions as the real one does.

use crate::mutant::Mutant;
use pmo_domain::api_types::Problem;
use pmo_domain::change_log::{AccessChange, ChangeLogEntry, action};
use pmo_domain::grant_set::{GrantSet, HeldGrant};
use pmo_domain::permission::Inheritance;
use pmo_domain::{
    ChildRelation, EntityCode, EntityRef, EntityType, FeedCursor, Permission, PersonId, Row, Snapshot, Version,
};
use pmo_feed::{CatchUpBatch, DatabaseRequest, DatabaseResponse as FeedAnswer, LogBatch, LogRange, LookupResult};
use pmo_sync::{Method, Request, RequestError, Response};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{Hash, Hasher};
use uuid::Uuid;

/// Rows of the log that one look reads.
const BATCH_ROWS: usize = 40;

/// A project; it is also a reach: what lies in project `n` has reach `n`.
pub fn project_id(n: usize) -> Uuid {
    Uuid::from_u128(1000 + n as u128)
}

/// A person.
pub fn person_id(n: usize) -> PersonId {
    PersonId(Uuid::from_u128(3000 + n as u128))
}

/// Types by marker.
pub fn markers() -> HashMap<String, Uuid> {
    [("project".to_owned(), Uuid::from_u128(1)), ("task".to_owned(), Uuid::from_u128(2))].into()
}

/// Its types: projects own tasks by a column. Risks could own them by links, so that columns alone never say where a task is not.
fn types() -> Vec<EntityType> {
    let task = [("id", "uuid"), ("name", "text"), ("note", "text"), ("project_id", "uuid")];
    let mut above = EntityType::from_columns(code("project"), &task[..2], &["project"]);
    let tie = |column: Option<&str>| ChildRelation {
        code: code("task"),
        owned: true,
        parent_column: column.map(str::to_owned),
        parent_type_column: None,
        create_permission: Permission::Create,
    };
    above.children = vec![tie(Some("project_id"))];
    let mut risk = EntityType::from_columns(code("risk"), &task[..2], &["project"]);
    risk.children = vec![tie(None)];
    vec![above, EntityType::from_columns(code("task"), &task, &["project"]), risk]
}

/// An entity code of this model.
pub fn code(text: &str) -> EntityCode {
    match EntityCode::new(text) {
        Ok(code) => code,
        Err(_) => unreachable!("the model's codes are legal"),
    }
}

/// What a transaction does when it commits.
#[derive(Clone, Debug)]
pub enum TxOp {
    /// A request of a person.
    Write(PersonId, Box<Request>),
    /// Something that a service or an operator does.
    Touch(Uuid),
    /// A task goes to another project.
    Move(Uuid, usize),
    /// A task goes for good.
    Purge(Uuid),
    /// A person is given a project, for some time or for good.
    Grant(usize, usize, Option<i64>),
    /// And loses it.
    Ungrant(usize, usize),
}

/// A task.
#[derive(Clone, Debug)]
pub struct Task {
    /// How often it was written.
    pub version: i64,
    /// Where it is.
    pub project: usize,
    /// Its other columns.
    pub columns: Row,
    /// It is not deleted.
    pub active: bool,
}

/// What was written over what: for the oracle of silent overwrites.
#[derive(Clone, Debug)]
pub struct OverwriteRecord {
    /// The token that was written.
    pub token: String,
    /// What it took the place of.
    pub before: Value,
}

/// The database.
#[derive(Default)]
pub struct ModelDatabase {
    /// Milliseconds since 1970.
    pub now: i64,
    next_xid: i64,
    next_seq: i64,
    running: BTreeMap<i64, TxOp>,
    log: Vec<ChangeLogEntry>,
    access: Vec<(i64, AccessChange)>,
    /// All tasks.
    pub tasks: BTreeMap<Uuid, Task>,
    grants: BTreeMap<(usize, usize), Option<i64>>,
    stored_responses: HashMap<String, Result<Response, RequestError>>,
    /// How often each token was written.
    pub applied: HashMap<String, u32>,
    /// What was written over what.
    pub overwrites: Vec<OverwriteRecord>,
    projects: usize,
    people: usize,
}

impl ModelDatabase {
    /// With so many of each.
    pub fn new(projects: usize, people: usize, tasks: usize) -> Self {
        let mut database = Self { now: 1_000_000, next_xid: 10, projects, people, ..Self::default() };
        for n in 0..tasks {
            let columns = json!({"name": format!("task {n}"), "note": "", "who": []});
            let columns = columns.as_object().cloned().unwrap_or_default();
            let task = Task { version: 1, project: n % projects, columns, active: true };
            database.tasks.insert(Uuid::from_u128(2000 + n as u128), task);
        }
        database
    }

    /// Begins a transaction.
    pub fn begin(&mut self, deed: TxOp) -> i64 {
        self.next_xid += 1;
        self.running.insert(self.next_xid, deed);
        self.next_xid
    }

    /// Whether a person may see what is in a project.
    pub fn can_view(&self, who: PersonId, project: usize) -> bool {
        let n = (who.0.as_u128().saturating_sub(3000)) as usize;
        self.grants.get(&(n, project)).is_some_and(|until| until.is_none_or(|until| until > self.now))
    }

    fn row(&self, id: Uuid, task: &Task) -> Row {
        let mut row = task.columns.clone();
        row.insert("id".into(), json!(id));
        row.insert("version".into(), json!(task.version));
        row.insert("project_id".into(), json!(project_id(task.project)));
        row.insert("permission".into(), json!(7));
        // For the oracle of time: what the version says, where nothing that reads it can change it.
        row.insert("stamp".into(), json!(task.version));
        row
    }

    /// What a fresh GET of a task answers.
    pub fn expected_row(&self, who: PersonId, entity: &EntityRef) -> Option<Row> {
        if entity.code == *"project" {
            let n = (0..self.projects).find(|n| project_id(*n) == entity.id)?;
            let row = json!({"id": entity.id, "version": 1, "name": format!("project {n}"), "permission": 7});
            return self.can_view(who, n).then(|| row.as_object().cloned()).flatten();
        }
        let task = self.tasks.get(&entity.id).filter(|task| task.active && self.can_view(who, task.project))?;
        Some(self.row(entity.id, task))
    }

    /// What a list holds now.
    pub fn expected_list(&self, who: PersonId, of: &str, below: Option<Uuid>) -> Vec<Row> {
        if of == "project" {
            if below.is_some() {
                return Vec::new();
            }
            let all = (0..self.projects).map(|n| EntityRef::new(code("project"), project_id(n)));
            return all.filter_map(|entity| self.expected_row(who, &entity)).collect();
        }
        let tasks = self.tasks.iter().filter(|(_, task)| task.active && self.can_view(who, task.project));
        let tasks = tasks.filter(|(_, task)| below.is_none_or(|below| project_id(task.project) == below));
        tasks.map(|(id, task)| self.row(*id, task)).collect()
    }

    /// What is settled now.
    pub fn snapshot(&self) -> Snapshot {
        let running: Vec<i64> = self.running.keys().copied().collect();
        let xmax = self.next_xid + 1;
        Snapshot { xmin: running.first().copied().unwrap_or(xmax), xmax, in_progress: running }
    }

    fn cursor(&self) -> String {
        FeedCursor { epoch: 1, snapshot: self.snapshot() }.to_string()
    }

    /// Answers a read.
    pub fn read(&self, who: PersonId, path: &str, known: Option<&str>) -> Result<Response, RequestError> {
        let feed_cursor = Some(self.cursor());
        let ok = |body: Value| {
            Ok(Response { body: body.to_string(), feed_cursor: feed_cursor.clone(), ..Response::default() })
        };
        let list = |rows: Vec<Row>| {
            let body = json!({ "data": rows }).to_string();
            let mut hasher = std::hash::DefaultHasher::new();
            body.hash(&mut hasher);
            let etag = Some(format!("\"{:x}\"", hasher.finish()));
            let not_modified = etag.as_deref() == known;
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
                let Some(row) = self.expected_row(who, &root) else { return Err(problem(404, None)) };
                let tasks = self.expected_list(who, "task", Some(root.id));
                let lines = [
                    json!({"entity_code": "project", "data": [row]}),
                    json!({"entity_code": "task", "data": tasks}),
                    json!({"complete": true}),
                ];
                let body = lines.iter().map(|line| format!("{line}\n")).collect();
                Ok(Response { body, feed_cursor: feed_cursor.clone(), ..Response::default() })
            }
            ["settings", "global"] => ok(json!({})),
            ["sync", "changes"] => {
                ok(json!({"recovered": false, "epoch": "1", "cursor": self.cursor(), "access": false, "data": []}))
            }
            [of] if query.starts_with("ids=") => {
                let ids = query.trim_start_matches("ids=").split(',').map(id);
                list(ids.filter_map(|id| self.expected_row(who, &EntityRef::new(code(of), id))).collect())
            }
            [of] => list(self.expected_list(who, of, None)),
            [of, one] => match self.expected_row(who, &EntityRef::new(code(of), id(one))) {
                Some(row) => ok(Value::Object(row)),
                None => Err(problem(404, None)),
            },
            ["project", above, of] => match self.expected_row(who, &EntityRef::new(code("project"), id(above))) {
                Some(_) => list(self.expected_list(who, of, Some(id(above)))),
                None => Err(problem(404, None)),
            },
            _ => Err(problem(404, None)),
        }
    }

    /// Commits a transaction; a request's answer comes out.
    pub fn commit(&mut self, xid: i64, mutant: Option<Mutant>) -> Option<Result<Response, RequestError>> {
        let deed = self.running.remove(&xid)?;
        self.next_seq += 1;
        let seq = self.next_seq;
        match deed {
            TxOp::Write(who, request) => return Some(self.write(xid, seq, who, &request, mutant)),
            TxOp::Touch(id) => {
                let task = self.tasks.get_mut(&id).filter(|task| task.active)?;
                task.version += 1;
                task.columns.insert("note".into(), json!(format!("touched {}", task.version)));
                self.append_log(xid, seq, id, action::EDIT, None);
            }
            TxOp::Move(id, to) => {
                let task = self.tasks.get_mut(&id).filter(|task| task.active)?;
                let was = std::mem::replace(&mut task.project, to);
                task.version += 1;
                self.append_log(xid, seq, id, action::EDIT, Some(was));
                self.access.push((xid, AccessChange::AncestorSetChanged(was as i32, to as i32)));
            }
            TxOp::Purge(id) => {
                let task = self.tasks.get_mut(&id)?;
                task.version += 1;
                // The log says what the columns were.
                let was = Some(task.project);
                self.append_log(xid, seq, id, action::DELETE, was);
                self.tasks.remove(&id);
            }
            TxOp::Grant(who, on, until) => {
                self.grants.insert((who, on), until.map(|ms| self.now + ms));
                self.record_grant_change(xid, seq, who, on);
            }
            TxOp::Ungrant(who, on) => {
                self.grants.remove(&(who, on));
                self.record_grant_change(xid, seq, who, on);
            }
        }
        None
    }

    fn write(
        &mut self,
        xid: i64,
        seq: i64,
        who: PersonId,
        request: &Request,
        mutant: Option<Mutant>,
    ) -> Result<Response, RequestError> {
        let parts: Vec<&str> = request.path.trim_start_matches('/').split('/').collect();
        let body = request.body.as_ref().and_then(Value::as_object).cloned().unwrap_or_default();
        let id: Uuid = match parts[..] {
            [_, id] => id.parse().unwrap_or_default(),
            _ => body.get("id").and_then(Value::as_str).and_then(|id| id.parse().ok()).unwrap_or_default(),
        };
        // The permission first, then what was answered before, then the version.
        let home = match self.tasks.get(&id) {
            Some(task) => Some(task.project),
            None => {
                let above = body.get("project_id").and_then(Value::as_str).and_then(|p| p.parse::<Uuid>().ok());
                (0..self.projects).find(|n| Some(project_id(*n)) == above)
            }
        };
        if home.is_none_or(|home| !self.can_view(who, home)) {
            return Err(problem(404, None));
        }
        let key = request.idempotency_key.clone();
        if let Some(kept) = key.as_ref().and_then(|key| self.stored_responses.get(key)) {
            return kept.clone();
        }
        let answer = match request.method {
            Method::Post if self.tasks.contains_key(&id) => Err(problem(409, None)),
            Method::Post => {
                let mut columns = body.clone();
                for server in ["id", "version", "project_id", "permission", "stamp"] {
                    columns.remove(server);
                }
                self.tasks.insert(id, Task { version: 1, project: home.unwrap_or(0), columns, active: true });
                self.count(&body, &Row::new());
                self.append_log(xid, seq, id, action::CREATE, None);
                Ok(())
            }
            Method::Patch | Method::Delete => {
                let Some(task) = self.tasks.get(&id).filter(|task| task.active).cloned() else {
                    return Err(problem(404, None));
                };
                let behind = request.if_match.is_some_and(|version| version != task.version);
                if behind && mutant != Some(Mutant::VersionsIgnored) {
                    return Err(problem(412, Some(self.row(id, &task))));
                }
                let before = self.row(id, &task);
                let Some(task) = self.tasks.get_mut(&id) else { return Err(problem(404, None)) };
                task.version += 1;
                if request.method == Method::Delete {
                    task.active = false;
                    self.append_log(xid, seq, id, action::DELETE, None);
                } else {
                    task.columns.extend(body.clone());
                    self.count(&body, &before);
                    self.append_log(xid, seq, id, action::EDIT, None);
                }
                Ok(())
            }
            Method::Get => Ok(()),
        };
        let answer = answer.map(|()| {
            let entity = EntityRef::new(code("task"), id);
            let body = self.expected_row(who, &entity).map_or_else(String::new, |row| Value::Object(row).to_string());
            Response { body, ..Response::default() }
        });
        if let (Some(key), Ok(_)) = (key, &answer) {
            self.stored_responses.insert(key, answer.clone());
        }
        answer
    }

    fn count(&mut self, body: &Row, before: &Row) {
        for (column, value) in body.iter().filter(|(column, _)| matches!(column.as_str(), "name" | "note")) {
            let Some(token) = value.as_str().filter(|text| text.starts_with("token-")) else { continue };
            *self.applied.entry(token.to_owned()).or_default() += 1;
            let before = before.get(column).cloned().unwrap_or_default();
            self.overwrites.push(OverwriteRecord { token: token.to_owned(), before });
        }
    }

    fn append_log(&mut self, xid: i64, seq: i64, id: Uuid, action: i16, was: Option<usize>) {
        let Some(task) = self.tasks.get(&id) else { return };
        let changed = was
            .map_or(json!({}), |was| json!({"project_id": {"old": project_id(was), "new": project_id(task.project)}}));
        self.log.push(ChangeLogEntry {
            seq,
            xid,
            code: code("task"),
            id,
            action,
            version: Version(task.version),
            diff: changed,
            ancestor_set: Some(task.project as i32),
            tx_started_at_ms: self.now,
            parents: Vec::new(),
        });
    }

    fn record_grant_change(&mut self, xid: i64, seq: i64, who: usize, on: usize) {
        let changed = json!({"person_id": {"new": person_id(who).0}, "entity_code": {"new": "project"}, "entity_instance_id": {"new": project_id(on)}});
        let (code, id, version, parents) = (code("entity_rbac"), Uuid::from_u128(9), Version(0), Vec::new());
        let row = ChangeLogEntry {
            seq,
            xid,
            code,
            id,
            action: action::SHARE,
            version,
            diff: changed,
            ancestor_set: None,
            tx_started_at_ms: self.now,
            parents,
        };
        self.log.push(row);
        self.access.push((xid, AccessChange::GrantsChanged(person_id(who).0)));
    }

    // What the feed asks ------------------------------------------------------------------------------------------------

    fn rows(&self, ask: &LogRange, by_parent: &[EntityCode], mutant: Option<Mutant>) -> (Vec<ChangeLogEntry>, bool) {
        let finished = |xid: i64| ask.finished.contains(&xid) && mutant != Some(Mutant::CursorWithoutSnapshot);
        // Of old transactions only those named are asked for: the log is long, and what is settled is not looked through again.
        let mut rows: Vec<ChangeLogEntry> = self
            .log
            .iter()
            .rev()
            .take(if ask.finished.is_empty() { 4000 } else { usize::MAX })
            .filter(|r| r.xid >= ask.from || finished(r.xid))
            .filter(|r| ask.until.as_ref().is_none_or(|until| until.is_visible(r.xid)))
            .filter(|r| ask.after.is_none_or(|after| (r.xid, r.seq) > after))
            .cloned()
            .collect();
        rows.sort_unstable_by_key(|r| (r.xid, r.seq));
        let cut_short = rows.len() > BATCH_ROWS;
        rows.truncate(BATCH_ROWS);
        for row in &mut rows {
            if let Some(task) = self.tasks.get(&row.id) {
                row.ancestor_set = Some(task.project as i32);
                if by_parent.contains(&row.code) {
                    row.parents = vec![EntityRef::new(code("project"), project_id(task.project))];
                }
            }
        }
        (rows, cut_short)
    }

    fn changes(&self, ask: &LogRange) -> BTreeSet<AccessChange> {
        let new = |xid: i64| xid >= ask.from || ask.finished.contains(&xid);
        let settled = |xid: i64| ask.until.as_ref().is_none_or(|until| until.is_visible(xid));
        self.access.iter().filter(|(xid, _)| new(*xid) && settled(*xid)).map(|(_, c)| *c).collect()
    }

    /// Answers the feed.
    pub fn answer(&self, question: &DatabaseRequest, mutant: Option<Mutant>) -> FeedAnswer {
        match question {
            DatabaseRequest::Look { ask, by_parent } => {
                let (rows, cut_short) = self.rows(ask, by_parent, mutant);
                let access = if ask.after.is_some() { BTreeSet::new() } else { self.changes(ask) };
                FeedAnswer::Look(LogBatch {
                    rows,
                    access,
                    snapshot: self.snapshot(),
                    epoch: 1,
                    has_more: cut_short,
                    db_now_ms: self.now,
                })
            }
            DatabaseRequest::Past(past) => {
                let (from, finished) = (past.from.snapshot.xmax, past.from.snapshot.in_progress.clone());
                let ask = LogRange { epoch: 1, from, finished, until: Some(past.until.clone()), after: None };
                let (rows, cut_short) = self.rows(&ask, &past.by_parent, mutant);
                let ran_out = past.person.is_some() && self.grants.values().any(|e| e.is_some_and(|e| e <= self.now));
                let missed =
                    CatchUpBatch { rows, access: self.changes(&ask), grant_expired: ran_out, complete: !cut_short };
                FeedAnswer::Past(past.connection, missed)
            }
            DatabaseRequest::Facts(needs) => {
                let mut facts = LookupResult { types: needs.types.then(markers), ..LookupResult::default() };
                for n in (0..self.people).filter(|n| needs.people.contains(&person_id(*n))) {
                    let theirs =
                        self.grants.iter().filter(|((p, _), until)| *p == n && until.is_none_or(|e| e > self.now));
                    let held = theirs.map(|((_, on), until)| HeldGrant {
                        target: project_id(*on),
                        permission: Permission::Owner,
                        inheritance: Inheritance::Cascade,
                        deny: false,
                        expires: *until,
                    });
                    facts.people.insert(person_id(n), GrantSet::new(held.collect()));
                }
                for id in &needs.things {
                    if let Some(task) = self.tasks.get(id) {
                        facts.things.insert(*id, (code("task"), task.project as i32));
                    } else if let Some(n) = (0..self.projects).find(|n| project_id(*n) == *id) {
                        facts.things.insert(*id, (code("project"), n as i32));
                    }
                }
                for reach in &needs.reaches {
                    facts.reaches.insert(*reach, vec![(project_id(*reach as usize), true)]);
                }
                FeedAnswer::Facts(facts)
            }
        }
    }
}

fn problem(status: u16, current: Option<Row>) -> RequestError {
    let (kind, title) = ("about:blank".to_owned(), format!("status {status}"));
    RequestError::Rejected(Box::new(Problem { kind, title, status, detail: None, errors: Vec::new(), current }))
}
