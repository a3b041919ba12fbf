//! Tests of the whole state machine against a model database.
//!
//! Transactions commit in any order; grants are added, removed and expire; entities move; requests
//! are answered late or fail; clients connect and disconnect. In the end each client caches exactly
//! the entities that its user may see, at their current versions.

use super::*;
use pmo_domain::change_log::{AccessChange, ChangeLogEntry, action};
use pmo_domain::grant_set::{GrantSet, HeldGrant};
use pmo_domain::permission::Inheritance;
use pmo_domain::protocol::{Action, ClientMessage, ParentScope, ServerMessage, SubscribeRequest};
use pmo_domain::{EntityCode, EntityRef, FeedCursor, Permission, PersonId, Snapshot, Version};
use proptest::prelude::*;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use uuid::Uuid;

/// Number of projects. The ancestor set of the entities in project `n` is `n`.
const PROJECTS: usize = 3;

fn code(text: &str) -> EntityCode {
    EntityCode::new(text).unwrap()
}
fn project(n: usize) -> Uuid {
    Uuid::from_u128(1000 + n as u128)
}
fn task(n: usize) -> Uuid {
    Uuid::from_u128(2000 + n as u128)
}
fn person(n: usize) -> PersonId {
    PersonId(Uuid::from_u128(3000 + n as u128))
}
fn markers() -> HashMap<String, Uuid> {
    [("project".to_owned(), Uuid::from_u128(1)), ("task".to_owned(), Uuid::from_u128(2))].into()
}

/// Operation of a transaction, applied at its commit.
#[derive(Clone, Debug)]
enum TxOp {
    Touch(usize),
    Move(usize, usize),
    Purge(usize),
    Grant(usize, usize, Option<i64>),
    Ungrant(usize, usize),
}

#[derive(Clone)]
struct Task {
    version: i64,
    project: usize,
}

/// Database as the feed sees it.
#[derive(Default)]
struct ModelDatabase {
    now: i64,
    next_xid: i64,
    next_seq: i64,
    in_progress: BTreeMap<i64, Vec<(i64, TxOp)>>,
    log: Vec<ChangeLogEntry>,
    access: Vec<(i64, AccessChange)>,
    tasks: BTreeMap<usize, Task>,
    grants: BTreeMap<(usize, usize), Option<i64>>,
    /// Pairs of person and project on which the person ever had a grant.
    permissions: BTreeSet<(PersonId, usize)>,
    /// Pairs of task and project in which the task ever was.
    locations: BTreeSet<(Uuid, usize)>,
}

impl ModelDatabase {
    fn new(tasks: usize) -> Self {
        let tasks = (0..tasks).map(|n| (n, Task { version: 1, project: n % PROJECTS })).collect();
        Self { now: 1_000_000, next_xid: 10, tasks, ..Self::default() }
    }
    fn begin(&mut self) {
        self.next_xid += 1;
        self.in_progress.insert(self.next_xid, Vec::new());
    }
    fn write(&mut self, which: usize, op: TxOp) {
        self.next_seq += 1;
        let seq = self.next_seq;
        if let Some((_, ops)) = self.in_progress.iter_mut().nth(which % 4) {
            ops.push((seq, op));
        }
    }
    fn can_view(&self, user: PersonId, project: usize) -> bool {
        (0..9).any(|p| {
            person(p) == user && self.grants.get(&(p, project)).is_some_and(|e| e.is_none_or(|e| e > self.now))
        })
    }
    /// Records the current grants and locations.
    ///
    /// At delivery, grants and locations may each be outdated by one batch. A person may therefore
    /// receive changes of an entity if they ever had a grant on a project in which it ever was.
    fn record_visibility(&mut self) {
        self.locations.extend(self.tasks.iter().map(|(n, t)| (task(*n), t.project)));
        let pairs = (0..3).flat_map(|p| (0..PROJECTS).map(move |project| (person(p), project)));
        let permissions: Vec<_> = pairs.filter(|(p, project)| self.can_view(*p, *project)).collect();
        self.permissions.extend(permissions);
    }
    fn may_have_seen(&self, person: PersonId, id: Uuid) -> bool {
        (0..PROJECTS)
            .any(|project| self.permissions.contains(&(person, project)) && self.locations.contains(&(id, project)))
    }
    fn row(&self, (xid, seq): (i64, i64), n: usize, action: i16, row: &Task, old: Option<usize>) -> ChangeLogEntry {
        let (version, new) = (row.version, row.project);
        let diff = old.map_or(json!({}), |old| json!({"project_id": {"old": project(old), "new": project(new)}}));
        ChangeLogEntry {
            seq,
            xid,
            code: code("task"),
            id: task(n),
            action,
            version: Version(version),
            diff,
            ancestor_set: Some(new as i32),
            tx_started_at_ms: self.now,
            parents: Vec::new(),
        }
    }
    fn commit(&mut self, which: usize) {
        let Some(xid) = self.in_progress.keys().copied().nth(which % 4) else { return };
        let ops = self.in_progress.remove(&xid).unwrap_or_default();
        for (seq, op) in ops {
            self.record_visibility();
            match op {
                TxOp::Touch(n) => {
                    let Some(row) = self.tasks.get_mut(&n) else { continue };
                    row.version += 1;
                    let row = row.clone();
                    self.log.push(self.row((xid, seq), n, action::EDIT, &row, None));
                }
                TxOp::Move(n, to) => {
                    let Some(row) = self.tasks.get_mut(&n) else { continue };
                    let old = std::mem::replace(&mut row.project, to);
                    row.version += 1;
                    let row = row.clone();
                    self.log.push(self.row((xid, seq), n, action::EDIT, &row, Some(old)));
                    self.access.push((xid, AccessChange::AncestorSetChanged(old as i32, to as i32)));
                }
                TxOp::Purge(n) => {
                    let Some(row) = self.tasks.remove(&n) else { continue };
                    let purged = Task { version: row.version + 1, ..row };
                    self.log.push(self.row((xid, seq), n, action::DELETE, &purged, Some(purged.project)));
                }
                TxOp::Grant(p, on, expires_in) => {
                    self.grants.insert((p, on), expires_in.map(|ms| self.now + ms));
                    self.log_grant(xid, seq, p, on);
                }
                TxOp::Ungrant(p, on) => {
                    self.grants.remove(&(p, on));
                    self.log_grant(xid, seq, p, on);
                }
            }
        }
        self.record_visibility();
    }
    fn log_grant(&mut self, xid: i64, seq: i64, p: usize, on: usize) {
        let diff = json!({"person_id": {"new": person(p).0}, "entity_code": {"new": "project"}, "entity_instance_id": {"new": project(on)}});
        let (code, id) = (code("entity_rbac"), Uuid::from_u128(9));
        let (version, parents) = (Version(0), Vec::new());
        self.log.push(ChangeLogEntry {
            seq,
            xid,
            code,
            id,
            action: action::SHARE,
            version,
            diff,
            ancestor_set: None,
            tx_started_at_ms: 0,
            parents,
        });
        self.access.push((xid, AccessChange::GrantsChanged(person(p).0)));
    }
    fn snapshot(&self) -> Snapshot {
        let in_progress: Vec<i64> = self.in_progress.keys().copied().collect();
        let xmax = self.next_xid + 1;
        Snapshot { xmin: in_progress.first().copied().unwrap_or(xmax), xmax, in_progress }
    }
    fn parents(&self, row: &ChangeLogEntry, by_parent: &[EntityCode]) -> Vec<EntityRef> {
        let current = self.tasks.iter().find(|(n, _)| task(**n) == row.id);
        let requested = current.filter(|_| by_parent.contains(&row.code));
        requested.map(|(_, t)| EntityRef::new(code("project"), project(t.project))).into_iter().collect()
    }
    /// Returns the rows of a range as the database would.
    ///
    /// Rows have the current ancestor set of their entity, or the last one if the entity was
    /// purged.
    fn rows(&self, range: &LogRange, by_parent: &[EntityCode], limit: usize) -> (Vec<ChangeLogEntry>, bool) {
        let mut rows: Vec<ChangeLogEntry> = self
            .log
            .iter()
            .filter(|r| r.xid >= range.from || range.finished.contains(&r.xid))
            .filter(|r| range.until.as_ref().is_none_or(|until| until.is_visible(r.xid)))
            .filter(|r| range.after.is_none_or(|after| (r.xid, r.seq) > after))
            .cloned()
            .collect();
        rows.sort_by_key(|r| (r.xid, r.seq));
        let has_more = rows.len() > limit;
        rows.truncate(limit);
        for row in &mut rows {
            let current = self.tasks.iter().find(|(n, _)| task(**n) == row.id);
            row.ancestor_set = current.map(|(_, t)| t.project as i32).or(row.ancestor_set);
            row.parents = self.parents(row, by_parent);
        }
        (rows, has_more)
    }
    fn changes(&self, range: &LogRange) -> BTreeSet<AccessChange> {
        let is_new = |xid: i64| xid >= range.from || range.finished.contains(&xid);
        let is_visible = |xid: i64| range.until.as_ref().is_none_or(|until| until.is_visible(xid));
        self.access.iter().filter(|(xid, _)| is_new(*xid) && is_visible(*xid)).map(|(_, c)| *c).collect()
    }
    fn respond(&self, query: &DatabaseRequest, limit: usize) -> DatabaseResponse {
        match query {
            DatabaseRequest::Poll { range: ask, by_parent } => {
                let (rows, has_more) = self.rows(ask, by_parent, limit);
                let access = if ask.after.is_some() { BTreeSet::new() } else { self.changes(ask) };
                DatabaseResponse::LogBatch(LogBatch {
                    rows,
                    access,
                    snapshot: self.snapshot(),
                    epoch: 1,
                    has_more,
                    db_now_ms: self.now,
                })
            }
            DatabaseRequest::CatchUp(request) => {
                let (from, finished, until) = (
                    request.from.snapshot.xmax,
                    request.from.snapshot.in_progress.clone(),
                    Some(request.until.clone()),
                );
                let range = LogRange { epoch: 1, from, finished, until, after: None };
                let (rows, has_more) = self.rows(&range, &request.by_parent, 12);
                let grant_expired =
                    request.person.is_some() && self.grants.values().any(|e| e.is_some_and(|e| e <= self.now));
                DatabaseResponse::CatchUp(
                    request.connection,
                    CatchUpBatch { rows, access: self.changes(&range), grant_expired, complete: !has_more },
                )
            }
            DatabaseRequest::Lookup(lookups) => {
                let mut result = LookupResult { types: lookups.types.then(markers), ..LookupResult::default() };
                for user in &lookups.people {
                    let grants = self.grants.iter().filter(|((p, _), _)| person(*p) == *user);
                    let to_grant = |((_, on), expires): (&(usize, usize), &Option<i64>)| HeldGrant {
                        target: project(*on),
                        permission: Permission::View,
                        inheritance: Inheritance::Cascade,
                        deny: false,
                        expires_at_ms: *expires,
                    };
                    // Like the database: expired grants are omitted.
                    let held = grants.filter(|(_, e)| e.is_none_or(|e| e > self.now)).map(to_grant).collect();
                    result.people.insert(*user, GrantSet::new(held));
                }
                for (n, t) in self.tasks.iter().filter(|(n, _)| lookups.entities.contains(&task(**n))) {
                    result.entities.insert(task(*n), (code("task"), t.project as i32));
                }
                for n in (0..PROJECTS).filter(|n| lookups.entities.contains(&project(*n))) {
                    result.entities.insert(project(n), (code("project"), n as i32));
                }
                for id in &lookups.ancestor_sets {
                    result.ancestor_sets.insert(*id, vec![(project(*id as usize), true)]);
                }
                DatabaseResponse::Lookup(result)
            }
        }
    }
    /// Returns the version that a GET would return, if the entity is visible and subscribed.
    fn get(&self, user: PersonId, watch: TestSubscription, id: Uuid) -> Option<i64> {
        let (_, row) = self.tasks.iter().find(|(n, _)| task(**n) == id)?;
        // A client that lists the tasks of a project caches no others.
        let listed = watch != TestSubscription::OfProject || row.project == 0;
        (listed && self.can_view(user, row.project)).then_some(row.version)
    }
}

/// Subscription of a client.
#[derive(Clone, Copy, PartialEq)]
enum TestSubscription {
    /// Individual tasks.
    Some,
    /// All tasks.
    All,
    /// Tasks of the first project.
    OfProject,
}

/// Minimal client: it fetches each entity that a message names.
struct Client {
    watch: TestSubscription,
    /// Whether the client must refetch and subscribe again after ACCESS.
    must_revalidate: bool,
    id: Option<ConnectionId>,
    person: PersonId,
    cached: BTreeMap<Uuid, i64>,
    subscribed: BTreeSet<usize>,
    cursor: Option<(String, String)>,
    resuming: bool,
    hello_received: bool,
    /// Number of unanswered SUBSCRIBE messages. The cursor does not advance while there are any.
    unanswered: usize,
}

fn client_ids(client: &Client) -> Vec<Uuid> {
    client.subscribed.iter().map(|n| task(*n)).collect()
}

struct Test {
    database: ModelDatabase,
    feed: ChangeFeed,
    clients: Vec<Client>,
    /// Database requests in flight, with their responses once they have been executed.
    queries: VecDeque<(DatabaseRequest, Option<DatabaseResponse>)>,
    next_id: u64,
    limit: usize,
}

impl Test {
    fn new(clients: usize, limit: usize) -> Self {
        let mut database = ModelDatabase::new(6);
        database.grants.insert((0, 0), None);
        database.record_visibility();
        let limits = Limits {
            poll_interval_ms: 1000,
            connections_per_person: 3,
            ids: 100,
            topics: 1000,
            catching_up: 2,
            max_catch_up_rows: 50,
        };
        let feed = ChangeFeed::new(limits, (1, database.snapshot()), markers(), database.now, database.now);
        let client = |n| Client {
            watch: [TestSubscription::Some, TestSubscription::Some, TestSubscription::All, TestSubscription::OfProject]
                [n % 4],
            must_revalidate: false,
            id: None,
            person: person(n % 3),
            cached: BTreeMap::new(),
            subscribed: if n % 4 > 1 { (0..6).collect() } else { BTreeSet::new() },
            cursor: None,
            resuming: false,
            hello_received: false,
            unanswered: 0,
        };
        let clients = (0..clients).map(client).collect();
        Self { database, feed, clients, queries: VecDeque::new(), next_id: 0, limit }
    }

    fn handle(&mut self, event: Event) {
        let mut out = Vec::new();
        self.feed.handle(event, self.database.now, &mut out);
        for effect in out {
            match effect {
                Effect::QueryDatabase(query) => self.queries.push_back((query, None)),
                Effect::Send(to, frame) => {
                    let message: ServerMessage = serde_json::from_str(&frame.to_json()).unwrap();
                    for id in to.iter() {
                        self.deliver(*id, &message);
                    }
                }
                Effect::Close(which, ..) => {
                    for client in &mut self.clients {
                        if client.id.is_some_and(|id| which.contains(&id)) {
                            client.id = None;
                        }
                    }
                }
                Effect::Mirror(_) | Effect::Delivered(_) | Effect::PublishPresence(..) => {}
            }
        }
        for n in 0..self.clients.len() {
            if std::mem::take(&mut self.clients[n].must_revalidate) {
                self.refetch_all(n);
            }
        }
    }

    /// Fetches all tasks of a client and subscribes from the cursor of the fetch.
    fn refetch_all(&mut self, n: usize) {
        let since = FeedCursor { epoch: 1, snapshot: self.database.snapshot() }.to_string();
        let client = &mut self.clients[n];
        let Some(id) = client.id else { return };
        for task_id in client.subscribed.iter().map(|n| task(*n)) {
            match self.database.get(client.person, client.watch, task_id) {
                Some(version) => drop(client.cached.insert(task_id, version)),
                None => drop(client.cached.remove(&task_id)),
            }
        }
        self.subscribe(id, client_ids(&self.clients[n]), Some(since));
    }

    fn deliver(&mut self, id: ConnectionId, message: &ServerMessage) {
        let database = &mut self.database;
        let Some(client) = self.clients.iter_mut().find(|c| c.id == Some(id)) else { return };
        let (person, watch) = (client.person, client.watch);
        let fetch = |database: &ModelDatabase, cached: &mut BTreeMap<Uuid, i64>, id: Uuid| match database
            .get(person, watch, id)
        {
            Some(version) => drop(cached.insert(id, version)),
            None => drop(cached.remove(&id)),
        };
        let mut advance = |cursor: &String, resuming: bool| {
            if let Some(known) = client.cursor.as_mut().filter(|_| !resuming && client.unanswered == 0) {
                known.1.clone_from(cursor);
            }
        };
        match message {
            ServerMessage::Hello { epoch, cursor, .. } => {
                client.hello_received = true;
                if client.cursor.is_none() {
                    client.cursor = Some((epoch.clone(), cursor.clone()));
                    client.resuming = false;
                    client.must_revalidate = true;
                }
            }
            ServerMessage::Invalidate { changes, cursor, .. } => {
                advance(cursor, client.resuming);
                for change in changes {
                    if !matches!(change.action, Action::Revoke) && change.entity_id.as_u128() >= 2000 {
                        assert!(
                            database.may_have_seen(person, change.entity_id),
                            "change of an entity that the user never saw"
                        );
                    }
                    match change.action {
                        Action::Revoke | Action::Delete => drop(client.cached.remove(&change.entity_id)),
                        _ => fetch(database, &mut client.cached, change.entity_id),
                    }
                }
            }
            ServerMessage::Resumed { recovered, cursor } => {
                if let Some(known) = client.cursor.as_mut().filter(|_| client.resuming) {
                    client.resuming = false;
                    known.1.clone_from(cursor);
                }
                if !recovered {
                    client.subscribed.iter().for_each(|n| fetch(database, &mut client.cached, task(*n)));
                }
            }
            ServerMessage::Access { .. } => client.must_revalidate = true,
            ServerMessage::Pong { cursor } => advance(cursor, client.resuming),
            ServerMessage::Subscribed { refused, .. } => {
                client.unanswered = client.unanswered.saturating_sub(1);
                if *refused > 0 {
                    client.subscribed.iter().for_each(|n| fetch(database, &mut client.cached, task(*n)));
                }
            }
            ServerMessage::TokenExpiringSoon { .. } | ServerMessage::Presence { .. } | ServerMessage::Error { .. } => {}
        }
    }

    fn connect(&mut self, which: usize) {
        let which = which % self.clients.len();
        if self.clients[which].id.is_some() {
            return;
        }
        self.next_id += 1;
        let id = ConnectionId(self.next_id);
        let client = &mut self.clients[which];
        (client.id, client.resuming, client.hello_received, client.unanswered) =
            (Some(id), client.cursor.is_some(), false, 0);
        let person = client.person;
        let resume = client.cursor.clone();
        self.handle(Event::Connected(id, person));
        // Like the client engine after HELLO: subscribe again, then resume.
        self.subscribe(id, client_ids(&self.clients[which]), None);
        if let Some((epoch, cursor)) = resume {
            self.handle(Event::MessageReceived(id, ClientMessage::Resume { epoch, cursor }));
        }
    }

    fn subscribe(&mut self, id: ConnectionId, ids: Vec<Uuid>, since: Option<String>) {
        if let Some(client) = self.clients.iter_mut().find(|c| c.id == Some(id)) {
            client.unanswered += 1;
        }
        let watch = self.clients.iter().find(|c| c.id == Some(id)).map_or(TestSubscription::Some, |c| c.watch);
        let parent =
            ParentScope { entity_code: code("project"), entity_id: project(0), recursive: id.0.is_multiple_of(2) };
        let request = SubscribeRequest {
            entity_code: code("task"),
            entity_ids: Some(ids).filter(|_| watch == TestSubscription::Some),
            parent: Some(parent).filter(|_| watch == TestSubscription::OfProject),
            since,
        };
        self.handle(Event::MessageReceived(id, ClientMessage::Subscribe(request)));
    }

    /// Fetches a task and subscribes to it from the cursor of the fetch.
    fn fetch(&mut self, which: usize, n: usize) {
        let which = which % self.clients.len();
        let since = FeedCursor { epoch: 1, snapshot: self.database.snapshot() };
        let client = &mut self.clients[which];
        let Some(id) = client.id.filter(|_| client.hello_received && client.watch == TestSubscription::Some) else {
            return;
        };
        client.subscribed.insert(n);
        match self.database.get(client.person, client.watch, task(n)) {
            Some(version) => drop(client.cached.insert(task(n), version)),
            None => drop(client.cached.remove(&task(n))),
        }
        self.subscribe(id, vec![task(n)], Some(since.to_string()));
    }

    fn step(&mut self, step: (u8, usize, usize, usize)) {
        let (kind, which, a, b) = step;
        match kind {
            0 => self.database.begin(),
            1 | 2 => self.database.write(which, TxOp::Touch(a % 6)),
            3 => self.database.write(which, TxOp::Move(a % 6, b % PROJECTS)),
            4 => self.database.write(which, TxOp::Grant(a % 3, b % PROJECTS, (which % 3 == 0).then_some(5000))),
            5 => self.database.write(which, TxOp::Ungrant(a % 3, b % PROJECTS)),
            6 if b % 4 == 0 => self.database.write(which, TxOp::Purge(a % 6)),
            6 | 7 => {
                self.database.commit(which);
                if b % 3 > 0 {
                    self.handle(Event::LogNotified);
                }
            }
            8 => drop(self.database.in_progress.pop_first().filter(|_| b % 2 == 0).map(|(xid, ops)| {
                // Roll back only every second one.
                if a % 2 == 0 {
                    self.database.in_progress.insert(xid, ops);
                }
            })),
            9 => self.connect(which),
            10 => self.fetch(which, a % 6),
            11 => {
                let which = which % self.clients.len();
                if let Some(id) = self.clients[which].id.take() {
                    self.handle(Event::Disconnected(id));
                }
            }
            12 => {
                self.database.now += (b as i64) * 300;
                self.handle(Event::Tick);
            }
            13 => {
                let which = which % self.clients.len();
                if let Some(id) = self.clients[which].id {
                    self.handle(Event::MessageReceived(id, ClientMessage::Ping));
                }
            }
            // A request is executed.
            14..=16 => {
                let limit = self.limit;
                if let Some(slot) = self.queries.iter_mut().find(|(_, response)| response.is_none()) {
                    slot.1 = Some(self.database.respond(&slot.0, limit));
                }
            }
            // A response arrives some time later.
            17..=19 => {
                let Some(at) = self.queries.iter().position(|(_, response)| response.is_some()) else { return };
                if let Some((_, Some(response))) = self.queries.remove(at) {
                    self.handle(Event::DatabaseReplied(response));
                }
            }
            _ => {
                let Some((query, _)) = self.queries.pop_front() else { return };
                let lane = if let DatabaseRequest::CatchUp(past) = query { Lane::CatchUp(past) } else { Lane::Ordered };
                self.handle(Event::DatabaseFailed(lane));
            }
        }
    }

    /// Completes all transactions and requests.
    fn settle(&mut self) {
        while !self.database.in_progress.is_empty() {
            self.database.commit(0);
        }
        for n in 0..self.clients.len() {
            self.connect(n);
        }
        self.handle(Event::LogNotified);
        for _ in 0..1000 {
            while let Some((query, response)) = self.queries.pop_front() {
                let response = response.unwrap_or_else(|| self.database.respond(&query, self.limit));
                self.handle(Event::DatabaseReplied(response));
            }
            let due = self.feed.deadline(self.database.now);
            if due >= self.database.now && self.queries.is_empty() && self.database.now > 1_000_000 + 100_000 {
                return;
            }
            self.database.now += 7_000;
            self.handle(Event::Tick);
        }
        panic!("the system does not settle");
    }

    fn check(&self) {
        for (n, client) in self.clients.iter().enumerate() {
            for number in &client.subscribed {
                let id = task(*number);
                let (cached, current) =
                    (client.cached.get(&id).copied(), self.database.get(client.person, client.watch, id));
                assert_eq!(cached, current, "client {n} of {:?} on task {number}", client.person);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, max_shrink_iters: 20_000, ..ProptestConfig::default() })]
    #[test]
    fn client_cache_converges_to_the_visible_entities(
        steps in prop::collection::vec((0..21u8, 0..6usize, 0..6usize, 0..6usize), 1..150), limit in 1..6usize
    ) {
        let mut test = Test::new(4, limit);
        for n in 0..4 {
            test.connect(n);
        }
        for step in steps {
            test.step(step);
        }
        test.settle();
        test.check();
    }
}

fn connected_client() -> (Test, ConnectionId) {
    let mut test = Test::new(1, 100);
    test.connect(0);
    test.settle();
    let id = test.clients[0].id.unwrap();
    (test, id)
}

/// Processes an event and returns the effects.
fn effects_of(test: &mut Test, event: Event) -> Vec<Effect> {
    let mut out = Vec::new();
    test.feed.handle(event, test.database.now, &mut out);
    out
}

fn messages(effects: &[Effect]) -> Vec<ServerMessage> {
    let frame = |effect: &Effect| match effect {
        Effect::Send(_, frame) => Some(serde_json::from_str(&frame.to_json()).unwrap()),
        _ => None,
    };
    effects.iter().filter_map(frame).collect()
}

#[test]
fn heartbeats_are_answered_while_the_database_is_unavailable() {
    let (mut test, id) = connected_client();
    let subscribe =
        SubscribeRequest { entity_code: code("task"), entity_ids: Some(vec![task(0)]), parent: None, since: None };
    let effects = effects_of(&mut test, Event::MessageReceived(id, ClientMessage::Subscribe(subscribe)));
    assert!(matches!(effects[..], [Effect::QueryDatabase(DatabaseRequest::Lookup(_))]));
    assert!(effects_of(&mut test, Event::DatabaseFailed(Lane::Ordered)).is_empty(), "connections stay open");
    assert!(!test.feed.is_database_up());
    let pong = effects_of(&mut test, Event::MessageReceived(id, ClientMessage::Ping));
    assert!(matches!(messages(&pong)[..], [ServerMessage::Pong { .. }]));
    test.database.now += 400;
    assert!(effects_of(&mut test, Event::Tick).is_empty(), "not before the retry delay");
    test.database.now += 100;
    let retried = effects_of(&mut test, Event::Tick);
    let [Effect::QueryDatabase(query)] = &retried[..] else { panic!("{retried:?}") };
    let response = test.database.respond(query, 10);
    let next = effects_of(&mut test, Event::DatabaseReplied(response));
    let done = match &next[..] {
        [Effect::QueryDatabase(query)] => {
            let response = test.database.respond(query, 10);
            effects_of(&mut test, Event::DatabaseReplied(response))
        }
        _ => next,
    };
    assert!(messages(&done).iter().any(|m| matches!(m, ServerMessage::Subscribed { count: 1, .. })), "{done:?}");
}

#[test]
fn simultaneous_connections_share_database_requests() {
    let mut test = Test::new(1, 100);
    test.feed.limits.connections_per_person = 10_000;
    let mut query_count = 0;
    let mut out = Vec::new();
    for n in 0..1000 {
        test.feed.handle(Event::Connected(ConnectionId(n), person(n as usize % 300)), test.database.now, &mut out);
        let request = SubscribeRequest {
            entity_code: code("task"),
            entity_ids: Some(vec![task(n as usize % 6)]),
            parent: None,
            since: None,
        };
        test.feed.handle(
            Event::MessageReceived(ConnectionId(n), ClientMessage::Subscribe(request)),
            test.database.now,
            &mut out,
        );
    }
    let mut sent = 0;
    while !out.is_empty() {
        let mut next = Vec::new();
        for effect in out {
            match effect {
                Effect::QueryDatabase(query) => {
                    query_count += 1;
                    let response = test.database.respond(&query, 10);
                    test.feed.handle(Event::DatabaseReplied(response), test.database.now, &mut next);
                }
                Effect::Send(to, _) => sent += to.len(),
                _ => {}
            }
        }
        out = next;
    }
    assert_eq!(sent, 2000, "HELLO and SUBSCRIBED");
    assert!(query_count <= 12, "{query_count} requests");
}

#[test]
fn connections_per_user_are_limited() {
    let mut test = Test::new(1, 100);
    let is_rejected = |test: &mut Test, n: u64| {
        let out = effects_of(test, Event::Connected(ConnectionId(n), person(0)));
        out.iter().any(|effect| matches!(effect, Effect::Close(_, 1008, _)))
    };
    assert_eq!((0..5).map(|n| is_rejected(&mut test, n)).collect::<Vec<_>>(), [false, false, false, true, true]);
    effects_of(&mut test, Event::Disconnected(ConnectionId(1)));
    assert!(!is_rejected(&mut test, 9), "a closed connection makes way for a new one");
}

#[test]
fn equal_changes_share_a_frame_with_one_change_per_entity() {
    let mut test = Test::new(1, 100);
    test.feed.limits.connections_per_person = 100;
    for n in 0..50 {
        test.handle(Event::Connected(ConnectionId(n), person(0)));
        let request = SubscribeRequest { entity_code: code("task"), entity_ids: None, parent: None, since: None };
        test.handle(Event::MessageReceived(ConnectionId(n), ClientMessage::Subscribe(request)));
    }
    // This test does not use the client of the model.
    test.clients.clear();
    test.settle();
    test.database.begin();
    for _ in 0..5 {
        test.database.write(0, TxOp::Touch(0));
    }
    test.database.commit(0);
    let mut out = effects_of(&mut test, Event::LogNotified);
    while let [Effect::QueryDatabase(query)] = &out[..] {
        let response = test.database.respond(query, 100);
        out = effects_of(&mut test, Event::DatabaseReplied(response));
    }
    let sent: Vec<(usize, ServerMessage)> = out
        .iter()
        .filter_map(|e| {
            if let Effect::Send(to, frame) = e {
                Some((to.len(), serde_json::from_str(&frame.to_json()).unwrap()))
            } else {
                None
            }
        })
        .collect();
    let [(50, ServerMessage::Invalidate { changes, .. })] = &sent[..] else { panic!("{sent:?}") };
    assert_eq!(changes.iter().map(|c| (c.entity_id, c.version)).collect::<Vec<_>>(), [(task(0), Version(6))]);
}

#[test]
fn new_epoch_closes_all_connections() {
    let (mut test, id) = connected_client();
    let poll = effects_of(&mut test, Event::LogNotified);
    let [Effect::QueryDatabase(query)] = &poll[..] else { panic!("{poll:?}") };
    let DatabaseResponse::LogBatch(mut batch) = test.database.respond(query, 100) else { panic!("a log batch") };
    batch.epoch = 2;
    let out = effects_of(&mut test, Event::DatabaseReplied(DatabaseResponse::LogBatch(batch)));
    assert!(out.iter().any(|e| matches!(e, Effect::Close(which, 1012, _) if which.contains(&id))));
    assert_eq!((test.feed.cursor().epoch, test.feed.stats()), (2, (0, 0, 0)));
    effects_of(&mut test, Event::Connected(ConnectionId(77), person(0)));
    assert_eq!(test.feed.stats().0, 1, "new connections are accepted");
}

#[test]
fn shutdown_closes_connections_and_rejects_new_ones() {
    let (mut test, id) = connected_client();
    let out = effects_of(&mut test, Event::ShuttingDown);
    assert!(out.iter().any(|e| matches!(e, Effect::Close(which, 1012, _) if which.contains(&id))));
    let out = effects_of(&mut test, Event::Connected(ConnectionId(99), person(0)));
    assert!(matches!(out[..], [Effect::Close(_, 1012, _)]));
}

#[test]
fn clock_set_back_does_not_delay_polls() {
    let (mut test, _) = connected_client();
    test.database.now -= 3_600_000;
    effects_of(&mut test, Event::Tick);
    assert!(test.feed.deadline(test.database.now) <= test.database.now + 1000);
    test.database.now += 1000;
    assert!(matches!(effects_of(&mut test, Event::Tick)[..], [Effect::QueryDatabase(DatabaseRequest::Poll { .. })]));
}

mod presence;
mod reading;
